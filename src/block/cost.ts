// What a patch costs on the wire and in time, from the suites' own message formulas. Not here: choosing patches.
//
// The messages of an activation pack words and planes end to end, each rounded up to a byte: without that rounding its bytes are a sum over
// channels. A channel's share is read off the formulas at a batch of eight, where nothing is left to round. What the rounding adds, a few
// bytes a message, is in the estimate of the whole program, against which a choice is checked.
import type { Patch, Program, ReluStep } from '../model/program.js';
import { lowBits } from '../model/windows.js';
import { costEnvironment, estimate } from '../protocol/estimate.js';
import type { Link, MessageSize, Role, RunPhase } from '../protocol/operation.js';
import { operationOf, type Suite } from '../protocol/suite.js';
import { type MachineRates, predictSeconds, type StepRates } from '../protocol/timing.js';
import { linkSpeed, type NetworkProfile } from '../wire/profiles.js';
import type { CostOf } from './select.js';

/** Which part of an inference is paid for. */
export type PaidPhase = RunPhase | 'total';

/** What a unit of budget buys: the cost of a whole program, and how patches share in it. */
export interface Meter {
  /** Of one inference. */
  whole(program: Program): number;
  /** Of a patch on one channel of an activation, beside what does not depend on patches. */
  ofPatch(program: Program, step: ReluStep, patch: Patch): number;
}

/** Counts are multiples of it: then packed words and planes of any width are whole bytes. */
const pictures = 8;

const isPaid = (phase: RunPhase, paid: PaidPhase): boolean => paid === 'total' || paid === phase;

/** Messages that one channel of an activation with a patch adds, for eight pictures and without labels. */
function channelMessages(program: Program, step: ReluStep, patch: Patch, suite: Suite): readonly MessageSize[] {
  const [, ...map] = program.tensors[step.input]!.shape;
  const tensors = [step.input, step.output].map((id) => ({ shape: [1, ...map], scale: program.tensors[id]!.scale }));
  const own: ReluStep = { ...step, input: 0, output: 1, patches: [patch] };
  const alone: Program = { ...program, tensors, input: 0, output: 1, steps: [own] };
  return operationOf(suite, own).messages(own, costEnvironment(alone, pictures));
}

/** Payloads and labels of a phase, or of both. */
export function bytesMeter(suite: Suite, paid: PaidPhase): Meter {
  return {
    whole(program) {
      const { offline, online } = estimate(program, suite);
      return (isPaid('offline', paid) ? offline.bytes : 0) + (isPaid('online', paid) ? online.bytes : 0);
    },
    ofPatch: (program, step, patch) =>
      channelMessages(program, step, patch, suite).reduce((sum, m) => sum + (isPaid(m.phase, paid) ? m.bytes : 0), 0) / pictures,
  };
}

/**
 * Seconds on a network, as {@link predictSeconds} plays them through. A patch's share is what it adds where it counts in full: its bytes on the
 * link that is busiest in a phase for `plain`, the program without a spec, and each party's work. In a whole inference some of that happens at
 * the same time, so shares add up to more than what patches change; choosing and reckoning alternate (src/cli/spending.ts).
 */
export function secondsMeter(
  suite: Suite,
  paid: PaidPhase,
  network: NetworkProfile | undefined,
  machine: MachineRates,
  plain: Program,
): Meter {
  const phases = (['offline', 'online'] as const).filter((phase) => isPaid(phase, paid));
  const costs = estimate(plain, suite);
  const busiest = new Map(phases.map((phase) => [phase, busiestLink(costs[phase].links, network)]));
  const rates = new Map(phases.map((phase) => [phase, reluRates(machine, phase)]));
  return {
    whole(program) {
      const predicted = predictSeconds(program, suite, 1, network, machine);
      return phases.reduce((sum, phase) => sum + predicted[phase], 0);
    },
    ofPatch(program, step, patch) {
      const messages = channelMessages(program, step, patch, suite);
      const sent = messages.reduce((sum, m) => sum + (busiest.get(m.phase) === m.link ? m.bytes / rateOf(network, m.link) : 0), 0);
      const handled = messages.reduce((sum, m) => sum + m.bytes * (rates.get(m.phase)?.[2] ?? 0), 0);
      const [, height = 1, width = 1] = program.tensors[step.input]!.shape;
      const isDropped = patch[0] === 1 && patch[1] === 0;
      const elements = isDropped ? 0 : 2 * height * width;
      const perElement = phases.reduce((sum, phase) => sum + rates.get(phase)![1], 0);
      return (sent + handled) / pictures + perElement * elements;
    },
  };
}

