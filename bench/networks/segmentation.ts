// Segmentation networks of their own: U-Net (Ronneberger et al. 2015), ERFNet (Romera et al. 2018), ENet (Paszke et al. 2016).
import { asBranch, asScores, type Builder, convNorm, convNormRelu, convRelu, type Net, type Value } from './_net.js';

const twice = (net: Net, x: Value, channels: number): Value => convNormRelu(net, convNormRelu(net, x, channels), channels);

/** With padding, so that the map has the picture's size, and normalisations; 2 classes. */
export const unet: Builder = (net) => {
  const widths = [64, 128, 256, 512, 1024];
  const skips: Value[] = [];
  let x = net.input;
  for (const [level, channels] of widths.entries()) {
    x = twice(net, level === 0 ? x : net.maxPool(x, 2, { stride: 2 }), channels);
    skips.push(x);
  }
  for (let level = widths.length - 2; level >= 0; level--) {
    const up = net.convTranspose(x, widths[level]!, 2, 2, { bias: true });
    x = twice(net, net.concat(skips[level]!, up), widths[level]!);
  }
  return net.conv(x, 2, { kernel: 1, bias: true, ...asScores });
};

/** Convolution and max pool side by side, half the height and width. */
function downsampler(net: Net, x: Value, channels: number): Value {
  const added = net.conv(x, channels - x.shape[0]!, { stride: 2 });
  return net.relu(net.norm(net.concat(added, net.maxPool(x, 2, { stride: 2 }))));
}

/** 3 × 3 layers as 3 × 1 and 1 × 3, the second pair dilated. */
function factorised(net: Net, x: Value, dilation: number): Value {
  const [channels = 1] = x.shape;
  const first = convRelu(net, x, channels, { kernel: [3, 1] });
  const second = net.relu(net.norm(net.conv(first, channels, { kernel: [1, 3] })));
  const third = convRelu(net, second, channels, { kernel: [3, 1], dilation });
  return net.relu(net.add(net.norm(net.conv(third, channels, { kernel: [1, 3], dilation }), asBranch), x));
}

const enlarged = (net: Net, x: Value, channels: number): Value => net.relu(net.norm(net.convTranspose(x, channels, 3, 2)));

/** 20 classes. */
export const erfnet: Builder = (net) => {
  let x = downsampler(net, downsampler(net, net.input, 16), 64);
  for (let i = 0; i < 5; i++) x = factorised(net, x, 1);
  x = downsampler(net, x, 128);
  for (const dilation of [2, 4, 8, 16, 2, 4, 8, 16]) x = factorised(net, x, dilation);
  for (const channels of [64, 16]) {
    x = enlarged(net, x, channels);
    for (let i = 0; i < 2; i++) x = factorised(net, x, 1);
  }
  return net.convTranspose(x, 20, 2, 2, { bias: true, ...asScores });
};

/** The layer in the middle of an ENet bottleneck. */
type Middle = 'down' | 'up' | 'asymmetric' | number;

function middleOf(net: Net, x: Value, middle: Middle): Value {
  const [channels = 1] = x.shape;
  if (middle === 'up') return net.convTranspose(x, channels, 3, 2);
  if (middle === 'asymmetric') return net.conv(net.conv(x, channels, { kernel: [5, 1] }), channels, { kernel: [1, 5] });
  return net.conv(x, channels, { dilation: middle === 'down' ? 1 : middle });
}

/** What the branch is added to; max unpooling as bilinear upsampling, as exporters write it. */
function shortcut(net: Net, x: Value, channels: number, middle: Middle): Value {
  if (middle === 'down') return net.widen(net.maxPool(x, 2, { stride: 2 }), channels);
  return middle === 'up' ? net.upsample(convNorm(net, x, channels, { kernel: 1 }), 2, 2) : x;
}

/** PReLU in the encoder, ReLU in the decoder. */
function bottleneck(net: Net, x: Value, channels: number, middle: Middle, activation: (x: Value) => Value): Value {
  const narrow = x.shape[0]! / 4;
  const first = middle === 'down' ? { kernel: 2, stride: 2, pad: 0 } : { kernel: 1 };
  const inner = activation(convNorm(net, x, narrow, first));
  const branch = convNorm(net, activation(net.norm(middleOf(net, inner, middle))), channels, { kernel: 1, ...asBranch });
  return activation(net.add(branch, shortcut(net, x, channels, middle)));
}

/** 12 classes. */
export const enet: Builder = (net) => {
  let x = net.prelu(net.norm(net.concat(net.conv(net.input, 13, { stride: 2 }), net.maxPool(net.input, 2, { stride: 2 }))));
  const section: readonly Middle[] = [1, 2, 'asymmetric', 4, 1, 8, 'asymmetric', 16];
  const encoder: readonly (readonly [number, Middle])[] = [
    [64, 'down'],
    ...new Array<readonly [number, Middle]>(4).fill([64, 1]),
    [128, 'down'],
    ...[...section, ...section].map((middle) => [128, middle] as const),
  ];
  for (const [channels, middle] of encoder) x = bottleneck(net, x, channels, middle, net.prelu);
  for (const [channels, middle] of [
    [64, 'up'],
    [64, 1],
    [64, 1],
    [16, 'up'],
    [16, 1],
  ] as const) {
    x = bottleneck(net, x, channels, middle, net.relu);
  }
  return net.convTranspose(x, 12, 3, 2, { bias: true, ...asScores });
};
