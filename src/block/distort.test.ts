// Distortion against brute force: the network run with the patch in it.
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import type { Compute } from '../kernel/compute.js';
import { createCompute } from '../kernel/heap.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { forward } from '../model/forward.js';
import type { ConvNode, Graph, GraphNode } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import { distortionOf, type Measurement, type Meter, planMeasurement } from './distort.js';
import { openExact } from './distort-exact.js';
import { drawDirections, openLinear, openLoss } from './distort-linear.js';
import { channelRows, readDistortion, writeDistortion } from './distortion-file.js';

const compute = await createCompute();
afterAll(() => compute.close());

const channels = 3;
const outputs = 3;
const side = 5;
const count = 4;

function conv(name: string, from: string, kernel: number, inputChannels: number, outputChannels: number, seed: number): ConvNode {
  const whole = kernel === side;
  const outputSide = whole ? 1 : side;
  const geometry = {
    ...{ inputChannels, inputHeight: side, inputWidth: side, outputChannels, outputHeight: outputSide, outputWidth: outputSide },
    ...{ kernelHeight: kernel, kernelWidth: kernel, strideY: 1, strideX: 1, dilationY: 1, dilationX: 1, groups: 1 },
    ...{ padTop: whole ? 0 : 1, padLeft: whole ? 0 : 1 },
  };
  const weights = values(outputChannels * inputChannels * kernel * kernel, seed);
  const shape = whole ? [outputChannels] : [outputChannels, side, side];
  return { kind: 'conv', name, inputs: [from], output: name, shape, geometry, weights, bias: values(outputChannels, seed + 1) };
}

type Kind = 'relu' | 'capped' | 'prelu';

/** Convolution, activation "first", convolution, activation "last", fully connected, softmax. Up to the scores it is linear after "last". */
function networkOf(kind: Kind, seed: number): Graph {
  const activation = (name: string, from: string): GraphNode => {
    const common = { name, inputs: [from], output: name, shape: [channels, side, side] };
    if (kind === 'prelu') return { kind: 'prelu', ...common, slopes: values(channels, seed + 2) };
    return { kind: 'relu', ...common, ...(kind === 'capped' ? { cap: 0.7 } : {}) };
  };
  const nodes: GraphNode[] = [
    conv('c1', 'x', 3, 2, channels, seed),
    activation('first', 'c1'),
    conv('c2', 'first', 3, channels, channels, seed + 3),
    activation('last', 'c2'),
    conv('scores', 'last', side, channels, outputs, seed + 4),
    { kind: 'softmax', name: 'answer', inputs: ['scores'], output: 'answer', shape: [outputs] },
  ];
  return { input: { id: 'x', shape: [2, side, side] }, output: 'answer', nodes, parameters: 0 };
}

const picturesOf = (seed: number): Float32Array => values(count * 2 * side * side, seed + 5);

/** Sums of a whole sample, `atOnce` pictures at a time. */
async function measure(measurement: Measurement, meter: Meter, seed: number, atOnce = count, labels?: number[]): Promise<Float64Array> {
  const sums = new Float64Array(measurement.rows * measurement.patches.length);
  const images = picturesOf(seed);
  const size = images.length / count;
  for (let first = 0; first < count; first += atOnce) {
    const own = Math.min(atOnce, count - first);
    const batch = { images: images.subarray(first * size, (first + own) * size), count: own, first };
    await meter.add({ ...batch, ...(labels === undefined ? {} : { labels: labels.slice(first, first + own) }) }, sums);
  }
  meter.close();
  return sums;
}

/** Scores with a patch on one channel, or without one. */
function scoresOf({ graph }: Measurement, seed: number, layer?: string, channel?: number, patch?: Patch): Promise<Float32Array> {
  const nodes = graph.nodes.map((node): GraphNode => {
    if (node.name !== layer || (node.kind !== 'relu' && node.kind !== 'prelu')) return node;
    return { ...node, patches: Array.from({ length: channels }, (_, c) => (c === channel ? patch! : ([1, 1] as const))) };
  });
  return forward(compute, { ...graph, nodes }, picturesOf(seed), count);
}

type Visit = (sum: number, plain: Float32Array, changed: Float32Array) => void;

async function forEachPatch(measurement: Measurement, sums: Float64Array, seed: number, layers: string[], visit: Visit): Promise<void> {
  const plain = await scoresOf(measurement, seed);
  for (const { node, patches, columns, firstRow } of measurement.layers) {
    if (!layers.includes(node.name)) continue;
    for (let channel = 0; channel < channels; channel++) {
      for (const [i, patch] of patches.entries()) {
        const sum = sums[(firstRow + channel) * measurement.patches.length + columns[i]!]!;
        visit(sum, plain, await scoresOf(measurement, seed, node.name, channel, patch));
      }
    }
  }
}

