import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Patch } from '../model/program.js';
import { blocksOf, candidateKinds, candidatePatches, fitsMap, joinCandidates, mostElements, seedPatches } from './candidates.js';

const side = fc.integer({ min: 1, max: 70 });
const blocks = { constant: false };

/** By the definition: every patch that fits and that no other one dominates. */
function plainCandidates(height: number, width: number): Patch[] {
  const all: Patch[] = [];
  for (let h = 1; h <= height; h++) for (let w = 1; w <= width; w++) if (h * w <= mostElements) all.push([h, w]);
  const parts = (length: number, size: number): number => Math.ceil(length / size);
  const dominates = (a: Patch, b: Patch): boolean =>
    a !== b && a[0] <= b[0] && a[1] <= b[1] && parts(height, a[0]) === parts(height, b[0]) && parts(width, a[1]) === parts(width, b[1]);
  return all.filter((b) => !all.some((a) => dominates(a, b)));
}

describe('candidate patches', () => {
  it('are those that fit and are not dominated', () => {
    const small = fc.integer({ min: 1, max: 20 });
    fc.assert(
      fc.property(small, small, (height, width) => {
        expect(candidatePatches(height, width, blocks)).toEqual(plainCandidates(height, width));
      }),
      { numRuns: 40 },
    );
  });

  it('number 9 on a 4 × 4 map, 25 on 8 × 8, 49 on 16 × 16, 116 on 32 × 32', () => {
    expect([4, 8, 16, 32].map((n) => candidatePatches(n, n, blocks).length)).toEqual([9, 25, 49, 116]);
    expect(
      candidatePatches(4, 4, blocks)
        .map((p) => p.join('x'))
        .join(' '),
    ).toBe('1x1 1x2 1x4 2x1 2x2 2x4 4x1 4x2 4x4');
  });

  it('fit their map, begin with plain ReLU and end with identity and zero', () => {
    fc.assert(
      fc.property(side, side, fc.constantFrom(...candidateKinds), (height, width, kind) => {
        const patches = candidatePatches(height, width, { kind });
        expect(patches[0]).toEqual([1, 1]);
        expect(patches.slice(-2)).toEqual([
          [0, 1],
          [1, 0],
        ]);
        for (const patch of patches) expect(fitsMap(patch, height, width)).toBe(true);
        if (kind === 'square') for (const [h, w] of patches.slice(0, -2)) expect(h).toBe(w);
        expect(new Set(patches.map(String)).size).toBe(patches.length);
      }),
    );
  });

  it('share comparisons as counted by tiling the map', () => {
    expect(blocksOf([4, 4], 7, 9)).toBe(2 * 3);
    expect([blocksOf([0, 1], 7, 9), blocksOf([1, 0], 7, 9)]).toEqual([0, 0]);
    expect(fitsMap([8, 1], 7, 9)).toBe(false);
  });

  it("of the paper's lists number 101, 80, 25 and 9 on maps of 64, 32, 8 and 4, identity and zero among them", () => {
    expect([64, 32, 8, 4].map((n) => seedPatches(n, n).length + 2)).toEqual([101, 80, 25, 9]);
    const has = (n: number, h: number, w: number): number => seedPatches(n, n).filter((patch) => patch[0] === h && patch[1] === w).length;
    expect([has(28, 7, 7), has(32, 12, 4), has(32, 4, 12), has(32, 32, 32), has(56, 14, 12)]).toEqual([2, 1, 0, 1, 2]);
    expect(candidatePatches(28, 28, { kind: 'seed' })).toHaveLength(79);
  });

  it('of the lists for the next larger maps are cut to a map that has none', () => {
    expect(seedPatches(3, 4).map(String)).toEqual(['1,1', '1,2', '2,1', '2,2', '2,4', '3,2', '3,4']);
    expect(seedPatches(600, 600)).toEqual(seedPatches(512, 512));
  });

  it('of several maps are joined without repeats', () => {
    const joined = joinCandidates([candidatePatches(4, 4), candidatePatches(8, 8)]);
    expect(joined.length).toBe(27);
    expect(joined.slice(-2).map(String)).toEqual(['0,1', '1,0']);
  });
});
