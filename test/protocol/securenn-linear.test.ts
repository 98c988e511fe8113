// The linear half of the securenn suites against plain arithmetic, three parties in memory, in rings of 32-bit and of 64-bit words.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute, Words } from '../../src/kernel/compute.js';
import type { ConvGeometry, PoolGeometry } from '../../src/kernel/geometry.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { Program, ProgramWeights, Step } from '../../src/model/program.js';
import { openLocalSession } from '../../src/party/local.js';
import { suites } from '../../src/party/session.js';
import { onWire } from '../../src/protocol/control.js';
import { allMessages, estimate } from '../../src/protocol/estimate.js';
import { plainWords, setWords } from '../../src/ring/words.js';
import { noWeights, type Received, runSmall, smallProgram } from './harness.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 1 });
});
afterAll(() => compute.close());

const names = ['securenn', 'securenn-beaver'] as const;
const suiteName = fc.constantFrom(...names);
const ring = fc.constantFrom(20, 32, 64);

const wordsOf = (values: readonly number[], ringBits: number): Words => {
  const words = plainWords(ringBits, values.length);
  setWords(words, values);
  return words;
};

/** Runs a program, and checks that every link carried what the cost formulas say. */
async function run(suite: string, program: Program, weights: ProgramWeights, input: readonly number[], batch: number): Promise<number[]> {
  const sent: Received[] = [];
  const got = await runSmall(compute, program, weights, input, batch, (message) => sent.push(message), suite);
  const list = (all: readonly (readonly [string, string, number])[]) => all.map((entry) => entry.join(' ')).sort();
  const predicted = allMessages(program, suites[suite]!, batch).map((m) => [m.phase, m.link, onWire(m)] as const);
  const counted = sent.filter((m) => m.phase !== 'setup').map((m) => [m.phase, `${m.from}>${m.to}`, m.payload.length + 12] as const);
  expect(list(counted)).toEqual(list(predicted));
  return got;
}

const convolutions = fc
  .record({
    groups: fc.integer({ min: 1, max: 3 }),
    inputs: fc.integer({ min: 1, max: 3 }),
    outputs: fc.integer({ min: 1, max: 5 }),
    h: fc.integer({ min: 1, max: 7 }),
    w: fc.integer({ min: 1, max: 7 }),
    kernel: fc.integer({ min: 1, max: 3 }),
    stride: fc.integer({ min: 1, max: 2 }),
    pad: fc.nat(1),
  })
  .map(({ groups, inputs, outputs, h, w, kernel, stride, pad }): ConvGeometry => {
    const side = (size: number) => Math.floor((size + 2 * pad - kernel) / stride) + 1;
    return {
      inputChannels: groups * inputs,
      inputHeight: h,
      inputWidth: w,
      outputChannels: groups * outputs,
      outputHeight: side(h),
      outputWidth: side(w),
      kernelHeight: kernel,
      kernelWidth: kernel,
      strideY: stride,
      strideX: stride,
      dilationY: 1,
      dilationX: 1,
      padTop: pad,
      padLeft: pad,
      groups,
    };
  })
  .filter((g) => g.outputHeight > 0 && g.outputWidth > 0);

/** By the definition of a convolution. */
function convolve(g: ConvGeometry, weights: readonly number[], bias: readonly number[], input: readonly number[], batch: number): number[] {
  const [ins, outs] = [g.inputChannels / g.groups, g.outputChannels / g.groups];
  const out: number[] = [];
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < g.outputChannels; o++) {
      for (let oy = 0; oy < g.outputHeight; oy++) {
        for (let ox = 0; ox < g.outputWidth; ox++) {
          let sum = bias[o]!;
          for (let c = 0; c < ins; c++) {
            for (let ky = 0; ky < g.kernelHeight; ky++) {
              for (let kx = 0; kx < g.kernelWidth; kx++) {
                const [y, x] = [oy * g.strideY - g.padTop + ky, ox * g.strideX - g.padLeft + kx];
                if (y < 0 || x < 0 || y >= g.inputHeight || x >= g.inputWidth) continue;
                const channel = n * g.inputChannels + Math.floor(o / outs) * ins + c;
                const weight = weights[((o * ins + c) * g.kernelHeight + ky) * g.kernelWidth + kx]!;
                sum += weight * input[(channel * g.inputHeight + y) * g.inputWidth + x]!;
              }
            }
          }
          out.push(sum);
        }
      }
    }
  }
  return out;
}

const wrapped = (value: number, bits: number): number => Math.fround(Number(BigInt.asIntN(bits, BigInt(value))));
const numbers = (count: number, most: number) => fc.array(fc.integer({ min: -most, max: most }), { minLength: count, maxLength: count });

describe('linear', () => {
  it('is the convolution of any shape, in every ring, with masks of either kind', async () => {
    const cases = convolutions.chain((g) =>
      fc.record({
        g: fc.constant(g),
        suite: suiteName,
        ringBits: ring,
        batch: fc.integer({ min: 1, max: 3 }),
        weights: numbers((g.outputChannels * g.inputChannels * g.kernelHeight * g.kernelWidth) / g.groups, 5000),
        bias: numbers(g.outputChannels, 5000),
        input: numbers(3 * g.inputChannels * g.inputHeight * g.inputWidth, 2000),
      }),
    );
    await fc.assert(
      fc.asyncProperty(cases, async ({ g, suite, ringBits, batch, weights, bias, input }) => {
        const shape = [g.inputChannels, g.inputHeight, g.inputWidth];
        const step: Step = { kind: 'linear', name: 'l', input: 0, output: 1, geometry: g, weights: 0 };
        const program = smallProgram(shape, [step], [[g.outputChannels, g.outputHeight, g.outputWidth]], ringBits);
        const layers = [{ weights: wordsOf(weights, ringBits), bias: wordsOf(bias, ringBits) }];
        const images = input.slice(0, batch * shape.reduce((a, b) => a * b));
        const got = await run(suite, program, { layers }, images, batch);
        expect(got).toEqual(convolve(g, weights, bias, images, batch).map((value) => wrapped(value, ringBits)));
      }),
      { numRuns: 60 },
    );
  });
});

