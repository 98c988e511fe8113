// WebSocket connections in Node, listening and connecting, with TLS when given certificates. Not here: what travels on them.
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { PeerError, UsageError } from '../errors.js';
import { parseAddress } from './address.js';
import type { Channel } from './channel.js';
import { payloadLimit } from './goodbye.js';
import { type ChannelLimits, withDefaults } from './limits.js';
import { channelOver } from './socket.node.js';

/** Who connected: the address it came from, and the path it asked for. */
export interface ConnectionInfo {
  readonly address: string;
  readonly path: string;
}

export interface ListenOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Certificate chain and private key, PEM; without them the connection is not encrypted. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** The only path that is served; any by default. */
  readonly path?: string;
  readonly limits?: Partial<ChannelLimits>;
  /** Connections open at the same time, further ones are dropped. Default 1024. */
  readonly maxConnections?: number;
  /** Called for every channel that opens. */
  onConnection(channel: Channel, info: ConnectionInfo): void;
}

export interface Listener {
  /** Where it listens, as a peer on this host would write it. */
  readonly url: string;
  readonly port: number;
  /** Stops listening and ends every channel, with the reason if there is one. Resolves when all sockets are closed. */
  close(reason?: string): Promise<void>;
}

export interface ConnectOptions {
  /** Certificate, PEM, to be trusted instead of the system's authorities. */
  readonly tls?: { readonly ca: string };
  readonly limits?: Partial<ChannelLimits>;
  /** How long name resolution, TCP, TLS and the WebSocket handshake may take together. Default 10. */
  readonly timeoutSeconds?: number;
}

/** A connection that has not asked for its WebSocket by then is dropped. */
const handshakeMilliseconds = 10_000;

/** Sockets that have not closed by then are cut when a listener stops. */
const closeMilliseconds = 1000;

/**
 * Serves WebSocket connections. Everything a peer can get wrong ends its own channel with a PeerError and leaves the others alone.
 * Throws UsageError when the address cannot be listened on or the certificate cannot be used.
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  const limits = withDefaults(options.limits);
  const server = createHttpServer(options);
  server.maxConnections = options.maxConnections ?? 1024;
  const sockets = new WebSocketServer({ server, ...commonOptions(limits), ...(options.path === undefined ? {} : { path: options.path }) });
  const channels = new Set<Channel>();
  sockets.on('connection', (socket: WebSocket, request: IncomingMessage) => {
    const channel = channelOver(socket, request.socket, limits, false);
    channels.add(channel);
    void channel.ended.then(() => channels.delete(channel));
    options.onConnection(channel, { address: request.socket.remoteAddress ?? '', path: request.url ?? '/' });
  });
  const port = await bind(server, sockets, options);
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    url: `${options.tls ? 'wss' : 'ws'}://${host}:${port}${options.path ?? ''}`,
    port,
    close(reason) {
      for (const channel of channels) channel.close(reason);
      return new Promise((resolve) => {
        const cut = setTimeout(() => {
          for (const socket of sockets.clients) socket.terminate();
          server.closeAllConnections();
        }, closeMilliseconds);
        sockets.close();
        server.close(() => {
          clearTimeout(cut);
          resolve();
        });
      });
    },
  };
}

/**
 * Connects to a party at ws://… or wss://….
 * Rejects with UsageError for an address that is none, with PeerError when nobody answers or the answer cannot be trusted.
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Channel> {
  const address = parseAddress(url);
  const limits = withDefaults(options.limits);
  const seconds = options.timeoutSeconds ?? 10;
  const socket = new WebSocket(address, {
    ...commonOptions(limits),
    ...options.tls,
    handshakeTimeout: seconds * 1000,
    generateMask: zeroMask,
    followRedirects: false,
  });
  return new Promise((resolve, reject) => {
    let carrier: Socket;
    const refuse = (error: Error): void => {
      socket.terminate();
      reject(connectFailure(error, address));
    };
    // Beside ws's own limit on the handshake, one on everything, name resolution included.
    const timer = setTimeout(() => refuse(new Error('timed out')), seconds * 1000);
    socket.once('upgrade', (response: IncomingMessage) => {
      carrier = response.socket;
    });
    socket.once('open', () => {
      clearTimeout(timer);
      socket.off('error', refuse);
      resolve(channelOver(socket, carrier, limits, true));
    });
    socket.once('error', refuse);
    // What comes after the first error (terminate reports one too) says nothing new.
    socket.on('error', () => clearTimeout(timer));
  });
}

/** Compression is off: masked values do not compress, and inflating is one more way for a peer to use memory. */
function commonOptions(limits: ChannelLimits): { perMessageDeflate: false; maxPayload: number; closeTimeout: number } {
  const closeTimeout = Math.min(limits.waitSeconds, 60) * 1000;
  return { perMessageDeflate: false, maxPayload: payloadLimit(limits.maxFrameBytes), closeTimeout };
}

