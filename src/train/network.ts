// What is trained: the nodes of a Graph, and batch norm with its running statistics. Not here: how a node is computed.
import type { AffineNode, Graph, GraphNode, ValueId } from '../model/graph.js';

/** Batch norm over each channel (Ioffe and Szegedy 2015, algorithms 1 and 2). All arrays have one number a channel. */
export interface BatchNormNode extends Omit<AffineNode, 'kind' | 'multiplier' | 'offset'> {
  readonly kind: 'batchnorm';
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
  /** Running mean and (unbiased) variance, used for inference. */
  readonly mean: Float32Array;
  readonly variance: Float32Array;
  readonly epsilon: number;
  /** Share of a batch's statistics in the running ones. */
  readonly momentum: number;
}

export type TrainNode = GraphNode | BatchNormNode;

/** Nodes in execution order; shapes are per image. */
export interface TrainNetwork {
  readonly input: Graph['input'];
  readonly output: ValueId;
  readonly nodes: readonly TrainNode[];
}
