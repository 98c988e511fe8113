// A ResNet-50 at 224 × 224 with random weights: what memory and time depend on is its shape. Its normalisations are folded away already.
import type { ConvGeometry, PoolGeometry } from '../src/kernel/geometry.js';
import type { Graph, GraphNode, ValueId } from '../src/model/graph.js';
import { createRandom } from './_choices.js';

interface Net {
  readonly nodes: GraphNode[];
  readonly random: () => number;
}

interface Value {
  readonly id: ValueId;
  readonly channels: number;
  readonly size: number;
}

/** A layer whose sums keep the variance of what it reads, or `gain` times it. */
function convolve({ nodes, random }: Net, name: string, from: Value, channels: number, kernel: number, stride = 1, gain = 2): Value {
  const pad = (kernel - 1) >> 1;
  const size = Math.floor((from.size + 2 * pad - kernel) / stride) + 1;
  const geometry: ConvGeometry = {
    ...{ inputChannels: from.channels, inputHeight: from.size, inputWidth: from.size },
    ...{ outputChannels: channels, outputHeight: size, outputWidth: size, kernelHeight: kernel, kernelWidth: kernel, groups: 1 },
    ...{ strideY: stride, strideX: stride, dilationY: 1, dilationX: 1, padTop: pad, padLeft: pad },
  };
  const inputs = from.channels * kernel * kernel;
  const spread = Math.sqrt((12 * gain) / inputs);
  const weights = Float32Array.from({ length: channels * inputs }, () => (random() - 0.5) * spread);
  const bias = new Float32Array(channels);
  nodes.push({ kind: 'conv', name, inputs: [from.id], output: name, shape: [channels, size, size], geometry, weights, bias });
  return { id: name, channels, size };
}

function relu({ nodes }: Net, name: string, from: Value): Value {
  nodes.push({ kind: 'relu', name, inputs: [from.id], output: name, shape: [from.channels, from.size, from.size] });
  return { ...from, id: name };
}

function pool({ nodes }: Net, kind: 'maxpool' | 'averagepool', from: Value, kernel: number, stride: number, pad: number): Value {
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

/** Narrow, 3 × 3, wide; the sum with its input, or that under a 1 × 1 layer, passes the third activation. */
function bottleneck(net: Net, name: string, from: Value, channels: number, stride: number): Value {
  const first = relu(net, `${name}.relu1`, convolve(net, `${name}.conv1`, from, channels, 1));
  const second = relu(net, `${name}.relu2`, convolve(net, `${name}.conv2`, first, channels, 3, stride));
  // A third of the variance: sums of blocks do not grow.
  const last = convolve(net, `${name}.conv3`, second, 4 * channels, 1, 1, 0.3);
  const plain = from.channels === 4 * channels && stride === 1;
  const shortcut = plain ? from : convolve(net, `${name}.shortcut`, from, 4 * channels, 1, stride, 1);
  const sum = `${name}.sum`;
  const shape = [last.channels, last.size, last.size];
  net.nodes.push({ kind: 'add', name: sum, inputs: [last.id, shortcut.id], output: sum, shape, factors: [1, 1] });
  return relu(net, `${name}.relu3`, { ...last, id: sum });
}

/** He et al., "Deep Residual Learning for Image Recognition" (2016), with the stride in the 3 × 3 layers; 22,720 channels of activations. */
export function randomResnet50(seed: number): Graph {
  const net: Net = { nodes: [], random: createRandom(seed) };
  const input: Value = { id: 'image', channels: 3, size: 224 };
  let value = pool(net, 'maxpool', relu(net, 'relu', convolve(net, 'conv', input, 64, 7, 2)), 3, 2, 1);
  for (const [stage, blocks] of [3, 4, 6, 3].entries()) {
    for (let block = 0; block < blocks; block++) {
      value = bottleneck(net, `layer${stage + 1}.${block}`, value, 64 << stage, stage > 0 && block === 0 ? 2 : 1);
    }
  }
  value = convolve(net, 'scores', pool(net, 'averagepool', value, 7, 1, 0), 1000, 1);
  const parameters = net.nodes.reduce((sum, node) => sum + (node.kind === 'conv' ? node.weights.length + node.bias.length : 0), 0);
  return { input: { id: input.id, shape: [3, 224, 224] }, output: value.id, nodes: net.nodes, parameters };
}
