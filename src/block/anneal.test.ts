// Annealing on a small network: what it measures is what the network does, and its promises hold.
import { afterAll, describe, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import { createCompute } from '../kernel/heap.js';
import { forward } from '../model/forward.js';
import type { ConvNode, Graph, GraphNode } from '../model/graph.js';
import { applyPatches } from '../model/passes/lower.js';
import { patchesOf } from '../model/spec.js';
import { anneal } from './anneal.js';
import { distortionOf, planMeasurement } from './distort.js';
import { openLinear } from './distort-linear.js';
import type { Distortion } from './distortion-file.js';
import { openReplay } from './replay.js';
import { dreluCost, fullCost, type Selection, selectOptimal, selectUniform, toSpec, withoutConstants } from './select.js';

const compute = await createCompute();
afterAll(() => compute.close());

const side = 8;
const channels = 4;
const count = 6;
const images = values(count * channels * side * side, 99);

function conv(name: string, from: string, kernel: number, outputs: number, seed: number): ConvNode {
  const whole = kernel === side;
  const size = whole ? 1 : side;
  const pad = whole ? 0 : 1;
  const geometry = {
    ...{ inputChannels: channels, inputHeight: side, inputWidth: side, outputChannels: outputs, outputHeight: size, outputWidth: size },
    ...{
      kernelHeight: kernel,
      kernelWidth: kernel,
      strideY: 1,
      strideX: 1,
      dilationY: 1,
      dilationX: 1,
      groups: 1,
      padTop: pad,
      padLeft: pad,
    },
  };
  const weights = values(outputs * channels * kernel * kernel, seed);
  const shape = whole ? [outputs] : [outputs, side, side];
  return { kind: 'conv', name, inputs: [from], output: name, shape, geometry, weights, bias: values(outputs, seed + 1) };
}

const relu = (name: string, from: string): GraphNode => ({
  kind: 'relu',
  name,
  inputs: [from],
  output: name,
  shape: [channels, side, side],
});

/** Four activations, the second one skipped by a sum. */
const graph: Graph = {
  input: { id: 'x', shape: [channels, side, side] },
  output: 'answer',
  nodes: [
    conv('c1', 'x', 3, channels, 1),
    relu('r1', 'c1'),
    conv('c2', 'r1', 3, channels, 3),
    relu('r2', 'c2'),
    { kind: 'add', name: 'sum', inputs: ['r2', 'r1'], output: 'sum', factors: [1, 1], shape: [channels, side, side] },
    relu('r3', 'sum'),
    conv('c4', 'r3', 3, channels, 5),
    relu('r4', 'c4'),
    conv('scores', 'r4', side, 3, 7),
    { kind: 'softmax', name: 'answer', inputs: ['scores'], output: 'answer', shape: [3] },
  ],
  parameters: 0,
};

async function measureDistortion(): Promise<Distortion> {
  const measurement = planMeasurement(graph);
  const meter = await openLinear(compute, measurement, { probes: 3, seed: 1 });
  const sums = new Float64Array(measurement.rows * measurement.patches.length);
  await meter.add({ images, count, first: 0 }, sums);
  meter.close();
  const made = { model: '0'.repeat(64), method: 'linear' as const, samples: count, probes: 3, seed: 1, version: '0' };
  return withoutConstants(distortionOf(measurement, meter, sums, made));
}

const distortion = await measureDistortion();
const budget = 0.25 * fullCost(distortion, dreluCost);
const knapsack = selectOptimal(distortion, dreluCost, budget);
const scoreGraph = planMeasurement(graph).graph;
const scoresUnder = ({ patches }: Selection): Promise<Float32Array> =>
  forward(compute, applyPatches(scoreGraph, patchesOf(toSpec(distortion, patches, {}))), images, count);

async function distanceOf(selection: Selection): Promise<number> {
  const plain = await forward(compute, scoreGraph, images, count);
  return (await scoresUnder(selection)).reduce((sum, score, i) => sum + (score - plain[i]!) ** 2, 0) / count;
}

const run = (selection: Selection, options: Partial<Parameters<typeof anneal>[7]> = {}) =>
  anneal(compute, graph, distortion, selection, dreluCost, budget, { images, count }, { seed: 3, steps: 60, ...options });

describe('annealing', () => {
  it('finds a smaller joint effect within the budget, and says what the network really does', async () => {
    const used = compute.memory.usedBytes;
    const { selection, start, best, steps } = await run(knapsack);
    expect(steps).toBe(60);
    expect(start).toBeCloseTo(await distanceOf(knapsack), 3);
    expect(best).toBeLessThan(start);
    expect(await distanceOf(selection)).toBeCloseTo(best, 3);
    expect(selection.cost).toBeLessThanOrEqual(budget);
    expect(compute.memory.usedBytes).toBe(used);
  });

  it('gives the same for the same seed and another for another', async () => {
    const first = await run(knapsack);
    const { seconds: _, ...again } = await run(knapsack);
    expect(first).toMatchObject(again);
    const others = await Promise.all([4, 5, 6, 7].map(async (seed) => (await run(knapsack, { seed, steps: 25 })).accepted));
    expect(new Set(others).size).toBeGreaterThan(1);
  });

  it('returns what it was given where it may measure nothing, and after an abort at once', async () => {
    const uniform = selectUniform(distortion, dreluCost, [2, 2]);
    expect((await run(uniform, { steps: 0 })).selection).toBe(uniform);
    const { selection, steps } = await run(uniform, { signal: AbortSignal.abort() });
    expect(selection).toBe(uniform);
    expect(steps).toBe(0);
  });

  it('keeps the best when it is aborted on the way', async () => {
    const control = new AbortController();
    const progress = ({ steps }: { steps: number }): void => {
      if (steps === 20) control.abort();
    };
    const { selection, best, steps, start } = await run(knapsack, { signal: control.signal, progress });
    expect(steps).toBe(20);
    expect(best).toBeLessThanOrEqual(start);
    expect(await distanceOf(selection)).toBeCloseTo(best, 3);
  });

  it.each(['divergence', 'loss'] as const)('never ends worse by the measure %s', async (measure) => {
    const labels = [0, 1, 2, 0, 1, 2];
    const { start, best } = await anneal(
      compute,
      graph,
      distortion,
      knapsack,
      dreluCost,
      budget,
      { images, count, labels },
      { seed: 1, steps: 20, measure },
    );
    expect(best).toBeLessThanOrEqual(start);
  });
});

describe('a replay', () => {
  it('gives what a run from the start gives, whatever was kept before', async () => {
    const replay = await openReplay(compute, scoreGraph, images, count);
    const uniform = selectUniform(distortion, dreluCost, [2, 4]);
    const late: Selection = { ...knapsack, patches: knapsack.patches.map((patch, row) => (row < 3 * channels ? patch : [1, 1])) };
    for (const [i, selection] of [knapsack, late, uniform, late, knapsack, late].entries()) {
      expect(await replay.run(patchesOf(toSpec(distortion, selection.patches, {})))).toEqual(await scoresUnder(selection));
      if (i % 2 === 0) replay.keep();
    }
    replay.close();
  });
});
