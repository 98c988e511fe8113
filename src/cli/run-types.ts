// What the command line needs of the parties: a session that answers pictures and says what it cost. src/cli/sessions.ts makes them.
import type { Preprocessing } from '../data/preprocess.js';
import type { Program, ProgramWeights } from '../model/program.js';
import type { Timeline } from '../party/timeline.js';
import type { Link, Role, RunPhase } from '../protocol/operation.js';
import type { Phase } from '../wire/channel.js';
import type { NetworkProfile } from '../wire/profiles.js';

/** What everybody may know about a model beside its program. */
export interface ModelDescription {
  readonly name: string;
  readonly classes?: readonly string[];
  readonly preprocess?: Preprocessing;
}

/** A compiled model as the model owner holds it. */
export interface CompiledModel {
  readonly program: Program;
  readonly weights: ProgramWeights;
  readonly description: ModelDescription;
  /** Hash of the program, as all parties compare it. */
  readonly hash: string;
}

/** Bytes of each direction of each link that carried something. */
export type LinkTraffic = Readonly<Partial<Record<Link, number>>>;

/** One inference: a batch of pictures that shared their messages. */
export interface Outcome {
  /** Decoded outputs, batch × outputs, before the output activation. */
  readonly logits: Float32Array;
  /** Time of the slowest party. */
  readonly seconds: Readonly<Record<RunPhase, number>>;
  /** One-way messages in the longest chain of which each depends on the one before. */
  readonly rounds: Readonly<Record<RunPhase, number>>;
}

export type Timelines = Readonly<Record<Role, Timeline>>;

export type SessionTraffic = Readonly<Record<Phase, LinkTraffic>> & { readonly framing: number };

/** An open session of a client with the two other parties. */
export interface PrivateSession {
  readonly program: Program;
  readonly description: ModelDescription;
  /** Key agreement, program and weight differences: once a session. */
  readonly setupSeconds: number;
  /**
   * Answers one batch of input tensors. May be called again before the first answer is there: the offline phase of the next then
   * overlaps the online phase of the one before.
   */
  infer(images: Float32Array, batch: number): Promise<Outcome>;
  /** The offline phase alone; what it gives answers one batch. */
  prepare(batch: number): Promise<{ infer(images: Float32Array): Promise<Outcome> }>;
  /** Bytes so far, on the links this process can see, and of transport framing (WebSocket headers). */
  traffic(): Promise<SessionTraffic>;
  /** What each party did when, where that was asked for: see {@link LocalRunOptions.timelines}. */
  timelines(): Promise<Timelines | undefined>;
  /** The most memory so far. */
  peakBytes(): Promise<PeakBytes>;
  /** Whether `traffic` covers every link. */
  readonly seesAllLinks: boolean;
  close(): Promise<void>;
}

/** The most memory that was ever resident, in bytes: of each party this command can see, or `together` where one process holds all of them. */
export type PeakBytes = Readonly<Partial<Record<Role | 'together', number>>>;

export interface LocalRunOptions {
  readonly suite: string;
  readonly parties: 'memory' | 'processes';
  readonly network?: NetworkProfile;
  readonly threads: number;
  /** The most pictures in an inference: what memory is checked for before anything is started. Default 1. */
  readonly batch?: number;
  /** Whether parties write down what they do when. */
  readonly timelines?: boolean;
  /** Sends zeros and computes nothing: see protocol/dry.ts. */
  readonly dry?: boolean;
}
