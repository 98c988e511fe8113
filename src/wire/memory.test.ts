import { describe, expect, it } from 'vitest';
import { PeerError, UsageError } from '../errors.js';
import { type Label, labelBytes } from './channel.js';
import { memoryChannelPair } from './memory.js';

const label = (inference: number, step = 0, name = 0): Label => ({ inference, step, name });
const bytes = (...values: number[]) => Uint8Array.from(values);

describe('a channel in memory', () => {
  it('delivers by label, in any order, asked for before or after', async () => {
    const [a, b] = memoryChannelPair();
    const early = b.receive(label(1, 2, 3));
    a.send(label(7), bytes(7), 'setup', 4);
    a.send(label(1, 2, 3), bytes(1, 2, 3), 'online', 65534);
    expect(await early).toEqual({ payload: bytes(1, 2, 3), depth: 65534 });
    expect(await b.receive(label(7))).toEqual({ payload: bytes(7), depth: 4 });
  });

  it('copies the payload when it sends', async () => {
    const [a, b] = memoryChannelPair();
    const payload = bytes(1, 2);
    a.send(label(0), payload, 'online', 0);
    payload.fill(9);
    expect((await b.receive(label(0))).payload).toEqual(bytes(1, 2));
  });

  it('meters label and payload by phase, alike at both ends', () => {
    const [a, b] = memoryChannelPair();
    a.send(label(0), bytes(), 'offline', 0);
    a.send(label(1), bytes(1, 2, 3), 'offline', 0);
    a.send(label(2), bytes(1), 'online', 0);
    expect(a.sent.offline).toEqual({ bytes: 2 * labelBytes + 3, messages: 2 });
    expect(a.sent.online).toEqual({ bytes: labelBytes + 1, messages: 1 });
    expect(a.sent.setup).toEqual({ bytes: 0, messages: 0 });
    expect(b.received).toEqual(a.sent);
    expect(b.sent.offline.bytes).toBe(0);
    expect(a.framingBytes).toBe(0);
  });

  it('lets what arrived be taken after an orderly close, and nothing else', async () => {
    const [a, b] = memoryChannelPair();
    a.send(label(1), bytes(5), 'online', 0);
    const waiting = b.receive(label(2));
    a.close();
    await expect(waiting).rejects.toMatchObject({ code: 'peer-left' });
    expect((await b.receive(label(1))).payload).toEqual(bytes(5));
    await expect(b.receive(label(3))).rejects.toMatchObject({ code: 'peer-left' });
    expect(await b.ended).toBeUndefined();
    expect(await a.ended).toBeUndefined();
  });

  it('gives every receive the same error, with the reason the peer gave', async () => {
    const [a, b] = memoryChannelPair();
    a.send(label(1), bytes(5), 'online', 0);
    const waiting = [b.receive(label(2)), b.receive(label(3))];
    a.close('out of memory');
    const errors = await Promise.all([...waiting, b.receive(label(1)), b.receive(label(9))].map((p) => p.catch((error: unknown) => error)));
    expect(errors[0]).toBeInstanceOf(PeerError);
    expect((errors[0] as PeerError).message).toContain('out of memory');
    expect(new Set(errors).size).toBe(1);
    expect(await b.ended).toBe(errors[0]);
    await expect(b.drained()).rejects.toBe(errors[0]);
  });

  it('rejects what this side still waits for when it closes, and drops what it sends afterwards', async () => {
    const [a, b] = memoryChannelPair();
    const waiting = a.receive(label(1));
    a.close();
    await expect(waiting).rejects.toMatchObject({ code: 'peer-closed' });
    a.send(label(1), bytes(1), 'online', 0);
    b.send(label(1), bytes(1), 'online', 0);
    expect(a.sent.online.bytes).toBe(0);
    expect(b.sent.online.bytes).toBe(0);
    await a.drained();
  });

  it('refuses a label that does not fit', () => {
    const [a] = memoryChannelPair();
    for (const wrong of [label(2 ** 32), label(-1), label(0.5), label(0, 65536), label(0, 0, 65536)]) {
      expect(() => a.send(wrong, bytes(), 'online', 0)).toThrow(RangeError);
    }
    expect(() => a.send(label(0), bytes(), 'online', 65536)).toThrow(RangeError);
  });
});

