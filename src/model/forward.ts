// The float network: what calibration watches and what a private answer is compared with.
import type { Compute } from '../kernel/compute.js';
import type { ConvNode, Graph, GraphNode, ReluNode, ValueId } from './graph.js';
import { sizeOf } from './graph.js';
import { eachPatch, eachTap, gather, join, maxPool, poolSizes, viewPositions } from './layout.js';
import { convolvePlain } from './plain.js';

/** Called with each value as it is computed: `count` pictures of the value's shape, valid only during the call. */
export type Observer = (id: ValueId, values: Float32Array, count: number, node: GraphNode | undefined) => void;

/**
 * Runs the network on `count` pictures (NCHW, contiguous) and returns its output, `count` × output size.
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
  if (images.length !== count * sizeOf(graph.input.shape)) throw new RangeError(`forward: ${images.length} numbers for ${count} pictures`);
  const lastUse = new Map<ValueId, number>();
  graph.nodes.forEach((node, i) => {
    for (const input of node.inputs) lastUse.set(input, i);
  });
  lastUse.set(graph.output, graph.nodes.length);
  const values = new Map<ValueId, Float32Array>([[graph.input.id, images]]);
  observe?.(graph.input.id, images, count, undefined);
  for (const [i, node] of graph.nodes.entries()) {
    const inputs = node.inputs.map((id) => values.get(id)!);
    const output = await runNode(compute, node, inputs, count);
    values.set(node.output, output);
    observe?.(node.output, output, count, node);
    for (const id of node.inputs) if (lastUse.get(id) === i) values.delete(id);
  }
  return values.get(graph.output)!;
}

async function runNode(compute: Compute, node: GraphNode, inputs: readonly Float32Array[], count: number): Promise<Float32Array> {
  const input = inputs[0]!;
  const output = new Float32Array(count * sizeOf(node.shape));
  switch (node.kind) {
    case 'conv':
      await convolution(compute, node, input, count, output);
      break;
    case 'affine':
      eachRun(node.shape, node.multiplier.length, count, (c, from, to) => {
        for (let i = from; i < to; i++) output[i] = input[i]! * node.multiplier[c]! + node.offset[c]!;
      });
      break;
    case 'relu':
      relu(node, input, count, output);
      break;
    case 'prelu':
      eachRun(node.shape, node.slopes.length, count, (c, from, to) => {
        for (let i = from; i < to; i++) output[i] = input[i]! >= 0 ? input[i]! : input[i]! * node.slopes[c]!;
      });
      break;
    case 'maxpool':
      maxPool(node.geometry, input, count, output);
      break;
    case 'averagepool':
      average(node, input, count, output);
      break;
    case 'add':
      inputs.forEach((x, k) => {
        for (let i = 0; i < output.length; i++) output[i]! += node.factors[k]! * x[i]!;
      });
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
      gather(input, input.length / count, viewPositions(node), count, output);
      break;
    case 'truncate':
      output.set(input);
      break;
    case 'softmax':
    case 'logsoftmax':
      softmax(node.kind, input, sizeOf(node.shape), output);
      break;
  }
  return output;
}

async function convolution(_compute: Compute, node: ConvNode, input: Float32Array, count: number, output: Float32Array): Promise<void> {
  convolvePlain(node.geometry, input, node.weights, node.bias, count, output);
}

/** Calls `visit(constant index, first, one past last)` for every run of elements that share a constant. */
export function eachRun(
  shape: readonly number[],
  constants: number,
  count: number,
  visit: (c: number, from: number, to: number) => void,
): void {
  const run = sizeOf(shape) / constants;
  for (let n = 0; n < count; n++) {
    for (let c = 0; c < constants; c++) visit(c, (n * constants + c) * run, (n * constants + c + 1) * run);
  }
}

function average(node: Extract<GraphNode, { kind: 'averagepool' }>, input: Float32Array, count: number, output: Float32Array): void {
  const size = poolSizes(node.geometry);
  const map = node.geometry.outputHeight * node.geometry.outputWidth;
  const sums = new Float64Array(size.output);
  for (let n = 0; n < count; n++) {
    sums.fill(0);
    eachTap(node.geometry, (o, i) => {
      sums[o]! += input[n * size.input + i]!;
    });
    for (let o = 0; o < size.output; o++) {
      output[n * size.output + o] = sums[o]! / (node.divisors.length === 1 ? node.divisors[0]! : node.divisors[o % map]!);
    }
  }
}

function relu(node: ReluNode, input: Float32Array, count: number, output: Float32Array): void {
  const cap = node.cap ?? Number.POSITIVE_INFINITY;
  if (node.patches === undefined) {
    for (let i = 0; i < input.length; i++) {
      const x = input[i]!;
      output[i] = x > 0 ? (x < cap ? x : cap) : 0;
    }
    return;
  }
  const [channels, height, width] = node.shape as [number, number, number];
  for (let n = 0; n < count; n++) {
    node.patches.forEach((patch, c) => {
      const base = (n * channels + c) * height * width;
      if (patch[0] === 0 || patch[1] === 0) {
        if (patch[0] === 0) output.set(input.subarray(base, base + height * width), base);
        return;
      }
      eachPatch(height, width, patch, (top, bottom, left, right) => blockRelu(input, output, base, width, [top, bottom, left, right], cap));
    });
  }
}

type Block = readonly [top: number, bottom: number, left: number, right: number];

/** Passes a block where its sum is ≥ 0; with a cap, replaces it by the cap where the sum of y − cap is ≥ 0 too. */
function blockRelu(
  input: Float32Array,
  output: Float32Array,
  base: number,
  width: number,
  [top, bottom, left, right]: Block,
  cap: number,
): void {
  let sum = 0;
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += input[base + y * width + x]!;
  const capped = sum >= cap * (bottom - top) * (right - left);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const i = base + y * width + x;
      output[i] = sum < 0 ? 0 : capped ? cap : input[i]!;
    }
  }
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
