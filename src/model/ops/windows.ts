// Sizes of convolution and pooling windows: kernel, stride, dilation, pads and auto_pad along the two axes of a map.
import { fail, intAttribute, intsAttribute, type OpContext, stringAttribute } from './context.js';

interface Axis {
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly padBegin: number;
  readonly padEnd: number;
  readonly output: number;
}

export interface WindowSizes {
  readonly y: Axis;
  readonly x: Axis;
}

function pair(op: OpContext, name: string, otherwise: number, length = 2): readonly number[] {
  const values = intsAttribute(op, name) ?? Array.from({ length }, () => otherwise);
  if (values.length !== length || values.some((v) => !Number.isSafeInteger(v) || v < (name === 'pads' ? 0 : 1) || v > 2 ** 20)) {
    fail(op, `${name} [${values.join(', ')}]`, 'only maps of two axes (pictures) are supported', 'bad-node');
  }
  return values;
}

/** Reads the window attributes of Conv, MaxPool and AveragePool for a map of `height` × `width`. */
export function readWindow(op: OpContext, kernel: readonly number[], height: number, width: number): WindowSizes {
  const strides = pair(op, 'strides', 1);
  const dilations = pair(op, 'dilations', 1);
  const pads = pair(op, 'pads', 0, 4);
  const autoPad = stringAttribute(op, 'auto_pad', 'NOTSET');
  const roundUp = intAttribute(op, 'ceil_mode', 0) === 1;
  if (!['NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER'].includes(autoPad))
    fail(op, `auto_pad ${autoPad}`, 'use SAME_UPPER, SAME_LOWER or VALID', 'bad-node');
  const axis = (d: number, input: number): Axis => {
    const stride = strides[d]!;
    const dilation = dilations[d]!;
    const extent = dilation * (kernel[d]! - 1) + 1;
    let padBegin = autoPad === 'NOTSET' ? pads[d]! : 0;
    let padEnd = autoPad === 'NOTSET' ? pads[d + 2]! : 0;
    if (autoPad.startsWith('SAME')) {
      const total = Math.max(0, (Math.ceil(input / stride) - 1) * stride + extent - input);
      padBegin = autoPad === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2);
      padEnd = total - padBegin;
    }
    const steps = (input + padBegin + padEnd - extent) / stride;
    if (steps < 0)
      fail(op, `a window of ${extent} on ${input} + ${padBegin + padEnd} positions`, 'the model is not consistent', 'bad-shape');
    let output = (roundUp ? Math.ceil(steps) : Math.floor(steps)) + 1;
    // With ceil_mode a last window that would begin in the padding at the end is left out.
    if (roundUp && (output - 1) * stride >= input + padBegin) output--;
    return { kernel: kernel[d]!, stride, dilation, padBegin, padEnd, output };
  };
  return { y: axis(0, height), x: axis(1, width) };
}

/** The part of a geometry that convolutions and pools share. */
export function windowGeometry(inputHeight: number, inputWidth: number, w: WindowSizes) {
  return {
    inputHeight,
    inputWidth,
    outputHeight: w.y.output,
    outputWidth: w.x.output,
    kernelHeight: w.y.kernel,
    kernelWidth: w.x.kernel,
    strideY: w.y.stride,
    strideX: w.x.stride,
    dilationY: w.y.dilation,
    dilationX: w.x.dilation,
    padTop: w.y.padBegin,
    padLeft: w.x.padBegin,
  };
}

/** Fails unless a variable is a picture of channels × height × width. */
export function pictureShape(op: OpContext, shape: readonly number[]): [channels: number, height: number, width: number] {
  if (shape.length !== 3)
    fail(op, `input with ${shape.length} axes beside the batch`, 'only maps of two axes (pictures) are supported', 'unsupported-op');
  return [shape[0]!, shape[1]!, shape[2]!];
}
