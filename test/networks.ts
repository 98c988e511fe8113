// Tiny ONNX networks for tests: written with the project's own encoder, with weights that repeat from run to run.
import { encodeModel, type OnnxAttribute, type OnnxNode, type OnnxTensor } from '../src/model/protobuf.js';

/** Whole numbers below 2^32, the same for the same seed (mulberry32); for weights and pictures of tests only. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

/** Values between -1 and 1. */
export function values(count: number, seed: number): Float32Array {
  const next = seeded(seed);
  return Float32Array.from({ length: count }, () => next() / 2 ** 31 - 1);
}

const sizeOf = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** A float32 tensor. */
export function floats(name: string, dims: readonly number[], data: Float32Array = values(sizeOf(dims), name.length)): OnnxTensor {
  const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { name, dims: [...dims], dataType: 1, rawData, floatData: [], int32Data: [], int64Data: [], doubleData: [], externalData: [] };
}

/** An int64 tensor. */
export function integers(name: string, data: readonly number[]): OnnxTensor {
  return {
    name,
    dims: [data.length],
    dataType: 7,
    int64Data: [...data],
    floatData: [],
    int32Data: [],
    doubleData: [],
    externalData: [],
  };
}

type AttributeValue = number | readonly number[] | { readonly float: number } | string;

function attribute(name: string, value: AttributeValue): OnnxAttribute {
  const empty = { name, floats: [], ints: [] };
  if (typeof value === 'number') return { ...empty, i: value, type: 2 };
  if (typeof value === 'string') return { ...empty, s: new TextEncoder().encode(value), type: 3 };
  if ('float' in value) return { ...empty, f: value.float, type: 1 };
  return { ...empty, ints: [...value], type: 7 };
}

/** A node; its name is that of its output. */
export function node(
  opType: string,
  input: readonly string[],
  output: string,
  attributes: Readonly<Record<string, AttributeValue>> = {},
): OnnxNode {
  return {
    opType,
    input: [...input],
    output: [output],
    name: output,
    attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  };
}

export interface NetworkParts {
  /** Channels, height, width of a picture; the input is called "x". */
  readonly shape: readonly number[];
  readonly nodes: readonly OnnxNode[];
  readonly tensors: readonly OnnxTensor[];
  /** Name of the output; default that of the last node. */
  readonly output?: string;
}

/** The file of a network. */
export function network({ shape, nodes, tensors, output = nodes.at(-1)?.output[0] ?? '' }: NetworkParts): Uint8Array {
  const dim = [{ parameter: 'N' }, ...shape.map((value) => ({ value }))];
  return encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 13 }],
    graph: {
      name: 'test',
      node: [...nodes],
      initializer: [...tensors],
      input: [{ name: 'x', type: { tensorType: { elemType: 1, shape: { dim } } } }],
      output: [{ name: output, type: { tensorType: { elemType: 1 } } }],
    },
  });
}

/** Convolution, ReLU, fully connected: the two layers on which faults are tried at every message. Pictures are 2 × 4 × 4, 3 outputs. */
export function twoLayers(): Uint8Array {
  return network({
    shape: [2, 4, 4],
    nodes: [
      node('Conv', ['x', 'w1', 'b1'], 'conv', { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
      node('Relu', ['conv'], 'relu'),
      node('Flatten', ['relu'], 'flat'),
      node('Gemm', ['flat', 'w2', 'b2'], 'dense', { transB: 1 }),
    ],
    tensors: [floats('w1', [3, 2, 3, 3]), floats('b1', [3]), floats('w2', [3, 48]), floats('b2', [3])],
  });
}
