// Networks built by name for training from scratch.
import { createSequence } from '../data/generated.js';
import type { ConvGeometry } from '../kernel/geometry.js';
import type { AveragePoolNode, ConvNode, MaxPoolNode, ReluNode, ValueId, ViewNode } from '../model/graph.js';
import type { BatchNormNode, TrainNetwork, TrainNode } from './network.js';

export interface ArchitectureOptions {
  readonly classes: number;
  /** Draws the weights. */
  readonly seed: number;
}

export const architectureNames = ['digits', 'resnet20', 'resnet32', 'resnet44', 'resnet56', 'resnet20-projection'] as const;

/**
 * Builds a network with weights drawn from the seed as He et al. 2015 ("Delving Deep into Rectifiers", section 2.2) do.
 *
 * `digits`: two convolutions and two fully connected layers for 1 × 28 × 28 pictures. `resnet20` (`resnet32`, …): the CIFAR networks of He
 * et al. 2015 ("Deep Residual Learning", section 4.2) for 3 × 32 × 32, 6 n + 2 layers, shortcuts without weights (option A); with
 * `-projection`, shortcuts of 1 × 1 convolutions (option B).
 *
 * Throws RangeError for a name that is none.
 */
export function buildArchitecture(name: string, { classes, seed }: ArchitectureOptions): TrainNetwork {
  const residual = /^resnet(\d+)(-projection)?$/.exec(name);
  const depth = Number(residual?.[1]);
  if (name === 'digits') return digits(createBuilder([1, 28, 28], seed), classes);
  if (residual && depth >= 8 && (depth - 2) % 6 === 0)
    return residualNetwork(createBuilder([3, 32, 32], seed), (depth - 2) / 6, classes, residual[2] !== undefined);
  throw new RangeError(`there is no architecture ${name}; there are ${architectureNames.join(', ')}`);
}

/** A value and its shape. */
interface Value {
  readonly id: ValueId;
  readonly shape: readonly number[];
}

interface Builder {
  readonly input: Value;
  conv(name: string, from: Value, outputs: number, kernel: number, stride: number): Value;
  dense(name: string, from: Value, outputs: number): Value;
  batchNorm(name: string, from: Value): Value;
  relu(name: string, from: Value): Value;
  add(name: string, ...from: Value[]): Value;
  pool(name: string, kind: 'averagepool' | 'maxpool', from: Value, size: number): Value;
  /** Every second row and column, and channels of zeros before and after. */
  subsample(name: string, from: Value, outputs: number): Value;
  network(output: Value): TrainNetwork;
}