const squared = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
const expectClose = (actual: number, expected: number, scale = 1): void =>
  expect(Math.abs(actual - expected)).toBeLessThan(1e-3 * (scale + Math.abs(expected)));

const kinds = fc.constantFrom<Kind>('relu', 'capped', 'prelu');
const seeds = fc.integer({ min: 0, max: 1e6 });

describe('distortion', () => {
  it('exact is the change of the scores by brute force', () =>
    fc.assert(
      fc.asyncProperty(kinds, seeds, async (kind, seed) => {
        const measurement = planMeasurement(networkOf(kind, seed));
        const sums = await measure(measurement, await openExact(compute, measurement), seed);
        await forEachPatch(measurement, sums, seed, ['first', 'last'], (sum, plain, changed) => expectClose(sum, squared(changed, plain)));
        expect(compute.memory.usedBytes).toBe(0);
      }),
      { numRuns: 10 },
    ));

  it('linear with as many probes as outputs is exact where the rest of the network is linear', () =>
    fc.assert(
      fc.asyncProperty(kinds, seeds, async (kind, seed) => {
        const measurement = planMeasurement(networkOf(kind, seed));
        const sums = await measure(measurement, await openLinear(compute, measurement, { probes: outputs, seed }), seed);
        await forEachPatch(measurement, sums, seed, ['last'], (sum, plain, changed) => expectClose(sum / outputs, squared(changed, plain)));
        expect(compute.memory.usedBytes).toBe(0);
      }),
      { numRuns: 15 },
    ));

  it('loss is the first-order change of the cross-entropy', () =>
    fc.assert(
      fc.asyncProperty(kinds, seeds, async (kind, seed) => {
        const measurement = planMeasurement(networkOf(kind, seed));
        const labels = Array.from({ length: count }, (_, n) => n % outputs);
        const sums = await measure(measurement, await openLoss(compute, measurement), seed, count, labels);
        await forEachPatch(measurement, sums, seed, ['last'], (sum, plain, changed) => {
          let expected = 0;
          for (let n = 0; n < count; n++) {
            const exps = Array.from(plain.subarray(n * outputs, (n + 1) * outputs), Math.exp);
            const total = exps.reduce((a, b) => a + b, 0);
            exps.forEach((e, k) => {
              const at = n * outputs + k;
              expected += (e / total - (labels[n] === k ? 1 : 0)) * (changed[at]! - plain[at]!);
            });
          }
          expectClose(sum, expected, 10);
        });
      }),
      { numRuns: 8 },
    ));

  it('loss on a map of scores is the mean over the pixels that count', async () => {
    const whole = networkOf('relu', 7);
    const graph = { ...whole, nodes: [...whole.nodes.slice(0, 4), conv('scores', 'last', 3, channels, outputs, 11)], output: 'scores' };
    const measurement = planMeasurement(graph);
    const truth = Array.from({ length: count * side * side }, (_, i) => i % (outputs + 1));
    const meter = await openLoss(compute, measurement);
    expect(meter.labelsEach).toBe(side * side);
    const sums = new Float64Array(measurement.rows * measurement.patches.length);
    await meter.add({ images: picturesOf(7), count, first: 0, labels: truth, ignore: 1 }, sums);
    meter.close();
    const gradient = (plain: Float32Array, n: number, p: number): number[] => {
      const exps = Array.from({ length: outputs }, (_, k) => Math.exp(plain[(n * outputs + k) * side * side + p]!));
      const label = truth[n * side * side + p]!;
      if (label === 1 || label >= outputs) return exps.map(() => 0);
      return exps.map((e, k) => e / exps.reduce((a, b) => a + b, 0) - (k === label ? 1 : 0));
    };
    await forEachPatch(measurement, sums, 7, ['last'], (sum, plain, changed) => {
      let expected = 0;
      for (let n = 0; n < count; n++) {
        let own = 0;
        let scored = 0;
        for (let p = 0; p < side * side; p++) {
          const slopes = gradient(plain, n, p);
          if (slopes.some((slope) => slope !== 0)) scored++;
          slopes.forEach((slope, k) => {
            const at = (n * outputs + k) * side * side + p;
            own += slope * (changed[at]! - plain[at]!);
          });
        }
        expected += own / scored;
      }
      expectClose(sum, expected, 10);
    });
  });

  it('at the features is that of the map the global pooling reads', async () => {
    const whole = networkOf('relu', 8);
    const geometry = {
      ...{ channels, inputHeight: side, inputWidth: side, outputHeight: 1, outputWidth: 1, kernelHeight: side, kernelWidth: side },
      ...{ strideY: 1, strideX: 1, dilationY: 1, dilationX: 1, padTop: 0, padLeft: 0 },
    };
    const pool: GraphNode = {
      ...{ kind: 'averagepool', name: 'pool', inputs: ['last'], output: 'pool', shape: [channels, 1, 1], geometry },
      divisors: [side * side],
    };
    const graph = { ...whole, nodes: [...whole.nodes.slice(0, 4), pool], output: 'pool' };
    const measurement = planMeasurement(graph, { at: 'features' });
    const sums = await measure(measurement, await openExact(compute, measurement), 8);
    expect(measurement.graph.output).toBe('last');
    await forEachPatch(measurement, sums, 8, ['first', 'last'], (sum, plain, changed) => expectClose(sum, squared(changed, plain)));
    expect(() => planMeasurement(whole, { at: 'features' })).toThrow('no global average pooling');
  });

  it('under a spec is that of a patch beside the patches of the other channels', async () => {
    const graph = networkOf('relu', 9);
    const patches = new Map<string, Patch[]>([
      [
        'first',
        [
          [2, 2],
          [0, 1],
          [3, 1],
        ],
      ],
    ]);
    const measurement = planMeasurement(graph, { under: patches });
    const sums = await measure(measurement, await openLinear(compute, measurement, { probes: outputs, seed: 9 }), 9);
    // After "last" the network is linear, so that its channels' distortions are exact: `measurement.graph` has the patches in it.
    await forEachPatch(measurement, sums, 9, ['last'], (sum, plain, changed) => expectClose(sum / outputs, squared(changed, plain)));
    const without = planMeasurement(graph);
    const before = await measure(without, await openLinear(compute, without, { probes: outputs, seed: 9 }), 9);
    expect(sums.some((sum, i) => Math.abs(sum - before[i]!) > 0.01)).toBe(true);
    const identity = new Map<string, Patch[]>([
      [
        'first',
        [
          [0, 1],
          [0, 1],
          [0, 1],
        ],
      ],
    ]);
    expect(planMeasurement(graph, { under: identity }).rows).toBe(2 * channels);
    expect(() => planMeasurement(graph, { under: new Map([['first', [[1, 1]]]]) })).toThrow('1 patches for 3 channels');
  });

  it('stops at a softmax inside a network', () => {
    const whole = networkOf('relu', 1);
    const after: GraphNode = { kind: 'truncate', name: 'after', inputs: ['answer'], output: 'after', shape: [outputs] };
    expect(() => planMeasurement({ ...whole, nodes: [...whole.nodes, after], output: 'after' })).toThrow('not at the end');
  });

  it('depends neither on how pictures are batched nor on threads, and on the seed alone', async () => {
    const measurement = planMeasurement(networkOf('relu', 3));
    const threaded: Compute = await createNodeCompute({ threads: 2 });
    const run = async (on: Compute, seed: number, atOnce: number): Promise<Float64Array> =>
      measure(measurement, await openLinear(on, measurement, { probes: 5, seed }), 3, atOnce);
    const whole = await run(compute, 1, count);
    expect(await run(threaded, 1, count)).toEqual(whole);
    expect(await run(compute, 2, count)).not.toEqual(whole);
    (await run(compute, 1, 3)).forEach((sum, i) => {
      expectClose(sum, whole[i]!);
    });
    await threaded.close();
  });

  it('goes to its file and back', async () => {
    const measurement = planMeasurement(networkOf('relu', 4), { kind: 'square' });
    const sums = await measure(measurement, await openLinear(compute, measurement, { probes: 2, seed: 1 }), 4);
    const made = { model: 'ab'.repeat(32), method: 'linear' as const, samples: count, probes: 2, seed: 1, version: '0' };
    const distortion = distortionOf(measurement, { perPicture: 2 }, sums, made);
    expect(readDistortion(writeDistortion(distortion), 'd.npz')).toEqual(distortion);
    expect(channelRows(distortion.meta)).toHaveLength(2 * channels);
    expect(distortion.meta.layers).toEqual(['first', 'last']);
    expect(distortion.values[0]).toBe(0);
  });

  it('is refused for a network without activations', () => {
    const graph = networkOf('relu', 1);
    const nodes = [conv('scores', 'x', side, 2, outputs, 1)];
    expect(() => planMeasurement({ ...graph, nodes, output: 'scores' })).toThrow('no activation');
  });

  it('draws directions of an orthogonal frame, and starts another one when it is full', () => {
    const frame = drawDirections(9, 3, 5);
    frame.forEach((a, i) => {
      frame.forEach((b, j) => {
        const product = a.reduce((sum, value, k) => sum + value * b[k]!, 0);
        if (i === j) expect(product).toBeCloseTo(3, 4);
        else if (Math.floor(i / 3) === Math.floor(j / 3)) expect(product).toBeCloseTo(0, 4);
      });
    });
  });
});
