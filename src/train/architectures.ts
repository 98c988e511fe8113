// Networks built by name for training from scratch.
import type { TrainNetwork } from './network.js';

/**
 * `digits`: a small network for 28 × 28 digits. `resnet20`, `resnet32`, …: the CIFAR networks of He et al. 2015, section 4.2, with shortcuts
 * without weights; `resnet20-b`: with projections.
 */
export interface ArchitectureOptions {
  readonly classes: number;
  readonly seed: number;
}

/** Builds a network with weights drawn from the seed. Throws RangeError for a name that is none. */
export function buildArchitecture(_name: string, _options: ArchitectureOptions): TrainNetwork {
  throw new Error('training is not there yet');
}
