// Who knows a tensor's mask: hidden = client and provider, sealed = the provider alone. A property of the public program.
import { type Program, stepInputs, type TensorId } from '../../model/program.js';
import type { CostEnvironment } from '../operation.js';

/** For every tensor of the program, whether it is sealed. Throws TypeError for a linear layer that would read a sealed tensor. */
export function sealedTensors(program: Program): readonly boolean[] {
  const sealed = program.tensors.map(() => false);
  for (const step of program.steps) {
    const any = stepInputs(step).some((id) => sealed[id]);
    if (step.kind === 'linear' && any)
      throw new TypeError(`step "${step.name}": a linear layer reads hidden tensors, tensor ${step.input} is sealed`);
    if (step.kind === 'product' && any) throw new TypeError(`step "${step.name}": a product reads hidden tensors`);
    sealed[step.output] = step.kind === 'linear' || (step.kind !== 'relu' && step.kind !== 'truncate' && any);
  }
  return sealed;
}

const known = new WeakMap<Program, readonly boolean[]>();

/** Whether a tensor's mask is unknown to the client. */
export function isSealed({ program }: CostEnvironment, tensor: TensorId): boolean {
  const sealed = known.get(program) ?? sealedTensors(program);
  known.set(program, sealed);
  return sealed[tensor]!;
}
