// tessera bench training: steps of ResNet-20 on batches of 64, beside the bound that multiply-adds alone set, beside PyTorch, and by kernel.
// Ours, the GEMM that sets the bound and PyTorch are measured in turns, because a shared machine's speed changes from minute to minute.
import { formatTable } from '../src/cli/format.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import type { Patch } from '../src/model/program.js';
import { buildArchitecture } from '../src/train/architectures.js';
import { createSgd } from '../src/train/sgd.js';
import { openTrainable, type Trainable, type TrainableOptions } from '../src/train/trainable.js';
import { macsOf } from './_kernel-cases.js';
import { benchOptions, median, printRows } from './_parties.js';
import { startTorch } from './_torch-peer.js';

const batch = 64;
const rounds = 5;
const steps = 6;
/** Forward, gradient of the input and gradient of the weights: as many multiply-adds each. */
const passes = 3;

const network = buildArchitecture('resnet20', { classes: 10, seed: 1 });
const macs = network.nodes.reduce((sum, node) => sum + (node.kind === 'conv' ? macsOf(node.geometry) : 0), 0);

interface TrainingRow {
  readonly case: string;
  readonly threads: number;
  /** Of the median step. */
  readonly imagesPerSecond: number;
  /** threads × GEMM rate / (3 × multiply-adds of an image), median of what was measured before each round. */
  readonly boundPerSecond: number;
  readonly share: number;
  readonly steps: number;
  readonly torchPerSecond?: number;
}

interface ProfileRow {
  readonly part: string;
  /** Of one step on the calling thread, median. */
  readonly milliseconds: number;
  readonly share: number;
  readonly macsPerSecond?: number;
}

/** A step to measure, and its end. */
async function openStep(compute: Compute, options: TrainableOptions, patches?: readonly Patch[]) {
  const trainable = await openTrainable(compute, network, options);
  if (patches) sharePatches(trainable, patches);
  const sgd = createSgd(compute, trainable.parameters, { momentum: 0.9, nesterov: false, weightDecay: 1e-4 });
  const images = Float32Array.from({ length: batch * 3 * 32 * 32 }, (_, i) => Math.sin(i * i * 0.37));
  const labels = Int32Array.from({ length: batch }, (_, i) => i % 10);
  const step = async (): Promise<void> => {
    await trainable.learn(images, batch, { labels }, {});
    await sgd.step(0.02);
  };
  const close = (): void => {
    sgd.close();
    trainable.close();
  };
  return { step, close };
}

