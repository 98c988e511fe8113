// Gradient of a float convolution with respect to its weights. Plain twin: training-plain.ts.
import type { Compute } from './compute.js';
import type { ConvGeometry } from './geometry.js';
import { scratchBytes, simplify, tiled, weightCount } from './tiling.js';

/** Estimated nanoseconds of a multiply-add on one thread, a little high so that small layers run on workers. */
const macNanoseconds = 0.1;
/** Weights of an output channel at a time: enough that a band of gradients in the first-level cache is read many times. */
const blockWeights = 18;
const blockOutputs = 64;
/** Four bands of gradients stay in the first-level cache. */
const bandBytes = 4096;
/** Scratch memory less what the convolutions keep, the table of taps and some room for rounding up. */
const usableBytes = scratchBytes - 4096;

/** How to compute the gradient of one layer's weights; its record lies on the heap until freed. */
export interface WeightGradient {
  readonly geometry: ConvGeometry;
  readonly record: Int32Array;
  readonly items: number;
  /** Fully connected: inputs and outputs. */
  readonly dense?: readonly [inputs: number, outputs: number];
  /** By assembly/weight-points.ts: parts of the batch whose gradients are added at the end. */
  readonly parts?: number;
}

/** Throws RangeError for a geometry no convolution can have, and for windows larger than the scratch memory holds. */
export function prepareWeightGradient(compute: Compute, geometry: ConvGeometry): WeightGradient {
  weightCount(geometry);
  const g = simplify(geometry);
  const inputs = g.inputChannels / g.groups;
  const outputs = g.outputChannels / g.groups;
  if (g.groups === 1 && g.inputHeight * g.inputWidth === 1 && g.kernelHeight * g.kernelWidth === 1 && g.outputHeight * g.outputWidth === 1)
    return { geometry, record: compute.words(0), items: Math.ceil(outputs / 4), dense: [inputs, outputs] };
  const { words, blocks, parts } = pointsOf(geometry) ?? recordOf(geometry);
  const record = compute.words(words.length);
  record.set(words);
  return { geometry, record, items: blocks, ...(parts === undefined ? {} : { parts }) };
}

interface Cut {
  readonly words: readonly number[];
  readonly blocks: number;
  readonly parts?: number;
}

/** Channels of a block of assembly/weight-points.ts: inputs, output gradients and sums at 36 points then take 443 KB. */
const pointChannels = 32;
/** Items there are at the least, so that every thread has some: where blocks are few, the batch is cut into parts. Not by threads: sums must not depend on them. */
const fewestItems = 16;

/** The record of assembly/weight-points.ts; undefined where that does not pay. */
function pointsOf(g: ConvGeometry): Cut | undefined {
  if (tiled(g, 4) === undefined) return undefined;
  const [inputs, outputs] = [g.inputChannels / g.groups, g.outputChannels / g.groups];
  const [blockInputs, blockOutputs] = [
    Math.min(pointChannels, 8 * Math.ceil(inputs / 8)),
    Math.min(pointChannels, 4 * Math.ceil(outputs / 4)),
  ];
  const blocks = Math.ceil(inputs / blockInputs) * Math.ceil(outputs / blockOutputs) * g.groups;
  const parts = Math.ceil(fewestItems / blocks);
  const maps = [inputs, g.inputHeight, g.inputWidth, outputs, g.outputHeight, g.outputWidth, g.padTop, g.padLeft, g.groups];
  const tiles = [Math.ceil(g.outputHeight / 4), Math.ceil(g.outputWidth / 4)];
  return { words: [...maps, blockInputs, blockOutputs, parts, ...tiles], blocks: blocks * parts, parts };
}

export function freeWeightGradient(compute: Compute, { record }: WeightGradient): void {
  compute.free(record);
}

