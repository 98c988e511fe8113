// Small ONNX models for tests, written with the project's own encoder and read back by onnxruntime-node.
import * as ort from 'onnxruntime-node';
import { encodeModel, type OnnxAttribute, type OnnxNode, type OnnxTensor } from '../../src/model/protobuf.js';

export interface TestNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly name?: string;
  /** Numbers that are not integers, and those named in `floats`, are floats. */
  readonly attributes?: Readonly<Record<string, number | string | readonly number[] | OnnxTensor | undefined>> | undefined;
}

export interface TestModel {
  readonly opset?: number;
  /** Full shape; a string is a dynamic axis. */
  readonly input: readonly (number | string)[];
  readonly nodes: readonly TestNode[];
  readonly constants?: Readonly<Record<string, OnnxTensor>>;
  /** Default: the last node's first output. */
  readonly output?: string;
}

const empty = { floatData: [], int32Data: [], int64Data: [], doubleData: [], externalData: [] };

/** A float32 tensor. */
export function floats(dims: readonly number[], values: ArrayLike<number>): OnnxTensor {
  return { ...empty, dims: [...dims], dataType: 1, rawData: new Uint8Array(Float32Array.from(values).buffer) };
}

/** An int64 tensor. */
export function longs(values: readonly number[], dims: readonly number[] = [values.length]): OnnxTensor {
  return { ...empty, dims: [...dims], dataType: 7, int64Data: [...values] };
}

/** Attributes of ONNX that are floats though their value may be an integer. */
const floatAttributes = new Set(['alpha', 'beta', 'epsilon', 'min', 'max', 'value_float']);

function attribute(name: string, value: number | string | readonly number[] | OnnxTensor): OnnxAttribute {
  const base: OnnxAttribute = { name, floats: [], ints: [] };
  if (typeof value === 'number') return floatAttributes.has(name) ? { ...base, f: value, type: 1 } : { ...base, i: value, type: 2 };
  if (typeof value === 'string') return { ...base, s: new TextEncoder().encode(value), type: 3 };
  return Array.isArray(value) ? { ...base, ints: [...value], type: 7 } : { ...base, t: value as OnnxTensor, type: 4 };
}

/** Serialises a model. */
export function onnxBytes(model: TestModel): Uint8Array {
  const node = model.nodes.map(
    (n): OnnxNode => ({
      opType: n.op,
      input: [...n.inputs],
      output: [...n.outputs],
      attribute: Object.entries(n.attributes ?? {}).flatMap(([name, value]) => (value === undefined ? [] : [attribute(name, value)])),
      ...(n.name === undefined ? {} : { name: n.name }),
    }),
  );
  const output = model.output ?? model.nodes.at(-1)?.outputs[0] ?? '';
  const dim = model.input.map((d) => (typeof d === 'number' ? { value: d } : { parameter: d }));
  return encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: '', version: model.opset ?? 13 }],
    graph: {
      name: 'test',
      node,
      initializer: Object.entries(model.constants ?? {}).map(([name, tensor]) => ({ ...tensor, name })),
      input: [{ name: 'x', type: { tensorType: { elemType: 1, shape: { dim } } } }],
      output: [{ name: output, type: { tensorType: { elemType: 1 } } }],
    },
  });
}

/** The output of onnxruntime-node for a batch. */
export async function reference(bytes: Uint8Array, input: Float32Array, dims: readonly number[]): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(bytes, {
    logSeverityLevel: 4,
    intraOpNumThreads: 1,
    graphOptimizationLevel: 'disabled',
  });
  try {
    const name = session.inputNames[0] ?? 'x';
    const result = await session.run({ [name]: new ort.Tensor('float32', input, [...dims]) });
    return result[session.outputNames[0] ?? '']?.data as Float32Array;
  } finally {
    await session.release();
  }
}

/** Reproducible numbers in [−1, 1). */
export function noise(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 31 - 1;
  };
}

export function noiseArray(length: number, seed: number, size = 1): Float32Array {
  const next = noise(seed);
  return Float32Array.from({ length }, () => next() * size);
}
