// What the function of an ONNX op sees: its node's inputs, attributes and a way to add nodes to the graph.
import { DataError } from '../../errors.js';
import type { Constant } from '../constant.js';
import { readTensor } from '../constant.js';
import type { GraphNode, ValueId } from '../graph.js';
import type { OnnxAttribute, OnnxNode } from '../protobuf.js';

/** A value that depends on the picture. `shape` leaves the batch axis out. */
export interface Variable {
  readonly kind: 'variable';
  readonly id: ValueId;
  readonly shape: readonly number[];
}

export type Operand = Variable | ({ readonly kind: 'constant' } & Constant);

type Distribute<T> = T extends GraphNode ? Omit<T, 'name' | 'output' | 'inputs'> : never;

/** Maps one ONNX node to graph nodes; returns one operand for each output it supplies. */
export type OpImporter = (op: OpContext) => readonly Operand[];

export interface OpContext {
  readonly node: OnnxNode;
  readonly opset: number;
  /** Layer name, as inspect and the spec file use it. */
  readonly name: string;
  readonly inputs: readonly (Operand | undefined)[];
  /**
   * Adds a node that reads `inputs` and returns its output. The last one added for the ONNX node's first output should be the
   * node that deserves its name; the ones before pass a `suffix`.
   */
  emit(node: Distribute<GraphNode>, inputs: readonly Variable[], suffix?: string): Variable;
}

/** Stops with the node's name. */
export function fail(op: Pick<OpContext, 'node' | 'name'>, reason: string, hint: string, code = 'unsupported-op'): never {
  throw new DataError(`node ${op.name} (${op.node.opType ?? '?'}): ${reason}`, { code, where: op.name, hint });
}

/** Input `index` as a variable; fails when it is a constant or missing. */
export function variable(op: OpContext, index: number): Variable {
  const operand = op.inputs[index];
  if (operand?.kind === 'variable') return operand;
  return fail(op, operand ? `input ${index} is a constant` : `input ${index} is missing`, 'fold the constant before exporting', 'bad-node');
}

/** Input `index` as a constant; undefined when the node leaves it out. */
export function optionalConstant(op: OpContext, index: number): Constant | undefined {
  const operand = op.inputs[index];
  if (operand === undefined || operand.kind === 'constant') return operand;
  return fail(op, `input ${index} must be a constant`, 'weights, shapes and limits that depend on the picture are not supported');
}

export function constant(op: OpContext, index: number): Constant {
  return optionalConstant(op, index) ?? fail(op, `input ${index} is missing`, 'export the model again', 'bad-node');
}

function attribute(op: Pick<OpContext, 'node'>, name: string): OnnxAttribute | undefined {
  return op.node.attribute.find((a) => a.name === name);
}

export function intAttribute(op: OpContext, name: string, otherwise: number): number {
  const a = attribute(op, name);
  return a === undefined ? otherwise : (a.i ?? 0);
}

export function floatAttribute(op: OpContext, name: string, otherwise: number): number {
  const a = attribute(op, name);
  return a === undefined ? otherwise : (a.f ?? 0);
}

export function intsAttribute(op: OpContext, name: string): readonly number[] | undefined {
  return attribute(op, name)?.ints;
}

export function floatsAttribute(op: OpContext, name: string): readonly number[] | undefined {
  return attribute(op, name)?.floats;
}

export function stringAttribute(op: OpContext, name: string, otherwise: string): string {
  const bytes = attribute(op, name)?.s;
  return bytes === undefined ? otherwise : new TextDecoder().decode(bytes);
}

export function tensorAttribute(op: OpContext, name: string): Constant | undefined {
  const t = attribute(op, name)?.t;
  return t === undefined ? undefined : readTensor(t, `node ${op.name}, attribute ${name}`);
}

/** The numbers of an integer constant, or of the attribute older opsets used instead of input `index`. */
export function listInput(op: OpContext, index: number, attributeName: string): readonly number[] | undefined {
  const c = optionalConstant(op, index);
  return c === undefined ? intsAttribute(op, attributeName) : Array.from(c.data);
}

/** Normalises an axis of a full shape of `rank` axes to 0…rank − 1. */
export function axisOf(op: OpContext, axis: number, rank: number): number {
  const a = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(a) || a < 0 || a >= rank)
    fail(op, `axis ${axis} of a tensor with ${rank} axes`, 'the model is not consistent', 'bad-node');
  return a;
}

export const asConstant = (c: Constant): Operand => ({ kind: 'constant', ...c });

/** Full shape of an operand: a variable's begins with the batch axis, counted as 1. */
export function fullShape(operand: Operand): readonly number[] {
  return operand.kind === 'variable' ? [1, ...operand.shape] : operand.dims;
}

/** Full shape → per image; fails where the leading axis is no longer the batch. */
export function perImage(op: OpContext, full: readonly number[]): readonly number[] {
  if (full[0] !== 1)
    fail(op, `shape [${full.join(', ')}] mixes images of a batch`, 'export with a dynamic batch axis, or with batch 1, as the first axis');
  return full.slice(1);
}
