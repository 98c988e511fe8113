// Gradients of a network's activations: forward with what the way back needs kept, then backward for several directions at the output at
// once. Not here: gradients of weights.
import { blockReluGate } from '../kernel/block-relu.js';
import { gateFloat } from '../kernel/blocks.js';
import type { Compute } from '../kernel/compute.js';
import { addFloat } from '../kernel/float.js';
import { freeInputGradient, inputGradient, type PackedInputGradient, packInputGradient } from '../kernel/gradient.js';
import { freeLayers, type Layers, packLayers, runNode } from '../model/forward.js';
import { type ConvNode, type Graph, type GraphNode, type PreluNode, type ReluNode, sizeOf, type ValueId } from '../model/graph.js';
import { averageGradient, concatGradient, maxPoolGradient, productGradient, resampleGradient, viewGradient } from './gradients.js';

export type ActivationNode = ReluNode | PreluNode;

export const isActivation = (node: GraphNode): node is ActivationNode => node.kind === 'relu' || node.kind === 'prelu';

/** Values of `count` pictures that the way back reads, and the output; all on the heap until freed. */
export interface Pass {
  readonly count: number;
  value(id: ValueId): Float32Array;
  free(): void;
}

/**
 * Sees an activation on the way back: what it reads, [count, …shape], and the gradient of what it gives, [directions, count, …shape].
 * Both are valid only until the promise settles.
 */
export type GradientVisitor = (node: ActivationNode, values: Float32Array, gradients: Float32Array) => Promise<void>;

/** A network with its weights packed for both ways. */
export interface Differentiable {
  readonly graph: Graph;
  /** Throws RangeError when `images` is not `count` pictures. */
  forward(images: Float32Array, count: number): Promise<Pass>;
  /** Takes `gradients` of the output, [directions, count, …shape] on the heap, back to every activation, last first. Frees `gradients`. */
  backward(pass: Pass, gradients: Float32Array, visit: GradientVisitor): Promise<void>;
  close(): void;
}

export async function openDifferentiable(compute: Compute, graph: Graph): Promise<Differentiable> {
  const wanted = valuesBehindActivations(graph);
  const layers = await packLayers(compute, graph);
  const gradients = new Map<ConvNode, PackedInputGradient>();
  for (const node of graph.nodes) {
    if (node.kind === 'conv' && wanted.has(node.inputs[0]!))
      gradients.set(node, await packInputGradient(compute, node.geometry, node.weights));
  }
  return {
    graph,
    forward: (images, count) => forwardKept(compute, graph, layers, images, count),
    backward: (pass, output, visit) => backward({ compute, graph, gradients, wanted, pass }, output, visit),
    close() {
      freeLayers(compute, layers);
      for (const packed of gradients.values()) freeInputGradient(compute, packed);
    },
  };
}

/** Values that come from an activation: only their gradients are of use. */
function valuesBehindActivations(graph: Graph): ReadonlySet<ValueId> {
  const behind = new Set<ValueId>();
  for (const node of graph.nodes) if (isActivation(node) || node.inputs.some((id) => behind.has(id))) behind.add(node.output);
  return behind;
}

/** What the way back reads: inputs of activations and of max pools. */
function keptValues(graph: Graph): ReadonlySet<ValueId> {
  const kept = new Set<ValueId>([graph.output]);
  for (const node of graph.nodes) {
    if (isActivation(node) || node.kind === 'maxpool') kept.add(node.inputs[0]!);
    if (node.kind === 'product') for (const id of node.inputs) kept.add(id);
  }
  return kept;
}

async function forwardKept(compute: Compute, graph: Graph, layers: Layers, images: Float32Array, count: number): Promise<Pass> {
  if (images.length !== count * sizeOf(graph.input.shape)) throw new RangeError(`forward: ${images.length} numbers for ${count} pictures`);
  const kept = keptValues(graph);
  const lastUse = new Map<ValueId, number>();
  graph.nodes.forEach((node, i) => {
    for (const id of node.inputs) lastUse.set(id, i);
  });
  const values = new Map<ValueId, Float32Array>();
  const free = (): void => {
    compute.free(...values.values());
    values.clear();
  };
  try {
    const input = compute.floats(images.length);
    values.set(graph.input.id, input);
    input.set(images);
    for (const [i, node] of graph.nodes.entries()) {
      const output = compute.floats(count * sizeOf(node.shape));
      values.set(node.output, output);
      const inputs = node.inputs.map((id) => values.get(id)!);
      await runNode(compute, node, layers, inputs, count, output);
      for (const id of new Set([...node.inputs, node.output])) {
        if (kept.has(id) || (lastUse.get(id) ?? i) > i) continue;
        compute.free(values.get(id)!);
        values.delete(id);
      }
    }
  } catch (error) {
    free();
    throw error;
  }
  const value = (id: ValueId): Float32Array => {
    const found = values.get(id);
    if (found === undefined) throw new RangeError(`the pass keeps no value ${id}`);
    return found;
  };
  return { count, value, free };
}

