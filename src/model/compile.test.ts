// What the compiler promises beside accuracy: programs that say nothing about constants, specs, small rings, safe files.
import fc from 'fast-check';
import { deflateSync } from 'fflate';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floats, noiseArray, onnxBytes, type TestModel } from '../../test/model/onnx.js';
import { DataError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { decodeFixed, encodeFixed } from '../ring/fixed.js';
import { type Compiled, type CompileOptions, compileGraph, exactRangeBits } from './compile.js';
import { decodeProgram, decodeWeights, encodeProgram, encodeWeights, programHash } from './files.js';
import { forward } from './forward.js';
import { readGraph } from './onnx.js';
import { applyPatches, lower } from './passes/lower.js';
import { simplify } from './passes/simplify.js';
import type { Patch, Program, Step } from './program.js';
import { simulate } from './simulate.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

const size = 8;
const count = 6;

/** A network with every secret constant there is: batch norm in three places, PRelu, Mul, Add, two branches joined. */
function network(seed: number): TestModel {
  const values = (n: number, i: number): Float32Array => noiseArray(n, seed * 100 + i);
  const norm = (name: string, channels: number, i: number) =>
    Object.fromEntries(
      ['s', 'b', 'm', 'v'].map((c, j) => [
        `${name}${c}`,
        floats(
          [channels],
          values(channels, i + j).map((v) => (c === 'v' ? Math.abs(v) + 0.2 : v)),
        ),
      ]),
    );
  const bn = (name: string, input: string, output: string) => ({
    op: 'BatchNormalization',
    inputs: [input, ...['s', 'b', 'm', 'v'].map((c) => name + c)],
    outputs: [output],
  });
  const pad = { attributes: { pads: [1, 1, 1, 1] } };
  return {
    input: ['N', 3, size, size],
    constants: {
      w1: floats([4, 3, 3, 3], values(108, 1)),
      w2: floats([4, 4, 3, 3], values(144, 2)),
      w3: floats([4, 4, 1, 1], values(16, 3)),
      w4: floats([8 * 16, 5], values(640, 4)),
      slope: floats([4, 1, 1], values(4, 5)),
      mul: floats([4, 1, 1], values(4, 6)),
      add: floats([1, 4, size, size], values(4 * size * size, 7)),
      ...norm('p', 4, 10),
      ...norm('q', 4, 20),
      ...norm('r', 8, 30),
    },
    nodes: [
      { op: 'Conv', inputs: ['x', 'w1'], outputs: ['a'], ...pad },
      bn('p', 'a', 'b'),
      { op: 'PRelu', inputs: ['b', 'slope'], outputs: ['c'] },
      bn('q', 'c', 'd'),
      { op: 'Conv', inputs: ['d', 'w2'], outputs: ['e'], ...pad },
      { op: 'Relu', inputs: ['e'], outputs: ['f'], name: 'left' },
      { op: 'Mul', inputs: ['f', 'mul'], outputs: ['g'] },
      { op: 'Conv', inputs: ['d', 'w3'], outputs: ['h'] },
      { op: 'Add', inputs: ['h', 'add'], outputs: ['i'] },
      { op: 'Relu', inputs: ['i'], outputs: ['j'], name: 'right' },
      { op: 'Concat', inputs: ['f', 'j'], outputs: ['k'], attributes: { axis: 1 } },
      { op: 'Concat', inputs: ['g', 'j'], outputs: ['l'], attributes: { axis: 1 } },
      { op: 'Add', inputs: ['k', 'l'], outputs: ['m'] },
      bn('r', 'm', 'n'),
      { op: 'MaxPool', inputs: ['n'], outputs: ['o'], attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
      { op: 'Flatten', inputs: ['o'], outputs: ['t'] },
      { op: 'MatMul', inputs: ['t', 'w4'], outputs: ['y'] },
    ],
  };
}

const pictures = (seed: number): Float32Array => noiseArray(count * 3 * size * size, seed, 2);

async function compiled(seed: number, options: CompileOptions = {}): Promise<Compiled> {
  return compileGraph(compute, readGraph(onnxBytes(network(seed))), { images: pictures(seed), count }, options);
}

/** A program without scales and what follows from them alone. */
function structure(program: Program): unknown {
  const step = (s: Step): unknown => ({ ...s, truncateBits: 0, window: 0, factors: 0, cap: 0 });
  return { ...program, tensors: program.tensors.map((t) => t.shape), steps: program.steps.map(step) };
}

async function error(c: Compiled, seed: number, spec?: CompileOptions['spec']): Promise<number> {
  const graph = readGraph(onnxBytes(network(seed)));
  const x = pictures(seed);
  const y = await forward(compute, spec === undefined ? graph : applyPatches(simplify(graph), spec), x, count);
  const { program, weights } = c;
  const { output } = await simulate(
    compute,
    program,
    weights,
    encodeFixed(x, program.tensors[program.input]!.scale, program.ringBits),
    count,
  );
  const z = decodeFixed(output, program.tensors[program.output]!.scale);
  const greatest = y.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  return z.reduce((m, v, i) => Math.max(m, Math.abs(v - y[i]!)), 0) / greatest;
}

describe('compiling', () => {
  it('gives models that differ only in initialisers programs that differ only in scales and windows', async () => {
    const [first, ...others] = await Promise.all([1, 2, 3, 4].map((seed) => compiled(seed)));
    for (const other of others) {
      expect(structure(other.program)).toEqual(structure(first!.program));
      expect(await programHash(other.program)).not.toBe(await programHash(first!.program));
    }
  });

  it('works in every ring from 16 to 64 bits, more exactly the wider it is', async () => {
    const errors: number[] = [];
    for (const ringBits of [16, 20, 24, 28, 32, 33, 40, 48, 64]) {
      const c = await compiled(5, { ringBits });
      expect(c.report.clipped).toBe(0);
      errors.push(await error(c, 5));
    }
    expect(errors[4]).toBeLessThan(0.002);
    expect(errors[2]).toBeLessThan(0.03);
    expect(errors[0]).toBeLessThan(0.5);
    expect(errors[6]).toBeLessThan(errors[4]! / 4);
    expect(errors[7]).toBeLessThan(errors[6]! / 4);
    // float32, which the reference computes in, has no more.
    expect(errors[8]).toBeLessThan(1e-5);
    await expect(compiled(5, { ringBits: 65 })).rejects.toThrow('ring of 65 bits');
  });

  it('rounds weights without moving the mean of an output over the calibration pictures', async () => {
    const onnx = onnxBytes({
      nodes: [{ op: 'Conv', inputs: ['x', 'w'], outputs: ['y'] }],
      input: ['N', 3, size, size],
      constants: { w: floats([4, 3, 1, 1], noiseArray(12, 3)) },
    });
    const images = pictures(8).map((v, i) => v + (Math.floor(i / size ** 2) % 3));
    const mean = async (ringBits: number): Promise<readonly number[]> => {
      const { program, weights } = await compileGraph(compute, readGraph(onnx), { images, count }, { ringBits });
      const { scale } = program.tensors[program.input]!;
      const { output } = await simulate(compute, program, weights, encodeFixed(images, scale, ringBits), count);
      const values = decodeFixed(output, program.tensors[program.output]!.scale);
      const each = values.length / (4 * count);
      return [0, 1, 2, 3].map((c) => values.reduce((sum, v, i) => (Math.floor(i / each) % 4 === c ? sum + v : sum), 0) / (each * count));
    };
    const [narrow, wide] = [await mean(16), await mean(32)];
    for (const [c, value] of narrow.entries()) expect(Math.abs(value - wide[c]!)).toBeLessThan(0.005);
  });

  it('leaves headroom where a suite asks for it, and says so in the program', async () => {
    const [narrow, wide, all] = [
      await compiled(5, { ringBits: 36 }),
      await compiled(5, { ringBits: 64, rangeBits: 36 }),
      await compiled(5, { ringBits: 64 }),
    ];
    expect(wide.program.tensors).toEqual(narrow.program.tensors);
    expect([narrow.program.rangeBits, wide.program.rangeBits, all.program.rangeBits]).toEqual([undefined, 36, exactRangeBits]);
  });

  it('keeps the conditions of the protocol: hidden into linear layers, windows and caps in range', async () => {
    // Reading a program back checks all of that (check.ts).
    for (const ringBits of [32, 48]) {
      const { program, weights } = await compiled(6, { ringBits });
      expect(await decodeProgram(await encodeProgram(program))).toEqual(program);
      expect(await decodeWeights(await encodeWeights(weights, program), program)).toEqual(weights);
    }
  });

  const side: fc.Arbitrary<Patch> = fc.oneof(
    fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
    fc.constantFrom<Patch>([1, 1], [0, 1], [1, 0]),
  );
  it('runs any spec as the float network does', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(side, { minLength: 12, maxLength: 12 }), fc.integer({ min: 1, max: 1000 }), async (patches, seed) => {
        const spec = new Map([
          ['c', patches.slice(0, 4)],
          ['left', patches.slice(4, 8)],
          ['right', patches.slice(8)],
        ]);
        const c = await compiled(seed, { spec });
        expect(c.report.clipped).toBe(0);
        expect(await error(c, seed, spec)).toBeLessThan(0.1);
      }),
      // A fixed seed: a block whose sum is within rounding of zero falls on the other side once in some ten thousand blocks.
      { numRuns: 15, seed: 3 },
    );
  });

  it('refuses specs that do not fit', async () => {
    const four: Patch[] = [1, 2, 3, 4].map(() => [2, 2]);
    for (const spec of [
      new Map([['nosuch', four]]),
      new Map([['left', four.slice(1)]]),
      new Map([['left', [[9, 1], ...four.slice(1)] as Patch[]]]),
    ]) {
      await expect(compiled(1, { spec })).rejects.toMatchObject({ code: 'bad-spec', exitStatus: 3 });
    }
  });

  it('drops the filters of zero channels, and truncates where all are identities', () => {
    const graph = readGraph(
      onnxBytes({
        input: ['N', 3, 4, 4],
        constants: { w: floats([4, 3, 1, 1], noiseArray(12, 1)), v: floats([2, 64], noiseArray(128, 2)) },
        nodes: [
          { op: 'Conv', inputs: ['x', 'w'], outputs: ['a'] },
          { op: 'Relu', inputs: ['a'], outputs: ['r'] },
          { op: 'Flatten', inputs: ['r'], outputs: ['f'] },
          { op: 'Gemm', inputs: ['f', 'v'], outputs: ['y'], attributes: { transB: 1 } },
        ],
      }),
    );
    const zeros = lower(
      simplify(graph),
      new Map([
        [
          'r',
          [
            [1, 1],
            [1, 0],
            [2, 2],
            [1, 0],
          ],
        ],
      ]),
    );
    expect(zeros.nodes.map((n) => (n.kind === 'conv' ? [n.geometry.inputChannels, n.geometry.outputChannels] : n.shape))).toEqual([
      [3, 2],
      [2, 4, 4],
      [32, 2],
    ]);
    const identities = lower(simplify(graph), new Map([['r', [1, 2, 3, 4].map((): Patch => [0, 1])]]));
    expect(identities.nodes.map((n) => n.kind)).toEqual(['conv', 'truncate', 'conv']);
  });
});

