// MaxPool, AveragePool, their global forms, ReduceMean and ReduceSum.
import type { PoolGeometry } from '../../kernel/geometry.js';
import { elementCount } from '../constant.js';
import { sizeOf } from '../graph.js';
import {
  axisOf,
  fail,
  intAttribute,
  intsAttribute,
  listInput,
  type OpContext,
  type OpImporter,
  type Variable,
  variable,
} from './context.js';
import { reshape } from './shapes.js';
import { pictureShape, readWindow, type WindowSizes, windowGeometry } from './windows.js';

function geometry(op: OpContext, x: Variable): { geometry: PoolGeometry; window: WindowSizes; shape: readonly number[] } {
  const [channels, height, width] = pictureShape(op, x.shape);
  const kernel = intsAttribute(op, 'kernel_shape');
  if (kernel === undefined || kernel.length !== 2) fail(op, 'has no kernel of two axes', 'only maps of two axes (pictures) are supported');
  if (kernel.some((k) => !Number.isSafeInteger(k) || k < 1 || k > 2 ** 20))
    fail(op, `kernel [${kernel.join(', ')}]`, 'the model is not consistent', 'bad-node');
  const window = readWindow(op, kernel, height, width);
  const shape = [channels, window.y.output, window.x.output];
  elementCount(shape, `node ${op.name}`);
  return { geometry: { channels, ...windowGeometry(height, width, window) }, window, shape };
}

function globalGeometry(op: OpContext, x: Variable): PoolGeometry {
  const [channels, height, width] = pictureShape(op, x.shape);
  const whole = (kernel: number) => ({ kernel, stride: 1, dilation: 1, padBegin: 0, padEnd: 0, output: 1 });
  return { channels, ...windowGeometry(height, width, { y: whole(height), x: whole(width) }) };
}

export const importMaxPool: OpImporter = (op) => {
  const x = variable(op, 0);
  if (intAttribute(op, 'storage_order', 0) !== 0) fail(op, 'storage_order 1', 'export the model with row-major pooling');
  const { geometry: g, shape, window } = geometry(op, x);
  for (const [axis, input] of [
    [window.y, g.inputHeight],
    [window.x, g.inputWidth],
  ] as const) {
    for (let o = 0; o < axis.output; o++) {
      if (taps(axis, o, input) === 0)
        fail(op, 'a window that lies wholly in the padding', 'its maximum would be minus infinity', 'bad-shape');
    }
  }
  return [op.emit({ kind: 'maxpool', shape, geometry: g }, [x])];
};

/** How many taps of output position `o` lie in [−before, length + after). */
function taps(axis: WindowSizes['y'], o: number, length: number, before = 0, after = 0): number {
  const start = o * axis.stride - axis.padBegin;
  const first = Math.max(0, Math.ceil((-before - start) / axis.dilation));
  const last = Math.min(axis.kernel - 1, Math.floor((length + after - 1 - start) / axis.dilation));
  return Math.max(0, last - first + 1);
}

export const importAveragePool: OpImporter = (op) => {
  const x = variable(op, 0);
  const { geometry: g, shape, window } = geometry(op, x);
  const includePad = intAttribute(op, 'count_include_pad', 0) === 1;
  // A window that hangs over the padding (ceil_mode) divides by the taps within the padded map.
  const along = (axis: WindowSizes['y'], length: number): number[] =>
    Array.from({ length: axis.output }, (_, o) => taps(axis, o, length, includePad ? axis.padBegin : 0, includePad ? axis.padEnd : 0));
  const rows = along(window.y, g.inputHeight);
  const columns = along(window.x, g.inputWidth);
  if ([...rows, ...columns].includes(0)) fail(op, 'a window that lies wholly in the padding', 'its mean is not defined', 'bad-shape');
  const uniform = [rows, columns].every((counts) => counts.every((n) => n === counts[0]));
  if (!uniform && rows.length * columns.length > 2 ** 20)
    fail(op, 'windows that hang over the edge of a very large map', 'pad the map before the pool');
  const divisors = uniform ? [rows[0]! * columns[0]!] : rows.flatMap((r) => columns.map((c) => r * c));
  return [op.emit({ kind: 'averagepool', shape, geometry: g, divisors }, [x])];
};

export const importGlobalAveragePool: OpImporter = (op) => {
  const x = variable(op, 0);
  const g = globalGeometry(op, x);
  return [op.emit({ kind: 'averagepool', shape: [g.channels, 1, 1], geometry: g, divisors: [g.inputHeight * g.inputWidth] }, [x])];
};

export const importGlobalMaxPool: OpImporter = (op) => {
  const x = variable(op, 0);
  const g = globalGeometry(op, x);
  return [op.emit({ kind: 'maxpool', shape: [g.channels, 1, 1], geometry: g }, [x])];
};

/** The mean, or the sum, over neighbouring axes of a picture: over height and width a global pool, else a pool over a column. */
function reduction(kind: 'mean' | 'sum'): OpImporter {
  return (op) => {
    const x = variable(op, 0);
    const full = [1, ...x.shape];
    const axes = listInput(op, 1, 'axes')
      ?.map((a) => axisOf(op, a, full.length))
      .sort((a, b) => a - b);
    const first = axes?.[0] ?? 0;
    if (axes === undefined || first === 0 || axes.some((a, i) => a !== first + i))
      fail(op, `over axes [${axes?.join(', ') ?? 'all'}] of ${full.length}`, 'only neighbouring axes of one picture are supported');
    const reduced = full.map((d, i) => (axes.includes(i) ? 1 : d));
    const shape = intAttribute(op, 'keepdims', 1) === 1 ? reduced : full.filter((_, i) => !axes.includes(i));
    const length = sizeOf(axes.map((a) => full[a]!));
    const overMap = axes.join() === '2,3' && full.length === 4;
    const inner = sizeOf(full.slice(first + axes.length));
    const column = overMap ? x : reshape(op, x, [1, sizeOf(full.slice(0, first)), length, inner], '/column');
    const map = column as Variable;
    const g = overMap ? globalGeometry(op, map) : columnGeometry(map);
    const pooled = op.emit(
      { kind: 'averagepool', shape: [g.channels, g.outputHeight, g.outputWidth], geometry: g, divisors: [kind === 'mean' ? length : 1] },
      [map],
    );
    return [reshape(op, pooled, shape, '/shape')];
  };
}

/** Windows as high as the map and one wide. */
function columnGeometry({ shape }: Variable): PoolGeometry {
  const [channels, height, width] = shape as [number, number, number];
  const axis = (kernel: number, output: number) => ({ kernel, stride: 1, dilation: 1, padBegin: 0, padEnd: 0, output });
  return { channels, ...windowGeometry(height, width, { y: axis(height, 1), x: axis(1, width) }) };
}

export const importReduceMean = reduction('mean');
export const importReduceSum = reduction('sum');
