// The data owner: opens a session with server and provider, prepares inferences, and runs them on its pictures. Runs in Node and in browsers.
import { PeerError, UsageError } from '../errors.js';
import type { Compute, Words } from '../kernel/compute.js';
import { programHash } from '../model/files.js';
import { resizeOutput } from '../model/output.js';
import type { Program } from '../model/program.js';
import { controlNames } from '../protocol/control.js';
import type { RunPhase } from '../protocol/operation.js';
import { checkSuite } from '../protocol/suite.js';
import { createKeyPair } from '../random/seeds.js';
import { decodeFixed, encodeFixed } from '../ring/fixed.js';
import type { Channel } from '../wire/channel.js';
import { type Inference, openInference, type PartyState } from './interpreter.js';
import {
  farewell,
  freeCache,
  type InferenceReport,
  linkFailures,
  pairStreams,
  partyState,
  rootCause,
  secondsSince,
  suites,
  type Traffic,
} from './session.js';
import * as setup from './setup.js';
import { type Recorder, timelineNow } from './timeline.js';
import { differenceBytes, differenceTable, type WeightTable } from './weights.js';

export interface ClientOptions {
  readonly compute: Compute;
  /** Protocol suite; the server must have it. Default "masked". */
  readonly suite?: string;
  /** Links to the two others. Both belong to the session from here on. */
  readonly server: Channel;
  readonly provider: Channel;
  /** Hash the program must have; PeerError when the server offers another. */
  readonly pinnedHash?: string;
  /** Bytes of material that are kept ready in memory; what is beyond is drawn anew when its step comes. Default 256 MiB. */
  readonly readyBytes?: number;
  /** Where to write down what this party does when. */
  readonly recorder?: Recorder;
}

/** What an inference gave: per image the decoded outputs (logits), in the order of the batch. */
export interface InferenceResult {
  readonly outputs: readonly Float32Array[];
  readonly report: InferenceReport;
}

/** Material for one inference that has not run yet. It serves once. */
export interface PreparedInference {
  readonly batch: number;
  /**
   * Runs the online phase. `images` holds batch × input values (NCHW, preprocessed). Throws DataError for a value outside the input's range,
   * UsageError for a wrong length or a second use; PeerError when a party fails.
   */
  infer(images: Float32Array): Promise<InferenceResult>;
  /** Gives the material up, unused, and with it its place among those the server keeps ready. */
  discard(): void;
}

export interface ClientSession {
  readonly program: Program;
  readonly hash: string;
  readonly info: setup.ModelInfo;
  readonly setupSeconds: number;
  readonly traffic: { readonly server: Traffic; readonly provider: Traffic };
  /** The offline phase for a batch of images. Any number may be prepared ahead, within the server's limit. */
  prepare(batch?: number): Promise<PreparedInference>;
  /** Offline and online in one go. */
  infer(images: Float32Array, batch?: number): Promise<InferenceResult>;
  close(): Promise<void>;
}

/** Opens a session. Rejects with PeerError when a party cannot be reached, speaks another version or offers another program than pinned. */
export async function openClientSession(options: ClientOptions): Promise<ClientSession> {
  const start = performance.now();
  try {
    const { party, weights, hash, info } = await greet(options);
    return clientSession(options, party, weights, { hash, info, setupSeconds: secondsSince(start) });
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'the session could not be opened';
    options.server.close(reason);
    options.provider.close(reason);
    throw error;
  }
}

