// A network that learns: forward in training mode, loss and backward in one call. Not here: the optimiser (sgd.ts), data and schedules.
import type { Compute } from '../kernel/compute.js';
import type { Graph } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import type { TrainNetwork } from './network.js';

/** Numbers that an optimiser changes, and the loss's gradient with respect to them; both lie on the heap and keep their place for life. */
export interface Parameter {
  readonly name: string;
  readonly values: Float32Array;
  readonly gradient: Float32Array;
  /** Whether weight decay applies: to the weights of convolutions, not to biases, batch norm or slopes. */
  readonly decays: boolean;
}

/** Numbers that belong to a checkpoint beside the parameters: running means and variances, an optimiser's velocities. */
export interface TrainingState {
  readonly name: string;
  readonly values: Float32Array;
}

export interface Targets {
  /** Classes, [count] or for a map of scores [count, height, width]. */
  readonly labels?: Int32Array;
  /** The teacher's scores, [count, ...output shape]. */
  readonly teacher?: Float32Array;
}

export interface LossOptions {
  /** Share of a label's probability that all classes get alike; default 0. */
  readonly labelSmoothing?: number;
  /** Label that takes no part in the loss. */
  readonly ignoreLabel?: number;
  /**
   * weight · T² · KL(teacher ‖ network) at temperature T beside (1 − weight) · cross-entropy (Hinton, Vinyals and Dean 2015, section 2).
   * Labels are not needed at weight 1.
   */
  readonly distillation?: { readonly weight: number; readonly temperature: number };
}

export interface StepResult {
  /** Mean over the labels that are counted; NaN or infinite where training diverged: it is for the caller to stop. */
  readonly loss: number;
  /** How many of the counted labels have the greatest score; without labels, the teacher's greatest score stands in. */
  readonly correct: number;
  /** Labels that are not ignored: pictures, or pixels of a map of scores. */
  readonly counted: number;
}

/** Noise that imitates what the protocol does to numbers; drawn from a seeded sequence. */
export interface NoiseOptions {
  /** Rounds weights to multiples of 2^−weightBits and activations to multiples of 2^−activationBits; gradients pass as if nothing was rounded. */
  readonly rounding?: { readonly weightBits: number; readonly activationBits: number };
  /** Adds −1, 0 or 1 unit of 2^−activationBits to what a truncation gives. Needs `rounding`. */
  readonly truncation?: boolean;
  /** Flips the sign a ReLU sees where |y| < 2^flipBits units of the grid. Needs `rounding`. */
  readonly flipBits?: number;
}

export interface TrainableOptions {
  /** 'frozen': batch norm uses its running statistics, and its scale and offset stay as they are. Default 'train'. */
  readonly batchNorm?: 'train' | 'frozen';
  readonly noise?: NoiseOptions;
  /** Of the noise; default 0. */
  readonly seed?: number;
}

export interface Trainable {
  readonly parameters: readonly Parameter[];
  readonly states: readonly TrainingState[];
  /**
   * Forward in training mode, loss, backward. Gradients are set, not added. Images are [count, ...input shape], anywhere.
   * Throws RangeError for lengths that do not fit and for labels that are no class.
   */
  learn(images: Float32Array, count: number, targets: Targets, loss: LossOptions): Promise<StepResult>;
  /** Scores in inference mode, [count, ...output shape], in an array of its own. */
  predict(images: Float32Array, count: number): Promise<Float32Array>;
  /** Replaces the patches of an activation; undefined is plain ReLU. Throws RangeError where there is no such layer. */
  setPatches(layer: string, patches: readonly Patch[] | undefined): void;
  /** Soft start: activations with patches give alpha · ReLU + (1 − alpha) · block ReLU while learning; 0 at first. */
  setAlpha(alpha: number): void;
  /** The network as it is now, for export, evaluation and compiling; layer names are those of the network. */
  toGraph(): Graph;
  close(): void;
}

/** Copies a network to the heap and makes room for its gradients. */
export function openTrainable(_compute: Compute, _network: TrainNetwork, _options: TrainableOptions = {}): Promise<Trainable> {
  return Promise.reject(new Error('training is not there yet'));
}
