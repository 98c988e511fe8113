// A suite's traffic without its computing: the same messages of the same sizes in the same order of dependence, all of them zeros. What a run
// with it takes is what the network takes. Not here: where messages go (the parties run it like any other suite).
import type { Words } from '../kernel/compute.js';
import type { Step } from '../model/program.js';
import { plainWords } from '../ring/words.js';
import type { MessageSize, Operation, Role, RolePart, RunPhase, StepContext } from './operation.js';
import type { Ends, OperationTable, Suite } from './suite.js';

/** What every message of a dry run is a part of: all zeros, as long as the longest so far. */
let zeros = new Uint8Array(1 << 16);

function zeroBytes(length: number): Uint8Array {
  if (length > zeros.length) zeros = new Uint8Array(2 * length);
  return zeros.subarray(0, length);
}

/** Messages in groups that do not wait for one another. */
function waves(messages: readonly MessageSize[]): MessageSize[][] {
  const all: MessageSize[][] = [];
  for (const message of messages) {
    const last = all.at(-1);
    if (last && message.round !== undefined && last[0]!.round === message.round) last.push(message);
    else all.push([message]);
  }
  return all;
}

/** A party's messages in the order in which it sends and awaits them: of a wave, its own first. */
export function movesOf(messages: readonly MessageSize[], role: Role): readonly MessageSize[] {
  return waves(messages).flatMap((wave) => [
    ...wave.filter(({ link }) => link.startsWith(`${role}>`)),
    ...wave.filter(({ link }) => link.endsWith(`>${role}`)),
  ]);
}

/** Plays one party's part of some messages: sends its own and awaits the others', in the order of the list, which is that of their dependence. */
async function exchange(context: StepContext<Words>, messages: readonly MessageSize[], role: Role, phase: RunPhase): Promise<void> {
  const own = messages.filter((message) => message.phase === phase);
  for (const { link, name, bytes } of movesOf(own, role)) {
    const [from, to] = link.split('>') as [Role, Role];
    if (from === role) context.send(to, name, zeroBytes(bytes));
    else await context.receive(from, name, bytes);
  }
}

type AnyOperation = Operation<Step, unknown, unknown, unknown, Words>;

function dryOperation(operation: AnyOperation): AnyOperation {
  const part = (role: Role): RolePart<Step, unknown, Words> => ({
    offline: (context, step) => exchange(context, operation.messages(step, context), role, 'offline'),
    online: (context, step) => exchange(context, operation.messages(step, context), role, 'online'),
  });
  const { messages, rounds } = operation;
  return { messages, rounds, client: part('client'), server: part('server'), provider: part('provider') };
}

function dryEnds(ends: Ends): Ends {
  const nothing = new Int32Array(0);
  const input = (context: StepContext<Words>, role: Role, phase: RunPhase) => exchange(context, ends.inputMessages(context), role, phase);
  const output = (context: StepContext<Words>, role: Role, phase: RunPhase) => exchange(context, ends.outputMessages(context), role, phase);
  return {
    ...ends,
    async drawInputMask(context, peer) {
      await input(context, peer === 'provider' ? 'client' : 'provider', 'offline');
      return nothing;
    },
    sendInput: (context) => input(context, 'client', 'online'),
    async receiveInput(context) {
      await input(context, 'server', 'online');
      return true;
    },
    async drawOutputMask(context) {
      await output(context, 'client', 'offline');
      return nothing;
    },
    dealOutput: (context) => output(context, 'provider', 'offline'),
    async receiveOutputShift(context) {
      await output(context, 'server', 'offline');
      return nothing;
    },
    sendOutput: (context) => output(context, 'server', 'online'),
    async receiveOutput(context) {
      await output(context, 'client', 'online');
      return plainWords(context.program.ringBits, context.elements(context.program.output));
    },
    ...(ends.joinOnline && {
      async joinOnline(context: StepContext<Words>) {
        await input(context, 'provider', 'online');
        return true;
      },
    }),
  };
}

/** Name of a suite's dry twin. */
export const dryName = (suite: string): string => `${suite} (dry)`;

/**
 * The dry twin of a suite. All parties must run it. Its answers are zeros, and nothing it sends depends on a picture or on weights.
 * @example
 * addSuite(drySuite(masked));
 */
export function drySuite(suite: Suite): Suite {
  const operations = Object.fromEntries(
    Object.entries(suite.operations).map(([kind, operation]) => [kind, dryOperation(operation as unknown as AnyOperation)]),
  ) as unknown as OperationTable;
  return { ...suite, name: dryName(suite.name), operations, ends: dryEnds(suite.ends) };
}
