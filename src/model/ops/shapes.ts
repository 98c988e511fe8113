// Ops that move elements without computing: one strided view serves constants (at reading time) and variables (as a graph node).
import { type Constant, elementCount, maxFolded, reshaped } from '../constant.js';
import { isReshape, sizeOf } from '../graph.js';
import type { ViewStep } from '../program.js';
import {
  asConstant,
  axisOf,
  fail,
  fullShape,
  intAttribute,
  intsAttribute,
  listInput,
  type OpContext,
  type Operand,
  type OpImporter,
  optionalConstant,
  perImage,
  stringAttribute,
  type Variable,
} from './context.js';

type Axes = ViewStep['axes'];
type MutableAxis = { axis: number; start: number; step: number; size: number };

const identityAxes = (shape: readonly number[]): MutableAxis[] => shape.map((size, axis) => ({ axis, start: 0, step: 1, size }));

/** The view of a constant; positions outside it get `fill`. */
export function viewConstant(c: Constant, axes: Axes, fill = 0): Constant {
  const dims = axes.map((a) => a.size);
  const count = elementCount(dims, 'a folded constant', maxFolded);
  const strides = c.dims.map((_, d) => sizeOf(c.dims.slice(d + 1)));
  const data = c.type === 'float' ? new Float32Array(count) : new Float64Array(count);
  const position = dims.map(() => 0);
  for (let i = 0; i < count; i++) {
    let offset = 0;
    let inside = true;
    for (let d = 0; d < axes.length; d++) {
      const a = axes[d]!;
      const at = a.start + a.step * position[d]!;
      if (at < 0 || at >= c.dims[a.axis]!) inside = false;
      offset += at * strides[a.axis]!;
    }
    data[i] = inside ? c.data[offset]! : fill;
    for (let d = dims.length - 1; d >= 0 && ++position[d]! === dims[d]; d--) position[d] = 0;
  }
  return { dims, type: c.type, data };
}

/** Applies a view given over full shapes (batch first) to an operand. */
export function view(op: OpContext, operand: Operand, axes: Axes, suffix = ''): Operand {
  if (operand.kind === 'constant') return asConstant(viewConstant(operand, axes));
  const batch = axes[0];
  if (batch === undefined || batch.axis !== 0 || batch.start !== 0 || batch.size !== 1) {
    fail(op, 'moves or cuts the batch axis', 'only the axes of one picture may be rearranged');
  }
  const inner = axes.slice(1).map((a) => ({ ...a, axis: a.axis - 1 }));
  const shape = inner.map((a) => a.size);
  elementCount(shape, `node ${op.name}`);
  if (isReshape({ inputShape: operand.shape, axes: inner })) return operand;
  return op.emit({ kind: 'view', shape, inputShape: operand.shape, axes: inner }, [operand], suffix);
}

/** The same elements under another full shape. */
export function reshape(op: OpContext, operand: Operand, full: readonly number[], suffix = ''): Operand {
  const before = sizeOf(fullShape(operand));
  if (elementCount(full, `node ${op.name}`) !== before) {
    fail(op, `shape [${full.join(', ')}] for ${before} elements`, 'the model is not consistent', 'bad-shape');
  }
  if (operand.kind === 'constant') return asConstant(reshaped(operand, full));
  const shape = perImage(op, full);
  if (shape.length === operand.shape.length && shape.every((d, i) => d === operand.shape[i])) return operand;
  return op.emit({ kind: 'view', shape, inputShape: shape, axes: identityAxes(shape) }, [operand], suffix);
}

const input = (op: OpContext, index = 0): Operand =>
  op.inputs[index] ?? fail(op, `input ${index} is missing`, 'export the model again', 'bad-node');

export const importReshape: OpImporter = (op) => {
  const x = input(op);
  const before = fullShape(x);
  const wanted = listInput(op, 1, 'shape') ?? fail(op, 'no shape given', 'export the model again', 'bad-node');
  const allowZero = intAttribute(op, 'allowzero', 0) === 1;
  const dims = wanted.map((d, i) => (d === 0 && !allowZero ? (before[i] ?? 0) : d));
  const known = dims.reduce((product, d) => (d === -1 ? product : product * d), 1);
  const full = dims.map((d) => (d === -1 ? (known === 0 ? 0 : sizeOf(before) / known) : d));
  return [reshape(op, x, full)];
};

