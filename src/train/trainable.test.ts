// Gradients of parameters against differences of the loss, and a network that learns.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import type { Compute } from '../kernel/compute.js';
import { createCompute } from '../kernel/heap.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { forward } from '../model/forward.js';
import { type GraphNode, sizeOf } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import { buildArchitecture } from './architectures.js';
import type { BatchNormNode, TrainNetwork, TrainNode } from './network.js';
import { createSgd } from './sgd.js';
import { type LossOptions, openTrainable, type Targets, type Trainable, type TrainableOptions } from './trainable.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 2 });
});
afterAll(() => compute.close());

type Shape = readonly [number, number, number];

function conv(name: string, input: string, from: Shape, to: Shape, kernel: number, stride: number, groups = 1, dilation = 1): GraphNode {
  const [[inputChannels, inputHeight, inputWidth], [outputChannels, outputHeight, outputWidth]] = [from, to];
  const pad = (kernel >> 1) * dilation;
  const window = { kernelHeight: kernel, kernelWidth: kernel, strideY: stride, strideX: stride, dilationY: dilation, dilationX: dilation };
  const maps = { inputChannels, inputHeight, inputWidth, outputChannels, outputHeight, outputWidth };
  const size = inputChannels * kernel;
  const weights = values((outputChannels * inputChannels * kernel * kernel) / groups, name.length + inputChannels).map(
    (w) => w / Math.sqrt(size),
  );
  const geometry = { ...maps, ...window, padTop: pad, padLeft: pad, groups };
  const bias = values(outputChannels, outputChannels).map((v) => v / 4);
  return { kind: 'conv', name, inputs: [input], output: name, shape: to, geometry, weights, bias };
}

function batchNorm(name: string, input: string, shape: Shape): BatchNormNode {
  const drawn = (seed: number, from: number): Float32Array => values(shape[0], seed).map((v) => from + v / 2);
  const numbers = { gamma: drawn(1, 1), beta: drawn(2, 0), mean: drawn(3, 0), variance: drawn(4, 1), epsilon: 1e-5, momentum: 0.1 };
  return { kind: 'batchnorm', name, inputs: [input], output: name, shape, ...numbers };
}

const shared: readonly Patch[] = [
  [2, 2],
  [1, 3],
  [0, 1],
  [1, 1],
];

/** Few comparisons, and those of sums of many numbers: a small step changes none. */
const coarse: readonly Patch[] = [
  [8, 8],
  [5, 8],
  [0, 1],
  [1, 0],
];

/** Every kind of node, with forks, a value read twice, groups, a depthwise layer, strides and dilation. */
function sampleNetwork(patches?: readonly Patch[]): TrainNetwork {
  const wide: Shape = [4, 8, 8];
  const low: Shape = [4, 4, 4];
  const pool = { kernelHeight: 2, kernelWidth: 2, strideY: 2, strideX: 2, dilationY: 1, dilationX: 1, padTop: 0, padLeft: 0 };
  const poolOf = (channels: number, size: number) => ({
    ...pool,
    channels,
    ...{ inputHeight: size, inputWidth: size, outputHeight: size / 2, outputWidth: size / 2 },
  });
  const one = <T extends TrainNode['kind']>(kind: T, name: string, input: string, shape: readonly number[]) => ({
    ...{ kind, name, inputs: [input], output: name, shape },
  });
  const nodes: TrainNode[] = [
    conv('c0', 'x', [2, 8, 8], wide, 3, 1),
    batchNorm('b0', 'c0', wide),
    { ...one('relu', 'r0', 'b0', wide), cap: 1.2, ...(patches && { patches }) },
    conv('c1', 'r0', wide, wide, 3, 1, 4),
    { ...one('prelu', 'p1', 'c1', wide), slopes: Float32Array.of(0.1, 0.3, -0.2, 0.5), ...(patches && { patches }) },
    { ...one('add', 'a1', 'p1', wide), inputs: ['p1', 'r0', 'r0'], factors: [1, -1, 1] },
    { ...one('maxpool', 'm1', 'a1', low), geometry: poolOf(4, 8) },
    conv('c2', 'a1', wide, low, 3, 2, 2),
    batchNorm('b2', 'c2', low),
    { ...one('add', 'a2', 'b2', low), inputs: ['b2', 'm1'], factors: [1, 1] },
    one('relu', 'r2', 'a2', low),
    { ...one('concat', 'j2', 'r2', [8, 4, 4]), inputs: ['r2', 'm1'], axis: 0 },
    { ...one('affine', 'f2', 'j2', [8, 4, 4]), multiplier: values(8, 3), offset: values(8, 4) },
    conv('c3', 'f2', [8, 4, 4], [6, 4, 4], 3, 1, 1, 2),
    {
      ...one('view', 'v3', 'c3', [6, 4, 4]),
      inputShape: [6, 4, 4],
      axes: [
        { axis: 0, start: 0, step: 1, size: 6 },
        { axis: 1, start: -1, step: 1, size: 4 },
        { axis: 2, start: 3, step: -1, size: 4 },
      ],
    },
    one('truncate', 't3', 'v3', [6, 4, 4]),
    { ...one('averagepool', 'g3', 't3', [6, 2, 2]), geometry: poolOf(6, 4), divisors: [3] },
    conv('c4', 'g3', [6, 2, 2], [5, 2, 2], 1, 1),
  ];
  return { input: { id: 'x', shape: [2, 8, 8] }, output: 'c4', nodes };
}

