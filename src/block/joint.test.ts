// The joint knapsack against every choice there is.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSequence } from '../data/generated.js';
import { UsageError } from '../errors.js';
import { type JointLayer, solveJoint } from './joint.js';
import type { Choices } from './knapsack.js';

const choicesOf = (groups: readonly (readonly (readonly [cost: number, value: number])[])[]): Choices => {
  const starts = new Uint32Array(groups.length + 1);
  groups.forEach((group, g) => {
    starts[g + 1] = starts[g]! + group.length;
  });
  const items = groups.flat();
  return { starts, costs: Float64Array.from(items, ([cost]) => cost), values: Float64Array.from(items, ([, value]) => value) };
};

const item = fc.tuple(fc.nat(12), fc.integer({ min: -5, max: 30 }));
const group = fc.array(item, { minLength: 1, maxLength: 3 });
const layer = fc
  .nat({ max: 1 })
  .chain((more) => fc.array(fc.array(group, { minLength: 1 + more, maxLength: 1 + more }), { minLength: 1, maxLength: 3 }));
const problem = fc.record({ layers: fc.array(layer, { minLength: 1, maxLength: 3 }), budget: fc.nat(50) });

type Point = readonly [cost: number, value: number];

/** Every sum of a cost and a value there is. */
function everything(layers: readonly (readonly (readonly (readonly Point[])[])[])[]): Point[] {
  const add = (a: readonly Point[], b: readonly Point[]): Point[] => a.flatMap(([c, v]) => b.map(([d, w]): Point => [c + d, v + w]));
  return layers.reduce<Point[]>(
    (all, options) =>
      add(
        all,
        options.flatMap((groups) => groups.reduce<Point[]>((sums, own) => add(sums, own), [[0, 0]])),
      ),
    [[0, 0]],
  );
}

describe('the joint knapsack', () => {
  it('finds the best of all choices of options and items, and proves it', () => {
    fc.assert(
      fc.property(problem, fc.constantFrom(1, 0.37), ({ layers, budget }, unit) => {
        const scaled = layers.map((options) => options.map((groups) => groups.map((own) => own.map(([c, v]): Point => [c * unit, v]))));
        const joint: JointLayer[] = scaled.map((options) => options.map(choicesOf));
        const allowed = everything(layers).filter(([cost]) => cost <= budget);
        const limit = (budget + 0.5) * unit;
        if (allowed.length === 0) {
          expect(() => solveJoint(joint, limit)).toThrow(UsageError);
          return;
        }
        const solution = solveJoint(joint, limit);
        const best = Math.min(...allowed.map(([, value]) => value));
        expect(solution.objective).toBeCloseTo(best, 6);
        expect(solution.gap).toBe(0);
        expect(solution.cost).toBeLessThanOrEqual(limit);
        // The choice is what it says it costs and comes to.
        let at = 0;
        const chosen = joint.flatMap((options, l) => {
          const own = options[solution.options[l]!]!;
          return Array.from({ length: own.starts.length - 1 }, (_, g) => own.starts[g]! + solution.choice[at++]!).map(
            (i): Point => [own.costs[i]!, own.values[i]!],
          );
        });
        expect(chosen.reduce((sum, [c]) => sum + c, 0)).toBeCloseTo(solution.cost, 9);
        expect(chosen.reduce((sum, [, v]) => sum + v, 0)).toBeCloseTo(solution.objective, 9);
      }),
      { numRuns: 500 },
    );
  });

  it('states a bound that holds when it may look at one set of options alone', () => {
    fc.assert(
      fc.property(problem, ({ layers, budget }) => {
        const allowed = everything(layers).filter(([cost]) => cost <= budget);
        fc.pre(allowed.length > 0);
        const { bound, objective, gap } = solveJoint(
          layers.map((options) => options.map(choicesOf)),
          budget,
          { nodeLimit: 1 },
        );
        const best = Math.min(...allowed.map(([, value]) => value));
        expect(bound).toBeLessThanOrEqual(best + 1e-9);
        expect(objective).toBeGreaterThanOrEqual(best - 1e-9);
        if (gap === 0) expect(objective).toBeCloseTo(best, 6);
      }),
      { numRuns: 300 },
    );
  });

  it('comes close to the bound on an instance like a network: 19 layers, 12 windows, 688 channels, 60 patches', () => {
    const random = createSequence(4);
    const layers = Array.from({ length: 19 }, (_, l): JointLayer => {
      const channels = l < 7 ? 16 : l < 13 ? 32 : 64;
      const blocks = Array.from({ length: 60 }, () => 1 + Math.floor(random() ** 3 * (4096 / channels)));
      const scales = Array.from({ length: channels }, () => Math.exp(2 * random()));
      const harm = Math.exp(2 * random());
      return Array.from({ length: 12 }, (_, w) =>
        choicesOf(
          scales.map((scale) =>
            blocks.map((b): Point => [20 + b * (14 - 0.7 * w), scale * ((1000 / b) ** 0.7 + harm * (2 ** w / 40) * Math.sqrt(b))]),
          ),
        ),
      );
    });
    const full = layers.reduce((sum, [plain]) => sum + plain!.costs.reduce((a, c) => a + c, 0) / 60, 0);
    const solution = solveJoint(layers, 0.4 * full);
    expect(solution.gap).toBeLessThan(2e-3);
    expect(solution.bound).toBeLessThanOrEqual(solution.objective);
  });
});
