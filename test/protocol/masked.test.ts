// Every operation of the masked suite against its ideal functionality, three parties in memory.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import type { ConvGeometry, PoolGeometry } from '../../src/kernel/geometry.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { ComparisonChoice, Patch, Program, ProgramWeights, ReluStep, Step } from '../../src/model/program.js';
import { allPlans, choiceOf } from '../../src/protocol/masked/plan.js';
import { plainWords, setWords } from '../../src/ring/words.js';
import { noWeights, runSmall, smallProgram } from './harness.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 1 });
});
afterAll(() => compute.close());

const runs = { numRuns: 25 };

/** A 1 × 1 depthwise layer with weight 1: turns the hidden input into a sealed value. */
function sealing(channels: number, height: number, width: number, k: number): { step: Step; weights: ProgramWeights } {
  const geometry: ConvGeometry = {
    inputChannels: channels,
    inputHeight: height,
    inputWidth: width,
    outputChannels: channels,
    outputHeight: height,
    outputWidth: width,
    kernelHeight: 1,
    kernelWidth: 1,
    strideY: 1,
    strideX: 1,
    dilationY: 1,
    dilationX: 1,
    padTop: 0,
    padLeft: 0,
    groups: channels,
  };
  const layer = { weights: plainWords(k, channels), bias: plainWords(k, channels) };
  setWords(layer.weights, new Array<number>(channels).fill(1));
  return { step: { kind: 'linear', name: 'seal', input: 0, output: 1, geometry, weights: 0 }, weights: { layers: [layer] } };
}

/** A program of one step on a [C, H, W] input, hidden or sealed. */
function oneStep(
  shape: readonly [number, number, number],
  outShape: readonly number[],
  sealed: boolean,
  k: number,
  make: (input: number, output: number) => Step,
) {
  if (!sealed) return { program: smallProgram(shape, [make(0, 1)], [outShape], k), weights: noWeights };
  const seal = sealing(...shape, k);
  return { program: smallProgram(shape, [seal.step, make(1, 2)], [shape, outShape], k), weights: seal.weights };
}

const run = ({ program, weights }: { program: Program; weights: ProgramWeights }, input: readonly number[], batch = 1) =>
  runSmall(compute, program, weights, input, batch);

/** Ring, truncation and window that fit together, and values that keep their conditions: rings of 32-bit words and of 64-bit ones alike. */
const settings = fc
  .record({
    k: fc.oneof(fc.integer({ min: 16, max: 32 }), fc.integer({ min: 33, max: 64 })),
    drop: fc.nat(44),
    below: fc.nat(3),
    exact: fc.boolean(),
    tight: fc.nat(4),
  })
  .map(({ k, drop, below, exact, tight }) => {
    const f = Math.min(drop, Math.max(12, k - 20));
    const low = exact ? Math.max(0, f - below) : f;
    const high = Math.max(low + 3, k - tight, f + 4);
    return { k, f, low, high: Math.min(k, high) };
  });
/** How a window is compared: every other time in one round trip, where its window allows that, else as the planner says or in any way there is. */
const comparisonOf = ({ low, high }: { low: number; high: number }, which: number): { comparison?: ComparisonChoice } => {
  const all = allPlans(high - low);
  const plans = which % 2 === 0 && all.some((plan) => plan.direct) ? all.filter((plan) => plan.direct) : [undefined, ...all];
  const plan = plans[(which >> 1) % plans.length];
  return plan === undefined ? {} : { comparison: choiceOf(plan) };
};
const valueBits = (k: number, high: number, patch = 1) => Math.max(1, Math.min(k - 3, high - 2 - Math.ceil(Math.log2(patch)), 52));
/** Numbers of up to `bits` bits: multiples of a power of two, as pictures and results are float32, which hold 24. */
const values = (count: number, bits: number) =>
  fc.nat(Math.max(0, bits - 22)).chain((unit) => {
    const most = 2 ** Math.min(bits, 22) - 1;
    const number = fc.oneof(fc.integer({ min: -most, max: most }), fc.constantFrom(0, 1, -1)).map((value) => value * 2 ** unit);
    return fc.array(number, { minLength: count, maxLength: count });
  });

const inUnits = (got: number, y: number, f: number): number => got - Math.floor(y / 2 ** f);