const count = 6;
const images = values(count * 2 * 8 * 8, 11);
const labels = Int32Array.from({ length: count * 4 }, (_, i) => (i % 7 === 0 ? 255 : (i * 3) % 5));
const teacher = values(count * 5 * 4, 12);

/** Each parameter's gradient along a random direction, against the difference of the loss to both sides. */
async function expectGradients(trainable: Trainable, targets: Targets, loss: LossOptions): Promise<void> {
  const lossHere = async (): Promise<number> => (await trainable.learn(images, count, targets, loss)).loss;
  await lossHere();
  const gradients = trainable.parameters.map(({ gradient }) => gradient.slice());
  for (const [p, { name, values: weights }] of trainable.parameters.entries()) {
    const before = weights.slice();
    const direction = values(weights.length, p + 100);
    const difference = async (step: number): Promise<number> => {
      weights.set(before.map((w, i) => w + step * direction[i]!));
      const up = await lossHere();
      weights.set(before.map((w, i) => w - step * direction[i]!));
      return (up - (await lossHere())) / (2 * step);
    };
    const slope = gradients[p]!.reduce((sum, g, i) => sum + g * direction[i]!, 0);
    const size = Math.sqrt(gradients[p]!.reduce((sum, g) => sum + g * g, 0) * weights.length);
    // A shared comparison is a jump: where one lies between the ends of a difference, a shorter or longer one has to do.
    const differences: number[] = [];
    for (const step of [2 ** -9, 2 ** -11, 2 ** -7]) differences.push(await difference(step));
    weights.set(before);
    const error = Math.min(...differences.map((d) => Math.abs(slope - d)));
    expect(error, `${name}: ${slope}, ${differences}`).toBeLessThan(0.01 * size + 1e-4);
  }
}

async function withTrainable(network: TrainNetwork, options: TrainableOptions, use: (t: Trainable) => Promise<void>): Promise<void> {
  const trainable = await openTrainable(compute, network, options);
  await use(trainable);
  trainable.close();
  expect(compute.memory.usedBytes).toBe(0);
}

/** As withTrainable, while another is open. */
async function withAnother(network: TrainNetwork, options: TrainableOptions, use: (t: Trainable) => Promise<void>): Promise<void> {
  const trainable = await openTrainable(compute, network, options);
  await use(trainable);
  trainable.close();
}

