// Every ONNX op Tessera reads: adding one is a function in this folder and a line here. docs/operators.md is made from this table.
import * as activations from './activations.js';
import * as arithmetic from './arithmetic.js';
import * as constants from './constants.js';
import type { OpImporter } from './context.js';
import * as linear from './linear.js';
import * as pools from './pools.js';
import { importResize } from './resize.js';
import * as shapes from './shapes.js';
import * as upsample from './upsample.js';

export interface OpEntry {
  readonly importer: OpImporter;
  /** How it runs among the three parties. */
  readonly runsAs: string;
  /** What is asked of it. */
  readonly limits: string;
}

const entry = (importer: OpImporter, runsAs: string, limits = ''): OpEntry => ({ importer, runsAs, limits });
const folded = 'nothing: computed when the model is read';
const moved = 'local (each party rearranges what it holds)';

export const ops: ReadonlyMap<string, OpEntry> = new Map(
  Object.entries({
    Abs: entry(arithmetic.importAbs, 'as Relu'),
    Add: entry(
      arithmetic.importAdd,
      'local between values; a constant goes into a neighbouring linear layer, else a 1×1 one',
      'values and constants broadcast',
    ),
    AveragePool: entry(
      pools.importAveragePool,
      'local sum; the divisor goes into the scale',
      'two axes; pads, ceil_mode, auto_pad, dilations, count_include_pad',
    ),
    BatchNormalization: entry(arithmetic.importBatchNormalization, 'into a neighbouring linear layer, else a 1×1 one', 'inference mode'),
    Cast: entry(constants.importCast, folded, 'of constants; between floating-point types also of values'),
    Ceil: entry(constants.constantMap(Math.ceil), folded, 'constants'),
    Clip: entry(
      activations.importClip,
      'ReLU with a cap: two comparisons',
      'the limits are public; others than 0 and a maximum are added around it',
    ),
    Concat: entry(shapes.importConcat, moved, 'not along the batch; of constants, zeros may stand among values'),
    Constant: entry(constants.importConstant, folded, 'numeric'),
    ConstantOfShape: entry(constants.importConstantOfShape, folded),
    Conv: entry(linear.importConv, 'linear layer', 'two axes; constant weights; groups, strides, pads, dilations, auto_pad'),
    ConvTranspose: entry(
      upsample.importConvTranspose,
      'a linear layer with strideY · strideX times the channels, then local',
      'two axes; constant weights; groups, strides, pads, dilations, output_padding, output_shape, auto_pad',
    ),
    DepthToSpace: entry(upsample.importDepthToSpace, moved, 'DCR and CRD'),
    Div: entry(arithmetic.importDiv, 'as Mul', 'by a constant'),
    Dropout: entry(constants.importDropout, 'nothing', 'inference mode'),
    Equal: entry(
      constants.constantMap((a, b) => Number(a === b)),
      folded,
      'constants',
    ),
    Expand: entry(arithmetic.importExpand, moved),
    Flatten: entry(shapes.importFlatten, moved),
    Floor: entry(constants.constantMap(Math.floor), folded, 'constants'),
    Gather: entry(constants.importGather, folded, 'constants'),
    Gemm: entry(linear.importGemm, 'linear layer', 'constant weights; transB, alpha, beta'),
    GlobalAveragePool: entry(pools.importGlobalAveragePool, 'as AveragePool'),
    GlobalMaxPool: entry(pools.importGlobalMaxPool, 'as MaxPool'),
    HardSigmoid: entry(activations.importHardSigmoid, 'ReLU with a cap after a linear layer'),
    HardSwish: entry(activations.importHardSwish, 'as HardSigmoid, and a product'),
    Identity: entry(constants.importIdentity, 'nothing'),
    LeakyRelu: entry(activations.importLeakyRelu, 'ReLU and truncation, joined by the next linear layer'),
    LogSoftmax: entry(activations.importLogSoftmax, 'by the client, on its own logits', 'at the output, over the classes'),
    MatMul: entry(linear.importMatMul, 'linear layer', 'second factor a constant matrix'),
    MaxPool: entry(
      pools.importMaxPool,
      'a tree of maxima: kernel − 1 comparisons an output',
      'two axes; pads, ceil_mode, auto_pad, dilations',
    ),
    Mul: entry(
      arithmetic.importMul,
      'by a constant: into a neighbouring linear layer, else a 1×1 one; of two values: one round trip and two truncations',
    ),
    Max: entry(arithmetic.importMax, 'as Relu', 'of two values, or of one and a public number'),
    Min: entry(arithmetic.importMin, 'as Relu', 'as Max'),
    Neg: entry(arithmetic.importNeg, 'as Mul'),
    PRelu: entry(activations.importPRelu, 'ReLU and truncation, joined by the next linear layer; the slopes stay secret'),
    Pad: entry(shapes.importPad, moved, 'constant mode with 0'),
    Range: entry(constants.importRange, folded, 'constants'),
    ReduceMean: entry(pools.importReduceMean, 'as AveragePool', 'over neighbouring axes'),
    ReduceSum: entry(pools.importReduceSum, 'local sum', 'over neighbouring axes'),
    Relu: entry(activations.importRelu, 'one comparison an element, or one a patch'),
    Reshape: entry(shapes.importReshape, moved),
    Resize: entry(
      importResize,
      'local: a public linear map; by the client where it ends the network',
      'height and width; nearest, linear, cubic; every coordinate convention but tf_crop_and_resize; no antialias',
    ),
    Shape: entry(constants.importShape, folded),
    Size: entry(constants.importSize, folded),
    Slice: entry(shapes.importSlice, moved, 'steps of either sign'),
    SpaceToDepth: entry(upsample.importSpaceToDepth, moved),
    Softmax: entry(activations.importSoftmax, 'by the client, on its own logits', 'at the output, over the classes'),
    Split: entry(shapes.importSplit, moved),
    Sqrt: entry(constants.constantMap(Math.sqrt), folded, 'constants'),
    Squeeze: entry(shapes.importSqueeze, moved),
    Sub: entry(arithmetic.importSub, 'as Add'),
    Sum: entry(arithmetic.importSum, 'as Add', 'of values'),
    Transpose: entry(shapes.importTranspose, moved, 'not of the batch axis'),
    Unsqueeze: entry(shapes.importUnsqueeze, moved),
    Upsample: entry(importResize, 'as Resize', 'nearest and linear'),
    Where: entry(
      constants.constantMap((a, b, c) => (a !== 0 ? b : c)),
      folded,
      'constants',
    ),
  }),
);

