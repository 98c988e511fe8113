import { afterAll, describe, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import { createCompute } from '../kernel/heap.js';
import type { ConvNode, Graph } from '../model/graph.js';
import { measureAdditivity, summarise } from './additivity.js';
import { compareWithExact } from './comparison.js';
import { distortionOf, planMeasurement } from './distort.js';
import { openExact } from './distort-exact.js';
import { spearman } from './rank.js';

const compute = await createCompute();
afterAll(() => compute.close());

const side = 4;
const count = 5;

/**
 * Pictures of `channels` channels pass an activation, and each channel goes to an output of its own (or all to one): there distortions of
 * channels add up exactly (or do not).
 */
function networkOf(channels: number, apart: boolean): Graph {
  const outputs = apart ? channels : 1;
  const geometry = {
    ...{ inputChannels: channels, inputHeight: side, inputWidth: side, outputChannels: outputs, outputHeight: 1, outputWidth: 1 },
    ...{ kernelHeight: side, kernelWidth: side, strideY: 1, strideX: 1, dilationY: 1, dilationX: 1, padTop: 0, padLeft: 0 },
    groups: apart ? channels : 1,
  };
  const weights = values(channels * side * side, 3);
  const scores: ConvNode = {
    ...{ kind: 'conv', name: 'scores', inputs: ['a'], output: 'scores', shape: [outputs], geometry },
    ...{ weights, bias: values(outputs, 4) },
  };
  const shape = [channels, side, side];
  return {
    input: { id: 'x', shape },
    output: 'scores',
    nodes: [{ kind: 'relu', name: 'a', inputs: ['x'], output: 'a', shape }, scores],
    parameters: 0,
  };
}

async function measured(graph: Graph) {
  const images = values(count * graph.input.shape.reduce((a, b) => a * b, 1), 7);
  const measurement = planMeasurement(graph, { constant: false });
  const meter = await openExact(compute, measurement);
  const sums = new Float64Array(measurement.rows * measurement.patches.length);
  await meter.add({ images, count, first: 0 }, sums);
  meter.close();
  const made = { model: 'ab'.repeat(32), method: 'exact' as const, samples: count, probes: 0, seed: 1, version: '0' };
  return { measurement, distortion: distortionOf(measurement, meter, sums, made), pictures: { images, count } };
}

describe('additivity', () => {
  it('is perfect where channels do not meet', async () => {
    const { measurement, distortion, pictures } = await measured(networkOf(6, true));
    const { points, correlation, slope, ratio } = await measureAdditivity(compute, measurement, distortion, pictures, {
      choices: 12,
      seed: 3,
    });
    expect(points).toHaveLength(24);
    for (const { predicted, measured } of points) expect(measured).toBeCloseTo(predicted, 3);
    expect([correlation, slope, ratio].map((value) => Math.round(value * 1000))).toEqual([1000, 1000, 1000]);
    expect(new Set(points.map(({ share }) => share)).size).toBeGreaterThan(5);
    expect(compute.memory.usedBytes).toBe(0);
  });

  it('depends on the seed alone, and is less where they do', async () => {
    const { measurement, distortion, pictures } = await measured(networkOf(6, false));
    const run = (seed: number) => measureAdditivity(compute, measurement, distortion, pictures, { choices: 6, seed });
    expect(await run(1)).toEqual(await run(1));
    expect(await run(1)).not.toEqual(await run(2));
    expect((await run(1)).points.some(({ predicted, measured }) => Math.abs(measured / predicted - 1) > 0.05)).toBe(true);
  });

  it('is told by random choices alone', () => {
    const point = (kind: 'random' | 'optimal', predicted: number, measured: number) => ({ kind, share: 0.5, predicted, measured });
    const points = [point('random', 1, 2), point('random', 2, 8), point('random', 4, 32), point('optimal', 3, 0.01)];
    expect(summarise(points)).toMatchObject({ correlation: 1, ratio: 4 });
    expect(summarise(points).slope).toBeCloseTo(2);
  });
});

describe('comparison', () => {
  it('of the exact distortion with itself is perfect, over the channels asked for', async () => {
    const { measurement, distortion, pictures } = await measured(networkOf(6, false));
    // Eight of the nine patches with sides 1, 2 and 4: all but plain ReLU.
    const whole = await compareWithExact(compute, measurement, distortion, pictures, 100);
    expect(whole).toMatchObject({ pairs: 48, channels: 6, pictures: count });
    expect(whole.correlation).toBeCloseTo(1, 6);
    expect(await compareWithExact(compute, measurement, distortion, pictures, 2)).toMatchObject({ pairs: 16, channels: 2 });
  });

  it('ranks by order alone, equal values sharing a rank', () => {
    expect(spearman([1, 2, 3, 4], [1, 10, 100, 1000])).toBeCloseTo(1);
    expect(spearman([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1);
    // By hand: ranks 0.5, 0.5, 2 and 0, 1, 2 give 1.5 / √(1.5 · 2).
    expect(spearman([5, 5, 6], [1, 2, 3])).toBeCloseTo(1.5 / Math.sqrt(3));
  });
});
