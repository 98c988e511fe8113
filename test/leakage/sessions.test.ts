// Stream addresses over whole sessions: batches, retries, failures at every message, new sessions, reloaded weights. And the provider's view.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PeerError, UsageError } from '../../src/errors.js';
import { controlNames } from '../../src/protocol/control.js';
import { smallNetwork } from './networks.js';
import { type Draw, type House, openHouse } from './sessions.js';

const { program, weights, inputs } = smallNetwork(4, 4);
const picture = (seed: number, batch = 1) => Float32Array.from({ length: inputs * batch }, (_, i) => ((i * 29 + seed * 131) % 255) - 127);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

let house: House;
beforeAll(async () => {
  house = await openHouse(program, weights);
});
afterAll(() => house.close());

const used = (draws: readonly Draw[]) => new Set(draws.map(({ key }) => key));

/** Draws of B aside: it is one value, expanded anew by whoever needs it. */
function masks(draws: readonly Draw[], seeds: readonly string[]): Draw[] {
  return draws.filter(({ key }) => !seeds.includes(key));
}

function expectFresh(draws: readonly Draw[]): void {
  const seen = new Map<string, Draw['party'][]>();
  for (const { party, key, address } of draws) {
    const place = `${key}/${address}`;
    const parties = seen.get(place) ?? [];
    expect(parties, `address ${address} drawn twice`).not.toContain(party);
    parties.push(party);
    seen.set(place, parties);
  }
  // A stream belongs to two parties, and one of them is the provider.
  for (const parties of seen.values()) if (parties.length > 1) expect(parties.includes('provider') && parties.length === 2).toBe(true);
}

describe('stream addresses', () => {
  it('used twice are found by this test', () => {
    const draw: Draw = { party: 'client', key: '00', address: '01' };
    expect(() => expectFresh([draw, { ...draw, address: '02' }, { ...draw, party: 'provider' }])).not.toThrow();
    expect(() => expectFresh([draw, { ...draw }])).toThrow();
    expect(() => expectFresh([draw, { ...draw, party: 'server' }])).toThrow();
  });

  it('are used once: batches, material prepared ahead, given up, and tried twice; two sessions at a time', async () => {
    const from = house.draws.length;
    const [one, two] = [await house.connect(), await house.connect()];
    const plain = await one.client.infer(picture(1));
    await Promise.all([one.client.infer(picture(2, 3), 3), two.client.infer(picture(1))]);
    const ahead = [await one.client.prepare(2), await one.client.prepare(1), await two.client.prepare(1)];
    await ahead[1]!.infer(picture(4));
    await ahead[0]!.infer(picture(5, 2));
    await expect(async () => ahead[0]!.infer(picture(5, 2))).rejects.toThrow(UsageError);
    ahead[2]!.discard();
    const retried = await one.client.prepare();
    await expect(async () => retried.infer(picture(1).map((v) => v * 2 ** 30))).rejects.toThrow('outside');
    const again = await retried.infer(picture(1));
    for (const [i, v] of again.outputs[0]!.entries()) expect(Math.abs(v - plain.outputs[0]![i]!)).toBeLessThan(20 * 64 * 4);
    await one.client.close();
    await two.client.close();
    await house.settle();
    expectFresh(masks(house.draws.slice(from), [hex(house.model.dealer.seed)]));
  });

  it('are used once when a party dies at any message, and the next session shares no key with the one that died', async () => {
    const start = house.draws.length;
    const whole = await house.connect();
    await whole.client.infer(picture(3));
    await whole.client.infer(picture(3));
    const count = whole.sent();
    await whole.client.close();
    await house.settle();
    expect(count).toBeGreaterThan(60);
    let before = used(house.draws.slice(start));
    const seed = hex(house.model.dealer.seed);
    for (let message = 0; message < count; message++) {
      const from = house.draws.length;
      const died = (async () => {
        const { client } = await house.connect(message);
        try {
          await client.infer(picture(3));
          await client.infer(picture(3));
        } finally {
          await client.close();
        }
      })();
      await died.catch((error) => expect(error).toBeInstanceOf(PeerError));
      await house.settle();
      const now = used(masks(house.draws.slice(from), [seed]));
      for (const key of now) expect(before.has(key)).toBe(false);
      before = now;
    }
    expectFresh(masks(house.draws, [seed]));
  });
});

describe('B and D', () => {
  const sessionDifferences = async () => {
    const from = house.messages.length;
    const { client } = await house.connect();
    await client.close();
    await house.settle();
    return house.messages.slice(from).filter(({ label, phase }) => phase === 'setup' && label.name === 205);
  };

  it('last as long as the weights are loaded: a new session has the same D, a reload another, from another seed', async () => {
    const [first, second] = [await sessionDifferences(), await sessionDifferences()];
    expect(first).toHaveLength(4);
    expect(second.map((m) => hex(m.payload))).toEqual(first.map((m) => hex(m.payload)));
    const old = house.model.dealer;
    await house.reload();
    const third = await sessionDifferences();
    expect(hex(house.model.dealer.seed)).not.toBe(hex(old.seed));
    expect(hex(house.model.dealer.id)).not.toBe(hex(old.id));
    for (const [i, { payload, to }] of third.entries()) {
      expect(to).toBe('client');
      expect(hex(payload)).not.toBe(hex(first[i]!.payload));
    }
  });
});

describe('what an inference shows on the wire', () => {
  const trace = async (image: Float32Array) => {
    const from = house.messages.length;
    const { client } = await house.connect();
    await client.infer(image);
    await client.close();
    await house.settle();
    return house.messages.slice(from);
  };

  it('is nothing to the provider but the number and the batch; labels and sizes depend on no picture', async () => {
    const [a, b] = [await trace(picture(1)), await trace(new Float32Array(inputs))];
    const shape = (messages: typeof a) =>
      messages.map(({ from, to, label, phase, payload }) => `${from}>${to} ${label.step}/${label.name} ${phase} ${payload.length}`).sort();
    expect(shape(b)).toEqual(shape(a));
    for (const messages of [a, b]) {
      const told = messages.filter(({ to, phase }) => to === 'provider' && phase !== 'setup');
      expect(told).toHaveLength(1);
      expect([told[0]!.label.name, told[0]!.payload.length]).toEqual([controlNames.prepare, 8]);
      expect(new DataView(told[0]!.payload.buffer).getUint32(4, true)).toBe(1);
    }
  });
});
