// Kernels of training against their plain twins.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { threeByThree } from '../../test/geometries.js';
import { values } from '../../test/networks.js';
import type { Compute } from './compute.js';
import type { ConvGeometry } from './geometry.js';
import { createNodeCompute } from './pool.node.js';
import { channelGradients, channelMoments, descend, gather, mixMaps, passPositive, roundRows, roundTo } from './training.js';
import { plainChannelGradients, plainChannelMoments, plainDescend, plainMixMaps, plainWeightGradient } from './training-plain.js';
import { freeWeightGradient, prepareWeightGradient, weightGradient } from './weight-gradient.js';

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

const axis = fc
  .record({
    input: fc.integer({ min: 1, max: 21 }),
    kernel: fc.integer({ min: 1, max: 5 }),
    stride: fc.integer({ min: 1, max: 3 }),
    dilation: fc.integer({ min: 1, max: 3 }),
    pad: fc.integer({ min: 0, max: 4 }),
    after: fc.integer({ min: 0, max: 4 }),
  })
  .map((a) => ({ ...a, output: Math.floor((a.input + a.pad + a.after - (a.kernel - 1) * a.dilation - 1) / a.stride) + 1 }))
  .filter(({ output }) => output > 0);

const channels = fc.constantFrom([1, 1, 1], [1, 3, 5], [2, 2, 3], [3, 1, 1], [3, 1, 2], [1, 16, 16], [1, 5, 66], [4, 3, 4]);
const seeds = fc.integer({ min: 0, max: 1e6 });

const geometries = fc.tuple(axis, axis, channels).map(
  ([y, x, [groups, inputs, outputs]]): ConvGeometry => ({
    ...{ inputChannels: groups! * inputs!, outputChannels: groups! * outputs!, groups: groups! },
    ...{ inputHeight: y.input, kernelHeight: y.kernel, strideY: y.stride, dilationY: y.dilation, padTop: y.pad, outputHeight: y.output },
    ...{ inputWidth: x.input, kernelWidth: x.kernel, strideX: x.stride, dilationX: x.dilation, padLeft: x.pad, outputWidth: x.output },
  }),
);

async function expectWeightGradient(g: ConvGeometry, batch: number, seed: number): Promise<void> {
  const input = onHeap(values(batch * g.inputChannels * g.inputHeight * g.inputWidth, seed));
  const output = onHeap(values(batch * g.outputChannels * g.outputHeight * g.outputWidth, seed + 1));
  const expected = plainWeightGradient(g, input, output, batch);
  const gradient = compute.floats(expected.length);
  const prepared = prepareWeightGradient(compute, g);
  await weightGradient(compute, prepared, input, output, batch, gradient);
  const scale = Math.sqrt(batch * g.outputHeight * g.outputWidth);
  gradient.forEach((v, i) => {
    expect(Math.abs(v - expected[i]!)).toBeLessThan(1e-5 * scale);
  });
  freeWeightGradient(compute, prepared);
  compute.free(input, output, gradient);
  expect(compute.memory.usedBytes).toBe(0);
}

const mapSizes = fc.record({
  batch: fc.integer({ min: 1, max: 4 }),
  channels: fc.integer({ min: 1, max: 7 }),
  size: fc.integer({ min: 1, max: 1200 }),
});

describe('gradients of weights', () => {
  it('equal the sums of their definition', () =>
    fc.assert(
      fc.asyncProperty(geometries, fc.integer({ min: 1, max: 3 }), seeds, (g, batch, seed) => expectWeightGradient(g, batch, seed)),
      { numRuns: 150 },
    ));

  it('equal them for kernels of 3 x 3, in tiles', () =>
    fc.assert(
      fc.asyncProperty(threeByThree, fc.integer({ min: 1, max: 3 }), seeds, (g, batch, seed) => expectWeightGradient(g, batch, seed)),
      { numRuns: 20 },
    ));

  it('equal them where a map is cut into bands, and where a block is smaller than its layer', async () => {
    const square = (size: number, inputs: number, outputs: number, kernel: number, stride: number): ConvGeometry => ({
      ...{ inputChannels: inputs, outputChannels: outputs, groups: 1, inputHeight: size, inputWidth: size },
      ...{ outputHeight: Math.ceil(size / stride), outputWidth: Math.ceil(size / stride), kernelHeight: kernel, kernelWidth: kernel },
      ...{ strideY: stride, strideX: stride, dilationY: 1, dilationX: 1, padTop: kernel >> 1, padLeft: kernel >> 1 },
    });
    await expectWeightGradient(square(90, 3, 5, 3, 1), 2, 1);
    await expectWeightGradient(square(90, 2, 3, 7, 2), 1, 2);
    await expectWeightGradient(square(12, 20, 130, 1, 1), 2, 3);
  });
});

