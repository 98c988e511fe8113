// The float network: nodes in execution order, immutable; every pass is graph → graph. Shapes are per image (no batch axis).
import type { ConvGeometry, PoolGeometry } from '../kernel/geometry.js';
import type { Patch, ViewStep } from './program.js';

/** Names a value of the graph: an ONNX tensor's name, or one derived from it. */
export type ValueId = string;

interface NodeBase {
  /** Layer name: the ONNX node's name if it has a unique one, else that of its first output. */
  readonly name: string;
  readonly inputs: readonly ValueId[];
  readonly output: ValueId;
  /** Shape of the output. */
  readonly shape: readonly number[];
}

/** Convolution or fully connected layer (1 × 1 maps). */
export interface ConvNode extends NodeBase {
  readonly kind: 'conv';
  readonly geometry: ConvGeometry;
  /** [outputChannels, inputChannels / groups, kernelHeight, kernelWidth] */
  readonly weights: Float32Array;
  readonly bias: Float32Array;
}

/** x · multiplier + offset; one constant for each of `multiplier.length` equal runs of elements (channels, or single elements). */
export interface AffineNode extends NodeBase {
  readonly kind: 'affine';
  readonly multiplier: Float32Array;
  readonly offset: Float32Array;
}

/** min(max(x, 0), cap), the sign shared by a patch where `patches` says so. */
export interface ReluNode extends NodeBase {
  readonly kind: 'relu';
  readonly cap?: number;
  readonly patches?: readonly Patch[];
}

/** x where x ≥ 0, else slope · x; one slope for each of `slopes.length` equal runs of elements. */
export interface PreluNode extends NodeBase {
  readonly kind: 'prelu';
  readonly slopes: Float32Array;
  /** Set by a spec: the sign is shared as in a block ReLU. */
  readonly patches?: readonly Patch[];
}

export interface MaxPoolNode extends NodeBase {
  readonly kind: 'maxpool';
  readonly geometry: PoolGeometry;
}

/** Sum over each window divided by its divisor: one for all, or one for each output position of a map. */
export interface AveragePoolNode extends NodeBase {
  readonly kind: 'averagepool';
  readonly geometry: PoolGeometry;
  readonly divisors: readonly number[];
}

/** Σ factors[i] · inputs[i]; factors are 1 or −1 (Sub). */
export interface AddNode extends NodeBase {
  readonly kind: 'add';
  readonly factors: readonly number[];
}

/** The product of two values, element by element; a square where both are the same. */
export interface ProductNode extends NodeBase {
  readonly kind: 'product';
}

export interface ConcatNode extends NodeBase {
  readonly kind: 'concat';
  readonly axis: number;
}

/** How ONNX's Resize finds the taps of an output; what a file is written from. */
export interface Interpolation {
  readonly mode: string;
  readonly coordinates: string;
  readonly nearest: string;
  readonly cubicCoefficient: number;
  readonly excludeOutside: boolean;
  /** Outputs an input position, as the file says: not always the ratio of the lengths. */
  readonly scale: number;
}

/**
 * A public linear map along one axis, resizing: output o is Σ over taps of weights[o, t] · input[positions[o, t]], both lists [outputs, taps].
 */
export interface ResampleNode extends NodeBase {
  readonly kind: 'resample';
  readonly axis: number;
  readonly taps: number;
  readonly positions: readonly number[];
  readonly weights: readonly number[];
  readonly interpolation: Interpolation;
}

export interface ViewNode extends NodeBase {
  readonly kind: 'view';
  readonly inputShape: readonly number[];
  readonly axes: ViewStep['axes'];
}

/** The identity; marks where a fixed-point value loses its lower bits. Only passes make it. */
export interface TruncateNode extends NodeBase {
  readonly kind: 'truncate';
}

export interface SoftmaxNode extends NodeBase {
  readonly kind: 'softmax' | 'logsoftmax';
}

export type GraphNode =
  | ConvNode
  | AffineNode
  | ReluNode
  | PreluNode
  | MaxPoolNode
  | AveragePoolNode
  | AddNode
  | ProductNode
  | ConcatNode
  | ViewNode
  | ResampleNode
  | TruncateNode
  | SoftmaxNode;

export interface Graph {
  readonly input: { readonly id: ValueId; readonly shape: readonly number[] };
  readonly output: ValueId;
  readonly nodes: readonly GraphNode[];
  /** Numbers in the file's floating-point constants that the network uses. */
  readonly parameters: number;
}

/** Product of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, d) => product * d, 1);
}

/** Shape of a value of the graph. */
export function shapeOf(graph: Graph, id: ValueId): readonly number[] {
  if (id === graph.input.id) return graph.input.shape;
  const node = graph.nodes.find((n) => n.output === id);
  if (node === undefined) throw new RangeError(`graph has no value ${id}`);
  return node.shape;
}

/** Which nodes read each value. */
export function consumersOf(graph: Graph): ReadonlyMap<ValueId, readonly GraphNode[]> {
  const consumers = new Map<ValueId, GraphNode[]>();
  for (const node of graph.nodes) {
    for (const input of new Set(node.inputs)) {
      const list = consumers.get(input);
      if (list === undefined) consumers.set(input, [node]);
      else list.push(node);
    }
  }
  return consumers;
}

/** Drops nodes nothing reads. */
export function withoutDeadNodes(graph: Graph): Graph {
  const live = new Set<ValueId>([graph.output]);
  const nodes: GraphNode[] = [];
  for (const node of [...graph.nodes].reverse()) {
    if (!live.has(node.output)) continue;
    nodes.push(node);
    for (const input of node.inputs) live.add(input);
  }
  return { ...graph, nodes: nodes.reverse() };
}

/** A view that only renames positions: the same elements in the same order under another shape. */
export function isReshape(view: Pick<ViewNode, 'inputShape' | 'axes'>): boolean {
  return (
    view.axes.length === view.inputShape.length &&
    view.axes.every((a, d) => a.axis === d && a.start === 0 && a.step === 1 && a.size === view.inputShape[d])
  );
}
