// A compiled model on disk: program.bin (public), weights.bin (the server's, mode 0600), model.json (for people and other programs).
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { DataError } from '../errors.js';
import type { LeftOut } from '../model/calibrate.js';
import { decodeProgram, decodeWeights, encodeProgram, encodeWeights, programHash } from '../model/files.js';
import { nodeCodec } from './codec.js';
import { writeWhole } from './files.js';
import type { RingChoice } from './ring.js';
import type { CompiledModel } from './run-types.js';

const range = v.object({ min: v.number(), max: v.number() });
const ringChoice = v.object({
  target: v.number(),
  images: v.number(),
  trials: v.array(v.object({ ringBits: v.number(), agreement: v.number(), images: v.number(), refused: v.optional(v.string()) })),
});
const phaseSeconds = v.object({ offline: v.number(), online: v.number() });
const planSummary = v.object({
  network: v.string(),
  aim: v.picklist(['all', 'online']),
  seconds: phaseSeconds,
  fewestBytes: phaseSeconds,
  layers: v.array(v.object({ name: v.string(), roundTrips: v.number(), digits: v.array(v.array(v.number())) })),
});

/** How the comparisons of a program were chosen for a network: seconds predicted with them, and with those of fewest bytes. */
export type PlanSummary = v.InferOutput<typeof planSummary>;

const modelFileSchema = v.object({
  schema: v.literal('tessera/model@1'),
  name: v.string(),
  classes: v.optional(v.array(v.string())),
  preprocess: v.optional(
    v.object({
      resize: v.exactOptional(v.number()),
      crop: v.exactOptional(v.number()),
      mean: v.array(v.number()),
      std: v.array(v.number()),
      channels: v.picklist(['rgb', 'bgr', 'gray']),
    }),
  ),
  hash: v.string(),
  ringBits: v.number(),
  fractionBits: v.object({ activations: range, weights: range }),
  drelus: v.number(),
  comparisons: v.number(),
  clipped: v.number(),
  leftOut: v.optional(v.array(v.object({ picture: v.number(), layer: v.string(), times: v.number() }))),
  ring: v.optional(ringChoice),
  plan: v.optional(planSummary),
  calibratedOn: v.object({ source: v.string(), images: v.number(), extraMarginBits: v.number() }),
});

/** What compiling came to; the JSON of `compile` beside the files' names. */
export interface CompiledSummary {
  readonly hash: string;
  readonly ringBits: number;
  readonly fractionBits: { readonly activations: MinMax; readonly weights: MinMax };
  readonly drelus: number;
  readonly comparisons: number;
  /** Calibration values outside the range. */
  readonly clipped: number;
  /** Calibration pictures, by their place, whose values would have spoilt the scales of all others. */
  readonly leftOut?: readonly LeftOut[] | undefined;
  /** How `--ring auto` chose. */
  readonly ring?: RingChoice | undefined;
  readonly plan?: PlanSummary | undefined;
  readonly calibratedOn: { readonly source: string; readonly images: number; readonly extraMarginBits: number };
}

interface MinMax {
  readonly min: number;
  readonly max: number;
}

export interface StoredModel {
  readonly compiled: CompiledModel;
  readonly summary: CompiledSummary;
}

/** Whether a folder looks like a compiled model. */
export async function isModelFolder(path: string): Promise<boolean> {
  const found = await stat(join(path, 'program.bin')).catch(() => undefined);
  return found?.isFile() === true;
}

/**
 * Writes a compiled model; a folder that stands there is replaced file by file.
 * @returns paths of the two binary files, and the weights' size.
 */
export async function writeModelFolder(
  folder: string,
  { compiled, summary }: StoredModel,
): Promise<{ program: string; weights: string; weightBytes: number }> {
  await mkdir(folder, { recursive: true });
  const program = join(folder, 'program.bin');
  const weights = join(folder, 'weights.bin');
  const weightBytes = await encodeWeights(compiled.weights, compiled.program, nodeCodec);
  const { name, classes, preprocess } = compiled.description;
  await writeWhole(program, await encodeProgram(compiled.program), 0o644);
  await writeWhole(weights, weightBytes, 0o600);
  const text = JSON.stringify({ schema: 'tessera/model@1', name, classes, preprocess, ...summary }, null, 1);
  await writeWhole(join(folder, 'model.json'), `${text}\n`, 0o644);
  return { program, weights, weightBytes: weightBytes.length };
}

/** @throws DataError ("bad-compiled-model") when files are missing, broken or of different models. */
export async function readModelFolder(folder: string): Promise<StoredModel> {
  const read = async (name: string): Promise<Uint8Array> => {
    try {
      return await readFile(join(folder, name));
    } catch (cause) {
      throw broken(folder, `${name} cannot be read`, cause);
    }
  };
  const file = parseModelFile(await read('model.json'), folder);
  const { schema: _, name, classes, preprocess, ...summary } = file;
  const program = await decodeProgram(await read('program.bin'));
  const hash = await programHash(program);
  if (hash !== summary.hash) throw broken(folder, 'program.bin and model.json are of different models');
  const weights = await decodeWeights(await read('weights.bin'), program, nodeCodec);
  const description = { name, ...(classes === undefined ? {} : { classes }), ...(preprocess === undefined ? {} : { preprocess }) };
  return { compiled: { program, weights, description, hash }, summary };
}

function parseModelFile(bytes: Uint8Array, folder: string): v.InferOutput<typeof modelFileSchema> {
  let reason = 'it is not JSON';
  try {
    const result = v.safeParse(modelFileSchema, JSON.parse(new TextDecoder().decode(bytes)));
    if (result.success) return result.output;
    reason = `${v.getDotPath(result.issues[0]) ?? ''}: ${result.issues[0].message}`;
  } catch {}
  throw broken(folder, `model.json cannot be used: ${reason}`);
}

function broken(folder: string, reason: string, cause?: unknown): DataError {
  const hint = 'Compile the model again with tessera compile.';
  return new DataError(`${folder} is no compiled model: ${reason}`, { code: 'bad-compiled-model', where: folder, hint, cause });
}
