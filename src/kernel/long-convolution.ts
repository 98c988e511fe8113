// Convolutions and pooling sums of 64-bit words, mod 2^64 or, faster, mod 2^33 to 2^47: what linear.ts calls for that width.
import type { Compute } from './compute.js';
import type { ConvGeometry, PoolGeometry } from './geometry.js';
import { type ConvolveOptions, expectLength, onHeap, type Packed } from './packed.js';
import { blockChannels, denseRecord, scratchBytes, simplify, weightCount } from './tiling.js';

/** Nanoseconds of one multiply-add on one thread. */
const macNanoseconds = 0.4;

/** Bytes of scratch the kernel keeps for itself, and of one step of a panel: 8 words. */
const ownScratch = 512;
const stepBytes = 64;

/** Rings of 33 to so many bits have a kernel that works in vectors: conv-wide.ts. */
const widestBits = 47;
/** Bytes of a step of its panels. */
const wideStepBytes = 96;
const wideMacNanoseconds = 0.15;
/** Tiles of 8 columns an item of it takes: enough to make up for reading weights. */
const wideTiles = 8;

/** Bits of the low parts of words, where the vector kernel takes a layer: it wants 4 output channels and as many positions. */
function lowBitsOf(simple: ConvGeometry, ringBits: number): number | undefined {
  if (ringBits <= 32 || ringBits > widestBits || simple.inputChannels === 0) return undefined;
  if (simple.outputChannels / simple.groups < 4 || simple.outputHeight * simple.outputWidth < 4) return undefined;
  const taps = simple.kernelHeight * simple.kernelWidth;
  return blockChannels(simple.inputChannels / simple.groups, taps) * taps * wideStepBytes > scratchBytes - ownScratch
    ? undefined
    : ringBits - 32;
}

/**
 * Puts weights on the heap. What is computed with them is right mod 2^ringBits. Throws RangeError where their number does not fit the
 * geometry, or a window is too large.
 */
export async function packLongs(
  compute: Compute,
  geometry: ConvGeometry,
  weights: BigInt64Array,
  ringBits: number,
): Promise<Packed<BigInt64Array>> {
  expectLength('weights', weights.length, weightCount(geometry));
  const simple = simplify(geometry);
  if (simple.kernelHeight * simple.kernelWidth * stepBytes > scratchBytes - ownScratch)
    throw new RangeError(`convolve: a kernel of ${simple.kernelHeight} x ${simple.kernelWidth} is larger than 64-bit words support`);
  const flat = compute.longs(weights.length);
  flat.set(weights);
  const common = { geometry, simple, depthwise: false, record: onHeap(compute, denseRecord(simple)) };
  const lowBits = lowBitsOf(simple, ringBits);
  if (lowBits === undefined) return { ...common, values: flat };
  const rows = simple.outputChannels / simple.groups;
  const k = weights.length / simple.outputChannels;
  const panels = simple.groups * Math.ceil(rows / 4);
  const taps = simple.kernelHeight * simple.kernelWidth;
  const values = compute.longs(panels * 4 * k);
  const block = blockChannels(simple.inputChannels / simple.groups, taps) * taps;
  await compute.run('packWideRows', [values, flat, rows, k, block, lowBits], panels, { costPerItem: k * 8 });
  compute.free(flat);
  return { ...common, values, lowBits };
}

async function convolveWide(
  compute: Compute,
  { simple, values, record, lowBits }: Packed<BigInt64Array>,
  input: BigInt64Array,
  batch: number,
  output: BigInt64Array,
  { bias, addend }: ConvolveOptions<BigInt64Array>,
): Promise<void> {
  const panels = Math.ceil(simple.outputChannels / simple.groups / 4);
  const tiles = Math.ceil((batch * simple.outputHeight * simple.outputWidth) / 8);
  const wanted = compute.threads > 1 ? compute.threads * 4 : 1;
  const itemTiles = Math.min(wideTiles, Math.max(1, Math.floor((tiles * simple.groups) / wanted)));
  const columnBlocks = Math.ceil(tiles / itemTiles) * simple.groups;
  const itemPanels = Math.ceil(panels / Math.min(panels, Math.ceil(wanted / columnBlocks)));
  const k = (simple.inputChannels / simple.groups) * simple.kernelHeight * simple.kernelWidth;
  const args = [record, values, input, batch, output, bias ?? 0, addend ?? 0, itemTiles, itemPanels, lowBits!];
  const costPerItem = itemTiles * 8 * (itemPanels * 4 + 4) * k * wideMacNanoseconds;
  await compute.run('convolveWide', args, columnBlocks * Math.ceil(panels / itemPanels), { costPerItem });
}

/** output = bias + addend + weights * input mod 2^64, or as the weights were packed for; see `convolve` of linear.ts. */
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
  if (packed.lowBits !== undefined)
    return convolveWide(compute, packed, input, batch, output, { ...(bias && { bias }), ...(addend && { addend }) });
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
