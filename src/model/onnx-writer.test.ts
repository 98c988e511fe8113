// What is written is what ran: onnxruntime-node and our own reader agree with the graph it was made from, layer names included.
import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floats, longs, noiseArray, onnxBytes, reference } from '../../test/model/onnx.js';
import type { Compute } from '../kernel/compute.js';
import type { PoolGeometry } from '../kernel/geometry.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { forward } from './forward.js';
import { type ConvNode, type Graph, type GraphNode, sizeOf } from './graph.js';
import { readGraph } from './onnx.js';
import { writeOnnx } from './onnx-writer.js';
import { pointwiseGeometry } from './ops/linear.js';
import { simplify } from './passes/simplify.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

const kept = new Set<GraphNode['kind']>(['conv', 'relu', 'prelu', 'maxpool', 'averagepool']);
const layers = (graph: Graph): readonly string[] => graph.nodes.filter((n) => kept.has(n.kind)).map((n) => `${n.kind} ${n.name}`);

async function expectSame(graph: Graph, count = 2): Promise<void> {
  const images = noiseArray(count * sizeOf(graph.input.shape), 5);
  const ours = await forward(compute, graph, images, count);
  const bytes = writeOnnx(graph);
  const again = readGraph(bytes);
  expect(layers(again)).toEqual(layers(graph));
  const theirs = await reference(bytes, images, [count, ...graph.input.shape]);
  const readBack = await forward(compute, again, images, count);
  expect(theirs.length).toBe(ours.length);
  const size = Math.max(1, ...ours.map(Math.abs));
  for (let i = 0; i < ours.length; i++) {
    expect(Math.abs(theirs[i]! - ours[i]!) / size).toBeLessThan(1e-4);
    expect(Math.abs(readBack[i]! - ours[i]!) / size).toBeLessThan(1e-4);
  }
}

const graphOf = (shape: readonly number[], nodes: readonly GraphNode[]): Graph => ({
  input: { id: 'x', shape },
  output: nodes.at(-1)!.output,
  nodes,
  parameters: 0,
});

const named = (name: string, inputs: readonly string[], shape: readonly number[]) => ({ name, inputs, output: `${name}.out`, shape });

function conv(name: string, input: string, geometry: ConvNode['geometry'], shape: readonly number[]): ConvNode {
  const { inputChannels, outputChannels, groups, kernelHeight, kernelWidth } = geometry;
  const size = (outputChannels * inputChannels * kernelHeight * kernelWidth) / groups;
  const weights = noiseArray(size, size);
  return { kind: 'conv', ...named(name, [input], shape), geometry, weights, bias: noiseArray(outputChannels, 3) };
}

/** Every kind of node, with the shapes that passes leave behind. */
function everything(): Graph {
  const wide = [4, 6, 6];
  const nodes: GraphNode[] = [
    conv(
      'first',
      'x',
      { ...pointwiseGeometry(2, 4, 6, 6, 2), kernelHeight: 3, kernelWidth: 3, padTop: 1, padLeft: 2, outputWidth: 7, outputHeight: 6 },
      [4, 6, 7],
    ),
    { kind: 'relu', ...named('capped', ['first.out'], [4, 6, 7]), cap: 1.5 },
    {
      kind: 'view',
      ...named('turned', ['capped.out'], wide),
      inputShape: [4, 6, 7],
      axes: [
        { axis: 0, start: 3, step: -1, size: 4 },
        { axis: 2, start: -1, step: 1, size: 6 },
        { axis: 1, start: 0, step: 1, size: 6 },
      ],
    },
    { kind: 'affine', ...named('norm', ['turned.out'], wide), multiplier: noiseArray(4, 7), offset: noiseArray(4, 8) },
    { kind: 'affine', ...named('each', ['norm.out'], wide), multiplier: noiseArray(144, 7), offset: noiseArray(144, 8) },
    { kind: 'prelu', ...named('leaky', ['each.out'], wide), slopes: noiseArray(4, 9) },
    { kind: 'prelu', ...named('halves', ['leaky.out'], wide), slopes: noiseArray(2, 9) },
    { kind: 'truncate', ...named('cut', ['halves.out'], wide) },
    { kind: 'product', ...named('gate', ['cut.out', 'each.out'], wide) },
    { kind: 'add', ...named('sum', ['gate.out', 'norm.out', 'each.out'], wide), factors: [-1, 1, -1] },
    { kind: 'add', ...named('minus', ['sum.out'], wide), factors: [-1] },
    { kind: 'concat', ...named('joined', ['minus.out', 'sum.out'], [8, 6, 6]), axis: 0 },
    { kind: 'relu', ...named('plain', ['joined.out'], [8, 6, 6]) },
    // A dense layer that reads a map, as skipReshapes leaves it.
    conv('dense', 'plain.out', pointwiseGeometry(288, 5, 1, 1, 1), [5]),
    { kind: 'logsoftmax', ...named('scores', ['dense.out'], [5]) },
  ];
  return graphOf([2, 6, 6], nodes);
}

