import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Channel, type Label, labelBytes } from './channel.js';
import { memoryChannelPair } from './memory.js';
import { linkSpeed, namedNetworks } from './profiles.js';
import { type Clock, shape } from './shaper.js';

// Time is the test's own: it moves only when advanceTimersByTime moves it, so these delays are exact.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'performance'] }));
afterEach(() => void vi.useRealTimers());

const label = (inference: number): Label => ({ inference, step: 0, name: 0 });
const message = (bytes: number) => new Uint8Array(bytes - labelBytes);

/** Milliseconds after which each message is there, in order of arrival. */
async function arrivals(channel: Channel, count: number, start: number): Promise<[number, number][]> {
  const seen: [number, number][] = [];
  for (let i = 0; i < count; i++) {
    void channel.receive(label(i)).then(() => seen.push([i, Math.round(performance.now() - start)]));
  }
  await vi.advanceTimersByTimeAsync(2000);
  return seen;
}

describe('a shaped channel', () => {
  it('takes half a round trip, and the time the bytes take at that rate, one message after the other', async () => {
    const [a, b] = memoryChannelPair();
    const shaped = shape(a, { bytesPerSecond: 100_000, roundTripSeconds: 0.04 });
    const start = performance.now();
    shaped.send(label(0), message(1000), 'online', 0);
    shaped.send(label(1), message(2000), 'online', 0);
    shaped.send(label(2), message(500), 'online', 0);
    expect(await arrivals(b, 3, start)).toEqual([
      [0, 30],
      [1, 50],
      [2, 55],
    ]);
  });

  it('leaves the other direction alone, unless that end is shaped too', async () => {
    const [a, b] = memoryChannelPair();
    const shaped = shape(a, { bytesPerSecond: 1e6, roundTripSeconds: 0.1 });
    b.send(label(0), message(12), 'online', 0);
    expect((await shaped.receive(label(0))).payload).toHaveLength(0);
    const [c, d] = memoryChannelPair();
    const network = { bytesPerSecond: 1e9, roundTripSeconds: 0.1 };
    const [left, right] = [shape(c, network), shape(d, network)];
    const start = performance.now();
    let answered = Number.NaN;
    void right.receive(label(0)).then(() => right.send(label(0), message(12), 'online', 0));
    void left.receive(label(0)).then(() => {
      answered = Math.round(performance.now() - start);
    });
    left.send(label(0), message(12), 'online', 0);
    await vi.advanceTimersByTimeAsync(500);
    // Twelve nanoseconds of serialisation cost the fake clock, which knows whole milliseconds, one each way.
    expect(answered).toBeGreaterThanOrEqual(100);
    expect(answered).toBeLessThanOrEqual(102);
  });

  it('does not make an idle link faster later: the rate counts from when a message is sent', async () => {
    const [a, b] = memoryChannelPair();
    const shaped = shape(a, { bytesPerSecond: 100_000, roundTripSeconds: 0 });
    await vi.advanceTimersByTimeAsync(1000);
    const start = performance.now();
    shaped.send(label(0), message(10_000), 'online', 0);
    expect(await arrivals(b, 1, start)).toEqual([[0, 100]]);
  });

  it('meters what was handed over at once, copies it, and is drained when the queue is short', async () => {
    const [a, b] = memoryChannelPair();
    const shaped = shape(a, { bytesPerSecond: 1e6, roundTripSeconds: 0.02 });
    const payload = new Uint8Array(5 << 20).fill(1);
    shaped.send(label(0), payload, 'offline', 3);
    payload.fill(2);
    expect(shaped.sent.offline).toEqual({ bytes: labelBytes + payload.length, messages: 1 });
    let drained = false;
    void shaped.drained().then(() => {
      drained = true;
    });
    await vi.advanceTimersByTimeAsync(900);
    expect(drained).toBe(false);
    await vi.advanceTimersByTimeAsync(200);
    expect(drained).toBe(true);
    await vi.advanceTimersByTimeAsync(6000);
    const { payload: got, depth } = await b.receive(label(0));
    expect([got[0], got.length, depth]).toEqual([1, payload.length, 3]);
    expect(a.sent).toEqual(shaped.sent);
  });

  it('closes after what was sent, or at once when something failed', async () => {
    const [a, b] = memoryChannelPair();
    const shaped = shape(a, { bytesPerSecond: 1e6, roundTripSeconds: 1 });
    shaped.send(label(0), message(100), 'online', 0);
    shaped.close();
    await vi.advanceTimersByTimeAsync(600);
    expect(await b.ended).toBeUndefined();
    expect((await b.receive(label(0))).payload).toHaveLength(88);

    const [c, d] = memoryChannelPair();
    const failing = shape(c, { bytesPerSecond: 1e6, roundTripSeconds: 1 });
    failing.send(label(0), message(100), 'online', 0);
    failing.close('broken');
    expect(await d.ended).toMatchObject({ code: 'peer-failed' });
    await vi.advanceTimersByTimeAsync(600);
    await failing.drained();
  });

  it('ends with its peer', async () => {
    const [a, b] = memoryChannelPair();
    const shaped = shape(a, { bytesPerSecond: 1, roundTripSeconds: 1 });
    shaped.send(label(0), new Uint8Array(8 << 20), 'online', 0);
    const stuck = shaped.drained();
    b.close('gone');
    await expect(stuck).rejects.toMatchObject({ code: 'peer-failed' });
    expect(await shaped.ended).toMatchObject({ code: 'peer-failed' });
  });
});

/** Time that is an event queue: waiting for a moment makes it the present, and nothing else passes. */
function simulatedClock(): Clock & { seconds: number } {
  const clock = {
    seconds: 0,
    now: () => clock.seconds,
    until: async (time: number) => {
      await undefined;
      clock.seconds = Math.max(clock.seconds, time);
    },
  };
  return clock;
}

describe('on a clock without granularity', () => {
  it.each(namedNetworks)('%s carries bursts of short and long messages at its rate, each half a round trip late', async (_, network) => {
    for (const bytes of [16, 1500, 12_500, 1_250_000]) {
      const clock = simulatedClock();
      const [a, b] = memoryChannelPair();
      const speed = linkSpeed(network, 'client', 'server');
      const shaped = shape(a, speed, clock);
      const count = 40;
      for (let i = 0; i < count; i++) shaped.send(label(i), message(bytes), 'online', 0);
      for (let i = 0; i < count; i++) {
        await b.receive(label(i));
        // The line hands messages over in order; when this one is here, the clock stands at its arrival or at a later one's.
        expect(clock.seconds).toBeGreaterThanOrEqual(((i + 1) * bytes) / speed.bytesPerSecond + speed.roundTripSeconds / 2 - 1e-12);
      }
      expect(clock.seconds).toBeCloseTo((count * bytes) / speed.bytesPerSecond + speed.roundTripSeconds / 2, 12);
    }
  });
});
