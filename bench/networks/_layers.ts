// The layers networks are written from, each as exporters write it.
import { sizeOf } from '../../src/model/graph.js';
import {
  addNode,
  type Draft,
  floats,
  heWeights,
  integers,
  nextName,
  type Settling,
  type Spread,
  settleWeights,
  usualShift,
  type Value,
} from './_draft.js';

export interface ConvOptions extends Spread {
  /** Height and width of the kernel, or both; default 3. */
  readonly kernel?: number | readonly [number, number];
  readonly stride?: number;
  readonly dilation?: number;
  readonly groups?: number;
  /** On every side; default as much as keeps the size at stride 1. */
  readonly pad?: number;
  /** A layer with biases has no normalisation after it: its own weights are scaled. */
  readonly bias?: boolean;
}

export interface PoolOptions {
  readonly stride: number;
  readonly pad?: number;
  readonly ceil?: boolean;
}

/** The spread without what is undefined. */
const spreadOf = ({ gain, shift }: Spread): Spread => ({ ...(gain !== undefined && { gain }), ...(shift !== undefined && { shift }) });

export function conv(draft: Draft, x: Value, channels: number, options: ConvOptions = {}): Value {
  const { kernel = 3, stride = 1, dilation = 1, groups = 1, bias = false, pad } = options;
  const [kh, kw] = typeof kernel === 'number' ? [kernel, kernel] : kernel;
  const [py, px] = [kh, kw].map((k) => pad ?? ((k - 1) >> 1) * dilation) as [number, number];
  const size = (length: number, k: number, p: number): number => Math.floor((length + 2 * p - dilation * (k - 1) - 1) / stride) + 1;
  const [inputs = 1, height = 1, width = 1] = x.shape;
  const row = (inputs / groups) * kh * kw;
  const weights = heWeights(draft, channels * row, row);
  const biases = new Float32Array(channels);
  const name = nextName(draft, 'Conv');
  const constants = [floats(draft, `${name}.weight`, [channels, inputs / groups, kh, kw], weights)];
  if (bias) constants.push(floats(draft, `${name}.bias`, [channels], biases));
  const window = { kernel_shape: [kh, kw], strides: [stride, stride], dilations: [dilation, dilation], pads: [py, px, py, px] };
  const shape = [channels, size(height, kh, py), size(width, kw, px)];
  const y = addNode(draft, 'Conv', [x.id, ...constants], shape, { ...window, group: groups });
  if (bias) settleWeights(draft, y, spreadOf(options), weights, biases, (i) => Math.floor(i / row));
  return y;
}

/** A transposed convolution whose output is `stride` times its input. */
export function convTranspose(
  draft: Draft,
  x: Value,
  channels: number,
  kernel: number,
  stride: number,
  options: Spread & { readonly bias?: boolean } = {},
): Value {
  const [inputs = 1, height = 1, width = 1] = x.shape;
  const area = kernel * kernel;
  // An output reads only its share of the kernel.
  const weights = heWeights(draft, inputs * channels * area, (inputs * area) / stride ** 2);
  const biases = new Float32Array(channels);
  const name = nextName(draft, 'ConvTranspose');
  const constants = [floats(draft, `${name}.weight`, [inputs, channels, kernel, kernel], weights)];
  if (options.bias) constants.push(floats(draft, `${name}.bias`, [channels], biases));
  const pad = Math.ceil((kernel - stride) / 2);
  const extra = 2 * pad - (kernel - stride);
  const window = { kernel_shape: [kernel, kernel], strides: [stride, stride], pads: [pad, pad, pad, pad], output_padding: [extra, extra] };
  const y = addNode(draft, 'ConvTranspose', [x.id, ...constants], [channels, height * stride, width * stride], window);
  if (options.bias) settleWeights(draft, y, spreadOf(options), weights, biases, (i) => Math.floor(i / area) % channels);
  return y;
}

/** Fully connected, of all elements. */
export function dense(draft: Draft, x: Value, outputs: number, spread: Spread = {}): Value {
  const inputs = sizeOf(x.shape);
  const flat = x.shape.length === 1 ? x : addNode(draft, 'Flatten', [x.id], [inputs], { axis: 1 });
  const weights = heWeights(draft, outputs * inputs, inputs);
  const biases = new Float32Array(outputs);
  const name = nextName(draft, 'Gemm');
  const constants = [floats(draft, `${name}.weight`, [outputs, inputs], weights), floats(draft, `${name}.bias`, [outputs], biases)];
  const y = addNode(draft, 'Gemm', [flat.id, ...constants], [outputs], { transB: 1 });
  settleWeights(draft, y, spread, weights, biases, (i) => Math.floor(i / inputs));
  return y;
}

