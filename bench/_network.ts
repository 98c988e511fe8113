// Float networks with random weights, written layer by layer: what memory and time depend on is their shape. Normalisations are folded away.
import type { ConvGeometry, PoolGeometry } from '../src/kernel/geometry.js';
import type { Graph, GraphNode, ValueId } from '../src/model/graph.js';
import { createRandom } from './_choices.js';

/** A network that is being written. */
export interface Net {
  readonly nodes: GraphNode[];
  readonly random: () => number;
}

/** A value of square maps. */
export interface Value {
  readonly id: ValueId;
  readonly channels: number;
  readonly size: number;
}

export const createNet = (seed: number): Net => ({ nodes: [], random: createRandom(seed) });

interface ConvOptions {
  readonly stride?: number;
  readonly dilation?: number;
  readonly groups?: number;
  /** Variance of the sums over that of what is read. */
  readonly gain?: number;
}

/** A layer whose maps are padded to keep their size at stride 1. */
export function convolve(
  { nodes, random }: Net,
  name: string,
  from: Value,
  channels: number,
  kernel: number,
  { stride = 1, dilation = 1, groups = 1, gain = 2 }: ConvOptions = {},
): Value {
  const reach = dilation * (kernel - 1);
  const pad = reach >> 1;
  const size = Math.floor((from.size + 2 * pad - reach - 1) / stride) + 1;
  const geometry: ConvGeometry = {
    ...{ inputChannels: from.channels, inputHeight: from.size, inputWidth: from.size },
    ...{ outputChannels: channels, outputHeight: size, outputWidth: size, kernelHeight: kernel, kernelWidth: kernel, groups },
    ...{ strideY: stride, strideX: stride, dilationY: dilation, dilationX: dilation, padTop: pad, padLeft: pad },
  };
  const inputs = (from.channels / groups) * kernel * kernel;
  const spread = Math.sqrt((12 * gain) / inputs);
  const weights = Float32Array.from({ length: channels * inputs }, () => (random() - 0.5) * spread);
  const bias = new Float32Array(channels);
  nodes.push({ kind: 'conv', name, inputs: [from.id], output: name, shape: [channels, size, size], geometry, weights, bias });
  return { id: name, channels, size };
}

export function relu({ nodes }: Net, name: string, from: Value): Value {
  nodes.push({ kind: 'relu', name, inputs: [from.id], output: name, shape: [from.channels, from.size, from.size] });
  return { ...from, id: name };
}

/** The sum of two values. */
export function add({ nodes }: Net, name: string, one: Value, other: Value): Value {
  const shape = [one.channels, one.size, one.size];
  nodes.push({ kind: 'add', name, inputs: [one.id, other.id], output: name, shape, factors: [1, 1] });
  return { ...one, id: name };
}

export function pool({ nodes }: Net, kind: 'maxpool' | 'averagepool', from: Value, kernel: number, stride: number, pad: number): Value {
  const size = Math.floor((from.size + 2 * pad - kernel) / stride) + 1;
  const geometry: PoolGeometry = {
    ...{ channels: from.channels, inputHeight: from.size, inputWidth: from.size, outputHeight: size, outputWidth: size },
    ...{ kernelHeight: kernel, kernelWidth: kernel, strideY: stride, strideX: stride, dilationY: 1, dilationX: 1 },
    ...{ padTop: pad, padLeft: pad },
  };
  const common = { name: kind, inputs: [from.id], output: kind, shape: [from.channels, size, size], geometry };
  nodes.push(kind === 'maxpool' ? { kind, ...common } : { kind, ...common, divisors: [kernel * kernel] });
  return { id: kind, channels: from.channels, size };
}

/** The whole network. */
export function finish({ nodes }: Net, input: Value, output: Value): Graph {
  const parameters = nodes.reduce((sum, node) => sum + (node.kind === 'conv' ? node.weights.length + node.bias.length : 0), 0);
  return { input: { id: input.id, shape: [input.channels, input.size, input.size] }, output: output.id, nodes, parameters };
}
