// Cost of a program before any run, from the operations' own formulas: every byte of every link, and the longest chains.
import { type Program, stepInputs } from '../model/program.js';
import { controlMessages, offlineStartDepth, onWire } from './control.js';
import type { CostEnvironment, Link, MessageSize, RunPhase } from './operation.js';
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
  const depth = new Array<number>(program.tensors.length).fill(0);
  depth[program.input] = 1;
  for (const step of program.steps) {
    depth[step.output] = Math.max(...stepInputs(step).map((id) => depth[id]!)) + operationOf(suite, step).rounds(step, environment);
  }
  return depth[program.output]! + 1;
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
  return { offline: phase('offline', offlineStartDepth + 2), online: phase('online', onlineRounds(program, suite, batch)) };
}
