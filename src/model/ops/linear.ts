// Conv, Gemm and MatMul with constant weights.
import type { ConvGeometry } from '../../kernel/geometry.js';
import { elementCount } from '../constant.js';
import { sizeOf } from '../graph.js';
import { perChannel } from './arithmetic.js';
import {
  constant,
  fail,
  floatAttribute,
  intAttribute,
  intsAttribute,
  type OpContext,
  type OpImporter,
  optionalConstant,
  type Variable,
  variable,
} from './context.js';
import { pictureShape, readWindow, windowGeometry } from './windows.js';

/** Geometry of a fully connected layer: 1 × 1 maps. */
function denseGeometry(inputs: number, outputs: number): ConvGeometry {
  return pointwiseGeometry(inputs, outputs, 1, 1, 1);
}

/** Geometry of a 1 × 1 convolution. */
export function pointwiseGeometry(
  inputChannels: number,
  outputChannels: number,
  height: number,
  width: number,
  groups: number,
): ConvGeometry {
  return {
    inputChannels,
    outputChannels,
    inputHeight: height,
    inputWidth: width,
    outputHeight: height,
    outputWidth: width,
    kernelHeight: 1,
    kernelWidth: 1,
    strideY: 1,
    strideX: 1,
    dilationY: 1,
    dilationX: 1,
    padTop: 0,
    padLeft: 0,
    groups,
  };
}

export const importConv: OpImporter = (op) => {
  const x = variable(op, 0);
  const [inputChannels, height, width] = pictureShape(op, x.shape);
  const w = constant(op, 1);
  const groups = intAttribute(op, 'group', 1);
  if (w.dims.length !== 4) fail(op, `weights with ${w.dims.length} axes`, 'only maps of two axes (pictures) are supported');
  const [outputChannels, perGroup, ...kernel] = w.dims as [number, number, number, number];
  if (perGroup * groups !== inputChannels || outputChannels % groups !== 0 || outputChannels === 0) {
    fail(op, `weights [${w.dims.join(', ')}] in ${groups} groups on ${inputChannels} channels`, 'the model is not consistent', 'bad-shape');
  }
  const declared = intsAttribute(op, 'kernel_shape');
  if (declared !== undefined && declared.join() !== kernel.join())
    fail(op, `kernel_shape [${declared.join(', ')}] and weights [${w.dims.join(', ')}]`, 'the model is not consistent', 'bad-shape');
  const b = optionalConstant(op, 2);
  if (b !== undefined && b.data.length !== outputChannels)
    fail(op, `${b.data.length} biases for ${outputChannels} channels`, 'the model is not consistent', 'bad-shape');
  const geometry: ConvGeometry = {
    inputChannels,
    outputChannels,
    groups,
    ...windowGeometry(height, width, readWindow(op, kernel, height, width)),
  };
  const shape = [outputChannels, geometry.outputHeight, geometry.outputWidth];
  elementCount(shape, `node ${op.name}`);
  const bias = b === undefined ? new Float32Array(outputChannels) : new Float32Array(b.data);
  return [op.emit({ kind: 'conv', shape, geometry, weights: new Float32Array(w.data), bias }, [x])];
};

/** A matrix [rows][columns] of constants, as [outputs][inputs]. */
function matrix(values: ArrayLike<number>, rows: number, columns: number, transpose: boolean): Float32Array {
  if (!transpose) return Float32Array.from(values);
  const out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c]!;
  return out;
}

export const importGemm: OpImporter = (op) => {
  const x = variable(op, 0);
  const b = constant(op, 1);
  const transposed = intAttribute(op, 'transB', 0) === 1;
  if (intAttribute(op, 'transA', 0) !== 0) fail(op, 'transposes the picture', 'export with transA = 0');
  if (b.dims.length !== 2 || x.shape.length !== 1)
    fail(op, `a ${x.shape.length + 1}-axis input and ${b.dims.length}-axis weights`, 'both must be matrices', 'bad-shape');
  const [rows, columns] = b.dims as [number, number];
  const [outputs, inputs] = transposed ? [rows, columns] : [columns, rows];
  if (inputs !== x.shape[0]) fail(op, `weights [${b.dims.join(', ')}] on ${x.shape[0]} inputs`, 'the model is not consistent', 'bad-shape');
  const alpha = floatAttribute(op, 'alpha', 1);
  const beta = floatAttribute(op, 'beta', 1);
  const c = optionalConstant(op, 2);
  const bias = c === undefined ? new Float32Array(outputs) : perChannel(op, c, [outputs]).map((v) => v * beta);
  const weights = matrix(b.data, rows, columns, !transposed).map((v) => v * alpha);
  return [op.emit({ kind: 'conv', shape: [outputs], geometry: denseGeometry(inputs, outputs), weights, bias }, [x])];
};

/** [rows, inputs] per image times a matrix: a 1 × 1 convolution over transposed maps. */
function rowsTimesMatrix(op: OpContext, x: Variable, weights: Float32Array, outputs: number): Variable {
  const inputs = x.shape.at(-1)!;
  const rows = sizeOf(x.shape) / inputs;
  const swap = (shape: readonly [number, number]) => ({
    kind: 'view' as const,
    shape: [shape[1], shape[0]],
    inputShape: [...shape],
    axes: [1, 0].map((axis) => ({ axis, start: 0, step: 1, size: shape[axis]! })),
  });
  const columns = op.emit(swap([rows, inputs]), [x], '/transpose');
  const geometry = pointwiseGeometry(inputs, outputs, rows, 1, 1);
  const product = op.emit(
    { kind: 'conv', shape: [outputs, rows], geometry, weights, bias: new Float32Array(outputs) },
    [columns],
    '/product',
  );
  return op.emit({ ...swap([outputs, rows]), shape: [...x.shape.slice(0, -1), outputs] }, [product]);
}

export const importMatMul: OpImporter = (op) => {
  if (op.inputs[0]?.kind === 'variable' && op.inputs[1]?.kind === 'variable') {
    fail(op, 'multiplies two values that depend on the picture', 'attention is not supported; use convolutions');
  }
  const x = variable(op, 0);
  const b = constant(op, 1);
  if (b.dims.length !== 2) fail(op, `a constant with ${b.dims.length} axes`, 'only a matrix as second factor is supported');
  const [inputs, outputs] = b.dims as [number, number];
  if (x.shape.length === 0 || x.shape.at(-1) !== inputs)
    fail(op, `[${x.shape.join(', ')}] times [${b.dims.join(', ')}]`, 'the model is not consistent', 'bad-shape');
  const weights = matrix(b.data, inputs, outputs, true);
  if (x.shape.length > 1) return [rowsTimesMatrix(op, x, weights, outputs)];
  return [
    op.emit({ kind: 'conv', shape: [outputs], geometry: denseGeometry(inputs, outputs), weights, bias: new Float32Array(outputs) }, [x]),
  ];
};
