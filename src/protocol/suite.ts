// A protocol suite: the operations of one protocol, one for every kind of step, and its two ends. Suites are interchangeable.
import { UsageError } from '../errors.js';
import type { Words } from '../kernel/compute.js';
import type { ComparisonChoice, Program, Step, Window } from '../model/program.js';
import type { CostEnvironment, MessageSize, Operation, Role, RunPhase, StepContext } from './operation.js';

/** One operation for every kind of step. */
export type OperationTable = { readonly [K in Step['kind']]: Operation<Extract<Step, { kind: K }>, never, never, never, Words> };

/** Bytes of a step in each party's memory. */
export interface StepMemory {
  /** From offline to online, expanded for use. */
  readonly kept: Readonly<Record<Role, number>>;
  /** For the whole session, of every party: what follows from the program. */
  readonly shared: number;
  /** While the step is under way, beside its inputs, its output and what it keeps. */
  readonly working: Readonly<Record<RunPhase, Readonly<Record<Role, number>>>>;
}

export interface Suite {
  readonly name: string;
  readonly operations: OperationTable;
  readonly ends: Ends;
  /** Whether B is drawn once a loaded model, and the client gets D = W - B of every layer when a session opens. */
  readonly reusesWeights: boolean;
  /** The ring a model is compiled to for this suite where nobody says otherwise. */
  readonly defaultRingBits: number;
  /** Ways to compare a window, where the suite has several (planning.ts chooses). */
  comparisonWays?(window: Window): readonly ComparisonChoice[];
  /** How many bits of a ring values may use; the rest is headroom, where truncation could fail without it. */
  rangeBits(ringBits: number): number;
  /** Why this suite cannot run a program; undefined where it can. */
  refuses(program: Program): string | undefined;
  /** What a step takes of each party's memory, where the suite can say. */
  memoryOf?(step: Step, environment: CostEnvironment): StepMemory;
  /** What may go wrong with a program that it can run; undefined where nothing does. Absent: nothing ever does. */
  doubts?(program: Program): string | undefined;
}

/**
 * How a picture goes in and a result comes out. Masks are what the client keeps from offline to online. In each function the party whose
 * it is stands first in its description.
 */
export interface Ends {
  inputMessages(environment: CostEnvironment): MessageSize[];
  outputMessages(environment: CostEnvironment): MessageSize[];
  /** Client and provider, offline. `peer` is the other of the two. */
  drawInputMask(context: StepContext<Words>, peer: 'client' | 'provider'): Promise<Words>;
  /** Client, online. */
  sendInput(context: StepContext<Words>, encoded: Words, mask: Words): Promise<void>;
  /** Client, instead of sendInput. */
  giveUpInput(context: StepContext<Words>): void;
  /** Server, online: false when the client gave up. */
  receiveInput(context: StepContext<Words>): Promise<boolean>;
  /** Provider, online: false when the client gave up. Only in suites where the provider takes part online. */
  joinOnline?(context: StepContext<Words>): Promise<boolean>;
  /** Client, offline. */
  drawOutputMask(context: StepContext<Words>): Promise<Words>;
  /** Provider, offline. */
  dealOutput(context: StepContext<Words>): Promise<void>;
  /** Server, offline. */
  receiveOutputShift(context: StepContext<Words>): Promise<Words | undefined>;
  /** Server, online. */
  sendOutput(context: StepContext<Words>, shift: Words | undefined): Promise<void>;
  /** Client, online: the result in plain ring words, sign-extended. */
  receiveOutput(context: StepContext<Words>, mask: Words): Promise<Words>;
}

/** The operation of a step, with its material untyped: what the interpreter works with. */
export function operationOf(suite: Suite, step: Step): Operation<Step, unknown, unknown, unknown, Words> {
  return suite.operations[step.kind] as unknown as Operation<Step, unknown, unknown, unknown, Words>;
}

/** Throws UsageError where a suite cannot run a program. */
export function checkSuite(suite: Suite, program: Program): void {
  const reason = suite.refuses(program);
  if (reason !== undefined)
    throw new UsageError(`the ${suite.name} suite ${reason}`, {
      code: 'suite-refuses',
      where: '--suite',
      hint: 'compile the model again for this --suite or with another --ring, or choose another --suite',
    });
}