describe('writing ONNX', () => {
  it('says the same as the graph for every kind of node', () => expectSame(everything()));

  it('for pools of any window', async () => {
    const size = fc.integer({ min: 1, max: 3 });
    const record = fc.record({ ky: size, kx: size, sy: size, sx: size, dy: size, dx: fc.constant(1), h: size, w: size });
    await fc.assert(
      fc.asyncProperty(record, fc.constantFrom('maxpool', 'inside', 'whole', 'odd'), async ({ ky, kx, sy, sx, dy, dx, h, w }, kind) => {
        // Without dilation windows may hang over the edge on both sides; never wholly.
        const [padTop, padLeft] = [dy === 1 ? ky >> 1 : 0, kx >> 1];
        const geometry: PoolGeometry = {
          ...{ channels: 2, kernelHeight: ky, kernelWidth: kx, strideY: sy, strideX: sx, dilationY: dy, dilationX: dx, padTop, padLeft },
          ...{ inputHeight: (h - 1) * sy + (ky - 1) * dy + 1 - padTop, inputWidth: (w - 1) * sx + kx - padLeft },
          ...{ outputHeight: h, outputWidth: w },
        };
        if (geometry.inputHeight < 1 || geometry.inputWidth < 1) return;
        const taps = Array.from({ length: h * w }, (_, o) => {
          const within = (out: number, stride: number, pad: number, kernel: number, dilation: number, length: number): number =>
            Array.from({ length: kernel }, (_, k) => out * stride - pad + k * dilation).filter((at) => at >= 0 && at < length).length;
          return (
            within(Math.floor(o / w), sy, padTop, ky, dy, geometry.inputHeight) * within(o % w, sx, padLeft, kx, dx, geometry.inputWidth)
          );
        });
        if (taps.includes(0)) return;
        const base = { ...named('pool', ['x'], [2, h, w]), geometry };
        const divisors = kind === 'inside' ? taps : kind === 'whole' ? [ky * kx] : taps.map((t, i) => t + (i % 3));
        const node: GraphNode = kind === 'maxpool' ? { kind, ...base } : { kind: 'averagepool', ...base, divisors };
        const graph = graphOf([2, geometry.inputHeight, geometry.inputWidth], [node]);
        await expectSame(graph);
      }),
      { numRuns: 60 },
    );
  });

  it('for views that cut, pad, repeat, turn and reshape', async () => {
    const axis = fc.record({
      start: fc.integer({ min: -3, max: 4 }),
      step: fc.integer({ min: -2, max: 2 }),
      size: fc.integer({ min: 1, max: 5 }),
    });
    const order = fc.shuffledSubarray([0, 1, 2], { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(fc.tuple(axis, axis, axis), order, fc.boolean(), async (axes, kept, flat) => {
        const read = kept.map((a) => ({ axis: a, ...axes[a]! }));
        const sizes = read.map((a) => a.size);
        const shape = flat ? [sizeOf(sizes)] : sizes;
        await expectSame(graphOf([24], [{ kind: 'view', ...named('view', ['x'], shape), inputShape: [2, 3, 4], axes: read }]));
      }),
      { numRuns: 60 },
    );
  });

  it('for resizing as it was read', async () => {
    const length = fc.integer({ min: 1, max: 9 });
    const rule = fc.record({
      mode: fc.constantFrom('nearest', 'linear', 'cubic'),
      coordinates: fc.constantFrom('half_pixel', 'align_corners', 'asymmetric'),
      nearest: fc.constantFrom('floor', 'round_prefer_ceil'),
    });
    await fc.assert(
      fc.asyncProperty(fc.tuple(length, length, length, length), rule, fc.boolean(), async ([h, w, rows, columns], how, bySizes) => {
        if (h === rows && w === columns) return;
        const attributes = { mode: how.mode, coordinate_transformation_mode: how.coordinates, nearest_mode: how.nearest };
        const none = floats([0], new Float32Array(0));
        const scales = bySizes ? none : floats([4], Float32Array.of(1, 1, rows / h, columns / w));
        const constants = { roi: none, scales, ...(bySizes && { sizes: longs([1, 2, rows, columns]) }) };
        const node = { op: 'Resize', inputs: ['x', ...Object.keys(constants)], outputs: ['y'], attributes };
        await expectSame(readGraph(onnxBytes({ opset: 13, input: [1, 2, h, w], constants, nodes: [node] })));
      }),
      { numRuns: 40 },
    );
  });

  it('refuses a view no op can do', () => {
    const axes = [0, 0].map((axis) => ({ axis, start: 0, step: 1, size: 2 }));
    const node: GraphNode = { kind: 'view', ...named('diagonal', ['x'], [2, 2]), inputShape: [2], axes };
    expect(() => writeOnnx(graphOf([2], [node]))).toThrow(RangeError);
  });
});

const folder = '../shared/data';
describe.skipIf(!existsSync(`${folder}/cifar10/resnet20.onnx`))(
  'writing the real networks (skipped where ../shared/data is absent)',
  () => {
    it.each(['cifar10/resnet20', 'cifar10/minionn-relu', 'cifar100/resnet20-kd', 'mnist/minionn'])('%s', async (name) => {
      const graph = readGraph(readFileSync(`${folder}/${name}.onnx`));
      await expectSame(graph);
      await expectSame(simplify(graph));
      // What a spec names stays: reading and simplifying what was written gives the same layers.
      expect(layers(simplify(readGraph(writeOnnx(simplify(graph)))))).toEqual(layers(simplify(graph)));
    });
  },
);
