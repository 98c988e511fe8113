// The life of one command: its output, a signal that Ctrl-C raises, and what has to be ended whichever way it goes.
import type { CommonOptions } from './options.js';
import { createOutput, type Output } from './output.js';

export interface Task {
  readonly output: Output;
  /** Raised by Ctrl-C. */
  readonly signal: AbortSignal;
  /** Has something ended when the command ends, fails or is interrupted; the latest first. */
  atEnd(end: () => Promise<void> | void): void;
}

const interrupts = new AbortController();
let interruptSignal: NodeJS.Signals | undefined;

/** Exit statuses of a process that a signal ended: 128 + its number. */
const signalStatus = { SIGINT: 130, SIGTERM: 143 } as const;

/** From now on the first Ctrl-C (or SIGTERM) asks the command to end, the second ends the process. */
export function watchInterrupts(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (interruptSignal !== undefined) process.exit(signalStatus[signal]);
      interruptSignal = signal;
      interrupts.abort(new Error('interrupted'));
    });
  }
}

/** The exit status when a signal ended the command, else undefined. */
export function interruptedStatus(): number | undefined {
  return interruptSignal === undefined ? undefined : signalStatus[interruptSignal as keyof typeof signalStatus];
}

/** Runs a command's work; rejects at once on Ctrl-C, after ending what the work had started. */
export async function perform(options: CommonOptions, work: (task: Task) => Promise<void>): Promise<void> {
  const ends: (() => Promise<void> | void)[] = [];
  const { signal } = interrupts;
  let over = false;
  const atEnd: Task['atEnd'] = (end) => {
    if (!over) ends.push(end);
    // Work goes on for a while after an interrupt: what it still starts is ended at once.
    else Promise.resolve(end()).catch(() => {});
  };
  const task: Task = { output: createOutput(options), signal, atEnd };
  const interrupted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  try {
    await Promise.race([work(task), interrupted]);
  } finally {
    over = true;
    for (const end of ends.reverse()) await end();
  }
}

/** Does a part of a command's work, whose threads, processes and files end with it: a long command would gather them. */
export async function scoped<T>(task: Task, work: (own: Task) => Promise<T>): Promise<T> {
  const ends: (() => Promise<void> | void)[] = [];
  const endAll = async (): Promise<void> => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  task.atEnd(endAll);
  try {
    return await work({ ...task, atEnd: (end) => void ends.push(end) });
  } finally {
    await endAll();
  }
}

/** Resolves on Ctrl-C: what a command awaits that serves until then. */
export function untilInterrupted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
