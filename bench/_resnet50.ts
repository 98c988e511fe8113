// A ResNet-50 at 224 × 224 with random weights: what memory and time depend on is its shape. Its normalisations are folded away already.
import type { Graph } from '../src/model/graph.js';
import { add, convolve, createNet, finish, type Net, pool, relu, type Value } from './_network.js';

/** Narrow, 3 × 3, wide; the sum with its input, or that under a 1 × 1 layer, passes the third activation. */
function bottleneck(net: Net, name: string, from: Value, channels: number, stride: number): Value {
  const first = relu(net, `${name}.relu1`, convolve(net, `${name}.conv1`, from, channels, 1));
  const second = relu(net, `${name}.relu2`, convolve(net, `${name}.conv2`, first, channels, 3, { stride }));
  // A third of the variance: sums of blocks do not grow.
  const last = convolve(net, `${name}.conv3`, second, 4 * channels, 1, { gain: 0.3 });
  const plain = from.channels === 4 * channels && stride === 1;
  const shortcut = plain ? from : convolve(net, `${name}.shortcut`, from, 4 * channels, 1, { stride, gain: 1 });
  return relu(net, `${name}.relu3`, add(net, `${name}.sum`, last, shortcut));
}

/** He et al., "Deep Residual Learning for Image Recognition" (2016), with the stride in the 3 × 3 layers; 22,720 channels of activations. */
export function randomResnet50(seed: number): Graph {
  const net = createNet(seed);
  const input: Value = { id: 'image', channels: 3, size: 224 };
  let value = pool(net, 'maxpool', relu(net, 'relu', convolve(net, 'conv', input, 64, 7, { stride: 2 })), 3, 2, 1);
  for (const [stage, blocks] of [3, 4, 6, 3].entries()) {
    for (let block = 0; block < blocks; block++) {
      value = bottleneck(net, `layer${stage + 1}.${block}`, value, 64 << stage, stage > 0 && block === 0 ? 2 : 1);
    }
  }
  value = convolve(net, 'scores', pool(net, 'averagepool', value, 7, 1, 0), 1000, 1);
  return finish(net, input, value);
}
