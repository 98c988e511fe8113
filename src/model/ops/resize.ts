// Resize and Upsample: a public linear map along each axis of the picture.
import { elementCount } from '../constant.js';
import type { Interpolation } from '../graph.js';
import {
  fail,
  floatAttribute,
  intAttribute,
  intsAttribute,
  type OpContext,
  type OpImporter,
  optionalConstant,
  stringAttribute,
  variable,
} from './context.js';
import { pictureShape } from './windows.js';

/** Position in the input of an output position, in float32 as onnxruntime computes it: it decides which neighbour is nearest. */
function inputPosition(o: number, inputs: number, outputs: number, { scale, coordinates }: Interpolation): number {
  const f = Math.fround;
  const half = (): number => f(f(f(o + 0.5) / f(scale)) - 0.5);
  switch (coordinates) {
    case 'align_corners':
      return outputs === 1 ? 0 : f(f(o * (inputs - 1)) / f(outputs - 1));
    case 'asymmetric':
      return f(o / f(scale));
    case 'pytorch_half_pixel':
      return outputs > 1 ? half() : 0;
    case 'half_pixel_symmetric':
      return f(f((inputs / 2) * (1 - outputs / f(scale * inputs))) + half());
    default:
      return half();
  }
}

function nearestOf(x: number, rule: string): number {
  if (rule === 'floor') return Math.floor(x);
  if (rule === 'ceil') return Math.ceil(x);
  // 3.4999998 in float32 is 3.5 to onnxruntime, here and only here: 1 / (2 / 7).
  return rule === 'round_prefer_ceil' ? Math.floor(x + 0.5 + 1e-6) : Math.ceil(x - 0.5);
}

/** Weights of the four neighbours of a position `x` past the second (Keys 1981). */
function cubicWeights(x: number, a: number): readonly number[] {
  const near = (t: number): number => ((a + 2) * t - (a + 3)) * t * t + 1;
  const far = (t: number): number => ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return [far(x + 1), near(x), near(1 - x), far(2 - x)];
}

/** Taps of one output: input positions and weights. */
function tapsAt(
  x: number,
  inputs: number,
  { mode, nearest, cubicCoefficient, excludeOutside }: Interpolation,
): readonly (readonly [number, number])[] {
  const inside = (p: number): number => Math.min(Math.max(p, 0), inputs - 1);
  if (mode === 'nearest') return [[inside(nearestOf(x, nearest)), 1]];
  if (mode === 'linear') {
    const at = inside(x);
    const first = Math.floor(at);
    return [
      [first, 1 - (at - first)],
      [inside(first + 1), at - first],
    ];
  }
  const first = Math.floor(x);
  const taps = cubicWeights(x - first, cubicCoefficient).map((w, i) => [first - 1 + i, w] as const);
  if (!excludeOutside) return taps.map(([p, w]) => [inside(p), w]);
  const kept = taps.map(([p, w]) => [inside(p), p === inside(p) ? w : 0] as const);
  const sum = kept.reduce((s, [, w]) => s + w, 0);
  return kept.map(([p, w]) => [p, w / sum]);
}

/** Taps of every output of an axis; undefined where each output is its own input. */
function tapsOf(inputs: number, outputs: number, how: Interpolation): readonly (readonly (readonly [number, number])[])[] | undefined {
  const rows = Array.from({ length: outputs }, (_, o) => tapsAt(inputPosition(o, inputs, outputs, how), inputs, how));
  const same = outputs === inputs && rows.every((row, o) => row.every(([p, w]) => p === o || w === 0));
  return same ? undefined : rows;
}

