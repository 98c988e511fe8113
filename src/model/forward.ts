// The float network: what calibration watches and what a private answer is compared with.
import { blockRelu } from '../kernel/block-relu.js';
import type { Compute } from '../kernel/compute.js';
import {
  addFloat,
  clipFloat,
  convolveFloat,
  maxPoolFloat,
  multiplyFloat,
  type PackedFloatWeights,
  packFloatWeights,
  sumPoolFloat,
} from '../kernel/float.js';
import { freeWeights } from '../kernel/linear.js';
import { gatherMaps } from '../kernel/moves.js';
import { resample } from '../kernel/resample.js';
import { execute, picturesAtOnce, type Task } from './execute.js';
import type { AveragePoolNode, ConvNode, Graph, GraphNode, PreluNode, ReluNode, ResampleNode, ValueId } from './graph.js';
import { sizeOf } from './graph.js';
import { join, viewPositions } from './layout.js';
import type { Patch } from './program.js';

/**
 * Called with each value as it is computed: some pictures of the value's shape (`count` of them, starting with picture `first`),
 * valid only during the call.
 */
export type Observer = (id: ValueId, values: Float32Array, count: number, first: number) => void;

/**
 * Runs the network on `count` pictures (NCHW, contiguous) and returns its output, `count` × output size. Pictures run a few at a time,
 * so that memory does not grow with their number.
 *
 * Throws RangeError when `images` is not `count` pictures of the graph's input shape.
 */
export async function forward(
  compute: Compute,
  graph: Graph,
  images: Float32Array,
  count: number,
  observe?: Observer,
): Promise<Float32Array> {
  const size = sizeOf(graph.input.shape);
  if (images.length !== count * size) throw new RangeError(`forward: ${images.length} numbers for ${count} pictures of ${size}`);
  const layers = await packLayers(compute, graph);
  const outputSize = sizeOf(graph.nodes.find((n) => n.output === graph.output)?.shape ?? graph.input.shape);
  const result = new Float32Array(count * outputSize);
  try {
    const atOnce = picturesAtOnce(Math.max(size, ...graph.nodes.map((n) => sizeOf(n.shape))), count);
    for (let first = 0; first < count; first += atOnce) {
      const pictures = Math.min(atOnce, count - first);
      const tasks = graph.nodes.map((n): Task<ValueId> => ({ inputs: n.inputs, output: n.output, size: pictures * sizeOf(n.shape) }));
      const input = { id: graph.input.id, values: images.subarray(first * size, (first + pictures) * size) };
      await execute(
        compute,
        tasks,
        input,
        graph.output,
        {
          allocate: (length) => compute.floats(length),
          run: (i, inputs, output) => runNode(compute, graph.nodes[i]!, layers, inputs, pictures, output),
          seen: (id, values) => observe?.(id, values, pictures, first),
        },
        (values) => result.set(values, first * outputSize),
      );
    }
  } finally {
    freeLayers(compute, layers);
  }
  return result;
}

/** A graph's convolution weights on the heap. */
export type Layers = ReadonlyMap<ConvNode, { readonly packed: PackedFloatWeights; readonly bias: Float32Array }>;

/** Packs what {@link runNode} needs; give it back with {@link freeLayers}. */
export async function packLayers(compute: Compute, graph: Graph): Promise<Layers> {
  const layers = new Map<ConvNode, { packed: PackedFloatWeights; bias: Float32Array }>();
  for (const node of graph.nodes) {
    if (node.kind !== 'conv') continue;
    const packed = await packFloatWeights(compute, node.geometry, node.weights);
    const bias = compute.floats(node.bias.length);
    bias.set(node.bias);
    layers.set(node, { packed, bias });
  }
  return layers;
}

export function freeLayers(compute: Compute, layers: Layers): void {
  for (const { packed, bias } of layers.values()) {
    freeWeights(compute, packed);
    compute.free(bias);
  }
}

