// Convolution, fully connected layers and pooling sums on ring words: everything mod 2^32 or, for 64-bit words, mod 2^64. Plain twins:
// plain.ts.
import type { Compute, Words } from './compute.js';
import type { ConvGeometry, PoolGeometry } from './geometry.js';
import { convolveLongs, packLongs, sumPoolLongs } from './long-convolution.js';
import { type ConvolveOptions, convolvePacked, type Packed, pack, sumPoolPacked } from './packed.js';

/** Integer weights on the compute heap, in the order the kernels read them. */
export type PackedWeights = Packed<Int32Array> | Packed<BigInt64Array>;

/**
 * Packs weights [outputChannels, inputChannels / groups, kernelHeight, kernelWidth], which may lie anywhere, once for many
 * convolutions. Give them back with {@link freeWeights}. Throws RangeError where their number does not fit the geometry.
 * @param ringBits Of 64-bit words: bits of results that need to be right. Convolutions of up to 47 bits are faster.
 */
export async function packWeights(compute: Compute, geometry: ConvGeometry, weights: Words, ringBits = 64): Promise<PackedWeights> {
  if (weights instanceof BigInt64Array) return packLongs(compute, geometry, weights, ringBits);
  return pack(compute, geometry, weights, (length) => compute.words(length));
}

/** Gives the memory of packed weights back to the heap. */
export function freeWeights(compute: Compute, packed: PackedWeights | Packed<Float32Array>): void {
  compute.free(packed.values, packed.record);
  if (packed.tiled) compute.free(packed.tiled.record);
}

/**
 * output = bias + addend + weights * input in the ring, for `batch` images in NCHW order. Every array lies on the heap; `bias` has
 * one word per output channel, `addend` the output's size and may be the output itself; input and output are distinct.
 * Throws RangeError where a length does not fit, TypeError where weights and words are of different widths.
 */
export function convolve(
  compute: Compute,
  packed: PackedWeights,
  input: Words,
  batch: number,
  output: Words,
  options: ConvolveOptions<Words> = {},
): Promise<void> {
  for (const words of [input, output, options.bias ?? input, options.addend ?? input]) {
    if (words instanceof Int32Array !== packed.values instanceof Int32Array) throw new TypeError('convolve: words of different widths');
  }
  if (packed.values instanceof BigInt64Array) {
    return convolveLongs(
      compute,
      packed as Packed<BigInt64Array>,
      input as BigInt64Array,
      batch,
      output as BigInt64Array,
      options as Longs,
    );
  }
  return convolvePacked(compute, 'Words', packed as Packed<Int32Array>, input as Int32Array, batch, output as Int32Array, options as Ints);
}

type Longs = ConvolveOptions<BigInt64Array>;
type Ints = ConvolveOptions<Int32Array>;

/** Sums over windows in the ring, [batch, channels, outputHeight, outputWidth]; positions outside the map count as 0. */
export function sumPool(compute: Compute, geometry: PoolGeometry, input: Words, batch: number, output: Words): Promise<void> {
  if (input instanceof Int32Array && output instanceof Int32Array) return sumPoolPacked(compute, 'Words', geometry, input, batch, output);
  return sumPoolLongs(compute, geometry, input as BigInt64Array, batch, output as BigInt64Array);
}
