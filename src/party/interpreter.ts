// Runs one inference for one party: walks the program as a data flow, so that a step starts as soon as its inputs exist and no party waits
// for a message it does not need yet. Knows nothing of any operation; not here: sessions and sockets.
import { PeerError } from '../errors.js';
import type { Compute, Words } from '../kernel/compute.js';
import { type Program, type Step, stepInputs, type TensorId } from '../model/program.js';
import { costEnvironment } from '../protocol/estimate.js';
import type { CostEnvironment, LinearWeights, Role, RunPhase, StepContext } from '../protocol/operation.js';
import { createScope, type InferenceScope, type StepScope } from '../protocol/scope.js';
import { operationOf, type Suite } from '../protocol/suite.js';
import type { Streams } from '../random/streams.js';
import type { Channel } from '../wire/channel.js';
import { createPutAside, type MaterialRoom } from './material.js';
import { type Recorder, timelineNow } from './timeline.js';

/** What a party brings to every inference of a session. */
export interface PartyState {
  readonly role: Role;
  readonly suite: Suite;
  readonly program: Program;
  readonly compute: Compute;
  readonly channels: Partial<Record<Role, Channel>>;
  readonly streams: Partial<Record<Role, Streams>>;
  weights(index: number): LinearWeights;
  /** Where material goes until it is used. */
  readonly room: MaterialRoom;
  /** Heap data derived from the program, by step, batch and purpose. */
  readonly cache: Map<string, unknown>;
  /** Where to write down what is done when. */
  readonly recorder?: Recorder;
}

/** One inference (a batch of images that share their messages) as one party sees it. */
export interface Inference {
  readonly number: number;
  readonly batch: number;
  /** A context for one of the ends, which are numbered after the steps: 0 the input, 1 the output. `waitSeconds` is how long it waits for messages. */
  end(which: 0 | 1, phase: RunPhase, depth: number, waitSeconds?: number): EndContext;
  /** Runs one phase of every step; `depth` is the clock at which the input (or, offline, everything) is there. Returns the last clock. */
  steps(phase: RunPhase, depth: number): Promise<number>;
  /** The longest chain seen so far in each phase. */
  readonly rounds: Record<RunPhase, number>;
  /** Frees everything the inference holds, and bars its stream addresses for good. */
  finish(): void;
}

export interface EndContext {
  readonly context: StepContext<Words>;
  clock(): number;
}

/** Values of one phase, each freed after its last reader. */
interface Values {
  readonly words: Map<TensorId, Words>;
  readonly readers: number[];
}

function countReaders(program: Program): number[] {
  const readers = new Array<number>(program.tensors.length).fill(0);
  for (const step of program.steps) for (const id of stepInputs(step)) readers[id]!++;
  readers[program.output]!++;
  return readers;
}