interface Context {
  readonly compute: Compute;
  readonly graph: Graph;
  readonly gradients: ReadonlyMap<ConvNode, PackedInputGradient>;
  readonly wanted: ReadonlySet<ValueId>;
  readonly pass: Pass;
}

async function backward(context: Context, output: Float32Array, visit: GradientVisitor): Promise<void> {
  const { compute, graph, wanted, pass } = context;
  const live = new Map<ValueId, Float32Array>([[graph.output, output]]);
  try {
    for (const node of [...graph.nodes].reverse()) {
      const gradient = live.get(node.output);
      if (gradient === undefined) continue;
      if (isActivation(node)) await visit(node, pass.value(node.inputs[0]!), gradient);
      const scale = gradient.length / sizeOf(node.shape);
      for (const [i, id] of node.inputs.entries()) {
        if (!wanted.has(id)) continue;
        const known = live.get(id);
        const target = known ?? compute.floats(scale * sizeOf(shapeBefore(graph, id)));
        live.set(id, target);
        await goBack(context, node, i, gradient, scale, target, known !== undefined);
      }
      live.delete(node.output);
      compute.free(gradient);
    }
  } finally {
    compute.free(...live.values());
  }
}

function shapeBefore(graph: Graph, id: ValueId): readonly number[] {
  return graph.nodes.find((node) => node.output === id)?.shape ?? graph.input.shape;
}

/** The gradient of a node's input `index`, from that of its output; `count` maps each. Added to the target, or put there. */
async function goBack(
  { compute, gradients, graph, pass }: Context,
  node: GraphNode,
  index: number,
  gradient: Float32Array,
  count: number,
  target: Float32Array,
  add: boolean,
): Promise<void> {
  const scaled = (factor: number): Promise<void> => addFloat(compute, gradient, factor, add ? target : gradient, add ? 1 : 0, target);
  switch (node.kind) {
    case 'conv':
      return inputGradient(compute, gradients.get(node)!, gradient, count, target, add);
    case 'relu':
    case 'prelu':
      return activationGradient(compute, node, pass.value(node.inputs[0]!), gradient, target, add);
    case 'add':
      return scaled(node.factors[index]!);
    case 'truncate':
      return scaled(1);
    case 'product':
      return productGradient(pass.value(node.inputs[1 - index]!), gradient, target, add);
    case 'affine':
      return inRuns(gradient, node.multiplier, sizeOf(node.shape), count, target, add);
    case 'concat': {
      const before = node.inputs.slice(0, index).reduce((sum, id) => sum + shapeBefore(graph, id)[node.axis]!, 0);
      return concatGradient(node, before, shapeBefore(graph, node.inputs[index]!)[node.axis]!, gradient, count, target, add);
    }
    case 'averagepool':
      return averageGradient(compute, node, gradient, target, add);
    case 'maxpool':
      return maxPoolGradient(compute, node, pass.value(node.inputs[0]!), gradient, target, add);
    case 'resample':
      return resampleGradient(node, gradient, count, target, add);
    case 'view':
      return viewGradient(compute, node, gradient, count, target, add);
    case 'softmax':
    case 'logsoftmax':
      throw new RangeError(`there is no way back through ${node.kind} ${node.name}`);
  }
}

async function activationGradient(
  compute: Compute,
  node: ActivationNode,
  values: Float32Array,
  gradient: Float32Array,
  target: Float32Array,
  add: boolean,
): Promise<void> {
  const cap = node.kind === 'relu' ? (node.cap ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY;
  if (node.kind === 'relu' && node.patches === undefined && !add) return gateFloat(compute, gradient, values, cap, target);
  const gated = compute.floats(gradient.length);
  if (node.patches === undefined) await gateFloat(compute, gradient, values, cap, gated);
  else await blockReluGate(compute, { shape: node.shape, patches: node.patches, cap }, values, gradient, gated);
  if (node.kind === 'prelu') {
    const size = sizeOf(node.shape);
    const run = size / node.slopes.length;
    for (let i = 0; i < gated.length; i++) gated[i]! += node.slopes[Math.floor((i % size) / run)]! * (gradient[i]! - gated[i]!);
  }
  await addFloat(compute, gated, 1, add ? target : gated, add ? 1 : 0, target);
  compute.free(gated);
}

/** target (+)= gradient · factors, one factor for each of equal runs of elements. */
function inRuns(gradient: Float32Array, factors: Float32Array, size: number, count: number, target: Float32Array, add: boolean): void {
  const run = size / factors.length;
  for (let n = 0, i = 0; n < count; n++) {
    for (const factor of factors) {
      for (let k = 0; k < run; k++, i++) target[i] = (add ? target[i]! : 0) + factor * gradient[i]!;
    }
  }
}
