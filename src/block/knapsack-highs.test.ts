import loadHighs from 'highs';
import { expect, it } from 'vitest';
import { blocksOf, candidatePatches } from './candidates.js';
import { type Choices, costRange, solveKnapsack } from './knapsack.js';

/** Numbers in [0, 1) from a seed (xorshift). */
function createRandom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Channels of a small network: candidates of 16 × 16, 8 × 8 and 7 × 7 maps, whole values that grow with the patch. */
function network(channels: number, seed: number): Choices {
  const random = createRandom(seed);
  const groups = Array.from({ length: channels }, (_, c) => {
    const size = [16, 8, 7][c % 3]!;
    const scale = 1000 * Math.exp(3 * random());
    return candidatePatches(size, size).map((patch) => {
      const area = patch[0] * patch[1];
      return [blocksOf(patch, size, size), Math.round(scale * (area === 0 ? 400 : area - 1) * (0.7 + 0.6 * random()))] as const;
    });
  });
  const starts = new Uint32Array(channels + 1);
  groups.forEach((group, g) => {
    starts[g + 1] = starts[g]! + group.length;
  });
  const items = groups.flat();
  return { starts, costs: Float64Array.from(items, ([cost]) => cost), values: Float64Array.from(items, ([, value]) => value) };
}

/** The same as an integer programme in CPLEX' LP format; 0/1 variable x_j for item j. */
function asProgramme({ starts, costs, values }: Choices, budget: number): string {
  const sum = (weights: Float64Array): string => Array.from(weights, (w, j) => `${w} x${j}`).join('\n + ');
  const groups = Array.from({ length: starts.length - 1 }, (_, g) => {
    const items = Array.from({ length: starts[g + 1]! - starts[g]! }, (_, k) => `x${starts[g]! + k}`);
    return `g${g}: ${items.join('\n + ')} = 1`;
  });
  const binaries = Array.from(costs, (_, j) => `x${j}`).join('\n');
  return `Minimize\n obj: ${sum(values)}\nSubject To\n budget: ${sum(costs)} <= ${budget}\n${groups.join('\n')}\nBinary\n${binaries}\nEnd`;
}

it('finds what HiGHS finds: 90 channels, 2,500 items', async () => {
  // The package's types describe its CommonJS build; an ES module gets the function itself.
  const highs = await (loadHighs as unknown as typeof loadHighs.default)();
  for (const [seed, share] of [
    [1, 0.06],
    [2, 0.12],
    [3, 0.3],
    [4, 0.6],
  ] as const) {
    const choices = network(90, seed);
    const { least, most } = costRange(choices);
    const budget = Math.floor(least + share * (most - least));
    const solution = solveKnapsack(choices, budget);
    const reference = highs.solve(asProgramme(choices, budget), { mip_rel_gap: 0, mip_abs_gap: 0 });
    expect(reference.Status).toBe('Optimal');
    expect(solution.gap).toBe(0);
    expect(solution.objective).toBe(Math.round(reference.ObjectiveValue));
  }
});
