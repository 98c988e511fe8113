import { describe, expect, it } from 'vitest';
import { DataError } from '../errors.js';
import { parseAugmentation, parseRecipe } from './recipe.js';
import { defaultSchedule, learningRateAt, softStartAlpha } from './schedule.js';

describe('the learning rate', () => {
  const total = 100;
  it('rises over the warm-up, then falls along half a cosine to 0', () => {
    const rates = Array.from({ length: total }, (_, step) => learningRateAt(defaultSchedule, 0.4, step, total, 10));
    expect(rates[0]).toBeCloseTo(0.4 / 11);
    expect(rates[10]).toBeCloseTo(0.4);
    expect(rates[55]).toBeCloseTo(0.2);
    expect(rates[99]).toBeLessThan(0.001);
    for (let i = 1; i <= 10; i++) expect(rates[i]).toBeGreaterThan(rates[i - 1]!);
    for (let i = 11; i < total; i++) expect(rates[i]).toBeLessThan(rates[i - 1]!);
  });

  it('falls in steps, or stays', () => {
    const steps = { ...defaultSchedule, kind: 'step' as const };
    expect([0, 49, 50, 74, 75].map((step) => learningRateAt(steps, 1, step, total, 0))).toEqual(
      [1, 1, 0.1, 0.1, 0.01].map((rate) => expect.closeTo(rate, 9)),
    );
    expect(learningRateAt({ ...defaultSchedule, kind: 'constant' }, 0.3, 99, total, 0)).toBe(0.3);
  });

  it('goes with a soft start that ends where it should', () => {
    expect([0, 5, 10, 20].map((step) => softStartAlpha(step, 10))).toEqual([1, 0.5, 0, 0]);
    expect(softStartAlpha(0, 0)).toBe(0);
  });
});

describe('recipes', () => {
  const recipe = { schema: 'tessera/recipe@1', architecture: 'digits', epochs: 3, batchSize: 64, learningRate: 0.1 };

  it('are read with their defaults', () => {
    expect(parseRecipe(JSON.stringify(recipe), 'r.json')).toMatchObject({ momentum: 0.9, weightDecay: 0, schedule: { kind: 'cosine' } });
  });

  it('are refused with the key that is wrong', () => {
    for (const [change, key] of [
      [{ epochs: 0 }, 'epochs'],
      [{ learningrate: 1 }, 'learningrate'],
      [{ schedule: { kind: 'linear' } }, 'schedule.kind'],
      [{ augmentation: { crop: -1 } }, 'augmentation.crop'],
    ] as const) {
      expect(() => parseRecipe(JSON.stringify({ ...recipe, ...change }), 'r.json')).toThrow(new RegExp(`r.json is not a recipe: ${key}`));
    }
    expect(() => parseRecipe('{', 'r.json')).toThrow(DataError);
  });

  it('have augmentations that flags can say', () => {
    expect(parseAugmentation('crop=4,flip,cutout=8,colour=0.2')).toEqual({ crop: 4, flip: true, cutout: 8, colour: 0.2 });
    expect(parseAugmentation('none')).toEqual({});
    for (const text of ['crop', 'flip=2', 'blur', 'crop=-1', '']) expect(() => parseAugmentation(text)).toThrow(RangeError);
  });
});
