// A training run between two steps, as bytes: where it is, and every number that goes on. Not here: files.
import * as v from 'valibot';
import { DataError } from '../errors.js';
import type { TrainingState } from './trainable.js';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));

const epochSchema = v.object({
  epoch: count,
  loss: v.number(),
  accuracy: v.number(),
  validation: v.optional(v.number()),
  learningRate: v.number(),
  seconds: v.number(),
  imagesPerSecond: v.number(),
});

const headSchema = v.object({
  schema: v.literal('tessera/checkpoint@1'),
  /** Says of which run it is: settings, network and data. */
  key: v.string(),
  epoch: count,
  step: count,
  /** Of the epoch under way. */
  sums: v.object({ loss: v.number(), correct: v.number(), counted: v.number(), pictures: v.number(), seconds: v.number() }),
  /** Running loss, and the one at the beginning. */
  watch: v.object({ smoothed: v.nullable(v.number()), first: v.nullable(v.number()) }),
  best: v.object({ epoch: v.number(), score: v.nullable(v.number()) }),
  curve: v.array(epochSchema),
  arrays: v.array(v.object({ name: v.string(), length: count })),
});

/** One finished epoch. */
export type Epoch = Readonly<v.InferOutput<typeof epochSchema>>;

type Head = v.InferOutput<typeof headSchema>;

export interface Checkpoint extends Readonly<Omit<Head, 'schema' | 'arrays'>> {
  readonly arrays: readonly TrainingState[];
}

/** Serialises a checkpoint: a line of JSON, then all arrays as little-endian float32. */
export function encodeCheckpoint({ arrays, ...rest }: Checkpoint): Uint8Array {
  const head: Head = {
    ...rest,
    schema: 'tessera/checkpoint@1',
    arrays: arrays.map(({ name, values }) => ({ name, length: values.length })),
  };
  const line = new TextEncoder().encode(`${JSON.stringify(head)}\n`);
  const bytes = new Uint8Array(line.length + arrays.reduce((sum, { values }) => sum + values.byteLength, 0));
  bytes.set(line);
  let at = line.length;
  for (const { values } of arrays) {
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += values.byteLength;
  }
  return bytes;
}

/**
 * Reads a checkpoint; `where` names the file in errors.
 * @throws DataError ("bad-checkpoint") for what is none, or is cut short.
 */
export function decodeCheckpoint(bytes: Uint8Array, where: string): Checkpoint {
  const end = bytes.indexOf(10);
  let head: Head;
  try {
    head = v.parse(headSchema, JSON.parse(new TextDecoder().decode(bytes.subarray(0, Math.max(0, end)))));
  } catch (cause) {
    throw badCheckpoint(where, 'its head cannot be read', cause);
  }
  const total = head.arrays.reduce((sum, { length }) => sum + 4 * length, 0);
  if (bytes.length - end - 1 !== total) throw badCheckpoint(where, `it has ${bytes.length - end - 1} bytes of numbers, not ${total}`);
  let at = end + 1;
  const arrays = head.arrays.map(({ name, length }) => {
    // A copy at an aligned place; a Buffer's own slice would be neither.
    const values = new Float32Array(Uint8Array.from(bytes.subarray(at, at + 4 * length)).buffer);
    at += 4 * length;
    return { name, values };
  });
  return { ...head, arrays };
}

export function badCheckpoint(where: string, reason: string, cause?: unknown): DataError {
  const hint = 'Leave --resume out to begin anew, or give the folder of another run.';
  return new DataError(`${where} is not a checkpoint of this run: ${reason}`, { code: 'bad-checkpoint', where, hint, cause });
}
