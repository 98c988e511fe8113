// What the trainer asks of a layer, and the parameters' place on the heap.
import type { Compute } from '../kernel/compute.js';
import type { GraphNode } from '../model/graph.js';
import type { TrainNode } from './network.js';
import type { Parameter, TrainingState } from './trainable.js';

/** Where a layer's input gradient goes: put there, or added to what is there. */
export interface Target {
  readonly values: Float32Array;
  readonly add: boolean;
}

/** One way through a layer; arrays lie on the heap and hold `count` maps each. */
export interface Forward {
  readonly inputs: readonly Float32Array[];
  readonly output: Float32Array;
  readonly count: number;
  readonly training: boolean;
}

export interface Backward {
  /** Those a layer says it keeps. */
  readonly inputs: readonly (Float32Array | undefined)[];
  readonly output: Float32Array | undefined;
  readonly gradient: Float32Array;
  readonly count: number;
  /** One an input; undefined where nobody wants its gradient. */
  readonly targets: readonly (Target | undefined)[];
}

export interface Layer {
  readonly node: TrainNode;
  readonly parameters: readonly Parameter[];
  readonly states: readonly TrainingState[];
  /** What the way back reads. */
  keeps(): { readonly input: boolean; readonly output: boolean };
  /** Whether the output may take the memory of the first input. */
  readonly inPlace: boolean;
  /** Whether the input's gradient may take the memory of the output's. */
  readonly backwardInPlace: boolean;
  /** Takes over what an optimiser changed. */
  refresh(): Promise<void>;
  forward(step: Forward): Promise<void>;
  /** Sets the gradients of the parameters, and of the inputs that have a target. */
  backward(step: Backward): Promise<void>;
  /** The node as it is now. */
  current(): GraphNode;
  close(): void;
}

/** A copy of some numbers on the heap. */
export function onHeap(compute: Compute, values: ArrayLike<number>): Float32Array {
  const array = compute.floats(values.length);
  array.set(values);
  return array;
}

export function createParameter(compute: Compute, name: string, values: Float32Array, decays: boolean): Parameter {
  const gradient = compute.floats(values.length);
  gradient.fill(0);
  return { name, values: onHeap(compute, values), gradient, decays };
}

export function freeParameters(compute: Compute, parameters: readonly Parameter[]): void {
  for (const { values, gradient } of parameters) compute.free(values, gradient);
}
