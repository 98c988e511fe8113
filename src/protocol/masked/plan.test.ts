import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { combiner, comparisonBits, planComparison } from './plan.js';

/** The number of shared products for d digits in one level, as the protocol notes count them. */
const productFormula = (d: number): number =>
  2 ** (d - 1) - d + Array.from({ length: d - 1 }, (_, i) => 2 ** (i + 1) - 1).reduce((a, b) => a + b, 0);

describe('combiner', () => {
  it('deals as many products as the formula says', () => {
    for (let d = 1; d <= 5; d++) expect(combiner(d, false).products.length).toBe(productFormula(d));
  });

  it('its polynomials are "less than" and "equal" of the digits, for every mask and every digit comparison', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.nat(), fc.nat(), fc.boolean(), (d, bits, maskBits, needsEqual) => {
        const plan = combiner(d, needsEqual);
        const mask = Array.from({ length: plan.masks }, (_, i) => (maskBits >> i) & 1);
        const secret = Array.from({ length: plan.masks }, (_, i) => (bits >> i) & 1);
        const opened = secret.map((bit, i) => bit ^ mask[i]!);
        const value = (terms: typeof plan.less) =>
          terms.reduce((sum, { opened: planes, product }) => {
            const inProduct = mask.filter((_, i) => (product >> i) & 1).every(Boolean) ? 1 : 0;
            return sum ^ (planes.every((i) => opened[i]) ? inProduct : 0);
          }, 0);
        const eq = secret.slice(0, plan.alphas);
        const lt = secret.slice(plan.alphas);
        const less = lt.reduce((sum, bit, j) => sum ^ (eq.slice(0, j).every(Boolean) ? bit : 0), 0);
        expect(value(plan.less)).toBe(less);
        if (needsEqual) expect(value(plan.equal)).toBe(eq.every(Boolean) ? 1 : 0);
      }),
    );
  });
});

describe('planComparison', () => {
  it('covers every window from 1 to 64 bits with digits of at most 5 bits, in groups of at most 4', () => {
    for (let bits = 1; bits <= 64; bits++) {
      const plan = planComparison(bits);
      const digits = plan.groups.flat();
      expect(digits.reduce((a, b) => a + b, 0)).toBe(bits - 1);
      expect(Math.max(0, ...digits)).toBeLessThanOrEqual(5);
      if (plan.second) expect(Math.max(plan.groups.length, ...plan.groups.map((group) => group.length))).toBeLessThanOrEqual(4);
      expect(plan.second === undefined).toBe(plan.groups.length <= 1);
    }
  });

  it('never costs more for a narrower window', () => {
    for (let bits = 3; bits <= 64; bits++)
      expect(comparisonBits(planComparison(bits))).toBeGreaterThanOrEqual(comparisonBits(planComparison(bits - 1)));
  });
});
