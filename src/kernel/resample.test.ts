import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Compute } from './compute.js';
import { createCompute } from './heap.js';
import { resample } from './resample.js';
import { plainResample } from './resample-plain.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createCompute();
});
afterAll(() => compute.close());

const cases = fc
  .record({
    outer: fc.nat(3),
    inputs: fc.integer({ min: 1, max: 5 }),
    inner: fc.constantFrom(0, 1, 3, 4, 5, 17),
    taps: fc.integer({ min: 1, max: 4 }),
  })
  .chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      taps: fc.constant(shape.taps),
      positions: fc
        .array(fc.nat(shape.inputs - 1), { maxLength: 6 * shape.taps })
        .map((p) => p.slice(0, p.length - (p.length % shape.taps))),
      seed: fc.integer(),
    }),
  );

/** Small whole numbers, exact in every kind of arithmetic here. */
const values = (length: number, seed: number): number[] =>
  Array.from({ length }, (_, i) => (Math.imul(i + 1, 2654435761 ^ seed) >>> 20) - 2048);

it('maps words and floats along an axis as its twin does', async () => {
  await fc.assert(
    fc.asyncProperty(cases, async ({ shape, taps, positions, seed }) => {
      const input = values(shape.outer * shape.inputs * shape.inner, seed);
      const weights = values(positions.length, seed + 1).map((w) => w % 16);
      const expected = plainResample(shape, taps, positions, weights, input);
      const heapPositions = compute.words(positions.length);
      heapPositions.set(positions);
      for (const allocate of [compute.words, compute.floats]) {
        const [x, w, y] = [allocate(input.length), allocate(weights.length), allocate(expected.length)];
        x.set(input);
        w.set(weights);
        await resample(compute, shape, { taps, positions: heapPositions, weights: w }, x, y);
        expect(Array.from(y, (v) => v + 0)).toEqual(expected.map((v) => v + 0));
        compute.free(x, w, y);
      }
      const [x, w, y] = [compute.longs(input.length), compute.words(weights.length), compute.longs(expected.length)];
      x.set(input.map(BigInt));
      w.set(weights);
      await resample(compute, shape, { taps, positions: heapPositions, weights: w }, x, y);
      expect(Array.from(y, Number)).toEqual(expected.map((v) => v + 0));
      compute.free(x, w, y, heapPositions);
    }),
  );
});

it('refuses arrays of other lengths', async () => {
  const [positions, weights, input, output] = [compute.words(2), compute.words(2), compute.words(4), compute.words(3)];
  await expect(resample(compute, { outer: 1, inputs: 4, inner: 1 }, { taps: 1, positions, weights }, input, output)).rejects.toThrow(
    RangeError,
  );
});
