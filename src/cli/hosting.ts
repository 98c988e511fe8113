// A provider or a model owner that listens on an address and goes on serving whatever goes wrong with one client.
import { readFile } from 'node:fs/promises';
import { DataError, TesseraError, UsageError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import { providerLimits, serverLimits } from '../party/limits.js';
import { fileStores } from '../party/material.node.js';
import { createProvider } from '../party/provider.js';
import { createServer, loadModel } from '../party/server.js';
import type { InferenceReport } from '../party/session.js';
import type { Recorder } from '../party/timeline.js';
import type { Channel } from '../wire/channel.js';
import type { ChannelLimits } from '../wire/limits.js';
import { linkSpeed, type NetworkProfile } from '../wire/profiles.js';
import { shape } from '../wire/shaper.js';
import { connect, type Listener, listen } from '../wire/websocket.node.js';
import { collectRarely } from './collector.js';
import type { CompiledModel } from './run-types.js';

/** What happens at a party, for its log. */
export interface Events {
  opened?(address: string): void;
  answered?(report: InferenceReport): void;
  /** A session is over; `error` when not in good order. */
  ended?(address: string, error: Error | undefined): void;
}

export interface HostOptions {
  readonly compute: Compute;
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Certificate chain and private key, PEM. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** A network to imitate on this party's side of every link. */
  readonly network?: NetworkProfile;
  /** How long this party waits for a message that is due. */
  readonly waitSeconds?: number;
  /** How long a session may rest between inferences. */
  readonly idleSeconds?: number;
  /** The most images in one batch. */
  readonly maxBatch?: number;
  readonly events?: Events;
  /** Where to write down what this party does when. */
  readonly recorder?: Recorder;
}

/** Listens as the helper party. */
export function hostProvider(options: HostOptions): Promise<Listener> {
  const { compute, network, events, recorder } = options;
  const wrap = (link: Channel, peer: 'client' | 'server') =>
    network === undefined ? link : shape(link, linkSpeed(network, 'provider', peer));
  const provider = createProvider({ compute, wrap, ...recording(recorder), ...sessionLimits(options), ...reporting(events) });
  return host(options, providerLimits, (link) => provider.serve(link));
}

export interface ServerHostOptions extends HostOptions {
  readonly model: CompiledModel;
  readonly providerUrl: string;
  /** Offline bytes of a session's inferences that are prepared and not yet run. */
  readonly prepareBytes?: number;
  /** Certificate to trust at the provider, PEM. */
  readonly ca?: string;
  /** Called with every link to the provider. */
  onProviderLink?(link: Channel): void;
}

/** Listens as the model owner; opens a link of its own to the provider for every client. */
export async function hostServer(options: ServerHostOptions): Promise<Listener> {
  const { compute, model, providerUrl, ca, network, waitSeconds } = options;
  const served = await loadModel(compute, model.program, model.weights, { ...model.description } as Parameters<typeof loadModel>[3]);
  const connectProvider = async (): Promise<Channel> => {
    const link = await connect(providerUrl, { ...(ca === undefined ? {} : { tls: { ca } }), limits: channelLimits(waitSeconds) });
    const shaped = network === undefined ? link : shape(link, linkSpeed(network, 'server', 'provider'));
    options.onProviderLink?.(shaped);
    return shaped;
  };
  const own = {
    ...prepared(options.prepareBytes),
    ...recording(options.recorder),
    ...sessionLimits(options),
    ...reporting(options.events),
  };
  const server = createServer({ compute, model: served, connectProvider, openStore: fileStores(), ...own });
  return host(options, serverLimits(model.program, options.maxBatch), (link) =>
    server.serve(network === undefined ? link : shape(link, linkSpeed(network, 'server', 'client'))),
  );
}

/** Limits of a channel: those of the wire, but for how long it waits. */
export const channelLimits = (waitSeconds: number | undefined): Partial<ChannelLimits> =>
  waitSeconds === undefined ? {} : { waitSeconds };

const sessionLimits = ({ idleSeconds, maxBatch }: HostOptions): { idleSeconds?: number; maxBatch?: number } => ({
  ...(idleSeconds === undefined ? {} : { idleSeconds }),
  ...(maxBatch === undefined ? {} : { maxBatch }),
});

const prepared = (bytes: number | undefined): { maxPreparedBytes?: number } => (bytes === undefined ? {} : { maxPreparedBytes: bytes });

const recording = (recorder: Recorder | undefined): { recorder?: Recorder } => (recorder === undefined ? {} : { recorder });

function reporting(events: Events | undefined): { onInference?(report: InferenceReport): void } {
  return events?.answered === undefined ? {} : { onInference: (report) => events.answered?.(report) };
}

function host(
  { host: name, port, tls, waitSeconds, events }: HostOptions,
  sizes: Partial<ChannelLimits>,
  serve: (link: Channel) => Promise<void>,
): Promise<Listener> {
  collectRarely();
  return listen({
    host: name,
    port,
    ...(tls === undefined ? {} : { tls }),
    limits: { ...sizes, ...channelLimits(waitSeconds) },
    onConnection: (channel, { address }) => {
      events?.opened?.(address);
      serve(channel).then(
        () => events?.ended?.(address, undefined),
        (error: Error) => events?.ended?.(address, error),
      );
    },
  });
}

/** Reads HOST:PORT, :PORT or PORT (all interfaces), [IPv6]:PORT. Throws UsageError for anything else. */
export function parseListenAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:(\[[0-9a-fA-F:]+\]|[^:[\]]*):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65535) {
    throw new UsageError(`"${text}" is no address to listen on`, {
      code: 'bad-address',
      where: '--listen',
      hint: 'Give HOST:PORT, or PORT for all interfaces.',
    });
  }
  const host = (match[1] ?? '').replace(/^\[|\]$/g, '');
  return { host: host === '' ? '::' : host, port };
}

/** Reads the PEM files of --cert and --key, which belong together. */
export async function readTls(cert: string | undefined, key: string | undefined): Promise<{ tls?: { cert: string; key: string } }> {
  if (cert === undefined && key === undefined) return {};
  if (cert === undefined || key === undefined) {
    throw new UsageError('--cert and --key belong together', {
      code: 'usage',
      hint: 'Give both, or neither for a connection without TLS.',
    });
  }
  return { tls: { cert: await readPem(cert), key: await readPem(key) } };
}

/** Reads a PEM file. */
export async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new DataError(`${path} cannot be read`, { code: 'unreadable-file', where: path, hint: 'Give a PEM file.', cause });
  }
}

/** An event's line in a log: what went wrong, and what to do about it. */
export function explain(error: Error): string {
  const hint = error instanceof TesseraError && error.hint !== undefined ? `; ${error.hint}` : '';
  return `${error.message}${hint}`;
}