describe('limits', () => {
  const ends = async (limits: Parameters<typeof memoryChannelPair>[0], act: (...pair: ReturnType<typeof memoryChannelPair>) => void) => {
    const [a, b] = memoryChannelPair(limits);
    act(a, b);
    const [atA, atB] = await Promise.all([a.ended, b.ended]);
    expect(atA).toMatchObject({ code: 'peer-failed' });
    await expect(b.receive(label(99))).rejects.toBe(atB);
    return atB;
  };

  it('a label comes once', async () => {
    const repeat =
      (asked: boolean) => (a: Parameters<typeof ends>[1] extends (a: infer C, b: infer C) => void ? C : never, b: typeof a) => {
        if (asked) void b.receive(label(1, 2, 3));
        a.send(label(1, 2, 3), bytes(1), 'online', 0);
        a.send(label(1, 2, 3), bytes(1), 'online', 0);
      };
    expect(await ends({}, repeat(false))).toMatchObject({ code: 'peer-repeated', where: 'message 1/2/3' });
    expect(await ends({}, repeat(true))).toMatchObject({ code: 'peer-repeated' });
  });

  it('frame size', async () => {
    expect(await ends({ maxFrameBytes: 20 }, (a) => a.send(label(1), new Uint8Array(9), 'online', 0))).toMatchObject({
      code: 'peer-oversized',
    });
  });

  it('the size one receive expects, whoever comes first', async () => {
    const send = (a: { send: ReturnType<typeof memoryChannelPair>[0]['send'] }) => a.send(label(1), new Uint8Array(9), 'online', 0);
    const late = await ends({}, (a, b) => {
      send(a);
      void b.receive(label(1), { maxBytes: 8 });
    });
    const early = await ends({}, (a, b) => {
      void b.receive(label(1), { maxBytes: 8 });
      send(a);
    });
    expect(late).toMatchObject({ code: 'peer-oversized', where: 'message 1/0/0' });
    expect(early).toMatchObject({ code: 'peer-oversized', where: 'message 1/0/0' });
  });

  it('bytes nobody asked for, empty messages included', async () => {
    const flood = (size: number) => (a: ReturnType<typeof memoryChannelPair>[0]) => {
      for (let i = 0; i < 100; i++) a.send(label(i), new Uint8Array(size), 'online', 0);
    };
    expect(await ends({ maxQueuedBytes: 20_000 }, flood(1000))).toMatchObject({ code: 'peer-flood' });
    expect(await ends({ maxQueuedBytes: 20_000 }, flood(0))).toMatchObject({ code: 'peer-flood' });
  });

  it('what has been taken counts no more, and very long sessions are forgotten from the far end', async () => {
    const [a, b] = memoryChannelPair({ maxQueuedBytes: 20_000 });
    for (let i = 0; i < 70_000; i++) {
      a.send(label(i), bytes(1), 'online', 0);
      void b.receive(label(i));
    }
    a.send(label(69_999), bytes(1), 'online', 0);
    expect(await b.ended).toMatchObject({ code: 'peer-repeated' });
  });

  it('waiting time, of the channel or of one receive', async () => {
    expect(await ends({ waitSeconds: 0.01 }, (_, b) => void b.receive(label(1, 2, 3)))).toMatchObject({
      code: 'peer-silent',
      where: 'message 1/2/3',
    });
    const [a, b] = memoryChannelPair({ waitSeconds: 0.01 });
    const resting = b.receive(label(1), { waitSeconds: Infinity });
    await new Promise((resolve) => setTimeout(resolve, 30));
    a.send(label(1), bytes(1), 'online', 0);
    expect((await resting).payload).toEqual(bytes(1));
  });

  it('asking twice is a mistake of the caller, and leaves the channel alone', async () => {
    const [a, b] = memoryChannelPair();
    const first = b.receive(label(1));
    await expect(b.receive(label(1))).rejects.toThrow('asked for twice');
    a.send(label(1), bytes(1), 'online', 0);
    await first;
    await expect(b.receive(label(1))).rejects.not.toBeInstanceOf(PeerError);
  });

  it('must be above zero', () => {
    expect(() => memoryChannelPair({ waitSeconds: 0 })).toThrow(UsageError);
    expect(() => memoryChannelPair({ maxFrameBytes: Number.NaN })).toThrow(UsageError);
  });
});
