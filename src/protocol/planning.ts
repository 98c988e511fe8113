// The plan of a program on a network: how each of its comparisons is made (digits, and one round trip or two), by predicted seconds. Not here: how
// seconds are predicted (timing.ts), what ways there are (the suite's affair).
import { type ComparisonChoice, type MaxPoolStep, type Program, type ReluStep, stepInputs } from '../model/program.js';
import type { NetworkProfile } from '../wire/profiles.js';
import { costEnvironment } from './estimate.js';
import type { CostEnvironment, RunPhase } from './operation.js';
import { operationOf, type Suite } from './suite.js';
import { type MachineRates, predictSeconds } from './timing.js';

/** What a plan is to make short: an inference in all, or from its picture on. */
export type PlanAim = 'all' | 'online';

export type PhaseSeconds = Readonly<Record<RunPhase, number>>;

export interface Planned {
  /** The program with the comparisons that were chosen. */
  readonly program: Program;
  readonly seconds: PhaseSeconds;
  /** Seconds of the comparisons of fewest bytes. */
  readonly fewestBytes: PhaseSeconds;
}

type ComparingStep = ReluStep | MaxPoolStep;

const compares = (step: Program['steps'][number]): step is ComparingStep => step.kind === 'relu' || step.kind === 'maxpool';

/** Comparisons by the index of their step; a step without one is left at the fewest bytes. */
type Choices = ReadonlyMap<number, ComparisonChoice>;

/** The program with these comparisons, and no others. */
export function withComparisons(program: Program, choices: Choices): Program {
  const steps = program.steps.map((step, index) => {
    if (!compares(step)) return step;
    const { comparison: _, ...plain } = step;
    const chosen = choices.get(index);
    return chosen === undefined ? plain : { ...plain, comparison: chosen };
  });
  return { ...program, steps };
}

/** Whether somebody has chosen comparisons for a program. */
export const isPlanned = ({ steps }: Program): boolean => steps.some((step) => compares(step) && step.comparison !== undefined);

/** Steps that are alike: they get one choice. */
interface Group {
  readonly steps: readonly number[];
  /** Ways of which none is worse than another in everything. */
  readonly ways: readonly (ComparisonChoice | undefined)[];
}

/** A plan has to take so much less than the fewest bytes do: it may send twice as many. */
const leastGain = 0.05;

/**
 * Chooses the comparisons with which an inference of one picture takes the least predicted time, if that is a twentieth less than what
 * the fewest bytes take. Goes from group to group of like steps, from the fewest bytes and from the fewest rounds, and keeps the better end.
 */
export function planProgram(
  program: Program,
  suite: Suite,
  network: NetworkProfile | undefined,
  machine: MachineRates,
  aim: PlanAim = 'all',
): Planned {
  const predict = (choices: Choices): PhaseSeconds => predictSeconds(withComparisons(program, choices), suite, 1, network, machine);
  const total = ({ offline, online }: PhaseSeconds): number => (aim === 'online' ? online : offline + online);
  const groups = groupsOf(program, suite);
  const fewestBytes = predict(new Map());
  const direct = groups.map(({ ways }) => ways.find((way) => way?.roundTrips === 1));
  let best = { choices: new Map() as Choices, seconds: fewestBytes };
  for (const start of [groups.map(() => undefined), direct]) {
    const picked = [...start];
    let seconds = predict(choicesOf(groups, picked));
    for (const [g, { ways }] of groups.entries()) {
      for (const way of ways) {
        const before = picked[g];
        if (way === before) continue;
        picked[g] = way;
        const changed = predict(choicesOf(groups, picked));
        if (total(changed) < total(seconds)) seconds = changed;
        else picked[g] = before;
      }
    }
    if (total(seconds) < total(best.seconds)) best = { choices: choicesOf(groups, picked), seconds };
  }
  if (total(best.seconds) > (1 - leastGain) * total(fewestBytes)) return { program, seconds: fewestBytes, fewestBytes };
  return { program: withComparisons(program, best.choices), seconds: best.seconds, fewestBytes };
}

function choicesOf(groups: readonly Group[], picked: readonly (ComparisonChoice | undefined)[]): Choices {
  const entries = groups.flatMap(({ steps }, g) => steps.map((index) => [index, picked[g]] as const));
  return new Map(entries.filter((entry): entry is readonly [number, ComparisonChoice] => entry[1] !== undefined));
}

function groupsOf(program: Program, suite: Suite): Group[] {
  const environment = costEnvironment(program, 1);
  const groups = new Map<string, { steps: number[]; ways: Group['ways'] }>();
  for (const [index, step] of program.steps.entries()) {
    if (!compares(step) || suite.comparisonWays === undefined) continue;
    const key = JSON.stringify([step.kind, costOf(step, suite, environment), step.window, stepInputs(step).map(environment.elements)]);
    const found = groups.get(key);
    if (found) found.steps.push(index);
    else groups.set(key, { steps: [index], ways: worthwhile(step, suite.comparisonWays(step.window), suite, environment) });
  }
  return [...groups.values()];
}

/** Messages in a row, and the bytes of each link and phase. */
function costOf(step: ComparingStep, suite: Suite, environment: CostEnvironment): number[] {
  const operation = operationOf(suite, step);
  const sums = { 'offline provider>server': 0, 'online server>client': 0, 'online client>server': 0 };
  for (const { phase, link, bytes } of operation.messages(step, environment)) sums[`${phase} ${link}` as keyof typeof sums] += bytes;
  return [operation.rounds(step, environment), ...Object.values(sums)];
}

/** The most bytes of an offline message that a plan may choose a way for: parties hold it, and what it is unpacked to, in memory. */
const mostOfflineBytes = 64e6;

/** Ways that are not as costly as another in every respect; the one of fewest bytes first. */
function worthwhile(step: ComparingStep, ways: readonly ComparisonChoice[], suite: Suite, environment: CostEnvironment): Group['ways'] {
  const { comparison: _, ...plain } = step;
  const priced = [undefined, ...ways].map((way) => ({
    way,
    cost: costOf(way === undefined ? plain : { ...plain, comparison: way }, suite, environment),
  }));
  const beats = (a: readonly number[], b: readonly number[]): boolean => a.every((value, i) => value <= b[i]!);
  return priced
    .filter(({ way, cost }) => way === undefined || cost[1]! <= mostOfflineBytes)
    .filter(({ cost }, i, all) => !all.some((other, j) => j !== i && beats(other.cost, cost) && (j < i || !beats(cost, other.cost))))
    .map(({ way }) => way);
}
