// The way through a network's layers and back. Memory is taken from the heap on the way and given back at the end: steps alike use the same.
import type { Compute } from '../kernel/compute.js';
import { addFloat } from '../kernel/float.js';
import { picturesAtOnce } from '../model/execute.js';
import { sizeOf, type ValueId } from '../model/graph.js';
import type { Layer, Target } from './layer.js';
import { valuesThatLearn } from './layers.js';
import type { TrainNetwork } from './network.js';
import type { Noise } from './noise.js';
import type { StepResult } from './trainable.js';

export interface Passing {
  readonly compute: Compute;
  readonly network: TrainNetwork;
  readonly layers: readonly Layer[];
  readonly noise?: Noise;
}

function expectImages({ network }: Passing, images: Float32Array, count: number): void {
  const size = sizeOf(network.input.shape);
  if (images.length !== count * size) throw new RangeError(`${images.length} numbers for ${count} pictures of ${size}`);
}

/** What the way back reads. */
function keptValues({ layers, network }: Passing): ReadonlySet<ValueId> {
  const kept = new Set<ValueId>([network.output]);
  for (const layer of layers) {
    const { input, output } = layer.keeps();
    if (input) for (const id of layer.node.inputs) kept.add(id);
    if (output) kept.add(layer.node.output);
  }
  return kept;
}

/** Runs all layers; values that are neither kept nor read any more give their memory to what follows. */
async function runForward(
  { compute, network, layers, noise }: Passing,
  images: Float32Array,
  count: number,
  training: boolean,
  kept: ReadonlySet<ValueId>,
  values: Map<ValueId, Float32Array>,
): Promise<void> {
  const lastUse = new Map<ValueId, number>();
  layers.forEach(({ node }, i) => {
    for (const id of node.inputs) lastUse.set(id, i);
  });
  const input = compute.floats(images.length);
  values.set(network.input.id, input);
  input.set(images);
  await noise?.disturb(network.input.id, input);
  for (const [i, layer] of layers.entries()) {
    const { node } = layer;
    const inputs = node.inputs.map((id) => values.get(id)!);
    const first = node.inputs[0]!;
    const reused = layer.inPlace && !kept.has(first) && lastUse.get(first) === i && node.inputs.lastIndexOf(first) === 0;
    const output = reused ? inputs[0]! : compute.floats(count * sizeOf(node.shape));
    if (reused) values.delete(first);
    values.set(node.output, output);
    await layer.forward({ inputs, output, count, training });
    await noise?.disturb(node.output, output);
    for (const id of new Set([...node.inputs, node.output])) {
      const array = values.get(id);
      if (array === undefined || kept.has(id) || (lastUse.get(id) ?? i) > i) continue;
      compute.free(array);
      values.delete(id);
    }
  }
}

/** Scores of all pictures, a few at a time. */
export async function predictAll(passing: Passing, images: Float32Array, count: number): Promise<Float32Array> {
  expectImages(passing, images, count);
  const { compute, network, layers } = passing;
  const size = sizeOf(network.input.shape);
  const outputSize = sizeOf(layers.find(({ node }) => node.output === network.output)?.node.shape ?? network.input.shape);
  const scores = new Float32Array(count * outputSize);
  const atOnce = picturesAtOnce(Math.max(size, ...layers.map(({ node }) => sizeOf(node.shape))), count);
  for (let first = 0; first < count; first += atOnce) {
    const pictures = Math.min(atOnce, count - first);
    const values = new Map<ValueId, Float32Array>();
    try {
      const part = images.subarray(first * size, (first + pictures) * size);
      await runForward(passing, part, pictures, false, new Set([network.output]), values);
      scores.set(values.get(network.output)!, first * outputSize);
    } finally {
      compute.free(...values.values());
    }
  }
  return scores;
}

/** Fills the gradient of the scores, and gives the loss. */
export type Loss = (scores: Float32Array, gradient: Float32Array) => StepResult;