/** Height and width that are asked for, and their scales: from sizes, or from scales; of all four axes or of `axes`. */
function target(op: OpContext, map: readonly number[]): readonly { readonly length: number; readonly scale: number }[] {
  const named = op.node.opType === 'Upsample' || op.opset < 11;
  const scales =
    optionalConstant(op, named ? 1 : 2)?.data ?? (op.opset < 9 ? op.node.attribute.find((a) => a.name === 'scales')?.floats : undefined);
  const sizes = named ? undefined : optionalConstant(op, 3)?.data;
  const axes = intsAttribute(op, 'axes')?.map((a) => (a < 0 ? a + 4 : a)) ?? [0, 1, 2, 3];
  const given = sizes !== undefined && sizes.length > 0 ? sizes : scales;
  if (given === undefined || given.length !== axes.length)
    fail(op, 'neither scales nor sizes for its axes', 'export the model again', 'bad-node');
  const policy = stringAttribute(op, 'keep_aspect_ratio_policy', 'stretch');
  if (policy !== 'stretch') fail(op, `keep_aspect_ratio_policy ${policy}`, 'export with sizes or scales of their own');
  const full = [1, ...map];
  return full.slice(0).map((length, axis) => {
    const value = given[axes.indexOf(axis)];
    const wanted = value === undefined ? length : given === sizes ? value : Math.floor(Math.fround(length * Math.fround(value)));
    if (axis < 2 && wanted !== length) fail(op, `changes axis ${axis} from ${length} to ${wanted}`, 'only height and width can be resized');
    if (!Number.isSafeInteger(wanted) || wanted < 1) fail(op, `an axis of ${wanted} positions`, 'the model is not consistent', 'bad-shape');
    return { length: wanted, scale: value === undefined ? 1 : given === sizes ? wanted / length : Math.fround(value) };
  });
}

const known = {
  mode: ['nearest', 'linear', 'cubic'],
  coordinates: ['half_pixel', 'half_pixel_symmetric', 'pytorch_half_pixel', 'align_corners', 'asymmetric'],
  nearest: ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'],
};

function interpolation(op: OpContext): Omit<Interpolation, 'scale'> {
  const plain = op.node.opType === 'Upsample' || op.opset < 11;
  const how = {
    mode: stringAttribute(op, 'mode', 'nearest'),
    coordinates: plain ? 'asymmetric' : stringAttribute(op, 'coordinate_transformation_mode', 'half_pixel'),
    nearest: plain ? 'floor' : stringAttribute(op, 'nearest_mode', 'round_prefer_floor'),
    cubicCoefficient: floatAttribute(op, 'cubic_coeff_a', -0.75),
    excludeOutside: intAttribute(op, 'exclude_outside', 0) === 1,
  };
  for (const [name, values] of Object.entries(known)) {
    const value = how[name as keyof typeof known];
    if (!values.includes(value)) fail(op, `${name} ${value}`, `use ${values.join(', ')}`);
  }
  if (intAttribute(op, 'antialias', 0) === 1) fail(op, 'antialias', 'export without it');
  return how;
}

export const importResize: OpImporter = (op) => {
  const x = variable(op, 0);
  const lengths = target(op, pictureShape(op, x.shape));
  const how = interpolation(op);
  const axes = [1, 2].flatMap((axis) => {
    const { length, scale } = lengths[axis + 1]!;
    const rows = tapsOf(x.shape[axis]!, length, { ...how, scale });
    return rows === undefined ? [] : [{ axis, length, rows, interpolation: { ...how, scale } }];
  });
  // Rows first: then the first pass works on whole rows, and only the second on single numbers.
  return [
    axes.reduce((value, { axis, length, rows, interpolation }, i) => {
      const shape = value.shape.map((d, a) => (a === axis ? length : d));
      elementCount(shape, `node ${op.name}`);
      const [positions, weights] = [rows.flatMap((row) => row.map(([p]) => p)), rows.flatMap((row) => row.map(([, w]) => w))];
      const node = { kind: 'resample' as const, shape, axis, taps: rows[0]!.length, positions, weights, interpolation };
      return op.emit(node, [value], i === axes.length - 1 ? '' : '/rows');
    }, x),
  ];
};
