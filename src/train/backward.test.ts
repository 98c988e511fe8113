import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSequence } from '../data/generated.js';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { forward } from '../model/forward.js';
import type { AffineNode, ConvNode, Graph, GraphNode } from '../model/graph.js';
import { sizeOf } from '../model/graph.js';
import { isActivation, openDifferentiable } from './backward.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 2 });
});
afterAll(() => compute.close());

const random = createSequence(7);
const numbers = (length: number): Float32Array => Float32Array.from({ length }, () => 2 * random() - 1);

function conv(
  name: string,
  input: string,
  from: readonly number[],
  to: readonly number[],
  kernel: number,
  stride: number,
  groups = 1,
): ConvNode {
  const [inputChannels, inputHeight, inputWidth] = from as [number, number, number];
  const [outputChannels, outputHeight, outputWidth] = to as [number, number, number];
  const pad = kernel >> 1;
  const window = {
    kernelHeight: kernel,
    kernelWidth: kernel,
    strideY: stride,
    strideX: stride,
    dilationY: 1,
    dilationX: 1,
    padTop: pad,
    padLeft: pad,
  };
  const geometry = { inputChannels, inputHeight, inputWidth, outputChannels, outputHeight, outputWidth, ...window, groups };
  const weights = numbers((outputChannels * inputChannels * kernel * kernel) / groups).map((w) => w / Math.sqrt(inputChannels * kernel));
  return { kind: 'conv', name, inputs: [input], output: name, shape: to, geometry, weights, bias: numbers(outputChannels) };
}

/** Every kind of node on the way back from the output to the first activation, with a fork and a value read twice. */
function sampleGraph(): Graph {
  const pool = { kernelHeight: 3, kernelWidth: 2, strideY: 2, strideX: 2, dilationY: 1, dilationX: 1, padTop: 1, padLeft: 0 };
  const wide = [4, 8, 8];
  const low = [4, 4, 4];
  const nodes: GraphNode[] = [
    conv('c0', 'x', [2, 8, 8], wide, 3, 1),
    { kind: 'relu', name: 'r0', inputs: ['c0'], output: 'r0', shape: wide, cap: 1.2 },
    conv('c1', 'r0', wide, wide, 3, 1, 4),
    { kind: 'prelu', name: 'p1', inputs: ['c1'], output: 'p1', shape: wide, slopes: Float32Array.of(0.1, 0.3, -0.2, 0.5) },
    { kind: 'add', name: 'a1', inputs: ['p1', 'r0', 'r0'], output: 'a1', shape: wide, factors: [1, -1, 1] },
    {
      kind: 'maxpool',
      name: 'm1',
      inputs: ['a1'],
      output: 'm1',
      shape: low,
      geometry: { channels: 4, inputHeight: 8, inputWidth: 8, outputHeight: 4, outputWidth: 4, ...pool },
    },
    conv('c2', 'a1', wide, low, 3, 2),
    { kind: 'relu', name: 'r2', inputs: ['c2'], output: 'r2', shape: low },
    { kind: 'concat', name: 'j2', inputs: ['r2', 'm1'], output: 'j2', shape: [8, 4, 4], axis: 0 },
    { kind: 'affine', name: 'f2', inputs: ['j2'], output: 'f2', shape: [8, 4, 4], multiplier: numbers(8), offset: numbers(8) },
    {
      kind: 'view',
      name: 'v2',
      inputs: ['f2'],
      output: 'v2',
      shape: [8, 5, 2],
      inputShape: [8, 4, 4],
      axes: [
        { axis: 0, start: 0, step: 1, size: 8 },
        { axis: 1, start: -1, step: 1, size: 5 },
        { axis: 2, start: 3, step: -2, size: 2 },
      ],
    },
    { kind: 'truncate', name: 't2', inputs: ['v2'], output: 't2', shape: [8, 5, 2] },
    {
      kind: 'averagepool',
      name: 'g2',
      inputs: ['t2'],
      output: 'g2',
      shape: [8, 3, 1],
      geometry: { ...pool, channels: 8, inputHeight: 5, inputWidth: 2, outputHeight: 3, outputWidth: 1 },
      divisors: [2, 3, 2],
    },
    conv('c3', 'g2', [24, 1, 1], [3, 1, 1], 1, 1),
  ];
  return { input: { id: 'x', shape: [2, 8, 8] }, output: 'c3', nodes, parameters: 0 };
}

/** The graph with `step` added to what an activation reads, at one element of every picture's map. */
function disturbed(graph: Graph, activation: GraphNode, element: number, step: number): Graph {
  const id = activation.inputs[0]!;
  const offset = new Float32Array(sizeOf(activation.shape));
  offset[element] = step;
  const nudge: AffineNode = {
    kind: 'affine',
    name: 'nudge',
    inputs: [id],
    output: 'nudged',
    shape: activation.shape,
    multiplier: new Float32Array(offset.length).fill(1),
    offset,
  };
  return { ...graph, nodes: graph.nodes.flatMap((node) => (node === activation ? [nudge, { ...node, inputs: ['nudged'] }] : [node])) };
}

describe('gradients of activations', () => {
  it('are those of finite differences, for several pictures and directions at once', async () => {
    const graph = sampleGraph();
    const count = 2;
    const images = numbers(count * 2 * 8 * 8);
    const directions = 3;
    const weights = numbers(directions * count * 3);
    const network = await openDifferentiable(compute, graph);
    const pass = await network.forward(images, count);
    const output = compute.floats(weights.length);
    output.set(weights);
    const found = new Map<string, Float32Array>();
    await network.backward(pass, output, async (node, values, gradients) => {
      expect(values.length * directions).toBe(gradients.length);
      const slopeOf = (y: number, i: number): number => {
        if (node.kind === 'prelu') return y >= 0 ? 1 : node.slopes[Math.floor((i % values.length) / 64) % 4]!;
        return y >= 0 && y < (node.cap ?? Number.POSITIVE_INFINITY) ? 1 : 0;
      };
      found.set(
        node.name,
        gradients.map((g, i) => g * slopeOf(values[i % values.length]!, i)),
      );
    });
    pass.free();
    network.close();
    expect(compute.memory.usedBytes).toBe(0);

    const activations = graph.nodes.filter(isActivation);
    expect([...found.keys()].sort()).toEqual(activations.map((node) => node.name).sort());
    const step = 1e-3;
    for (const node of activations) {
      const size = sizeOf(node.shape);
      for (let element = 0; element < size; element += 5) {
        const [up, down] = [
          await forward(compute, disturbed(graph, node, element, step), images, count),
          await forward(compute, disturbed(graph, node, element, -step), images, count),
        ];
        for (let i = 0; i < directions * count; i++) {
          const n = i % count;
          const difference = [0, 1, 2].reduce(
            (sum, o) => sum + (weights[i * 3 + o]! * (up[n * 3 + o]! - down[n * 3 + o]!)) / (2 * step),
            0,
          );
          // A step may cross a kink: then it is between the slopes of both sides, and rarely far off.
          expect(Math.abs(difference - found.get(node.name)![i * size + element]!)).toBeLessThan(2e-3);
        }
      }
    }
  });

  it('refuse pictures of the wrong size', async () => {
    const network = await openDifferentiable(compute, sampleGraph());
    await expect(network.forward(new Float32Array(7), 1)).rejects.toThrow(RangeError);
    network.close();
    expect(compute.memory.usedBytes).toBe(0);
  });
});
