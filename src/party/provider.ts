// The helper: holds nothing, sees shapes only, and deals the correlated randomness of every inference before its input exists. In suites that
// need it, it also takes part in the online phase; it never sees more than what is uniform to it.
import { PeerError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import { programHash } from '../model/files.js';
import type { Program } from '../model/program.js';
import { controlNames } from '../protocol/control.js';
import { checkSuite, type Suite } from '../protocol/suite.js';
import { createKeyPair, type KeyPair, randomEpoch } from '../random/seeds.js';
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
  wrapSeed,
} from './session.js';
import * as setup from './setup.js';
import type { Recorder } from './timeline.js';
import { dealerTable, type WeightTable } from './weights.js';

export interface ProviderOptions {
  readonly compute: Compute;
  /** How long a server may wait for its client to join, and a session may rest. Default 600. */
  readonly idleSeconds?: number;
  /** The most sessions at a time. Default 64. */
  readonly maxSessions?: number;
  /** The most images a server may ask for in one batch. Default 64. */
  readonly maxBatch?: number;
  onInference?(report: InferenceReport): void;
  /** Where to write down what this party does when, in the sessions that open from now on. */
  readonly recorder?: Recorder;
  /** Wraps a link once it is known whose it is, e.g. to shape it. */
  wrap?(link: Channel, peer: 'client' | 'server'): Channel;
}

export interface Provider {
  /**
   * Serves one link, a server's or a client's: the first message says which. Resolves when the link's session has ended in good order,
   * rejects with what ended it otherwise.
   */
  serve(link: Channel): Promise<void>;
}

/** A client's link, handed to the session it names. */
interface Joining {
  readonly channel: Channel;
  readonly publicKey: string;
  readonly hash: string;
}

interface OpenSession {
  join(client: Joining): void;
  readonly ended: Promise<void>;
}

/** B of the models in use, packed; sessions of one loaded model share it. */
interface DealerCache {
  use(id: string, make: () => Promise<WeightTable>): Promise<WeightTable>;
  release(id: string): void;
}

function dealerCache(): DealerCache {
  const entries = new Map<string, { table: Promise<WeightTable>; users: number }>();
  return {
    use(id, make) {
      const entry = entries.get(id) ?? { table: make(), users: 0 };
      entry.users++;
      entries.set(id, entry);
      return entry.table;
    },
    release(id) {
      const entry = entries.get(id);
      if (!entry || --entry.users > 0) return;
      entries.delete(id);
      entry.table.then(
        (table) => table.free(),
        () => {},
      );
    },
  };
}

export function createProvider(options: ProviderOptions): Provider {
  const sessions = new Map<string, OpenSession>();
  let open = 0;
  const dealers = dealerCache();
  return {
    async serve(bare) {
      let link = bare;
      try {
        const hello = await setup.receiveJson(bare, setup.setupNames.hello, 'client', setup.providerHelloSchema);
        link = options.wrap?.(bare, hello.role) ?? bare;
        if (hello.role === 'client') {
          const session = sessions.get(hello.session);
          if (!session)
            throw new PeerError('there is no such session, or its client is here already', {
              code: 'no-session',
              hint: 'connect to the server again',
            });
          sessions.delete(hello.session);
          session.join({ channel: link, publicKey: hello.publicKey, hash: hello.hash });
          await session.ended;
        } else {
          if (open >= (options.maxSessions ?? 64))
            throw new PeerError('the provider has no session left', { code: 'too-many-sessions', hint: 'try again later' });
          open++;
          try {
            await serveServer(options, sessions, dealers, link, hello);
          } finally {
            open--;
          }
        }
      } catch (error) {
        link.close(error instanceof Error ? error.message : 'the session failed');
        throw error;
      } finally {
        link.close();
      }
    },
  };
}

interface ServerHello {
  readonly suite: string;
  readonly publicKey: string;
}