export const importFlatten: OpImporter = (op) => {
  const x = input(op);
  const before = fullShape(x);
  const axis = intAttribute(op, 'axis', 1);
  const at = axis === before.length ? axis : axisOf(op, axis, before.length);
  return [reshape(op, x, [sizeOf(before.slice(0, at)), sizeOf(before.slice(at))])];
};

export const importSqueeze: OpImporter = (op) => {
  const x = input(op);
  const before = fullShape(x);
  const given = listInput(op, 1, 'axes')?.map((a) => axisOf(op, a, before.length));
  // Without axes every axis of one is dropped; that of the batch stays, because a batch has any size.
  const drop = given ?? before.flatMap((d, i) => (d === 1 && !(x.kind === 'variable' && i === 0) ? [i] : []));
  return [
    reshape(
      op,
      x,
      before.filter((_, i) => !drop.includes(i)),
    ),
  ];
};

export const importUnsqueeze: OpImporter = (op) => {
  const x = input(op);
  const before = fullShape(x);
  const given = listInput(op, 1, 'axes') ?? [];
  const rank = before.length + given.length;
  const added = new Set(given.map((a) => axisOf(op, a, rank)));
  const rest = [...before];
  return [
    reshape(
      op,
      x,
      Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : (rest.shift() ?? 1))),
    ),
  ];
};

export const importTranspose: OpImporter = (op) => {
  const x = input(op);
  const shape = fullShape(x);
  const order = intsAttribute(op, 'perm') ?? shape.map((_, i) => shape.length - 1 - i);
  if (order.length !== shape.length || new Set(order).size !== shape.length)
    fail(op, `order [${order.join(', ')}]`, 'not a permutation', 'bad-node');
  return [
    view(
      op,
      x,
      order.map((a) => ({ axis: axisOf(op, a, shape.length), start: 0, step: 1, size: shape[a]! })),
    ),
  ];
};

export const importSlice: OpImporter = (op) => {
  const x = input(op);
  const shape = fullShape(x);
  const starts = listInput(op, 1, 'starts') ?? fail(op, 'no starts', 'export the model again', 'bad-node');
  const ends = listInput(op, 2, 'ends') ?? fail(op, 'no ends', 'export the model again', 'bad-node');
  const axes = listInput(op, 3, 'axes') ?? starts.map((_, i) => i);
  const steps = listInput(op, 4, 'steps') ?? starts.map(() => 1);
  const result = identityAxes(shape);
  axes.forEach((a, i) => {
    const axis = axisOf(op, a, shape.length);
    const length = shape[axis]!;
    const step = steps[i] ?? 1;
    if (step === 0) fail(op, 'step 0', 'a slice needs a step', 'bad-node');
    const clamp = (at: number, low: number, high: number): number => Math.min(Math.max(at < 0 ? at + length : at, low), high);
    const start = step > 0 ? clamp(starts[i]!, 0, length) : clamp(starts[i]!, 0, length - 1);
    const end = step > 0 ? clamp(ends[i]!, 0, length) : clamp(ends[i]!, -1, length - 1);
    result[axis] = { axis, start, step, size: Math.max(0, Math.ceil((end - start) / step)) };
  });
  return [view(op, x, result)];
};

export const importPad: OpImporter = (op) => {
  const x = input(op);
  const shape = fullShape(x);
  const pads = listInput(op, 1, 'pads') ?? fail(op, 'no pads', 'export the model again', 'bad-node');
  const mode = stringAttribute(op, 'mode', 'constant');
  const value = op.opset >= 11 ? (optionalConstant(op, 2)?.data[0] ?? 0) : (op.node.attribute.find((a) => a.name === 'value')?.f ?? 0);
  if (mode !== 'constant' || value !== 0) fail(op, `mode ${mode} with value ${value}`, 'only padding with zeros is supported');
  const axes = listInput(op, 3, 'axes')?.map((a) => axisOf(op, a, shape.length)) ?? shape.map((_, i) => i);
  if (pads.length !== 2 * axes.length) fail(op, `${pads.length} pads for ${axes.length} axes`, 'the model is not consistent', 'bad-node');
  const result = identityAxes(shape);
  axes.forEach((axis, i) => {
    const before = pads[i]!;
    const size = shape[axis]! + before + pads[i + axes.length]!;
    if (size < 0) fail(op, `pads cut axis ${axis} below zero`, 'the model is not consistent', 'bad-shape');
    result[axis] = { axis, start: before === 0 ? 0 : -before, step: 1, size };
  });
  return [view(op, x, result)];
};

