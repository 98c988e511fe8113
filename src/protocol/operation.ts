// What a protocol operation is, and what it sees of its party. Suites (masked/, securenn/) are tables of operations.
import type { Compute, HeapArray } from '../kernel/compute.js';
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
}

/** What a cost formula may depend on: all of it public. */
export interface CostEnvironment {
  readonly program: Program;
  readonly batch: number;
  /** Whether a tensor's mask is unknown to the client (see states.ts). */
  isSealed(tensor: TensorId): boolean;
  /** Elements of a tensor over the whole batch. */
  elements(tensor: TensorId): number;
}

/**
 * A party's hands during one step of one inference. Values are ring words on the compute heap, [batch, ...shape]: for the server the
 * masked value, for the client the mask of a hidden tensor, for the provider the mask of any tensor.
 */
export interface StepContext extends CostEnvironment {
  readonly compute: Compute;
  readonly memory: Scope;
  /** This party's packed weights of a linear layer: W for the server, D = W - B for the client, B for the provider. */
  weights(index: number): LinearWeights;
  value(tensor: TensorId): Int32Array;
  /** Sets the step's output; the interpreter frees it after its last reader. */
  give(tensor: TensorId, words: Int32Array): void;
  /** Sends a message of the step. Copies the payload, so that the heap may be reused at once. */
  send(to: Role, name: number, payload: Uint8Array): void;
  /** Awaits a message of the step that must have exactly `bytes` bytes, or with `orNone` none at all; PeerError otherwise. */
  receive(from: Role, name: number, bytes: number, orNone?: boolean): Promise<Uint8Array>;
  /** Fills an array from the stream this party shares with `peer`. `part` tells the draws of a step apart; a part drawn twice throws. */
  draw(peer: Role, part: number, out: HeapArray): Promise<void>;
  /** Something derived from the public program alone, made once a batch size and kept on the heap. */
  cached<T>(key: string, make: () => T): T;
}

/** Convolution weights of one layer, packed for the kernel, with the bias (the server's only). */
export interface LinearWeights {
  convolve(input: Int32Array, batch: number, output: Int32Array, addend?: Int32Array): Promise<void>;
}

/** One role of one operation: what it does before the input exists, and after. `offline` returns what `online` needs. */
export interface RolePart<S extends Step, M = unknown> {
  offline(context: StepContext, step: S): Promise<M>;
  online?(context: StepContext, step: S, material: M): Promise<void>;
}

/** Names a step may use: rounds of the same kind inside one step (maxpool) are this far apart, in message codes and in draws. */
export const roundStride = 16;

/** A secure operation: its cost, and its three roles. `rounds` is the length of its online chain of one-way messages. */
export interface Operation<S extends Step, C = unknown, V = unknown, P = unknown> {
  messages(step: S, environment: CostEnvironment): MessageSize[];
  rounds(step: S, environment: CostEnvironment): number;
  readonly client: RolePart<S, C>;
  readonly server: RolePart<S, V>;
  readonly provider: RolePart<S, P>;
}
