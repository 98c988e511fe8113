// Connecting to a party from a page, over the browser's own WebSocket.
import { PeerError } from '../errors.js';
import { parseAddress } from './address.js';
import type { Channel } from './channel.js';
import { createEndpoint, type Transport } from './endpoint.js';
import { garbage } from './failures.js';
import { fromClose, headerBytes, toClose } from './goodbye.js';
import { type ChannelLimits, withDefaults } from './limits.js';

export interface BrowserConnectOptions {
  readonly limits?: Partial<ChannelLimits>;
  /** How long the connection may take to open. Default 10. */
  readonly timeoutSeconds?: number;
}

/** `drained` holds its caller back above this many bytes. */
const highWaterBytes = 4 << 20;

/** Browsers have no event for a queue that empties: it is looked at this often while somebody waits for it. */
const pollMilliseconds = 4;

/**
 * Connects to a party at ws://… or wss://… from a page or a worker.
 *
 * A browser tells scripts neither why a connection fails nor that a peer has silently died: the first is one error with the usual causes as its
 * hint, the second is noticed by the waiting limit. Frames are checked against `maxFrameBytes` when the browser has read them whole.
 * Rejects with UsageError for an address that is none, with PeerError when the connection does not open.
 */
export async function connect(url: string, options: BrowserConnectOptions = {}): Promise<Channel> {
  const address = parseAddress(url);
  const limits = withDefaults(options.limits);
  const socket = openSocket(address);
  socket.binaryType = 'arraybuffer';
  await opened(socket, address, options.timeoutSeconds ?? 10);
  const endpoint = createEndpoint(transportOver(socket), limits);
  socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
    if (typeof data === 'string') endpoint.fail(garbage('a text message, where all of ours are binary'));
    else endpoint.deliver(new Uint8Array(data));
  };
  socket.onclose = ({ code, reason }) => {
    const meaning = fromClose(code, reason);
    if (meaning instanceof PeerError) endpoint.fail(meaning);
    else endpoint.peerLeft(meaning);
  };
  return endpoint.channel;
}

function openSocket(address: URL): WebSocket {
  try {
    return new WebSocket(address);
  } catch (cause) {
    throw unreachable(address, 'the browser refuses that address', cause);
  }
}

function opened(socket: WebSocket, address: URL, seconds: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: PeerError): void => {
      clearTimeout(timer);
      socket.onopen = null;
      socket.onclose = null;
      if (error === undefined) {
        resolve();
        return;
      }
      socket.close();
      reject(error);
    };
    const timer = setTimeout(() => settle(unreachable(address, 'no answer in time')), seconds * 1000);
    socket.onopen = () => settle();
    socket.onclose = () => settle(unreachable(address, 'the connection did not open'));
  });
}

function unreachable(address: URL, what: string, cause?: unknown): PeerError {
  return new PeerError(`cannot connect to ${address.protocol}//${address.host}: ${what}`, {
    code: 'peer-unreachable',
    where: address.href,
    hint: "Is the party running there? From a page served over https only wss:// is allowed; the browser's console has the reason.",
    cause,
  });
}

function transportOver(socket: WebSocket): Transport {
  let framingBytes = 0;
  return {
    write(frame) {
      if (socket.readyState !== WebSocket.OPEN) return;
      framingBytes += headerBytes(frame.length, true);
      socket.send(frame);
    },
    async drained() {
      while (socket.bufferedAmount > highWaterBytes && socket.readyState === WebSocket.OPEN) {
        await new Promise((resolve) => setTimeout(resolve, pollMilliseconds));
      }
    },
    end(farewell) {
      const { code, text } = toClose(farewell);
      socket.close(code, text);
    },
    framingBytes: () => framingBytes,
  };
}
