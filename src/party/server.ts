// The model owner: loads a compiled model once, and serves one client a session with a provider link of its own, so that whatever goes
// wrong ends that session alone.
import { PeerError, type TesseraError } from '../errors.js';
import type { Compute, Words } from '../kernel/compute.js';
import { encodeProgram, programHash } from '../model/files.js';
import type { Program, ProgramWeights } from '../model/program.js';
import { controlNames } from '../protocol/control.js';
import { estimate } from '../protocol/estimate.js';
import type { Suite } from '../protocol/suite.js';
import { createKeyPair } from '../random/seeds.js';
import type { Channel } from '../wire/channel.js';
import { type Inference, openInference, type PartyState } from './interpreter.js';
import type { MaterialStore } from './material.js';
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
  wrapSeed,
} from './session.js';
import * as setup from './setup.js';
import { readU32, u32 } from './setup.js';
import type { Recorder } from './timeline.js';
import { type Dealer, differences, newDealer, serverTable, type WeightTable } from './weights.js';

/** A model ready to be served: W packed, B's seed drawn. */
export interface ServedModel {
  readonly program: Program;
  readonly bytes: Uint8Array;
  readonly hash: string;
  readonly info: setup.ModelInfo;
  readonly weights: WeightTable;
  readonly dealer: Dealer;
  /** D of every layer in turn, packed; each goes when the next is asked for. */
  differences(): AsyncIterable<Uint8Array>;
}

export interface ServerOptions {
  readonly compute: Compute;
  readonly model: ServedModel;
  /** Opens a link to the provider, one for each session. */
  connectProvider(): Promise<Channel>;
  /** The most images a client may put into one batch. Default 64. */
  readonly maxBatch?: number;
  /** How many inferences of a session may be prepared and not yet run. Default 4. */
  readonly maxPrepared?: number;
  /** Offline bytes of a session's inferences that are prepared and not yet run; a further request waits. Default 512 MiB, or one inference. */
  readonly maxPreparedBytes?: number;
  /** How long a client may stay silent between inferences. Default 600. */
  readonly idleSeconds?: number;
  /** Bytes of a session's material that are kept ready in memory. Default 256 MiB. */
  readonly readyBytes?: number;
  /** Where material goes that there is no room for in memory (in Node `fileStores`); without it, all stays in memory. */
  readonly openStore?: () => MaterialStore;
  onInference?(report: InferenceReport): void;
  /** Where to write down what this party does when, in the sessions that open from now on. */
  readonly recorder?: Recorder;
}

/** Default of {@link ServerOptions.maxPreparedBytes}. */
export const defaultPreparedBytes = 2 ** 29;

export interface Server {
  /** Serves one client until it leaves. Resolves when the session has ended in good order, rejects with what ended it otherwise. */
  serve(client: Channel): Promise<void>;
}

/** Prepares a model for serving. Throws DataError when program and weights do not belong together. */
export async function loadModel(compute: Compute, program: Program, weights: ProgramWeights, info: setup.ModelInfo): Promise<ServedModel> {
  const table = await serverTable(compute, program, weights);
  const dealer = newDealer();
  return {
    program,
    bytes: await encodeProgram(program),
    hash: await programHash(program),
    info,
    weights: table,
    dealer,
    differences: () => differences(compute, program, weights, dealer),
  };
}

export function createServer(options: ServerOptions): Server {
  let lastInference = 0;
  return {
    async serve(client) {
      let provider: Channel | undefined;
      try {
        const hello = await setup.receiveJson(client, setup.setupNames.hello, 'client', setup.clientHelloSchema);
        provider = await options.connectProvider();
        const party = await openSession(options, client, provider, hello);
        try {
          await serveInferences(options, party, client, provider, () => ++lastInference);
        } finally {
          freeCache(party);
        }
      } catch (error) {
        const reason = (error as TesseraError).message;
        client.close(reason);
        throw error;
      } finally {
        provider?.close('the session has ended');
        client.close();
      }
    },
  };
}

/** Agrees on keys with the provider, gives it program and dealer seed, and sends the client what it needs once. */
async function openSession(
  { compute, model, recorder, readyBytes, openStore }: ServerOptions,
  client: Channel,
  provider: Channel,
  hello: { readonly suite: string; readonly publicKey: string },
): Promise<PartyState> {
  const suite = suiteFor(hello.suite, model.program);
  const { setupNames, protocolVersion: version } = setup;
  const keys = await createKeyPair();
  const publicKey = setup.toHex(keys.publicKey);
  setup.sendJson(provider, setupNames.hello, { version, role: 'server', suite: suite.name, publicKey });
  const welcome = await setup.receiveJson(provider, setupNames.welcome, 'provider', setup.providerWelcomeSchema);
  if (!welcome.session) throw new PeerError('the provider opened no session', { code: 'bad-hello' });
  const session = setup.fromHex(welcome.session);
  const secret = await keys.agree(setup.fromHex(welcome.publicKey));
  setup.sendSetup(provider, setupNames.program, model.bytes);
  const wrapped = await wrapSeed(secret, session, model.dealer.seed);
  setup.sendSetup(provider, setupNames.dealer, new Uint8Array([...model.dealer.id, ...wrapped]));

  const { hash, info } = model;
  setup.sendJson(client, setupNames.welcome, { version, suite: suite.name, session: welcome.session, publicKey, hash, info });
  setup.sendSetup(client, setupNames.program, model.bytes);
  if (suite.reusesWeights) {
    let position = 0;
    for await (const difference of model.differences()) {
      setup.sendSetup(client, setupNames.difference, difference, position++);
      await client.drained();
    }
  }
  const streams = {
    client: await pairStreams(compute, await keys.agree(setup.fromHex(hello.publicKey)), session, 'client-server'),
    provider: await pairStreams(compute, secret, session, 'server-provider'),
  };
  return partyState('server', suite, model.program, compute, { client, provider }, streams, model.weights, {
    recorder,
    readyBytes,
    openStore,
  });
}

