// ReLU, block ReLU, ReLU6 and max pool of the securenn suite against what they are to compute, three parties in memory, every byte predicted.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import type { PoolGeometry } from '../../src/kernel/geometry.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { Patch, Program, ReluStep } from '../../src/model/program.js';
import { suites } from '../../src/party/session.js';
import { onWire } from '../../src/protocol/control.js';
import { allMessages, costEnvironment } from '../../src/protocol/estimate.js';
import { comparisonNames } from '../../src/protocol/messages.js';
import { type MessageSize, roundStride } from '../../src/protocol/operation.js';
import { operationOf } from '../../src/protocol/suite.js';
import { noWeights, type Received, runSmall, smallProgram } from './harness.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 1 });
});
afterAll(() => compute.close());

/** Runs a program, and checks that every link carried what the cost formulas say. */
async function run(program: Program, input: readonly number[], batch: number, suite = 'securenn'): Promise<number[]> {
  const sent: Received[] = [];
  const got = await runSmall(compute, program, noWeights, input, batch, (message) => sent.push(message), suite);
  const list = (all: readonly (readonly [string, string, number])[]) => all.map((entry) => entry.join(' ')).sort();
  const predicted = allMessages(program, suites[suite]!, batch).map((m) => [m.phase, m.link, onWire(m)] as const);
  const counted = sent.filter((m) => m.phase !== 'setup').map((m) => [m.phase, `${m.from}>${m.to}`, m.payload.length + 12] as const);
  expect(list(counted)).toEqual(list(predicted));
  return got;
}

const reluProgram = (shape: readonly number[], ringBits: number, step: Omit<ReluStep, 'kind' | 'name' | 'input' | 'output'>): Program =>
  smallProgram(shape, [{ kind: 'relu', name: 'relu', input: 0, output: 1, ...step }], [shape], ringBits);

/** Rings, windows and truncations that fit together. The local truncation is tested where its chance of a wrap is below 2^-40: in 64 bits. */
const settings = fc
  .record({ k: fc.constantFrom(16, 20, 32, 64), f: fc.nat(12), q: fc.integer({ min: -2, max: 3 }), room: fc.nat(6), exact: fc.boolean() })
  .map(({ k, f: drawn, q, room, exact }) => {
    const f = k === 64 ? drawn : exact ? Math.min(drawn, k - 14) : 0;
    const suite = exact ? 'securenn-exact' : 'securenn';
    const low = Math.max(0, Math.min(f + q, k - 12));
    return { k, f, suite, low, high: Math.max(low + 10, Math.min(k, 26 + room, k - room)) };
  });

/** Bits of values that keep a window's condition, and of patches' sums. */
const valueBits = (k: number, high: number, patch = 1) => Math.max(1, Math.min(k - 3, high - 2 - Math.ceil(Math.log2(patch)), 22));
const values = (count: number, bits: number) =>
  fc.array(fc.oneof(fc.integer({ min: -(2 ** bits) + 1, max: 2 ** bits - 1 }), fc.constantFrom(0, 1, -1, -2)), {
    minLength: count,
    maxLength: count,
  });

/** Elements of each block of an image, and those of identity and zero channels. */
function blocksOf([c, h, w]: readonly number[], patches: readonly Patch[]) {
  const out = { relu: [] as number[][], identity: [] as number[], zero: [] as number[] };
  for (let channel = 0; channel < c!; channel++) {
    const [bh, bw] = patches[channel]!;
    const at = (y: number, x: number) => (channel * h! + y) * w! + x;
    const all = Array.from({ length: h! * w! }, (_, i) => channel * h! * w! + i);
    if (bh === 0) out.identity.push(...all);
    else if (bw === 0) out.zero.push(...all);
    else
      for (let y = 0; y < h!; y += bh)
        for (let x = 0; x < w!; x += bw)
          out.relu.push(all.filter((i) => i >= at(y, 0) && i < at(Math.min(y + bh, h!), 0) && i % w! >= x && i % w! < x + bw));
  }
  return out;
}

