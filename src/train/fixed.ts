// Layers without parameters.
import type { Compute } from '../kernel/compute.js';
import { addFloat } from '../kernel/float.js';
import { runNode } from '../model/forward.js';
import type {
  AddNode,
  AveragePoolNode,
  ConcatNode,
  MaxPoolNode,
  ProductNode,
  ResampleNode,
  TruncateNode,
  ViewNode,
} from '../model/graph.js';
import { averageGradient, concatGradient, maxPoolGradient, productGradient, resampleGradient, viewGradient } from './gradients.js';
import type { Backward, Layer } from './layer.js';

type FixedNode = AddNode | ProductNode | ConcatNode | AveragePoolNode | MaxPoolNode | ViewNode | ResampleNode | TruncateNode;

const noLayers = new Map();

/** @param inputShapes shapes per image of what the node reads. */
export function createFixed(compute: Compute, node: FixedNode, inputShapes: readonly (readonly number[])[]): Layer {
  const elementwise = node.kind === 'add' || node.kind === 'truncate';
  return {
    node,
    parameters: [],
    states: [],
    keeps: () => ({ input: node.kind === 'maxpool' || node.kind === 'product', output: false }),
    inPlace: elementwise,
    backwardInPlace: elementwise,
    refresh: async () => {},
    forward: ({ inputs, output, count }) => runNode(compute, node, noLayers, inputs, count, output),
    async backward(step) {
      for (const index of node.inputs.keys()) await goBack(compute, node, inputShapes, index, step);
    },
    current: () => node,
    close() {},
  };
}

async function goBack(
  compute: Compute,
  node: FixedNode,
  shapes: readonly (readonly number[])[],
  index: number,
  { inputs, gradient, count, targets }: Backward,
): Promise<void> {
  const target = targets[index];
  if (target === undefined) return;
  const { values, add } = target;
  switch (node.kind) {
    case 'add':
    case 'truncate': {
      const factor = node.kind === 'add' ? node.factors[index]! : 1;
      return addFloat(compute, gradient, factor, add ? values : gradient, add ? 1 : 0, values);
    }
    case 'product':
      return productGradient(inputs[1 - index]!, gradient, values, add);
    case 'concat': {
      const before = shapes.slice(0, index).reduce((sum, shape) => sum + shape[node.axis]!, 0);
      return concatGradient(node, before, shapes[index]![node.axis]!, gradient, count, values, add);
    }
    case 'averagepool':
      return averageGradient(compute, node, gradient, values, add);
    case 'maxpool':
      return maxPoolGradient(compute, node, inputs[0]!, gradient, values, add);
    case 'resample':
      return resampleGradient(node, gradient, count, values, add);
    case 'view':
      return viewGradient(compute, node, gradient, count, values, add);
  }
}