describe('local steps', () => {
  it('add, concatenate, view and sum as plain arithmetic does', async () => {
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
    const axes = [
      { axis: 1, start: 1, step: -1, size: 2 },
      { axis: 0, start: -1, step: 2, size: 3 },
      { axis: 2, start: 0, step: 1, size: 1 },
    ];
    const steps: Step[] = [
      { kind: 'add', name: 'a', inputs: [0, 0], factors: [3, -1], output: 1 },
      { kind: 'concat', name: 'c', inputs: [0, 1], axis: 0, output: 2 },
      { kind: 'sumpool', name: 's', input: 2, output: 3, geometry: pool, multipliers: [1, 2] },
      { kind: 'view', name: 'v', input: 3, output: 4, inputShape: [4, 2, 1], axes },
    ];
    const shapes = [
      [2, 2, 2],
      [4, 2, 2],
      [4, 1, 2],
      [2, 3],
    ];
    const input = [1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, -5, -6, -7, -8];
    const ideal = (x: number[]) => {
      const both = [...x, ...x.map((v) => 2 * v)];
      const pooled = Array.from({ length: 4 }, (_, c) => [both[4 * c]! + both[4 * c + 2]!, 2 * (both[4 * c + 1]! + both[4 * c + 3]!)]);
      return [1, 0].flatMap((column) => [-1, 1, 3].map((c) => (c < 0 ? 0 : pooled[c]![column]!)));
    };
    for (const ringBits of [20, 32, 64]) {
      const program = smallProgram([2, 2, 2], steps, shapes, ringBits);
      expect(await run('securenn', program, noWeights, input, 2)).toEqual([...ideal(input.slice(0, 8)), ...ideal(input.slice(8))]);
    }
  });
});

describe('truncate', () => {
  it('gives floor(y / 2^f) or one unit more where the ring is wide, and in any ring when it is exact', async () => {
    const cases = fc.record({
      ring: fc.constantFrom(
        ['securenn', 64] as const,
        ['securenn-exact', 64] as const,
        ['securenn-exact', 32] as const,
        ['securenn-exact', 29] as const,
      ),
      f: fc.nat(20),
      n: fc.constantFrom(1, 7, 130),
      batch: fc.integer({ min: 1, max: 2 }),
    });
    const full = cases.chain((c) => numbers(c.n * c.batch, 2 ** 24 - 1).map((input) => ({ ...c, input })));
    await fc.assert(
      fc.asyncProperty(full, async ({ ring: [suite, ringBits], f, n, batch, input }) => {
        const step: Step = { kind: 'truncate', name: 't', input: 0, output: 1, truncateBits: f };
        const got = await run(suite, smallProgram([n, 1, 1], [step], [[n, 1, 1]], ringBits), noWeights, input, batch);
        for (const [i, y] of input.entries()) expect(f === 0 ? [0] : [0, 1]).toContain(got[i]! - Math.floor(y / 2 ** f));
      }),
      { numRuns: 40 },
    );
  });
});

describe.each(Object.keys(suites))('rounds of %s', (suite) => {
  it('are those of the estimate, where layers come first and where a comparison does', async () => {
    const sizes = { inputHeight: 8, inputWidth: 8, outputHeight: 8, outputWidth: 8, kernelHeight: 1, kernelWidth: 1 };
    const rest = { strideY: 1, strideX: 1, dilationY: 1, dilationX: 1, padTop: 0, padLeft: 0, groups: 1 };
    const geometry: ConvGeometry = { inputChannels: 2, outputChannels: 2, ...sizes, ...rest };
    const layer = (input: number, output: number, weights: number): Step => ({
      kind: 'linear',
      name: `l${output}`,
      input,
      output,
      geometry,
      weights,
    });
    const cut = (input: number, output: number): Step => ({ kind: 'truncate', name: `t${output}`, input, output, truncateBits: 4 });
    const relu = (input: number, output: number): Step => ({
      kind: 'relu',
      name: `r${output}`,
      input,
      output,
      truncateBits: 4,
      window: { low: 4, high: 16 },
    });
    const programs: Step[][] = [
      [layer(0, 1, 0), cut(1, 2), layer(2, 3, 1), relu(3, 4), layer(4, 5, 2)],
      [relu(0, 1), layer(1, 2, 0), { kind: 'add', name: 'a', inputs: [2, 0], factors: [1, 16], output: 3 }, relu(3, 4)],
      [cut(0, 1), layer(1, 2, 0), cut(2, 3)],
    ];
    const { defaultRingBits } = suites[suite]!;
    for (const steps of programs) {
      const layers = steps
        .filter((step) => step.kind === 'linear')
        .map(() => ({ weights: wordsOf([1, 2, 3, 4], defaultRingBits), bias: wordsOf([0, 0], defaultRingBits) }));
      const program = smallProgram(
        [2, 8, 8],
        steps,
        steps.map(() => [2, 8, 8]),
        defaultRingBits,
      );
      const local = await openLocalSession({ compute, program, weights: { layers }, suite });
      const { report } = await local.client.infer(new Float32Array(128).fill(100));
      await local.close();
      const { offline, online } = estimate(program, suites[suite]!);
      expect(report.rounds).toEqual({ offline: offline.rounds, online: online.rounds });
    }
  });
});
