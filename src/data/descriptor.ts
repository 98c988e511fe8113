// The JSON that names pictures, labels and preprocessing. Not here: reading what it names.
import * as v from 'valibot';
import { DataError } from '../errors.js';
import { type Preprocessing, planesOf } from './preprocess.js';

const positiveInteger = v.pipe(v.number(), v.integer(), v.minValue(1));
const finite = v.pipe(v.number(), v.finite());

const preprocessingEntries = {
  resize: v.optional(v.pipe(positiveInteger, v.maxValue(8192))),
  crop: v.optional(v.pipe(positiveInteger, v.maxValue(8192))),
  mean: v.optional(v.pipe(v.array(finite), v.minLength(1), v.maxLength(3))),
  std: v.optional(
    v.pipe(
      v.array(
        v.pipe(
          finite,
          v.check((value) => value !== 0, 'must not be 0'),
        ),
      ),
      v.minLength(1),
      v.maxLength(3),
    ),
  ),
  channels: v.optional(v.picklist(['rgb', 'bgr', 'gray', 'grey'])),
};

/** Notes that networks' preprocessing files carry; read by people only. */
const remarks = { note: v.optional(v.string()), range: v.optional(v.string()), input: v.optional(v.array(v.unknown())) };

const descriptorSchema = v.strictObject({
  images: v.optional(v.string()),
  labels: v.optional(v.union([v.string(), v.record(v.string(), v.union([v.number(), v.string()])), v.array(v.number())])),
  annotations: v.optional(v.string()),
  ignore: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(255))),
  format: v.optional(v.picklist(['cifar10', 'cifar100', 'idx', 'folder', 'npy', 'pairs'])),
  classes: v.optional(v.union([v.string(), v.array(v.string())])),
  limit: v.optional(positiveInteger),
  ...preprocessingEntries,
  ...remarks,
});

/** A dataset descriptor as written; paths are relative to its own folder. A file with preprocessing alone has no `images`. */
export type Descriptor = v.InferOutput<typeof descriptorSchema>;

/**
 * Reads a descriptor's JSON text.
 * @param where names the file in errors.
 * @throws DataError ("bad-descriptor") that names the key.
 */
export function parseDescriptor(text: string, where: string): Descriptor {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw badDescriptor(where, 'it is not JSON', cause);
  }
  const result = v.safeParse(descriptorSchema, value);
  if (!result.success) {
    const issue = result.issues[0];
    const key = v.getDotPath(issue) ?? '';
    throw badDescriptor(where, `${key === '' ? '' : `"${key}": `}${issue.message}`, undefined);
  }
  return result.output;
}

function badDescriptor(where: string, reason: string, cause: unknown): DataError {
  return new DataError(`${where} is not a dataset descriptor: ${reason}`, {
    code: 'bad-descriptor',
    where,
    hint: 'See the dataset descriptor in docs/guide.md.',
    cause,
  });
}

/**
 * The preprocessing a descriptor states, or undefined where it states none. A missing mean is 0, a missing std 1, missing channels rgb.
 * @throws DataError ("bad-descriptor") when mean or std have a length that does not fit the planes.
 */
export function preprocessingOf(descriptor: Descriptor, where: string): Preprocessing | undefined {
  const { resize, crop, mean, std, channels } = descriptor;
  if (mean === undefined && std === undefined && channels === undefined && resize === undefined && crop === undefined) return undefined;
  const preprocessing: Preprocessing = {
    ...(resize === undefined ? {} : { resize }),
    ...(crop === undefined ? {} : { crop }),
    mean: mean ?? [0],
    std: std ?? [1],
    channels: channels === 'grey' ? 'gray' : (channels ?? 'rgb'),
  };
  const planes = planesOf(preprocessing);
  for (const [key, list] of [
    ['mean', preprocessing.mean],
    ['std', preprocessing.std],
  ] as const) {
    if (list.length !== 1 && list.length !== planes) {
      throw badDescriptor(where, `"${key}" has ${list.length} numbers for ${planes} plane${planes === 1 ? '' : 's'}`, undefined);
    }
  }
  return preprocessing;
}