/** The record of assembly/weight-gradient.ts, and how many items there are. */
function recordOf(g: ConvGeometry): Cut {
  const inputs = g.inputChannels / g.groups;
  const outputs = g.outputChannels / g.groups;
  const taps = g.kernelHeight * g.kernelWidth;
  const leastY = Math.floor(-g.padTop / g.strideY);
  const leastX = Math.floor(-g.padLeft / g.strideX);
  const reachY = Math.floor(((g.kernelHeight - 1) * g.dilationY - g.padTop) / g.strideY) - leastY;
  const reachX = Math.floor(((g.kernelWidth - 1) * g.dilationX - g.padLeft) / g.strideX) - leastX;
  const columns = Math.ceil(g.outputWidth / 4) * 4;
  const pitch = columns + reachX;
  const phases = g.strideY * g.strideX;
  let [channels, block] = [Math.max(1, Math.min(inputs, Math.floor(blockWeights / taps))), Math.min(outputs, blockOutputs)];
  let rows = Math.max(1, Math.min(g.outputHeight, Math.floor(bandBytes / (4 * columns))));
  const phaseWords = (): number => (rows + reachY) * pitch + 4;
  const bytes = (): number =>
    4 * (channels * taps + channels * phases * phaseWords() + block * rows * columns) + 32 * (block + 3) * (channels * taps + 2);
  while (bytes() > usableBytes) {
    if (rows > 1) rows = Math.ceil(rows / 2);
    else if (channels > 1) channels = Math.ceil(channels / 2);
    else if (block > 1) block = Math.ceil(block / 2);
    else throw new RangeError(`a window of ${g.kernelHeight} x ${g.kernelWidth} over rows of ${g.inputWidth} is larger than this supports`);
  }
  const window = [g.kernelHeight, g.kernelWidth, g.strideY, g.strideX, g.dilationY, g.dilationX, g.padTop, g.padLeft, g.groups];
  return {
    words: [
      ...[inputs, g.inputHeight, g.inputWidth, outputs, g.outputHeight, g.outputWidth],
      ...window,
      ...[channels, block, rows, columns, pitch, phaseWords(), leastY, leastX],
    ],
    blocks: Math.ceil(inputs / channels) * Math.ceil(outputs / block) * g.groups,
  };
}

/**
 * gradient = Σ over pictures and positions of the output's gradient times what each weight reads, [outputChannels, inputChannels / groups,
 * kernelHeight, kernelWidth]. `input` and `outputGradient` hold `batch` pictures; all lie on the heap. The sums do not depend on threads.
 */
export async function weightGradient(
  compute: Compute,
  { geometry: g, record, items, dense, parts }: WeightGradient,
  input: Float32Array,
  outputGradient: Float32Array,
  batch: number,
  gradient: Float32Array,
): Promise<void> {
  const macs = batch * g.outputHeight * g.outputWidth * weightCount(g);
  if (
    input.length !== batch * g.inputChannels * g.inputHeight * g.inputWidth ||
    outputGradient.length !== batch * g.outputChannels * g.outputHeight * g.outputWidth ||
    gradient.length !== weightCount(g)
  )
    throw new RangeError('weightGradient: an array does not have the size of its shape');
  const costPerItem = (macs / Math.max(1, items)) * macNanoseconds;
  if (dense) await compute.run('denseWeightGradient', [input, outputGradient, batch, ...dense, gradient], items, { costPerItem });
  else if (parts !== undefined)
    await inParts(compute, parts, gradient, (to) =>
      compute.run('weightGradientPoints', [record, input, outputGradient, batch, to], items, { costPerItem: costPerItem / 3 }),
    );
  else await compute.run('weightGradient', [record, input, outputGradient, batch, gradient], items, { costPerItem });
}

/** Has gradients of all parts made, and adds them up. */
async function inParts(compute: Compute, parts: number, gradient: Float32Array, make: (to: Float32Array) => Promise<void>): Promise<void> {
  if (parts === 1) return make(gradient);
  const all = compute.floats(parts * gradient.length);
  try {
    await make(all);
    await compute.run('addParts', [all, parts, gradient.length, gradient], gradient.length, { costPerItem: parts });
  } finally {
    compute.free(all);
  }
}
