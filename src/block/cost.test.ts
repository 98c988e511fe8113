import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Patch, Program } from '../model/program.js';
import { masked } from '../protocol/masked/suite.js';
import { predictSeconds } from '../protocol/timing.js';
import { candidatePatches } from './candidates.js';
import { bytesMeter, costsFrom, secondsMeter } from './cost.js';

const channels = 12;

function program(patches: readonly Patch[] | undefined, height: number, width: number, cap?: number): Program {
  const shape = [channels, height, width];
  return {
    schema: 'tessera/program@1',
    ringBits: 29,
    tensors: [
      { shape, scale: 2 ** 12 },
      { shape, scale: 2 ** 5 },
    ],
    input: 0,
    output: 1,
    outputActivation: 'none',
    steps: [
      {
        kind: 'relu',
        name: 'relu',
        input: 0,
        output: 1,
        truncateBits: 7,
        window: { low: 7, high: 21 },
        ...(cap === undefined ? {} : { cap }),
        ...(patches === undefined ? {} : { patches }),
      },
    ],
  };
}

const specs = fc.tuple(fc.integer({ min: 1, max: 11 }), fc.integer({ min: 1, max: 11 })).chain(([height, width]) => {
  const patch = fc.constantFrom(...candidatePatches(height, width));
  return fc.record({
    height: fc.constant(height),
    width: fc.constant(width),
    patches: fc.array(patch, { minLength: channels, maxLength: channels }),
    cap: fc.constantFrom(undefined, 2 ** 14),
  });
});

/** Roundings up to a byte of one step's messages, at most: planes, tables and words of a comparison. */
const mostParts = 80;

describe('cost of patches', () => {
  for (const phase of ['offline', 'online', 'total'] as const) {
    it(`bytes, ${phase}: differences are the estimate's but for the rounding of each packed part to a byte`, () => {
      const meter = bytesMeter(masked, phase);
      fc.assert(
        fc.property(specs, ({ height, width, patches, cap }) => {
          const plain = program(undefined, height, width, cap);
          const spec = program(patches, height, width, cap);
          const costOf = costsFrom(meter, [plain], ['relu']);
          const place = { layer: 0, height, width };
          const saved = patches.reduce((sum, patch) => sum + costOf(place, [1, 1]) - costOf(place, patch), 0);
          // A step without a comparison or an element sends fewer messages: at most five labels less.
          const difference = meter.whole(plain) - meter.whole(spec) - saved;
          expect(Math.abs(difference)).toBeLessThanOrEqual(mostParts + 5 * 16);
          const kept = patches.some(([h, w]) => h > 0 && w > 0);
          if (kept) expect(Math.abs(difference)).toBeLessThanOrEqual(mostParts);
        }),
      );
    });
  }

  it('of eight channels alike are whole bytes, and exact', () => {
    const meter = bytesMeter(masked, 'total');
    const costOf = costsFrom(meter, [program(undefined, 8, 8)], ['relu']);
    const all = (patch: Patch): number => meter.whole(program(new Array<Patch>(channels).fill(patch), 8, 8));
    const place = { layer: 0, height: 8, width: 8 };
    expect(all([1, 1]) - all([2, 2])).toBe(channels * (costOf(place, [1, 1]) - costOf(place, [2, 2])));
  });

  it('in seconds: the whole is what is predicted, a patch its bytes on the busiest link and the parties’ work', () => {
    const network = { bytesPerSecond: 1e6, roundTripSeconds: 0.01 };
    const work = { 'relu client online': [0, 1e-9, 1e-9, 0], 'relu server online': [1e-4, 1e-9, 0, 0] } as const;
    const machine = { message: { seconds: 0, secondsPerByte: 0 }, work };
    const plain = program(undefined, 8, 8);
    const spec = program(new Array<Patch>(channels).fill([4, 2]), 8, 8);
    const meter = secondsMeter(masked, 'online', network, machine, plain);
    expect(meter.whole(spec)).toBe(predictSeconds(spec, masked, 1, network, machine).online);
    const costOf = costsFrom(meter, [plain], ['relu']);
    const place = { layer: 0, height: 8, width: 8 };
    const saved = channels * (costOf(place, [1, 1]) - costOf(place, [4, 2]));
    const difference = meter.whole(plain) - meter.whole(spec);
    expect(difference).toBeGreaterThan(0);
    // One activation alone, step by step: nothing overlaps but what both directions carry, which the share counts once.
    expect(saved).toBeGreaterThan(0.4 * difference);
    expect(saved).toBeLessThan(1.1 * difference);
    expect(costOf(place, [1, 0])).toBe(0);
  });

  it('of a layer that no program has are refused', () => {
    expect(() => costsFrom(bytesMeter(masked, 'total'), [program(undefined, 2, 2)], ['other'])).toThrow(RangeError);
  });
});
