// The way back through each kind of node against central differences, over geometries.
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import { createCompute } from '../kernel/heap.js';
import { forward } from '../model/forward.js';
import { type Graph, type GraphNode, sizeOf } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import { openDifferentiable } from './backward.js';

const compute = await createCompute();
afterAll(() => compute.close());

type Shape = readonly number[];
/** A node less what the test fills in. */
type Tried = { readonly [K in GraphNode['kind']]: Omit<Extract<GraphNode, { kind: K }>, 'name' | 'output'> }[GraphNode['kind']];

/** x → ReLU "a" (of positive numbers: all pass) → between → node "y". What comes back at "a" is the gradient of x. */
function networkOf(inputShape: Shape, tried: Tried, ...between: GraphNode[]): Graph {
  const relu: GraphNode = { kind: 'relu', name: 'a', inputs: ['x'], output: 'a', shape: inputShape };
  const node = { ...tried, name: 'y', output: 'y' } as GraphNode;
  return { input: { id: 'x', shape: inputShape }, output: 'y', nodes: [relu, ...between, node], parameters: 0 };
}

/** Numbers from 1/80 in steps of 1/16, in some order: neither they nor sums of two or four come close to a multiple of 1/16. */
function apart(count: number, seed: number): Float32Array {
  const order = values(count, seed);
  const ranks = Array.from({ length: count }, (_, i) => i).sort((a, b) => order[a]! - order[b]!);
  const out = new Float32Array(count);
  ranks.forEach((at, rank) => {
    out[at] = 1 / 80 + rank / 16;
  });
  return out;
}

/** ⟨v, net(x)⟩ differentiated along d, for v of several directions and pictures: by the way back, and by a step to either side. */
async function expectAgreement(graph: Graph, seed: number, step = 1 / 128): Promise<void> {
  const count = 2;
  const directions = 2;
  const size = sizeOf(graph.input.shape);
  const outputs = sizeOf(graph.nodes.at(-1)!.shape);
  const x = Float32Array.from([...apart(size, seed), ...apart(size, seed + 1)]);
  const v = values(directions * count * outputs, seed + 2);
  const d = values(count * size, seed + 3);
  const network = await openDifferentiable(compute, graph);
  const pass = await network.forward(x, count);
  const gradients = compute.floats(v.length);
  gradients.set(v);
  let found = new Float32Array(directions * count * size);
  await network.backward(pass, gradients, async (node, _, back) => {
    if (node.name === 'a') found = back.slice();
  });
  pass.free();
  network.close();
  const moved = (by: number): Promise<Float32Array> =>
    forward(
      compute,
      graph,
      x.map((value, i) => value + by * d[i]!),
      count,
    );
  const [up, down] = [await moved(step), await moved(-step)];
  for (let k = 0; k < directions * count; k++) {
    const n = k % count;
    let expected = 0;
    for (let i = 0; i < outputs; i++) expected += (v[k * outputs + i]! * (up[n * outputs + i]! - down[n * outputs + i]!)) / (2 * step);
    let actual = 0;
    for (let i = 0; i < size; i++) actual += found[k * size + i]! * d[n * size + i]!;
    expect(Math.abs(actual - expected)).toBeLessThan(3e-3 * (1 + Math.abs(expected)) * Math.sqrt(size));
  }
  expect(compute.memory.usedBytes).toBe(0);
}

const side = fc.integer({ min: 1, max: 7 });
const small = fc.integer({ min: 1, max: 3 });
const padding = fc.integer({ min: 0, max: 3 });

interface Axis {
  readonly input: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly pad: number;
  readonly output: number;
}

const axis = fc
  .record({ input: side, kernel: fc.integer({ min: 1, max: 4 }), stride: small, dilation: small, pad: padding, after: padding })
  .map(
    ({ after, ...a }): Axis => ({ ...a, output: Math.floor((a.input + a.pad + after - (a.kernel - 1) * a.dilation - 1) / a.stride) + 1 }),
  )
  .filter(({ output }) => output > 0);

const windows = (y: Axis, x: Axis) => ({
  inputHeight: y.input,
  inputWidth: x.input,
  kernelHeight: y.kernel,
  kernelWidth: x.kernel,
  strideY: y.stride,
  strideX: x.stride,
  dilationY: y.dilation,
  dilationX: x.dilation,
  padTop: y.pad,
  padLeft: x.pad,
  outputHeight: y.output,
  outputWidth: x.output,
});

/** Whether every window has a position inside the map: one that has none has no maximum. */
const allInside = ({ input, kernel, stride, dilation, pad, output }: Axis): boolean =>
  Array.from({ length: output }, (_, o) => o * stride - pad).every((first) =>
    Array.from({ length: kernel }, (_, k) => first + k * dilation).some((at) => at >= 0 && at < input),
  );

const seeds = fc.integer({ min: 0, max: 1e6 });
const shapes = fc.tuple(small, side, side);
const channelCounts = fc.constantFrom([1, 1, 1], [1, 3, 5], [2, 2, 3], [3, 1, 1], [3, 1, 2]);

