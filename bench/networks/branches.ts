// Networks of branches that are joined: SqueezeNet 1.1 (Iandola et al. 2016), GoogLeNet (Szegedy et al. 2015), DenseNet-121 (Huang et al. 2017).
import { asScores, type Builder, convNormRelu, convRelu, type Net, type Value } from './_net.js';

function fire(net: Net, x: Value, squeezed: number, expanded: number): Value {
  const narrow = convRelu(net, x, squeezed, { kernel: 1 });
  return net.concat(convRelu(net, narrow, expanded, { kernel: 1 }), convRelu(net, narrow, expanded));
}

export const squeezenet11: Builder = (net) => {
  const pooled = { stride: 2, ceil: true };
  let x = net.maxPool(convRelu(net, net.input, 64, { stride: 2, pad: 0 }), 3, pooled);
  for (const [i, squeezed] of [16, 16, 32, 32, 48, 48, 64, 64].entries()) {
    x = fire(net, x, squeezed, 4 * squeezed);
    if (i === 1 || i === 3) x = net.maxPool(x, 3, pooled);
  }
  return net.globalPool(convRelu(net, x, 1000, { kernel: 1, ...asScores }));
};

/** Channels of an inception block: 1 × 1; 1 × 1 and 3 × 3; 1 × 1 and 3 × 3 (in the paper 5 × 5); 1 × 1 after a max pool. */
type Inception = readonly [number, number, number, number, number, number];

function inception(net: Net, x: Value, [one, narrow, three, narrower, five, pooled]: Inception): Value {
  const thin = (from: Value, channels: number): Value => convNormRelu(net, from, channels, { kernel: 1 });
  return net.concat(
    thin(x, one),
    convNormRelu(net, thin(x, narrow), three),
    convNormRelu(net, thin(x, narrower), five),
    thin(net.maxPool(x, 3, { stride: 1, pad: 1 }), pooled),
  );
}

const inceptions: readonly (readonly Inception[])[] = [
  [
    [64, 96, 128, 16, 32, 32],
    [128, 128, 192, 32, 96, 64],
  ],
  [
    [192, 96, 208, 16, 48, 64],
    [160, 112, 224, 24, 64, 64],
    [128, 128, 256, 24, 64, 64],
    [112, 144, 288, 32, 64, 64],
    [256, 160, 320, 32, 128, 128],
  ],
  [
    [256, 160, 320, 32, 128, 128],
    [384, 192, 384, 48, 128, 128],
  ],
];

/** As torchvision has it, with normalisations. */
export const googlenet: Builder = (net) => {
  const pooled = { stride: 2, ceil: true };
  let x = net.maxPool(convNormRelu(net, net.input, 64, { kernel: 7, stride: 2 }), 3, pooled);
  x = net.maxPool(convNormRelu(net, convNormRelu(net, x, 64, { kernel: 1 }), 192), 3, pooled);
  for (const [stage, blocks] of inceptions.entries()) {
    if (stage > 0) x = net.maxPool(x, stage === 1 ? 3 : 2, pooled);
    for (const block of blocks) x = inception(net, x, block);
  }
  return net.dense(net.globalPool(x), 1000, asScores);
};

/** Normalisation and ReLU come before each convolution. */
const normRelu = (net: Net, x: Value): Value => net.relu(net.norm(x));

export const densenet121: Builder = (net) => {
  const growth = 32;
  let x = net.maxPool(convNormRelu(net, net.input, 64, { kernel: 7, stride: 2 }), 3, { stride: 2, pad: 1 });
  for (const [stage, layers] of [6, 12, 24, 16].entries()) {
    if (stage > 0) x = net.averagePool(net.conv(normRelu(net, x), x.shape[0]! / 2, { kernel: 1 }), 2, { stride: 2 });
    for (let layer = 0; layer < layers; layer++) {
      const narrow = convNormRelu(net, normRelu(net, x), 4 * growth, { kernel: 1 });
      x = net.concat(x, net.conv(narrow, growth));
    }
  }
  return net.dense(net.globalPool(normRelu(net, x)), 1000, asScores);
};