async function greet({ compute, server, provider, suite: suiteName = 'masked', pinnedHash, recorder, readyBytes }: ClientOptions) {
  const { setupNames, protocolVersion: version } = setup;
  const suite = suites[suiteName];
  if (!suite)
    throw new UsageError(`there is no protocol suite "${suiteName}"`, {
      code: 'unknown-suite',
      hint: `suites: ${Object.keys(suites).join(', ')}`,
    });
  const keys = await createKeyPair();
  const publicKey = setup.toHex(keys.publicKey);
  setup.sendJson(server, setupNames.hello, { version, suite: suiteName, publicKey });
  const welcome = await setup.receiveJson(server, setupNames.welcome, 'server', setup.serverWelcomeSchema);
  const program = await setup.receiveProgram(server);
  const hash = await programHash(program);
  if (hash !== welcome.hash || (pinnedHash !== undefined && hash !== pinnedHash)) {
    throw new PeerError(`the server's program has hash ${hash.slice(0, 16)}…, expected ${(pinnedHash ?? welcome.hash).slice(0, 16)}…`, {
      code: 'wrong-program',
      hint: 'ask the model owner which program it serves, and pin that one with --program',
    });
  }
  checkSuite(suite, program);
  setup.sendJson(provider, setupNames.hello, {
    version,
    role: 'client',
    session: welcome.session,
    publicKey,
    hash,
  });
  const joined = await setup.receiveJson(provider, setupNames.welcome, 'provider', setup.providerWelcomeSchema);
  const streamsWith = async (theirs: string, purpose: string) =>
    pairStreams(compute, await keys.agree(setup.fromHex(theirs)), setup.fromHex(welcome.session), purpose);
  const streams = {
    server: await streamsWith(welcome.publicKey, 'client-server'),
    provider: await streamsWith(joined.publicKey, 'client-provider'),
  };
  const weights = suite.reusesWeights
    ? await differenceTable(compute, program, (step, position) =>
        setup.receiveSetup(server, setupNames.difference, differenceBytes(step, program.ringBits), position),
      )
    : undefined;
  const party = partyState('client', suite, program, compute, { server, provider }, streams, weights, { recorder, readyBytes });
  return { party, weights, hash, info: welcome.info };
}

type About = Pick<ClientSession, 'hash' | 'info' | 'setupSeconds'>;

function clientSession(
  { server, provider }: ClientOptions,
  party: PartyState,
  weights: WeightTable | undefined,
  about: About,
): ClientSession {
  const active = new Set<Promise<unknown>>();
  const ledger: Ledger = { requests: 0, last: 0, waiting: new Set() };
  let closed = false;
  // A party that leaves ends the session: whatever waits on the other one would wait in vain.
  const failures = linkFailures(server, provider);
  server.ended.then((reason) => provider.close(farewell('server', reason)));
  provider.ended.then((reason) => {
    if (!closed) server.close(farewell('provider', reason));
  });
  const track = <T>(work: Promise<T>): Promise<T> => {
    const explained = work.catch((error: unknown) => {
      const cause = rootCause(error, failures);
      if (cause instanceof PeerError) for (const link of [server, provider]) link.close(cause.message);
      throw cause;
    });
    active.add(explained);
    const done = () => void active.delete(explained);
    explained.then(done, done);
    return explained;
  };
  const prepare = (batch = 1) => track(prepareInference(party, ledger, batch, track));
  return {
    ...about,
    program: party.program,
    traffic: { server, provider },
    prepare,
    infer: async (images, batch = 1) => (await prepare(batch)).infer(images),
    async close() {
      if (closed) return;
      closed = true;
      server.close();
      provider.close();
      await Promise.allSettled(active);
      for (const giveUp of ledger.waiting) giveUp();
      weights?.free();
      freeCache(party);
    },
  };
}

interface Ledger {
  /** Inferences asked for so far. */
  requests: number;
  /** The number the server gave the last one. */
  last: number;
  /** Gives up what is prepared and neither run nor discarded, one function each. */
  readonly waiting: Set<() => void>;
}

type Track = <T>(work: Promise<T>) => Promise<T>;

