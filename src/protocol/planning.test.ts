import { describe, expect, it } from 'vitest';
import { smallNetwork } from '../../test/leakage/networks.js';
import { checkProgram } from '../model/check.js';
import { suites } from '../party/session.js';
import { estimate } from './estimate.js';
import { isPlanned, planProgram, withComparisons } from './planning.js';
import { type MachineRates, predictSeconds } from './timing.js';

// In a ring of 24 bits, windows are narrow enough for two digits.
const { program } = smallNetwork(8, 4, 24);
const masked = suites.masked!;
const idle: MachineRates = { message: { seconds: 0, secondsPerByte: 0 }, work: {} };
const far = { bytesPerSecond: 1e12, roundTripSeconds: 1 };
const thin = { bytesPerSecond: 1e3, roundTripSeconds: 1e-6 };
const tripsOf = (planned: typeof program) =>
  planned.steps.flatMap((step) => (step.kind === 'relu' || step.kind === 'maxpool' ? [step.comparison?.roundTrips] : []));

describe('the plan of a program', () => {
  it('is one round trip for each comparison where round trips are what takes time, and the rounds halve', () => {
    const planned = planProgram(program, masked, far, idle);
    checkProgram(planned.program);
    // All bits of the values of the max pool are compared: more than two tables can hold.
    expect(tripsOf(planned.program)).toEqual([undefined, 1, 1, 1]);
    expect(estimate(planned.program, masked).online.rounds).toBe(estimate(program, masked).online.rounds - 6);
    expect(planned.seconds.online).toBeCloseTo(planned.fewestBytes.online - 3, 3);
  });

  it('is the fewest bytes where bytes are what takes time', () => {
    const { program: planned, seconds, fewestBytes } = planProgram(program, masked, thin, idle);
    expect(isPlanned(planned)).toBe(false);
    expect(seconds).toEqual(fewestBytes);
  });

  it('says the seconds that are predicted for what it chose, and they are no more than without it', () => {
    for (const network of [far, thin, { bytesPerSecond: 1e5, roundTripSeconds: 0.05 }]) {
      for (const aim of ['all', 'online'] as const) {
        const { program: planned, seconds, fewestBytes } = planProgram(program, masked, network, idle, aim);
        expect(predictSeconds(planned, masked, 1, network, idle)).toEqual(seconds);
        const total = (of: typeof seconds) => (aim === 'all' ? of.offline + of.online : of.online);
        expect(total(seconds)).toBeLessThanOrEqual(total(fewestBytes));
      }
    }
  });

  it('sends more ahead to be shorter online where online alone counts', () => {
    const network = { bytesPerSecond: 5e4, roundTripSeconds: 0.02 };
    const all = planProgram(program, masked, network, idle, 'all');
    const online = planProgram(program, masked, network, idle, 'online');
    expect(online.seconds.online).toBeLessThan(all.seconds.online);
    expect(online.seconds.offline).toBeGreaterThan(all.seconds.offline);
  });

  it('has nothing to choose in a suite that compares in one way', () => {
    const planned = planProgram(program, suites.securenn!, far, idle);
    expect(planned.program).toEqual(withComparisons(program, new Map()));
  });
});
