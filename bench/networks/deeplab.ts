// Segmentation on backbones of classification: FCN (Long et al. 2015) and DeepLabV3 (Chen et al. 2017).
import { asScores, type Builder, convNormRelu, type Net, type Value } from './_net.js';
import { mobilenetV2Features, withRelu } from './mobilenet.js';
import { resnet50Features } from './resnet.js';

/** Scores of the map, and those of the picture by resizing: an eighth of it is what a backbone of output stride 8 gives. */
const scoresOf = (net: Net, x: Value, classes: number): Value =>
  net.upsample(net.conv(x, classes, { kernel: 1, bias: true, ...asScores }), 8, 8);

/** Branches of several dilations and one of the mean of the whole map, joined. */
function pyramid(net: Net, x: Value, channels: number): Value {
  const [, height = 1, width = 1] = x.shape;
  const mean = convNormRelu(net, net.globalPool(x), channels, { kernel: 1 });
  return net.concat(
    convNormRelu(net, x, channels, { kernel: 1 }),
    ...[12, 24, 36].map((dilation) => convNormRelu(net, x, channels, { dilation })),
    net.upsample(mean, height, width),
  );
}

/** torchvision's, 21 classes. */
export const fcnResnet50: Builder = (net) => scoresOf(net, convNormRelu(net, resnet50Features(net, 8), 512), 21);

/** torchvision's, 21 classes. */
export const deeplabResnet50: Builder = (net) => {
  const joined = convNormRelu(net, pyramid(net, resnet50Features(net, 8), 256), 256, { kernel: 1 });
  return scoresOf(net, convNormRelu(net, joined, 256), 21);
};

/** mmsegmentation's m-v2-d8 for ADE20K's 150 classes, with ReLU for ReLU6: 85,262,848 activations at 512 × 512. */
export const deeplabMobilenetV2: Builder = (net) =>
  scoresOf(net, convNormRelu(net, pyramid(net, mobilenetV2Features(net, withRelu), 512), 512), 150);
