// What an inference costs, before any run: bytes of every link and seconds on every network.
import type { Program } from '../model/program.js';
import { predictMemory } from '../party/memory.js';
import { suites } from '../party/session.js';
import { estimate, type PhaseCost } from '../protocol/estimate.js';
import type { Role } from '../protocol/operation.js';
import { type MachineRates, predictSeconds } from '../protocol/timing.js';
import { networkProfiles } from '../wire/profiles.js';

type Seconds = Readonly<Record<string, number>>;

/** Seconds by network, on machines like this one. */
interface PhaseEstimate extends PhaseCost {
  readonly seconds: Seconds;
}

export interface SuiteEstimate {
  readonly offline: PhaseEstimate;
  readonly online: PhaseEstimate;
  /** Of both phases. */
  readonly seconds: Seconds;
  /** The most memory of each party, one inference at a time; where the suite can say. */
  readonly peakBytes?: Readonly<Record<Role, number>>;
}

/** The estimate of a suite on machines with these rates. */
export function estimateSuite(program: Program, name: string, batch: number, machine: MachineRates): SuiteEstimate {
  const suite = suites[name]!;
  const cost = estimate(program, suite, batch);
  const networks = Object.entries(networkProfiles);
  const predicted = networks.map(([profile, network]) => [profile, predictSeconds(program, suite, batch, network, machine)] as const);
  const seconds = (of: (each: { offline: number; online: number }) => number): Seconds =>
    Object.fromEntries(predicted.map(([profile, each]) => [profile, of(each)]));
  const peakBytes = predictMemory(program, suite, batch);
  return {
    ...(peakBytes === undefined ? {} : { peakBytes }),
    offline: { ...cost.offline, seconds: seconds(({ offline }) => offline) },
    online: { ...cost.online, seconds: seconds(({ online }) => online) },
    seconds: seconds(({ offline, online }) => offline + online),
  };
}