/** The suite a client asks for. Throws PeerError when there is none of that name, or it cannot run this program. */
function suiteFor(name: string, program: Program): Suite {
  const suite = suites[name];
  if (!suite) {
    throw new PeerError(`the client asks for protocol suite "${name}", which this server does not have`, {
      code: 'unknown-suite',
      hint: `suites here: ${Object.keys(suites).join(', ')}`,
    });
  }
  const reason = suite.refuses(program);
  if (reason !== undefined) throw new PeerError(`the ${name} suite ${reason}`, { code: 'suite-refuses', hint: 'choose another suite' });
  return suite;
}

/** Takes the client's requests in order; several inferences may be on their way at once. Ends when the client leaves or one fails. */
async function serveInferences(
  options: ServerOptions,
  party: PartyState,
  client: Channel,
  provider: Channel,
  next: () => number,
): Promise<void> {
  const { maxBatch, maxPrepared = 4, maxPreparedBytes = defaultPreparedBytes, idleSeconds = 600 } = options;
  const running = new Set<Promise<void>>();
  let preparedBytes = 0;
  let failure: unknown;
  const failures = linkFailures(client, provider);
  const lost = provider.ended.then((reason) => {
    client.close(farewell('provider', reason));
    throw reason ?? new PeerError('the provider has left', { code: 'peer-left' });
  });
  lost.catch(() => {});
  try {
    for (let request = 1; ; request++) {
      while (running.size >= maxPrepared) await Promise.race(running);
      const label = { inference: request, step: 0, name: controlNames.request };
      const { payload, depth } = await Promise.race([client.receive(label, { maxBytes: 4, waitSeconds: idleSeconds }), lost]);
      const batch = readU32(payload, 0);
      setup.checkBatch(batch, maxBatch, 'client');
      const bytes = estimate(party.program, party.suite, batch).offline.bytes;
      while (running.size > 0 && preparedBytes + bytes > maxPreparedBytes) await Promise.race(running);
      preparedBytes += bytes;
      const number = next();
      client.send({ inference: request, step: 0, name: controlNames.number }, u32(number), 'offline', depth + 1);
      provider.send({ inference: request, step: 0, name: controlNames.prepare }, u32(number, batch), 'offline', depth + 1);
      const task = runInference(options, party, number, batch, idleSeconds).catch((error: unknown) => {
        failure ??= error;
        client.close((error as Error).message);
      });
      running.add(task);
      task.finally(() => {
        running.delete(task);
        preparedBytes -= bytes;
      });
    }
  } catch (error) {
    // A client that hangs up between inferences is how a session ends.
    const leaving = error instanceof PeerError && error.code === 'peer-left' && running.size === 0;
    const reason = leaving ? undefined : ((failure ?? error) as Error).message;
    // The client first: it should hear it from here, and not that the provider has left.
    client.close(reason);
    provider.close(reason);
    await Promise.allSettled(running);
    if (failure !== undefined || !leaving) throw rootCause(failure ?? error, failures);
  }
}

async function runInference(options: ServerOptions, party: PartyState, number: number, batch: number, idleSeconds: number): Promise<void> {
  const inference = openInference(party, number, batch);
  try {
    const offlineStart = performance.now();
    const shift = await prepare(party, inference);
    const offline = secondsSince(offlineStart);
    const client = party.channels.client!;
    client.send({ inference: number, step: 0, name: controlNames.ready }, new Uint8Array(0), 'offline', shift.clock + 1);
    const seconds = await answer(party, inference, shift.words, idleSeconds);
    if (seconds === undefined) return;
    const rounds = { offline: Math.max(inference.rounds.offline, shift.clock + 1), online: inference.rounds.online };
    options.onInference?.({ inference: number, batch, seconds: { offline, online: seconds }, rounds });
  } finally {
    inference.finish();
  }
}

async function prepare({ suite }: PartyState, inference: Inference): Promise<{ words: Words | undefined; clock: number }> {
  const end = inference.end(1, 'offline', 0);
  const clock = await inference.steps('offline', 0);
  // After the steps: the provider's last message, and a party that waits for it takes in all that comes before, however much that is.
  const words = await suite.ends.receiveOutputShift(end.context);
  return { words, clock: Math.max(clock, end.clock(), inference.rounds.offline) };
}

/**
 * Waits for the picture, which may take as long as the client likes within its idle time; returns the seconds from its arrival on, or
 * undefined when the client gave the inference up.
 */
async function answer(
  { suite }: PartyState,
  inference: Inference,
  shift: Words | undefined,
  idleSeconds: number,
): Promise<number | undefined> {
  const first = inference.end(0, 'online', 0, idleSeconds);
  if (!(await suite.ends.receiveInput(first.context))) return undefined;
  const start = performance.now();
  const clock = await inference.steps('online', first.clock());
  await suite.ends.sendOutput(inference.end(1, 'online', clock).context, shift);
  return secondsSince(start);
}