/** One session from the server's hello to its end. */
async function serveServer(
  options: ProviderOptions,
  sessions: Map<string, OpenSession>,
  dealers: DealerCache,
  server: Channel,
  hello: ServerHello,
): Promise<void> {
  const suite = suites[hello.suite];
  if (!suite) throw new PeerError(`there is no protocol suite "${hello.suite}"`, { code: 'unknown-suite' });
  const session = randomEpoch();
  const id = setup.toHex(session);
  const keys = await createKeyPair();
  let join!: (client: Joining) => void;
  const client = new Promise<Joining>((resolve) => {
    join = resolve;
  });
  let finish!: () => void;
  const ended = new Promise<void>((resolve) => {
    finish = resolve;
  });
  sessions.set(id, { join, ended });
  let clientLink: Channel | undefined;
  try {
    setup.sendJson(server, setup.setupNames.welcome, {
      version: setup.protocolVersion,
      session: id,
      publicKey: setup.toHex(keys.publicKey),
    });
    const secret = await keys.agree(setup.fromHex(hello.publicKey));
    const model = await receiveModel(server, secret, session);
    checkSuite(suite, model.program);
    const joining = await firstOf(client, server, (options.idleSeconds ?? 600) * 1000);
    clientLink = joining.channel;
    await runSession(options, dealers, { suite, keys, secret, session, server, ...model }, joining);
  } catch (error) {
    clientLink?.close((error as Error).message);
    throw error;
  } finally {
    sessions.delete(id);
    clientLink?.close();
    finish();
  }
}

interface ReceivedModel {
  readonly program: Program;
  readonly hash: string;
  readonly dealer: { readonly id: Uint8Array; readonly seed: Uint8Array };
}

async function receiveModel(server: Channel, secret: Uint8Array, session: Uint8Array): Promise<ReceivedModel> {
  const program = await setup.receiveProgram(server);
  const dealer = await setup.receiveSetup(server, setup.setupNames.dealer, 32);
  if (dealer.length !== 32) throw new PeerError(`the server sent a dealer seed of ${dealer.length} bytes`, { code: 'wrong-size' });
  return {
    program,
    hash: await programHash(program),
    dealer: { id: dealer.slice(0, 16), seed: await wrapSeed(secret, session, dealer.slice(16)) },
  };
}

/** The client, unless the server leaves or the time is up before. */
function firstOf(client: Promise<Joining>, server: Channel, milliseconds: number): Promise<Joining> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new PeerError('the client did not join its session in time', { code: 'timeout' })), milliseconds);
    const settle = (then: () => void) => {
      clearTimeout(timer);
      then();
    };
    client.then((joining) => settle(() => resolve(joining)));
    server.ended.then((reason) => settle(() => reject(reason ?? new PeerError('the server has left', { code: 'peer-left' }))));
  });
}

interface SessionState extends ReceivedModel {
  readonly suite: Suite;
  readonly keys: KeyPair;
  readonly secret: Uint8Array;
  readonly session: Uint8Array;
  readonly server: Channel;
}

async function runSession(options: ProviderOptions, dealers: DealerCache, state: SessionState, client: Joining): Promise<void> {
  const { compute } = options;
  const { program, hash, dealer, keys, session, server } = state;
  if (client.hash !== hash) {
    throw new PeerError('client and server do not run the same program', {
      code: 'wrong-program',
      hint: 'the server must send both parties the same program',
    });
  }
  setup.sendJson(client.channel, setup.setupNames.welcome, { version: setup.protocolVersion, publicKey: setup.toHex(keys.publicKey) });
  const withClient = await pairStreams(compute, await keys.agree(setup.fromHex(client.publicKey)), session, 'client-provider');
  const withServer = await pairStreams(compute, state.secret, session, 'server-provider');
  const dealerId = setup.toHex(dealer.id) + hash;
  client.channel.ended.then((reason) => server.close(reason && farewell('client', reason)));
  const failures = linkFailures(client.channel, server);
  const { reusesWeights } = state.suite;
  try {
    const weights = reusesWeights ? await dealers.use(dealerId, () => dealerTable(compute, program, dealer)) : undefined;
    const links = { client: client.channel, server };
    const streams = { client: withClient, server: withServer };
    const party = partyState('provider', state.suite, program, compute, links, streams, weights, { recorder: options.recorder });
    try {
      await dealInferences(options, party, server);
    } finally {
      freeCache(party);
    }
  } catch (error) {
    const cause = rootCause(error, failures);
    // A client that hangs up is how a session ends; that closes the server's link here.
    if (!(cause instanceof PeerError && (cause.code === 'peer-left' || cause.code === 'peer-closed'))) throw cause;
  } finally {
    if (reusesWeights) dealers.release(dealerId);
  }
}

