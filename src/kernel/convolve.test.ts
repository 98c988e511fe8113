import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { threeByThree } from '../../test/geometries.js';
import type { Compute } from './compute.js';
import {
  addFloat,
  clipFloat,
  convolveFloat,
  maxPoolFloat,
  multiplyFloat,
  packFloatWeights,
  scaleShiftFloat,
  slopeFloat,
  sumPoolFloat,
} from './float.js';
import type { ConvGeometry, PoolGeometry } from './geometry.js';
import { convolve, freeWeights, packWeights, sumPool } from './linear.js';
import { multiplyLongs } from './longs.js';
import { plainConvolve, plainMultiplyLongs, plainPool } from './plain.js';
import { createNodeCompute } from './pool.node.js';

/** Integers from a seed, over the whole 32-bit range: neighbours differ, so that a misplaced element shows. */
function words(length: number, seed: number): Int32Array {
  let state = seed | 1;
  return Int32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state ^ (state >>> 15);
  });
}

/** 64-bit words over their whole range. */
const longs = (length: number, seed: number): BigInt64Array =>
  BigInt64Array.from(words(length, seed), (high, i) => (BigInt(high) << 32n) + BigInt(Math.imul(high, 77777) ^ i));

const floats = (length: number, seed: number): Float32Array => Float32Array.from(words(length, seed), (x) => x / 2 ** 31);

const axis = fc.record({
  input: fc.integer({ min: 1, max: 37 }),
  kernel: fc.integer({ min: 1, max: 7 }),
  stride: fc.integer({ min: 1, max: 4 }),
  dilation: fc.integer({ min: 1, max: 3 }),
  padBefore: fc.integer({ min: 0, max: 4 }),
  padAfter: fc.integer({ min: 0, max: 4 }),
});

/** Outputs along an axis; where the window is larger than the padded map, the axis is enlarged to one output. */
function sizes(a: { input: number; kernel: number; stride: number; dilation: number; padBefore: number; padAfter: number }) {
  const reach = (a.kernel - 1) * a.dilation + 1;
  const input = Math.max(a.input, reach - a.padBefore - a.padAfter);
  return { input, output: Math.floor((input + a.padBefore + a.padAfter - reach) / a.stride) + 1 };
}

const spatial = fc.tuple(axis, axis).map(([y, x]) => {
  const [height, width] = [sizes(y), sizes(x)];
  return {
    inputHeight: height.input,
    inputWidth: width.input,
    outputHeight: height.output,
    outputWidth: width.output,
    kernelHeight: y.kernel,
    kernelWidth: x.kernel,
    strideY: y.stride,
    strideX: x.stride,
    dilationY: y.dilation,
    dilationX: x.dilation,
    padTop: y.padBefore,
    padLeft: x.padBefore,
  };
});

const simplest = { kernelHeight: 1, kernelWidth: 1, strideY: 1, strideX: 1, dilationY: 1, dilationX: 1, padTop: 0, padLeft: 0 };

const dense: fc.Arbitrary<ConvGeometry> = fc
  .tuple(spatial, fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 9 }))
  .map(([s, groups, inputs, outputs]) => ({ ...s, groups, inputChannels: groups * inputs, outputChannels: groups * outputs }));

const depthwise: fc.Arbitrary<ConvGeometry> = fc
  .tuple(spatial, fc.integer({ min: 2, max: 5 }), fc.integer({ min: 1, max: 3 }))
  .map(([s, groups, multiplier]) => ({ ...s, groups, inputChannels: groups, outputChannels: groups * multiplier }));

const pointwise: fc.Arbitrary<ConvGeometry> = fc
  .tuple(
    fc.integer({ min: 1, max: 12 }),
    fc.integer({ min: 1, max: 12 }),
    fc.integer({ min: 1, max: 600 }),
    fc.integer({ min: 1, max: 40 }),
  )
  .map(([height, width, inputChannels, outputChannels]) => ({
    ...simplest,
    ...{ inputHeight: height, inputWidth: width, outputHeight: height, outputWidth: width, groups: 1, inputChannels, outputChannels },
  }));

const connected: fc.Arbitrary<ConvGeometry> = fc
  .tuple(fc.integer({ min: 0, max: 700 }), fc.integer({ min: 1, max: 40 }), fc.boolean())
  .map(([inputs, outputs, map]) => ({
    ...simplest,
    ...(map ? { inputHeight: 3, inputWidth: 2, kernelHeight: 3, kernelWidth: 2 } : { inputHeight: 1, inputWidth: 1 }),
    ...{ outputHeight: 1, outputWidth: 1, groups: 1, inputChannels: inputs, outputChannels: outputs },
  }));

