// Ops that make maps larger: transposed convolutions as ordinary ones, and moves between channels and positions.
import type { ConvGeometry } from '../../kernel/geometry.js';
import { elementCount } from '../constant.js';
import type { ViewStep } from '../program.js';
import {
  constant,
  fail,
  intAttribute,
  intsAttribute,
  type OpContext,
  type OpImporter,
  optionalConstant,
  stringAttribute,
  type Variable,
  variable,
} from './context.js';
import { pictureShape } from './windows.js';

type Axes = ViewStep['axes'];

const whole = (axis: number, size: number) => ({ axis, start: 0, step: 1, size });

/** One axis of a transposed convolution. */
interface TransposedAxis {
  readonly stride: number;
  readonly dilation: number;
  readonly kernel: number;
  /** Positions cut at the beginning of the full output, and positions that are left. */
  readonly cut: number;
  readonly output: number;
}

/** The same axis as an ordinary convolution with `stride` output channels for each one: output position stride · m + phase. */
interface PhaseAxis {
  readonly kernel: number;
  readonly pad: number;
  readonly positions: number;
  /** First of the interleaved positions that is kept. */
  readonly start: number;
}

/**
 * Full output position stride · m + r is fed by input m − q through tap t, where dilation · t = stride · q + r: a convolution with taps
 * q = 0 … most, for each of the `stride` phases r.
 */
function phaseAxis({ stride, dilation, kernel, cut, output }: TransposedAxis): PhaseAxis {
  const most = Math.floor((dilation * (kernel - 1)) / stride);
  // A geometry has no negative padding: where more is cut than the taps reach, the rest is cut afterwards.
  const first = Math.min(Math.floor(cut / stride), most);
  return {
    kernel: most + 1,
    pad: most - first,
    positions: Math.floor((cut + output - 1) / stride) - first + 1,
    start: cut - first * stride,
  };
}

/** Tap of the transposed kernel behind tap `at` of a phase's kernel; undefined where there is none. */
function tapOf({ stride, dilation, kernel }: TransposedAxis, phase: number, at: number, taps: number): number | undefined {
  const tap = (stride * (taps - 1 - at) + phase) / dilation;
  return Number.isInteger(tap) && tap < kernel ? tap : undefined;
}

function readAxes(op: OpContext, kernel: readonly number[], map: readonly number[]): readonly TransposedAxis[] {
  const list = (name: string, otherwise: number, length = 2): readonly number[] => {
    const values = intsAttribute(op, name) ?? new Array<number>(length).fill(otherwise);
    const least = name === 'strides' || name === 'dilations' ? 1 : 0;
    if (values.length !== length || values.some((v) => !Number.isSafeInteger(v) || v < least || v > 2 ** 20))
      fail(op, `${name} [${values.join(', ')}]`, 'only maps of two axes (pictures) are supported', 'bad-node');
    return values;
  };
  const [strides, dilations, extra, pads] = [list('strides', 1), list('dilations', 1), list('output_padding', 0), list('pads', 0, 4)];
  const wanted = intsAttribute(op, 'output_shape');
  const autoPad = stringAttribute(op, 'auto_pad', 'NOTSET');
  return kernel.map((size, d) => {
    const [stride, dilation] = [strides[d]!, dilations[d]!];
    const full = stride * (map[d]! - 1) + dilation * (size - 1) + 1 + extra[d]!;
    if (wanted === undefined && !autoPad.startsWith('SAME')) {
      const [before, after] = autoPad === 'NOTSET' ? [pads[d]!, pads[d + 2]!] : [0, 0];
      return { stride, dilation, kernel: size, cut: before, output: full - before - after };
    }
    const output = wanted?.slice(-2)[d] ?? map[d]! * stride;
    const total = Math.max(0, full - output);
    return {
      stride,
      dilation,
      kernel: size,
      cut: autoPad === 'SAME_UPPER' ? Math.floor(total / 2) : total - Math.floor(total / 2),
      output,
    };
  });
}

/** Weights [inputs, outputs / groups, h, w] as those of all phases: [outputs · strideY · strideX, inputs / groups, kernel, kernel]. */
function phaseWeights(
  weights: ArrayLike<number>,
  inputs: number,
  outputs: number,
  groups: number,
  [y, x]: readonly [TransposedAxis, TransposedAxis],
  [rows, columns]: readonly [number, number],
): Float32Array {
  const perGroup = inputs / groups;
  const outPerGroup = outputs / groups;
  const result = new Float32Array(outputs * y.stride * x.stride * perGroup * rows * columns);
  let at = 0;
  for (let o = 0; o < outputs; o++) {
    const group = Math.floor(o / outPerGroup);
    for (let ry = 0; ry < y.stride; ry++) {
      for (let rx = 0; rx < x.stride; rx++) {
        for (let i = 0; i < perGroup; i++) {
          const from = ((group * perGroup + i) * outPerGroup + (o % outPerGroup)) * y.kernel * x.kernel;
          for (let ky = 0; ky < rows; ky++) {
            for (let kx = 0; kx < columns; kx++, at++) {
              const [ty, tx] = [tapOf(y, ry, ky, rows), tapOf(x, rx, kx, columns)];
              if (ty !== undefined && tx !== undefined) result[at] = weights[from + ty * x.kernel + tx]!;
            }
          }
        }
      }
    }
  }
  return result;
}

