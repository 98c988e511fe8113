// Windows that ignore bits: how often the three parties take a sign wrong, beside the simulation's draw and the formula.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSequence } from '../../src/data/generated.js';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { Patch, ReluStep } from '../../src/model/program.js';
import { simulate } from '../../src/model/simulate.js';
import { noWeights, runSmall, smallProgram } from './harness.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 1 });
});
afterAll(() => compute.close());

/** Maps of 4 × 4 with the same value pattern; their number makes shares precise to 1 / √(maps). */
const maps = 1500;
const shape = [maps, 4, 4];

function programOf(step: Partial<ReluStep>, patch: Patch) {
  const base: ReluStep = { kind: 'relu', name: 'r', input: 0, output: 1, truncateBits: 4, window: { low: 7, high: 16 } };
  const patches = patch.join() === '1,1' ? {} : { patches: new Array<Patch>(maps).fill(patch) };
  return smallProgram(shape, [{ ...base, ...step, ...patches }], [shape]);
}

/** How often each outcome of a map occurs: its sixteen results. */
async function outcomes(program: ReturnType<typeof programOf>, values: readonly number[]) {
  const input = Array.from({ length: maps }, () => values).flat();
  const secure = await runSmall(compute, program, noWeights, input);
  const random = createSequence(5);
  const { output } = await simulate(compute, program, noWeights, Int32Array.from(input), 1, { random });
  return { secure, simulated: Array.from(output, Number) };
}

/** A spread of six standard deviations around the share `p` of independent trials: 2 in 10⁹ fall outside. */
const spread = (p: number, trials: number): number => 6 * Math.sqrt((p * (1 - p)) / trials) + 1e-9;

function expectShare(results: readonly number[], wanted: (value: number, i: number) => boolean, p: number, trials = results.length): void {
  const share = results.filter(wanted).length / results.length;
  expect(Math.abs(share - p), `${share} of ${p}`).toBeLessThanOrEqual(spread(p, trials));
}

describe('signs from a window that ignores low bits', () => {
  it.each([-1, -16, -40, -64, -100, -127, -128, -129, 0, 5])('of single values: %i passes with the chance of the formula', async (y) => {
    const results = await outcomes(programOf({}, [1, 1]), new Array<number>(16).fill(y));
    const chance = y >= 0 ? 1 : Math.max(0, 1 + y / 128);
    const passed = [Math.floor(y / 16), Math.floor(y / 16) + 1];
    for (const list of [results.secure, results.simulated]) {
      // What truncates to 0 looks the same passed or not.
      if (!passed.includes(0)) expectShare(list, (v) => v !== 0, chance);
      expect(list.every((v) => v === 0 || passed.includes(v))).toBe(true);
    }
  });

  it('rounds and judges with one mask: a value that passes is rounded up less often than chance', async () => {
    const { secure, simulated } = await outcomes(programOf({ window: { low: 5, high: 16 } }, [1, 1]), new Array<number>(16).fill(-24));
    // Mask in [0, 32): it passes from 24 on, and 24 … 31 are 8 … 15 in the low four bits, where −24 rounds up to −1.
    for (const list of [secure, simulated]) {
      expectShare(list, (v) => v === -1, 8 / 32);
      expect(list.includes(-2)).toBe(false);
    }
  });

  it.each([
    [[2, 2], -10],
    [[2, 2], -25],
    [[4, 4], -6],
    [[3, 3], -9],
  ] as const)('of patches %j of values %i: the parties and the simulation agree', async (patch, y) => {
    const { secure, simulated } = await outcomes(programOf({}, patch), new Array<number>(16).fill(y));
    const first = (list: readonly number[]): number[] => list.filter((_, i) => i % 16 === 0);
    for (const value of new Set([...first(secure), ...first(simulated)])) {
      const shares = [secure, simulated].map((list) => first(list).filter((v) => v === value).length / maps);
      const mean = (shares[0]! + shares[1]!) / 2;
      expect(Math.abs(shares[0]! - shares[1]!), `${value}: ${shares}`).toBeLessThanOrEqual(Math.SQRT2 * spread(mean, maps));
    }
  });
});

describe('values that leave the window', () => {
  it('wrap round, alike for the parties and the simulation', async () => {
    const program = programOf({ window: { low: 4, high: 10 } }, [1, 1]);
    const values = [400, 511, 512 + 40, 1000, 1024 + 40, -400, -512 - 40, -1000, 100, -100, 3000, -3000, 17, 33, 49, 65];
    const { secure, simulated } = await outcomes(
      program,
      values.map((v) => 16 * Math.round(v / 16)),
    );
    expect(secure).toEqual(simulated);
    expect(secure.slice(0, 16).filter((v) => v !== 0).length).toBeGreaterThan(3);
  });

  it('also with a cap, and under patches', async () => {
    for (const patch of [
      [1, 1],
      [2, 2],
    ] as const) {
      const program = programOf({ window: { low: 4, high: 12 }, cap: 160 }, patch);
      const values = Array.from({ length: 16 }, (_, i) => 16 * ((i * 37) % 41) - 240);
      const { secure, simulated } = await outcomes(program, values);
      expect(secure).toEqual(simulated);
    }
  });
});
