// The networks of the table of models: where their file is, or how it is written, and for what pictures.
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeWhole } from '../src/cli/files.js';
import { hashFolder } from '../src/cli/model.js';
import type { Compute } from '../src/kernel/compute.js';
import type { Builder } from './networks/_net.js';
import { writeNetwork } from './networks/_net.js';
import { densenet121, googlenet, squeezenet11 } from './networks/branches.js';
import { deeplabMobilenetV2, deeplabResnet50, fcnResnet50 } from './networks/deeplab.js';
import { mobilenetV1, mobilenetV2, shufflenetV2, withRelu, withRelu6 } from './networks/mobilenet.js';
import { alexnet, lenet, minionn, vgg16 } from './networks/plain.js';
import { resnet18, resnet50 } from './networks/resnet.js';
import { enet, erfnet, unet } from './networks/segmentation.js';

type Shape = readonly [planes: number, height: number, width: number];

/** A network with random weights. */
export interface RandomNetwork {
  readonly name: string;
  readonly build: Builder;
  /** Pictures of the size it is used at, and of one that any machine computes in seconds. */
  readonly full: Shape;
  readonly small: Shape;
}

const imagenet = { full: [3, 224, 224], small: [3, 64, 64] } as const;

export const randomNetworks: readonly RandomNetwork[] = [
  { name: 'LeNet', build: lenet, full: [1, 28, 28], small: [1, 28, 28] },
  { name: 'MiniONN CIFAR-10', build: minionn, full: [3, 32, 32], small: [3, 32, 32] },
  { name: 'AlexNet', build: alexnet, ...imagenet },
  { name: 'VGG-16', build: vgg16, ...imagenet },
  { name: 'ResNet-18', build: resnet18, ...imagenet },
  { name: 'ResNet-50', build: resnet50, ...imagenet },
  { name: 'SqueezeNet 1.1', build: squeezenet11, ...imagenet },
  { name: 'MobileNetV1', build: mobilenetV1(1), ...imagenet },
  { name: 'MobileNetV2', build: mobilenetV2(withRelu6), ...imagenet },
  { name: 'MobileNetV2, ReLU', build: mobilenetV2(withRelu), ...imagenet },
  { name: 'DenseNet-121', build: densenet121, ...imagenet },
  { name: 'GoogLeNet', build: googlenet, ...imagenet },
  { name: 'ShuffleNetV2', build: shufflenetV2, ...imagenet },
  { name: 'ERFNet', build: erfnet, full: [3, 256, 512], small: [3, 64, 64] },
  { name: 'ENet', build: enet, full: [3, 256, 512], small: [3, 64, 64] },
  { name: 'U-Net', build: unet, full: [3, 256, 256], small: [3, 64, 64] },
  { name: 'FCN ResNet-50', build: fcnResnet50, full: [3, 224, 224], small: [3, 64, 64] },
  { name: 'DeepLabV3 ResNet-50', build: deeplabResnet50, full: [3, 224, 224], small: [3, 64, 64] },
  { name: 'DeepLabV3 MobileNetV2', build: deeplabMobilenetV2, full: [3, 512, 512], small: [3, 64, 64] },
];

const root = fileURLToPath(new URL('../../', import.meta.url));
/** What writes the files: others are written where it changed. */
const writers = fileURLToPath(new URL('./networks', import.meta.url));

/**
 * Path of the ONNX file of a random network for pictures of `shape`, which is written where it is not there yet: under .cache/bench/networks,
 * or in `folder`. Throws RangeError for a name that no network has.
 */
export async function networkFile(compute: Compute, name: string, shape: Shape, folder?: string): Promise<string> {
  const network = randomNetworks.find((each) => each.name === name);
  if (network === undefined) throw new RangeError(`there is no network ${name}: ${randomNetworks.map((each) => each.name).join(', ')}`);
  const made = folder ?? join(root, '.cache/bench/networks', (await hashFolder(writers)).slice(0, 12));
  await mkdir(made, { recursive: true });
  const path = join(made, `${name.toLowerCase().replaceAll(/[^a-z0-9.]+/g, '-')}-${shape.join('x')}.onnx`);
  if (!existsSync(path)) await writeWhole(path, await writeNetwork(compute, network.build, shape, 1));
  return path;
}

/** The bytes of {@link networkFile}. */
export const networkBytes = async (compute: Compute, name: string, shape: Shape): Promise<Uint8Array> =>
  new Uint8Array(await readFile(await networkFile(compute, name, shape)));
