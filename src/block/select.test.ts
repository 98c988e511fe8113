import { describe, expect, it } from 'vitest';
import { createSequence } from '../data/generated.js';
import { UsageError } from '../errors.js';
import { candidatePatches, fitsMap, joinCandidates } from './candidates.js';
import { channelRows, type Distortion } from './distortion-file.js';
import { dreluCost, fullCost, keptByLayer, selectByLayer, selectOptimal, selectUniform, shuffle, toSpec } from './select.js';

const shapes: [number, number, number][] = [
  [6, 8, 8],
  [10, 4, 4],
];
const patches = joinCandidates(shapes.map(([, height, width]) => candidatePatches(height, width)));

/** Distortion grows with the patch, by a factor of the channel's own. */
function sample(seed: number): Distortion {
  const random = createSequence(seed);
  const meta: Distortion['meta'] = {
    schema: 'tessera/distortion@1',
    model: '0'.repeat(64),
    method: 'linear',
    samples: 1,
    probes: 1,
    seed,
    version: '0',
    layers: ['a', 'b'],
    shapes,
  };
  const values = channelRows(meta).flatMap(({ height, width }) => {
    const scale = Math.exp(4 * random());
    return patches.map((patch) => {
      if (!fitsMap(patch, height, width)) return Number.NaN;
      const area = patch[0] * patch[1];
      return scale * (area === 0 ? 100 : area - 1) * (0.9 + 0.2 * random());
    });
  });
  return { meta, patches, values: Float64Array.from(values) };
}

const costOf = (distortion: Distortion, chosen: readonly (readonly [number, number])[]): number =>
  keptByLayer(distortion, chosen).reduce((sum, { kept }) => sum + kept, 0);

describe('choosing patches', () => {
  const distortion = sample(5);
  const full = 6 * 64 + 10 * 16;

  it('spends a budget of 100 % on plain ReLUs alone', () => {
    expect(fullCost(distortion, dreluCost)).toBe(full);
    const { patches: chosen, objective, cost } = selectOptimal(distortion, dreluCost, full);
    expect(objective).toBe(0);
    expect(cost).toBe(full);
    expect(new Set(chosen.map(String))).toEqual(new Set(['1,1']));
  });

  it('is never worse than one patch for all, one a layer, or its own patches shuffled', () => {
    for (const seed of [1, 2, 3]) {
      const d = sample(seed);
      for (const uniform of [
        [2, 2],
        [2, 4],
        [4, 4],
      ] as const) {
        const same = selectUniform(d, dreluCost, uniform);
        const optimal = selectOptimal(d, dreluCost, same.cost);
        const byLayer = selectByLayer(d, dreluCost, same.cost);
        const shuffled = shuffle(d, dreluCost, optimal, createSequence(seed));
        expect(optimal.solution.gap).toBe(0);
        expect(costOf(d, optimal.patches)).toBe(optimal.cost);
        expect(optimal.cost).toBeLessThanOrEqual(same.cost);
        expect(byLayer.cost).toBeLessThanOrEqual(same.cost);
        expect(shuffled.cost).toBe(optimal.cost);
        expect(optimal.objective).toBeLessThanOrEqual(byLayer.objective * (1 + 1e-12));
        // Sums in another order differ in their last bits.
        expect(byLayer.objective).toBeLessThanOrEqual(same.objective! * (1 + 1e-12));
        expect(optimal.objective).toBeLessThanOrEqual(shuffled.objective!);
      }
    }
  });

  it('cuts a uniform patch to the map, and states no distortion for a patch that was not measured', () => {
    const { patches: chosen, objective } = selectUniform(distortion, dreluCost, [8, 8]);
    expect(chosen[0]).toEqual([8, 8]);
    expect(chosen[15]).toEqual([4, 4]);
    expect(objective).toBeGreaterThan(0);
    expect(selectUniform(distortion, dreluCost, [5, 5]).objective).toBeUndefined();
    expect(selectUniform(distortion, dreluCost, [0, 1])).toMatchObject({ cost: 0 });
  });

  it('refuses a budget below the least cost', () => {
    expect(() => selectOptimal(distortion, dreluCost, -1)).toThrow(UsageError);
  });

  it('becomes a spec with a list of patches a layer', () => {
    const spec = toSpec(distortion, selectUniform(distortion, dreluCost, [2, 2]).patches, { budget: '25%' });
    expect(spec.schema).toBe('tessera/spec@1');
    expect(Object.keys(spec.layers)).toEqual(['a', 'b']);
    expect(spec.layers.b).toEqual(new Array(10).fill([2, 2]));
  });
});
