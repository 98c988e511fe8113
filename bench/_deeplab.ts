// DeepLabV3 on MobileNetV2 with random weights, as mmsegmentation's m-v2-d8: output stride 8, a head of 512 channels.
import type { Graph } from '../src/model/graph.js';
import { add, convolve, createNet, finish, type Net, pool, relu, type Value } from './_network.js';

/** Channels, blocks, stride and dilation of each stage of inverted residuals; the first one does not expand. */
const stages = [
  { channels: 16, blocks: 1, stride: 1, dilation: 1 },
  { channels: 24, blocks: 2, stride: 2, dilation: 1 },
  { channels: 32, blocks: 3, stride: 2, dilation: 1 },
  { channels: 64, blocks: 4, stride: 1, dilation: 2 },
  { channels: 96, blocks: 3, stride: 1, dilation: 2 },
  { channels: 160, blocks: 3, stride: 1, dilation: 4 },
  { channels: 320, blocks: 1, stride: 1, dilation: 4 },
];
const headChannels = 512;
const headDilations = [12, 24, 36];
const classes = 150;

/** Sandler et al., "MobileNetV2" (2018): wide, depthwise, narrow; the sum with its input where shapes allow. */
function invertedResidual(net: Net, name: string, from: Value, channels: number, stride: number, dilation: number): Value {
  const wide = name === 'stage0.0' ? from : relu(net, `${name}.relu1`, convolve(net, `${name}.expand`, from, 6 * from.channels, 1));
  const spread = { stride, dilation, groups: wide.channels };
  const depthwise = relu(net, `${name}.relu2`, convolve(net, `${name}.depthwise`, wide, wide.channels, 3, spread));
  const plain = from.channels === channels && stride === 1;
  const narrow = convolve(net, `${name}.project`, depthwise, channels, 1, { gain: plain ? 0.3 : 1 });
  return plain ? add(net, `${name}.sum`, narrow, from) : narrow;
}

/** Every output position of a map is its one input. */
function broadcast({ nodes }: Net, from: Value, size: number): Value {
  const interpolation = {
    ...{ mode: 'linear', coordinates: 'half_pixel', nearest: 'floor', cubicCoefficient: -0.75, excludeOutside: false },
    scale: size,
  };
  const all = { taps: 1, positions: new Array<number>(size).fill(0), weights: new Array<number>(size).fill(1), interpolation };
  const [rows, maps] = [`${from.id}.rows`, `${from.id}.maps`];
  nodes.push({ kind: 'resample', name: rows, inputs: [from.id], output: rows, shape: [from.channels, size, 1], axis: 1, ...all });
  nodes.push({ kind: 'resample', name: maps, inputs: [rows], output: maps, shape: [from.channels, size, size], axis: 2, ...all });
  return { ...from, id: maps, size };
}

/** Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation" (2017); scores of 150 classes at an eighth of the size. */
export function randomDeeplab(seed: number, size: number): Graph {
  const net = createNet(seed);
  const input: Value = { id: 'image', channels: 3, size };
  let value = relu(net, 'relu', convolve(net, 'conv', input, 32, 3, { stride: 2 }));
  for (const [stage, { channels, blocks, stride, dilation }] of stages.entries()) {
    for (let block = 0; block < blocks; block++)
      value = invertedResidual(net, `stage${stage}.${block}`, value, channels, block === 0 ? stride : 1, dilation);
  }
  const pooled = relu(net, 'pooled.relu', convolve(net, 'pooled', pool(net, 'averagepool', value, value.size, 1, 0), headChannels, 1));
  const branches = [
    broadcast(net, pooled, value.size),
    relu(net, 'branch0.relu', convolve(net, 'branch0', value, headChannels, 1)),
    ...headDilations.map((dilation) =>
      relu(net, `branch${dilation}.relu`, convolve(net, `branch${dilation}`, value, headChannels, 3, { dilation })),
    ),
  ];
  const channels = branches.length * headChannels;
  const inputs = branches.map(({ id }) => id);
  net.nodes.push({ kind: 'concat', name: 'branches', inputs, output: 'branches', shape: [channels, value.size, value.size], axis: 0 });
  const joined = { id: 'branches', channels, size: value.size };
  const narrow = relu(net, 'bottleneck.relu', convolve(net, 'bottleneck', joined, headChannels, 3));
  return finish(net, input, convolve(net, 'scores', narrow, classes, 1));
}
