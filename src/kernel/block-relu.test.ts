// Block ReLU and its way back against their plain twins.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import { type BlockRelu, blockRelu, blockReluGate } from './block-relu.js';
import { plainBlockRelu, plainBlockReluGate } from './block-relu-plain.js';
import type { Compute } from './compute.js';
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

const side = fc.oneof(fc.integer({ min: 1, max: 13 }), fc.constantFrom(4, 8, 16, 32));
const layers = fc
  .tuple(side, side, fc.constantFrom(Number.POSITIVE_INFINITY, 0.3), fc.constantFrom(0, 0.25, 1))
  .chain(([h, w, cap, alpha]) => {
    const patch = fc.oneof(
      fc.constantFrom([0, 1] as const, [1, 0] as const, [1, 1] as const),
      fc.tuple(fc.integer({ min: 1, max: h }), fc.integer({ min: 1, max: w })),
      fc.tuple(fc.integer({ min: 1, max: h }), fc.constantFrom(1, 2, 4, 8)),
    );
    return fc
      .array(patch, { minLength: 1, maxLength: 5 })
      .map((patches): BlockRelu => ({ shape: [patches.length, h, w], patches, cap, alpha }));
  });

describe('block ReLU', () => {
  it('and its way back, for several gradients of the same maps, do as their twins', () =>
    fc.assert(
      fc.asyncProperty(
        layers,
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 2 }),
        fc.nat(1e6),
        async (layer, count, repeats, seed) => {
          const size = count * layer.shape.reduce((a, b) => a * b, 1);
          const x = onHeap(values(size, seed));
          const g = onHeap(values(repeats * size, seed + 1));
          const y = compute.floats(size);
          await blockRelu(compute, layer, x, y);
          plainBlockRelu(layer, x).forEach((v, i) => {
            expect(y[i]).toBeCloseTo(v, 6);
          });
          const expected = plainBlockReluGate(layer, x, g);
          await blockReluGate(compute, layer, x, g, g);
          g.forEach((v, i) => {
            expect(v).toBeCloseTo(expected[i]!, 6);
          });
          compute.free(x, g, y);
        },
      ),
      { numRuns: 200 },
    ));

  it('with flips takes small negative sums as positive the more often the smaller they are, the same on the way back', async () => {
    const size = 64;
    const maps = 200;
    // Sums of 2 × 2 patches: a quarter of −below in the first channel, beyond it in the second, positive in the third.
    const x = onHeap(Float32Array.from({ length: 3 * maps * size }, (_, i) => [-0.0625, -0.3, 0.001][Math.floor(i / size) % 3]!));
    const patch = [2, 2] as const;
    const layer = { shape: [3, 8, 8], patches: [patch, patch, patch], cap: Number.POSITIVE_INFINITY, flip: { below: 1, seed: 5 } };
    const [y, g] = [compute.floats(x.length), onHeap(new Float32Array(x.length).fill(1))];
    await blockRelu(compute, layer, x, y);
    await blockReluGate(compute, layer, x, g, g);
    const passed = [0, 0, 0];
    y.forEach((v, i) => {
      if (v !== 0) passed[Math.floor(i / size) % 3]! += 1 / (maps * size);
      expect(g[i]).toBe(v !== 0 ? 1 : 0);
    });
    expect(passed[0]).toBeCloseTo(0.75, 1);
    expect(passed[1]).toBe(0);
    expect(passed[2]).toBeCloseTo(1, 6);
    const again = compute.floats(x.length);
    await blockRelu(compute, { ...layer, flip: { below: 1, seed: 6 } }, x, again);
    expect(again).not.toEqual(y);
    compute.free(x, y, g, again);
  });

  it('wants a patch for each channel', async () => {
    const x = compute.floats(8);
    await expect(blockRelu(compute, { shape: [2, 2, 2], patches: [[1, 1]], cap: 1 }, x, x)).rejects.toThrow('1 patches for 2 channels');
    compute.free(x);
  });
});
