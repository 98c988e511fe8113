// Gradient of a float convolution with respect to its input: convolutions of the output's gradient with the flipped, transposed weights,
// one for each phase of the stride. Its twin is the adjoint: ⟨conv(x), g⟩ = ⟨x, gradient(g)⟩.
import type { Compute } from './compute.js';
import { convolveFloat, type PackedFloatWeights, packFloatWeights, repackFloatWeights } from './float.js';
import type { ConvGeometry } from './geometry.js';
import { freeWeights } from './linear.js';
import { addPhases } from './moves.js';
import { weightCount } from './tiling.js';
import { gather } from './training.js';

/** Weights packed for gradients; give them back with {@link freeInputGradient}. */
export interface PackedInputGradient {
  readonly geometry: ConvGeometry;
  readonly phases: readonly Phase[];
}

/** Input positions y ≡ first mod stride, along both axes. `packed` is absent where no output reads them. */
interface Phase {
  readonly firstY: number;
  readonly firstX: number;
  readonly rows: number;
  readonly columns: number;
  readonly packed?: PackedFloatWeights;
  /** On the heap where the weights will change: which weight each number of the phase's convolution is, or -1. */
  readonly order?: Int32Array;
}

/** Taps along one axis that reach the positions of a phase: offsets[j] is where in the output, relative to the position's number, tap taps[j] reads. */
interface AxisTaps {
  readonly first: number;
  readonly positions: number;
  readonly taps: readonly (number | undefined)[];
  readonly pad: number;
  readonly dilation: number;
}

/**
 * Packs the gradient of a convolution, whose weights are [outputChannels, inputChannels / groups, kernelHeight, kernelWidth]; with
 * `changing`, {@link repackInputGradient} can put others in their place.
 */
export async function packInputGradient(
  compute: Compute,
  geometry: ConvGeometry,
  weights: Float32Array,
  { changing = false } = {},
): Promise<PackedInputGradient> {
  if (weights.length !== weightCount(geometry)) throw new RangeError(`gradient: ${weights.length} weights`);
  const g = coversInput(geometry) ? asDense(geometry) : geometry;
  const phases: Phase[] = [];
  for (const y of phasesOf(g.inputHeight, g.kernelHeight, g.strideY, g.dilationY, g.padTop)) {
    for (const x of phasesOf(g.inputWidth, g.kernelWidth, g.strideX, g.dilationX, g.padLeft)) {
      phases.push(await packPhase(compute, g, weights, y, x, changing));
    }
  }
  return { geometry: g, phases };
}

export function freeInputGradient(compute: Compute, { phases }: PackedInputGradient): void {
  for (const { packed, order } of phases) {
    if (packed) freeWeights(compute, packed);
    if (order) compute.free(order);
  }
}

/** Puts other weights, which lie on the heap, in the place of packed ones that were said to change. */
export async function repackInputGradient(compute: Compute, { phases }: PackedInputGradient, weights: Float32Array): Promise<void> {
  for (const { packed, order } of phases) {
    if (packed === undefined) continue;
    if (order === undefined) throw new RangeError('repackInputGradient: these weights were packed for good');
    const flipped = compute.floats(order.length);
    await gather(compute, weights, order, flipped);
    await repackFloatWeights(compute, packed, flipped);
    compute.free(flipped);
  }
}

/**
 * output = gradient of the input, [batch, inputChannels, inputHeight, inputWidth], from the gradient of the output; with `add` it is added to
 * what is there. Both lie on the heap.
 */
export async function inputGradient(
  compute: Compute,
  { geometry: g, phases }: PackedInputGradient,
  gradient: Float32Array,
  batch: number,
  output: Float32Array,
  add: boolean,
): Promise<void> {
  if (phases.length === 1 && phases[0]?.packed) {
    await convolveFloat(compute, phases[0].packed, gradient, batch, output, add ? { addend: output } : {});
    return;
  }
  if (!add) output.fill(0);
  for (const phase of phases) {
    if (phase.packed === undefined) continue;
    const part = compute.floats(batch * g.inputChannels * phase.rows * phase.columns);
    await convolveFloat(compute, phase.packed, gradient, batch, part);
    const { rows, columns, firstY, firstX } = phase;
    const maps = { height: g.inputHeight, width: g.inputWidth, strideY: g.strideY, strideX: g.strideX };
    await addPhases(compute, { rows, columns, firstY, firstX, ...maps }, part, output);
    compute.free(part);
  }
}

