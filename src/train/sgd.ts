// Stochastic gradient descent with momentum.
import type { Compute } from '../kernel/compute.js';
import type { Parameter, TrainingState } from './trainable.js';

export interface SgdOptions {
  /** Share of the last step in the next; 0 is plain descent. */
  readonly momentum: number;
  readonly nesterov: boolean;
  /** L2 penalty's factor: added to the gradient of parameters that decay. */
  readonly weightDecay: number;
  /** Greatest Euclidean norm of all gradients together; they are scaled down to it. */
  readonly clipNorm?: number;
}

export interface Sgd {
  /** One step along the gradients that are there; the norm is that before clipping. */
  step(learningRate: number): Promise<{ readonly gradientNorm: number }>;
  /** Velocities, for checkpoints. */
  readonly state: readonly TrainingState[];
  close(): void;
}

export function createSgd(_compute: Compute, _parameters: readonly Parameter[], _options: SgdOptions): Sgd {
  throw new Error('training is not there yet');
}
