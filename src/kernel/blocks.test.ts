import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addBlockChanges, type BlockChangeShape, gateFloat } from './blocks.js';
import { plainBlockChanges, plainGate } from './blocks-plain.js';
import type { Compute } from './compute.js';
import { createNodeCompute } from './pool.node.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 2 });
});
afterAll(() => compute.close());

/** Multiples of 1/8 in [-4, 4): sums of them are exact, so that the signs of both twins agree. */
function eighths(length: number, seed: number): Float32Array {
  let state = seed | 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (((state >>> 16) & 63) - 32) / 8;
  });
}

function onHeap(values: Float32Array): Float32Array {
  const copy = compute.floats(values.length);
  copy.set(values);
  return copy;
}

const shapes = fc.record({
  images: fc.integer({ min: 0, max: 3 }),
  probes: fc.integer({ min: 1, max: 5 }),
  channels: fc.integer({ min: 1, max: 5 }),
  height: fc.integer({ min: 1, max: 13 }),
  width: fc.integer({ min: 1, max: 13 }),
  signed: fc.boolean(),
  capped: fc.boolean(),
});

describe('block changes', () => {
  it('equal their plain twin', async () => {
    await fc.assert(
      fc.asyncProperty(
        shapes,
        fc.array(fc.tuple(fc.integer({ min: 1, max: 14 }), fc.integer({ min: 1, max: 14 })), { maxLength: 9 }),
        fc.nat(),
        async ({ capped, ...rest }, list, seed) => {
          const shape: BlockChangeShape = { ...rest, ...(capped ? { cap: 1.5 } : {}) };
          const candidates: [number, number][] = [[1, 1], ...list.filter(([h, w]) => h * w > 1), [0, 1], [1, 0]];
          const unique = candidates.filter((a, i) => candidates.findIndex((b) => b.join() === a.join()) === i);
          const elements = shape.images * shape.channels * shape.height * shape.width;
          const values = onHeap(eighths(elements, seed));
          const gradients = onHeap(eighths(shape.probes * elements, seed + 1));
          const out = new Float64Array(shape.channels * unique.length).fill(0.5);
          const expected = out.slice();
          await addBlockChanges(compute, shape, unique, values, gradients, out);
          plainBlockChanges(shape, unique, values, gradients, expected);
          compute.free(values, gradients);
          expect(out).toEqual(expected);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('of maps larger than a vector, on all threads', async () => {
    const shape = { images: 2, probes: 4, channels: 7, height: 37, width: 41 };
    const candidates: [number, number][] = [
      [1, 1],
      [1, 3],
      [6, 6],
      [19, 1],
      [37, 41],
      [40, 2],
      [0, 1],
      [1, 0],
    ];
    const elements = 2 * 7 * 37 * 41;
    const values = onHeap(eighths(elements, 3));
    const gradients = onHeap(eighths(4 * elements, 4));
    const out = new Float64Array(7 * candidates.length);
    const expected = out.slice();
    await addBlockChanges(compute, shape, candidates, values, gradients, out);
    plainBlockChanges(shape, candidates, values, gradients, expected);
    compute.free(values, gradients);
    expect(out).toEqual(expected);
  });

  it('refuse lengths that do not fit and a list that does not begin with plain ReLU', async () => {
    const shape = { images: 1, probes: 1, channels: 1, height: 2, width: 2 };
    const values = onHeap(new Float32Array(4));
    await expect(addBlockChanges(compute, shape, [[1, 1]], values, values, new Float64Array(2))).rejects.toThrow(RangeError);
    await expect(addBlockChanges(compute, shape, [[2, 1]], values, values, new Float64Array(1))).rejects.toThrow(RangeError);
    await expect(
      addBlockChanges(compute, { ...shape, height: 1, width: 4, probes: 1e5 }, [[1, 1]], values, values, new Float64Array(1)),
    ).rejects.toThrow(RangeError);
    compute.free(values);
  });
});

it('gradients pass a ReLU where it passes values: equal to the plain twin', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 70 }),
      fc.integer({ min: 1, max: 4 }),
      fc.boolean(),
      fc.nat(),
      async (count, probes, capped, seed) => {
        const cap = capped ? 1.5 : Number.POSITIVE_INFINITY;
        const values = onHeap(eighths(count, seed));
        const gradients = onHeap(eighths(probes * count, seed + 1));
        const output = compute.floats(gradients.length);
        await gateFloat(compute, gradients, values, cap, output);
        expect(output.slice()).toEqual(plainGate(gradients.slice(), values.slice(), cap));
        compute.free(values, gradients, output);
      },
    ),
  );
});