/** Opens an inference. Its number must never have been used in this session; the streams refuse a second use. */
export function openInference(party: PartyState, number: number, batch: number): Inference {
  const { program } = party;
  const memory = createScope(party.compute);
  const environment = costEnvironment(program, batch);
  const fresh = (): Values => ({ words: new Map(), readers: countReaders(program) });
  const values = { offline: fresh(), online: fresh() };
  const rounds = { offline: 0, online: 0 };
  const materials = new Map<number, unknown>();
  /** Memory of the steps that are under way, or have material. */
  const scopes = new Map<number, StepScope>();
  const scopeOf = (step: number): StepScope => {
    const scope = scopes.get(step) ?? memory.part();
    scopes.set(step, scope);
    return scope;
  };
  const contextOf = (step: number, phase: RunPhase, depth: number, waitSeconds?: number) =>
    stepContext(
      party,
      environment,
      { memory: scopeOf(step), values: values[phase], keep: (bytes) => aside.reserve(step, bytes) },
      { number, step, phase, depth, rounds, waitSeconds },
    );
  const aside = createPutAside(party.room, party.role, (step) => contextOf(step, 'offline', 0).context);

  const visit = async (step: Step, index: number, phase: RunPhase, depth: number): Promise<number> => {
    const { context, clock } = contextOf(index, phase, depth);
    const start = party.recorder && timelineNow();
    const whole = operationOf(party.suite, step);
    const operation = whole[party.role];
    if (phase === 'offline') {
      if (!(await aside.takes(index, step, whole, context))) materials.set(index, await operation.offline(context, step));
      // A peer that reads slowly holds this party back, instead of filling its memory with a whole offline phase.
      await drained(party, number, index);
    } else {
      await operation.online?.(context, step, (await aside.material(index)) ?? materials.get(index));
      materials.delete(index);
    }
    for (const id of stepInputs(step)) release(values[phase], memory, id);
    if (phase === 'online' || operation.online === undefined) {
      scopes.get(index)?.end();
      scopes.delete(index);
      aside.over(index);
    }
    if (start !== undefined) party.recorder?.span({ kind: 'step', phase, inference: number, step: index, start, end: timelineNow() });
    return clock();
  };

  return {
    number,
    batch,
    rounds,
    end: (which, phase, depth, waitSeconds) => contextOf(program.steps.length + which, phase, depth, waitSeconds),
    async steps(phase, depth) {
      const clocks = new Map<TensorId, Promise<number>>([[program.input, Promise.resolve(depth)]]);
      const running = program.steps.map((step, index) => {
        const inputs = stepInputs(step).map((id) => clocks.get(id)!);
        const done = Promise.all(inputs).then((depths) => visit(step, index, phase, Math.max(...depths)));
        clocks.set(step.output, done);
        return done;
      });
      // Fail at once, so that the caller can end the links; but return only when no step can touch the memory any more.
      const error = await Promise.all(running).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (error !== undefined) {
        for (const channel of Object.values(party.channels)) channel.close(error instanceof PeerError ? error.message : 'the party failed');
        await Promise.allSettled(running);
        await aside.settled();
        throw error;
      }
      return clocks.get(program.output)!;
    },
    finish() {
      aside.end();
      memory.end();
      for (const streams of Object.values(party.streams)) streams.finish(number);
    },
  };
}

/** Until no link's queue is long. */
async function drained({ channels, recorder }: PartyState, inference: number, step: number): Promise<void> {
  const start = recorder && timelineNow();
  await Promise.all(Object.values(channels).map((channel) => channel.drained()));
  if (start !== undefined) recorder?.span({ kind: 'wait', phase: 'offline', inference, step, start, end: timelineNow() });
}

function release(values: Values, memory: InferenceScope, id: TensorId): void {
  values.readers[id]!--;
  const words = values.words.get(id);
  if (values.readers[id] === 0 && words) {
    values.words.delete(id);
    memory.free(words);
  }
}

interface Position {
  readonly number: number;
  readonly step: number;
  readonly phase: RunPhase;
  readonly depth: number;
  readonly rounds: Record<RunPhase, number>;
  readonly waitSeconds: number | undefined;
  /** Whether waits are noted by others. */
  readonly quiet?: boolean;
}

/** What of an inference a step works on. */
interface Place {
  readonly memory: StepScope;
  readonly values: Values;
  keep(bytes: number): boolean;
}