describe('truncate', () => {
  it('gives floor(y / 2^f) or one unit more, on hidden and sealed values and any batch', async () => {
    const cases = fc.record({
      s: settings,
      n: fc.constantFrom(1, 2, 7, 33, 130),
      sealed: fc.boolean(),
      batch: fc.integer({ min: 1, max: 3 }),
    });
    const full = cases.chain((c) => values(c.n * c.batch, valueBits(c.s.k, c.s.k)).map((input) => ({ ...c, input })));
    await fc.assert(
      fc.asyncProperty(full, async ({ s, n, sealed, batch, input }) => {
        const program = oneStep([n, 1, 1], [n, 1, 1], sealed, s.k, (i, o) => ({
          kind: 'truncate',
          name: 't',
          input: i,
          output: o,
          truncateBits: s.f,
        }));
        const got = await run(program, input, batch);
        for (const [i, y] of input.entries()) expect(s.f === 0 ? [0] : [0, 1]).toContain(inUnits(got[i]!, y, s.f));
      }),
      runs,
    );
  });
});

/** Blocks of a map: list of element positions each. */
function blocksOf([c, h, w]: readonly number[], patches: readonly Patch[]): { relu: number[][]; identity: number[]; zero: number[] } {
  const out = { relu: [] as number[][], identity: [] as number[], zero: [] as number[] };
  for (let channel = 0; channel < c!; channel++) {
    const [bh, bw] = patches[channel]!;
    const at = (y: number, x: number) => (channel * h! + y) * w! + x;
    const all = Array.from({ length: h! * w! }, (_, i) => channel * h! * w! + i);
    if (bh === 0) out.identity.push(...all);
    else if (bw === 0) out.zero.push(...all);
    else {
      for (let y = 0; y < h!; y += bh) {
        for (let x = 0; x < w!; x += bw) {
          const block: number[] = [];
          for (let dy = 0; dy < bh && y + dy < h!; dy++) for (let dx = 0; dx < bw && x + dx < w!; dx++) block.push(at(y + dy, x + dx));
          out.relu.push(block);
        }
      }
    }
  }
  return out;
}

/** Checks one image's result of a (block) ReLU against the conditions of the protocol notes. */
function checkRelu(
  step: Pick<ReluStep, 'truncateBits' | 'window' | 'cap'>,
  shape: readonly number[],
  patches: readonly Patch[],
  input: readonly number[],
  got: readonly number[],
): void {
  const { truncateBits: f, window, cap } = step;
  const { relu, identity, zero } = blocksOf(shape, patches);
  const slack = f === 0 ? 0 : 1;
  for (const i of zero) expect(got[i]).toBe(0);
  for (const i of identity) expect(inUnits(got[i]!, input[i]!, f)).toBeOneOf(slack ? [0, 1] : [0]);
  const hinge = (y: number, z: boolean): [number, number] => (z ? [Math.floor(y / 2 ** f), Math.floor(y / 2 ** f) + slack] : [0, 0]);
  for (const block of relu) {
    const signs = (offset: number): boolean[] => {
      const sum = block.reduce((total, i) => total + input[i]! - offset, 0);
      const units = window.low >= f && block.length > 1 ? block.length * 2 ** f : 0;
      // Each truncated term is floor(y / 2^f) or one more: their sum lies up to a unit a term to either side of the sum's own.
      if (sum >= 0) return sum < units ? [true, false] : [true];
      return sum >= -(2 ** window.low) - units ? [true, false] : [false];
    };
    const allowed = (y: number, zs: boolean[], offset: number) => zs.map((z) => hinge(y - offset, z));
    const fits = (z0: boolean, z6: boolean | undefined) =>
      block.every((i) => {
        const [lo, hi] = allowed(input[i]!, [z0], 0)[0]!;
        const [cutLo, cutHi] = z6 === undefined ? [0, 0] : allowed(input[i]!, [z6], cap!)[0]!;
        return got[i]! >= lo - cutHi && got[i]! <= hi - cutLo;
      });
    const options = signs(0).flatMap((z0) => (cap === undefined ? [undefined] : signs(cap)).map((z6) => [z0, z6] as const));
    expect(
      options.some(([z0, z6]) => fits(z0, z6)),
      `block ${block} of ${input} became ${got}`,
    ).toBe(true);
  }
}

const patch: fc.Arbitrary<Patch> = fc.oneof(
  fc.constantFrom<Patch>([1, 1], [0, 1], [1, 0], [2, 2], [3, 2]),
  fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })) as fc.Arbitrary<Patch>,
);

const withinMap = ([bh, bw]: Patch, h: number, w: number): Patch => [Math.min(bh, h), Math.min(bw, w)];

