// Correction without labels: weights of a block-ReLU network, fitted layer after layer to what the uncompressed network computes on the same
// pictures. Nothing is added to the network: the same layers, the same patches, other weights.
import { UsageError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import { addFloat } from '../kernel/float.js';
import { freeLayers, packLayers, runNode } from '../model/forward.js';
import { type AddNode, type ConvNode, type Graph, type GraphNode, sizeOf, type ValueId } from '../model/graph.js';
import { applyPatches, type LayerPatches } from '../model/passes/lower.js';
import { addMoments, createMoments, fitChange, tapCount } from './least-squares.js';

export interface CorrectOptions {
  /** Weight of keeping the weights as they are, in units of the variance of what they read (default {@link defaultRidge}). */
  readonly ridge?: number;
  /** Told after each layer: layers done, layers in all. */
  readonly progress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Chosen on training pictures that were not fitted: docs/optimiser.md has the table. */
export const defaultRidge = 0.3;

/** Layers that read more numbers for one output keep their weights: the normal equations grow with the square. */
const mostTaps = 1200;
/** Pictures at a time in the moments: their sums are taken in float32 so far, in float64 beyond. */
const picturesAtOnce = 32;

/** Values of all pictures in both networks, on the heap; one array where they are the same. */
interface Twin {
  readonly plain: Float32Array;
  readonly block: Float32Array;
}

interface Walk {
  readonly compute: Compute;
  readonly graph: Graph;
  readonly count: number;
  readonly values: Map<ValueId, Twin>;
  readonly ridge: number;
}

/**
 * Fits the weights and biases of every ungrouped convolution and fully connected layer so that, with the activations the block network gives it,
 * its output is as near as can be to that of the uncompressed network (least squares with a ridge towards the old weights); where the
 * output goes into a sum alone, so that the sum is. Later layers see what earlier ones give after their correction.
 *
 * @param graph simplified; layers keep names, shapes and order, so that the spec fits the result.
 * @param images `count` preprocessed pictures, NCHW. Values of all of them are held while they are read.
 * Throws UsageError without pictures, DataError for patches that do not fit.
 */
export async function correct(
  compute: Compute,
  graph: Graph,
  patches: LayerPatches,
  images: Float32Array,
  count: number,
  options: CorrectOptions = {},
): Promise<Graph> {
  if (count < 1 || images.length !== count * sizeOf(graph.input.shape))
    throw new UsageError(`correction: ${images.length} numbers for ${count} pictures`, {
      code: 'bad-images',
      hint: 'give at least one picture',
    });
  const changed = applyPatches(graph, patches);
  const walk: Walk = { compute, graph, count, values: new Map(), ridge: options.ridge ?? defaultRidge };
  const input = compute.floats(images.length);
  input.set(images);
  walk.values.set(graph.input.id, { plain: input, block: input });
  const lastUse = new Map(graph.nodes.flatMap((node, i) => node.inputs.map((id) => [id, i] as const)));
  const layers = graph.nodes.filter((n) => n.kind === 'conv').length;
  const nodes: GraphNode[] = [];
  let done = 0;
  try {
    for (const [i, node] of graph.nodes.entries()) {
      options.signal?.throwIfAborted();
      nodes.push(await visit(walk, node, changed.nodes[i]!));
      for (const id of new Set([...node.inputs, node.output])) if ((lastUse.get(id) ?? i) <= i) release(walk, id);
      if (node.kind === 'conv') options.progress?.(++done, layers);
    }
  } finally {
    for (const id of [...walk.values.keys()]) release(walk, id);
  }
  return { ...graph, nodes };
}

function release({ compute, values }: Walk, id: ValueId): void {
  const twin = values.get(id);
  values.delete(id);
  if (twin !== undefined) compute.free(...new Set([twin.plain, twin.block]));
}

/** Runs a node in both networks; returns it with the weights it has from now on. */
async function visit(walk: Walk, node: GraphNode, changed: GraphNode): Promise<GraphNode> {
  const inputs = node.inputs.map((id) => walk.values.get(id)!);
  const plain = await run(
    walk,
    node,
    inputs.map((twin) => twin.plain),
  );
  const blockInputs = inputs.map((twin) => twin.block);
  const apart = inputs.some((twin) => twin.plain !== twin.block);
  if (node.kind !== 'conv') {
    walk.values.set(node.output, { plain, block: apart || changed !== node ? await run(walk, changed, blockInputs) : plain });
    return node;
  }
  const skips = skipsOf(walk, node);
  if (!apart && skips === undefined) {
    walk.values.set(node.output, { plain, block: plain });
    return node;
  }
  const block = await run(walk, node, blockInputs);
  if (node.geometry.groups !== 1 || tapCount(node.geometry) > mostTaps) {
    walk.values.set(node.output, { plain, block });
    return node;
  }
  const fitted = await refit(walk, node, blockInputs[0]!, { plain, block }, skips);
  walk.compute.free(block);
  walk.values.set(node.output, { plain, block: await run(walk, fitted, blockInputs) });
  return fitted;
}

async function run({ compute, graph, count }: Walk, node: GraphNode, inputs: readonly Float32Array[]): Promise<Float32Array> {
  const layers = await packLayers(compute, { ...graph, nodes: [node] });
  const output = compute.floats(count * sizeOf(node.shape));
  try {
    await runNode(compute, node, layers, inputs, count, output);
    return output;
  } finally {
    freeLayers(compute, layers);
  }
}

/** The sum that alone reads a layer, and what else it adds, where that is known already and not the same in both networks. */
function skipsOf(
  { graph, values }: Walk,
  node: ConvNode,
): { readonly sum: AddNode; readonly others: readonly (readonly [number, Twin])[] } | undefined {
  const readers = graph.nodes.filter((n) => n.inputs.includes(node.output));
  const sum = readers[0];
  if (readers.length !== 1 || sum?.kind !== 'add' || node.output === graph.output) return undefined;
  const others = sum.inputs.flatMap((id, i) => (id === node.output ? [] : [[sum.factors[i]!, values.get(id)] as const]));
  if (others.some(([, twin]) => twin === undefined) || others.length !== sum.inputs.length - 1) return undefined;
  const known = others as readonly (readonly [number, Twin])[];
  return known.some(([, twin]) => twin.plain !== twin.block) ? { sum, others: known } : undefined;
}

/** The layer with weights that bring `output.block` nearer to `output.plain`, or the sum behind it to what it is in the uncompressed network. */
async function refit(walk: Walk, node: ConvNode, input: Float32Array, output: Twin, skips: ReturnType<typeof skipsOf>): Promise<ConvNode> {
  const { compute, count } = walk;
  const g = node.geometry;
  const [inputSize, outputSize] = [input.length / count, output.plain.length / count];
  const moments = createMoments(g);
  for (let first = 0; first < count; first += picturesAtOnce) {
    const pictures = Math.min(picturesAtOnce, count - first);
    const part = (values: Float32Array): Float32Array => values.subarray(first * outputSize, (first + pictures) * outputSize);
    const residual = compute.floats(pictures * outputSize);
    await addFloat(compute, part(output.plain), 1, part(output.block), -1, residual);
    for (const [factor, { plain, block }] of skips?.others ?? []) {
      const share = factor / skips!.sum.factors[skips!.sum.inputs.indexOf(node.output)]!;
      await addFloat(compute, residual, 1, part(plain), share, residual);
      await addFloat(compute, residual, 1, part(block), -share, residual);
    }
    await addMoments(compute, g, moments, input.subarray(first * inputSize, (first + pictures) * inputSize), residual, pictures);
    compute.free(residual);
  }
  const { weights, bias } = fitChange(moments, walk.ridge);
  return { ...node, weights: node.weights.map((w, i) => w + weights[i]!), bias: node.bias.map((b, o) => b + bias[o]!) };
}
