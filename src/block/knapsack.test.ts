import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../errors.js';
import { type Choices, costRange, solveKnapsack } from './knapsack.js';

type Group = readonly (readonly [cost: number, value: number])[];

function choicesOf(groups: readonly Group[]): Choices {
  const starts = new Uint32Array(groups.length + 1);
  groups.forEach((group, g) => {
    starts[g + 1] = starts[g]! + group.length;
  });
  const items = groups.flat();
  return { starts, costs: Float64Array.from(items, ([cost]) => cost), values: Float64Array.from(items, ([, value]) => value) };
}

/** Least sum of values within the budget, by trying everything. */
function bruteForce(groups: readonly Group[], budget: number): number {
  const [first, ...rest] = groups;
  if (first === undefined) return budget >= 0 ? 0 : Number.POSITIVE_INFINITY;
  return Math.min(...first.map(([cost, value]) => value + bruteForce(rest, budget - cost)));
}

/** Groups and a budget between the least and the most they can cost. */
function instances(item: fc.Arbitrary<readonly [number, number]>, groups: number, items: number) {
  const group = fc.array(item, { minLength: 1, maxLength: items });
  return fc.record({
    groups: fc.array(group, { minLength: 1, maxLength: groups }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  });
}

function budgetOf(groups: readonly Group[], share: number): number {
  const { least, most } = costRange(choicesOf(groups));
  return least + share * (most - least);
}

const small = fc.integer({ min: 0, max: 12 });
const large = fc.integer({ min: 0, max: 1_000_000 });
/** Not smaller than 2^-400: sums of the smallest doubles there are lose more than their last bits. */
const real = fc.double({ min: 0, max: 1, noNaN: true }).map((x) => (x < 2 ** -400 ? 0 : x));

describe('the multiple-choice knapsack', () => {
  for (const [kind, cost, value] of [
    ['few different numbers, many ties', small, small],
    ['large whole numbers', large, large],
    ['whole costs and real values', fc.integer({ min: 0, max: 64 }), real],
    ['negative numbers', fc.integer({ min: -20, max: 20 }), fc.integer({ min: -9, max: 9 })],
  ] as const) {
    it(`equals brute force: ${kind}`, () => {
      fc.assert(
        fc.property(instances(fc.tuple(cost, value), 6, 5), ({ groups, share }) => {
          const budget = budgetOf(groups, share);
          const solution = solveKnapsack(choicesOf(groups), budget);
          const expected = bruteForce(groups, Math.floor(budget));
          if (value === real) expect(solution.objective).toBeCloseTo(expected, 12);
          else expect(solution.objective).toBe(expected);
          expect(solution.gap).toBe(0);
          expect(solution.bound).toBe(solution.objective);
          expect(solution.cost).toBeLessThanOrEqual(budget);
        }),
        { numRuns: 400 },
      );
    });
  }

  it('equals brute force: real costs', () => {
    fc.assert(
      fc.property(instances(fc.tuple(real, real), 5, 5), ({ groups, share }) => {
        const budget = budgetOf(groups, share);
        const solution = solveKnapsack(choicesOf(groups), budget);
        // Rounding up may miss what keeps the budget to the last bits; with the least budget everything does.
        expect(solution.objective).toBeGreaterThanOrEqual(bruteForce(groups, budget * (1 + 1e-12)) - 1e-12);
        expect(solution.objective).toBeLessThanOrEqual(bruteForce(groups, budget * (1 - 1e-12)) + 1e-12);
        expect(solution.cost).toBeLessThanOrEqual(budget * (1 + 1e-14));
      }),
      { numRuns: 300 },
    );
  });

  it('answers with its choice: cost and objective are those of the items', () => {
    fc.assert(
      fc.property(instances(fc.tuple(large, real), 30, 8), ({ groups, share }) => {
        const { choice, cost, objective } = solveKnapsack(choicesOf(groups), budgetOf(groups, share));
        const chosen = groups.map((group, g) => group[choice[g]!]!);
        expect(chosen.reduce((sum, [c]) => sum + c, 0)).toBe(cost);
        expect(chosen.reduce((sum, [, v]) => sum + v, 0)).toBe(objective);
      }),
    );
  });

  it('with too little work allowed answers a valid choice, a gap and a bound below the optimum', () => {
    // Value = cost (subset sum) with costs that share a factor the budget lacks: bounds alone prove nothing.
    const groups = Array.from(
      { length: 40 },
      (_, g): Group => [
        [0, 2000 + 2 * g],
        [2000 + 2 * g, 0],
      ],
    );
    const budget = 41_001;
    const stopped = solveKnapsack(choicesOf(groups), budget, { workLimit: 10 });
    const solved = solveKnapsack(choicesOf(groups), budget);
    expect(solved.gap).toBe(0);
    expect(stopped.cost).toBeLessThanOrEqual(budget);
    expect(stopped.bound).toBeLessThanOrEqual(solved.objective);
    expect(stopped.objective).toBeGreaterThanOrEqual(solved.objective);
  });

  it('takes the least values where the budget binds nobody, and the cheapest of equal ones', () => {
    const groups: Group[] = [
      [
        [9, 1],
        [5, 1],
        [1, 3],
      ],
      [[2, 7]],
    ];
    expect(solveKnapsack(choicesOf(groups), 1e300)).toMatchObject({ cost: 7, objective: 8, gap: 0 });
    expect(solveKnapsack(choicesOf(groups), 3)).toMatchObject({ cost: 3, objective: 10, gap: 0 });
  });

  it('refuses a budget below the cheapest choice, and numbers that are none', () => {
    const groups: Group[] = [[[2, 1]], [[3, 1]]];
    expect(() => solveKnapsack(choicesOf(groups), 4.9)).toThrow(UsageError);
    expect(() => solveKnapsack(choicesOf(groups), Number.NaN)).toThrow(RangeError);
    expect(() => solveKnapsack(choicesOf([[[1, Number.NaN]]]), 4)).toThrow(RangeError);
    expect(() => solveKnapsack(choicesOf([[]]), 4)).toThrow(RangeError);
  });
});