const anyConvolution = fc.oneof(dense, depthwise, pointwise, connected);
const batches = fc.integer({ min: 0, max: 5 });
const inputCount = (g: ConvGeometry, batch: number): number => batch * g.inputChannels * g.inputHeight * g.inputWidth;
const outputCount = (g: ConvGeometry, batch: number): number => batch * g.outputChannels * g.outputHeight * g.outputWidth;
const weightsOf = (g: ConvGeometry): number => (g.outputChannels * g.inputChannels * g.kernelHeight * g.kernelWidth) / g.groups;

/** Runs `use` with everything copied onto the heap between guard words, and checks that those survive. */
async function guarded<T extends Int32Array | Float32Array | BigInt64Array>(
  compute: Compute,
  values: readonly T[],
  use: (...heap: T[]) => Promise<void>,
): Promise<void> {
  const before = compute.memory.usedBytes;
  const heap = values.map((value) => {
    if (value instanceof BigInt64Array) {
      const array = compute.longs(value.length);
      array.set(value);
      return array as T;
    }
    const array = value instanceof Int32Array ? compute.words(value.length) : compute.floats(value.length);
    array.set(value);
    return array as T;
  });
  const guards = heap.map(() => compute.words(8).fill(0x5a5a5a5a));
  await use(...heap);
  for (const guard of guards) expect(guard.every((x) => x === 0x5a5a5a5a)).toBe(true);
  compute.free(...heap, ...guards);
  expect(compute.memory.usedBytes).toBe(before);
}

function expectClose(actual: Float32Array, expected: Float32Array, tolerance = 1e-4): void {
  let worst = 0;
  for (let i = 0; i < actual.length; i++) worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!) / (1 + Math.abs(expected[i]!)));
  expect(worst).toBeLessThan(tolerance);
}

