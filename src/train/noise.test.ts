// Learning with the noise of fixed point.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import { sampleNetwork, shared } from '../../test/training.js';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { forward } from '../model/forward.js';
import type { TrainNetwork } from './network.js';
import { createSgd } from './sgd.js';
import { openTrainable, type Trainable, type TrainableOptions } from './trainable.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 2 });
});
afterAll(() => compute.close());

const count = 6;
const images = values(count * 2 * 8 * 8, 11);
const labels = Int32Array.from({ length: count * 4 }, (_, i) => (i % 7 === 0 ? 255 : (i * 3) % 5));

async function withTrainable(network: TrainNetwork, options: TrainableOptions, use: (t: Trainable) => Promise<void>): Promise<void> {
  const before = compute.memory.usedBytes;
  const trainable = await openTrainable(compute, network, options);
  await use(trainable);
  trainable.close();
  expect(compute.memory.usedBytes).toBe(before);
}

describe('noise', () => {
  const options = { noise: { ringBits: 20, ignoredBits: 2 }, seed: 4 };
  const learnTwice = async (t: Trainable): Promise<number[]> => {
    const losses: number[] = [];
    for (let i = 0; i < 2; i++) losses.push((await t.learn(images, count, { labels }, { ignoreLabel: 255 })).loss);
    return losses;
  };

  it('changes the loss a little, differently from step to step and the same way for a seed', async () => {
    let exact = 0;
    await withTrainable(sampleNetwork(shared), {}, async (t) => {
      [exact] = (await learnTwice(t)) as [number];
    });
    const found: number[][] = [];
    for (const seed of [4, 4, 5]) {
      await withTrainable(sampleNetwork(shared), { ...options, seed }, async (t) => {
        found.push(await learnTwice(t));
      });
    }
    expect(found[1]).toEqual(found[0]);
    expect(found[2]![1]).not.toBe(found[0]![1]);
    expect(found[0]![0]).not.toBe(found[0]![1]);
    for (const loss of found.flat()) expect(Math.abs(loss - exact)).toBeLessThan(0.1 * exact);
  });

  it('is that of the ring: the coarser, the fewer bits', async () => {
    const errors: number[] = [];
    for (const ringBits of [16, 20, 26]) {
      await withTrainable(sampleNetwork(), { batchNorm: 'frozen' }, async (plain) => {
        const expected = plain.toGraph();
        await withTrainable(sampleNetwork(), { batchNorm: 'frozen', noise: { ringBits, truncation: false } }, async (t) => {
          const { loss } = await t.learn(images, count, { labels }, { ignoreLabel: 255 });
          const { loss: exact } = await plain.learn(images, count, { labels }, { ignoreLabel: 255 });
          errors.push(Math.abs(loss - exact));
          expect(t.toGraph()).toEqual(expected);
        });
      });
    }
    expect(errors[0]).toBeGreaterThan(errors[1]!);
    expect(errors[1]).toBeGreaterThan(errors[2]!);
    expect(errors[2]).toBeLessThan(1e-2);
  });

  it('leaves scores exact, and learning with it goes on from a checkpoint as without a break', async () => {
    const run = async (t: Trainable, steps: number): Promise<void> => {
      const sgd = createSgd(compute, t.parameters, { momentum: 0, nesterov: false, weightDecay: 0 });
      for (let i = 0; i < steps; i++) {
        await t.learn(images, count, { labels }, { ignoreLabel: 255 });
        await sgd.step(0.01);
      }
      sgd.close();
    };
    await withTrainable(sampleNetwork(), options, async (whole) => {
      await run(whole, 3);
      const scores = await whole.predict(images, count);
      const expected = await forward(compute, whole.toGraph(), images, count);
      expect(Math.max(...scores.map((v, i) => Math.abs(v - expected[i]!)))).toBeLessThan(1e-4);
      await withTrainable(sampleNetwork(), options, async (first) => {
        await run(first, 1);
        await withTrainable(sampleNetwork(), options, async (second) => {
          const arrays = (t: Trainable) => [...t.parameters, ...t.states];
          for (const [i, { values: to }] of arrays(second).entries()) to.set(arrays(first)[i]!.values);
          await run(second, 2);
          expect(second.toGraph()).toEqual(whole.toGraph());
        });
      });
    });
  });
});
