// A network's nodes as layers that learn.
import type { Compute } from '../kernel/compute.js';
import type { ValueId } from '../model/graph.js';
import { type ActivationLayer, createPrelu, createRelu } from './activation.js';
import { type ConvolutionLayer, createConvolution } from './convolution.js';
import { createFixed } from './fixed.js';
import type { Layer } from './layer.js';
import type { TrainNetwork, TrainNode } from './network.js';
import { createAffine, createBatchNorm } from './scale.js';
import type { TrainableOptions } from './trainable.js';

export const isActivationLayer = (layer: Layer): layer is ActivationLayer => layer.node.kind === 'relu' || layer.node.kind === 'prelu';

export const isConvolutionLayer = (layer: Layer): layer is ConvolutionLayer => layer.node.kind === 'conv';

/** Values that depend on a parameter: what comes before has no use for a gradient. */
export function valuesThatLearn(layers: readonly Layer[]): ReadonlySet<ValueId> {
  const learning = new Set<ValueId>();
  for (const { node, parameters } of layers) {
    if (parameters.length > 0 || node.inputs.some((id) => learning.has(id))) learning.add(node.output);
  }
  return learning;
}

/** Layers in execution order; closes those made when one cannot be made. */
export async function createLayers(compute: Compute, network: TrainNetwork, options: TrainableOptions): Promise<Layer[]> {
  const layers: Layer[] = [];
  try {
    for (const node of network.nodes) layers.push(await createLayer(compute, network, node, layers, options));
  } catch (error) {
    for (const layer of layers) layer.close();
    throw error;
  }
  return layers;
}

async function createLayer(
  compute: Compute,
  network: TrainNetwork,
  node: TrainNode,
  before: readonly Layer[],
  { batchNorm = 'train' }: TrainableOptions,
): Promise<Layer> {
  const frozen = batchNorm === 'frozen';
  switch (node.kind) {
    case 'conv': {
      const readers = network.nodes.filter((other) => other.inputs.includes(node.output));
      const normed = !frozen && node.output !== network.output && readers.every((reader) => reader.kind === 'batchnorm');
      return createConvolution(compute, node, !normed, valuesThatLearn(before).has(node.inputs[0]!));
    }
    case 'affine':
      return createAffine(compute, node, frozen);
    case 'batchnorm':
      return createBatchNorm(compute, node, frozen);
    case 'relu':
      return createRelu(compute, node);
    case 'prelu':
      return createPrelu(compute, node);
    case 'softmax':
    case 'logsoftmax':
      throw new RangeError(`there is no way back through ${node.kind} ${node.name}`);
    default: {
      const shapeOf = (id: ValueId): readonly number[] => network.nodes.find((other) => other.output === id)?.shape ?? network.input.shape;
      return createFixed(compute, node, node.inputs.map(shapeOf));
    }
  }
}
