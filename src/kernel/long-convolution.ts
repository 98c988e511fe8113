// Convolutions and pooling sums of 64-bit words, mod 2^64: what linear.ts calls for that width. Weights stay in their own order.
import type { Compute } from './compute.js';
import type { ConvGeometry, PoolGeometry } from './geometry.js';
import { type ConvolveOptions, expectLength, onHeap, type Packed } from './packed.js';
import { denseRecord, scratchBytes, simplify, weightCount } from './tiling.js';

/** Nanoseconds of one multiply-add on one thread. */
const macNanoseconds = 0.4;

/** Bytes of scratch the kernel keeps for itself, and of one step of a panel: 8 words. */
const ownScratch = 512;
const stepBytes = 64;

/** Copies weights to the heap. Throws RangeError where their number does not fit the geometry, or a window is too large. */
export function packLongs(compute: Compute, geometry: ConvGeometry, weights: BigInt64Array): Packed<BigInt64Array> {
  expectLength('weights', weights.length, weightCount(geometry));
  const simple = simplify(geometry);
  if (simple.kernelHeight * simple.kernelWidth * stepBytes > scratchBytes - ownScratch)
    throw new RangeError(`convolve: a kernel of ${simple.kernelHeight} x ${simple.kernelWidth} is larger than 64-bit words support`);
  const values = compute.longs(weights.length);
  values.set(weights);
  return { geometry, simple, depthwise: false, values, record: onHeap(compute, denseRecord(simple)) };
}

/** output = bias + addend + weights * input mod 2^64; see `convolve` of linear.ts. */
export async function convolveLongs(
  compute: Compute,
  packed: Packed<BigInt64Array>,
  input: BigInt64Array,
  batch: number,
  output: BigInt64Array,
  { bias, addend }: ConvolveOptions<BigInt64Array>,
): Promise<void> {
  const { geometry: g, simple, values, record } = packed;
  expectLength('input', input.length, batch * g.inputChannels * g.inputHeight * g.inputWidth);
  expectLength('output', output.length, batch * g.outputChannels * g.outputHeight * g.outputWidth);
  if (bias) expectLength('bias', bias.length, g.outputChannels);
  if (addend) expectLength('addend', addend.length, output.length);
  if (output.length === 0) return;
  const rows = simple.outputChannels / simple.groups;
  const tiles = Math.ceil((batch * simple.outputHeight * simple.outputWidth) / 8) * simple.groups;
  // Enough items for every thread; each packs its columns anew, so that no more than needed.
  const rowBlocks = compute.threads > 1 ? Math.min(rows, Math.ceil((compute.threads * 4) / tiles)) : 1;
  const itemRows = Math.ceil(rows / rowBlocks);
  const k = values.length / Math.max(1, simple.outputChannels);
  const args = [record, values, input, batch, output, bias ?? 0, addend ?? 0, itemRows];
  const costPerItem = (itemRows + 4) * Math.max(1, k) * 8 * macNanoseconds;
  await compute.run('convolveLongs', args, tiles * Math.ceil(rows / itemRows), { costPerItem });
}

/** Sums over windows mod 2^64; see `sumPool` of linear.ts. */
export async function sumPoolLongs(
  compute: Compute,
  geometry: PoolGeometry,
  input: BigInt64Array,
  batch: number,
  output: BigInt64Array,
): Promise<void> {
  const { channels, ...map } = geometry;
  const maps = batch * channels;
  expectLength('input', input.length, maps * map.inputHeight * map.inputWidth);
  expectLength('output', output.length, maps * map.outputHeight * map.outputWidth);
  const { inputHeight, inputWidth, outputHeight, outputWidth, kernelHeight, kernelWidth, strideY, strideX, dilationY, dilationX } = map;
  const sizes = [1, inputHeight, inputWidth, 1, outputHeight, outputWidth, kernelHeight, kernelWidth];
  const record = onHeap(compute, [...sizes, strideY, strideX, dilationY, dilationX, map.padTop, map.padLeft, 1, 1]);
  try {
    await compute.run('sumPoolLongs', [record, input, output], maps, {
      costPerItem: outputHeight * outputWidth * kernelHeight * kernelWidth,
    });
  } finally {
    compute.free(record);
  }
}