export const importSplit: OpImporter = (op) => {
  const x = input(op);
  const shape = fullShape(x);
  const axis = axisOf(op, intAttribute(op, 'axis', 0), shape.length);
  const length = shape[axis]!;
  const parts = op.node.output.length;
  const size = Math.ceil(length / parts);
  const sizes = listInput(op, 1, 'split') ?? Array.from({ length: parts }, (_, i) => Math.max(0, Math.min(size, length - i * size)));
  if (sizes.length !== parts || sizes.reduce((a, b) => a + b, 0) !== length) {
    fail(op, `parts [${sizes.join(', ')}] of an axis of ${length}`, 'the model is not consistent', 'bad-node');
  }
  let start = 0;
  return sizes.map((part, i) => {
    const axes = identityAxes(shape);
    axes[axis] = { axis, start, step: 1, size: part };
    start += part;
    return view(op, x, axes, parts === 1 ? '' : `/${i}`);
  });
};

export const importConcat: OpImporter = (op) => {
  const operands = op.node.input.map((_, i) => input(op, i));
  const first = fullShape(operands[0] ?? fail(op, 'no input', 'export the model again', 'bad-node'));
  const axis = axisOf(op, intAttribute(op, 'axis', 1), first.length);
  const shapes = operands.map(fullShape);
  if (shapes.some((s) => s.length !== first.length || s.some((d, i) => i !== axis && d !== first[i]))) {
    fail(
      op,
      `shapes ${shapes.map((s) => `[${s.join(', ')}]`).join(' and ')}`,
      'they differ elsewhere than in the axis of concatenation',
      'bad-shape',
    );
  }
  const full = first.map((d, i) => (i === axis ? shapes.reduce((sum, s) => sum + s[axis]!, 0) : d));
  const constants = operands.filter((o) => o.kind === 'constant');
  if (constants.length === operands.length) return [asConstant(concatConstants(constants, axis, full))];
  const variables = operands.filter((o) => o.kind === 'variable');
  if (axis === 0) fail(op, 'joins along the batch axis', 'only the axes of one picture can be joined');
  if (constants.some((c) => c.data.some((v) => v !== 0)))
    fail(op, 'joins a picture with constants other than 0', 'add the constants after the concatenation');
  const padded = variables.length === operands.length ? variables : withZeros(op, operands, axis);
  if (padded.length === 1) return padded;
  return [op.emit({ kind: 'concat', shape: full.slice(1), axis: axis - 1 }, padded as Variable[])];
};

/** The values of a concatenation, each with the zeros that follow it (the first one also with those before it): a view fills them in. */
function withZeros(op: OpContext, operands: readonly Operand[], axis: number): Operand[] {
  const length = (operand: Operand): number => fullShape(operand)[axis]!;
  const firstValue = operands.findIndex((o) => o.kind === 'variable');
  return operands.flatMap((operand, i) => {
    if (operand.kind === 'constant') return [];
    const next = operands.findIndex((o, j) => j > i && o.kind === 'variable');
    const sum = (from: number, to: number): number => operands.slice(from, to).reduce((total, o) => total + length(o), 0);
    const before = i === firstValue ? sum(0, i) : 0;
    const after = sum(i + 1, next < 0 ? operands.length : next);
    if (before + after === 0) return [operand];
    const axes = identityAxes(fullShape(operand));
    axes[axis] = { axis, start: before === 0 ? 0 : -before, step: 1, size: before + length(operand) + after };
    return [view(op, operand, axes, `/zeros${i}`)];
  });
}

function concatConstants(parts: readonly Constant[], axis: number, dims: readonly number[]): Constant {
  const count = elementCount(dims, 'a folded constant', maxFolded);
  const type = parts.every((p) => p.type === 'float') ? 'float' : 'integer';
  const data = type === 'float' ? new Float32Array(count) : new Float64Array(count);
  const inner = sizeOf(dims.slice(axis));
  let offset = 0;
  for (const p of parts) {
    const run = sizeOf(p.dims.slice(axis));
    for (let i = 0, at = 0; at < p.data.length; i++, at += run) data.set(p.data.subarray(at, at + run), i * inner + offset);
    offset += run;
  }
  return { dims, type, data };
}

/** Repeats axes of size one so that a variable of `shape` fills `wanted` (both per image): a view with step 0. */
export function broadcastAxes(shape: readonly number[], wanted: readonly number[]): Axes {
  return wanted.map((size, axis) => ({ axis, start: 0, step: shape[axis] === 1 && size !== 1 ? 0 : 1, size }));
}