/** Gives each activation the patches in turn. */
function sharePatches(trainable: Trainable, patches: readonly Patch[]): void {
  for (const node of trainable.toGraph().nodes) {
    if (node.kind !== 'relu') continue;
    const channels = Array.from({ length: node.shape[0]! }, (_, c) => patches[c % patches.length]!);
    trainable.setPatches(node.name, channels);
  }
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Multiply-adds per second of a thread, all threads multiplying packed matrices that fit the second-level cache. */
async function gemmRate(compute: Compute): Promise<number> {
  const { k, panels, tiles } = { k: 256, panels: 32, tiles: 512 };
  const [a, b] = [compute.floats(panels * 4 * k).fill(0), compute.floats(tiles * 8 * k).fill(0)];
  const [out, zeros] = [compute.floats(panels * 4 * tiles * 8), compute.floats(16).fill(0)];
  const work = () => compute.run('multiplyPackedFloats', [a, b, k, panels, out, tiles, zeros], tiles, { costPerItem: 1e5, grain: 16 });
  await work();
  const times: number[] = [];
  for (let i = 0; i < 10; i++) times.push(await seconds(work));
  compute.free(a, b, out, zeros);
  return (panels * 4 * k * tiles * 8) / median(times) / compute.threads;
}

const cases: readonly {
  readonly name: string;
  readonly options?: TrainableOptions;
  readonly patches?: readonly Patch[];
  readonly peer?: true;
}[] = [
  { name: 'ResNet-20', peer: true },
  {
    name: 'shared comparisons: 2 × 2, 4 × 4, 1 × 3, none',
    patches: [
      [2, 2],
      [4, 4],
      [1, 3],
      [0, 1],
    ],
  },
  { name: 'noise of a 24-bit ring', options: { noise: { ringBits: 24 } } },
];

async function benchTraining(threads: number): Promise<TrainingRow[]> {
  const torch = await startTorch();
  const rows: TrainingRow[] = [];
  for (const count of new Set([1, threads])) {
    const compute = await createNodeCompute(count === 1 ? { inline: true } : { threads: count, joined: true });
    for (const { name, options = {}, patches, peer } of cases) {
      const { step, close } = await openStep(compute, options, patches);
      for (let i = 0; i < 3; i++) await step();
      if (peer) await torch?.seconds(count, batch, 3);
      const [times, bounds, peers]: [number[], number[], number[]] = [[], [], []];
      for (let round = 0; round < rounds; round++) {
        bounds.push((count * (await gemmRate(compute))) / (passes * macs));
        for (let i = 0; i < steps; i++) times.push(await seconds(step));
        if (peer && torch) peers.push(...(await torch.seconds(count, batch, steps)));
      }
      close();
      const [imagesPerSecond, boundPerSecond] = [batch / median(times), median(bounds)];
      const beside = peers.length > 0 ? { torchPerSecond: batch / median(peers) } : {};
      rows.push({
        case: name,
        threads: count,
        imagesPerSecond,
        boundPerSecond,
        share: imagesPerSecond / boundPerSecond,
        steps: times.length,
        ...beside,
      });
    }
    await compute.close();
  }
  torch?.close();
  return rows;
}

const partOf: Readonly<Record<string, string>> = {
  weightGradient: 'gradients of weights',
  weightGradientPoints: 'gradients of weights',
  addParts: 'gradients of weights',
  denseWeightGradient: 'gradients of weights',
  channelMoments: 'batch norm and activations',
  scaleShiftFloats: 'batch norm and activations',
  channelGradients: 'batch norm and activations',
  mixMaps: 'batch norm and activations',
  clipFloats: 'batch norm and activations',
  passPositive: 'batch norm and activations',
  descend: 'update and packing of weights',
  gatherWords: 'update and packing of weights',
  packRows: 'update and packing of weights',
};

const convolutions = ['convolveFloats', 'convolvePointsFloats', 'multiplyVectorFloats'];

/** Where a step's time goes on one thread, by what its kernels do. */
async function profileStep(): Promise<ProfileRow[]> {
  const compute = await createNodeCompute({ inline: true });
  let spent = new Map<string, number>();
  let backward = false;
  const timed: Compute = {
    ...compute,
    // Without workers a kernel has run when the call returns.
    run(kernel, ...rest) {
      if (/eightGradient/.test(kernel)) backward = true;
      const convolution = backward ? 'gradients of inputs' : 'forward convolutions';
      const part = convolutions.includes(kernel) ? convolution : (partOf[kernel] ?? 'pools, sums and moves');
      const start = performance.now();
      const done = compute.run(kernel, ...rest);
      spent.set(part, (spent.get(part) ?? 0) + performance.now() - start);
      return done;
    },
  };
  const { step, close } = await openStep(timed, {});
  const found: Map<string, number>[] = [];
  for (let i = 0; i < 3 + rounds * 2; i++) {
    spent = new Map();
    backward = false;
    const whole = 1000 * (await seconds(step));
    spent.set('outside kernels', whole - [...spent.values()].reduce((a, b) => a + b, 0));
    if (i >= 3) found.push(spent);
  }
  close();
  await compute.close();
  const medians = [...found[0]!.keys()].map((part) => ({ part, milliseconds: median(found.map((of) => of.get(part) ?? 0)) }));
  const all = medians.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const linear = /^(forward|gradients)/;
  return medians
    .sort((a, b) => b.milliseconds - a.milliseconds)
    .map((row) => ({
      ...row,
      share: row.milliseconds / all,
      ...(linear.test(row.part) ? { macsPerSecond: (1000 * batch * macs) / row.milliseconds } : {}),
    }));
}

const options = benchOptions();
const rows = await benchTraining(options.threads);
const profile = await profileStep();
if (options.json) process.stdout.write(JSON.stringify([...rows, ...profile]));
else {
  const percent = (share: number): string => `${Math.round(100 * share)} %`;
  printRows(rows, options, {
    [`batches of ${batch}`]: (row) => row.case,
    threads: (row) => String(row.threads),
    'images/s': (row) => row.imagesPerSecond.toFixed(0),
    bound: (row) => row.boundPerSecond.toFixed(0),
    share: (row) => percent(row.share),
    PyTorch: (row) => row.torchPerSecond?.toFixed(0) ?? '',
    steps: (row) => String(row.steps),
  });
  const body = profile.map((row) => [
    ...[row.part, row.milliseconds.toFixed(1), percent(row.share)],
    row.macsPerSecond === undefined ? '' : (row.macsPerSecond / 1e9).toFixed(1),
  ]);
  process.stdout.write(`\n${formatTable([['ResNet-20, one thread, one step', 'ms', 'share', 'GMAC/s'], ...body])}\n`);
}