/**
 * Leaves the mask at zero, for which `ws` skips the XOR: 4.1 GB/s instead of 0.5 from client to server. The mask keeps a page's script from
 * choosing the bytes that an old proxy on the way might take for HTTP (RFC 6455 section 10.3); it hides nothing, its key is in the frame. What
 * we send is chosen by no script of a stranger, and secrecy on the way is TLS's work.
 */
function zeroMask(): void {}

function createHttpServer({ tls, path }: ListenOptions): Server {
  const answer = (_: IncomingMessage, response: import('node:http').ServerResponse): void => {
    response.writeHead(426, { 'content-type': 'text/plain', connection: 'close' });
    response.end(`This is a Tessera party. It speaks WebSocket${path === undefined ? '' : ` at ${path}`}.\n`);
  };
  const limits = { headersTimeout: handshakeMilliseconds, requestTimeout: handshakeMilliseconds, connectionsCheckingInterval: 1000 };
  if (tls === undefined) return createServer(limits, answer);
  try {
    return createTlsServer({ ...limits, ...tls, handshakeTimeout: handshakeMilliseconds, minVersion: 'TLSv1.2' }, answer);
  } catch (cause) {
    throw new UsageError('the certificate or its key cannot be used', {
      code: 'bad-certificate',
      hint: 'Give a certificate chain and its private key, both PEM; `tessera keys` makes a pair.',
      cause,
    });
  }
}

function bind(server: Server, sockets: WebSocketServer, { host, port }: ListenOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: Error & { code?: string }): void => {
      const why = listenFailures[cause.code ?? ''] ?? cause.message;
      reject(new UsageError(`cannot listen on ${host}:${port}: ${why}`, { code: 'cannot-listen', where: `${host}:${port}`, cause }));
    };
    sockets.once('error', refuse);
    server.listen(port, host, () => {
      sockets.off('error', refuse);
      // From here on an error means one connection that could not be accepted (out of file handles); the others go on.
      sockets.on('error', () => undefined);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

const listenFailures: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EACCES: 'this user may not (ports below 1024 are reserved)',
  EADDRNOTAVAIL: 'this host has no such address',
  ENOTFOUND: 'that name is not known',
};

/** What went wrong before the channel opened: message, code and hint by the code of Node's error. */
function connectFailure(error: Error & { code?: string }, address: URL): PeerError {
  const [what, code, hint] = describeFailure(error);
  return new PeerError(`cannot connect to ${address.protocol}//${address.host}: ${what}`, {
    code,
    hint,
    where: address.href,
    cause: error,
  });
}

function describeFailure(error: Error & { code?: string }): readonly [what: string, code: string, hint: string] {
  const known = connectFailures[error.code ?? ''];
  if (known !== undefined) return known;
  if (error.message.includes('timed out'))
    return ['no answer in time', 'peer-unreachable', 'Check the address, and the firewalls between.'];
  if (error.message.includes('Unexpected server response')) {
    return [error.message.toLowerCase(), 'peer-not-tessera', 'Something else answers there, or the path in the address is wrong.'];
  }
  if (/CERT|TLS|SSL|ISSUER|SIGNATURE|EPROTO/.test(error.code ?? '')) {
    return [
      `TLS failed (${error.message})`,
      'peer-untrusted',
      'Use wss:// with a party that has TLS, ws:// without; give its certificate with the ca option if no public authority signed it.',
    ];
  }
  return [error.message || String(error.code), 'peer-unreachable', 'Check the address, and that the party runs.'];
}

const connectFailures: Readonly<Record<string, readonly [string, string, string]>> = {
  ECONNREFUSED: ['connection refused', 'peer-refused', 'Is the party running there, and is the port right?'],
  ENOTFOUND: ['no such host', 'peer-unknown-host', 'Check the name in the address.'],
  EAI_AGAIN: ['the name cannot be looked up now', 'peer-unknown-host', "Check the name, and this host's network."],
  ECONNRESET: ['the connection was cut', 'peer-left', 'Check that both sides use TLS, or neither (wss:// or ws://).'],
};
