// The networks that benchmarks are written with: other programs read them, they are the networks they are named for, and no layer's values vanish.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomNetworks } from '../bench/_networks.js';
import { writeNetwork } from '../bench/networks/_net.js';
import { maxAbsDifference } from '../src/cli/answers.js';
import { generatePictures } from '../src/data/generated.js';
import { plainPreprocessing } from '../src/data/preprocess.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { forward } from '../src/model/forward.js';
import { inspectModel } from '../src/model/inspect.js';
import { readModel } from '../src/model/onnx.js';
import { decodeModel } from '../src/model/protobuf.js';
import { reference } from './model/onnx.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

/** Pictures as small as the layers allow. */
const sizes: Readonly<Record<string, number>> = { LeNet: 28, AlexNet: 64, 'DeepLabV3 MobileNetV2': 64 };

/** Numbers that training learns, as published or as torchvision counts them. */
const learned: Readonly<Record<string, number>> = {
  LeNet: 431_080,
  'ResNet-18': 11_689_512,
  'ResNet-50': 25_557_032,
  'SqueezeNet 1.1': 1_235_496,
  MobileNetV1: 4_231_976,
  MobileNetV2: 3_504_872,
  'DenseNet-121': 7_978_856,
  GoogLeNet: 6_624_904,
  ShuffleNetV2: 2_278_604,
};

/** mmsegmentation's m-v2-d8 has 85,262,848 activations at 512 × 512, of them 512 of the pooled branch. */
const activations: Readonly<Record<string, number>> = { 'DeepLabV3 MobileNetV2': (85_262_848 - 512) / 64 + 512 };

function countLearned(bytes: Uint8Array): number {
  const given = decodeModel(bytes).graph!.initializer.filter(
    ({ dataType, name }) => dataType === 1 && !/mean|variance|min|max/.test(name!),
  );
  return given.reduce((sum, { dims }) => sum + dims.reduce((a, b) => a * b, 1), 0);
}

describe('a network with random weights', () => {
  it.each(randomNetworks)('$name answers as in onnxruntime, with values of a usual size', async ({ name, build, full }) => {
    const side = sizes[name] ?? 32;
    const shape = [full[0], side, side];
    const bytes = await writeNetwork(compute, build, shape, 1);
    if (learned[name] !== undefined) expect(countLearned(bytes)).toBe(learned[name]);
    const read = readModel(bytes);
    expect(read.unsupported).toEqual([]);
    if (activations[name] !== undefined) expect(inspectModel(read).drelus).toBe(activations[name]);
    const images = generatePictures(shape, plainPreprocessing(shape[0]!), 1, 3);
    const usual: number[] = [];
    const ours = await forward(compute, read.graph!, images, 1, (_, values) => {
      usual.push(Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length));
    });
    expect(Math.min(...usual)).toBeGreaterThan(0.05);
    expect(Math.max(...usual)).toBeLessThan(20);
    const theirs = await reference(bytes, images, [1, ...shape]);
    expect(theirs.length).toBe(ours.length);
    const greatest = theirs.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    expect(maxAbsDifference(ours, theirs)).toBeLessThan(1e-3 * greatest);
  });

  it('is the same for the same seed, and another for another', async () => {
    const { build } = randomNetworks.find(({ name }) => name === 'MiniONN CIFAR-10')!;
    const written = [];
    for (const seed of [1, 1, 2]) written.push(Buffer.from(await writeNetwork(compute, build, [3, 32, 32], seed)));
    expect(written[0]!.equals(written[1]!)).toBe(true);
    expect(written[0]!.equals(written[2]!)).toBe(false);
  });
});