describe.each([
  ['inline', { inline: true }, 60],
  ['one worker', { threads: 1 }, 15],
  ['three workers', { threads: 3 }, 25],
  ['this thread and a worker', { threads: 2, joined: true }, 10],
] as const)('linear kernels equal their plain twins, %s', (_name, options, numRuns) => {
  let compute: Compute;
  beforeAll(async () => {
    const made = await createNodeCompute(options);
    // Small shapes would all run at once: claim that they are dear, so that they go through the workers.
    compute = { ...made, run: (kernel, args, total, how) => made.run(kernel, args, total, { ...how, costPerItem: 1e6 }) };
  });
  afterAll(() => compute.close());

  it.each([
    ['words', anyConvolution, batches, numRuns],
    ['words by 3 x 3 kernels', threeByThree, fc.integer({ min: 1, max: 3 }), Math.ceil(numRuns / 3)],
  ] as const)('convolution of %s', async (_, geometries, sizes, numRuns) => {
    await fc.assert(
      fc.asyncProperty(geometries, sizes, fc.integer(), fc.boolean(), fc.boolean(), async (g, batch, seed, withBias, withAddend) => {
        const weights = words(weightsOf(g), seed);
        const input = words(inputCount(g, batch), seed + 1);
        const bias = words(g.outputChannels, seed + 2);
        const addend = words(outputCount(g, batch), seed + 3);
        const expected = withAddend ? addend.slice() : new Int32Array(addend.length);
        plainConvolve(g, weights, input, batch, expected, withBias ? bias : undefined);
        await guarded(compute, [input, bias, addend, addend.map(() => 7)], async (x, b, a, y) => {
          const packed = await packWeights(compute, g, weights);
          await convolve(compute, packed, x!, batch, y!, { ...(withBias ? { bias: b! } : {}), ...(withAddend ? { addend: a! } : {}) });
          expect(y).toEqual(expected);
          if (withAddend) {
            await convolve(compute, packed, x!, batch, a!, { ...(withBias ? { bias: b! } : {}), addend: a! });
            expect(a).toEqual(expected);
          }
          freeWeights(compute, packed);
        });
      }),
      { numRuns },
    );
  });

  it('convolution of 64-bit words, right in all of them or in as many bits as a ring has', async () => {
    const rings = fc.oneof(fc.integer({ min: 33, max: 47 }), fc.constantFrom(48, 64));
    const added = fc.record({ withBias: fc.boolean(), withAddend: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(anyConvolution, batches, fc.integer(), added, rings, async (g, batch, seed, { withBias, withAddend }, bits) => {
        const weights = longs(weightsOf(g), seed);
        const input = longs(inputCount(g, batch), seed + 1);
        const bias = longs(g.outputChannels, seed + 2);
        const addend = longs(outputCount(g, batch), seed + 3);
        const expected = withAddend ? addend.slice() : new BigInt64Array(addend.length);
        plainConvolve(g, weights, input, batch, expected, withBias ? bias : undefined);
        const inRing = (words: BigInt64Array) => words.map((word) => BigInt.asIntN(bits, word));
        await guarded(compute, [input, bias, addend, addend.map(() => 7n)], async (x, b, a, y) => {
          const packed = await packWeights(compute, g, weights, bits);
          await convolve(compute, packed, x!, batch, y!, { ...(withBias ? { bias: b! } : {}), ...(withAddend ? { addend: a! } : {}) });
          expect(inRing(y!)).toEqual(inRing(expected));
          freeWeights(compute, packed);
        });
      }),
      { numRuns },
    );
  });

  it.each([
    ['floats', anyConvolution, batches, Math.ceil(numRuns / 2)],
    ['floats by 3 x 3 kernels', threeByThree, fc.integer({ min: 1, max: 3 }), Math.ceil(numRuns / 3)],
  ] as const)('convolution of %s', async (_, geometries, sizes, numRuns) => {
    await fc.assert(
      fc.asyncProperty(geometries, sizes, fc.integer(), fc.boolean(), async (g, batch, seed, withAddend) => {
        const weights = floats(weightsOf(g), seed);
        const input = floats(inputCount(g, batch), seed + 1);
        const bias = floats(g.outputChannels, seed + 2);
        const addend = floats(outputCount(g, batch), seed + 3);
        const expected = withAddend ? addend.slice() : new Float32Array(addend.length);
        plainConvolve(g, weights, input, batch, expected, bias);
        await guarded(compute, [input, bias, addend, expected.map(() => 7)], async (x, b, a, y) => {
          const packed = await packFloatWeights(compute, g, weights);
          await convolveFloat(compute, packed, x!, batch, y!, { bias: b!, ...(withAddend ? { addend: a! } : {}) });
          freeWeights(compute, packed);
          // By points a sum is off by some 5 of its own roundings more.
          expectClose(y!, expected, Math.max(1e-4, 1e-5 * Math.sqrt((g.inputChannels / g.groups) * 9)));
        });
      }),
      { numRuns },
    );
  });

  it('pools', async () => {
    const whole = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })).map(([height, width]) => ({
      ...{ ...simplest, inputHeight: height, inputWidth: width, kernelHeight: height, kernelWidth: width, outputHeight: 1, outputWidth: 1 },
    }));
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(spatial, whole),
        fc.integer({ min: 1, max: 5 }),
        batches,
        fc.integer(),
        async (s, channels, batch, seed) => {
          const g: PoolGeometry = { ...s, channels };
          const input = words(batch * channels * g.inputHeight * g.inputWidth, seed);
          const output = new Int32Array(batch * channels * g.outputHeight * g.outputWidth);
          const sums = output.slice();
          plainPool(g, input, batch, sums, 0, (a, b) => (a + b) | 0);
          await guarded(compute, [input, output], async (x, y) => {
            await sumPool(compute, g, x!, batch, y!);
            expect(y).toEqual(sums);
          });
          // Sums of 32-bit words are exact in 64 bits: they agree mod 2^32.
          await guarded(compute, [BigInt64Array.from(input, BigInt), new BigInt64Array(output.length)], async (x, y) => {
            await sumPool(compute, g, x!, batch, y!);
            expect(Int32Array.from(y!, (v) => Number(BigInt.asIntN(32, v)))).toEqual(sums);
          });
          const real = floats(input.length, seed);
          const multipliers = floats(g.outputHeight * g.outputWidth, seed + 1);
          const means = new Float32Array(output.length);
          const maxima = new Float32Array(output.length);
          plainPool(g, real, batch, means, 0, (a, b) => a + b);
          plainPool(g, real, batch, maxima, -Infinity, Math.max);
          await guarded(compute, [real, means, multipliers], async (x, y, m) => {
            await maxPoolFloat(compute, g, x!, batch, y!);
            expect(y).toEqual(maxima);
            await sumPoolFloat(compute, g, x!, batch, y!);
            await multiplyFloat(compute, y!, m!, y!);
            expectClose(
              y!,
              means.map((v, i) => v * multipliers[i % multipliers.length]!),
            );
          });
        },
      ),
      { numRuns },
    );
  });

  it('element-wise floats', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 300 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 20 }),
        async (n, channels, inner) => {
          const a = floats(n, n + 1);
          const b = floats(n, n + 2);
          const factors = floats(channels, n + 3);
          const channel = (i: number): number => Math.floor(i / inner) % channels;
          await guarded(compute, [a, b, factors, a], async (x, y, f, out) => {
            await clipFloat(compute, x!, -0.25, Infinity, out!);
            expect(out).toEqual(a.map((v) => Math.max(v, -0.25)));
            await slopeFloat(compute, x!, f!, inner, out!);
            expectClose(
              out!,
              a.map((v, i) => (v < 0 ? v * factors[channel(i)]! : v)),
            );
            await addFloat(compute, x!, 1, y!, -1, out!);
            expectClose(
              out!,
              a.map((v, i) => v - b[i]!),
            );
            await scaleShiftFloat(compute, x!, f!, f!, inner, out!);
            expectClose(
              out!,
              a.map((v, i) => (v + 1) * factors[channel(i)]!),
            );
          });
        },
      ),
      { numRuns },
    );
  });
});

