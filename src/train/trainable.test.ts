// Gradients of parameters against differences of the loss, and a network that learns.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import { coarse, sampleNetwork, shared } from '../../test/training.js';
import type { Compute } from '../kernel/compute.js';
import { createCompute } from '../kernel/heap.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { forward } from '../model/forward.js';
import { sizeOf } from '../model/graph.js';
import { buildArchitecture } from './architectures.js';
import type { TrainNetwork } from './network.js';
import { createSgd } from './sgd.js';
import { type LossOptions, openTrainable, type Targets, type Trainable, type TrainableOptions } from './trainable.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 2 });
});
afterAll(() => compute.close());

const count = 6;
const images = values(count * 2 * 8 * 8, 11);
const labels = Int32Array.from({ length: count * 4 }, (_, i) => (i % 7 === 0 ? 255 : (i * 3) % 5));
const teacher = values(count * 5 * 4, 12);

/** Each parameter's gradient along a random direction, against the difference of the loss to both sides. */
async function expectGradients(trainable: Trainable, targets: Targets, loss: LossOptions): Promise<void> {
  const lossHere = async (): Promise<number> => (await trainable.learn(images, count, targets, loss)).loss;
  await lossHere();
  const gradients = trainable.parameters.map(({ gradient }) => gradient.slice());
  for (const [p, { name, values: weights }] of trainable.parameters.entries()) {
    const before = weights.slice();
    const direction = values(weights.length, p + 100);
    const difference = async (step: number): Promise<number> => {
      weights.set(before.map((w, i) => w + step * direction[i]!));
      const up = await lossHere();
      weights.set(before.map((w, i) => w - step * direction[i]!));
      return (up - (await lossHere())) / (2 * step);
    };
    const slope = gradients[p]!.reduce((sum, g, i) => sum + g * direction[i]!, 0);
    const size = Math.sqrt(gradients[p]!.reduce((sum, g) => sum + g * g, 0) * weights.length);
    // A shared comparison is a jump: where one lies between the ends of a difference, a shorter or longer one has to do.
    const differences: number[] = [];
    for (const step of [2 ** -9, 2 ** -11, 2 ** -7]) differences.push(await difference(step));
    weights.set(before);
    const error = Math.min(...differences.map((d) => Math.abs(slope - d)));
    expect(error, `${name}: ${slope}, ${differences}`).toBeLessThan(0.01 * size + 1e-4);
  }
}

async function withTrainable(network: TrainNetwork, options: TrainableOptions, use: (t: Trainable) => Promise<void>): Promise<void> {
  const trainable = await openTrainable(compute, network, options);
  await use(trainable);
  trainable.close();
  expect(compute.memory.usedBytes).toBe(0);
}

describe('gradients of parameters are those of differences', () => {
  const losses: readonly (readonly [string, Targets, LossOptions])[] = [
    ['cross-entropy of pixels, some ignored', { labels }, { ignoreLabel: 255 }],
    ['smoothed labels', { labels }, { ignoreLabel: 255, labelSmoothing: 0.2 }],
    ['distillation', { teacher }, { distillation: { weight: 1, temperature: 3 } }],
    ['a mixture', { labels, teacher }, { ignoreLabel: 255, labelSmoothing: 0.1, distillation: { weight: 0.3, temperature: 2 } }],
  ];
  it.each(losses)('%s', (_, targets, loss) => withTrainable(sampleNetwork(), {}, (t) => expectGradients(t, targets, loss)));

  it('with batch norm frozen', () =>
    withTrainable(sampleNetwork(), { batchNorm: 'frozen' }, async (t) => {
      expect(t.parameters.map(({ name }) => name).filter((name) => /^[bf]\d/.test(name))).toEqual([]);
      const before = t.states.map(({ values: v }) => v.slice());
      await expectGradients(t, { labels }, { ignoreLabel: 255 });
      expect(t.states.map(({ values: v }) => v)).toEqual(before);
    }));

  it('with shared comparisons, and with a soft start', () =>
    withTrainable(sampleNetwork(coarse), {}, async (t) => {
      await expectGradients(t, { labels }, { ignoreLabel: 255 });
      t.setAlpha(0.4);
      await expectGradients(t, { labels }, { ignoreLabel: 255 });
    }));
});