/** Maps [channels, blockY, blockX, height, width] as [channels, height · blockY, width · blockX], cut to the part that is wanted. */
function interleave(
  op: OpContext,
  x: Variable,
  [channels, blockY, blockX, height, width]: readonly [number, number, number, number, number],
  part: { readonly top: number; readonly left: number; readonly height: number; readonly width: number },
): Variable {
  const moved: Axes = [whole(0, channels), whole(3, height), whole(1, blockY), whole(4, width), whole(2, blockX)];
  const whole3 = [channels, height * blockY, width * blockX];
  const cuts = part.top !== 0 || part.left !== 0 || part.height !== whole3[1] || part.width !== whole3[2];
  const apart = op.emit(
    { kind: 'view', shape: moved.map((a) => a.size), inputShape: [channels, blockY, blockX, height, width], axes: moved },
    [x],
    '/interleave',
  );
  const axes: Axes = [
    whole(0, channels),
    { axis: 1, start: part.top, step: 1, size: part.height },
    { axis: 2, start: part.left, step: 1, size: part.width },
  ];
  const shape = cuts ? [channels, part.height, part.width] : whole3;
  return op.emit({ kind: 'view', shape, inputShape: whole3, axes }, [apart]);
}

export const importConvTranspose: OpImporter = (op) => {
  const x = variable(op, 0);
  const [inputs, height, width] = pictureShape(op, x.shape);
  const w = constant(op, 1);
  const groups = intAttribute(op, 'group', 1);
  if (w.dims.length !== 4) fail(op, `weights with ${w.dims.length} axes`, 'only maps of two axes (pictures) are supported');
  const [weightInputs, perGroup, kernelHeight, kernelWidth] = w.dims as [number, number, number, number];
  const outputs = perGroup * groups;
  if (weightInputs !== inputs || inputs % groups !== 0 || outputs === 0)
    fail(op, `weights [${w.dims.join(', ')}] in ${groups} groups on ${inputs} channels`, 'the model is not consistent', 'bad-shape');
  const b = optionalConstant(op, 2);
  if (b !== undefined && b.data.length !== outputs)
    fail(op, `${b.data.length} biases for ${outputs} channels`, 'the model is not consistent', 'bad-shape');
  const [y, z] = readAxes(op, [kernelHeight, kernelWidth], [height, width]) as [TransposedAxis, TransposedAxis];
  if (y.output < 1 || z.output < 1) fail(op, `an output of ${y.output} × ${z.output}`, 'the model is not consistent', 'bad-shape');
  const [py, px] = [phaseAxis(y), phaseAxis(z)];
  const outputChannels = outputs * y.stride * z.stride;
  const shape = [outputChannels, py.positions, px.positions];
  elementCount(shape, `node ${op.name}`);
  const geometry: ConvGeometry = {
    inputChannels: inputs,
    inputHeight: height,
    inputWidth: width,
    outputChannels,
    outputHeight: py.positions,
    outputWidth: px.positions,
    kernelHeight: py.kernel,
    kernelWidth: px.kernel,
    strideY: 1,
    strideX: 1,
    dilationY: 1,
    dilationX: 1,
    padTop: py.pad,
    padLeft: px.pad,
    groups,
  };
  const weights = phaseWeights(w.data, inputs, outputs, groups, [y, z], [py.kernel, px.kernel]);
  const bias = Float32Array.from({ length: outputChannels }, (_, c) => b?.data[Math.floor(c / (y.stride * z.stride))] ?? 0);
  const phases = op.emit({ kind: 'conv', shape, geometry, weights, bias }, [x], '/phases');
  const part = { top: py.start, left: px.start, height: y.output, width: z.output };
  return [interleave(op, phases, [outputs, y.stride, z.stride, py.positions, px.positions], part)];
};

/** Block size of DepthToSpace and SpaceToDepth. */
function blockSize(op: OpContext): number {
  const size = intAttribute(op, 'blocksize', 0);
  return size >= 1 ? size : fail(op, `blocks of ${size}`, 'export the model again', 'bad-node');
}

export const importDepthToSpace: OpImporter = (op) => {
  const x = variable(op, 0);
  const [channels, height, width] = pictureShape(op, x.shape);
  const size = blockSize(op);
  const outputs = channels / (size * size);
  if (!Number.isInteger(outputs))
    fail(op, `blocks of ${size} × ${size} from ${channels} channels`, 'the model is not consistent', 'bad-shape');
  const part = { top: 0, left: 0, height: height * size, width: width * size };
  // DCR, the default, has the block's axes outside the channels; CRD inside, as a transposed convolution has.
  if (stringAttribute(op, 'mode', 'DCR') === 'CRD') return [interleave(op, x, [outputs, size, size, height, width], part)];
  const axes: Axes = [whole(2, outputs), whole(0, size), whole(1, size), whole(3, height), whole(4, width)];
  const sorted = op.emit(
    { kind: 'view', shape: axes.map((a) => a.size), inputShape: [size, size, outputs, height, width], axes },
    [x],
    '/sort',
  );
  return [interleave(op, sorted, [outputs, size, size, height, width], part)];
};

export const importSpaceToDepth: OpImporter = (op) => {
  const x = variable(op, 0);
  const [channels, height, width] = pictureShape(op, x.shape);
  const size = blockSize(op);
  const [rows, columns] = [height / size, width / size];
  if (!Number.isInteger(rows) || !Number.isInteger(columns))
    fail(op, `blocks of ${size} × ${size} from a map of ${height} × ${width}`, 'the model is not consistent', 'bad-shape');
  const axes: Axes = [whole(2, size), whole(4, size), whole(0, channels), whole(1, rows), whole(3, columns)];
  const inputShape = [channels, rows, size, columns, size];
  const apart = op.emit({ kind: 'view', shape: axes.map((a) => a.size), inputShape, axes }, [x], '/apart');
  const shape = [channels * size * size, rows, columns];
  return [op.emit({ kind: 'view', shape, inputShape: shape, axes: shape.map((d, axis) => whole(axis, d)) }, [apart])];
};
