// What benchmarks that take hours stand on: results that outlive a kill, and uniform patches that keep a budget.
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { nearlyUniform } from '../bench/_chosen.js';
import { openKept } from '../bench/_kept.js';
import { dreluCost, fullCost } from '../src/block/select.js';

const folder = mkdtempSync(join(tmpdir(), 'tessera-kept-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('results that are kept', () => {
  it('are made once, found by another process, and lost alone where a kill cut them off', async () => {
    let made = 0;
    const make = async () => ++made;
    const first = await openKept(folder);
    expect(await first.once(['cell', { share: 0.12 }], make)).toBe(1);
    expect(await first.once(['cell', { share: 0.12 }], make)).toBe(1);
    appendFileSync(join(folder, 'finetuning.jsonl'), '{"from":["cell",{"share":0.06}],"res');
    const second = await openKept(folder);
    expect(second.find(['cell', { share: 0.12 }])).toBe(1);
    expect(second.find(['cell', { share: 0.06 }])).toBeUndefined();
    expect(await second.once(['cell', { share: 0.06 }], make)).toBe(2);
    expect((await openKept(folder)).find(['cell', { share: 0.06 }])).toBe(2);
  });
});

describe('uniform patches for a budget', () => {
  const shapes: [number, number, number][] = [
    [8, 32, 32],
    [16, 16, 16],
    [12, 7, 7],
  ];
  const meta = { schema: 'tessera/distortion@1', model: '', layers: ['a', 'b', 'c'], shapes } as never;
  const distortion = { meta, patches: [], values: new Float64Array(0) };
  const full = fullCost(distortion, dreluCost);

  it('keep it, and leave less of it than a channel of the largest maps costs', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.03, max: 1, noNaN: true }), (share) => {
        const { cost, patches } = nearlyUniform(distortion, Math.floor(share * full));
        expect(cost).toBeLessThanOrEqual(share * full);
        expect(cost).toBeGreaterThan(share * full - 32 * 32);
        expect(patches).toHaveLength(36);
      }),
      { numRuns: 50 },
    );
  });
});
