// What the three roles share: keys of a session, the state an inference runs on, and the ledger of inferences.
import { PeerError, UsageError } from '../errors.js';
import type { Compute, HeapArray } from '../kernel/compute.js';
import type { Program } from '../model/program.js';
import { dryName, drySuite } from '../protocol/dry.js';
import { masked } from '../protocol/masked/suite.js';
import type { Role, RunPhase } from '../protocol/operation.js';
import { securenn, securennBeaver, securennExact } from '../protocol/securenn/suite.js';
import type { Suite } from '../protocol/suite.js';
import { deriveKey } from '../random/seeds.js';
import { createStreams, type Streams } from '../random/streams.js';
import type { Channel } from '../wire/channel.js';
import type { PartyState } from './interpreter.js';
import { createRoom, type MaterialStore } from './material.js';
import type { Recorder } from './timeline.js';
import type { WeightTable } from './weights.js';

/** The suites this build can run. A new suite is a name here. Without a prototype: a peer may ask for "toString". */
const known: Record<string, Suite> = Object.assign(Object.create(null), {
  masked,
  securenn,
  'securenn-beaver': securennBeaver,
  'securenn-exact': securennExact,
});
export const suites: Readonly<Record<string, Suite>> = known;

/** Adds a suite of one's own, under its name. All three parties must have it. Throws UsageError for a name that is taken. */
export function addSuite(suite: Suite): void {
  if (Object.hasOwn(known, suite.name))
    throw new UsageError(`there is a suite "${suite.name}" already`, { code: 'suite-exists', hint: 'choose another name' });
  known[suite.name] = suite;
}

/** Adds the dry twin of every suite (protocol/dry.ts), where it is not there yet. */
export function addDrySuites(): void {
  for (const suite of Object.values(known)) {
    const dry = drySuite(suite);
    if (!suite.name.endsWith(dryName('')) && !Object.hasOwn(known, dry.name)) addSuite(dry);
  }
}

/** The stream two parties share in one session: their agreed secret, the session's id as the epoch. */
export async function pairStreams(compute: Compute, secret: Uint8Array, session: Uint8Array, purpose: string): Promise<Streams> {
  return createStreams(compute, await deriveKey(secret, `tessera ${purpose}`, session));
}

/** Pads the dealer's seed: the same call wraps and unwraps. */
export async function wrapSeed(secret: Uint8Array, session: Uint8Array, seed: Uint8Array): Promise<Uint8Array> {
  const pad = await deriveKey(secret, 'tessera dealer seed', session);
  return seed.map((byte, i) => byte ^ pad[i]!);
}

interface PartyOptions {
  readonly recorder?: Recorder | undefined;
  readonly readyBytes?: number | undefined;
  readonly openStore?: (() => MaterialStore) | undefined;
}

export function partyState(
  role: Role,
  suite: Suite,
  program: Program,
  compute: Compute,
  channels: PartyState['channels'],
  streams: PartyState['streams'],
  weights: WeightTable | undefined,
  { recorder, readyBytes, openStore }: PartyOptions = {},
): PartyState {
  const room = createRoom(readyBytes, openStore);
  const state = {
    role,
    suite,
    program,
    compute,
    channels,
    streams,
    room,
    cache: new Map(),
    weights: (index: number) => weights!.layer(index),
  };
  return recorder === undefined ? state : { ...state, recorder };
}

/** How the links of a session failed, in the order in which they did; a link that was closed in good order is not in it. */
export function linkFailures(...links: Channel[]): readonly Error[] {
  const failures: Error[] = [];
  for (const link of links) link.ended.then((reason) => reason && failures.push(reason));
  return failures;
}

/** What ended a session: where an error only says that this side closed a link, the failure of the other link that made it do so. */
export function rootCause(error: unknown, failures: readonly Error[]): unknown {
  return error instanceof PeerError && error.code === 'peer-closed' ? (failures[0] ?? error) : error;
}

/** What the third party is told when a link ends. */
export const farewell = (party: Role, reason: Error | undefined): string =>
  `the ${party} has left${reason === undefined ? '' : ` (${reason.message})`}`;

/** Frees what the party cached on the heap. */
export function freeCache(party: PartyState): void {
  for (const value of party.cache.values()) {
    const parts = ArrayBuffer.isView(value) ? [value] : Object.values(value as object).filter((part) => ArrayBuffer.isView(part));
    party.compute.free(...(parts as HeapArray[]));
  }
  party.cache.clear();
}

/** One finished inference, as a party's log and `run` report it. */
export interface InferenceReport {
  readonly inference: number;
  readonly batch: number;
  readonly seconds: Record<RunPhase, number>;
  readonly rounds: Record<RunPhase, number>;
}

/** Traffic of one link end, by phase. */
export type Traffic = Pick<Channel, 'sent' | 'received' | 'framingBytes'>;

export const secondsSince = (start: number): number => (performance.now() - start) / 1000;