describe('linear kernels', () => {
  it.each([
    [1, 1, 3],
    [2, 1, 5],
    [1, 2, 3],
    [3, 3, 3],
    [1, 1, 11],
  ])('work through maps larger than a strip: strides %i and %i, windows of %i', async (strideY, strideX, kernel) => {
    const compute = await createNodeCompute({ inline: true });
    const [height, width, pad] = [131, 150, kernel >> 1];
    const output = (size: number, stride: number) => Math.floor((size + 2 * pad - kernel) / stride) + 1;
    const g: ConvGeometry = {
      ...{
        ...simplest,
        inputHeight: height,
        inputWidth: width,
        outputHeight: output(height, strideY),
        outputWidth: output(width, strideX),
      },
      ...{ kernelHeight: kernel, kernelWidth: kernel, strideY, strideX, padTop: pad, padLeft: pad },
      ...{ groups: 2, inputChannels: 2, outputChannels: 2 },
    };
    const weights = words(weightsOf(g), 1);
    const input = words(inputCount(g, 1), 2);
    const convolved = new Int32Array(outputCount(g, 1));
    plainConvolve(g, weights, input, 1, convolved);
    const summed = convolved.map(() => 0);
    plainPool({ ...g, channels: 2 }, input, 1, summed, 0, (a, b) => (a + b) | 0);
    await guarded(compute, [input, convolved.map(() => 7)], async (x, y) => {
      const packed = await packWeights(compute, g, weights);
      await convolve(compute, packed, x!, 1, y!);
      expect(y).toEqual(convolved);
      await sumPool(compute, { ...g, channels: 2 }, x!, 1, y!);
      expect(y).toEqual(summed);
      freeWeights(compute, packed);
    });
    await compute.close();
  });

  it('multiply matrices mod 2^64', async () => {
    const compute = await createNodeCompute({ threads: 2 });
    const side = fc.integer({ min: 0, max: 9 });
    await fc.assert(
      fc.asyncProperty(
        side,
        side,
        side,
        fc.infiniteStream(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
        async (rows, inner, columns, stream) => {
          const [a, b, out] = [rows * inner, inner * columns, rows * columns].map((length) => {
            const array = compute.longs(length);
            array.set([...stream.take(length)]);
            return array;
          }) as [BigInt64Array, BigInt64Array, BigInt64Array];
          const expected = out.slice();
          plainMultiplyLongs(a, b, rows, inner, columns, expected);
          await multiplyLongs(compute, a, b, out, { rows, inner, columns });
          expect(out).toEqual(expected);
          compute.free(a, b, out);
        },
      ),
    );
    expect(compute.memory.usedBytes).toBe(0);
    await compute.close();
  });

  it('refuse arrays whose length does not fit the shape', async () => {
    const compute = await createNodeCompute({ inline: true });
    const g: ConvGeometry = {
      ...simplest,
      groups: 1,
      inputChannels: 2,
      outputChannels: 3,
      inputHeight: 2,
      inputWidth: 2,
      outputHeight: 2,
      outputWidth: 2,
    };
    await expect(packWeights(compute, g, new Int32Array(5))).rejects.toThrow(RangeError);
    await expect(packWeights(compute, { ...g, groups: 2 }, new Int32Array(6))).rejects.toThrow(/groups/);
    const packed = await packWeights(compute, g, new Int32Array(6));
    await expect(convolve(compute, packed, compute.words(7), 1, compute.words(12))).rejects.toThrow(/"input" expected 8/);
    await expect(convolve(compute, packed, compute.words(8), 1, compute.words(13))).rejects.toThrow(/"output" expected 12/);
    await compute.close();
  });
});