/** Forward in training mode, loss, backward. */
export async function learnFrom(passing: Passing, images: Float32Array, count: number, loss: Loss): Promise<StepResult> {
  expectImages(passing, images, count);
  const { compute, network } = passing;
  const values = new Map<ValueId, Float32Array>();
  try {
    await runForward(passing, images, count, true, keptValues(passing), values);
    const scores = values.get(network.output)!;
    const gradients = createGradients(compute, scores.length);
    try {
      const result = loss(scores, gradients.first);
      gradients.start(network.output);
      await runBackward(passing, values, count, gradients);
      return result;
    } finally {
      gradients.free();
    }
  } finally {
    compute.free(...values.values());
  }
}

/** Gradients of values on the way back; several values may share one array while nobody adds to it. */
interface Gradients {
  /** Of the scores. */
  readonly first: Float32Array;
  start(id: ValueId): void;
  /** Takes a value's gradient out; give it back with `release`. */
  take(id: ValueId): Float32Array | undefined;
  release(array: Float32Array): void;
  isShared(array: Float32Array): boolean;
  has(id: ValueId): boolean;
  /** Lets a value have the same gradient as another. */
  share(id: ValueId, array: Float32Array): void;
  /** Where to put, or to add, a value's gradient. */
  target(id: ValueId, length: number): Promise<Target>;
  free(): void;
}

function createGradients(compute: Compute, length: number): Gradients {
  const first = compute.floats(length);
  const live = new Map<ValueId, Float32Array>();
  const holders = new Map<Float32Array, number>([[first, 1]]);
  const release = (array: Float32Array): void => {
    const left = holders.get(array)! - 1;
    holders.set(array, left);
    if (left > 0) return;
    holders.delete(array);
    compute.free(array);
  };
  const make = (id: ValueId, size: number): Float32Array => {
    const array = compute.floats(size);
    holders.set(array, 1);
    live.set(id, array);
    return array;
  };
  return {
    first,
    start: (id) => live.set(id, first),
    take(id) {
      const array = live.get(id);
      live.delete(id);
      return array;
    },
    release,
    isShared: (array) => holders.get(array)! > 1,
    has: (id) => live.has(id),
    share(id, array) {
      holders.set(array, holders.get(array)! + 1);
      live.set(id, array);
    },
    async target(id, size) {
      const known = live.get(id);
      if (known === undefined) return { values: make(id, size), add: false };
      if (holders.get(known) === 1) return { values: known, add: true };
      const own = make(id, size);
      await addFloat(compute, known, 1, known, 0, own);
      release(known);
      return { values: own, add: true };
    },
    free() {
      compute.free(...holders.keys());
    },
  };
}

async function runBackward(
  { layers, network }: Passing,
  values: ReadonlyMap<ValueId, Float32Array>,
  count: number,
  gradients: Gradients,
): Promise<void> {
  const learning = valuesThatLearn(layers);
  const sizes = new Map(layers.map(({ node }) => [node.output, count * sizeOf(node.shape)]));
  for (const layer of [...layers].reverse()) {
    const { node } = layer;
    const gradient = gradients.take(node.output);
    if (gradient === undefined) continue;
    const targets: (Target | undefined)[] = [];
    for (const [i, id] of node.inputs.entries()) {
      if (!learning.has(id) || id === network.input.id) targets.push(undefined);
      else if (node.kind === 'add' && node.factors[i] === 1 && !gradients.has(id)) {
        gradients.share(id, gradient);
        targets.push(undefined);
      } else if (layer.backwardInPlace && node.inputs.length === 1 && !gradients.has(id) && !gradients.isShared(gradient)) {
        gradients.share(id, gradient);
        targets.push({ values: gradient, add: false });
      } else targets.push(await gradients.target(id, sizes.get(id)!));
    }
    const inputs = node.inputs.map((id) => values.get(id));
    await layer.backward({ inputs, output: values.get(node.output), gradient, count, targets });
    gradients.release(gradient);
  }
}
