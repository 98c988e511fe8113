// The public program: what all three parties execute. Everything here may be known to everybody; weights never appear.
import type { Words } from '../kernel/compute.js';
import type { ConvGeometry, PoolGeometry } from '../kernel/geometry.js';

export type TensorId = number;

/** One value of the program, without its batch axis. The integer that stands for a real r is round(r · scale), in two's complement mod 2^ringBits. */
export interface TensorInfo {
  readonly shape: readonly number[];
  readonly scale: number;
}

/** Bits [low, high) of a value are compared to find its sign (q and h in the protocol notes). */
export interface Window {
  readonly low: number;
  readonly high: number;
}

/**
 * How a window's bits below the top one are compared, where a planner has not left it at the fewest bytes: sizes of digits, most significant
 * first, by group. In one round trip there is one group of one or two digits. What suites compare otherwise pay no heed to it.
 */
export interface ComparisonChoice {
  readonly groups: readonly (readonly number[])[];
  readonly roundTrips: 1 | 2;
}

/** Patch height and width that share one comparison; [0, 1] is identity, [1, 0] zero, [1, 1] plain ReLU. */
export type Patch = readonly [height: number, width: number];

/** Convolution or fully connected layer; reads a hidden tensor, its output is sealed. `weights` indexes the weights file. */
export interface LinearStep {
  readonly kind: 'linear';
  readonly name: string;
  readonly input: TensorId;
  readonly output: TensorId;
  readonly geometry: ConvGeometry;
  readonly weights: number;
}

/** Block ReLU and truncation by `truncateBits`; hidden output. `cap` (integer at the input's scale, a multiple of 2^truncateBits) makes it min(relu(x), cap). */
export interface ReluStep {
  readonly kind: 'relu';
  readonly name: string;
  readonly input: TensorId;
  readonly output: TensorId;
  readonly truncateBits: number;
  readonly window: Window;
  readonly comparison?: ComparisonChoice;
  readonly cap?: number;
  /** One patch a channel; absent when every patch is [1, 1]. */
  readonly patches?: readonly Patch[];
}

/** Truncation alone: sealed or hidden in, hidden out. */
export interface TruncateStep {
  readonly kind: 'truncate';
  readonly name: string;
  readonly input: TensorId;
  readonly output: TensorId;
  readonly truncateBits: number;
}

/** Maximum over windows, no truncation; the output is sealed when the input is, else hidden. */
export interface MaxPoolStep {
  readonly kind: 'maxpool';
  readonly name: string;
  readonly input: TensorId;
  readonly output: TensorId;
  readonly geometry: PoolGeometry;
  readonly window: Window;
  readonly comparison?: ComparisonChoice;
}

/** Sum over windows; the divisor lives in the output's scale. `multipliers` (one per output position of a map) even out windows that hang over the edge. */
export interface SumPoolStep {
  readonly kind: 'sumpool';
  readonly name: string;
  readonly input: TensorId;
  readonly output: TensorId;
  readonly geometry: PoolGeometry;
  readonly multipliers?: readonly number[];
}

/** Σ factors[i] · inputs[i] with public integer factors; sealed if any input is. */
export interface AddStep {
  readonly kind: 'add';
  readonly name: string;
  readonly inputs: readonly TensorId[];
  readonly factors: readonly number[];
  readonly output: TensorId;
}

/** The product of two hidden tensors, element by element; hidden output, at the product of their scales. */
export interface ProductStep {
  readonly kind: 'product';
  readonly name: string;
  readonly inputs: readonly TensorId[];
  readonly output: TensorId;
}

/** Concatenation along an axis (of the shape without batch). */
export interface ConcatStep {
  readonly kind: 'concat';
  readonly name: string;
  readonly inputs: readonly TensorId[];
  readonly axis: number;
  readonly output: TensorId;
}

/**
 * A public linear map along one axis, resizing: output o is Σ over taps of weights[o, t] · input[positions[o, t]], both lists
 * [outputs, taps]; what the weights are divided by lives in the output's scale.
 */
export interface ResampleStep {
  readonly kind: 'resample';
  readonly name: string;
  readonly input: TensorId;
  readonly output: TensorId;
  readonly axis: number;
  readonly taps: number;
  readonly positions: readonly number[];
  readonly weights: readonly number[];
}

/**
 * A strided view with zero fill: pads, slices, transposes, reshapes. The input's elements are read as row-major `inputShape`;
 * output coordinate o[d] reads input axis axes[d].axis at start + step · o[d], or 0 where that lies outside [0, inputShape[axis]).
 */
export interface ViewStep {
  readonly kind: 'view';
  readonly name: string;
  readonly input: TensorId;
  readonly output: TensorId;
  readonly inputShape: readonly number[];
  readonly axes: readonly { readonly axis: number; readonly start: number; readonly step: number; readonly size: number }[];
}

export type Step =
  | LinearStep
  | ReluStep
  | TruncateStep
  | MaxPoolStep
  | SumPoolStep
  | AddStep
  | ConcatStep
  | ViewStep
  | ResampleStep
  | ProductStep;

/** Whether some patch has more than one element. */
export const sharesSigns = (patches: readonly Patch[] = []): boolean => patches.some(([height, width]) => height * width > 1);

/** Factors of sums are below this in size: kernels take them as 32-bit words, or with 64-bit ones as doubles. */
export const factorLimit = (ringBits: number): number => (ringBits > 32 ? Number.MAX_SAFE_INTEGER : 2 ** 31);

/** The tensors a step reads, in order. */
export function stepInputs(step: Step): readonly TensorId[] {
  return step.kind === 'add' || step.kind === 'concat' || step.kind === 'product' ? step.inputs : [step.input];
}

/** What the client applies to the decoded output. */
export type OutputActivation = 'none' | 'softmax' | 'logsoftmax';

/** One axis of the decoded output resized by the client: as {@link ResampleStep}, with real weights. */
export interface OutputResample {
  readonly axis: number;
  readonly taps: number;
  readonly positions: readonly number[];
  readonly weights: readonly number[];
}

export interface Program {
  readonly schema: 'tessera/program@1';
  /** Ring Z_{2^ringBits}: 16 to 64. */
  readonly ringBits: number;
  /** The bits that values use where they are fewer: |value| < 2^(rangeBits − 2). */
  readonly rangeBits?: number;
  readonly tensors: readonly TensorInfo[];
  readonly input: TensorId;
  readonly output: TensorId;
  /** What the client does to the decoded output, before the activation; absent where nothing. */
  readonly outputResamples?: readonly OutputResample[];
  readonly outputActivation: OutputActivation;
  readonly steps: readonly Step[];
}

/** The server's secret: for each linear step's `weights` index, integer weights and biases (bias at the step's output scale). */
export interface ProgramWeights {
  readonly layers: readonly { readonly weights: Words; readonly bias: Words }[];
}
