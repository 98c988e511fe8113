// A protocol suite: the operations of one protocol, one for every kind of step, and its two ends. Suites are interchangeable.
import type { Step } from '../model/program.js';
import type { CostEnvironment, MessageSize, Operation, StepContext } from './operation.js';

/** One operation for every kind of step. */
export type OperationTable = { readonly [K in Step['kind']]: Operation<Extract<Step, { kind: K }>, never, never, never> };

export interface Suite {
  readonly name: string;
  readonly operations: OperationTable;
  readonly ends: Ends;
}

/** How a picture goes in and a result comes out. `M` is what the client keeps from offline to online. */
export interface Ends {
  inputMessages(environment: CostEnvironment): MessageSize[];
  outputMessages(environment: CostEnvironment): MessageSize[];
  drawInputMask(context: StepContext, peer: 'client' | 'provider'): Promise<Int32Array>;
  sendInput(context: StepContext, encoded: Int32Array, mask: Int32Array): Promise<void>;
  /** Instead of sendInput. */
  giveUpInput(context: StepContext): void;
  /** False when the client gave up. */
  receiveInput(context: StepContext): Promise<boolean>;
  drawOutputMask(context: StepContext): Promise<Int32Array>;
  dealOutput(context: StepContext): Promise<void>;
  receiveOutputShift(context: StepContext): Promise<Int32Array | undefined>;
  sendOutput(context: StepContext, delta: Int32Array | undefined): Promise<void>;
  receiveOutput(context: StepContext, mask: Int32Array): Promise<Int32Array>;
}

/** The operation of a step, with its material untyped: what the interpreter works with. */
export function operationOf(suite: Suite, step: Step): Operation<Step> {
  return suite.operations[step.kind] as unknown as Operation<Step>;
}
