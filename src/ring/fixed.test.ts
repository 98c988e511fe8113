import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DataError } from '../errors.js';
import { decodeFixed, encodeFixed } from './fixed.js';

describe('fixed point', () => {
  it('comes back within half a unit', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -100, max: 100, noNaN: true })), fc.integer({ min: 0, max: 16 }), (values, bits) => {
        const back = decodeFixed(encodeFixed(values, 2 ** bits, 32), 2 ** bits);
        values.forEach((v, i) => {
          expect(Math.abs(back[i]! - v)).toBeLessThanOrEqual(0.5 / 2 ** bits + 1e-5);
        });
      }),
    );
  });

  it('refuses what does not fit, and what is no number', () => {
    for (const value of [64, -64, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => encodeFixed([0, value], 2 ** 8, 16)).toThrow(DataError);
    expect(encodeFixed([63.9, -63.9], 2 ** 8, 16)).toEqual(Int32Array.of(16358, -16358));
  });
});