/** What an image may become: a sign is wrong for sums in [-2^low, 0) alone, and for none where every low bit is compared. */
function check(
  step: Pick<ReluStep, 'truncateBits' | 'window' | 'cap'>,
  shape: readonly number[],
  patches: readonly Patch[],
  y: readonly number[],
  got: readonly number[],
) {
  const { truncateBits: f, window, cap } = step;
  const { relu, identity, zero } = blocksOf(shape, patches);
  const units = (value: number) => (f === 0 ? [value] : [Math.floor(value / 2 ** f), Math.floor(value / 2 ** f) + 1]);
  for (const i of zero) expect(got[i]).toBe(0);
  for (const i of identity) expect(units(y[i]!)).toContain(got[i]);
  const signs = (block: readonly number[], offset: number): number[] => {
    const sum = block.reduce((total, i) => total + y[i]! - offset, 0);
    return sum >= 0 ? [1] : window.low > 0 && sum >= -(2 ** window.low) ? [0, 1] : [0];
  };
  for (const block of relu) {
    const options = signs(block, 0).flatMap((one) => (cap === undefined ? [0] : signs(block, cap)).map((two) => [one, two] as const));
    const fits = ([one, two]: readonly [number, number]) =>
      block.every((i) => units(one * y[i]! - two * (y[i]! - (cap ?? 0))).includes(got[i]!));
    expect(options.some(fits), `block ${block} of ${y} became ${got}`).toBe(true);
  }
}

describe('relu', () => {
  it('is exact to a unit for every ring, window and truncation', async () => {
    const cases = fc
      .record({ s: settings, n: fc.constantFrom(1, 5, 16, 33, 131), batch: fc.integer({ min: 1, max: 2 }), six: fc.boolean() })
      .chain((c) => values(c.n * c.batch, valueBits(c.s.k, c.s.high) - 1).map((input) => ({ ...c, input })));
    await fc.assert(
      fc.asyncProperty(cases, async ({ s, n, batch, six, input }) => {
        const cap = six ? { cap: 2 ** Math.max(s.f, valueBits(s.k, s.high) - 3) } : {};
        const step = { truncateBits: s.f, window: { low: s.low, high: s.high }, ...cap };
        const got = await run(reluProgram([n, 1, 1], s.k, step), input, batch, s.suite);
        check(step, [n * batch, 1, 1], new Array<Patch>(n * batch).fill([1, 1]), input, got);
      }),
      { numRuns: 60 },
    );
  });

  it('shares one comparison a patch for any spec, with partial patches, identity and zero channels', async () => {
    const patch: fc.Arbitrary<Patch> = fc.oneof(
      fc.constantFrom<Patch>([1, 1], [0, 1], [1, 0], [2, 2], [3, 2]),
      fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
    );
    const cases = fc
      .record({
        c: fc.integer({ min: 1, max: 5 }),
        h: fc.integer({ min: 1, max: 7 }),
        w: fc.integer({ min: 1, max: 7 }),
        s: settings,
        batch: fc.integer({ min: 1, max: 2 }),
      })
      .chain((base) =>
        fc.record({
          base: fc.constant(base),
          patches: fc.array(patch, { minLength: base.c, maxLength: base.c }),
          input: values(base.c * base.h * base.w * base.batch, Math.max(1, valueBits(base.s.k, base.s.high, 32) - 1)),
          six: fc.boolean(),
        }),
      );
    await fc.assert(
      fc.asyncProperty(cases, async ({ base: { c, h, w, s, batch }, patches: drawn, input, six }) => {
        const patches = drawn.map(([bh, bw]): Patch => [Math.min(bh, h), Math.min(bw, w)]);
        const cap = six ? { cap: 2 ** Math.max(s.f, 2) } : {};
        const step = { truncateBits: s.f, window: { low: s.low, high: s.high }, patches, ...cap };
        const got = await run(reluProgram([c, h, w], s.k, step), input, batch, s.suite);
        const size = c * h * w;
        for (let image = 0; image < batch; image++) {
          const [from, to] = [image * size, (image + 1) * size];
          check(step, [c, h, w], patches, input.slice(from, to), got.slice(from, to));
        }
      }),
      { numRuns: 60 },
    );
  });

  it('goes over several chunks, blocks across them', async () => {
    const n = 70_001;
    const input = Array.from({ length: n }, (_, i) => ((i * 2_654_435_761) % 8191) - 4095);
    const step = { truncateBits: 0, window: { low: 0, high: 14 } };
    expect(await run(reluProgram([n, 1, 1], 32, step), input, 1)).toEqual(input.map((y) => Math.max(0, y)));
    const pairs = await run(reluProgram([1, 1, n - 1], 32, { ...step, patches: [[1, 2]] }), input.slice(0, n - 1), 1);
    const sumOf = (i: number) => input[i - (i % 2)]! + input[i - (i % 2) + 1]!;
    expect(pairs).toEqual(input.slice(0, n - 1).map((y, i) => (sumOf(i) >= 0 ? y : 0)));
  });
});