describe('program.bin', () => {
  const hostile = async (change: (program: Record<string, never>) => void): Promise<void> => {
    const copy = JSON.parse(JSON.stringify((await compiled(1)).program)) as Program;
    change(copy as never);
    await expect(decodeProgram(await encodeProgram(copy))).rejects.toBeInstanceOf(DataError);
  };
  // biome-ignore lint/suspicious/noExplicitAny: the point is to write what the types forbid
  const changes: readonly [string, (p: any) => void][] = [
    ['a ring of 65 bits', (p) => (p.ringBits = 65)],
    ['an unknown field', (p) => (p.extra = 1)],
    ['an unknown step', (p) => (p.steps[0].kind = 'exec')],
    ['a tensor of 2^40 elements', (p) => (p.tensors[1].shape = [2 ** 20, 2 ** 20])],
    ['many tensors of 2^24 elements', (p) => p.tensors.push(...Array.from({ length: 64 }, () => ({ shape: [2 ** 24], scale: 1 })))],
    ['a scale of 0', (p) => (p.tensors[0].scale = 0)],
    ['a step that reads what comes later', (p) => (p.steps[0].input = p.output)],
    ['a tensor made twice', (p) => (p.steps[1].output = p.steps[0].output)],
    ['a linear layer on a sealed value', (p) => p.steps.splice(1, 0, { ...p.steps[0], input: p.steps[0].output })],
    ['weights used twice', (p) => (p.steps.filter((s: Step) => s.kind === 'linear')[1].weights = 0)],
    ['a geometry that does not fit', (p) => (p.steps[0].geometry.outputChannels = 5)],
    ['a kernel of 2^24', (p) => (p.steps[0].geometry.kernelHeight = 2 ** 24)],
    ['groups that do not divide', (p) => (p.steps[0].geometry.groups = 2)],
    ['a window of no bits', (p) => (p.steps.find((s: Step) => s.kind === 'relu').window = { low: 20, high: 20 })],
    ['a window beyond the ring', (p) => (p.steps.find((s: Step) => s.kind === 'relu').window = { low: 2, high: 33 })],
    ['a cap that is no multiple', (p) => (p.steps.find((s: Step) => s.kind === 'relu').cap = 3)],
    ['patches for other channels', (p) => (p.steps.find((s: Step) => s.kind === 'relu').patches = [[1, 1]])],
    ['a concatenation that does not fit', (p) => (p.steps.find((s: Step) => s.kind === 'concat').axis = 7)],
    ['a factor beyond its ring', (p) => (p.steps.find((s: Step) => s.kind === 'add').factors[0] = 2 ** 31)],
    ['a sum with a factor missing', (p) => p.steps.find((s: Step) => s.kind === 'add').factors.pop()],
  ];
  it.each(changes)('refuses %s', async (_, change) => {
    await hostile(change);
  });

  it('refuses every truncation and every changed byte', async () => {
    const bytes = await encodeProgram((await compiled(1)).program);
    for (let at = 0; at < bytes.length; at += 7) {
      await expect(decodeProgram(bytes.subarray(0, at))).rejects.toBeInstanceOf(DataError);
      const changed = bytes.slice();
      changed[at]! ^= 0x55;
      await expect(decodeProgram(changed)).rejects.toBeInstanceOf(DataError);
    }
  });

  it('stops inflating a bomb', async () => {
    const bytes = await encodeProgram((await compiled(1)).program);
    const bomb = deflateSync(new Uint8Array(64 << 20), { level: 9 });
    const whole = new Uint8Array(40 + bomb.length);
    whole.set(bytes.subarray(0, 40));
    whole.set(bomb, 40);
    await expect(decodeProgram(whole)).rejects.toThrow('holds more than');
  });

  it('keeps weights to their own program', async () => {
    const [one, two] = await Promise.all([compiled(1), compiled(2)]);
    const bytes = await encodeWeights(one.weights, one.program);
    await expect(decodeWeights(bytes, two.program)).rejects.toThrow('belong to another program');
    for (const at of [0, 5, 45, 80, bytes.length - 3]) {
      const changed = bytes.slice();
      changed[at]! ^= 1;
      await expect(decodeWeights(changed, one.program)).rejects.toBeInstanceOf(DataError);
    }
    await expect(decodeWeights(bytes.subarray(0, 90), one.program)).rejects.toBeInstanceOf(DataError);
  });
});
