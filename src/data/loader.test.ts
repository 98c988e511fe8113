import { describe, expect, it } from 'vitest';
import { DataError } from '../errors.js';
import { type Batch, createLoader, type Examples, type LoaderOptions, shuffledOrder } from './loader.js';

const count = 10;
/** Picture i is 2 × 2 grey pixels of value i; its label is i. */
function numbered(reads: number[] = []): Examples {
  return {
    count,
    shape: [1, 2, 2],
    names: Array.from({ length: count }, (_, i) => `p${i}`),
    labels: Array.from({ length: count }, (_, i) => i),
    preprocessing: { mean: [0], std: [1 / 255], channels: 'gray' },
    item: async (index) => {
      reads.push(index);
      return { width: 2, height: 2, channels: 1, pixels: new Uint8Array(4).fill(index) };
    },
  };
}

const options: LoaderOptions = { batchSize: 3, augmentation: {}, seed: 5, classes: count };

async function labelsOf(epoch: number, loaderOptions = options): Promise<number[]> {
  const loader = createLoader(numbered(), loaderOptions);
  const labels: number[] = [];
  for (let step = 0; step < loader.stepsPerEpoch; step++) labels.push(...(await loader.batch(epoch, step)).labels!);
  return labels;
}

const copy = ({ images, labels }: Batch) => [[...images], [...labels!]];

describe('training batches', () => {
  it('go through the pictures in another order each epoch, the same for the same seed, labels with their pictures', async () => {
    const loader = createLoader(numbered(), options);
    const { images, labels } = await loader.batch(0, 0);
    expect([...images].map(Math.round)).toEqual([...labels!].flatMap((label) => [label, label, label, label]));
    const [first, second] = [await labelsOf(0), await labelsOf(1)];
    expect(new Set(first).size).toBe(9);
    expect(first).not.toEqual(second);
    expect(await labelsOf(0)).toEqual(first);
    expect(await labelsOf(0, { ...options, seed: 6 })).not.toEqual(first);
    expect([...shuffledOrder(1000, 1, 2)].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  });

  it('are the same wherever a run begins, augmentation included', async () => {
    const augmented = { ...options, augmentation: { crop: 1, flip: true, cutout: 1, colour: 0.5 } };
    const through = createLoader(numbered(), augmented);
    await through.batch(0, 0);
    await through.batch(0, 1);
    const third = copy(await through.batch(0, 2));
    const next = copy(await through.batch(1, 0));
    const jumped = createLoader(numbered(), augmented);
    expect(copy(await jumped.batch(0, 2))).toEqual(third);
    expect(copy(await jumped.batch(1, 0))).toEqual(next);
    expect(copy(await jumped.batch(0, 2))).toEqual(third);
  });

  it('stay as they are while the next one is made', async () => {
    const loader = createLoader(numbered(), options);
    const batch = await loader.batch(0, 0);
    const before = copy(batch);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(copy(batch)).toEqual(before);
  });

  it('read each picture once while there is room, and again where there is none', async () => {
    for (const [memoryBytes, expected] of [
      [1000, 10],
      [0, 18],
    ] as const) {
      const reads: number[] = [];
      const loader = createLoader(numbered(reads), { ...options, memoryBytes });
      for (let epoch = 0; epoch < 4; epoch++) for (let step = 0; step < 3; step++) await loader.batch(epoch, step);
      if (memoryBytes > 0) expect(new Set(reads).size).toBe(reads.length);
      expect(reads.length).toBeGreaterThanOrEqual(expected);
    }
  });

  it('shrink to the size of a small set', async () => {
    const loader = createLoader(numbered(), { ...options, batchSize: 64 });
    expect([loader.batchSize, loader.stepsPerEpoch]).toEqual([10, 1]);
  });

  it('report a picture that cannot be read when its turn comes', async () => {
    const failing: Examples = {
      ...numbered(),
      item: async (index) => {
        if (index === 7) throw new DataError('p7 is broken', { code: 'bad-picture', where: 'p7' });
        return numbered().item(index);
      },
    };
    const loader = createLoader(failing, { ...options, batchSize: 1 });
    const step = [...shuffledOrder(count, 5, 0)].indexOf(7);
    for (let i = 0; i < step; i++) await loader.batch(0, i);
    await expect(loader.batch(0, step)).rejects.toThrow('p7 is broken');
  });

  it('carry a class for each pixel, with what lies outside ignored, and refuse classes that are none', async () => {
    const { labels: _, ...unlabelled } = numbered();
    const annotated: Examples = { ...unlabelled, ignore: 9, annotation: async (index) => Uint8Array.of(index % 5, 1, 2, 9) };
    const loader = createLoader(annotated, { ...options, classes: 5, augmentation: { crop: 2 } });
    const { labels } = await loader.batch(0, 0);
    expect(loader.ignoreLabel).toBe(9);
    expect(labels!.length).toBe(3 * 4);
    expect([...labels!].every((label) => label < 5 || label === 9)).toBe(true);
    const refused = createLoader(annotated, { ...options, classes: 2 });
    await expect(refused.batch(0, 0)).rejects.toMatchObject({ code: 'bad-label' });
    const small = createLoader({ ...annotated, annotation: async () => Uint8Array.of(1) }, options);
    await expect(small.batch(0, 0)).rejects.toMatchObject({ code: 'bad-annotation' });
  });
});