describe('the way back agrees with central differences', () => {
  it('through convolutions', () =>
    fc.assert(
      fc.asyncProperty(axis, axis, channelCounts, seeds, async (y, x, [groups, each, outputsEach], seed) => {
        const [inputChannels, outputChannels] = [groups! * each!, groups! * outputsEach!];
        const geometry = { ...windows(y, x), inputChannels, outputChannels, groups: groups! };
        const weights = values(outputChannels * each! * y.kernel * x.kernel, seed + 4);
        const layer = { kind: 'conv' as const, inputs: ['a'], geometry, weights, bias: values(outputChannels, seed + 5) };
        await expectAgreement(
          networkOf([inputChannels, y.input, x.input], { ...layer, shape: [outputChannels, y.output, x.output] }),
          seed,
        );
      }),
      { numRuns: 100 },
    ));

  it('through fully connected layers', () =>
    fc.assert(
      fc.asyncProperty(shapes, fc.integer({ min: 1, max: 9 }), seeds, async ([channels, height, width], outputs, seed) => {
        const whole = (length: number): Axis => ({ input: length, kernel: length, stride: 1, dilation: 1, pad: 0, output: 1 });
        const geometry = { ...windows(whole(height), whole(width)), inputChannels: channels, outputChannels: outputs, groups: 1 };
        const weights = values(outputs * channels * height * width, seed + 4);
        const layer = { kind: 'conv' as const, inputs: ['a'], geometry, weights, bias: values(outputs, seed), shape: [outputs] };
        await expectAgreement(networkOf([channels, height, width], layer), seed);
      }),
      { numRuns: 30 },
    ));

  it('through pools', () =>
    fc.assert(
      fc.asyncProperty(axis, axis, small, fc.constantFrom('most', 'mean', 'means'), seeds, async (y, x, channels, kind, seed) => {
        const common = { inputs: ['a'], geometry: { ...windows(y, x), channels }, shape: [channels, y.output, x.output] };
        const divisors = Array.from({ length: kind === 'mean' ? 1 : y.output * x.output }, (_, i) => 1 + (i % 5));
        const pool: Tried = kind === 'most' ? { kind: 'maxpool', ...common } : { kind: 'averagepool', ...common, divisors };
        fc.pre(kind !== 'most' || (allInside(y) && allInside(x)));
        await expectAgreement(networkOf([channels, y.input, x.input], pool), seed);
      }),
      { numRuns: 100 },
    ));

  it('through activations, shared comparisons included', () =>
    fc.assert(
      fc.asyncProperty(
        shapes,
        fc.constantFrom('relu', 'prelu', 'leaky'),
        fc.boolean(),
        fc.boolean(),
        seeds,
        async (shape, kind, capped, shared, seed) => {
          const [channels, height, width] = shape;
          const known: readonly Patch[] = [
            [1, Math.min(2, width)],
            [Math.min(2, height), 1],
            [Math.min(2, height), Math.min(2, width)],
            [0, 1],
            [1, 0],
            [1, 1],
          ];
          const patches = shared ? { patches: Array.from({ length: channels }, (_, c) => known[(seed + c) % known.length]!) } : {};
          const common = { inputs: ['s'], shape, ...patches };
          const activation: Tried =
            kind === 'relu'
              ? { kind: 'relu', ...common, ...(capped ? { cap: 1.5 } : {}) }
              : { kind: 'prelu', ...common, slopes: values(kind === 'leaky' ? 1 : channels, seed + 4) };
          const offset = Float32Array.of(-Math.ceil(sizeOf(shape) / 2) / 16);
          const shift: GraphNode = { kind: 'affine', name: 's', inputs: ['a'], output: 's', shape, multiplier: Float32Array.of(1), offset };
          await expectAgreement(networkOf(shape, activation, shift), seed, 1 / 512);
        },
      ),
      { numRuns: 120 },
    ));

  it('through sums, joins, products and moves', () =>
    fc.assert(
      fc.asyncProperty(
        shapes,
        fc.constantFrom('add', 'concat', 'affine', 'view', 'truncate', 'resample', 'product', 'square'),
        seeds,
        async (shape, kind, seed) => {
          const [channels, height, width] = shape;
          const [multiplier, offset] = [values(channels, seed + 4), values(channels, seed + 5)];
          const second: GraphNode = { kind: 'affine', name: 'b', inputs: ['a'], output: 'b', shape, multiplier, offset };
          const joined = seed % 3;
          const half = Math.ceil(width / 2);
          const tried: { readonly [kind: string]: Tried } = {
            add: { kind: 'add', inputs: ['b', 'a', 'b'], shape, factors: [1, -1, 1] },
            concat: {
              kind: 'concat',
              inputs: ['b', 'a', 'b'],
              axis: joined,
              shape: shape.map((length, d) => (d === joined ? 3 * length : length)),
            },
            affine: { kind: 'affine', inputs: ['b'], shape, multiplier: values(sizeOf(shape), seed), offset: values(sizeOf(shape), seed) },
            truncate: { kind: 'truncate', inputs: ['b'], shape },
            product: { kind: 'product', inputs: ['b', 'a'], shape },
            square: { kind: 'product', inputs: ['b', 'b'], shape },
            resample: {
              kind: 'resample',
              inputs: ['b'],
              shape: [channels, 2, width],
              axis: 1,
              taps: 3,
              positions: [0, height - 1, 0, height >> 1, 0, height - 1],
              weights: [0.5, -1.25, 0.25, 1, 2, 0.75],
              interpolation: {
                mode: 'linear',
                coordinates: 'half_pixel',
                nearest: 'floor',
                cubicCoefficient: 0,
                excludeOutside: false,
                scale: 2,
              },
            },
            // Every second column first, and a row of zeros before the rows.
            view: {
              kind: 'view',
              inputs: ['b'],
              inputShape: shape,
              shape: [half, channels, height + 1],
              axes: [
                { axis: 2, start: 0, step: 2, size: half },
                { axis: 0, start: 0, step: 1, size: channels },
                { axis: 1, start: -1, step: 1, size: height + 1 },
              ],
            },
          };
          await expectAgreement(networkOf(shape, tried[kind]!, second), seed);
        },
      ),
      { numRuns: 60 },
    ));
});