const families: readonly (readonly [ops: readonly string[], advice: string])[] = [
  [
    ['Sigmoid', 'Tanh', 'Elu', 'Selu', 'Celu', 'Gelu', 'Erf', 'Mish', 'Softplus', 'Exp', 'Swish'],
    'use ReLU, ReLU6, LeakyReLU, PReLU, HardSigmoid or HardSwish instead, and train on',
  ],
  [['LSTM', 'GRU', 'RNN', 'Loop', 'If', 'Scan'], 'recurrence and control flow are not supported; use convolutions'],
  [
    ['Attention', 'MultiHeadAttention', 'LayerNormalization', 'SkipLayerNormalization', 'Einsum'],
    'transformers are not supported; use a convolutional network',
  ],
  [
    ['InstanceNormalization', 'GroupNormalization', 'LpNormalization', 'LRN'],
    'use batch normalisation, which becomes part of a convolution',
  ],
  [['Pow', 'ReduceMax', 'ArgMax', 'TopK'], 'leave it to the client: end the network at its class scores'],
  [
    ['QLinearConv', 'QuantizeLinear', 'DequantizeLinear', 'ConvInteger', 'MatMulInteger'],
    'export the float32 network; fixed point is chosen here',
  ],
];

/** What to do about an op that is not in the table. */
export function adviceFor(op: string): string {
  return families.find(([names]) => names.includes(op))?.[1] ?? 'docs/operators.md lists what there is';
}

/** docs/operators.md. */
export function operatorsMarkdown(): string {
  const rows = [...ops].map(([name, e]) => `| ${name} | ${e.runsAs} | ${e.limits} |`);
  return [
    '# ONNX operators',
    '',
    'Made from `src/model/ops/table.ts`. Opsets 7 to 21, float32. Anything else in a model is refused with its node’s name.',
    '',
    '| op | runs as | limits |',
    '|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}
