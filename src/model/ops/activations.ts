// Relu, Clip, LeakyRelu, PRelu, Softmax and LogSoftmax.
import { perChannel } from './arithmetic.js';
import {
  axisOf,
  constant,
  fail,
  floatAttribute,
  fullShape,
  intAttribute,
  type OpContext,
  type OpImporter,
  optionalConstant,
  variable,
} from './context.js';

export const importRelu: OpImporter = (op) => {
  const x = variable(op, 0);
  return [op.emit({ kind: 'relu', shape: x.shape }, [x])];
};

function limit(op: OpContext, index: number, attribute: string, otherwise: number): number {
  const value = op.opset >= 11 ? optionalConstant(op, index)?.data[0] : floatAttribute(op, attribute, otherwise);
  return value ?? otherwise;
}

export const importClip: OpImporter = (op) => {
  const x = variable(op, 0);
  const low = limit(op, 1, 'min', Number.NEGATIVE_INFINITY);
  const high = limit(op, 2, 'max', Number.POSITIVE_INFINITY);
  if (low !== 0 || !(high > 0))
    fail(op, `limits ${low} and ${high}`, 'only ReLU with a cap, that is a minimum of 0 and a positive maximum, is supported');
  // PyTorch writes "no limit" as the greatest float.
  return [op.emit(high > 3e38 ? { kind: 'relu', shape: x.shape } : { kind: 'relu', shape: x.shape, cap: high }, [x])];
};

export const importLeakyRelu: OpImporter = (op) => {
  const x = variable(op, 0);
  const slopes = new Float32Array(x.shape[0] ?? 1).fill(floatAttribute(op, 'alpha', 0.01));
  return [op.emit({ kind: 'prelu', shape: x.shape, slopes }, [x])];
};

export const importPRelu: OpImporter = (op) => {
  const x = variable(op, 0);
  const slopes = perChannel(op, constant(op, 1), x.shape);
  return [op.emit({ kind: 'prelu', shape: x.shape, slopes }, [x])];
};

function softmax(kind: 'softmax' | 'logsoftmax'): OpImporter {
  return (op) => {
    const x = variable(op, 0);
    const rank = fullShape(x).length;
    const axis = axisOf(op, intAttribute(op, 'axis', op.opset >= 13 ? -1 : 1), rank);
    if (x.shape.length !== 1 || axis !== 1)
      fail(op, `over axis ${axis} of ${rank}`, 'only the class scores of one picture, as a vector, are supported');
    return [op.emit({ kind, shape: x.shape }, [x])];
  };
}

export const importSoftmax = softmax('softmax');
export const importLogSoftmax = softmax('logsoftmax');