describe('gradients of parameters are those of differences', () => {
  const losses: readonly (readonly [string, Targets, LossOptions])[] = [
    ['cross-entropy of pixels, some ignored', { labels }, { ignoreLabel: 255 }],
    ['smoothed labels', { labels }, { ignoreLabel: 255, labelSmoothing: 0.2 }],
    ['distillation', { teacher }, { distillation: { weight: 1, temperature: 3 } }],
    ['a mixture', { labels, teacher }, { ignoreLabel: 255, labelSmoothing: 0.1, distillation: { weight: 0.3, temperature: 2 } }],
  ];
  it.each(losses)('%s', (_, targets, loss) => withTrainable(sampleNetwork(), {}, (t) => expectGradients(t, targets, loss)));

  it('with batch norm frozen', () =>
    withTrainable(sampleNetwork(), { batchNorm: 'frozen' }, async (t) => {
      expect(t.parameters.map(({ name }) => name).filter((name) => /^[bf]\d/.test(name))).toEqual([]);
      const before = t.states.map(({ values: v }) => v.slice());
      await expectGradients(t, { labels }, { ignoreLabel: 255 });
      expect(t.states.map(({ values: v }) => v)).toEqual(before);
    }));

  it('with shared comparisons, and with a soft start', () =>
    withTrainable(sampleNetwork(coarse), {}, async (t) => {
      await expectGradients(t, { labels }, { ignoreLabel: 255 });
      t.setAlpha(0.4);
      await expectGradients(t, { labels }, { ignoreLabel: 255 });
    }));
});

describe('a trainable network', () => {
  it('runs as its graph does, with running statistics', () =>
    withTrainable(sampleNetwork(shared), {}, async (t) => {
      await t.learn(images, count, { labels }, { ignoreLabel: 255 });
      const scores = await t.predict(images, count);
      const expected = await forward(compute, t.toGraph(), images, count);
      scores.forEach((v, i) => {
        expect(v).toBeCloseTo(expected[i]!, 4);
      });
    }));

  it('takes other patches between steps, and names that are none', () =>
    withTrainable(sampleNetwork(), {}, async (t) => {
      t.setPatches('r0', shared);
      expect(t.toGraph().nodes.find(({ name }) => name === 'r0')).toMatchObject({ patches: shared });
      const scores = await t.predict(images, count);
      const expected = await forward(compute, t.toGraph(), images, count);
      expect(Math.max(...scores.map((v, i) => Math.abs(v - expected[i]!)))).toBeLessThan(1e-4);
      t.setPatches('r0', undefined);
      expect(t.toGraph().nodes.find(({ name }) => name === 'r0')).not.toHaveProperty('patches');
      expect(() => t.setPatches('c0', shared)).toThrow(RangeError);
    }));

  it('gives the same gradients on one thread as on two', async () => {
    const single = await createCompute();
    const found: Float32Array[][] = [];
    for (const on of [compute, single]) {
      const t = await openTrainable(on, sampleNetwork(shared));
      await t.learn(images, count, { labels }, { ignoreLabel: 255 });
      found.push(t.parameters.map(({ gradient }) => gradient.slice()));
      t.close();
    }
    await single.close();
    expect(found[0]).toEqual(found[1]);
  });

  it('says which labels and lengths do not fit', () =>
    withTrainable(sampleNetwork(), {}, async (t) => {
      await expect(t.learn(images, count, { labels }, {})).rejects.toThrow('label 255 is none of 5 classes');
      await expect(t.learn(images, count, { labels: labels.subarray(1) }, {})).rejects.toThrow('23 labels');
      await expect(t.learn(images, count + 1, { labels }, {})).rejects.toThrow(RangeError);
      await expect(t.learn(images, count, {}, {})).rejects.toThrow('needs labels');
      await expect(t.learn(images, count, {}, { distillation: { weight: 1, temperature: 2 } })).rejects.toThrow('teacher');
    }));
});