async function prepareInference(party: PartyState, ledger: Ledger, batch: number, track: Track): Promise<PreparedInference> {
  if (!Number.isInteger(batch) || batch < 1) throw new UsageError(`a batch has at least one image, got ${batch}`, { code: 'bad-batch' });
  const { ends } = party.suite;
  const server = party.channels.server!;
  const request = ++ledger.requests;
  const start = performance.now();
  const began = party.recorder && timelineNow();
  server.send({ inference: request, step: 0, name: controlNames.request }, setup.u32(batch), 'offline', 1);
  const numbered = await server.receive({ inference: request, step: 0, name: controlNames.number }, { maxBytes: 4 });
  const number = setup.readU32(numbered.payload, 0);
  setup.checkNumber(number, ledger.last, 'server');
  ledger.last = number;
  const inference = openInference(party, number, batch);
  try {
    const inputMask = await ends.drawInputMask(inference.end(0, 'offline', numbered.depth).context, 'provider');
    const clock = await inference.steps('offline', numbered.depth);
    const outputMask = await ends.drawOutputMask(inference.end(1, 'offline', clock).context);
    const ready = await server.receive({ inference: inference.number, step: 0, name: controlNames.ready }, { maxBytes: 0 });
    inference.rounds.offline = Math.max(inference.rounds.offline, ready.depth);
    const offline = secondsSince(start);
    if (began !== undefined) notePhase(party, 'offline', number, began);
    return preparedInference(party, ledger, inference, { inputMask, outputMask }, offline, track);
  } catch (error) {
    inference.finish();
    throw error;
  }
}

/** A phase of an inference that began then and is over now. */
function notePhase({ recorder, program }: PartyState, phase: RunPhase, inference: number, start: number): void {
  recorder?.span({ kind: 'phase', phase, inference, step: program.steps.length, start, end: timelineNow() });
}

interface Masks {
  readonly inputMask: Words;
  readonly outputMask: Words;
}

function preparedInference(
  party: PartyState,
  { waiting }: Ledger,
  inference: Inference,
  masks: Masks,
  offlineSeconds: number,
  track: Track,
): PreparedInference {
  const { program } = party;
  const input = program.tensors[program.input]!;
  let used = false;
  /** The ledger: material is struck off before the first byte that depends on it leaves, and never comes back. */
  const consume = () => {
    if (used)
      throw new UsageError('this prepared inference was used before, or its session is closed', {
        code: 'used-twice',
        hint: 'prepare a new one for every batch',
      });
    used = true;
    waiting.delete(giveUp);
  };
  const giveUp = () => {
    consume();
    inference.finish();
  };
  waiting.add(giveUp);
  return {
    batch: inference.batch,
    async infer(images) {
      const expected = input.shape.reduce((a, b) => a * b, inference.batch);
      if (images.length !== expected) {
        throw new UsageError(
          `"images" expected ${inference.batch} × ${input.shape.join(' × ')} = ${expected} values, got ${images.length}`,
          { code: 'bad-shape', hint: 'give the values of all images of the batch, channel by channel, row by row' },
        );
      }
      const encoded = encodeFixed(images, input.scale, program.ringBits);
      consume();
      return track(runOnline(party, inference, masks, encoded, offlineSeconds));
    },
    discard() {
      if (used) return;
      consume();
      party.suite.ends.giveUpInput(inference.end(0, 'online', 0).context);
      inference.finish();
    },
  };
}

async function runOnline(
  party: PartyState,
  inference: Inference,
  masks: Masks,
  encoded: Words,
  offlineSeconds: number,
): Promise<InferenceResult> {
  const { program, suite } = party;
  const start = performance.now();
  const began = party.recorder && timelineNow();
  try {
    const first = inference.end(0, 'online', 0);
    await suite.ends.sendInput(first.context, encoded, masks.inputMask);
    const clock = await inference.steps('online', first.clock());
    const words = await suite.ends.receiveOutput(inference.end(1, 'online', clock).context, masks.outputMask);
    const values = resizeOutput(program, decodeFixed(words, program.tensors[program.output]!.scale));
    const size = values.length / inference.batch;
    const outputs = Array.from({ length: inference.batch }, (_, i) => values.subarray(i * size, (i + 1) * size));
    const seconds = { offline: offlineSeconds, online: secondsSince(start) };
    if (began !== undefined) notePhase(party, 'online', inference.number, began);
    return { outputs, report: { inference: inference.number, batch: inference.batch, seconds, rounds: inference.rounds } };
  } finally {
    inference.finish();
  }
}
