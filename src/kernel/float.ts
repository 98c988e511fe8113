// Float (f32) forward kernels: calibration and the plaintext answer. Plain twins: plain.ts.
import type { Compute } from './compute.js';
import type { ConvGeometry, PoolGeometry } from './geometry.js';
import { type ConvolveOptions, convolvePacked, type Packed, pack, repack, runPool, sumPoolPacked } from './packed.js';

/** Float weights on the compute heap; give them back with freeWeights of linear.ts. */
export type PackedFloatWeights = Packed<Float32Array>;

/** As packWeights, for floats. */
export function packFloatWeights(compute: Compute, geometry: ConvGeometry, weights: Float32Array): Promise<PackedFloatWeights> {
  return pack(compute, geometry, weights, (length) => compute.floats(length));
}

/** Puts other weights, which lie on the heap, in the place of packed ones. */
export function repackFloatWeights(compute: Compute, packed: PackedFloatWeights, weights: Float32Array): Promise<void> {
  return repack(compute, packed, weights);
}

/** output = bias + addend + weights * input for `batch` images in NCHW order, all arrays on the heap. As convolve. */
export function convolveFloat(
  compute: Compute,
  packed: PackedFloatWeights,
  input: Float32Array,
  batch: number,
  output: Float32Array,
  options: ConvolveOptions<Float32Array> = {},
): Promise<void> {
  return convolvePacked(compute, 'Floats', packed, input, batch, output, options);
}

/** Maxima over windows; positions outside the map take no part. A window that lies outside altogether gives -Infinity. */
export function maxPoolFloat(
  compute: Compute,
  geometry: PoolGeometry,
  input: Float32Array,
  batch: number,
  output: Float32Array,
): Promise<void> {
  return runPool(compute, 'maxPoolFloats', geometry, input, batch, output);
}

/** Sums over windows; positions outside the map count as 0. An average pool multiplies by 1 / count afterwards ({@link multiplyFloat}). */
export function sumPoolFloat(
  compute: Compute,
  geometry: PoolGeometry,
  input: Float32Array,
  batch: number,
  output: Float32Array,
): Promise<void> {
  return sumPoolPacked(compute, 'Floats', geometry, input, batch, output);
}

/** output[i] = input[i] * factors[i mod factors.length]; `factors` lies on the heap. */
export function multiplyFloat(compute: Compute, input: Float32Array, factors: Float32Array, output: Float32Array): Promise<void> {
  return compute.run('multiplyFloats', [output, input, factors, factors.length], input.length, { grain: 32 });
}

/** output = min(max(input, minimum), maximum); ReLU is (0, Infinity). In place where output is input. */
export function clipFloat(compute: Compute, input: Float32Array, minimum: number, maximum: number, output: Float32Array): Promise<void> {
  return compute.run('clipFloats', [output, input, minimum, maximum], input.length, { grain: 32 });
}

/**
 * output[i] = input[i] where it is >= 0, else input[i] * slopes[floor(i / inner) mod slopes.length]. Leaky ReLU has one slope and
 * inner = 1; PRelu has one a channel and inner = height * width. `slopes` lies on the heap.
 */
export function slopeFloat(
  compute: Compute,
  input: Float32Array,
  slopes: Float32Array,
  inner: number,
  output: Float32Array,
): Promise<void> {
  return compute.run('slopeFloats', [output, input, slopes, slopes.length, inner], input.length, { grain: 32 });
}

/** output = scale * a + otherScale * b. */
export function addFloat(
  compute: Compute,
  a: Float32Array,
  scale: number,
  b: Float32Array,
  otherScale: number,
  output: Float32Array,
): Promise<void> {
  return compute.run('addFloats', [output, a, scale, b, otherScale], a.length, { grain: 32 });
}

/** output[i] = input[i] * factors[c] + offsets[c] with c = floor(i / inner) mod factors.length: batch norm, or a product with constants. */
export function scaleShiftFloat(
  compute: Compute,
  input: Float32Array,
  factors: Float32Array,
  offsets: Float32Array,
  inner: number,
  output: Float32Array,
): Promise<void> {
  return compute.run('scaleShiftFloats', [output, input, factors, offsets, factors.length, inner], input.length, { grain: 32 });
}
