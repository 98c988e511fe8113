// The most memory each party will have resident, predicted from the public program: weights, material, values and working memory as the parties
// hold them, step after step. Not here: what a step takes (its suite says).
import { resizedShape } from '../model/output.js';
import { type Program, type Step, stepInputs } from '../model/program.js';
import { costEnvironment } from '../protocol/estimate.js';
import type { CostEnvironment, Role, RunPhase } from '../protocol/operation.js';
import { operationOf, type StepMemory, type Suite } from '../protocol/suite.js';
import { wordBytes } from '../ring/words.js';
import { defaultReadyBytes } from './material.js';
import { linearSteps, weightCount } from './weights.js';

/** A party of Node 20 with two kernel threads before it has done anything. */
const baseBytes = 97e6;
/** What V8 lets lie of messages that were read or sent, and frames kept for the next ones. */
const messageBytes = 80e6;

interface Walk {
  readonly role: Role;
  readonly suite: Suite;
  readonly environment: CostEnvironment;
  readonly readyBytes: number;
}

/** Bytes of a session's messages that a step's offline part takes in. */
function incoming({ role, suite, environment }: Walk, step: Step): number {
  return operationOf(suite, step)
    .messages(step, environment)
    .filter(({ phase, link }) => phase === 'offline' && link.endsWith(`>${role}`))
    .reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Whether a party holds values in a phase: masks of what client and provider know offline, masked values of the server online. */
const holds = (role: Role, phase: RunPhase): boolean => (role === 'server') === (phase === 'online');

/** The most bytes of values and working memory at a time, beside `held` (material), and what is held afterwards. */
function heapPeak(walk: Walk, memory: readonly StepMemory[]): number {
  const { role, environment, readyBytes } = walk;
  const { program } = environment;
  const word = wordBytes(program.ringBits);
  let held = 0;
  let reserved = 0;
  let peak = 0;
  const kept = memory.map(() => 0);
  /** What the server expands of the next step's material while a step is under way. */
  const ahead = (index: number): number => {
    const next = role === 'server' ? memory.findIndex((each, i) => i > index && each.kept.server > 0 && kept[i] === 0) : -1;
    return next < 0 ? 0 : memory[next]!.kept.server;
  };
  for (const phase of ['offline', 'online'] as const) {
    const readers = new Map<number, number>();
    for (const step of program.steps) for (const id of stepInputs(step)) readers.set(id, (readers.get(id) ?? 0) + 1);
    let values = holds(role, phase) ? word * environment.elements(program.input) : 0;
    for (const [index, step] of program.steps.entries()) {
      const own = memory[index]!;
      let working = own.working[phase][role];
      if (phase === 'offline') {
        const bytes = role === 'server' ? incoming(walk, step) : own.kept[role];
        const room = own.kept[role] > 0 && reserved + bytes <= readyBytes;
        if (room) [reserved, kept[index]] = [reserved + bytes, own.kept[role]];
        held += kept[index]!;
        held += own.shared;
      } else working += (kept[index] === 0 ? own.kept[role] : 0) + ahead(index);
      if (holds(role, phase)) values += word * environment.elements(step.output);
      peak = Math.max(peak, held + values + working);
      for (const id of stepInputs(step)) {
        readers.set(id, readers.get(id)! - 1);
        if (holds(role, phase) && readers.get(id) === 0) values -= word * environment.elements(id);
      }
      if (phase === 'online') held -= kept[index]!;
    }
  }
  return peak;
}

/**
 * The most memory of each party in bytes, for a process that does nothing else and has one inference at a time; undefined for suites that cannot
 * say. Within some 20 % of what is measured (bench/memory.ts).
 */
export function predictMemory(
  program: Program,
  suite: Suite,
  batch = 1,
  readyBytes = defaultReadyBytes,
): Readonly<Record<Role, number>> | undefined {
  if (suite.memoryOf === undefined) return undefined;
  const environment = costEnvironment(program, batch);
  const memory = program.steps.map((step) => suite.memoryOf!(step, environment));
  const layers = linearSteps(program).map(({ geometry }) => wordBytes(program.ringBits) * weightCount(geometry));
  const weights = layers.reduce((sum, bytes) => sum + bytes, 0);
  const layer = layers.reduce((most, bytes) => Math.max(most, bytes), 0);
  // Beside the weights themselves: the layers that a session's opening works on, and buffers of them; what of a file has been read.
  const opening = {
    client: { heap: 2 * layer, buffers: 2 * layer, kept: 0 },
    server: { heap: 3 * layer, buffers: 0.6 * weights + layer, kept: weights },
    provider: { heap: 2 * layer, buffers: 0, kept: 0 },
  };
  const party = (role: Role): number => {
    const walk = { role, suite, environment, readyBytes };
    const heap = weights + Math.max(opening[role].heap, heapPeak(walk, memory));
    const answer = role === 'client' ? answerBytes(program, batch) : 0;
    return baseBytes + heap + opening[role].kept + Math.max(opening[role].buffers, bufferPeak(walk)) + answer;
  };
  return { client: party('client'), server: party('server'), provider: party('provider') };
}

/** The output as the client resizes it, and the copy that goes to the process that asked: 0.4 GB of a 512 × 512 map of 150 classes. */
function answerBytes(program: Program, batch: number): number {
  return 2.5 * batch * Float32Array.BYTES_PER_ELEMENT * resizedShape(program).reduce((a, b) => a * b, 1);
}

/** What lies in buffers of messages: two copies of a step's, and what is not collected yet, if there is as much. */
function bufferPeak({ role, suite, environment }: Walk): number {
  let largest = 0;
  let total = 0;
  for (const step of environment.program.steps) {
    const own = operationOf(suite, step)
      .messages(step, environment)
      .filter(({ link }) => link.includes(role));
    for (const phase of ['offline', 'online'] as const) {
      const sum = own.reduce((bytes, message) => bytes + (message.phase === phase ? message.bytes : 0), 0);
      largest = Math.max(largest, sum);
      total += sum;
    }
  }
  return Math.min(total, messageBytes + 2 * largest);
}
