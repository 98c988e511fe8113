// The layers whose kernels are measured: name, geometry, and how often a network has them.
import type { ConvGeometry } from '../src/kernel/geometry.js';

export interface KernelCase {
  readonly name: string;
  readonly geometry: ConvGeometry;
  /** Times the layer occurs in its network; 0 where it belongs to none of the totals. */
  readonly count: number;
  readonly network: string;
}

/** A convolution of square maps, padded so that a stride of 1 keeps their size. */
function square(inputChannels: number, outputChannels: number, size: number, kernel: number, stride = 1, groups = 1): ConvGeometry {
  const pad = (kernel - 1) >> 1;
  const output = Math.floor((size + 2 * pad - kernel) / stride) + 1;
  return {
    ...{ inputChannels, outputChannels, inputHeight: size, inputWidth: size, outputHeight: output, outputWidth: output },
    ...{ kernelHeight: kernel, kernelWidth: kernel, strideY: stride, strideX: stride, dilationY: 1, dilationX: 1 },
    ...{ padTop: pad, padLeft: pad, groups },
  };
}

function layer(network: string, count: number, ...shape: Parameters<typeof square>): KernelCase {
  const [inputs, outputs, size, kernel, stride = 1, groups = 1] = shape;
  const window = `${kernel}x${kernel}${stride > 1 ? `/${stride}` : ''}`;
  const channels = groups > 1 ? `${inputs} depthwise` : `${inputs}>${outputs}`;
  return { name: `${window} ${channels}, ${size}x${size}`, geometry: square(...shape), count, network };
}

const resnet20 = (count: number, ...shape: Parameters<typeof square>): KernelCase => layer('ResNet-20', count, ...shape);
const resnet50 = (count: number, ...shape: Parameters<typeof square>): KernelCase => layer('ResNet-50', count, ...shape);
const mobilenet = (count: number, ...shape: Parameters<typeof square>): KernelCase => layer('MobileNetV1', count, ...shape);

/** All convolutions of ResNet-20 (CIFAR, shortcuts without weights) and of ResNet-50 at 224 x 224, and MobileNetV1's depthwise ones. */
export const kernelCases: readonly KernelCase[] = [
  resnet20(1, 3, 16, 32, 3),
  resnet20(6, 16, 16, 32, 3),
  resnet20(1, 16, 32, 32, 3, 2),
  resnet20(5, 32, 32, 16, 3),
  resnet20(1, 32, 64, 16, 3, 2),
  resnet20(5, 64, 64, 8, 3),
  resnet50(1, 3, 64, 224, 7, 2),
  resnet50(1, 64, 64, 56, 1),
  resnet50(3, 64, 64, 56, 3),
  resnet50(4, 64, 256, 56, 1),
  resnet50(2, 256, 64, 56, 1),
  resnet50(1, 256, 128, 56, 1),
  resnet50(1, 256, 512, 56, 1, 2),
  resnet50(1, 128, 128, 56, 3, 2),
  resnet50(3, 128, 128, 28, 3),
  resnet50(4, 128, 512, 28, 1),
  resnet50(3, 512, 128, 28, 1),
  resnet50(1, 512, 256, 28, 1),
  resnet50(1, 512, 1024, 28, 1, 2),
  resnet50(1, 256, 256, 28, 3, 2),
  resnet50(5, 256, 256, 14, 3),
  resnet50(6, 256, 1024, 14, 1),
  resnet50(5, 1024, 256, 14, 1),
  resnet50(1, 1024, 512, 14, 1),
  resnet50(1, 1024, 2048, 14, 1, 2),
  resnet50(1, 512, 512, 14, 3, 2),
  resnet50(2, 512, 512, 7, 3),
  resnet50(3, 512, 2048, 7, 1),
  resnet50(2, 2048, 512, 7, 1),
  resnet50(1, 2048, 1000, 1, 1),
  mobilenet(1, 32, 32, 112, 3, 1, 32),
  mobilenet(1, 64, 64, 112, 3, 2, 64),
  mobilenet(1, 128, 128, 56, 3, 1, 128),
  mobilenet(1, 128, 128, 56, 3, 2, 128),
  mobilenet(1, 256, 256, 28, 3, 1, 256),
  mobilenet(1, 256, 256, 28, 3, 2, 256),
  mobilenet(5, 512, 512, 14, 3, 1, 512),
  mobilenet(1, 512, 512, 14, 3, 2, 512),
  mobilenet(1, 1024, 1024, 7, 3, 1, 1024),
];

/** Multiply-adds of one image. */
export function macsOf(g: ConvGeometry): number {
  return (g.outputChannels * g.outputHeight * g.outputWidth * g.inputChannels * g.kernelHeight * g.kernelWidth) / g.groups;
}
