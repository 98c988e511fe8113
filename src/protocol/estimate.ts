// Cost of a program before any run, from the operations' own formulas: every byte of every link, and the longest chains.
import { type Program, stepInputs, type TensorId } from '../model/program.js';
import { controlMessages, offlineStartDepth, onWire } from './control.js';
import type { CostEnvironment, Depths, Link, MessageSize, RunPhase } from './operation.js';
import { checkSuite, operationOf, type Suite } from './suite.js';

export interface PhaseCost {
  readonly bytes: number;
  /** One-way messages in the longest chain of which each depends on the one before. */
  readonly rounds: number;
  readonly links: Partial<Record<Link, number>>;
}

export interface Estimate {
  readonly offline: PhaseCost;
  readonly online: PhaseCost;
}

export function costEnvironment(program: Program, batch: number): CostEnvironment {
  const sizes = program.tensors.map(({ shape }) => shape.reduce((a, b) => a * b, batch));
  return { program, batch, elements: (tensor) => sizes[tensor]! };
}

/** Every message of one inference with a batch of `batch` images, in no particular order. */
export function allMessages(program: Program, suite: Suite, batch: number): MessageSize[] {
  const environment = costEnvironment(program, batch);
  return [
    ...controlMessages,
    ...suite.ends.inputMessages(environment),
    ...program.steps.flatMap((step) => operationOf(suite, step).messages(step, environment)),
    ...suite.ends.outputMessages(environment),
  ];
}

function onlineRounds(program: Program, suite: Suite, batch: number): number {
  const environment = costEnvironment(program, batch);
  const depths = new Array<Depths>(program.tensors.length).fill({ client: 0, server: 0 });
  depths[program.input] = { client: 0, server: 1 };
  for (const step of program.steps) {
    const inputs = stepInputs(step).map((id) => depths[id]!);
    const before = { client: Math.max(...inputs.map((d) => d.client)), server: Math.max(...inputs.map((d) => d.server)) };
    const operation = operationOf(suite, step);
    const both = Math.max(before.client, before.server) + operation.rounds(step, environment);
    depths[step.output] = operation.depths?.(step, environment, before) ?? { client: both, server: both };
  }
  const { client, server } = depths[program.output]!;
  return Math.max(client, server + 1);
}

/** Whether a step for which the server sends something offline comes after one for which it receives something: then one waits for the other. */
function serverSendsLate(program: Program, suite: Suite, batch: number): boolean {
  const environment = costEnvironment(program, batch);
  const late = new Set<TensorId>();
  for (const step of program.steps) {
    const links = operationOf(suite, step)
      .messages(step, environment)
      .filter(({ phase }) => phase === 'offline')
      .map(({ link }) => link);
    const after = stepInputs(step).some((id) => late.has(id));
    if (after && links.includes('server>client')) return true;
    if (after || links.some((link) => link.endsWith('>server'))) late.add(step.output);
  }
  return false;
}

/** Predicted traffic of one inference: equal to what a run counts, byte by byte. Throws UsageError where the suite cannot run the program. */
export function estimate(program: Program, suite: Suite, batch = 1): Estimate {
  checkSuite(suite, program);
  const messages = allMessages(program, suite, batch);
  const phase = (name: RunPhase, rounds: number): PhaseCost => {
    const links: Partial<Record<Link, number>> = {};
    for (const m of messages) if (m.phase === name) links[m.link] = (links[m.link] ?? 0) + onWire(m);
    return { bytes: Object.values(links).reduce((a, b) => a + b, 0), rounds, links };
  };
  // request, number, the parties' material (all of it at once), ready
  const offlineRounds = offlineStartDepth + 2 + (serverSendsLate(program, suite, batch) ? 1 : 0);
  return { offline: phase('offline', offlineRounds), online: phase('online', onlineRounds(program, suite, batch)) };
}
