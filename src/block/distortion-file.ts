// The distortion file (.npz): what every patch does to every channel, and how that was measured. Not here: measuring it.
import * as v from 'valibot';
import { type NpyArray, type NpyData, readNpz, textOf, writeNpz } from '../data/npy.js';
import { DataError } from '../errors.js';
import type { Patch } from '../model/program.js';
import { blocksOf, fitsMap } from './candidates.js';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
/** Of a layer: no network has more channels or longer sides. */
const length = v.pipe(count, v.maxValue(65535));

/** Most bytes a file may unpack to: a ResNet-50's takes 115 MB at 317 patches for each of 22,720 channels. */
const limitBytes = 2 ** 29;

const metaSchema = v.object({
  schema: v.literal('tessera/distortion@1'),
  /** SHA-256 of the ONNX file. */
  model: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'not a SHA-256 in hexadecimal')),
  method: v.picklist(['linear', 'exact', 'loss']),
  /** Pictures measured. */
  samples: count,
  /** Random directions at the output for each picture; 0 for methods without. */
  probes: count,
  seed: count,
  /** Where the change was measured: at the scores unless it says otherwise. */
  at: v.optional(v.picklist(['logits', 'features'])),
  /** SHA-256 of the spec under which it was measured; the network without one unless it says so. */
  under: v.optional(v.string()),
  version: v.string(),
  /** Activations in the order they run, and [channels, height, width] of each. */
  layers: v.array(v.string()),
  shapes: v.array(v.tuple([length, length, length])),
});

export type DistortionMeta = v.InferOutput<typeof metaSchema>;

/** Rows are the channels of all layers in order, columns the candidates. */
export interface Distortion {
  readonly meta: DistortionMeta;
  readonly patches: readonly Patch[];
  /** Expected squared change of the output, rows × candidates; NaN where the candidate is not one of the channel's. */
  readonly values: Float64Array;
  /** Only where it was measured (`distort --windows`). */
  readonly flips?: FlipDistortion;
}

/** What signs do that a comparison window takes wrong near zero: see distort-windows.ts. */
export interface FlipDistortion {
  /** Bits below 2^(exponents[layer] + level) are left out, in the unit of what the layer reads; a level is 0 to levels − 1. */
  readonly exponents: Int32Array;
  readonly levels: number;
  /** Expected squared change of the output, rows × candidates × levels, beside what the patch does; NaN where not measured. */
  readonly values: Float32Array;
  /** By how much all channels of a layer together do more than the sum of each alone, layers × levels (for plain ReLUs). */
  readonly joint: Float64Array;
}

/** One row of a distortion. */
export interface ChannelRow {
  /** Index into the meta data's layers. */
  readonly layer: number;
  readonly channel: number;
  readonly height: number;
  readonly width: number;
}

/** The rows a distortion has: every channel of every layer. */
export function channelRows({ shapes }: Pick<DistortionMeta, 'shapes'>): readonly ChannelRow[] {
  return shapes.flatMap(([channels, height, width], layer) =>
    Array.from({ length: channels }, (_, channel) => ({ layer, channel, height, width })),
  );
}

/** The file's bytes; the same distortion gives the same bytes. */
export function writeDistortion({ meta, patches, values, flips }: Distortion): Uint8Array {
  const rows = channelRows(meta);
  const shape = [rows.length, patches.length];
  const cost = Float64Array.from(values, (value, i) => {
    const { height, width } = rows[Math.floor(i / patches.length)]!;
    return Number.isNaN(value) ? Number.NaN : blocksOf(patches[i % patches.length]!, height, width);
  });
  return writeNpz({
    distortion: { shape, data: values },
    cost: { shape, data: cost },
    patches: { shape: [patches.length, 2], data: Int32Array.from(patches.flat()) },
    layer: { shape: [rows.length], data: Int32Array.from(rows, (row) => row.layer) },
    channel: { shape: [rows.length], data: Int32Array.from(rows, (row) => row.channel) },
    ...(flips === undefined ? {} : flipArrays(flips, shape)),
    meta: JSON.stringify(meta),
  });
}

function flipArrays({ exponents, levels, values, joint }: FlipDistortion, shape: readonly number[]) {
  return {
    flip: { shape: [...shape, levels], data: values },
    flip_exponent: { shape: [exponents.length], data: exponents },
    flip_joint: { shape: [exponents.length, levels], data: joint },
  };
}

/**
 * Reads what {@link writeDistortion} wrote.
 * @throws DataError ("bad-distortion") for a file that is cut short, or whose parts do not fit together.
 */
