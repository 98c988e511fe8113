// Passes of training over maps and weights. Plain twins: training-plain.ts.
import type { Compute } from './compute.js';

/** Maps of a batch: [batch, channels, size]. */
export interface Maps {
  readonly batch: number;
  readonly channels: number;
  readonly size: number;
}

/** Estimated nanoseconds of an element read from the third-level cache. */
const nanoseconds = 0.3;

function expectSize(name: string, { batch, channels, size }: Maps, ...arrays: readonly Float32Array[]): void {
  if (arrays.some((a) => a.length !== batch * channels * size))
    throw new RangeError(`${name}: an array does not have the size of its maps`);
}

/** Runs a kernel that gives two doubles a channel. */
async function channelSums(compute: Compute, kernel: string, args: readonly (number | Float32Array)[], maps: Maps): Promise<Float64Array> {
  const heap = compute.longs(2 * maps.channels);
  try {
    const costPerItem = maps.batch * maps.size * nanoseconds;
    await compute.run(kernel, [...args, maps.batch, maps.channels, maps.size, heap], maps.channels, { costPerItem });
    return new Float64Array(heap.buffer, heap.byteOffset, heap.length).slice();
  } finally {
    compute.free(heap);
  }
}

/** Mean and (biased) variance of each channel over the batch. Throws RangeError where there are no values. */
export async function channelMoments(
  compute: Compute,
  maps: Maps,
  x: Float32Array,
): Promise<{ mean: Float64Array; variance: Float64Array }> {
  expectSize('channelMoments', maps, x);
  const count = maps.batch * maps.size;
  if (count === 0) throw new RangeError('channelMoments: no values');
  const shifts = Float64Array.from({ length: maps.channels }, (_, c) => x[c * maps.size]!);
  const sums = await channelSums(compute, 'channelMoments', [x], maps);
  const mean = shifts.map((shift, c) => shift + sums[2 * c]! / count);
  const variance = shifts.map((_, c) => Math.max(0, sums[2 * c + 1]! / count - (sums[2 * c]! / count) ** 2));
  return { mean, variance };
}

/** For each channel Σ g and Σ g · (x − mean), in pairs. `means` lies on the heap. */
export function channelGradients(
  compute: Compute,
  maps: Maps,
  g: Float32Array,
  x: Float32Array,
  means: Float32Array,
): Promise<Float64Array> {
  expectSize('channelGradients', maps, g, x);
  return channelSums(compute, 'channelGradients', [g, x, means], maps);
}

/** Numbers of a channel, on the heap. */
export interface Mixture {
  readonly factors: Float32Array;
  readonly slopes: Float32Array;
  readonly offsets: Float32Array;
}

/** output = g · factors[c] + x · slopes[c] + offsets[c]; with `add`, added to what is there. In place where output is g or x. */
export function mixMaps(
  compute: Compute,
  maps: Maps,
  g: Float32Array,
  x: Float32Array,
  { factors, slopes, offsets }: Mixture,
  output: Float32Array,
  add: boolean,
): Promise<void> {
  expectSize('mixMaps', maps, g, x, output);
  const args = [output, g, x, factors, slopes, offsets, maps.channels, maps.size, add ? 1 : 0];
  return compute.run('mixMaps', args, maps.batch * maps.channels, { costPerItem: maps.size * nanoseconds });
}

/** output = g where 0 < y < cap, else 0, for y that a ReLU gave; with `add`, added to what is there. */
export function passPositive(
  compute: Compute,
  g: Float32Array,
  y: Float32Array,
  cap: number,
  output: Float32Array,
  add: boolean,
): Promise<void> {
  return compute.run('passPositive', [output, g, y, cap, add ? 1 : 0], g.length, { grain: 32, costPerItem: nanoseconds });
}

/** output[i] = values[order[i]], or 0 where order[i] is negative. */
export function gather(compute: Compute, values: Float32Array, order: Int32Array, output: Float32Array): Promise<void> {
  if (order.length !== output.length) throw new RangeError('gather: one place for each number');
  return compute.run('gatherWords', [output, values, order], output.length, { grain: 32 });
}

export interface Descent {
  /** Factor of the gradient (clipping). */
  readonly scale: number;
  /** Factor of the weights that is added to the gradient. */
  readonly decay: number;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly rate: number;
}

/** v = momentum · v + d with d = scale · gradient + decay · w; then w −= rate · v, or with Nesterov's rate · (d + momentum · v). */
export function descend(compute: Compute, step: Descent, w: Float32Array, gradient: Float32Array, v: Float32Array): Promise<void> {
  const args = [w, gradient, v, step.scale, step.decay, step.momentum, step.nesterov ? 1 : 0, step.rate];
  return compute.run('descend', args, w.length, { grain: 32 });
}

/**
 * output = values rounded to a multiple of `unit`: up or down at random from the seed, so that the mean stays, or without one to the nearest.
 * In place where output is values.
 */
export function roundTo(
  compute: Compute,
  values: Float32Array,
  unit: number,
  seed: number | undefined,
  output: Float32Array,
): Promise<void> {
  const options = { grain: 32, costPerItem: 1 };
  if (seed === undefined) return compute.run('roundNearest', [output, values, unit], values.length, options);
  return compute.run('roundRandomly', [output, values, unit, seed], values.length, options);
}

/** output = each of `units.length` equal rows rounded to the nearest multiple of its unit, as it is where that is 0. `units` on the heap. */
export function roundRows(compute: Compute, values: Float32Array, units: Float32Array, output: Float32Array): Promise<void> {
  const length = values.length / Math.max(1, units.length);
  return compute.run('roundRows', [output, values, units, length], units.length, { costPerItem: length });
}
