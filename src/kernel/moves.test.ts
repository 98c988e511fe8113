// Moves and the ways back through pools against their plain twins.
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import type { Compute } from './compute.js';
import { addPhases, gatherMaps, spreadMaxima, spreadPool } from './moves.js';
import { plainAddPhases, plainGatherMaps, plainSpreadMaxima, plainSpreadPool } from './moves-plain.js';
import { createNodeCompute } from './pool.node.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 2 });
});
afterAll(() => compute.close());

function onHeap(source: Float32Array): Float32Array {
  const array = compute.floats(source.length);
  array.set(source);
  return array;
}

const small = fc.integer({ min: 1, max: 6 });

/** Fast and plain on the same start, once added to it and once in its place. */
async function expectSame(
  length: number,
  fast: (output: Float32Array, add: boolean) => Promise<void>,
  plain: (output: Float32Array) => void,
  adds: readonly boolean[] = [true, false],
): Promise<void> {
  for (const add of adds) {
    const start = values(length, 9);
    const output = onHeap(start);
    await fast(output, add);
    const expected = add ? start : new Float32Array(length);
    plain(expected);
    output.forEach((v, i) => {
      expect(v).toBeCloseTo(expected[i]!, 5);
    });
    compute.free(output);
  }
}

it('pictures are read in another order', () =>
  fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: -1, max: 8 }), { minLength: 1, maxLength: 20 }), small, async (list, count) => {
      const order = Int32Array.from(list);
      const input = onHeap(values(9 * count, 1));
      await expectSame(
        count * order.length,
        (output, add) => gatherMaps(compute, input, order, count, output, add),
        (output) => plainGatherMaps(input, order, count, output),
      );
      compute.free(input);
    }),
    { numRuns: 40 },
  ));

it('gradients go back through pools', () =>
  fc.assert(
    fc.asyncProperty(small, small, small, small, fc.nat(1e6), async (outputs, inputs, maps, repeats, seed) => {
      const drawn = values(2 * outputs * inputs, seed);
      const pairs = Int32Array.from(
        Array.from({ length: outputs * inputs }, (_, k) => [Math.floor(k / inputs), k % inputs])
          .filter((_, k) => drawn[k]! > -0.3)
          .flat(),
      );
      const pool = { pairs, inputs, outputs };
      const shares = values(outputs, seed + 1);
      const x = onHeap(values(maps * inputs, seed + 2));
      const g = onHeap(values(repeats * maps * outputs, seed + 3));
      const size = repeats * maps * inputs;
      await expectSame(
        size,
        (to, add) => spreadPool(compute, pool, shares, g, to, add),
        (to) => plainSpreadPool(pool, shares, g, to),
      );
      await expectSame(
        size,
        (to, add) => spreadMaxima(compute, pool, x, g, to, add),
        (to) => plainSpreadMaxima(pool, x, g, to),
      );
      compute.free(x, g);
    }),
    { numRuns: 40 },
  ));

it('maps are added to every so many rows and columns', () =>
  fc.assert(
    fc.asyncProperty(small, small, small, small, small, async (rows, columns, strideY, strideX, maps) => {
      const [firstY, firstX] = [strideY - 1, strideX >> 1];
      const place = { rows, columns, strideY, strideX, firstY, firstX, height: firstY + rows * strideY, width: firstX + columns * strideX };
      const part = onHeap(values(maps * rows * columns, 2));
      const size = maps * place.height * place.width;
      await expectSame(
        size,
        (to) => addPhases(compute, place, part, to),
        (to) => plainAddPhases(place, part, to),
        [true],
      );
      compute.free(part);
    }),
    { numRuns: 40 },
  ));