/** Normal numbers from a seed, by Box and Muller. */
function createNormals(seed: number): () => number {
  const uniform = createSequence(seed);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

const square = (channels: number, size: number, kernel: number, stride: number, pad: number) => {
  const output = Math.floor((size + 2 * pad - kernel) / stride) + 1;
  const map = { inputHeight: size, inputWidth: size, outputHeight: output, outputWidth: output };
  const window = { kernelHeight: kernel, kernelWidth: kernel, strideY: stride, strideX: stride, dilationY: 1, dilationX: 1 };
  return { channels, ...map, ...window, padTop: pad, padLeft: pad };
};

function createBuilder(shape: readonly number[], seed: number): Builder {
  const nodes: TrainNode[] = [];
  const normal = createNormals(seed);
  const emit = (node: TrainNode): Value => {
    nodes.push(node);
    return { id: node.output, shape: node.shape };
  };
  const base = (name: string, from: Value, to: readonly number[] = from.shape) => ({ name, inputs: [from.id], output: name, shape: to });
  const linear = (name: string, from: Value, to: readonly number[], geometry: ConvGeometry): Value => {
    const inputs = geometry.inputChannels * geometry.kernelHeight * geometry.kernelWidth;
    const weights = Float32Array.from({ length: inputs * geometry.outputChannels }, () => Math.sqrt(2 / inputs) * normal());
    const bias = new Float32Array(geometry.outputChannels);
    return emit({ kind: 'conv', ...base(name, from, to), geometry, weights, bias } satisfies ConvNode);
  };
  return {
    input: { id: 'input', shape },
    conv(name, from, outputs, kernel, stride) {
      const { channels, ...window } = square(from.shape[0]!, from.shape[1]!, kernel, stride, kernel >> 1);
      const geometry = { ...window, inputChannels: channels, outputChannels: outputs, groups: 1 };
      return linear(name, from, [outputs, window.outputHeight, window.outputWidth], geometry);
    },
    dense(name, from, outputs) {
      const { channels, ...window } = square(from.shape[0]!, from.shape[1] ?? 1, from.shape[1] ?? 1, 1, 0);
      return linear(name, from, [outputs], { ...window, inputChannels: channels, outputChannels: outputs, groups: 1 });
    },
    batchNorm(name, from) {
      const filled = (value: number): Float32Array => new Float32Array(from.shape[0]!).fill(value);
      const numbers = { gamma: filled(1), beta: filled(0), mean: filled(0), variance: filled(1), epsilon: 1e-5, momentum: 0.1 };
      return emit({ kind: 'batchnorm', ...base(name, from), ...numbers } satisfies BatchNormNode);
    },
    relu: (name, from) => emit({ kind: 'relu', ...base(name, from) } satisfies ReluNode),
    add: (name, ...from) =>
      emit({ kind: 'add', name, inputs: from.map(({ id }) => id), output: name, shape: from[0]!.shape, factors: from.map(() => 1) }),
    pool(name, kind, from, size) {
      const geometry = square(from.shape[0]!, from.shape[1]!, size, size, 0);
      const to = [geometry.channels, geometry.outputHeight, geometry.outputWidth];
      if (kind === 'maxpool') return emit({ kind, ...base(name, from, to), geometry } satisfies MaxPoolNode);
      return emit({ kind, ...base(name, from, to), geometry, divisors: [size * size] } satisfies AveragePoolNode);
    },
    subsample(name, from, outputs) {
      const [channels, height, width] = from.shape as [number, number, number];
      const to = [outputs, Math.ceil(height / 2), Math.ceil(width / 2)];
      const axes = to.map((size, axis) =>
        axis === 0 ? { axis, start: -Math.floor((outputs - channels) / 2), step: 1, size } : { axis, start: 0, step: 2, size },
      );
      return emit({ kind: 'view', ...base(name, from, to), inputShape: from.shape, axes } satisfies ViewNode);
    },
    network: (output) => ({ input: { id: 'input', shape }, output: output.id, nodes }),
  };
}

function digits(b: Builder, classes: number): TrainNetwork {
  const block = (name: string, from: Value, outputs: number): Value =>
    b.pool(`${name}/pool`, 'averagepool', b.relu(`${name}/relu`, b.batchNorm(`${name}/norm`, b.conv(name, from, outputs, 5, 1))), 2);
  const maps = block('conv2', block('conv1', b.input, 8), 16);
  const hidden = b.relu('dense1/relu', b.batchNorm('dense1/norm', b.dense('dense1', maps, 64)));
  return b.network(b.dense('dense2', hidden, classes));
}

function residualNetwork(b: Builder, blocks: number, classes: number, projected: boolean): TrainNetwork {
  let value = b.relu('stem/relu', b.batchNorm('stem/norm', b.conv('stem', b.input, 16, 3, 1)));
  for (const [stage, width] of [16, 32, 64].entries()) {
    for (let block = 0; block < blocks; block++) {
      const name = `stage${stage + 1}/block${block + 1}`;
      const stride = stage > 0 && block === 0 ? 2 : 1;
      const first = b.relu(`${name}/relu1`, b.batchNorm(`${name}/norm1`, b.conv(`${name}/conv1`, value, width, 3, stride)));
      const second = b.batchNorm(`${name}/norm2`, b.conv(`${name}/conv2`, first, width, 3, 1));
      const shortcut = shortcutOf(b, `${name}/shortcut`, value, width, stride, projected);
      value = b.relu(`${name}/relu2`, b.add(`${name}/add`, second, shortcut));
    }
  }
  return b.network(b.dense('dense', b.pool('pool', 'averagepool', value, value.shape[1]!), classes));
}

function shortcutOf(b: Builder, name: string, from: Value, width: number, stride: number, projected: boolean): Value {
  if (stride === 1 && from.shape[0] === width) return from;
  return projected ? b.batchNorm(`${name}/norm`, b.conv(name, from, width, 1, stride)) : b.subsample(name, from, width);
}
