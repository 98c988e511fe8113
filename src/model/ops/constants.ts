// Shape arithmetic: ops that run only on constants, when the model is read.
import { type Constant, elementCount, integers, maxFolded } from '../constant.js';
import { sizeOf } from '../graph.js';
import {
  asConstant,
  axisOf,
  constant,
  fail,
  floatAttribute,
  floatsAttribute,
  fullShape,
  intAttribute,
  intsAttribute,
  type OpContext,
  type OpImporter,
  optionalConstant,
  tensorAttribute,
} from './context.js';
import { broadcastAxes, viewConstant } from './shapes.js';

export const importConstant: OpImporter = (op) => {
  const tensor = tensorAttribute(op, 'value');
  if (tensor !== undefined) return [asConstant(tensor)];
  const has = (name: string): boolean => op.node.attribute.some((a) => a.name === name);
  if (has('value_int')) return [asConstant(integers([intAttribute(op, 'value_int', 0)], []))];
  if (has('value_ints')) return [asConstant(integers(intsAttribute(op, 'value_ints') ?? []))];
  const values = has('value_float') ? [floatAttribute(op, 'value_float', 0)] : floatsAttribute(op, 'value_floats');
  if (values === undefined) fail(op, 'has no numeric value', 'strings and sparse tensors are not supported');
  return [asConstant({ dims: has('value_float') ? [] : [values.length], type: 'float', data: Float32Array.from(values) })];
};

export const importShape: OpImporter = (op) => {
  const shape = fullShape(op.inputs[0] ?? fail(op, 'input is missing', 'export the model again', 'bad-node'));
  const start = intAttribute(op, 'start', 0);
  const end = intAttribute(op, 'end', shape.length);
  return [asConstant(integers(shape.slice(start, end)))];
};

export const importSize: OpImporter = (op) => [asConstant(integers([sizeOf(fullShape(op.inputs[0] ?? asConstant(integers([]))))], []))];

export const importGather: OpImporter = (op) => {
  const c = constant(op, 0);
  const indices = constant(op, 1);
  const axis = axisOf(op, intAttribute(op, 'axis', 0), c.dims.length);
  const length = c.dims[axis]!;
  const dims = [...c.dims.slice(0, axis), ...indices.dims, ...c.dims.slice(axis + 1)];
  const data =
    c.type === 'float'
      ? new Float32Array(elementCount(dims, `node ${op.name}`, maxFolded))
      : new Float64Array(elementCount(dims, `node ${op.name}`, maxFolded));
  const inner = sizeOf(c.dims.slice(axis + 1));
  const outer = sizeOf(c.dims.slice(0, axis));
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (const index of indices.data) {
      const i = index < 0 ? index + length : index;
      if (i < 0 || i >= length) fail(op, `index ${index} of ${length}`, 'the model is not consistent', 'bad-node');
      data.set(c.data.subarray((o * length + i) * inner, (o * length + i + 1) * inner), at);
      at += inner;
    }
  }
  return [asConstant({ dims, type: c.type, data })];
};

export const importCast: OpImporter = (op) => {
  const x = op.inputs[0] ?? fail(op, 'input is missing', 'export the model again', 'bad-node');
  const to = intAttribute(op, 'to', 1);
  const float = to === 1 || to === 10 || to === 11;
  if (x.kind === 'variable') return float ? [x] : fail(op, 'casts the picture to an integer', 'only floating-point networks are supported');
  return [
    asConstant(
      float
        ? { dims: x.dims, type: 'float', data: Float32Array.from(x.data) }
        : { dims: x.dims, type: 'integer', data: Float64Array.from(x.data, Math.trunc) },
    ),
  ];
};

export const importConstantOfShape: OpImporter = (op) => {
  const dims = Array.from(constant(op, 0).data);
  const value = tensorAttribute(op, 'value');
  const count = elementCount(dims, `node ${op.name}`, maxFolded);
  const fill = value?.data[0] ?? 0;
  return [
    asConstant(
      value?.type === 'integer'
        ? { dims, type: 'integer', data: new Float64Array(count).fill(fill) }
        : { dims, type: 'float', data: new Float32Array(count).fill(fill) },
    ),
  ];
};

export const importRange: OpImporter = (op) => {
  const [start, limit, delta] = [0, 1, 2].map((i) => constant(op, i).data[0] ?? 0) as [number, number, number];
  const count = Math.max(0, Math.ceil((limit - start) / delta));
  elementCount([count], `node ${op.name}`, maxFolded);
  return [asConstant({ ...integers(Array.from({ length: count }, (_, i) => start + i * delta)), type: constant(op, 0).type })];
};

/** The shape two shapes broadcast to, by NumPy's rules. */
export function broadcastShape(op: OpContext, a: readonly number[], b: readonly number[]): readonly number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) fail(op, `shapes [${a.join(', ')}] and [${b.join(', ')}]`, 'they do not broadcast', 'bad-shape');
    return x === 1 ? y : x;
  });
}

/** A constant repeated to `dims`, which its own shape must broadcast to. */
export function broadcastConstant(c: Constant, dims: readonly number[]): Constant {
  const padded = [...Array.from({ length: dims.length - c.dims.length }, () => 1), ...c.dims];
  return viewConstant({ ...c, dims: padded }, broadcastAxes(padded, dims));
}

/** Applies an element-wise function to constants; `integers` says whether all of them are. */
export function constantMap(f: (a: number, b: number, c: number, integers: boolean) => number): OpImporter {
  return (op) => {
    const operands = op.node.input.map((_, i) => constant(op, i));
    const dims = operands.reduce<readonly number[]>((shape, c) => broadcastShape(op, shape, c.dims), []);
    const full = operands.map((c) => broadcastConstant(c, dims));
    const type = full.some((c) => c.type === 'float') ? 'float' : 'integer';
    const values = Float64Array.from({ length: sizeOf(dims) }, (_, i) =>
      f(full[0]?.data[i] ?? 0, full[1]?.data[i] ?? 0, full[2]?.data[i] ?? 0, type === 'integer'),
    );
    return [asConstant({ dims, type, data: type === 'float' ? Float32Array.from(values) : values })];
  };
}

export const importIdentity: OpImporter = (op) => [op.inputs[0] ?? fail(op, 'input is missing', 'export the model again', 'bad-node')];

export const importDropout: OpImporter = (op) => {
  if ((optionalConstant(op, 2)?.data[0] ?? 0) !== 0) fail(op, 'is in training mode', 'export the model for inference');
  return importIdentity(op);
};
