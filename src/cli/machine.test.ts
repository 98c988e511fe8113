import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkProgram } from '../model/check.js';
import { fitRates } from './machine.js';
import { sampleModel } from './sample-model.js';

describe('rates fitted to samples', () => {
  it('are those the samples were made with', () => {
    const rate = fc.double({ min: 1e-9, max: 1e-6, noNaN: true });
    fc.assert(
      fc.property(fc.tuple(rate, rate, rate), fc.array(fc.tuple(fc.nat(9), fc.nat(9)), { minLength: 8, maxLength: 20 }), (rates, grid) => {
        const corners = [[0, 0], [9, 0], [0, 9], ...grid];
        const features = corners.map(([a, b]) => [1000, 1000 * a!, 1000 * b!]);
        const samples = features.map((own) => ({ features: own, seconds: own.reduce((sum, f, i) => sum + f * rates[i]!, 0) }));
        for (const [i, fitted] of fitRates(samples, 3).entries()) expect(fitted / rates[i]!).toBeCloseTo(1, 2);
      }),
      { numRuns: 30 },
    );
  });

  it('are never below 0, and 0 where nothing takes time', () => {
    const falling = [1, 2, 3].map((size) => ({ features: [1, size], seconds: 4 - size }));
    expect(Math.min(...fitRates(falling, 2))).toBeGreaterThanOrEqual(0);
    expect(fitRates([{ features: [1, 5], seconds: 0 }], 2)).toEqual([0, 0]);
  });
});

describe('the sample network', () => {
  it.each([16, 20, 24, 32, 40, 64])('has every kind of step, in a ring of %d bits', async (ringBits) => {
    const { program, weights } = (await sampleModel(ringBits)).compiled;
    checkProgram(program);
    const kinds = new Set(program.steps.map((step) => step.kind));
    for (const kind of ['linear', 'relu', 'truncate', 'maxpool', 'sumpool', 'add', 'concat', 'view', 'resample'])
      expect(kinds).toContain(kind);
    expect(program.ringBits).toBe(ringBits);
    expect(weights.layers).toHaveLength(program.steps.filter((step) => step.kind === 'linear').length);
  });
});
