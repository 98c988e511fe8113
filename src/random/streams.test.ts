import { createCipheriv } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Compute } from '../kernel/compute.js';
import { randomBytes } from './seeds.js';
import { counterBlock, createStreams, type StreamAddress } from './streams.js';

/** The key stream of node:crypto, without a heap: all that streams.ts asks of a Compute. */
const compute = {
  async keystream(key: Uint8Array, block: Uint8Array, out: Uint8Array) {
    out.set(createCipheriv('aes-128-ctr', key, block).update(new Uint8Array(out.length)));
  },
} as Pick<Compute, 'keystream'> as Compute;

const address = (inference: number, step = 0, tensor = 0): StreamAddress => ({ inference, step, tensor });

async function drawn(key: Uint8Array, at: StreamAddress, length: number): Promise<Uint8Array> {
  const out = new Uint8Array(length);
  await createStreams(compute, key).draw(at, out);
  return out;
}

describe('addresses', () => {
  const part = fc.record({
    inference: fc.oneof(fc.integer({ min: 0, max: 2 ** 48 - 1 }), fc.integer({ min: 0, max: 3 })),
    step: fc.oneof(fc.integer({ min: 0, max: 2 ** 24 - 1 }), fc.integer({ min: 0, max: 3 })),
    tensor: fc.oneof(fc.integer({ min: 0, max: 2 ** 24 - 1 }), fc.integer({ min: 0, max: 3 })),
  });

  it('map to counter blocks one to one, with the block counter at zero', () => {
    fc.assert(
      fc.property(part, (at) => {
        const block = Buffer.from(counterBlock(at));
        expect(block.readUIntBE(0, 6)).toBe(at.inference);
        expect(block.readUIntBE(6, 3)).toBe(at.step);
        expect(block.readUIntBE(9, 3)).toBe(at.tensor);
        expect(block.readUInt32BE(12)).toBe(0);
      }),
    );
  });

  it('must fit', async () => {
    const streams = createStreams(compute, randomBytes(16));
    const out = new Uint8Array(1);
    for (const wrong of [address(-1), address(2 ** 48), address(0, 2 ** 24), address(0, 0, 2 ** 24), address(0.5), address(Number.NaN)]) {
      await expect(streams.draw(wrong, out)).rejects.toThrow(RangeError);
    }
    await expect(streams.draw(address(0), { byteLength: 2 ** 36 + 1 } as Uint8Array)).rejects.toThrow(RangeError);
    expect(() => createStreams(compute, new Uint8Array(15))).toThrow(RangeError);
  });
});

describe('a stream', () => {
  it('is the same for two parties with one key, and differs by key and by every part of the address', async () => {
    const [key, other] = [randomBytes(16), randomBytes(16)];
    const first = await drawn(key, address(5, 6, 7), 64);
    expect(await drawn(key, address(5, 6, 7), 64)).toEqual(first);
    const others = await Promise.all([
      drawn(other, address(5, 6, 7), 64),
      drawn(key, address(6, 6, 7), 64),
      drawn(key, address(5, 7, 7), 64),
      drawn(key, address(5, 6, 8), 64),
      drawn(key, address(5 + 2 ** 32, 6, 7), 64),
    ]);
    expect(new Set([first, ...others].map(String)).size).toBe(6);
  });

  it('depends on the key it was made with, not on what becomes of that array', async () => {
    const key = randomBytes(16);
    const expected = await drawn(key, address(1), 32);
    const streams = createStreams(compute, key);
    key.fill(0);
    const out = new Uint8Array(32);
    await streams.draw(address(1), out);
    expect(out).toEqual(expected);
  });

  it('fills words and views, and nothing beside them', async () => {
    const streams = createStreams(compute, randomBytes(16));
    const words = new Int32Array(12);
    await streams.draw(address(0, 1), words.subarray(2, 10));
    expect([words[0], words[1], words[10], words[11]]).toEqual([0, 0, 0, 0]);
    expect(new Set(words.subarray(2, 10)).size).toBe(8);
    await streams.draw(address(0, 2), new Int32Array(0));
  });

  // Chi-square with 255 degrees of freedom is above 454 with probability 10^-13: a failure means a broken stream.
  it('looks uniform, and so does the difference of neighbouring addresses', async () => {
    const key = randomBytes(16);
    const [a, b] = await Promise.all([drawn(key, address(0, 0, 0), 2 ** 18), drawn(key, address(0, 0, 1), 2 ** 18)]);
    for (const sample of [a, b, a.map((value, i) => value - b[i]!)]) {
      const counts = new Float64Array(256);
      for (const value of sample) counts[value]! += 1;
      const expected = sample.length / 256;
      expect(counts.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0)).toBeLessThan(454);
    }
  });
});

describe('an address used twice', () => {
  const out = new Uint8Array(4);

  it('throws, also when the first draw is still under way or was empty', async () => {
    const streams = createStreams(compute, randomBytes(16));
    const first = streams.draw(address(1, 2, 3), out);
    await expect(streams.draw(address(1, 2, 3), out)).rejects.toThrow('stream address used twice');
    await first;
    await streams.draw(address(1, 2, 4), new Uint8Array(0));
    await expect(streams.draw(address(1, 2, 4), out)).rejects.toThrow('stream address used twice');
  });

  it('throws after the inference has finished, and leaves the others alone', async () => {
    const streams = createStreams(compute, randomBytes(16));
    await streams.draw(address(1), out);
    await streams.draw(address(2), out);
    streams.finish(1);
    await expect(streams.draw(address(1), out)).rejects.toThrow('used twice');
    await expect(streams.draw(address(1, 1), out)).rejects.toThrow('used twice');
    await streams.draw(address(2, 1), out);
    streams.finish(3);
    await expect(streams.draw(address(3), out)).rejects.toThrow('used twice');
    await streams.draw(address(0), out);
  });

  it('stays refused through a long session, with an old inference still open', async () => {
    const streams = createStreams(compute, randomBytes(16));
    await streams.draw(address(0), out);
    for (let i = 1; i < 10_000; i++) {
      await streams.draw(address(i), out);
      streams.finish(i);
    }
    await streams.draw(address(0, 1), out);
    for (const inference of [1, 2000, 5000, 9999]) await expect(streams.draw(address(inference, 5), out)).rejects.toThrow('used twice');
    await expect(streams.draw(address(0, 1), out)).rejects.toThrow('used twice');
    streams.finish(0);
    await expect(streams.draw(address(0, 2), out)).rejects.toThrow('used twice');
    await streams.draw(address(10_000), out);
  });
});

describe('a draw that was not kept', () => {
  it('can be made anew once, after it was made, and not when its inference is over', async () => {
    const streams = createStreams(compute, randomBytes(16));
    const [first, again] = [new Uint8Array(40), new Uint8Array(40)];
    await expect(streams.draw(address(1, 2, 3), again, true)).rejects.toThrow('used twice');
    await streams.draw(address(1, 2, 3), first);
    await streams.draw(address(1, 2, 3), again, true);
    expect(again).toEqual(first);
    await expect(streams.draw(address(1, 2, 3), again, true)).rejects.toThrow('used twice');
    await expect(streams.draw(address(1, 2, 3), again)).rejects.toThrow('used twice');
    await streams.draw(address(2), first);
    streams.finish(2);
    await expect(streams.draw(address(2), again, true)).rejects.toThrow('used twice');
  });
});
