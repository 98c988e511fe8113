// Calls from a command to a process it has started: settings and counters go this way, the protocol itself through real sockets.
import type { ChildProcess } from 'node:child_process';
import { DataError, PeerError, TesseraError, UsageError } from '../errors.js';

/** What a process can be asked: functions of at most one argument, all of it structured-cloneable. */
// biome-ignore lint/suspicious/noExplicitAny: arguments are as the type of the calls says
type Calls = Readonly<Record<string, (argument: any) => unknown>>;

/** Asks a process; rejects with what the call threw there, or with PeerError ("party-failed") when the process is gone. */
export type Ask<T> = <K extends keyof T & string>(
  name: K,
  ...argument: T[K] extends (argument: infer A) => unknown ? (unknown extends A ? [] : [A]) : never
) => Promise<T[K] extends (argument: never) => infer R ? Awaited<R> : never>;

interface Call {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

type Reply = { readonly id: number; readonly value: unknown } | { readonly id: number; readonly error: Failure };

/** An error, as it goes from process to process. */
interface Failure {
  readonly kind: string;
  readonly message: string;
  readonly code: string;
  readonly hint?: string | undefined;
  readonly where?: string | undefined;
}

const kinds = { UsageError, DataError, PeerError, TesseraError };

function describe(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof TesseraError)) return { kind: 'TesseraError', message, code: 'internal' };
  const { name: kind, code, hint, where } = error;
  return { kind, message, code, hint, where };
}

function revive({ kind, message, code, hint, where }: Failure): TesseraError {
  const Kind = kinds[kind as keyof typeof kinds] ?? TesseraError;
  return new Kind(message, { code, ...(hint === undefined ? {} : { hint }), ...(where === undefined ? {} : { where }) });
}

/** Answers the calls of the process that started this one, and ends with it. Ctrl-C is that process's affair. */
export function answerCalls(calls: Calls): void {
  process.on('disconnect', () => process.exit());
  if (!process.connected) process.exit();
  process.on('SIGINT', () => {});
  process.on('message', async ({ id, name, argument }: Call) => {
    // A command that is gone needs no answer: this process ends with it.
    const reply = (answer: Reply) => process.connected && process.send?.(answer, undefined, undefined, () => {});
    try {
      reply({ id, value: await calls[name]!(argument) });
    } catch (error) {
      reply({ id, error: describe(error) });
    }
  });
}

/** A way to ask `child`, which runs {@link answerCalls}. */
export function askerOf<T>(child: ChildProcess, role: string): Ask<T> {
  const pending = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let lost: Error | undefined;
  let last = 0;
  child.on('message', (reply: Reply) => {
    const call = pending.get(reply.id);
    pending.delete(reply.id);
    if ('error' in reply) call?.reject(revive(reply.error));
    else call?.resolve(reply.value);
  });
  child.on('exit', (_, signal) => {
    lost = new PeerError(`the ${role} process ended${signal === null ? '' : ` (${signal})`}`, {
      code: 'party-failed',
      hint:
        signal === 'SIGKILL' ? 'The system may lack the memory: see the most each party takes in tessera estimate.' : 'See the line above.',
    });
    for (const { reject } of pending.values()) reject(lost);
    pending.clear();
  });
  const ask = (name: string, argument?: unknown): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (lost !== undefined) return reject(lost);
      const id = ++last;
      pending.set(id, { resolve, reject });
      child.send({ id, name, argument } satisfies Call);
    });
  return ask as Ask<T>;
}