/** Computes one node for `count` pictures; all arrays lie on the heap. */
export async function runNode(
  compute: Compute,
  node: GraphNode,
  layers: Layers,
  inputs: readonly Float32Array[],
  count: number,
  output: Float32Array,
): Promise<void> {
  const input = inputs[0]!;
  switch (node.kind) {
    case 'conv': {
      const { packed, bias } = layers.get(node)!;
      await convolveFloat(compute, packed, input, count, output, { bias });
      break;
    }
    case 'affine':
      eachRun(node.shape, node.multiplier.length, count, (c, from, to) => {
        for (let i = from; i < to; i++) output[i] = input[i]! * node.multiplier[c]! + node.offset[c]!;
      });
      break;
    case 'relu':
      if (node.patches === undefined) await clipFloat(compute, input, 0, node.cap ?? Number.POSITIVE_INFINITY, output);
      else await blockRelus(compute, node, node.patches, input, output);
      break;
    case 'prelu':
      // a x + (1 - a) relu(x), in which a spec's patches act on the ReLU.
      if (node.patches === undefined) await clipFloat(compute, input, 0, Number.POSITIVE_INFINITY, output);
      else await blockRelus(compute, node, node.patches, input, output);
      eachRun(node.shape, node.slopes.length, count, (c, from, to) => {
        const slope = node.slopes[c]!;
        for (let i = from; i < to; i++) output[i] = slope * input[i]! + (1 - slope) * output[i]!;
      });
      break;
    case 'maxpool':
      await maxPoolFloat(compute, node.geometry, input, count, output);
      break;
    case 'averagepool':
      await average(compute, node, input, count, output);
      break;
    case 'add':
      // Factor 0 stands in for a second term.
      await addFloat(compute, input, node.factors[0]!, inputs[1] ?? input, inputs.length > 1 ? node.factors[1]! : 0, output);
      for (let k = 2; k < inputs.length; k++) await addFloat(compute, output, 1, inputs[k]!, node.factors[k]!, output);
      break;
    case 'product':
      await multiplyFloat(compute, input, inputs[1]!, output);
      break;
    case 'concat': {
      const inner = sizeOf(node.shape.slice(node.axis + 1));
      const outer = count * sizeOf(node.shape.slice(0, node.axis));
      join(
        inputs,
        inputs.map((x) => (x.length === 0 ? 0 : x.length / outer)),
        inner === 0 ? new Float32Array(0) : output,
      );
      break;
    }
    case 'view':
      await gatherMaps(compute, input, viewPositions(node), count, output, false);
      break;
    case 'resample':
      await resampleNode(compute, node, input, output);
      break;
    case 'truncate':
      output.set(input);
      break;
    case 'softmax':
    case 'logsoftmax':
      softmax(node.kind, input, sizeOf(node.shape), output);
      break;
  }
}

/** Resizes one axis of all pictures. */
async function resampleNode(compute: Compute, node: ResampleNode, input: Float32Array, output: Float32Array): Promise<void> {
  const { taps } = node;
  const inner = sizeOf(node.shape.slice(node.axis + 1));
  const outer = output.length / Math.max(1, node.shape[node.axis]! * inner);
  const [positions, weights] = [compute.words(node.positions.length), compute.floats(node.weights.length)];
  positions.set(node.positions);
  weights.set(node.weights);
  await resample(compute, { outer, inputs: input.length / Math.max(1, outer * inner), inner }, { taps, positions, weights }, input, output);
  compute.free(positions, weights);
}

/** Calls `visit(constant index, first, one past last)` for every run of elements that share a constant. */
function eachRun(shape: readonly number[], constants: number, count: number, visit: (c: number, from: number, to: number) => void): void {
  const run = sizeOf(shape) / constants;
  for (let n = 0; n < count; n++) {
    for (let c = 0; c < constants; c++) visit(c, (n * constants + c) * run, (n * constants + c + 1) * run);
  }
}

async function average(
  compute: Compute,
  { geometry, divisors }: AveragePoolNode,
  input: Float32Array,
  count: number,
  output: Float32Array,
) {
  await sumPoolFloat(compute, geometry, input, count, output);
  const factors = compute.floats(divisors.length);
  divisors.forEach((divisor, i) => {
    factors[i] = 1 / divisor;
  });
  await multiplyFloat(compute, output, factors, output);
  compute.free(factors);
}

function blockRelus(
  compute: Compute,
  node: ReluNode | PreluNode,
  patches: readonly Patch[],
  input: Float32Array,
  output: Float32Array,
): Promise<void> {
  const cap = (node.kind === 'relu' ? node.cap : undefined) ?? Number.POSITIVE_INFINITY;
  return blockRelu(compute, { shape: node.shape, patches, cap }, input, output);
}

function softmax(kind: 'softmax' | 'logsoftmax', input: Float32Array, size: number, output: Float32Array): void {
  for (let from = 0; from < input.length; from += size) {
    output.set(applySoftmax(kind, input.subarray(from, from + size)), from);
  }
}

/** Softmax or its logarithm of one vector of scores. */
export function applySoftmax(kind: 'softmax' | 'logsoftmax', scores: ArrayLike<number>): Float32Array {
  const values = Array.from(scores);
  const greatest = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const logSum = Math.log(values.reduce((sum, v) => sum + Math.exp(v - greatest), 0));
  return Float32Array.from(values, (v) => (kind === 'softmax' ? Math.exp(v - greatest - logSum) : v - greatest - logSum));
}
