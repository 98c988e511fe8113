// Resizing at the end of a network: the client's, so that what is sent has the size before.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floats, noiseArray, onnxBytes, reference } from '../../test/model/onnx.js';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { openLocalSession } from '../party/local.js';
import { suites } from '../party/session.js';
import { estimate } from '../protocol/estimate.js';
import { checkProgram } from './check.js';
import { compileGraph } from './compile.js';
import { decodeProgram, encodeProgram } from './files.js';
import { readGraph } from './onnx.js';
import { resizedShape } from './output.js';
import type { OutputResample } from './program.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

const bytes = (scale: number): Uint8Array =>
  onnxBytes({
    input: ['N', 3, 8, 6],
    constants: { w: floats([4, 3, 3, 3], noiseArray(108, 1)), roi: floats([0], []), s: floats([4], [1, 1, scale, scale]) },
    nodes: [
      { op: 'Conv', inputs: ['x', 'w'], outputs: ['a'], attributes: { pads: [1, 1, 1, 1] } },
      { op: 'Resize', inputs: ['a', 'roi', 's'], outputs: ['y'], attributes: { mode: 'linear' } },
    ],
  });
const images = noiseArray(2 * 144, 2);
const compiled = (scale: number) => compileGraph(compute, readGraph(bytes(scale)), { images, count: 2 });

describe('resizing at the output', () => {
  it("is the client's: answers as onnxruntime's, and what is sent does not grow with the map", async () => {
    const { program, weights } = await compiled(8);
    expect(program.steps.some((s) => s.kind === 'resample')).toBe(false);
    expect(resizedShape(program)).toEqual([4, 64, 48]);
    const small = (await compiled(2)).program;
    expect(estimate(program, suites.masked!, 1)).toEqual(estimate(small, suites.masked!, 1));
    const local = await openLocalSession({ compute, program, weights });
    const { outputs } = await local.client.infer(images, 2);
    await local.close();
    const expected = await reference(bytes(8), images, [2, 3, 8, 6]);
    const length = expected.length / 2;
    outputs.forEach((output, n) => {
      expect(output.length).toBe(length);
      output.forEach((v, i) => {
        if (Math.abs(v - expected[n * length + i]!) > 0.01) throw new Error(`output ${n}, ${i}: ${v}, not ${expected[n * length + i]}`);
      });
    });
  });

  it('stays with the parties where it makes the map smaller', async () => {
    const { program } = await compiled(0.5);
    expect(program.outputResamples).toBeUndefined();
    expect(program.steps.some((s) => s.kind === 'resample')).toBe(true);
  });

  it('is written, read and checked with the program', async () => {
    const { program } = await compiled(2);
    expect(await decodeProgram(await encodeProgram(program))).toEqual(program);
    const [first, second] = program.outputResamples as [OutputResample, OutputResample];
    for (const bad of [
      { ...first, positions: first.positions.map((p) => p + 8) },
      { ...first, weights: first.weights.slice(1) },
      { ...first, axis: 3 },
    ])
      expect(() => checkProgram({ ...program, outputResamples: [bad, second] })).toThrow('output');
  });
});