describe('noise', () => {
  const options = { noise: { ringBits: 20, ignoredBits: 2 }, seed: 4 };
  const learnTwice = async (t: Trainable): Promise<number[]> => {
    const losses: number[] = [];
    for (let i = 0; i < 2; i++) losses.push((await t.learn(images, count, { labels }, { ignoreLabel: 255 })).loss);
    return losses;
  };

  it('changes the loss a little, differently from step to step and the same way for a seed', async () => {
    let exact = 0;
    await withTrainable(sampleNetwork(shared), {}, async (t) => {
      [exact] = (await learnTwice(t)) as [number];
    });
    const found: number[][] = [];
    for (const seed of [4, 4, 5]) {
      await withTrainable(sampleNetwork(shared), { ...options, seed }, async (t) => {
        found.push(await learnTwice(t));
      });
    }
    expect(found[1]).toEqual(found[0]);
    expect(found[2]![1]).not.toBe(found[0]![1]);
    expect(found[0]![0]).not.toBe(found[0]![1]);
    for (const loss of found.flat()) expect(Math.abs(loss - exact)).toBeLessThan(0.1 * exact);
  });

  it('is that of the ring: the coarser, the fewer bits', async () => {
    const errors: number[] = [];
    for (const ringBits of [16, 20, 26]) {
      await withTrainable(sampleNetwork(), { batchNorm: 'frozen' }, async (plain) => {
        const expected = plain.toGraph();
        await withAnother(sampleNetwork(), { batchNorm: 'frozen', noise: { ringBits, truncation: false } }, async (t) => {
          const { loss } = await t.learn(images, count, { labels }, { ignoreLabel: 255 });
          const { loss: exact } = await plain.learn(images, count, { labels }, { ignoreLabel: 255 });
          errors.push(Math.abs(loss - exact));
          expect(t.toGraph()).toEqual(expected);
        });
      });
    }
    expect(errors[0]).toBeGreaterThan(errors[1]!);
    expect(errors[1]).toBeGreaterThan(errors[2]!);
    expect(errors[2]).toBeLessThan(1e-2);
  });

  it('leaves scores exact, and learning with it goes on from a checkpoint as without a break', async () => {
    const run = async (t: Trainable, steps: number): Promise<void> => {
      const sgd = createSgd(compute, t.parameters, { momentum: 0, nesterov: false, weightDecay: 0 });
      for (let i = 0; i < steps; i++) {
        await t.learn(images, count, { labels }, { ignoreLabel: 255 });
        await sgd.step(0.01);
      }
      sgd.close();
    };
    await withTrainable(sampleNetwork(), options, async (whole) => {
      await run(whole, 3);
      const scores = await whole.predict(images, count);
      const expected = await forward(compute, whole.toGraph(), images, count);
      expect(Math.max(...scores.map((v, i) => Math.abs(v - expected[i]!)))).toBeLessThan(1e-4);
      await withAnother(sampleNetwork(), options, async (first) => {
        await run(first, 1);
        await withAnother(sampleNetwork(), options, async (second) => {
          const arrays = (t: Trainable) => [...t.parameters, ...t.states];
          for (const [i, { values: to }] of arrays(second).entries()) to.set(arrays(first)[i]!.values);
          await run(second, 2);
          expect(second.toGraph()).toEqual(whole.toGraph());
        });
      });
    });
  });
});

describe.each([
  ['resnet8', [3, 32, 32]],
  ['resnet8-projection', [3, 32, 32]],
  ['digits', [1, 28, 28]],
] as const)('%s', (name, shape) => {
  it('learns pictures by heart, the same way for a seed, without its memory growing', async () => {
    const pictures = values(10 * sizeOf(shape), 5);
    const classes = Int32Array.from({ length: 10 }, (_, i) => i);
    const run = async (): Promise<{ loss: number; weights: Float32Array }> => {
      const t = await openTrainable(compute, buildArchitecture(name, { classes: 10, seed: 3 }));
      const sgd = createSgd(compute, t.parameters, { momentum: 0.9, nesterov: true, weightDecay: 1e-4, clipNorm: 5 });
      let [loss, peak] = [0, 0];
      for (let step = 0; step < 25; step++) {
        ({ loss } = await t.learn(pictures, 10, { labels: classes }, {}));
        await sgd.step(0.02);
        if (step === 0) peak = compute.memory.peakBytes;
      }
      expect(compute.memory.peakBytes).toBe(peak);
      const weights = t.parameters[0]!.values.slice();
      sgd.close();
      t.close();
      expect(compute.memory.usedBytes).toBe(0);
      return { loss, weights };
    };
    const first = await run();
    expect(first.loss).toBeLessThan(0.5);
    expect(await run()).toEqual(first);
  });
});

it('an architecture that is none is refused', () => {
  expect(() => buildArchitecture('resnet21', { classes: 10, seed: 1 })).toThrow('there is no architecture resnet21');
});
