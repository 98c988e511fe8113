// A small network with every kind of node, for tests of training.
import type { GraphNode } from '../src/model/graph.js';
import type { Patch } from '../src/model/program.js';
import type { BatchNormNode, TrainNetwork, TrainNode } from '../src/train/network.js';
import { values } from './networks.js';

type Shape = readonly [number, number, number];

function conv(name: string, input: string, from: Shape, to: Shape, kernel: number, stride: number, groups = 1, dilation = 1): GraphNode {
  const [[inputChannels, inputHeight, inputWidth], [outputChannels, outputHeight, outputWidth]] = [from, to];
  const pad = (kernel >> 1) * dilation;
  const window = { kernelHeight: kernel, kernelWidth: kernel, strideY: stride, strideX: stride, dilationY: dilation, dilationX: dilation };
  const maps = { inputChannels, inputHeight, inputWidth, outputChannels, outputHeight, outputWidth };
  const size = inputChannels * kernel;
  const weights = values((outputChannels * inputChannels * kernel * kernel) / groups, name.length + inputChannels).map(
    (w) => w / Math.sqrt(size),
  );
  const geometry = { ...maps, ...window, padTop: pad, padLeft: pad, groups };
  const bias = values(outputChannels, outputChannels).map((v) => v / 4);
  return { kind: 'conv', name, inputs: [input], output: name, shape: to, geometry, weights, bias };
}

function batchNorm(name: string, input: string, shape: Shape): BatchNormNode {
  const drawn = (seed: number, from: number): Float32Array => values(shape[0], seed).map((v) => from + v / 2);
  const numbers = { gamma: drawn(1, 1), beta: drawn(2, 0), mean: drawn(3, 0), variance: drawn(4, 1), epsilon: 1e-5, momentum: 0.1 };
  return { kind: 'batchnorm', name, inputs: [input], output: name, shape, ...numbers };
}

export const shared: readonly Patch[] = [
  [2, 2],
  [1, 3],
  [0, 1],
  [1, 1],
];

/** Few comparisons, and those of sums of many numbers: a small step changes none. */
export const coarse: readonly Patch[] = [
  [8, 8],
  [5, 8],
  [0, 1],
  [1, 0],
];

/** Every kind of node, with forks, a value read twice, groups, a depthwise layer, strides and dilation. */
export function sampleNetwork(patches?: readonly Patch[]): TrainNetwork {
  const wide: Shape = [4, 8, 8];
  const low: Shape = [4, 4, 4];
  const pool = { kernelHeight: 2, kernelWidth: 2, strideY: 2, strideX: 2, dilationY: 1, dilationX: 1, padTop: 0, padLeft: 0 };
  const poolOf = (channels: number, size: number) => ({
    ...pool,
    channels,
    ...{ inputHeight: size, inputWidth: size, outputHeight: size / 2, outputWidth: size / 2 },
  });
  const one = <T extends TrainNode['kind']>(kind: T, name: string, input: string, shape: readonly number[]) => ({
    ...{ kind, name, inputs: [input], output: name, shape },
  });
  const nodes: TrainNode[] = [
    conv('c0', 'x', [2, 8, 8], wide, 3, 1),
    batchNorm('b0', 'c0', wide),
    { ...one('relu', 'r0', 'b0', wide), cap: 1.2, ...(patches && { patches }) },
    conv('c1', 'r0', wide, wide, 3, 1, 4),
    { ...one('prelu', 'p1', 'c1', wide), slopes: Float32Array.of(0.1, 0.3, -0.2, 0.5), ...(patches && { patches }) },
    { ...one('add', 'a1', 'p1', wide), inputs: ['p1', 'r0', 'r0'], factors: [1, -1, 1] },
    { ...one('maxpool', 'm1', 'a1', low), geometry: poolOf(4, 8) },
    conv('c2', 'a1', wide, low, 3, 2, 2),
    batchNorm('b2', 'c2', low),
    { ...one('add', 'a2', 'b2', low), inputs: ['b2', 'm1'], factors: [1, 1] },
    one('relu', 'r2', 'a2', low),
    { ...one('concat', 'j2', 'r2', [8, 4, 4]), inputs: ['r2', 'm1'], axis: 0 },
    { ...one('affine', 'f2', 'j2', [8, 4, 4]), multiplier: values(8, 3), offset: values(8, 4) },
    conv('c3', 'f2', [8, 4, 4], [6, 4, 4], 3, 1, 1, 2),
    {
      ...one('view', 'v3', 'c3', [6, 4, 4]),
      inputShape: [6, 4, 4],
      axes: [
        { axis: 0, start: 0, step: 1, size: 6 },
        { axis: 1, start: -1, step: 1, size: 4 },
        { axis: 2, start: 3, step: -1, size: 4 },
      ],
    },
    one('truncate', 't3', 'v3', [6, 4, 4]),
    { ...one('averagepool', 'g3', 't3', [6, 2, 2]), geometry: poolOf(6, 4), divisors: [3] },
    conv('c4', 'g3', [6, 2, 2], [5, 2, 2], 1, 1),
  ];
  return { input: { id: 'x', shape: [2, 8, 8] }, output: 'c4', nodes };
}
