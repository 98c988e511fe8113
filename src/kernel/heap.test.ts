import { createCipheriv } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAllocator } from './allocator.js';
import type { Compute } from './compute.js';
import { createCompute } from './heap.js';
import { createNodeCompute } from './pool.node.js';

describe('allocator', () => {
  it('never hands out overlapping ranges and gets all of its memory back', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(5000)), { maxLength: 300 }), (steps) => {
        const allocator = createAllocator(64, 64 + (1 << 20));
        const live = new Map<number, number>();
        for (const [release, size] of steps) {
          if (release && live.size > 0) {
            const offset = [...live.keys()][size % live.size]!;
            allocator.release(offset);
            live.delete(offset);
          } else {
            const offset = allocator.allocate(size);
            expect(offset % 16).toBe(0);
            for (const [other, bytes] of live) expect(offset + size <= other || other + bytes <= offset).toBe(true);
            live.set(offset, size);
          }
        }
        for (const offset of live.keys()) allocator.release(offset);
        expect(allocator.usedBytes).toBe(0);
        expect(allocator.allocate(1 << 20)).toBe(64);
      }),
    );
  });

  it('throws at its limit and on a second release', () => {
    const allocator = createAllocator(0, 1024);
    const offset = allocator.allocate(1000);
    expect(() => allocator.allocate(100)).toThrow(RangeError);
    allocator.release(offset);
    expect(() => allocator.release(offset)).toThrow(/not the start of a live array/);
    expect(allocator.peakBytes).toBe(1008);
  });
});

describe.each([
  ['inline', { inline: true }],
  ['one worker', { threads: 1 }],
  ['three workers', { threads: 3 }],
  ['this thread and two workers', { threads: 3, joined: true }],
  ['this thread alone, joined', { threads: 1, joined: true }],
  ['unshared', undefined],
] as const)('compute, %s', (_name, options) => {
  let compute: Compute;
  beforeAll(async () => {
    compute = options ? await createNodeCompute(options) : await createCompute();
  });
  afterAll(() => compute.close());

  it('runs a kernel over a whole range, at once or on workers', async () => {
    for (const [length, costPerItem] of [
      [0, 1],
      [1, 1e9],
      [1001, 1],
      [100_003, 100],
    ] as const) {
      const a = compute.words(length).map((_, i) => i);
      const [from, sum] = [compute.words(length), compute.words(length)];
      from.set(a);
      await compute.run('addWords', [sum, from, from], length, { grain: 32, costPerItem });
      expect(sum).toEqual(a.map((x) => 2 * x));
      compute.free(from, sum);
    }
  });

  it('runs more jobs than the ring has slots', async () => {
    const arrays = Array.from({ length: 400 }, () => compute.words(64).fill(1));
    await Promise.all(arrays.map((x) => compute.run('addWords', [x, x, x], 64, { grain: 32, costPerItem: 1e6 })));
    for (const x of arrays) expect(x.every((v) => v === 2)).toBe(true);
    compute.free(...arrays);
  });

  it('refuses arrays of other heaps and kernels it does not have', async () => {
    await expect(compute.run('addWords', [new Int32Array(4)], 4)).rejects.toThrow(TypeError);
    await expect(compute.run('nothing', [], 4)).rejects.toThrow(/no kernel/);
    expect(() => compute.words(2 ** 34)).toThrow(RangeError);
    const array = compute.words(3);
    compute.free(array);
    expect(() => compute.free(array)).toThrow(/freed twice/);
  });

  it('fills arrays with the AES-128-CTR stream', async () => {
    const key = Uint8Array.from({ length: 16 }, (_, i) => i * 7);
    const counter = new Uint8Array(16).fill(255, 10);
    for (const length of [0, 1, 17, 262_144, 1_300_001]) {
      const out = compute.bytes(length);
      await compute.keystream(key, counter, out);
      const expected = createCipheriv('aes-128-ctr', key, counter).update(new Uint8Array(length));
      expect(Buffer.compare(Buffer.from(out), expected)).toBe(0);
      compute.free(out);
    }
  });
});

describe('workers', () => {
  it('keep the process alive only while a run is pending', async () => {
    const ports = () => process.getActiveResourcesInfo().filter((name) => name === 'MessagePort').length;
    const before = ports();
    const compute = await createNodeCompute({ threads: 2 });
    expect(ports()).toBe(before);
    const words = compute.words(1 << 20).fill(1);
    const pending = compute.run('addWords', [words, words, words], 1 << 20, { costPerItem: 10 });
    expect(ports()).toBe(before + 1);
    await pending;
    expect(ports()).toBe(before);
    await compute.close();
  });

  it('rejects what is pending when the compute closes', async () => {
    const compute = await createNodeCompute({ threads: 1 });
    const words = compute.words(1 << 20);
    const pending = compute.run('addWords', [words, words, words], 1 << 20, { costPerItem: 10 });
    const outcome = expect(pending).rejects.toThrow(/closed/);
    await compute.close();
    await outcome;
    await expect(compute.run('addWords', [words, words, words], 1)).rejects.toThrow(/closed/);
  });

  it('that are joined let timers have a turn while kernels run one after the other', async () => {
    const compute = await createNodeCompute({ threads: 2, joined: true });
    const words = compute.words(1 << 20);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    for (let i = 0; i < 300; i++) await compute.run('addWords', [words, words, words], 1 << 20, { costPerItem: 10 });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
    await compute.close();
    await expect(compute.run('addWords', [words, words, words], 1)).rejects.toThrow(/closed/);
  });

  it.each([false, true])('report a kernel that fails, joined or not: %s', async (joined) => {
    const compute = await createNodeCompute({ threads: 2, joined });
    await expect(compute.run('addWords', [2 ** 32 - 65536, 0, 0], 1 << 20, { costPerItem: 10 })).rejects.toThrow(/kernel failed/);
    await compute.close();
  });
});
