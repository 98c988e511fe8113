// Add, Sub, Mul, Div, BatchNormalization: with a constant they become an affine layer (the server's secret), between values a sum.
import type { Constant } from '../constant.js';
import { sizeOf } from '../graph.js';
import { broadcastConstant, broadcastShape, constantMap } from './constants.js';
import {
  constant,
  fail,
  floatAttribute,
  fullShape,
  intAttribute,
  type OpContext,
  type Operand,
  type OpImporter,
  perImage,
  type Variable,
  variable,
} from './context.js';
import { broadcastAxes } from './shapes.js';

type Operation = 'add' | 'sub' | 'mul' | 'div';

const functions: Readonly<Record<Operation, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
};

/** One number for each channel where the constant allows it, else one for each element. `shape` is per image. */
export function perChannel(op: OpContext, c: Constant, shape: readonly number[]): Float32Array {
  const full = [1, ...shape];
  const dims = broadcastShape(op, full, c.dims);
  if (sizeOf(dims) !== sizeOf(full) || dims.length !== full.length) {
    fail(
      op,
      `a constant of shape [${c.dims.join(', ')}] enlarges [${full.join(', ')}]`,
      'constants must have the shape of the picture, or of its channels',
    );
  }
  const channels = shape[0] ?? 1;
  const values = broadcastConstant(c, full).data;
  const run = sizeOf(shape) / channels;
  if (values.every((v, i) => v === values[i - (i % run)])) return Float32Array.from({ length: channels }, (_, i) => values[i * run]!);
  return Float32Array.from(values);
}

function withConstant(op: OpContext, operation: Operation, x: Variable, c: Constant, constantFirst: boolean): Variable {
  const values = perChannel(op, c, x.shape);
  if (operation === 'div' && constantFirst)
    fail(op, 'divides a constant by the picture', 'division by a value that depends on the picture is not supported');
  const multiplier = values.map((v) =>
    operation === 'mul' ? v : operation === 'div' ? 1 / v : operation === 'sub' && constantFirst ? -1 : 1,
  );
  const offset = values.map((v) => (operation === 'add' ? v : operation === 'sub' ? (constantFirst ? v : -v) : 0));
  return op.emit({ kind: 'affine', shape: x.shape, multiplier, offset }, [x]);
}

function broadcastVariable(op: OpContext, x: Variable, shape: readonly number[], suffix: string): Variable {
  if (x.shape.length === shape.length && x.shape.every((d, i) => d === shape[i])) return x;
  const padded = [...Array.from({ length: shape.length - x.shape.length }, () => 1), ...x.shape];
  return op.emit({ kind: 'view', shape, inputShape: padded, axes: broadcastAxes(padded, shape) }, [x], suffix);
}

function binary(operation: Operation): OpImporter {
  const onConstants = constantMap(functions[operation]);
  return (op) => {
    const [a, b] = [0, 1].map((i) => op.inputs[i] ?? fail(op, `input ${i} is missing`, 'export the model again', 'bad-node')) as [
      Operand,
      Operand,
    ];
    if (a.kind === 'constant' && b.kind === 'constant') return onConstants(op);
    if (a.kind === 'variable' && b.kind === 'constant') return [withConstant(op, operation, a, b, false)];
    if (a.kind === 'constant' && b.kind === 'variable') return [withConstant(op, operation, b, a, true)];
    const x = variable(op, 0);
    const y = variable(op, 1);
    if (operation === 'div') fail(op, 'divides by a value that depends on the picture', 'divide by constants only');
    const shape = perImage(op, broadcastShape(op, fullShape(x), fullShape(y)));
    const inputs = [broadcastVariable(op, x, shape, '/broadcast0'), broadcastVariable(op, y, shape, '/broadcast1')];
    if (operation === 'mul') return [op.emit({ kind: 'product', shape }, inputs)];
    return [op.emit({ kind: 'add', shape, factors: [1, operation === 'add' ? 1 : -1] }, inputs)];
  };
}

export const importAdd = binary('add');
export const importSub = binary('sub');
export const importMul = binary('mul');
export const importDiv = binary('div');

export const importBatchNormalization: OpImporter = (op) => {
  const x = variable(op, 0);
  const [scale, bias, mean, variance] = [1, 2, 3, 4].map((i) => constant(op, i).data) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const channels = x.shape[0] ?? 1;
  if ([scale, bias, mean, variance].some((v) => v.length !== channels))
    fail(op, `constants that are not one for each of ${channels} channels`, 'the model is not consistent', 'bad-shape');
  if (intAttribute(op, 'training_mode', 0) !== 0 || intAttribute(op, 'spatial', 1) !== 1)
    fail(op, 'is in training mode', 'export the model for inference');
  const epsilon = floatAttribute(op, 'epsilon', 1e-5);
  const factor = Float64Array.from(variance, (v, i) => scale[i]! / Math.sqrt(v + epsilon));
  const multiplier = Float32Array.from(factor);
  const offset = Float32Array.from(factor, (f, i) => bias[i]! - f * mean[i]!);
  return [op.emit({ kind: 'affine', shape: x.shape, multiplier, offset }, [x])];
};
