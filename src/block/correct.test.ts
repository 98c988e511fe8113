// Correction without labels: least squares against what makes a square least, and a small residual network before and after.
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import { createCompute } from '../kernel/heap.js';
import { plainConvolve } from '../kernel/plain.js';
import { forward } from '../model/forward.js';
import type { ConvNode, Graph, GraphNode } from '../model/graph.js';
import { applyPatches, type LayerPatches } from '../model/passes/lower.js';
import type { Patch } from '../model/program.js';
import { correct } from './correct.js';
import { addMoments, createMoments, fitChange } from './least-squares.js';

const compute = await createCompute();
afterAll(() => compute.close());

const side = 6;
const channels = 4;

function conv(name: string, from: string, kernel: number, inputs: number, outputs: number, stride = 1): ConvNode {
  const out = kernel === side ? 1 : Math.ceil(side / stride);
  const pad = kernel === side ? 0 : kernel >> 1;
  const geometry = {
    ...{ inputChannels: inputs, inputHeight: side, inputWidth: side, outputChannels: outputs, outputHeight: out, outputWidth: out },
    ...{ kernelHeight: kernel, kernelWidth: kernel, strideY: stride, strideX: stride, dilationY: 1, dilationX: 1, groups: 1 },
    ...{ padTop: pad, padLeft: pad },
  };
  const weights = values(outputs * inputs * kernel * kernel, name.length + outputs).map((w) => w / (kernel * Math.sqrt(inputs)));
  const shape = kernel === side ? [outputs] : [outputs, out, out];
  return { kind: 'conv', name, inputs: [from], output: name, shape, geometry, weights, bias: values(outputs, name.length) };
}

/** Two convolutions with a skip connection around the second, and a fully connected layer. */
function residualNetwork(): Graph {
  const map = [channels, side, side];
  const relu = (name: string, from: string): GraphNode => ({ kind: 'relu', name, inputs: [from], output: name, shape: map });
  const nodes: GraphNode[] = [
    conv('first', 'x', 3, 2, channels),
    relu('r1', 'first'),
    conv('second', 'r1', 3, channels, channels),
    { kind: 'add', name: 'sum', inputs: ['second', 'r1'], output: 'sum', shape: map, factors: [1, 1] },
    relu('r2', 'sum'),
    conv('scores', 'r2', side, channels, 3),
  ];
  return { input: { id: 'x', shape: [2, side, side] }, output: 'scores', nodes, parameters: 0 };
}

const patchesOf = (patch: Patch): LayerPatches => new Map(['r1', 'r2'].map((name) => [name, new Array<Patch>(channels).fill(patch)]));
const picturesOf = (count: number, seed: number): Float32Array => values(count * 2 * side * side, seed);
const distance = (a: Float32Array, b: Float32Array): number => a.reduce((sum, v, i) => sum + (v - b[i]!) ** 2, 0);

describe('least squares over taps', () => {
  it('leaves a residual that no tap explains', () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom(1, 3),
        fc.integer({ min: 1, max: 2 }),
        fc.integer({ min: 1, max: 1e6 }),
        fc.integer({ min: 1, max: 20 }),
        async (kernel, stride, seed, atOnce) => {
          const { geometry: g } = conv('c', 'x', kernel, 2, 3, stride);
          const count = 20;
          const outputSize = g.outputHeight * g.outputWidth * 3;
          const [input, residual] = [compute.floats(count * 2 * side * side), compute.floats(count * outputSize)];
          input.set(values(input.length, seed));
          residual.set(values(residual.length, seed + 1));
          const moments = createMoments(g);
          for (let first = 0; first < count; first += atOnce) {
            const pictures = Math.min(atOnce, count - first);
            const part = (v: Float32Array, size: number) => v.subarray(first * size, (first + pictures) * size);
            await addMoments(compute, g, moments, part(input, 2 * side * side), part(residual, outputSize), pictures);
          }
          const { weights, bias } = fitChange(moments, 0);
          const explained = new Float32Array(residual.length);
          plainConvolve(g, Float32Array.from(weights), input, count, explained, Float32Array.from(bias));
          const left = createMoments(g);
          residual.set(residual.map((r, i) => r - explained[i]!));
          await addMoments(compute, g, left, input, residual, count);
          compute.free(input, residual);
          const scale = Math.sqrt(moments.count) * 10;
          for (const sum of [...left.residuals, ...left.residualProducts]) expect(Math.abs(sum)).toBeLessThan(1e-4 * scale);
        },
      ),
      { numRuns: 20 },
    ));
});

describe('correction', () => {
  it('changes nothing where no patch is shared', async () => {
    const graph = residualNetwork();
    const corrected = await correct(compute, graph, patchesOf([1, 1]), picturesOf(8, 1), 8);
    expect(corrected.nodes).toEqual(graph.nodes);
  });

  it('brings the block network nearer to the uncompressed one on pictures it has not seen, layers and spec as they were', async () => {
    const graph = residualNetwork();
    const fresh = picturesOf(64, 99);
    const target = await forward(compute, graph, fresh, 64);
    for (const patch of [
      [2, 2],
      [3, 2],
      [0, 1],
    ] as const) {
      const patches = patchesOf(patch);
      const corrected = await correct(compute, graph, patches, picturesOf(400, 1), 400);
      const shapes = (g: Graph) => g.nodes.map((n) => [n.kind, n.name, n.inputs, n.output, n.shape]);
      expect(shapes(corrected)).toEqual(shapes(graph));
      const before = distance(await forward(compute, applyPatches(graph, patches), fresh, 64), target);
      const after = distance(await forward(compute, applyPatches(corrected, patches), fresh, 64), target);
      expect(after).toBeLessThan(0.8 * before);
    }
  });

  it('gives the same weights again, leaves no memory behind, and refuses an empty set', async () => {
    const graph = residualNetwork();
    const used = compute.memory.usedBytes;
    const [a, b] = [0, 1].map(() => correct(compute, graph, patchesOf([3, 3]), picturesOf(40, 3), 40));
    expect((await a)!.nodes).toEqual((await b)!.nodes);
    expect(compute.memory.usedBytes).toBe(used);
    await expect(correct(compute, graph, patchesOf([3, 3]), new Float32Array(0), 0)).rejects.toMatchObject({ code: 'bad-images' });
  });

  it('ends when it is told to', async () => {
    const stop = new AbortController();
    stop.abort(new Error('enough'));
    const working = correct(compute, residualNetwork(), patchesOf([3, 3]), picturesOf(4, 3), 4, { signal: stop.signal });
    await expect(working).rejects.toThrow('enough');
  });
});
