// Comparison windows of a spec: what they mean, that they mean it whatever the calibration is, and what is refused.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floats, noiseArray, onnxBytes, type TestModel } from '../../test/model/onnx.js';
import { DataError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { type CompileOptions, compileGraph } from './compile.js';
import { readGraph } from './onnx.js';
import type { Patch, Program, ReluStep } from './program.js';
import { roundingDecides } from './simulate-relu.js';
import { parseSpec, windowsOf } from './spec.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

const size = 6;
const count = 4;
const model: TestModel = {
  input: ['N', 2, size, size],
  constants: {
    w1: floats([3, 2, 3, 3], noiseArray(54, 1)),
    w2: floats([3, 3, 3, 3], noiseArray(81, 2)),
    slope: floats([3, 1, 1], noiseArray(3, 4)),
    w3: floats([3 * size * size, 4], noiseArray(432, 3)),
  },
  nodes: [
    { op: 'Conv', inputs: ['x', 'w1'], outputs: ['a'], attributes: { pads: [1, 1, 1, 1] } },
    { op: 'Relu', inputs: ['a'], outputs: ['b'], name: 'first' },
    { op: 'Conv', inputs: ['b', 'w2'], outputs: ['c'], attributes: { pads: [1, 1, 1, 1] } },
    { op: 'PRelu', inputs: ['c', 'slope'], outputs: ['d'], name: 'second' },
    { op: 'Flatten', inputs: ['d'], outputs: ['e'] },
    { op: 'MatMul', inputs: ['e', 'w3'], outputs: ['y'] },
  ],
};

async function compile(
  windows: Record<string, { low?: number; high?: number }>,
  options: CompileOptions = {},
  brightness = 1,
): Promise<Program> {
  const images = noiseArray(count * 2 * size * size, 9).map((v) => v * brightness);
  const settings = { ...options, windows: new Map(Object.entries(windows)) };
  return (await compileGraph(compute, readGraph(onnxBytes(model)), { images, count }, settings)).program;
}

function reluOf(program: Program, name: string): { step: ReluStep; scale: number } {
  const step = program.steps.find((s): s is ReluStep => s.kind === 'relu' && s.name === name)!;
  return { step, scale: program.tensors[step.input]!.scale };
}

const spec = (change: object): string =>
  JSON.stringify({ schema: 'tessera/spec@1', model: 'ab'.repeat(32), layers: {}, windows: {}, ...change });

describe('windows of a spec', () => {
  it('mean the same real values whatever pictures the scales are chosen from', async () => {
    for (const brightness of [0.5, 1]) {
      const program = await compile({ first: { low: 0.25, high: 12 }, second: { low: 1 } }, {}, brightness);
      const { step, scale } = reluOf(program, 'first');
      expect(2 ** step.window.low / scale).toBe(0.25);
      expect(2 ** (step.window.high - 1) / scale).toBeGreaterThan(12);
      expect(2 ** (step.window.high - 2) / scale).toBeLessThan(2 * 12);
      expect(2 ** reluOf(program, 'second').step.window.low / reluOf(program, 'second').scale).toBe(1);
      expect(roundingDecides(program)).toBe(true);
    }
  });

  it('never ignore more than they say, and never compare what truncation drops', async () => {
    const { step, scale } = reluOf(await compile({ first: { low: 0.3 } }), 'first');
    expect(2 ** step.window.low / scale).toBe(0.25);
    const fine = await compile({ first: { low: 1e-9 } });
    expect(fine).toEqual(await compile({}));
    expect(roundingDecides(fine)).toBe(false);
  });

  it('leave the calibrated range as it is, and hold sums of patches', async () => {
    const plain = reluOf(await compile({}), 'first').step.window;
    expect(reluOf(await compile({ first: { low: 0.1 } }), 'first').step.window.high).toBe(plain.high);
    const patches = new Map([['first', new Array<Patch>(3).fill([3, 3])]]);
    const { step, scale } = reluOf(await compile({ first: { high: 50 } }, { spec: patches }), 'first');
    expect(2 ** (step.window.high - 1) - 10 * 2 ** step.truncateBits).toBeGreaterThan(50 * scale);
    expect(reluOf(await compile({ first: { high: 1e12 } }), 'first').step.window.high).toBe(32);
  });

  it.each([
    ['of no activation', { y: { low: 1 } }, 'has no activation'],
    ['without a bit to compare', { first: { low: 1e12 } }, 'no bits to compare'],
  ])('%s are refused, with the layer named', async (_, windows, reason) => {
    const refused = compile(windows);
    await expect(refused).rejects.toThrow(DataError);
    await expect(refused).rejects.toThrow(reason);
    await expect(refused).rejects.toMatchObject({ code: 'bad-spec', where: Object.keys(windows)[0] });
  });

  it.each([
    ['low above high', { first: { low: 2, high: 1 } }],
    ['a negative low', { first: { low: -1 } }],
    ['a high that is no number', { first: { high: 'x' } }],
    ['zero', { first: { low: 0 } }],
  ])('with %s are no spec', (_, windows) => {
    expect(() => parseSpec(spec({ windows }), 's.json')).toThrow(DataError);
  });

  it('are optional', () => {
    expect(windowsOf(parseSpec(spec({}), 's.json')).size).toBe(0);
    expect(windowsOf(parseSpec(spec({ windows: { a: { low: 0.5 } } }), 's.json')).get('a')).toEqual({ low: 0.5 });
  });
});
