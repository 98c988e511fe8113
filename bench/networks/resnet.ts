// Residual networks: He et al., "Deep Residual Learning for Image Recognition" (2016), with the stride in the 3 × 3 layers as torchvision has it.
import { asBranch, asScores, type Builder, convNorm, convNormRelu, type Net, type Value } from './_net.js';

interface Block {
  readonly channels: number;
  readonly stride: number;
  readonly dilation: number;
}

/** Two 3 × 3 layers. */
function basic(net: Net, x: Value, { channels, stride }: Block): Value {
  const branch = convNorm(net, convNormRelu(net, x, channels, { stride }), channels, asBranch);
  const plain = x.shape[0] === channels && stride === 1;
  return net.relu(net.add(branch, plain ? x : convNorm(net, x, channels, { kernel: 1, stride })));
}

/** Narrow, 3 × 3, wide. */
function bottleneck(net: Net, x: Value, { channels, stride, dilation }: Block): Value {
  const narrow = convNormRelu(net, x, channels, { kernel: 1 });
  const middle = convNormRelu(net, narrow, channels, { stride, dilation });
  const branch = convNorm(net, middle, 4 * channels, { kernel: 1, ...asBranch });
  const plain = x.shape[0] === 4 * channels && stride === 1;
  return net.relu(net.add(branch, plain ? x : convNorm(net, x, 4 * channels, { kernel: 1, stride })));
}

const stem = (net: Net): Value => net.maxPool(convNormRelu(net, net.input, 64, { kernel: 7, stride: 2 }), 3, { stride: 2, pad: 1 });

export const resnet18: Builder = (net) => {
  let x = stem(net);
  for (const [stage, channels] of [64, 128, 256, 512].entries()) {
    for (let block = 0; block < 2; block++) x = basic(net, x, { channels, stride: stage > 0 && block === 0 ? 2 : 1, dilation: 1 });
  }
  return net.dense(net.globalPool(x), 1000, asScores);
};

/**
 * The map of 2,048 channels that a ResNet-50 ends with.
 * @param outputStride pixels of the picture for one of the map: 32, or 8 with the last two stages dilated, as segmentation uses it.
 */
export function resnet50Features(net: Net, outputStride: 8 | 32): Value {
  let x = stem(net);
  for (const [stage, blocks] of [3, 4, 6, 3].entries()) {
    const dilated = outputStride === 8 && stage >= 2;
    for (let block = 0; block < blocks; block++) {
      // As in torchvision the first block of a dilated stage still has the dilation of the stage before.
      const dilation = dilated ? 2 ** (stage - 1 - (block === 0 ? 1 : 0)) : 1;
      x = bottleneck(net, x, { channels: 64 << stage, stride: stage > 0 && block === 0 && !dilated ? 2 : 1, dilation });
    }
  }
  return x;
}

/** 9,608,704 activations at 224 × 224. */
export const resnet50: Builder = (net) => net.dense(net.globalPool(resnet50Features(net, 32)), 1000, asScores);