function stepContext(party: PartyState, environment: CostEnvironment, place: Place, at: Position): EndContext {
  const { memory, values, keep } = place;
  let clock = at.depth;
  const branches: (() => number)[] = [];
  const latest = () => branches.reduce((depth, branch) => Math.max(depth, branch()), clock);
  const opened = party.recorder && timelineNow();
  const seen = (depth: number) => {
    at.rounds[at.phase] = Math.max(at.rounds[at.phase], depth);
  };
  const channel = (role: Role): Channel => {
    const found = party.channels[role];
    if (!found) throw new Error(`${party.role} has no link to ${role}`);
    return found;
  };
  // Written out, not spread: a literal with a spread costs 15 µs each here, several milliseconds an inference of ResNet-20.
  const context: StepContext<Words> = {
    program: environment.program,
    batch: environment.batch,
    elements: environment.elements,
    compute: party.compute,
    memory,
    keep,
    weights: party.weights,
    value(tensor) {
      const words = values.words.get(tensor);
      if (!words) throw new Error(`${party.role} does not hold tensor ${tensor} in step ${at.step}`);
      return words;
    },
    give(tensor, words) {
      if (values.readers[tensor] === 0) memory.free(words);
      else values.words.set(tensor, memory.keep(words));
    },
    send(to, name, payload) {
      seen(clock + 1);
      const left = party.recorder && timelineNow();
      channel(to).send({ inference: at.number, step: at.step, name }, payload, at.phase, clock + 1);
      if (opened !== undefined && left !== undefined) noteDeparture(party, at, to, name, payload.length, opened, left);
    },
    async receive(from, name, bytes, orNone = false) {
      const label = { inference: at.number, step: at.step, name };
      const wait = at.waitSeconds === undefined ? {} : { waitSeconds: at.waitSeconds };
      const start = party.recorder && timelineNow();
      const message = await channel(from).receive(label, { maxBytes: bytes, ...wait });
      if (start !== undefined) {
        if (!at.quiet) noteWait(party, at, start);
        noteMessage(party, at, 'received', from, name, message.payload.length, timelineNow());
      }
      if (message.payload.length !== bytes && !(orNone && message.payload.length === 0))
        throw wrongSize(party, from, at, name, bytes, message.payload.length);
      clock = Math.max(clock, message.depth);
      seen(message.depth);
      return message.payload;
    },
    async draw(peer, part, out, again) {
      const streams = party.streams[peer];
      if (!streams) throw new Error(`${party.role} shares no stream with ${peer}`);
      await streams.draw({ inference: at.number, step: at.step, tensor: part }, out, again);
    },
    cached<T>(key: string, make: () => T): T {
      const full = `${at.step}/${environment.batch}/${key}`;
      const found = party.cache.get(full) as T | undefined;
      if (found !== undefined) return found;
      const made = make();
      party.cache.set(full, made);
      return made;
    },
    branch(after = false) {
      const own = stepContext(party, environment, place, { ...at, depth: after ? latest() : clock });
      branches.push(own.clock);
      return own.context;
    },
    rest() {
      const start = party.recorder && timelineNow();
      return () => {
        if (start !== undefined) noteWait(party, at, start);
      };
    },
  };
  return { context, clock: latest };
}

function noteMessage(
  { recorder }: PartyState,
  { phase, number: inference, step }: Position,
  kind: 'sent' | 'received',
  peer: Role,
  name: number,
  bytes: number,
  at: number,
): void {
  recorder?.message({ kind, phase, inference, step, name, peer, bytes, at });
}

/** A message that was sent. The ends have no span of their own: what led to the message is theirs. */
function noteDeparture(party: PartyState, at: Position, to: Role, name: number, bytes: number, opened: number, left: number): void {
  const { phase, number: inference, step } = at;
  noteMessage(party, at, 'sent', to, name, bytes, left);
  if (step >= party.program.steps.length) party.recorder?.span({ kind: 'step', phase, inference, step, start: opened, end: timelineNow() });
}

/** A step that waited since `start`. */
function noteWait({ recorder }: PartyState, { phase, number: inference, step }: Position, start: number): void {
  recorder?.span({ kind: 'wait', phase, inference, step, start, end: timelineNow() });
}

function wrongSize(party: PartyState, from: Role, at: Position, name: number, expected: number, got: number): PeerError {
  const step = party.program.steps[at.step]?.name ?? 'input or output';
  return new PeerError(`the ${from} sent ${got} bytes where ${expected} were agreed`, {
    code: 'wrong-size',
    where: `inference ${at.number}, step "${step}", message ${name}`,
    hint: 'both sides must run the same version of Tessera',
  });
}
