// Networks without branches: LeNet, MiniONN's for CIFAR-10, AlexNet, VGG-16.
import { asScores, type Builder, convRelu } from './_net.js';

/** LeCun et al. 1998 as Caffe has it: 28 × 28 grey. */
export const lenet: Builder = (net) => {
  let x = net.input;
  for (const channels of [20, 50]) x = net.maxPool(convRelu(net, x, channels, { kernel: 5, pad: 0 }), 2, { stride: 2 });
  return net.dense(net.relu(net.dense(x, 500)), 10, asScores);
};

/** Liu et al., "Oblivious Neural Network Predictions via MiniONN Transformations" (2017), figure 13: seven convolutions, 32 × 32. */
export const minionn: Builder = (net) => {
  let x = convRelu(net, convRelu(net, net.input, 64), 64);
  x = net.averagePool(x, 2, { stride: 2 });
  x = net.averagePool(convRelu(net, convRelu(net, x, 64), 64), 2, { stride: 2 });
  x = convRelu(net, x, 64);
  for (const channels of [64, 16]) x = convRelu(net, x, channels, { kernel: 1 });
  return net.dense(x, 10, asScores);
};

/** Krizhevsky 2014 as torchvision has it. */
export const alexnet: Builder = (net) => {
  const pooled = { stride: 2 };
  let x = net.maxPool(convRelu(net, net.input, 64, { kernel: 11, stride: 4, pad: 2 }), 3, pooled);
  x = net.maxPool(convRelu(net, x, 192, { kernel: 5 }), 3, pooled);
  for (const channels of [384, 256, 256]) x = convRelu(net, x, channels);
  x = net.maxPool(x, 3, pooled);
  for (const outputs of [4096, 4096]) x = net.relu(net.dense(x, outputs));
  return net.dense(x, 1000, asScores);
};

/** Simonyan and Zisserman 2015, configuration D. */
export const vgg16: Builder = (net) => {
  let x = net.input;
  for (const stage of [
    [64, 64],
    [128, 128],
    [256, 256, 256],
    [512, 512, 512],
    [512, 512, 512],
  ]) {
    for (const channels of stage) x = convRelu(net, x, channels);
    x = net.maxPool(x, 2, { stride: 2 });
  }
  for (const outputs of [4096, 4096]) x = net.relu(net.dense(x, outputs));
  return net.dense(x, 1000, asScores);
};
