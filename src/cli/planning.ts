// How comparisons are made, chosen for a network where a command names one: the program's plan, which all parties run.
import { programHash } from '../model/files.js';
import type { Program } from '../model/program.js';
import { suites } from '../party/session.js';
import { isPlanned, type PhaseSeconds, type PlanAim, planProgram } from '../protocol/planning.js';
import type { NetworkProfile } from '../wire/profiles.js';
import { networkName } from '../wire/profiles.js';
import { formatSeconds, formatTable } from './format.js';
import { openMachine } from './machine.js';
import type { PlanSummary, StoredModel } from './model-folder.js';
import type { Task } from './task.js';

export interface PlanOptions {
  readonly network?: NetworkProfile | 'infinite' | undefined;
  /** What to make short, or `bytes` for the fewest of them. */
  readonly plan: PlanAim | 'bytes';
  readonly suite?: string;
  readonly threads: number;
}

/**
 * The model with comparisons chosen for the network named, where the suite has several ways and nobody has chosen. A model that was compiled
 * before has its plan, as it has its spec: it is not touched.
 */
export async function planModel<M extends StoredModel>(
  model: M,
  { network, plan: aim, suite: name = 'masked', threads }: PlanOptions,
  compiledBefore: boolean,
  task: Task,
): Promise<M> {
  const suite = suites[name]!;
  const { program } = model.compiled;
  if (compiledBefore || network === undefined || network === 'infinite' || aim === 'bytes') return model;
  if (suite.comparisonWays === undefined || suite.refuses(program) !== undefined || isPlanned(program)) return model;
  const machine = await openMachine({ suite: name, threads, ringBits: program.ringBits }, task);
  const planned = planProgram(program, suite, network, machine, aim);
  const plan = { network: networkName(network), aim, seconds: planned.seconds, fewestBytes: planned.fewestBytes };
  const layers = comparedLayers(planned.program);
  const changed = await withProgram(model, planned.program);
  return { ...changed, summary: { ...changed.summary, plan: { ...plan, layers } } };
}

/** The model with a program of other comparisons, and its hash. */
export async function withProgram<M extends StoredModel>(model: M, program: Program): Promise<M> {
  const hash = await programHash(program);
  return { ...model, compiled: { ...model.compiled, program, hash }, summary: { ...model.summary, hash } };
}

/** Comparisons that were chosen. */
const comparedLayers = ({ steps }: Program): PlanSummary['layers'] =>
  steps.flatMap((step) => {
    if ((step.kind !== 'relu' && step.kind !== 'maxpool') || step.comparison === undefined) return [];
    const { roundTrips, groups } = step.comparison;
    return [{ name: step.name, roundTrips, digits: groups.map((group) => [...group]) }];
  });

const inAll = ({ offline, online }: PhaseSeconds): number => offline + online;

/** What was chosen and why, for people. */
export function describePlan({ network, aim, seconds, fewestBytes, layers }: PlanSummary): string {
  const goal = aim === 'all' ? 'offline and online together' : 'online';
  if (layers.length === 0)
    return `plan for ${network}: the fewest bytes everywhere; no other is predicted to take a twentieth less ${goal}`;
  const kinds = new Map<string, number>();
  for (const { roundTrips, digits } of layers) {
    const text = `${roundTrips === 1 ? 'one round trip' : 'two round trips'}, digits of ${digits.map((group) => group.join(' + ')).join(' | ')} bits`;
    kinds.set(text, (kinds.get(text) ?? 0) + 1);
  }
  const times = (of: PhaseSeconds): string[] => [of.offline, of.online, inAll(of)].map(formatSeconds);
  return [
    `plan for ${network}, the least time ${goal} as predicted:`,
    ...[...kinds].map(([text, count]) => `  ${count} ${count === 1 ? 'layer' : 'layers'}: ${text}`),
    formatTable(
      [
        ['predicted', 'offline', 'online', 'in all'],
        ['this plan', ...times(seconds)],
        ['fewest bytes', ...times(fewestBytes)],
      ],
      '  ',
    ),
  ].join('\n');
}
