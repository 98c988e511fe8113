// Networks of depthwise convolutions: MobileNetV1 (Howard et al. 2017), MobileNetV2 (Sandler et al. 2018), ShuffleNetV2 (Ma et al. 2018).
import { asScores, type Builder, type ConvOptions, convNorm, convNormRelu, type Net, type Value } from './_net.js';

type Activation = (net: Net, x: Value) => Value;

export const withRelu: Activation = (net, x) => net.relu(x);
export const withRelu6: Activation = (net, x) => net.relu6(x);

/** Depthwise, normalised. */
const depthwise = (net: Net, x: Value, options: ConvOptions): Value => convNorm(net, x, x.shape[0]!, { ...options, groups: x.shape[0]! });

/** @param width multiplies all channels. */
export function mobilenetV1(width: number): Builder {
  return (net) => {
    let x = net.relu6(convNorm(net, net.input, 32 * width, { stride: 2 }));
    const blocks = [[64, 1], [128, 2], [128, 1], [256, 2], [256, 1], [512, 2], ...new Array(5).fill([512, 1]), [1024, 2], [1024, 1]];
    for (const [channels, stride] of blocks as [number, number][]) {
      x = net.relu6(depthwise(net, x, { stride }));
      x = net.relu6(convNorm(net, x, channels * width, { kernel: 1 }));
    }
    return net.dense(net.globalPool(x), 1000, asScores);
  };
}

/** Channels before expansion is undone, blocks, and stride and dilation of the first of them; all but the first stage expand by 6. */
interface Stage {
  readonly channels: number;
  readonly blocks: number;
  readonly stride: number;
  readonly dilation: number;
}

const widths = [16, 24, 32, 64, 96, 160, 320];
const counts = [1, 2, 3, 4, 3, 3, 1];
const stagesOf = (strides: readonly number[], dilations: readonly number[]): readonly Stage[] =>
  widths.map((channels, i) => ({ channels, blocks: counts[i]!, stride: strides[i]!, dilation: dilations[i]! }));

const forPictures = stagesOf([1, 2, 2, 2, 1, 2, 1], [1, 1, 1, 1, 1, 1, 1]);
/** mmsegmentation's m-v2-d8. */
const forMaps = stagesOf([1, 2, 2, 1, 1, 1, 1], [1, 1, 1, 2, 2, 4, 4]);

/** Expands, filters each channel, and projects to few channels without an activation; the input is added where the shape stays. */
function invertedResidual(
  net: Net,
  x: Value,
  activation: Activation,
  channels: number,
  options: ConvOptions & { readonly expansion: number },
) {
  const { expansion, ...filter } = options;
  const wide = expansion === 1 ? x : activation(net, convNorm(net, x, x.shape[0]! * expansion, { kernel: 1 }));
  const filtered = activation(net, depthwise(net, wide, filter));
  const adds = filter.stride === 1 && x.shape[0] === channels;
  const narrow = convNorm(net, filtered, channels, { kernel: 1, shift: 0, ...(adds && { gain: 0.3 }) });
  return adds ? net.add(x, narrow) : narrow;
}

function mobilenetV2Body(net: Net, activation: Activation, stages: readonly Stage[]): Value {
  let x = activation(net, convNorm(net, net.input, 32, { stride: 2 }));
  for (const [s, { channels, blocks, stride, dilation }] of stages.entries()) {
    for (let block = 0; block < blocks; block++) {
      const options = { expansion: s === 0 ? 1 : 6, stride: block === 0 ? stride : 1, dilation };
      x = invertedResidual(net, x, activation, channels, options);
    }
  }
  return x;
}

export function mobilenetV2(activation: Activation): Builder {
  return (net) => {
    const x = activation(net, convNorm(net, mobilenetV2Body(net, activation, forPictures), 1280, { kernel: 1 }));
    return net.dense(net.globalPool(x), 1000, asScores);
  };
}

/** The map of 320 channels, an eighth of the picture's height and width, as mmsegmentation's segmentation networks read it. */
export const mobilenetV2Features = (net: Net, activation: Activation): Value => mobilenetV2Body(net, activation, forMaps);

/** Half of the channels pass; at stride 2 both halves are made from all of them. */
function shuffleUnit(net: Net, x: Value, channels: number, stride: number): Value {
  const half = channels / 2;
  const single = stride === 1;
  const read = single ? net.slice(x, half, channels) : x;
  const inner = depthwise(net, convNormRelu(net, read, half, { kernel: 1 }), { stride });
  const left = single ? net.slice(x, 0, half) : convNormRelu(net, depthwise(net, x, { stride }), half, { kernel: 1 });
  return net.shuffle(net.concat(left, convNormRelu(net, inner, half, { kernel: 1 })), 2);
}

/** Width 1. */
export const shufflenetV2: Builder = (net) => {
  let x = net.maxPool(convNormRelu(net, net.input, 24, { stride: 2 }), 3, { stride: 2, pad: 1 });
  for (const [channels, units] of [
    [116, 4],
    [232, 8],
    [464, 4],
  ] as const) {
    for (let unit = 0; unit < units; unit++) x = shuffleUnit(net, x, channels, unit === 0 ? 2 : 1);
  }
  return net.dense(net.globalPool(convNormRelu(net, x, 1024, { kernel: 1 })), 1000, asScores);
};
