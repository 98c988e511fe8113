// Batch norm put back into a network whose exporter had folded it into the convolutions: fine-tuning needs it, because without it a step
// that changes one layer throws off every layer after it. Not here: batch norm itself.
import type { Compute } from '../kernel/compute.js';
import { forward } from '../model/forward.js';
import { type ConvNode, type Graph, sizeOf, type ValueId } from '../model/graph.js';
import type { BatchNormNode, TrainNetwork, TrainNode } from './network.js';

/** Mean and variance of each channel of a value. */
export interface Moments {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
}

/** Convolutions whose channels have more than one element; a fully connected layer at the end has its own bias. */
function normalised(graph: Graph): readonly ConvNode[] {
  return graph.nodes.filter(
    (node): node is ConvNode =>
      node.kind === 'conv' &&
      node.output !== graph.output &&
      node.shape[0] === node.geometry.outputChannels &&
      sizeOf(node.shape) > node.shape[0],
  );
}

/** Moments of what each of a graph's convolutions gives, over `count` pictures. */
export async function measureMoments(
  compute: Compute,
  graph: Graph,
  images: Float32Array,
  count: number,
): Promise<ReadonlyMap<ValueId, Moments>> {
  const sums = new Map(
    normalised(graph).map(({ output, shape }) => {
      const channels = shape[0]!;
      return [output, { size: sizeOf(shape) / channels, first: new Float64Array(channels), second: new Float64Array(channels) }];
    }),
  );
  await forward(compute, graph, images, count, (id, values) => {
    const sum = sums.get(id);
    if (sum === undefined) return;
    const { size, first, second } = sum;
    for (let from = 0, map = 0; from < values.length; from += size, map++) {
      const c = map % first.length;
      for (let i = from; i < from + size; i++) {
        first[c]! += values[i]!;
        second[c]! += values[i]! * values[i]!;
      }
    }
  });
  return new Map(
    [...sums].map(([id, { size, first, second }]) => {
      const mean = first.map((s) => s / (size * count));
      return [id, { mean, variance: second.map((s, c) => Math.max(0, s / (size * count) - mean[c]! ** 2)) }];
    }),
  );
}

/** Share of a layer's typical deviation below which a channel counts as constant: its filter is not blown up to unit deviation. */
const leastDeviation = 0.01;

/**
 * The graph with batch norm behind its convolutions. With the batch's own statistics, each channel then has the mean and deviation it had in
 * `wanted`, the network as it was before a spec; with `now`, those it has under the spec, as both, the network says what it said.
 */
export function withBatchNorm(graph: Graph, wanted: ReadonlyMap<ValueId, Moments>, now: ReadonlyMap<ValueId, Moments>): TrainNetwork {
  const convs = new Set(normalised(graph));
  const nodes = graph.nodes.flatMap((node): readonly TrainNode[] => {
    const [before, under] = [wanted.get(node.output), now.get(node.output)];
    if (node.kind !== 'conv' || !convs.has(node) || before === undefined || under === undefined) return [node];
    return normalisedConv(node, before, under);
  });
  return { input: graph.input, output: graph.output, nodes };
}

/** A convolution whose outputs have unit deviation, and batch norm that gives them back their own. */
function normalisedConv(conv: ConvNode, wanted: Moments, now: Moments): readonly TrainNode[] {
  const typical = Math.sqrt(wanted.variance.reduce((sum, v) => sum + v, 0) / wanted.variance.length) || 1;
  const unit = wanted.variance.map((v) => Math.max(Math.sqrt(v), leastDeviation * typical));
  const perOutput = conv.weights.length / unit.length;
  const inner = `${conv.output}/before norm`;
  const norm: BatchNormNode = {
    kind: 'batchnorm',
    name: `${conv.name}/norm`,
    inputs: [inner],
    output: conv.output,
    shape: conv.shape,
    gamma: Float32Array.from(wanted.variance, Math.sqrt),
    beta: Float32Array.from(wanted.mean),
    mean: Float32Array.from(now.mean, (m, c) => (m - conv.bias[c]!) / unit[c]!),
    variance: Float32Array.from(now.variance, (v, c) => v / unit[c]! ** 2),
    epsilon: 1e-5,
    momentum: 0.1,
  };
  const weights = conv.weights.map((w, i) => w / unit[Math.floor(i / perOutput)]!);
  return [{ ...conv, output: inner, weights, bias: new Float32Array(unit.length) }, norm];
}