describe('maxpool', () => {
  const side = fc.record({
    size: fc.integer({ min: 1, max: 9 }),
    kernel: fc.integer({ min: 1, max: 4 }),
    stride: fc.integer({ min: 1, max: 3 }),
  });
  const pools = fc.record({ c: fc.integer({ min: 1, max: 3 }), y: side, x: side }).map(
    ({ c, y, x }): PoolGeometry => ({
      channels: c,
      inputHeight: y.size,
      inputWidth: x.size,
      outputHeight: Math.floor((y.size - y.kernel) / y.stride) + 1,
      outputWidth: Math.floor((x.size - x.kernel) / x.stride) + 1,
      kernelHeight: y.kernel,
      kernelWidth: x.kernel,
      strideY: y.stride,
      strideX: x.stride,
      dilationY: 1,
      dilationX: 1,
      padTop: 0,
      padLeft: 0,
    }),
  );
  const cases = pools
    .filter((g) => g.outputHeight > 0 && g.outputWidth > 0)
    .chain((g) =>
      fc.record({
        g: fc.constant(g),
        k: fc.constantFrom(20, 32, 64),
        batch: fc.integer({ min: 1, max: 2 }),
        input: values(2 * g.channels * g.inputHeight * g.inputWidth, 12),
      }),
    );

  it('is the maximum of every window, overlapping and at the edges, bit for bit when every bit is compared', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ g, k, batch, input: drawn }) => {
        const input = drawn.slice(0, batch * g.channels * g.inputHeight * g.inputWidth);
        const shape = [g.channels, g.inputHeight, g.inputWidth];
        const out = [g.channels, g.outputHeight, g.outputWidth];
        const step = { kind: 'maxpool', name: 'pool', input: 0, output: 1, geometry: g, window: { low: 0, high: 16 } } as const;
        expect(await run(smallProgram(shape, [step], [out], k), input, batch)).toEqual(maxima(g, input, batch));
      }),
      { numRuns: 40 },
    );
  });
});

function maxima(g: PoolGeometry, input: readonly number[], batch: number): number[] {
  const out: number[] = [];
  for (let plane = 0; plane < batch * g.channels; plane++) {
    for (let y = 0; y < g.outputHeight; y++) {
      for (let x = 0; x < g.outputWidth; x++) {
        const window: number[] = [];
        for (let ky = 0; ky < g.kernelHeight; ky++)
          for (let kx = 0; kx < g.kernelWidth; kx++)
            window.push(input[(plane * g.inputHeight + y * g.strideY + ky) * g.inputWidth + x * g.strideX + kx]!);
        out.push(Math.max(...window));
      }
    }
  }
  return out;
}

describe('what a ReLU costs', () => {
  /** Bytes an element, all links and both phases, without labels: of the step, and of its comparison alone; and on each link. */
  function costOf(ringBits: number, low: number, high: number, patches?: readonly Patch[]) {
    const count = 32_768;
    const program = reluProgram([1, count, 1], ringBits, { truncateBits: 0, window: { low, high }, ...(patches && { patches }) });
    const list = operationOf(suites.securenn!, program.steps[0]!).messages(program.steps[0]!, costEnvironment(program, 1));
    const sum = (messages: readonly MessageSize[]) => messages.reduce((total, m) => total + m.bytes, 0) / count;
    const selections: readonly number[] = [comparisonNames.selectionOpening, comparisonNames.selectionShares];
    return {
      relu: sum(list),
      drelu: sum(list.filter((m) => !selections.includes(m.name % roundStride))),
      online: sum(list.filter((m) => m.phase === 'online')),
      link: (link: string) => sum(list.filter((m) => m.link === link)),
    };
  }

  it('is 368 bytes for a sign of 64 bits and 392 for a ReLU, where Porthos measures 496 and 536', () => {
    const { relu, drelu, online } = costOf(64, 0, 64);
    expect([drelu, relu, online]).toEqual([368, 392, 280]);
  });

  it('is 88 bytes for a ReLU with a window of 16 bits in 32, and less a block', () => {
    expect(costOf(32, 15, 31).relu).toBe(88);
    expect(costOf(32, 15, 31, [[2, 1]]).relu).toBe(76 / 2 + 12);
  });

  it('loads the links of client and server alike', () => {
    const { link } = costOf(64, 0, 64);
    expect(link('provider>client')).toBe(link('provider>server'));
    expect(link('client>provider')).toBe(link('server>provider'));
    expect(link('client>server')).toBe(link('server>client'));
  });
});