function coversInput(g: ConvGeometry): boolean {
  const whole = g.kernelHeight === g.inputHeight && g.kernelWidth === g.inputWidth && g.outputHeight === 1 && g.outputWidth === 1;
  return whole && g.padTop === 0 && g.padLeft === 0 && g.dilationY === 1 && g.dilationX === 1 && g.groups === 1;
}

/** A convolution that covers its input as a fully connected layer: its gradient then is one too. */
function asDense(g: ConvGeometry): ConvGeometry {
  const one = { inputHeight: 1, inputWidth: 1, kernelHeight: 1, kernelWidth: 1, strideY: 1, strideX: 1 };
  return { ...g, ...one, inputChannels: g.inputChannels * g.inputHeight * g.inputWidth };
}

/**
 * The output positions that read input position y = first + stride · t are t + (first + pad − tap · dilation) / stride, for the taps
 * where that is whole: equally spaced taps, and so a convolution of its own. Empty where the axis has fewer positions than phases.
 */
function phasesOf(size: number, kernel: number, stride: number, dilation: number, pad: number): AxisTaps[] {
  const phases: AxisTaps[] = [];
  for (let first = 0; first < Math.min(stride, size); first++) {
    const taps = Array.from({ length: kernel }, (_, tap) => tap).filter((tap) => (first + pad - tap * dilation) % stride === 0);
    // Ascending offsets.
    taps.reverse();
    const offset = (tap: number): number => (first + pad - tap * dilation) / stride;
    const step = taps.length > 1 ? offset(taps[1]!) - offset(taps[0]!) : 1;
    // Taps of weight 0 in front keep the padding from being negative.
    const before = taps.length > 0 ? Math.max(0, Math.ceil(offset(taps[0]!) / step)) : 0;
    const start = taps.length > 0 ? offset(taps[0]!) - before * step : 0;
    const padded = [...new Array<undefined>(before).fill(undefined), ...taps];
    phases.push({ first, positions: Math.ceil((size - first) / stride), taps: padded, pad: -start, dilation: step });
  }
  return phases;
}

/** Which weight each number of a phase's convolution is, or -1. */
function flippedOrder(g: ConvGeometry, y: AxisTaps, x: AxisTaps): Int32Array {
  const inputs = g.inputChannels / g.groups;
  const outputs = g.outputChannels / g.groups;
  const taps = g.kernelHeight * g.kernelWidth;
  const order = new Int32Array(g.inputChannels * outputs * y.taps.length * x.taps.length);
  let at = 0;
  for (let input = 0; input < g.inputChannels; input++) {
    const group = Math.floor(input / inputs);
    for (let output = 0; output < outputs; output++) {
      const from = ((group * outputs + output) * inputs + (input % inputs)) * taps;
      for (const ky of y.taps) {
        for (const kx of x.taps) order[at++] = ky === undefined || kx === undefined ? -1 : from + ky * g.kernelWidth + kx;
      }
    }
  }
  return order;
}

async function packPhase(
  compute: Compute,
  g: ConvGeometry,
  weights: Float32Array,
  y: AxisTaps,
  x: AxisTaps,
  changing: boolean,
): Promise<Phase> {
  const place = { firstY: y.first, firstX: x.first, rows: y.positions, columns: x.positions };
  if (y.taps.length === 0 || x.taps.length === 0) return place;
  const order = flippedOrder(g, y, x);
  const flipped = Float32Array.from(order, (from) => (from < 0 ? 0 : weights[from]!));
  const geometry: ConvGeometry = {
    inputChannels: g.outputChannels,
    inputHeight: g.outputHeight,
    inputWidth: g.outputWidth,
    outputChannels: g.inputChannels,
    outputHeight: y.positions,
    outputWidth: x.positions,
    kernelHeight: y.taps.length,
    kernelWidth: x.taps.length,
    strideY: 1,
    strideX: 1,
    dilationY: y.dilation,
    dilationX: x.dilation,
    padTop: y.pad,
    padLeft: x.pad,
    groups: g.groups,
  };
  const packed = await packFloatWeights(compute, geometry, flipped);
  if (!changing) return { ...place, packed };
  const kept = compute.words(order.length);
  kept.set(order);
  return { ...place, packed, order: kept };
}