describe('relu', () => {
  it('is exact to a unit for every ring, window and truncation, 1 × 1', async () => {
    const cases = fc.record({
      s: settings,
      n: fc.constantFrom(1, 5, 128, 131),
      sealed: fc.boolean(),
      batch: fc.integer({ min: 1, max: 2 }),
      six: fc.boolean(),
      way: fc.nat(),
    });
    const full = cases.chain((c) => values(c.n * c.batch, valueBits(c.s.k, c.s.high) - 1).map((input) => ({ ...c, input })));
    await fc.assert(
      fc.asyncProperty(full, async ({ s, n, sealed, batch, six, way, input }) => {
        const cap = six ? { cap: 2 ** Math.max(s.f, valueBits(s.k, s.high) - 3) } : {};
        const step = { truncateBits: s.f, window: { low: s.low, high: s.high }, ...comparisonOf(s, way), ...cap };
        const got = await run(
          oneStep([n, 1, 1], [n, 1, 1], sealed, s.k, (i, o) => ({ kind: 'relu', name: 'r', input: i, output: o, ...step })),
          input,
          batch,
        );
        checkRelu(step, [n * batch, 1, 1], new Array<Patch>(n * batch).fill([1, 1]), input, got);
      }),
      { numRuns: 60 },
    );
  });

  it('shares one comparison a patch for any spec, with partial patches, identity and zero channels', async () => {
    const cases = fc
      .record({
        c: fc.integer({ min: 1, max: 5 }),
        h: fc.integer({ min: 1, max: 7 }),
        w: fc.integer({ min: 1, max: 7 }),
        s: settings,
        sealed: fc.boolean(),
        batch: fc.integer({ min: 1, max: 2 }),
      })
      .filter(({ s }) => s.high - s.low >= 9)
      .chain((base) =>
        fc.record({
          base: fc.constant(base),
          patches: fc.array(
            patch.map((p) => withinMap(p, base.h, base.w)),
            { minLength: base.c, maxLength: base.c },
          ),
          input: values(base.c * base.h * base.w * base.batch, Math.max(1, valueBits(base.s.k, base.s.high, 32) - 1)),
          six: fc.boolean(),
          way: fc.nat(),
        }),
      )
      .filter(({ base: { s } }) => 32 * 2 ** s.f < 2 ** (s.high - 2));
    await fc.assert(
      fc.asyncProperty(cases, async ({ base: { c, h, w, s, sealed, batch }, patches, input, six, way }) => {
        const cap = six ? { cap: 2 ** Math.max(s.f, 2) } : {};
        const step = { truncateBits: s.f, window: { low: s.low, high: s.high }, ...comparisonOf(s, way), patches, ...cap };
        const got = await run(
          oneStep([c, h, w], [c, h, w], sealed, s.k, (i, o) => ({ kind: 'relu', name: 'r', input: i, output: o, ...step })),
          input,
          batch,
        );
        const size = c * h * w;
        for (let image = 0; image < batch; image++) {
          checkRelu(step, [c, h, w], patches, input.slice(image * size, (image + 1) * size), got.slice(image * size, (image + 1) * size));
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('maxpool', () => {
  const pools = fc
    .record({
      c: fc.integer({ min: 1, max: 3 }),
      h: fc.integer({ min: 1, max: 9 }),
      w: fc.integer({ min: 1, max: 9 }),
      kh: fc.integer({ min: 1, max: 4 }),
      kw: fc.integer({ min: 1, max: 4 }),
      s: fc.integer({ min: 1, max: 3 }),
      d: fc.integer({ min: 1, max: 2 }),
      pad: fc.nat(1),
    })
    .map(({ c, h, w, kh, kw, s, d, pad }) => {
      const p = Math.min(pad, Math.min(kh, kw) - 1);
      const out = (size: number, kernel: number) => Math.floor((size + 2 * p - (kernel - 1) * d - 1) / s) + 1;
      return {
        channels: c,
        inputHeight: h,
        inputWidth: w,
        outputHeight: out(h, kh),
        outputWidth: out(w, kw),
        kernelHeight: kh,
        kernelWidth: kw,
        strideY: s,
        strideX: s,
        dilationY: d,
        dilationX: d,
        padTop: p,
        padLeft: p,
      } satisfies PoolGeometry;
    })
    .filter(
      (g) =>
        g.outputHeight > 0 &&
        g.outputWidth > 0 &&
        idealMax(g, new Array<number>(g.channels * g.inputHeight * g.inputWidth).fill(0), 1).every(Number.isFinite),
    );

  it('is the maximum of every window, overlapping and at the edges, bit for bit when every bit is compared', async () => {
    const cases = pools.chain((g) =>
      fc.record({
        g: fc.constant(g),
        k: fc.constantFrom(24, 40, 64),
        sealed: fc.boolean(),
        batch: fc.integer({ min: 1, max: 2 }),
        input: values(2 * g.channels * g.inputHeight * g.inputWidth, 12),
        way: fc.nat(),
      }),
    );
    await fc.assert(
      fc.asyncProperty(cases, async ({ g, k, sealed, batch, input: drawn, way }) => {
        const size = g.channels * g.inputHeight * g.inputWidth;
        const input = drawn.slice(0, batch * size);
        const window = { low: 0, high: k === 24 ? 16 : k };
        const program = oneStep(
          [g.channels, g.inputHeight, g.inputWidth],
          [g.channels, g.outputHeight, g.outputWidth],
          sealed,
          k,
          (i, o) => ({ kind: 'maxpool', name: 'm', input: i, output: o, geometry: g, window, ...comparisonOf(window, way) }),
        );
        expect(await run(program, input, batch)).toEqual(idealMax(g, input, batch));
      }),
      { numRuns: 40 },
    );
  });
});

function idealMax(g: PoolGeometry, input: readonly number[], batch: number): number[] {
  const out: number[] = [];
  for (let plane = 0; plane < batch * g.channels; plane++) {
    for (let y = 0; y < g.outputHeight; y++) {
      for (let x = 0; x < g.outputWidth; x++) {
        let best = Number.NEGATIVE_INFINITY;
        for (let ky = 0; ky < g.kernelHeight; ky++) {
          for (let kx = 0; kx < g.kernelWidth; kx++) {
            const iy = y * g.strideY - g.padTop + ky * g.dilationY;
            const ix = x * g.strideX - g.padLeft + kx * g.dilationX;
            if (iy >= 0 && ix >= 0 && iy < g.inputHeight && ix < g.inputWidth)
              best = Math.max(best, input[(plane * g.inputHeight + iy) * g.inputWidth + ix]!);
          }
        }
        out.push(best);
      }
    }
  }
  return out;
}

describe('local steps', () => {
  it.each([32, 40, 64])(
    'add, concatenate, view, sum and resample as plain arithmetic does, hidden and sealed together, mod 2^%d',
    async (ringBits) => {
      const seal = sealing(2, 2, 2, ringBits);
      const pool: PoolGeometry = {
        channels: 4,
        inputHeight: 2,
        inputWidth: 2,
        outputHeight: 1,
        outputWidth: 2,
        kernelHeight: 2,
        kernelWidth: 1,
        strideY: 1,
        strideX: 1,
        dilationY: 1,
        dilationX: 1,
        padTop: 0,
        padLeft: 0,
      };
      const steps: Step[] = [
        seal.step,
        { kind: 'add', name: 'a', inputs: [0, 1], factors: [3, -1], output: 2 },
        { kind: 'concat', name: 'c', inputs: [0, 2], axis: 0, output: 3 },
        { kind: 'sumpool', name: 's', input: 3, output: 4, geometry: pool, multipliers: [1, 2] },
        {
          kind: 'view',
          name: 'v',
          input: 4,
          output: 5,
          inputShape: [4, 2, 1],
          axes: [
            { axis: 1, start: 1, step: -1, size: 2 },
            { axis: 0, start: -1, step: 2, size: 3 },
            { axis: 2, start: 0, step: 1, size: 1 },
          ],
        },
        { kind: 'resample', name: 'r', input: 5, output: 6, axis: 1, taps: 2, positions: [0, 1, 2, 2], weights: [3, -1, 1, 1] },
      ];
      const shapes = [
        [2, 2, 2],
        [2, 2, 2],
        [4, 2, 2],
        [4, 1, 2],
        [2, 3],
        [2, 2],
      ];
      const program = smallProgram([2, 2, 2], steps, shapes, ringBits);
      const input = [1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, -5, -6, -7, -8];
      const ideal = (x: number[]) => {
        const both = [...x, ...x.map((v) => 2 * v)];
        const pooled = Array.from({ length: 4 }, (_, c) => [both[4 * c]! + both[4 * c + 2]!, 2 * (both[4 * c + 1]! + both[4 * c + 3]!)]);
        return [1, 0].flatMap((column) => {
          const [a, b, c] = [-1, 1, 3].map((row) => (row < 0 ? 0 : pooled[row]![column]!)) as [number, number, number];
          return [3 * a - b, 2 * c];
        });
      };
      expect(await run({ program, weights: seal.weights }, input, 2)).toEqual([...ideal(input.slice(0, 8)), ...ideal(input.slice(8))]);
    },
  );
});