/** Inferences dealt at a time; a server that reads slowly, or announces more, waits. */
const dealtAtOnce = 4;

/** Inferences of a session that are dealt and not over yet, where the suite needs the provider online too; a server that announces more waits. */
const heldAtOnce = 256;

/** Deals for every inference the server announces. Rejects when the server leaves, or an inference fails. */
async function dealInferences(options: ProviderOptions, party: PartyState, server: Channel): Promise<never> {
  const dealing = new Set<Promise<void>>();
  const running = new Set<Promise<void>>();
  let failure: unknown;
  const track = (set: Set<Promise<void>>, task: Promise<void>): void => {
    const settled = task.catch((error: unknown) => {
      failure ??= error;
      server.close((error as Error).message);
    });
    set.add(settled);
    settled.finally(() => set.delete(settled));
  };
  try {
    let last = 0;
    for (let request = 1; ; request++) {
      while (dealing.size >= dealtAtOnce) await Promise.race(dealing);
      while (running.size >= heldAtOnce) await Promise.race(running);
      const label = { inference: request, step: 0, name: controlNames.prepare };
      const { payload, depth } = await server.receive(label, { maxBytes: 8, waitSeconds: options.idleSeconds ?? 600 });
      const number = setup.readU32(payload, 0);
      const batch = setup.readU32(payload, 1);
      setup.checkNumber(number, last, 'server');
      setup.checkBatch(batch, options.maxBatch, 'server');
      last = number;
      const inference = openInference(party, number, batch);
      const dealt = deal(party, inference, depth);
      track(
        dealing,
        dealt.then(() => undefined),
      );
      track(running, runInference(options, party, inference, dealt));
    }
  } catch (error) {
    // A server that leaves takes its session with it: nobody waits for its client here.
    party.channels.client?.close(farewell('server', error instanceof Error ? error : undefined));
    await Promise.allSettled(running);
    throw failure ?? error;
  }
}

/** The offline phase; returns its seconds. */
async function deal({ suite: { ends } }: PartyState, inference: Inference, depth: number): Promise<number> {
  const start = performance.now();
  await ends.drawInputMask(inference.end(0, 'offline', depth).context, 'client');
  await inference.steps('offline', depth);
  await ends.dealOutput(inference.end(1, 'offline', depth).context);
  return secondsSince(start);
}

/** An inference from its dealing to its end: in most suites that is all, in some the provider takes part online. */
async function runInference(options: ProviderOptions, party: PartyState, inference: Inference, dealt: Promise<number>): Promise<void> {
  const { joinOnline } = party.suite.ends;
  try {
    const seconds = { offline: await dealt, online: 0 };
    if (joinOnline) {
      const first = inference.end(0, 'online', 0, options.idleSeconds ?? 600);
      if (!(await joinOnline(first.context))) return;
      const start = performance.now();
      await inference.steps('online', first.clock());
      seconds.online = secondsSince(start);
    }
    const { number, batch, rounds } = inference;
    options.onInference?.({ inference: number, batch, seconds, rounds });
  } finally {
    inference.finish();
  }
}
