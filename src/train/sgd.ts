// Stochastic gradient descent with momentum.
import type { Compute } from '../kernel/compute.js';
import { descend } from '../kernel/training.js';
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

/** Velocities start at 0; they are PyTorch's (without dampening), so that a change of the learning rate acts at once. */
export function createSgd(compute: Compute, parameters: readonly Parameter[], options: SgdOptions): Sgd {
  const { momentum, nesterov, weightDecay, clipNorm = Number.POSITIVE_INFINITY } = options;
  const state = parameters.map(({ name, values }) => {
    const velocity = compute.floats(values.length);
    velocity.fill(0);
    return { name: `${name}.velocity`, values: velocity };
  });
  return {
    state,
    async step(rate) {
      const gradientNorm = Math.sqrt(parameters.reduce((sum, { gradient }) => sum + squares(gradient), 0));
      const scale = gradientNorm > clipNorm ? clipNorm / gradientNorm : 1;
      await Promise.all(
        parameters.map(({ values, gradient, decays }, i) =>
          descend(compute, { scale, decay: decays ? weightDecay : 0, momentum, nesterov, rate }, values, gradient, state[i]!.values),
        ),
      );
      return { gradientNorm };
    },
    close: () => compute.free(...state.map(({ values }) => values)),
  };
}

function squares(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return sum;
}
