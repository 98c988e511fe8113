// Convolution, fully connected layers and pooling sums on 32-bit words, everything mod 2^32. Plain twins: plain.ts.
import type { Compute } from './compute.js';
import type { ConvGeometry, PoolGeometry } from './geometry.js';
import { type ConvolveOptions, convolvePacked, type Packed, pack, sumPoolPacked } from './packed.js';

/** Integer weights on the compute heap, in the order the kernels read them. */
export type PackedWeights = Packed<Int32Array>;

/**
 * Packs weights [outputChannels, inputChannels / groups, kernelHeight, kernelWidth], which may lie anywhere, once for many
 * convolutions. Give them back with {@link freeWeights}. Throws RangeError where their number does not fit the geometry.
 */
export function packWeights(compute: Compute, geometry: ConvGeometry, weights: Int32Array): Promise<PackedWeights> {
  return pack(compute, geometry, weights, (length) => compute.words(length));
}

/** Gives the memory of packed weights back to the heap. */
export function freeWeights(compute: Compute, packed: Packed<Int32Array> | Packed<Float32Array>): void {
  compute.free(packed.values, packed.record);
}

/**
 * output = bias + addend + weights * input mod 2^32, for `batch` images in NCHW order. Every array lies on the heap; `bias` has
 * one word per output channel, `addend` the output's size and may be the output itself; input and output are distinct.
 * Throws RangeError where a length does not fit.
 */
export function convolve(
  compute: Compute,
  packed: PackedWeights,
  input: Int32Array,
  batch: number,
  output: Int32Array,
  options: ConvolveOptions<Int32Array> = {},
): Promise<void> {
  return convolvePacked(compute, 'Words', packed, input, batch, output, options);
}

/** Sums over windows mod 2^32, [batch, channels, outputHeight, outputWidth]; positions outside the map count as 0. */
export function sumPool(compute: Compute, geometry: PoolGeometry, input: Int32Array, batch: number, output: Int32Array): Promise<void> {
  return sumPoolPacked(compute, 'Words', geometry, input, batch, output);
}
