// What is in a model, what of it runs, and how much work it is: the answer of `tessera inspect`.
import { UsageError } from '../errors.js';
import { multiplyAdds } from '../kernel/geometry.js';
import { type Graph, type GraphNode, sizeOf } from './graph.js';
import type { ReadResult, Unsupported } from './onnx.js';
import { simplify } from './passes/simplify.js';

export interface InspectedLayer {
  readonly name: string;
  readonly kind: GraphNode['kind'];
  /** Of the output, without the batch axis. */
  readonly shape: readonly number[];
  /** Leading axis of the shape. */
  readonly channels: number;
  /** Activation elements. */
  readonly drelus: number;
  /** Sign tests: 1 an element of a ReLU, 2 with a cap, kernel − 1 an output of a max pool. */
  readonly comparisons: number;
}

export interface Inspection {
  readonly supported: boolean;
  readonly unsupported: readonly Unsupported[];
  readonly input: { readonly name: string; readonly shape: readonly number[] };
  /** Absent when something is unsupported, as are the layers. */
  readonly output?: { readonly name: string; readonly shape: readonly number[] };
  /** Multiply-adds of the linear layers. */
  readonly macs: number;
  /** Numbers in the file's floating-point constants. */
  readonly parameters: number;
  readonly drelus: number;
  readonly comparisons: number;
  /** Every node that runs, in order, after constants are folded and MaxPool has moved before ReLU. */
  readonly layers: readonly InspectedLayer[];
}

/** Describes what {@link readModel} read. */
export function inspectModel({ graph, unsupported, input }: ReadResult): Inspection {
  if (graph === undefined) return { supported: false, unsupported, input, macs: 0, parameters: 0, drelus: 0, comparisons: 0, layers: [] };
  const running = simplify(graph);
  const layers = running.nodes.map(describe);
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  return {
    supported: true,
    unsupported,
    input,
    output: { name: graph.output, shape: outputShape(graph) },
    macs: sum(running.nodes.map(macsOf)),
    parameters: graph.parameters,
    drelus: sum(layers.map((l) => l.drelus)),
    comparisons: sum(layers.map((l) => l.comparisons)),
    layers,
  };
}

/** Shape of a graph's output, without the batch axis. */
function outputShape(graph: Graph): readonly number[] {
  const node = graph.nodes.find((n) => n.output === graph.output);
  if (node === undefined) throw new UsageError('the graph has no output', { code: 'bad-graph' });
  return node.shape;
}

/** Multiply-adds of a node on one image; 0 of what is no convolution. */
export const macsOf = (node: GraphNode): number => (node.kind === 'conv' ? multiplyAdds(node.geometry) : 0);

function describe(node: GraphNode): InspectedLayer {
  const elements = sizeOf(node.shape);
  const drelus = node.kind === 'relu' || node.kind === 'prelu' ? elements : 0;
  const taps = node.kind === 'maxpool' ? node.geometry.kernelHeight * node.geometry.kernelWidth - 1 : 0;
  const comparisons = taps * elements + drelus * (node.kind === 'relu' && node.cap !== undefined ? 2 : 1);
  return { name: node.name, kind: node.kind, shape: node.shape, channels: node.shape[0] ?? 1, drelus, comparisons };
}
