// Gradient of a float convolution with respect to its weights. Plain twin: training-plain.ts.
import type { Compute } from './compute.js';
import type { ConvGeometry } from './geometry.js';
import { scratchBytes, simplify, weightCount } from './tiling.js';

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
}

/** Throws RangeError for a geometry no convolution can have, and for windows larger than the scratch memory holds. */
export function prepareWeightGradient(compute: Compute, geometry: ConvGeometry): WeightGradient {
  weightCount(geometry);
  const g = simplify(geometry);
  const inputs = g.inputChannels / g.groups;
  const outputs = g.outputChannels / g.groups;
  if (g.groups === 1 && g.inputHeight * g.inputWidth === 1 && g.kernelHeight * g.kernelWidth === 1 && g.outputHeight * g.outputWidth === 1)
    return { geometry, record: compute.words(0), items: Math.ceil(outputs / 4), dense: [inputs, outputs] };
  const { words, blocks } = recordOf(geometry);
  const record = compute.words(words.length);
  record.set(words);
  return { geometry, record, items: blocks };
}

export function freeWeightGradient(compute: Compute, { record }: WeightGradient): void {
  compute.free(record);
}

/** The record of assembly/weight-gradient.ts, and how many items there are. */
function recordOf(g: ConvGeometry): { words: readonly number[]; blocks: number } {
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
  { geometry: g, record, items, dense }: WeightGradient,
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
  else await compute.run('weightGradient', [record, input, outputGradient, batch, gradient], items, { costPerItem });
}
