// A channel over one open `ws` socket: flow control, keep-alive, and what its errors mean. Not here: how sockets come to be.
import type { Socket } from 'node:net';
import type { RawData, WebSocket } from 'ws';
import { PeerError } from '../errors.js';
import type { Channel } from './channel.js';
import { noteArrived } from './collect.node.js';
import { createEndpoint, type Transport } from './endpoint.js';
import { garbage, left, oversized } from './failures.js';
import { fromClose, headerBytes, toClose } from './goodbye.js';
import type { ChannelLimits } from './limits.js';
import { createFramePool } from './pool.js';

/** `drained` holds its caller back above this many bytes: deep enough to keep a 10 Gbit/s link busy while the event loop is away for 3 ms. */
export const highWaterBytes = 4 << 20;

/** Memory kept for the next frames, by all channels of the process together. */
const pool = createFramePool(64 << 20);

/** A peer that has been told goodbye for a failure gets this long to answer before its socket is cut. */
const graceMilliseconds = 1000;

/** A connection on which nothing moved for this many heartbeats in a row is gone; one more than that fits into the waiting limit. */
const heartbeats = 3;

/** Longest time between heartbeats, so that home routers keep the connection in their tables. */
const longestHeartbeatSeconds = 20;

/**
 * @param carrier The TCP or TLS socket underneath.
 * @param masked Whether this end masks its frames (clients do), for the framing count.
 */
export function channelOver(socket: WebSocket, carrier: Socket, limits: ChannelLimits, masked: boolean): Channel {
  const queue = createQueue(socket, masked);
  const endpoint = createEndpoint(queue.transport, limits);
  const stopHeartbeat = startHeartbeat(
    socket,
    limits.waitSeconds,
    () => carrier.bytesRead + queue.flushedBytes(),
    () => socket.isPaused,
    () =>
      endpoint.fail(new PeerError('the peer no longer answers', { code: 'peer-silent', hint: 'It hangs, or the network to it is cut.' })),
  );
  socket.on('message', (data: RawData, isBinary: boolean) => {
    if (isBinary) {
      noteArrived((data as Buffer).length);
      endpoint.deliver(data as Buffer);
    } else endpoint.fail(garbage('a text message, where all of ours are binary'));
  });
  socket.on('error', (error: Error & { code?: string }) => endpoint.fail(socketFailure(error, limits)));
  socket.on('close', (code: number, text: Buffer) => {
    stopHeartbeat();
    const meaning = fromClose(code, text.toString());
    if (meaning instanceof PeerError) endpoint.fail(meaning);
    else endpoint.peerLeft(meaning);
  });
  return endpoint.channel;
}

interface Queue {
  readonly transport: Transport;
  /** Bytes that have left this process, ever. */
  flushedBytes(): number;
}

function createQueue(socket: WebSocket, masked: boolean): Queue {
  let framingBytes = 0;
  let handedBytes = 0;
  let waiting: (() => void)[] = [];
  const wake = (): void => {
    if (waiting.length === 0 || socket.bufferedAmount > highWaterBytes) return;
    const ready = waiting;
    waiting = [];
    for (const resume of ready) resume();
  };
  return {
    flushedBytes: () => handedBytes - socket.bufferedAmount,
    transport: {
      allocate: pool.take,
      write(frame) {
        if (socket.readyState !== socket.OPEN) return;
        const header = headerBytes(frame.length, masked);
        framingBytes += header;
        handedBytes += frame.length + header;
        // Called when the kernel has its own copy, or the socket is gone.
        socket.send(frame, { binary: true }, () => {
          pool.give(frame);
          wake();
        });
      },
      drained: () => (socket.bufferedAmount <= highWaterBytes ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
      end(farewell) {
        const { code, text } = toClose(farewell);
        socket.close(code, text);
        if (farewell.kind === 'failed') setTimeout(() => socket.terminate(), graceMilliseconds).unref();
      },
      hold: (stop) => (stop ? socket.pause() : socket.resume()),
      framingBytes: () => framingBytes,
    },
  };
}

/**
 * Pings, and counts beats during which `movedBytes` (read, or handed to the network) did not grow. Beats are counted, not seconds, so that a
 * process that was itself too busy to read does not blame its peer.
 */
function startHeartbeat(
  socket: WebSocket,
  waitSeconds: number,
  movedBytes: () => number,
  paused: () => boolean,
  dead: () => void,
): () => void {
  let missed = 0;
  let furthest = movedBytes();
  const beat = (): void => {
    const moved = movedBytes();
    // Who does not read sees no answers.
    missed = moved > furthest || paused() ? 0 : missed + 1;
    furthest = Math.max(furthest, moved);
    if (missed >= heartbeats) dead();
    else if (socket.readyState === socket.OPEN) socket.ping();
  };
  const timer = setInterval(beat, Math.min(waitSeconds / (heartbeats + 1), longestHeartbeatSeconds) * 1000);
  timer.unref();
  return () => clearInterval(timer);
}

function socketFailure(error: Error & { code?: string }, limits: ChannelLimits): PeerError {
  if (error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') return oversized(undefined, limits.maxFrameBytes);
  return error.code?.startsWith('WS_ERR') ? garbage(`what is no WebSocket frame (${error.message})`) : left(error);
}