describe('passes over maps', () => {
  it('sum and mix as their twins do', () =>
    fc.assert(
      fc.asyncProperty(mapSizes, seeds, fc.boolean(), async (maps, seed, add) => {
        const count = maps.batch * maps.channels * maps.size;
        const [x, g, y] = [0, 1, 2].map((i) => onHeap(values(count, seed + i))) as [Float32Array, Float32Array, Float32Array];
        const [means, factors, slopes, offsets] = [3, 4, 5, 6].map((i) => onHeap(values(maps.channels, seed + i))) as [
          Float32Array,
          Float32Array,
          Float32Array,
          Float32Array,
        ];
        const moments = await channelMoments(compute, maps, x);
        const plain = plainChannelMoments(maps, x);
        moments.mean.forEach((v, c) => {
          expect(v).toBeCloseTo(plain.mean[c]!, 5);
          expect(moments.variance[c]).toBeCloseTo(plain.variance[c]!, 5);
        });
        const sums = await channelGradients(compute, maps, g, x, means);
        plainChannelGradients(maps, g, x, means).forEach((v, i) => {
          expect(Math.abs(sums[i]! - v)).toBeLessThan(1e-4);
        });
        const before = y.slice();
        const mixture = { factors, slopes, offsets };
        await mixMaps(compute, maps, g, x, mixture, y, add);
        plainMixMaps(maps, g, x, mixture).forEach((v, i) => {
          expect(y[i]).toBeCloseTo(add ? v + before[i]! : v, 5);
        });
        compute.free(x, g, y, means, factors, slopes, offsets);
      }),
      { numRuns: 40 },
    ));

  it('keep a small variance beside a large mean', async () => {
    const maps = { batch: 2, channels: 1, size: 1000 };
    const x = onHeap(values(2000, 1).map((v) => 1000 + v / 8));
    const { variance } = await channelMoments(compute, maps, x);
    expect(variance[0]).toBeCloseTo(plainChannelMoments(maps, x).variance[0]!, 5);
    compute.free(x);
  });

  it('pass gradients where a ReLU gave a positive number below its cap', async () => {
    const y = onHeap(Float32Array.of(0, 0.5, 6, 2, 0, 1, 5, 6, 3));
    const g = onHeap(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9));
    const output = onHeap(new Float32Array(9).fill(1));
    await passPositive(compute, g, y, 6, output, true);
    expect([...output]).toEqual([1, 3, 1, 5, 1, 7, 8, 1, 10]);
    await passPositive(compute, g, y, Number.POSITIVE_INFINITY, output, false);
    expect([...output]).toEqual([0, 2, 3, 4, 0, 6, 7, 8, 9]);
    compute.free(y, g, output);
  });

  it('put numbers in another order', async () => {
    const from = onHeap(Float32Array.of(1, 2, 3));
    const order = compute.words(4);
    order.set([2, -1, 0, 0]);
    const to = compute.floats(4);
    await gather(compute, from, order, to);
    expect([...to]).toEqual([3, 0, 1, 1]);
    compute.free(from, order, to);
  });

  it('descend as their twin does', async () => {
    for (const nesterov of [false, true]) {
      const step = { scale: 0.5, decay: 0.01, momentum: 0.9, nesterov, rate: 0.1 };
      const [w, g, v] = [1, 2, 3].map((seed) => onHeap(values(37, seed))) as [Float32Array, Float32Array, Float32Array];
      const [plainW, plainV] = [w.slice(), v.slice()];
      plainDescend(step, plainW, g, plainV);
      await descend(compute, step, w, g, v);
      w.forEach((value, i) => {
        expect(value).toBeCloseTo(plainW[i]!, 6);
        expect(v[i]).toBeCloseTo(plainV[i]!, 6);
      });
      compute.free(w, g, v);
    }
  });

  it('round to a grid, at random with the same mean, and the same way for a seed', async () => {
    const x = onHeap(new Float32Array(20_001).fill(0.3));
    const [y, again, other] = [1, 2, 3].map(() => compute.floats(x.length)) as [Float32Array, Float32Array, Float32Array];
    await roundTo(compute, x, 0.25, 7, y);
    await roundTo(compute, x, 0.25, 7, again);
    await roundTo(compute, x, 0.25, 8, other);
    expect([...new Set(y)].sort()).toEqual([0.25, 0.5]);
    expect(y.reduce((sum, v) => sum + v, 0) / y.length).toBeCloseTo(0.3, 2);
    expect(again).toEqual(y);
    expect(other).not.toEqual(y);
    const drawn = onHeap(values(101, 4));
    await roundTo(compute, drawn, 2 ** -5, undefined, y.subarray(0, 101));
    drawn.forEach((v, i) => {
      expect(Math.abs(y[i]! - v)).toBeLessThanOrEqual(2 ** -6);
      expect(Number.isInteger(y[i]! * 32)).toBe(true);
    });
    const rows = onHeap(Float32Array.of(0.3, 0.9, 0.3, 0.9));
    const units = onHeap(Float32Array.of(0.25, 0));
    await roundRows(compute, rows, units, rows);
    expect([...rows]).toEqual([0.25, 1, ...Float32Array.of(0.3, 0.9)]);
    compute.free(x, y, again, other, drawn, rows, units);
  });
});