export function readDistortion(bytes: Uint8Array, where: string): Distortion {
  const arrays = archive(bytes, where);
  const meta = parseMeta(textOf(part(arrays, 'meta', where), where), where);
  const layer = part(arrays, 'layer', where);
  const channels = meta.shapes.reduce((sum, [own]) => sum + own, 0);
  // Before the rows are listed: the meta data can claim more of them than memory holds.
  if (layer.data.length !== channels) throw bad(where, `"layer" has ${layer.data.length} rows, its layers make it ${channels}`);
  const rows = channelRows(meta);
  const listed = part(arrays, 'patches', where);
  const candidates = listed.shape[0] ?? 0;
  const flat = integers(listed, [candidates, 2], 'patches', where);
  const patches = Array.from({ length: candidates }, (_, k): Patch => [flat[2 * k]!, flat[2 * k + 1]!]);
  const values = reals(part(arrays, 'distortion', where), [rows.length, candidates], 'distortion', where);
  const layers = integers(layer, [rows.length], 'layer', where);
  const channel = integers(part(arrays, 'channel', where), [rows.length], 'channel', where);
  if (rows.some((row, i) => row.layer !== layers[i] || row.channel !== channel[i]))
    throw bad(where, 'its channels are not those of its layers');
  const flips = arrays.has('flip') ? readFlips(arrays, meta, [rows.length, candidates], where) : undefined;
  const distortion = { meta, patches, values, ...(flips === undefined ? {} : { flips }) };
  checkValues(distortion, rows, where);
  return distortion;
}

function readFlips(arrays: Map<string, NpyArray>, meta: DistortionMeta, shape: readonly number[], where: string): FlipDistortion {
  const flip = part(arrays, 'flip', where);
  const levels = flip.shape[2] ?? 0;
  const values = Float32Array.from(reals(flip, [...shape, levels], 'flip', where));
  const exponents = integers(part(arrays, 'flip_exponent', where), [meta.layers.length], 'flip_exponent', where);
  const joint = reals(part(arrays, 'flip_joint', where), [meta.layers.length, levels], 'flip_joint', where);
  const bounded = exponents.every((exponent) => Math.abs(exponent) <= 64);
  if (!bounded || joint.some((factor) => !(factor >= 0 && factor < Number.POSITIVE_INFINITY)) || values.some((value) => value < 0))
    throw bad(where, 'its effects of wrong signs are out of range');
  return { exponents, levels, values, joint };
}

function checkValues({ patches, values }: Distortion, rows: readonly ChannelRow[], where: string): void {
  rows.forEach(({ height, width, layer, channel }, row) => {
    let measured = 0;
    patches.forEach((patch, k) => {
      const value = values[row * patches.length + k]!;
      if (Number.isNaN(value)) return;
      measured++;
      const place = `channel ${channel} of layer ${layer}`;
      if (!Number.isFinite(value)) throw bad(where, `the distortion of ${place} is not finite`);
      if (!fitsMap(patch, height, width))
        throw bad(where, `patch ${patch.join(' × ')} is larger than the ${height} × ${width} map of ${place}`);
    });
    if (measured === 0) throw bad(where, `channel ${channel} of layer ${layer} has no candidate`);
  });
}

function archive(bytes: Uint8Array, where: string): Map<string, NpyArray> {
  try {
    return readNpz(bytes, where, limitBytes);
  } catch (cause) {
    if (cause instanceof DataError) throw bad(where, `it is cut short or no .npz archive (${cause.message})`, cause);
    throw cause;
  }
}

function part(arrays: Map<string, NpyArray>, name: string, where: string): NpyArray {
  const found = arrays.get(name);
  if (found === undefined) throw bad(where, `it has no array "${name}"`);
  return found;
}

function shaped(array: NpyArray, shape: readonly number[], name: string, where: string): NpyData {
  if (array.shape.length === shape.length && shape.every((length, axis) => array.shape[axis] === length)) return array.data;
  throw bad(where, `"${name}" is ${array.shape.join(' × ')}, its layers and patches make it ${shape.join(' × ')}`);
}

function integers(array: NpyArray, shape: readonly number[], name: string, where: string): Int32Array {
  const data = shaped(array, shape, name, where);
  if (data instanceof Int32Array) return data;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Int32Array.from(data, Number);
  throw bad(where, `"${name}" does not hold whole numbers`);
}

function reals(array: NpyArray, shape: readonly number[], name: string, where: string): Float64Array {
  const data = shaped(array, shape, name, where);
  if (data instanceof Float64Array) return data;
  if (data instanceof Float32Array) return Float64Array.from(data);
  throw bad(where, `"${name}" does not hold floating-point numbers`);
}

function parseMeta(text: string, where: string): DistortionMeta {
  let reason = 'its meta data are not JSON';
  try {
    const result = v.safeParse(metaSchema, JSON.parse(text));
    if (result.success && result.output.layers.length === result.output.shapes.length) return result.output;
    reason = result.success ? 'not every layer has a shape' : `meta.${v.getDotPath(result.issues[0]) ?? ''}: ${result.issues[0].message}`;
  } catch {}
  throw bad(where, reason);
}

function bad(where: string, reason: string, cause?: unknown): DataError {
  const hint = 'Make it again with tessera distort.';
  return new DataError(`${where} is not a distortion file: ${reason}`, { code: 'bad-distortion', where, hint, cause });
}
