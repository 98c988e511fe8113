// A party in a process of its own, for `run --parties processes`: what the command that started it may ask. Not here: how it is started.
import { createNodeCompute } from '../kernel/pool.node.js';
import { openClientSession, type PreparedInference } from '../party/client.js';
import { addDrySuites, type Traffic } from '../party/session.js';
import { createRecorder, type Recorder, type Timeline } from '../party/timeline.js';
import type { Channel } from '../wire/channel.js';
import { linkSpeed, type NetworkProfile } from '../wire/profiles.js';
import { shape } from '../wire/shaper.js';
import { connect } from '../wire/websocket.node.js';
import { answerCalls } from './calls.js';
import { collectRarely } from './collector.js';
import { channelLimits, hostProvider, hostServer } from './hosting.js';
import { readModelFolder } from './model-folder.js';
import { residentPeakBytes } from './resident.js';
import { outcomeOf } from './run-traffic.js';
import type { Outcome } from './run-types.js';

interface PartySettings {
  readonly threads: number;
  readonly network?: NetworkProfile;
  /** Whether to write down what this party does when. */
  readonly timelines?: boolean;
  /** Whether the suites are dry ones (protocol/dry.ts). */
  readonly dry?: boolean;
}

export interface ServerSettings extends PartySettings {
  /** Folder of the compiled model. */
  readonly model: string;
  readonly providerUrl: string;
}

export interface ClientSettings extends PartySettings {
  readonly suite: string;
  readonly serverUrl: string;
  readonly providerUrl: string;
}

/** The parties share this machine's processors: a large layer may take one of them minutes, and that one has died is seen without waiting. */
const waitSeconds = 600;

const traffic = ({ sent, received, framingBytes }: Traffic): Traffic => ({ sent, received, framingBytes });

let recorder: Recorder | undefined;
let providerLink: Channel | undefined;
let client: Awaited<ReturnType<typeof openClientSession>> | undefined;
/** Inferences whose offline phase is over, by a number that the command knows them by. */
const prepared = new Map<number, PreparedInference>();
let lastPrepared = 0;

async function begin({ threads, network, timelines, dry }: PartySettings) {
  if (dry) addDrySuites();
  if (timelines) recorder = createRecorder();
  const compute = await createNodeCompute({ threads });
  return { compute, ...(network === undefined ? {} : { network }), ...(recorder === undefined ? {} : { recorder }) };
}

const calls = {
  /** Starts a provider; returns where it listens. */
  async provider(settings: PartySettings): Promise<string> {
    return (await hostProvider({ ...(await begin(settings)), host: '127.0.0.1', port: 0, waitSeconds })).url;
  },
  /** Starts a model owner; returns where it listens. */
  async server({ model, providerUrl, ...settings }: ServerSettings): Promise<string> {
    const common = { ...(await begin(settings)), host: '127.0.0.1', port: 0, providerUrl, waitSeconds };
    const { compiled } = await readModelFolder(model);
    const onProviderLink = (link: Channel): void => {
      providerLink = link;
    };
    return (await hostServer({ ...common, model: compiled, onProviderLink })).url;
  },
  /** Opens a client's session; returns the seconds that took. */
  async client({ suite, serverUrl, providerUrl, network, ...settings }: ClientSettings): Promise<number> {
    collectRarely();
    const { compute } = await begin(settings);
    const open = async (url: string, peer: 'server' | 'provider'): Promise<Channel> => {
      const channel = await connect(url, { limits: channelLimits(waitSeconds) });
      return network === undefined ? channel : shape(channel, linkSpeed(network, 'client', peer));
    };
    const links = { server: await open(serverUrl, 'server'), provider: await open(providerUrl, 'provider') };
    client = await openClientSession({ compute, suite, ...links, ...(recorder === undefined ? {} : { recorder }) });
    return client.setupSeconds;
  },
  infer: async ({ images, batch }: { images: Float32Array; batch: number }): Promise<Outcome> =>
    outcomeOf(await client!.infer(images, batch)),
  /** The offline phase alone; returns the number to give to `use`. */
  async prepare(batch: number): Promise<number> {
    const ready = await client!.prepare(batch);
    prepared.set(++lastPrepared, ready);
    return lastPrepared;
  },
  async use({ number, images }: { number: number; images: Float32Array }): Promise<Outcome> {
    const ready = prepared.get(number)!;
    prepared.delete(number);
    return outcomeOf(await ready.infer(images));
  },
  close: async (): Promise<void> => client?.close(),
  /** Counters of the server's link to the provider. */
  providerTraffic: (): Traffic | undefined => providerLink && traffic(providerLink),
  /** Counters of the client's links. */
  clientTraffic: () => ({ server: traffic(client!.traffic.server), provider: traffic(client!.traffic.provider) }),
  timeline: (): Timeline => ({ spans: recorder?.spans ?? [], messages: recorder?.messages ?? [] }),
  peakBytes: residentPeakBytes,
};

export type PartyCalls = typeof calls;

answerCalls(calls);
