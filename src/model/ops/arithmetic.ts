// Add, Sub, Mul, Div, BatchNormalization: with a constant they become an affine layer (the server's secret), between values a sum.
import type { Constant } from '../constant.js';
import { sizeOf } from '../graph.js';
import { clip } from './activations.js';
import { broadcastConstant, broadcastShape, constantMap } from './constants.js';
import {
  asConstant,
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

const functions: Readonly<Record<Operation, (a: number, b: number, integers: boolean) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  // Sizes that are computed from a shape are integers, and ONNX divides those as C does.
  div: (a, b, integers) => (integers ? Math.trunc(a / b) : a / b),
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
  const onConstants = constantMap((a, b, _, integers) => functions[operation](a, b, integers));
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

/** Two operands broadcast to one shape, constants as they are. */
function pairOf(op: OpContext): { readonly x: Variable; readonly y: Variable; readonly shape: readonly number[] } {
  if (op.node.input.length !== 2) fail(op, `${op.node.input.length} inputs`, 'write it with two inputs at a time');
  const [a, b] = [variable(op, 0), variable(op, 1)];
  const shape = perImage(op, broadcastShape(op, fullShape(a), fullShape(b)));
  return { x: broadcastVariable(op, a, shape, '/broadcast0'), y: broadcastVariable(op, b, shape, '/broadcast1'), shape };
}

/** The constant of an op that has one operand of each kind; a number, for limits are public. */
function scalarAmong(op: OpContext): { readonly x: Variable; readonly limit: number } | undefined {
  const at = [0, 1].find((i) => op.inputs[i]?.kind === 'constant');
  if (at === undefined || op.node.input.length !== 2) return undefined;
  const { data } = constant(op, at);
  if (!data.every((v) => v === data[0])) fail(op, 'a limit for each channel', 'one public number limits all elements');
  return { x: variable(op, 1 - at), limit: data[0] ?? 0 };
}

/** Of two values, max(a, b) = b + relu(a − b) and min(a, b) = a − relu(a − b). */
function extremum(sign: 1 | -1): OpImporter {
  const onConstants = constantMap((a, b) => (sign === 1 ? Math.max(a, b) : Math.min(a, b)));
  return (op) => {
    if (op.node.input.every((_, i) => op.inputs[i]?.kind === 'constant')) return onConstants(op);
    const scalar = scalarAmong(op);
    const none = Number.POSITIVE_INFINITY;
    if (scalar !== undefined) return [sign === 1 ? clip(op, scalar.x, scalar.limit, none) : clip(op, scalar.x, -none, scalar.limit)];
    const { x, y, shape } = pairOf(op);
    const difference = op.emit({ kind: 'add', shape, factors: [1, -1] }, [x, y], '/difference');
    const over = op.emit({ kind: 'relu', shape }, [difference]);
    return [op.emit({ kind: 'add', shape, factors: [1, sign] }, [sign === 1 ? y : x, over], '/sum')];
  };
}

export const importMax = extremum(1);
export const importMin = extremum(-1);

/** |x| = 2 relu(x) − x. */
export const importAbs: OpImporter = (op) => {
  const x = variable(op, 0);
  const positive = op.emit({ kind: 'relu', shape: x.shape }, [x]);
  return [op.emit({ kind: 'add', shape: x.shape, factors: [2, -1] }, [positive, x], '/sum')];
};

export const importNeg: OpImporter = (op) => {
  if (op.inputs[0]?.kind === 'constant') return constantMap((a) => -a)(op);
  const x = variable(op, 0);
  const channels = x.shape[0] ?? 1;
  const multiplier = new Float32Array(channels).fill(-1);
  return [op.emit({ kind: 'affine', shape: x.shape, multiplier, offset: new Float32Array(channels) }, [x])];
};

export const importSum: OpImporter = (op) => {
  const values = op.node.input.map((_, i) => variable(op, i));
  const shape = perImage(
    op,
    values.reduce<readonly number[]>((s, v) => broadcastShape(op, s, fullShape(v)), [1]),
  );
  const whole = values.map((v, i) => broadcastVariable(op, v, shape, `/broadcast${i}`));
  return [whole.length === 1 ? whole[0]! : op.emit({ kind: 'add', shape, factors: whole.map(() => 1) }, whole)];
};

/** A value repeated along axes of one. */
export const importExpand: OpImporter = (op) => {
  const dims = Array.from(constant(op, 1).data);
  const x = op.inputs[0];
  if (x?.kind === 'constant') return [asConstant(broadcastConstant(x, broadcastShape(op, x.dims, dims)))];
  const value = variable(op, 0);
  return [broadcastVariable(op, value, perImage(op, broadcastShape(op, fullShape(value), dims)), '')];
};

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
