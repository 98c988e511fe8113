// What a network is written into: ONNX nodes and constants, and which layers' values are to be normalised once they are known.
import type { AttributeValue } from '../../src/model/onnx-writer.js';
import { toAttribute } from '../../src/model/onnx-writer.js';
import type { OnnxNode, OnnxTensor } from '../../src/model/protobuf.js';

/** A value of the network: its ONNX name and its shape without the batch. */
export interface Value {
  readonly id: string;
  readonly shape: readonly number[];
}

/** What a layer's values are brought to: a mean of about `shift` and a standard deviation of about `gain` in every channel. */
export interface Spread {
  /** Default 1; the last layer of a residual branch has less, so that sums of blocks do not grow. */
  readonly gain?: number;
  /** Default {@link usualShift}; 0 for scores. */
  readonly shift?: number;
}

/** A layer that can scale and move each channel of what it gives. */
export interface Settling extends Required<Spread> {
  readonly channels: number;
  settle(means: Float64Array, deviations: Float64Array, gains: Float32Array, shifts: Float32Array): void;
}

/**
 * With 0, half of all values are cut, and normalised networks of many layers are chaotic: a difference grows by 1.21 from layer to layer (Yang et
 * al., "A Mean Field Theory of Batch Normalization", 2019). Trained ones are not like that. With 0.75 it grows by 1.08.
 */
export const usualShift = 0.75;

export interface Draft {
  readonly nodes: OnnxNode[];
  readonly tensors: OnnxTensor[];
  /** By the name of the value. */
  readonly settlings: Map<string, Settling>;
  /** Numbers in [0, 1). */
  readonly random: () => number;
}

const empty = { floatData: [], int32Data: [], int64Data: [], doubleData: [], externalData: [] };

/** A float32 constant, which changes as `data` does until the file is written; returns its name. */
export function floats({ tensors }: Draft, name: string, dims: readonly number[], data: Float32Array): string {
  tensors.push({ ...empty, name, dims: [...dims], dataType: 1, rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) });
  return name;
}

/** An int64 constant; returns its name. */
export function integers({ tensors }: Draft, name: string, values: readonly number[]): string {
  tensors.push({ ...empty, name, dims: [values.length], dataType: 7, int64Data: [...values] });
  return name;
}

/** Name of the next node, for its constants. */
export const nextName = ({ nodes }: Draft, op: string): string => `${op.toLowerCase()}${nodes.length}`;

/** Adds a node. */
export function addNode(
  draft: Draft,
  op: string,
  inputs: readonly string[],
  shape: readonly number[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
): Value {
  const name = nextName(draft, op);
  draft.nodes.push({ opType: op, name, input: [...inputs], output: [name], attribute: Object.entries(attributes).map(toAttribute) });
  return { id: name, shape };
}

/** Weights of sums of `inputs` terms: uniform, with the variance 2 / inputs (He et al., "Delving Deep into Rectifiers", 2015). */
export function heWeights({ random }: Draft, length: number, inputs: number): Float32Array {
  const width = Math.sqrt(24 / inputs);
  return Float32Array.from({ length }, () => (random() - 0.5) * width);
}

/** Normalises by a layer's own weights and biases; `channelOf` says which channel a weight is for. */
export function settleWeights(
  { settlings }: Draft,
  { id, shape }: Value,
  { gain = 1, shift = usualShift }: Spread,
  weights: Float32Array,
  biases: Float32Array,
  channelOf: (i: number) => number,
): void {
  const settle: Settling['settle'] = (means, deviations, gains, shifts) => {
    for (let i = 0; i < weights.length; i++) weights[i]! *= gains[channelOf(i)]! / deviations[channelOf(i)]!;
    for (let c = 0; c < biases.length; c++) biases[c] = shifts[c]! - (means[c]! * gains[c]!) / deviations[c]!;
  };
  settlings.set(id, { channels: shape[0]!, gain, shift, settle });
}