/** Batch normalisation. */
export function norm(draft: Draft, x: Value, { gain = 1, shift = usualShift }: Spread = {}): Value {
  const [channels = 1] = x.shape;
  const name = nextName(draft, 'BatchNormalization');
  const part = (which: string, value: number) => {
    const data = new Float32Array(channels).fill(value);
    return { data, id: floats(draft, `${name}.${which}`, [channels], data) };
  };
  const [scale, bias, mean, variance] = [part('scale', 1), part('bias', 0), part('mean', 0), part('variance', 1)];
  const inputs = [scale, bias, mean, variance].map(({ id }) => id);
  const y = addNode(draft, 'BatchNormalization', [x.id, ...inputs], x.shape, { epsilon: { float: 0 } });
  const settle: Settling['settle'] = (means, deviations, gains, shifts) => {
    mean.data.set(means);
    variance.data.set(deviations.map((d) => d * d));
    scale.data.set(gains);
    bias.data.set(shifts);
  };
  draft.settlings.set(y.id, { channels, gain, shift, settle });
  return y;
}

/** min(max(x, 0), 6). */
export function relu6(draft: Draft, x: Value): Value {
  const name = nextName(draft, 'Clip');
  const limits = [floats(draft, `${name}.min`, [], Float32Array.of(0)), floats(draft, `${name}.max`, [], Float32Array.of(6))];
  return addNode(draft, 'Clip', [x.id, ...limits], x.shape);
}

/** One slope of 0.25 a channel. */
export function prelu(draft: Draft, x: Value): Value {
  const [channels = 1] = x.shape;
  const slopes = floats(draft, `${nextName(draft, 'PRelu')}.slope`, [channels, 1, 1], new Float32Array(channels).fill(0.25));
  return addNode(draft, 'PRelu', [x.id, slopes], x.shape);
}

export function pool(draft: Draft, op: 'MaxPool' | 'AveragePool', x: Value, kernel: number, options: PoolOptions): Value {
  const { stride, pad = 0, ceil = false } = options;
  const size = (length: number): number => {
    const outputs = (ceil ? Math.ceil : Math.floor)((length + 2 * pad - kernel) / stride) + 1;
    // As PyTorch has it: no window begins beyond the map and its upper pad.
    return ceil && (outputs - 1) * stride >= length + pad ? outputs - 1 : outputs;
  };
  const [channels = 1, height = 1, width = 1] = x.shape;
  return addNode(draft, op, [x.id], [channels, size(height), size(width)], {
    ...{ kernel_shape: [kernel, kernel], strides: [stride, stride], pads: [pad, pad, pad, pad] },
    ...(ceil && { ceil_mode: 1 }),
    ...(op === 'AveragePool' && { count_include_pad: 1 }),
  });
}

export function concat(draft: Draft, values: readonly Value[]): Value {
  const [, ...map] = values[0]!.shape;
  const channels = values.reduce((sum, { shape }) => sum + shape[0]!, 0);
  return addNode(
    draft,
    'Concat',
    values.map(({ id }) => id),
    [channels, ...map],
    { axis: 1 },
  );
}

/** Channels from `from` up to, without, `to`. */
export function slice(draft: Draft, x: Value, from: number, to: number): Value {
  const name = nextName(draft, 'Slice');
  const bounds = Object.entries({ starts: from, ends: to, axes: 1, steps: 1 }).map(([part, v]) => integers(draft, `${name}.${part}`, [v]));
  return addNode(draft, 'Slice', [x.id, ...bounds], [to - from, ...x.shape.slice(1)]);
}

/** Channels of 0 after the others. */
export function widen(draft: Draft, x: Value, channels: number): Value {
  const pads = [0, 0, 0, 0, 0, channels - x.shape[0]!, 0, 0];
  return addNode(draft, 'Pad', [x.id, integers(draft, `${nextName(draft, 'Pad')}.pads`, pads)], [channels, ...x.shape.slice(1)]);
}

/** Deals channels out anew: of `groups` groups the first of each, the second of each, … */
export function shuffle(draft: Draft, x: Value, groups: number): Value {
  const [channels = 1, ...map] = x.shape;
  const reshape = (from: Value, shape: readonly number[]): Value =>
    addNode(draft, 'Reshape', [from.id, integers(draft, `${nextName(draft, 'Reshape')}.shape`, [0, ...shape])], shape);
  const turned = [channels / groups, groups, ...map];
  const apart = reshape(x, [groups, channels / groups, ...map]);
  return reshape(addNode(draft, 'Transpose', [apart.id], turned, { perm: [0, 2, 1, 3, 4] }), x.shape);
}

/** Bilinear, each axis by its factor. */
export function upsample(draft: Draft, x: Value, rows: number, columns: number): Value {
  const [channels = 1, height = 1, width = 1] = x.shape;
  const scales = floats(draft, `${nextName(draft, 'Resize')}.scales`, [4], Float32Array.of(1, 1, rows, columns));
  const how = { mode: 'linear', coordinate_transformation_mode: 'pytorch_half_pixel' };
  return addNode(draft, 'Resize', [x.id, '', scales], [channels, height * rows, width * columns], how);
}