describe('a trainable network', () => {
  it('runs as its graph does, with running statistics', () =>
    withTrainable(sampleNetwork(shared), {}, async (t) => {
      await t.learn(images, count, { labels }, { ignoreLabel: 255 });
      const scores = await t.predict(images, count);
      const expected = await forward(compute, t.toGraph(), images, count);
      scores.forEach((v, i) => {
        expect(v).toBeCloseTo(expected[i]!, 4);
      });
    }));

  it('takes other patches between steps, and names that are none', () =>
    withTrainable(sampleNetwork(), {}, async (t) => {
      t.setPatches('r0', shared);
      expect(t.toGraph().nodes.find(({ name }) => name === 'r0')).toMatchObject({ patches: shared });
      const scores = await t.predict(images, count);
      const expected = await forward(compute, t.toGraph(), images, count);
      expect(Math.max(...scores.map((v, i) => Math.abs(v - expected[i]!)))).toBeLessThan(1e-4);
      t.setPatches('r0', undefined);
      expect(t.toGraph().nodes.find(({ name }) => name === 'r0')).not.toHaveProperty('patches');
      expect(() => t.setPatches('c0', shared)).toThrow(RangeError);
    }));

  it('gives the same gradients on one thread as on two', async () => {
    const single = await createCompute();
    const found: Float32Array[][] = [];
    for (const on of [compute, single]) {
      const t = await openTrainable(on, sampleNetwork(shared));
      await t.learn(images, count, { labels }, { ignoreLabel: 255 });
      found.push(t.parameters.map(({ gradient }) => gradient.slice()));
      t.close();
    }
    await single.close();
    expect(found[0]).toEqual(found[1]);
  });

  it('says which labels and lengths do not fit', () =>
    withTrainable(sampleNetwork(), {}, async (t) => {
      await expect(t.learn(images, count, { labels }, {})).rejects.toThrow('label 255 is none of 5 classes');
      await expect(t.learn(images, count, { labels: labels.subarray(1) }, {})).rejects.toThrow('23 labels');
      await expect(t.learn(images, count + 1, { labels }, {})).rejects.toThrow(RangeError);
      await expect(t.learn(images, count, {}, {})).rejects.toThrow('needs labels');
      await expect(t.learn(images, count, {}, { distillation: { weight: 1, temperature: 2 } })).rejects.toThrow('teacher');
    }));
});

describe.each([
  ['resnet8', [3, 32, 32]],
  ['resnet8-projection', [3, 32, 32]],
  ['digits', [1, 28, 28]],
] as const)('%s', (name, shape) => {
  it('learns pictures by heart, the same way for a seed, without its memory growing', async () => {
    const pictures = values(10 * sizeOf(shape), 5);
    const classes = Int32Array.from({ length: 10 }, (_, i) => i);
    const run = async (): Promise<{ loss: number; weights: Float32Array }> => {
      const t = await openTrainable(compute, buildArchitecture(name, { classes: 10, seed: 3 }));
      const sgd = createSgd(compute, t.parameters, { momentum: 0.9, nesterov: true, weightDecay: 1e-4, clipNorm: 5 });
      let [loss, peak] = [0, 0];
      for (let step = 0; step < 25; step++) {
        ({ loss } = await t.learn(pictures, 10, { labels: classes }, {}));
        await sgd.step(0.02);
        if (step === 0) peak = compute.memory.peakBytes;
      }
      expect(compute.memory.peakBytes).toBe(peak);
      const weights = t.parameters[0]!.values.slice();
      sgd.close();
      t.close();
      expect(compute.memory.usedBytes).toBe(0);
      return { loss, weights };
    };
    const first = await run();
    expect(first.loss).toBeLessThan(0.5);
    expect(await run()).toEqual(first);
  });
});

it('an architecture that is none is refused', () => {
  expect(() => buildArchitecture('resnet21', { classes: 10, seed: 1 })).toThrow('there is no architecture resnet21');
});
