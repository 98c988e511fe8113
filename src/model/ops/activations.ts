// Relu, Clip and what is made of it, LeakyRelu, PRelu, Softmax and LogSoftmax.
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
  type Variable,
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

/** x · multiplier + offset for every element. */
function affine(op: OpContext, x: Variable, multiplier: number, offset: number, suffix: string): Variable {
  const channels = x.shape[0] ?? 1;
  const [multipliers, offsets] = [new Float32Array(channels).fill(multiplier), new Float32Array(channels).fill(offset)];
  return op.emit({ kind: 'affine', shape: x.shape, multiplier: multipliers, offset: offsets }, [x], suffix);
}

/**
 * min(max(x, low), high) by ReLUs, which begin at 0: low + min(relu(x − low), high − low), and with an upper limit alone high − relu(high − x).
 * PyTorch writes "no limit" as the greatest float.
 */
export function clip(op: OpContext, x: Variable, low: number, high: number): Variable {
  const [below, above] = [low > -3e38, high < 3e38];
  if (!(low < high)) fail(op, `limits ${low} and ${high}`, 'the minimum is below the maximum', 'bad-node');
  if (!below && !above) return x;
  if (!below) return affine(op, op.emit({ kind: 'relu', shape: x.shape }, [affine(op, x, -1, high, '/shift')]), -1, high, '/back');
  const shifted = low === 0 ? x : affine(op, x, 1, -low, '/shift');
  const clipped = op.emit({ kind: 'relu', shape: x.shape, ...(above && { cap: high - low }) }, [shifted]);
  return low === 0 ? clipped : affine(op, clipped, 1, low, '/back');
}

export const importClip: OpImporter = (op) => {
  const low = limit(op, 1, 'min', Number.NEGATIVE_INFINITY);
  return [clip(op, variable(op, 0), low, limit(op, 2, 'max', Number.POSITIVE_INFINITY))];
};

/** min(max(αx + β, 0), 1). */
function hardSigmoid(op: OpContext, x: Variable, alpha: number, beta: number, suffix = ''): Variable {
  return op.emit({ kind: 'relu', shape: x.shape, cap: 1 }, [affine(op, x, alpha, beta, '/shift')], suffix);
}

export const importHardSigmoid: OpImporter = (op) => [
  hardSigmoid(op, variable(op, 0), floatAttribute(op, 'alpha', 0.2), floatAttribute(op, 'beta', 0.5)),
];

/** x · min(max(x / 6 + 1/2, 0), 1). */
export const importHardSwish: OpImporter = (op) => {
  const x = variable(op, 0);
  return [op.emit({ kind: 'product', shape: x.shape }, [x, hardSigmoid(op, x, 1 / 6, 0.5, '/gate')])];
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
