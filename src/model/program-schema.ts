// The shape of program.bin's JSON: types and bounds of every single field. How fields fit together is check.ts.
import * as v from 'valibot';

const integer = (low: number, high: number) => v.pipe(v.number(), v.integer(), v.minValue(low), v.maxValue(high));
const count = integer(1, 2 ** 24);
const offset = integer(-(2 ** 24), 2 ** 24);
const id = integer(0, 65535);
const factor = integer(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
const name = v.pipe(v.string(), v.maxLength(1024));
const shape = v.pipe(v.array(count), v.maxLength(8));

const map = {
  inputHeight: count,
  inputWidth: count,
  outputHeight: count,
  outputWidth: count,
  kernelHeight: count,
  kernelWidth: count,
  strideY: count,
  strideX: count,
  dilationY: count,
  dilationX: count,
  padTop: offset,
  padLeft: offset,
};
const convGeometry = v.strictObject({ inputChannels: count, outputChannels: count, groups: count, ...map });
const poolGeometry = v.strictObject({ channels: count, ...map });
const window = v.strictObject({ low: integer(0, 64), high: integer(2, 64) });
const digits = v.pipe(v.array(integer(1, 10)), v.minLength(1), v.maxLength(4));
const comparison = v.exactOptional(v.strictObject({ groups: v.pipe(v.array(digits), v.maxLength(4)), roundTrips: v.picklist([1, 2]) }));
const patch = v.tuple([integer(0, 65535), integer(0, 65535)]);
const truncateBits = integer(0, 61);
const unary = { name, input: id, output: id };

const step = v.variant('kind', [
  v.strictObject({ kind: v.literal('linear'), ...unary, geometry: convGeometry, weights: id }),
  v.strictObject({
    kind: v.literal('relu'),
    ...unary,
    truncateBits,
    window,
    comparison,
    cap: v.exactOptional(integer(1, Number.MAX_SAFE_INTEGER)),
    patches: v.exactOptional(v.pipe(v.array(patch), v.maxLength(2 ** 20))),
  }),
  v.strictObject({ kind: v.literal('truncate'), ...unary, truncateBits }),
  v.strictObject({ kind: v.literal('maxpool'), ...unary, geometry: poolGeometry, window, comparison }),
  v.strictObject({
    kind: v.literal('sumpool'),
    ...unary,
    geometry: poolGeometry,
    multipliers: v.exactOptional(v.pipe(v.array(integer(1, 2 ** 24)), v.maxLength(2 ** 20))),
  }),
  v.strictObject({
    kind: v.literal('resample'),
    ...unary,
    axis: integer(0, 7),
    taps: integer(1, 16),
    positions: v.pipe(v.array(integer(0, 2 ** 24)), v.maxLength(2 ** 20)),
    weights: v.pipe(v.array(integer(-(2 ** 16), 2 ** 16)), v.maxLength(2 ** 20)),
  }),
  v.strictObject({
    kind: v.literal('add'),
    name,
    inputs: v.pipe(v.array(id), v.minLength(1), v.maxLength(1024)),
    factors: v.pipe(v.array(factor), v.minLength(1), v.maxLength(1024)),
    output: id,
  }),
  v.strictObject({ kind: v.literal('product'), name, inputs: v.pipe(v.array(id), v.length(2)), output: id }),
  v.strictObject({
    kind: v.literal('concat'),
    name,
    inputs: v.pipe(v.array(id), v.minLength(1), v.maxLength(1024)),
    axis: integer(0, 7),
    output: id,
  }),
  v.strictObject({
    kind: v.literal('view'),
    ...unary,
    inputShape: shape,
    axes: v.pipe(v.array(v.strictObject({ axis: integer(0, 7), start: offset, step: offset, size: count })), v.maxLength(8)),
  }),
]);

export const programSchema = v.strictObject({
  schema: v.literal('tessera/program@1'),
  ringBits: integer(16, 64),
  rangeBits: v.exactOptional(integer(16, 63)),
  tensors: v.pipe(
    v.array(v.strictObject({ shape, scale: v.pipe(v.number(), v.finite(), v.minValue(2 ** -64), v.maxValue(2 ** 64)) })),
    v.maxLength(65536),
  ),
  input: id,
  output: id,
  outputResamples: v.exactOptional(
    v.pipe(
      v.array(
        v.strictObject({
          axis: integer(0, 7),
          taps: integer(1, 16),
          positions: v.pipe(v.array(integer(0, 2 ** 24)), v.minLength(1), v.maxLength(2 ** 20)),
          weights: v.pipe(v.array(v.pipe(v.number(), v.finite())), v.maxLength(2 ** 20)),
        }),
      ),
      v.maxLength(8),
    ),
  ),
  outputActivation: v.picklist(['none', 'softmax', 'logsoftmax']),
  steps: v.pipe(v.array(step), v.minLength(1), v.maxLength(65535)),
});
