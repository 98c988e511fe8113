// A slower network than there is: rate and latency, put on what one end of a channel sends. Not here: which networks (profiles.ts).
import type { Channel } from './channel.js';
import { count, emptyMeter } from './meter.js';
import type { LinkSpeed } from './profiles.js';

/** `drained` holds its caller back while more than this waits to be serialised. */
const highWaterBytes = 4 << 20;

/** Timers are good to about this; what is left of a delay is spent looking at the clock between other work. */
const timerSeconds = 1.5e-3;

/** The time a link goes by. */
export interface Clock {
  /** Seconds since some moment. */
  now(): number;
  /** Resolves at that time of `now`, or at once when it has passed. */
  until(time: number): Promise<void>;
}

/**
 * Delays what this end sends, as a link of that rate and round trip would: messages leave one after the other at `bytesPerSecond` (label and
 * payload), and arrive half a round trip after they left, in order. Wrap one end to shape one direction, both ends to shape the link.
 * Closing without a reason comes after what was sent before; closing with one comes at once. The rate is kept on average however short the messages:
 * each leaves when the one before has left, not when that was noticed.
 */
export function shape(channel: Channel, speed: LinkSpeed, clock: Clock = wallClock): Channel {
  const sent = emptyMeter();
  const queue = createDelayLine(speed, clock);
  return {
    sent,
    received: channel.received,
    ended: channel.ended,
    get framingBytes() {
      return channel.framingBytes;
    },
    send(label, payload, phase, depth) {
      const copy = payload.slice();
      const bytes = count(sent, phase, payload.length);
      queue.push(bytes, () => channel.send(label, copy, phase, depth));
    },
    receive: (label, options) => channel.receive(label, options),
    async drained() {
      await Promise.race([queue.below(highWaterBytes), channel.ended]);
      await channel.drained();
    },
    close(reason) {
      if (reason === undefined) queue.push(0, () => channel.close());
      else channel.close(reason);
    },
  };
}

interface DelayLine {
  /** Calls `arrive` when `bytes` more bytes have left and travelled. */
  push(bytes: number, arrive: () => void): void;
  /** Resolves when at most `bytes` bytes wait to leave. */
  below(bytes: number): Promise<void>;
}

function createDelayLine({ bytesPerSecond, roundTripSeconds }: LinkSpeed, { now, until }: Clock): DelayLine {
  const queue: { readonly due: number; readonly arrive: () => void }[] = [];
  let free = 0;
  let running = false;
  const run = async (): Promise<void> => {
    running = true;
    for (let head = queue[0]; head !== undefined; head = queue[0]) {
      await until(head.due);
      queue.shift();
      head.arrive();
    }
    running = false;
  };
  return {
    push(bytes, arrive) {
      free = Math.max(now(), free) + bytes / bytesPerSecond;
      queue.push({ due: free + roundTripSeconds / 2, arrive });
      if (!running) void run();
    },
    below: (bytes) => until(free - bytes / bytesPerSecond),
  };
}

const now = (): number => performance.now() / 1000;

const wallClock: Clock = {
  now,
  /** To some ten microseconds, unless the event loop is busy. */
  async until(time) {
    for (let left = time - now(); left > 0; left = time - now()) {
      if (left > timerSeconds) await new Promise((resolve) => setTimeout(resolve, (left - timerSeconds) * 1000));
      else await turn();
    }
  },
};

/** One turn of the event loop, as short as the platform has one. */
function turn(): Promise<unknown> {
  if (typeof setImmediate === 'function') return new Promise((resolve) => setImmediate(resolve));
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = resolve;
    port2.postMessage(undefined);
  });
}
