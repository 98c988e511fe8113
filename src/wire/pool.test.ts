import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createFramePool } from './pool.js';

describe('memory for frames', () => {
  it('is used again when it fits, and never while somebody has it', () => {
    const pool = createFramePool(1 << 20);
    const first = pool.take(200_000);
    expect(pool.take(200_000).buffer).not.toBe(first.buffer);
    pool.give(first);
    const again = pool.take(150_000);
    expect([again.buffer === first.buffer, again.length, again.byteOffset]).toEqual([true, 150_000, 0]);
    pool.give(again);
    expect(pool.take(99_999).buffer).not.toBe(first.buffer);
    expect(pool.take(200_001).buffer).not.toBe(first.buffer);
  });

  it('always has the length asked for, whatever was given back before', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(300_000), fc.boolean()), { maxLength: 30 }), (steps) => {
        const pool = createFramePool(500_000);
        const held = new Set<ArrayBuffer>();
        for (const [length, keep] of steps) {
          const array = pool.take(length);
          expect(array).toHaveLength(length);
          expect(held.has(array.buffer)).toBe(false);
          if (keep) held.add(array.buffer);
          else pool.give(array);
        }
      }),
      { numRuns: 50 },
    );
  });
});
