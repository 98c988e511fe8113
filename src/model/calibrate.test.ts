// Pictures that leave what the others have: left out and listed, or refused where they are not the exception.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floats, noiseArray, onnxBytes } from '../../test/model/onnx.js';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { measureRanges } from './calibrate.js';
import { compileGraph } from './compile.js';
import type { Graph } from './graph.js';
import { readGraph } from './onnx.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

const size = 16;
const count = 32;

/** Three squares in a row after a convolution: what is 3 times as bright ends 6,561 times as large. */
function quadratic(): Graph {
  const bytes = onnxBytes({
    input: ['N', 1, 4, 4],
    constants: { w: floats([2, 1, 3, 3], noiseArray(18, 3)), v: floats([2, 2, 1, 1], noiseArray(4, 4)) },
    nodes: [
      { op: 'Conv', inputs: ['x', 'w'], outputs: ['a'] },
      { op: 'Mul', inputs: ['a', 'a'], outputs: ['b'] },
      { op: 'Conv', inputs: ['b', 'v'], outputs: ['c'] },
      { op: 'Mul', inputs: ['c', 'c'], outputs: ['d'] },
      { op: 'Conv', inputs: ['d', 'v'], outputs: ['e'] },
      { op: 'Mul', inputs: ['e', 'e'], outputs: ['f'] },
      { op: 'Conv', inputs: ['f', 'v'], outputs: ['y'] },
    ],
  });
  return readGraph(bytes);
}

/** The same picture, a little noise on it, and those of `bright` five times as bright. */
function pictures(bright: readonly number[]): Float32Array {
  const base = noiseArray(size, 5);
  const noise = noiseArray(size * count, 6, 0.02);
  return noise.map((v, i) => (v + base[i % size]!) * (bright.includes(Math.floor(i / size)) ? 5 : 1));
}

describe('calibration pictures', () => {
  it('leave nobody out where all are alike', async () => {
    expect((await measureRanges(compute, quadratic(), { images: pictures([]), count })).leftOut).toEqual([]);
  });

  it('far beyond the others are left out, and the ranges are those of the others', async () => {
    const usual = await measureRanges(compute, quadratic(), { images: pictures([]), count });
    const ranges = await measureRanges(compute, quadratic(), { images: pictures([7, 20]), count });
    expect(ranges.leftOut.map((l) => l.picture)).toEqual([7, 20]);
    expect(ranges.leftOut.every((l) => l.times > 1000 && l.layer !== 'input')).toBe(true);
    for (const [id, { maximum }] of ranges.values) {
      expect(maximum).toBeLessThanOrEqual(usual.values.get(id)!.maximum);
      expect(maximum).toBeGreaterThan(usual.values.get(id)!.maximum / 2);
    }
    const { report } = await compileGraph(compute, quadratic(), { images: pictures([7, 20]), count });
    expect(report.clipped).toBe(0);
  });

  it('whose values are no finite numbers are left out', async () => {
    const images = pictures([]);
    images[3 * size] = Number.NaN;
    const { leftOut, values } = await measureRanges(compute, quadratic(), { images, count });
    expect(leftOut.map((l) => l.picture)).toEqual([3]);
    expect([...values.values()].every((v) => Number.isFinite(v.maximum) && Number.isFinite(v.rms))).toBe(true);
  });

  it('that are too many are an error that names the remedy', async () => {
    const images = pictures([1, 2, 3, 4, 5]);
    await expect(measureRanges(compute, quadratic(), { images, count })).rejects.toMatchObject({
      code: 'unsteady-range',
      hint: expect.stringContaining('ReLU'),
    });
  });
});