/** Rates of all parties' work on an activation together, in one phase. */
function reluRates({ work }: MachineRates, phase: RunPhase): StepRates {
  const all = (['client', 'server', 'provider'] as const).map((role) => work[`relu ${role} ${phase}`]);
  const sum = (i: 0 | 1 | 2 | 3): number => all.reduce((total, rates) => total + (rates?.[i] ?? 0), 0);
  return [sum(0), sum(1), sum(2), sum(3)];
}

function busiestLink(links: Partial<Record<Link, number>>, network: NetworkProfile | undefined): Link | undefined {
  const seconds = ([link, bytes]: [Link, number]): number => (network === undefined ? bytes : bytes / rateOf(network, link));
  return (Object.entries(links) as [Link, number][]).sort((a, b) => seconds(b) - seconds(a))[0]?.[0];
}

/** Bytes per second of a link on a network; endless where none is imitated. */
function rateOf(network: NetworkProfile | undefined, link: Link): number {
  const [from, to] = link.split('>') as [Role, Role];
  return network === undefined ? Number.POSITIVE_INFINITY : linkSpeed(network, from, to).bytesPerSecond;
}

/** A patch's cost where bits below `low` (in the unit of what the layer reads) are left out of its comparisons; NaN for windows that leave none. */
export type WindowCostOf = (row: Parameters<CostOf>[0], patch: Patch, low: number | undefined) => number;

export interface Prices {
  /** With the windows of the program that they are taken from. */
  readonly costOf: CostOf;
  /** With other windows; without `low`, with those that are exact. */
  readonly windowCostOf: WindowCostOf;
}

/**
 * Costs for the knapsack, by the index of a layer in `layers`. `programs` are looked through for the layer's step, the first one first: a
 * layer that one of them has fused away is priced as in the next.
 */
export function pricesFrom(meter: Meter, programs: readonly Program[], layers: readonly string[]): Prices {
  const steps = layers.map((name) => {
    for (const program of programs) {
      const step = program.steps.find((s): s is ReluStep => s.kind === 'relu' && s.name === name);
      if (step !== undefined) return { program, step };
    }
    throw new RangeError(`no program has the activation ${name}`);
  });
  const known = new Map<string, number>();
  const priced = (layer: number, patch: Patch, low: number): number => {
    const key = `${layer} ${patch.join()} ${low}`;
    const { program, step } = steps[layer]!;
    const cost = known.get(key) ?? meter.ofPatch(program, { ...step, window: { ...step.window, low } }, patch);
    known.set(key, cost);
    return cost;
  };
  return {
    costOf: ({ layer }, patch) => priced(layer, patch, steps[layer]!.step.window.low),
    windowCostOf({ layer }, patch, low) {
      const { program, step } = steps[layer]!;
      const bits = lowBits(step, program.tensors[step.input]!.scale, low);
      return bits + 2 > step.window.high ? Number.NaN : priced(layer, patch, bits);
    },
  };
}

/** {@link pricesFrom} with the programs' own windows. */
export const costsFrom = (meter: Meter, programs: readonly Program[], layers: readonly string[]): CostOf =>
  pricesFrom(meter, programs, layers).costOf;
