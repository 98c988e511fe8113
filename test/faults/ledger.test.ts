// Randomness is used once: material that failed is gone, inference numbers never come twice, and a server that starts again draws a new B.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PeerError } from '../../src/errors.js';
import { setupNames, u32 } from '../../src/party/setup.js';
import { controlNames } from '../../src/protocol/control.js';
import { messageNames } from '../../src/protocol/messages.js';
import { seeded, values } from '../networks.js';
import type { Message } from './network.js';
import { openTrials, type Trials, withoutHang } from './trials.js';

let trials: Trials;
beforeAll(async () => {
  trials = await openTrials();
});
afterAll(() => trials.network.close());

const pictures = values(32, 9);
const isSent = ({ place }: Message, name: number): boolean => place.name === name && place.does === 'send';

describe('prepared material', () => {
  it('serves once; a picture that cannot be encoded does not use it up', async () => {
    const client = await trials.network.openClient();
    const prepared = await client.prepare();
    await expect(prepared.infer(new Float32Array(31))).rejects.toMatchObject({ code: 'bad-shape', exitStatus: 2 });
    await expect(prepared.infer(new Float32Array(32).fill(1e9))).rejects.toMatchObject({ exitStatus: 3 });
    await prepared.infer(pictures);
    await expect(prepared.infer(pictures)).rejects.toMatchObject({ code: 'used-twice' });
    prepared.discard();
    const given = await client.prepare();
    given.discard();
    await expect(given.infer(pictures)).rejects.toMatchObject({ code: 'used-twice' });
    await client.close();
    await trials.network.ends();
  });

  it('that is given up makes room for more: the server keeps no place for it', async () => {
    const client = await trials.network.openClient();
    for (let i = 0; i < 10; i++) (await withoutHang(client.prepare(), 'the client')).discard();
    await client.infer(pictures);
    await client.close();
    await trials.network.ends();
  });

  it('that waits when its session closes is freed, and serves no more', async () => {
    await trials.session();
    await trials.network.ends();
    const before = trials.used();
    const client = await trials.network.openClient();
    const [one, other] = [await client.prepare(), await client.prepare(2)];
    expect(trials.used()[0]).toBeGreaterThan(before[0]!);
    await client.close();
    await trials.network.ends();
    expect(trials.used()).toEqual(before);
    await expect(one.infer(pictures)).rejects.toMatchObject({ code: 'used-twice' });
    other.discard();
  });

  it('is gone when its inference fails, at whatever message, and so is what was prepared beside it', async () => {
    for (const name of [
      messageNames.input,
      messageNames.opening,
      messageNames.answer,
      messageNames.signs,
      messageNames.result,
      messageNames.output,
    ]) {
      const client = await trials.network.openClient();
      const [first, second] = [await client.prepare(), await client.prepare(2)];
      trials.network.inject((message, network) => {
        if (isSent(message, name)) network.cut('client', 'server');
        return undefined;
      });
      await expect(withoutHang(first.infer(pictures), 'the client')).rejects.toBeInstanceOf(PeerError);
      trials.network.inject(undefined);
      await expect(first.infer(pictures)).rejects.toMatchObject({ code: 'used-twice' });
      await expect(second.infer(values(64, 1))).rejects.toBeInstanceOf(PeerError);
      await expect(second.infer(values(64, 1))).rejects.toMatchObject({ code: 'used-twice' });
      await client.close();
      await trials.network.ends();
    }
  });
});

describe('inference numbers', () => {
  it('grow over all sessions and clients, whatever fails in between', async () => {
    const numbers: number[] = [];
    const next = seeded(5);
    for (let i = 0; i < 12; i++) {
      let countdown = next() % 130;
      trials.network.inject((message, network) => {
        if (isSent(message, controlNames.number))
          numbers.push(new DataView(message.payload.buffer, message.payload.byteOffset).getUint32(0, true));
        if (countdown-- === 0) network.kill('client');
        return undefined;
      });
      await Promise.all([trials.session(), trials.session()]);
      await withoutHang(trials.network.ends(), 'the sessions');
    }
    trials.network.inject(undefined);
    expect(numbers.length).toBeGreaterThan(5);
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
  });

  it.each([
    ['the client', controlNames.number, (number: number) => u32(number)],
    ['the provider', controlNames.prepare, (number: number) => u32(number, 1)],
  ] as const)('that come again are refused by %s', async (_, name, payload) => {
    let first: number | undefined;
    trials.network.inject((message) => {
      if (!isSent(message, name)) return undefined;
      if (first === undefined) first = new DataView(message.payload.buffer, message.payload.byteOffset).getUint32(0, true);
      else message.payload = payload(first);
      return undefined;
    });
    const client = await trials.network.openClient();
    await client.infer(pictures);
    const error = await withoutHang(client.infer(pictures), 'the client').catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(PeerError);
    trials.network.inject(undefined);
    await client.close();
    const messages = [error, ...(await trials.network.ends())].map((end) => (end as Error | undefined)?.message).join();
    expect(messages).toMatch(/numbers an inference/);
  });
});

describe('B', () => {
  /** What the server sends of its weights, and the id of its B. */
  async function sent(of: Trials): Promise<{ differences: Uint8Array[]; dealer: Uint8Array }> {
    const differences: Uint8Array[] = [];
    let dealer = new Uint8Array(0);
    of.network.inject((message) => {
      if (isSent(message, setupNames.difference)) differences[message.place.step] = message.payload.slice();
      if (isSent(message, setupNames.dealer)) dealer = message.payload.slice();
      return undefined;
    });
    of.check(await of.session());
    of.network.inject(undefined);
    await of.network.ends();
    return { differences, dealer };
  }
  const changed = (a: Uint8Array, b: Uint8Array): number => a.reduce((count, byte, i) => count + Number(byte !== b[i]), 0) / a.length;

  it('stays while a server runs, under another pad each time, and is another after it has started again', async () => {
    const [first, second] = [await sent(trials), await sent(trials)];
    expect(second.differences).toEqual(first.differences);
    expect(second.dealer.subarray(0, 16)).toEqual(first.dealer.subarray(0, 16));
    expect(changed(second.dealer.subarray(16), first.dealer.subarray(16))).toBeGreaterThan(0.5);
    const restarted = await openTrials();
    const third = await sent(restarted);
    await restarted.network.close();
    expect(third.dealer.subarray(0, 16)).not.toEqual(first.dealer.subarray(0, 16));
    // A byte of two independent differences is the same once in 256 times.
    for (const [i, bytes] of third.differences.entries()) expect(changed(bytes, first.differences[i]!)).toBeGreaterThan(0.9);
  });
});

describe('memory', () => {
  it('of all parties is what it was after 200 sessions that failed', async () => {
    const places = await trials.places();
    const before = trials.used();
    const next = seeded(11);
    for (let i = 0; i < 200; i++) {
      let countdown = next() % places.length;
      const kind = next() % 4;
      trials.network.inject((message, network) => {
        if (countdown-- !== 0) return undefined;
        if (kind === 0) network.cut(message.place.own, message.place.peer);
        if (kind === 1) network.kill(message.place.own);
        if (kind === 2) message.payload = message.payload.subarray(1);
        if (kind === 3) message.also(message.label, message.payload);
        return undefined;
      });
      await withoutHang(trials.session(), 'the client');
      await withoutHang(trials.network.ends(), 'server or provider');
    }
    trials.network.inject(undefined);
    trials.check(await trials.session());
    await trials.network.ends();
    expect(trials.used()).toEqual(before);
  });
});
