// What a protocol operation is, and what it sees of its party. Suites (masked/, securenn/) are tables of operations.
import type { Compute, HeapArray, Words } from '../kernel/compute.js';
import type { Program, Step, TensorId } from '../model/program.js';
import type { Phase } from '../wire/channel.js';
import type { Scope } from './scope.js';

export type Role = 'client' | 'server' | 'provider';
export type Link = `${Role}>${Role}`;
export type RunPhase = Exclude<Phase, 'setup'>;

/** One message of a step, as both the sender and the cost model know it beforehand. `bytes` is the payload; its label comes on top. */
export interface MessageSize {
  readonly phase: RunPhase;
  readonly link: Link;
  readonly name: number;
  readonly bytes: number;
  /**
   * Where messages of a step pass each other: those that stand in a row with the same round do not wait for one another. Else each message
   * waits for the one before it in the list.
   */
  readonly round?: number;
}

/** What a cost formula may depend on: all of it public. */
export interface CostEnvironment {
  readonly program: Program;
  readonly batch: number;
  /** Elements of a tensor over the whole batch. */
  elements(tensor: TensorId): number;
}

/**
 * A party's hands during one step of one inference. Values are ring words on the compute heap, [batch, ...shape]; what a party's value of
 * a tensor is, is the suite's own affair (a masked value, a mask, a share). `W` is Int32Array for operations of rings of up to 32 bits only.
 */
export interface StepContext<W extends Words = Words> extends CostEnvironment {
  readonly compute: Compute;
  readonly memory: Scope;
  /** This party's packed weights of a linear layer: W for the server, D = W - B for the client, B for the provider. */
  weights(index: number): LinearWeights<W>;
  value(tensor: TensorId): W;
  /** Sets the step's output; the interpreter frees it after its last reader. */
  give(tensor: TensorId, words: W): void;
  /** Sends a message of the step. Copies the payload, so that the heap may be reused at once. */
  send(to: Role, name: number, payload: Uint8Array): void;
  /** Awaits a message of the step that must have exactly `bytes` bytes, or with `orNone` none at all; PeerError otherwise. */
  receive(from: Role, name: number, bytes: number, orNone?: boolean): Promise<Uint8Array>;
  /**
   * Fills an array from the stream this party shares with `peer`. `part` tells the draws of a step apart; a part drawn twice throws. With `again`,
   * which throws unless the part was drawn once, the same bytes for the same use: for a party that did not {@link keep} them.
   */
  draw(peer: Role, part: number, out: HeapArray, again?: boolean): Promise<void>;
  /** Whether this party has room to keep so many bytes from the step's offline part to its online part. */
  keep(bytes: number): boolean;
  /** Something derived from the public program alone, made once a batch size and kept on the heap. */
  cached<T>(key: string, make: () => T): T;
  /**
   * The same hands for work that runs beside other work of the step: its messages are a chain of their own, from which rounds are counted. It
   * starts where this one's is or, `after` them, where the longest chain of all its branches is. A `quiet` one leaves it to `rest` to note when
   * the step waits.
   */
  branch(after?: boolean, quiet?: boolean): StepContext<W>;
  /** For timelines: all branches wait for messages from now on, until what it returns is called. */
  rest(): () => void;
}

/** Convolution weights of one layer, packed for the kernel, with the bias (the server's only). */
export interface LinearWeights<W extends Words = Words> {
  /** W itself, [outputChannels, inputChannels / groups, kernelHeight, kernelWidth], not on the heap: the server's only. */
  readonly words?: W;
  convolve(input: W, batch: number, output: W, addend?: W): Promise<void>;
}

/** One role of one operation: what it does before the input exists, and after. `offline` returns what `online` needs. */
export interface RolePart<S extends Step, M = unknown, W extends Words = Words> {
  offline(context: StepContext<W>, step: S): Promise<M>;
  /** Whether `offline` only draws and receives, so that it may as well be done shortly before `online`, with messages that came long before. */
  readonly putsOff?: true;
  online?(context: StepContext<W>, step: S, material: M): Promise<void>;
}

/** Names a step may use: rounds of the same kind inside one step (maxpool) are this far apart, in message codes and in draws. */
export const roundStride = 16;

/** The same hands with messages and draws numbered `offset` higher: for a part of a step beside others of its kind. */
export function numberedFrom<H extends Pick<StepContext, 'send' | 'receive' | 'draw'>>(hands: H, offset: number): H {
  return {
    ...hands,
    send: (to, name, payload) => hands.send(to, name + offset, payload),
    receive: (from, name, bytes, orNone) => hands.receive(from, name + offset, bytes, orNone),
    draw: (peer, part, out, again) => hands.draw(peer, part + offset, out, again),
  };
}

/** How many one-way messages in a row have led to what client and server each hold. */
export interface Depths {
  readonly client: number;
  readonly server: number;
}

/** A secure operation: its cost, and its three roles. `rounds` is the length of its online chain of one-way messages. */
export interface Operation<S extends Step, C = unknown, V = unknown, P = unknown, W extends Words = Words> {
  messages(step: S, environment: CostEnvironment): MessageSize[];
  rounds(step: S, environment: CostEnvironment): number;
  /** Where one party has its output before the other: from the depths of the inputs those of the output. Else both have it after `rounds`. */
  depths?(step: S, environment: CostEnvironment, before: Depths): Depths;
  readonly client: RolePart<S, C, W>;
  readonly server: RolePart<S, V, W>;
  readonly provider: RolePart<S, P, W>;
}
