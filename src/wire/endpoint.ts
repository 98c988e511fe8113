// One end of a channel over any transport that carries whole frames: labels, meters, limits, how it ends. Not here: sockets.
import { PeerError } from '../errors.js';
import type { Channel } from './channel.js';
import { closedHere, failed, left, oversized } from './failures.js';
import { decodeFrame, encodeFrame } from './frame.js';
import type { ChannelLimits } from './limits.js';
import { createMailbox } from './mailbox.js';
import { count, emptyMeter } from './meter.js';

/** Why a link ends, as the peer is told: done, or a short text. */
export interface Farewell {
  readonly kind: 'done' | 'failed';
  readonly text: string;
}

/** What carries the frames. None of its functions throws. */
export interface Transport {
  /** Memory for a frame that `write` is about to get. Default: fresh. */
  allocate?(length: number): Uint8Array<ArrayBuffer>;
  write(frame: Uint8Array<ArrayBuffer>): void;
  /** Stops reading, or goes on. What is not read holds the peer back. */
  hold?(stop: boolean): void;
  /** Resolves when the queue to the peer is short; may stay pending when the link ends. */
  drained(): Promise<void>;
  /** Tells the peer and ends the connection. Called once. */
  end(farewell: Farewell): void;
  framingBytes(): number;
}

export interface Endpoint {
  readonly channel: Channel;
  /** To be called with each frame that arrives. */
  deliver(frame: Uint8Array): void;
  /** To be called when the peer has said goodbye. */
  peerLeft(farewell: Farewell): void;
  /** To be called when the connection breaks, or the peer breaks its rules. */
  fail(error: PeerError): void;
}

export function createEndpoint(transport: Transport, limits: ChannelLimits): Endpoint {
  const sent = emptyMeter();
  const received = emptyMeter();
  let over: PeerError | undefined;
  let resolveEnded: (error: Error | undefined) => void = () => undefined;
  const ended = new Promise<Error | undefined>((resolve) => {
    resolveEnded = resolve;
  });

  const finish = (error: PeerError, keepArrived: boolean, reported: PeerError | undefined, farewell: Farewell): void => {
    if (over !== undefined) return;
    over = error;
    mailbox.end(error, keepArrived);
    transport.end(farewell);
    resolveEnded(reported);
  };
  const fail = (error: PeerError): void => finish(error, false, error, { kind: 'failed', text: `${error.code}: ${error.message}` });
  const mailbox = createMailbox(limits, fail, transport.hold);

  const channel: Channel = {
    sent,
    received,
    ended,
    get framingBytes() {
      return transport.framingBytes();
    },
    send(label, payload, phase, depth) {
      const frame = encodeFrame(label, payload, phase, depth, transport.allocate);
      if (over !== undefined) return;
      count(sent, phase, payload.length);
      transport.write(frame);
    },
    receive: (label, options) => mailbox.receive(label, options),
    async drained() {
      if (over === undefined) await Promise.race([transport.drained(), ended]);
      if (over !== undefined && over.code !== 'peer-closed') throw over;
    },
    close(reason) {
      finish(closedHere(reason), false, undefined, { kind: reason === undefined ? 'done' : 'failed', text: reason ?? '' });
    },
  };

  return {
    channel,
    deliver(bytes) {
      if (over !== undefined) return;
      try {
        if (bytes.length > limits.maxFrameBytes) throw oversized(bytes.length, limits.maxFrameBytes);
        const { label, payload, phase, depth } = decodeFrame(bytes);
        count(received, phase, payload.length);
        mailbox.deliver(label, payload, depth);
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
        fail(error);
      }
    },
    peerLeft(farewell) {
      const done = farewell.kind === 'done';
      const error = done ? left() : failed(farewell.text);
      finish(error, done, done ? undefined : error, { kind: 'done', text: '' });
    },
    fail,
  };
}
