// tessera bench distortion: how long measuring takes, whether `linear` ranks as `exact` does, and what accuracy the chosen patches keep
// without any training. Needs ../shared/data; says so where it is absent.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compareWithExact } from '../src/block/comparison.js';
import { distortionOf, type Measurement, type Meter, planMeasurement } from '../src/block/distort.js';
import { openLinear } from '../src/block/distort-linear.js';
import type { Distortion } from '../src/block/distortion-file.js';
import {
  dreluCost,
  fullCost,
  type Selection,
  selectByLayer,
  selectOptimal,
  selectUniform,
  toSpec,
  withoutConstants,
} from '../src/block/select.js';
import { argmax, rowOf } from '../src/cli/answers.js';
import { formatCount, formatSeconds, formatShare } from '../src/cli/format.js';
import { readOnnx } from '../src/cli/model.js';
import { type Dataset, loadDataset } from '../src/data/dataset.node.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { forward } from '../src/model/forward.js';
import type { Graph } from '../src/model/graph.js';
import { applyPatches } from '../src/model/passes/lower.js';
import { simplify } from '../src/model/passes/simplify.js';
import type { Patch } from '../src/model/program.js';
import { patchesOf } from '../src/model/spec.js';
import { benchOptions, printRows } from './_parties.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const shared = join(root, '../shared/data');
/** Where shared/data/prepare.mjs unpacks the training pictures. */
const unpacked = join(root, '.cache/data');

const samples = 256;
const probes = 4;
/** Pictures and channels for the exact distortion. */
const exactSamples = 32;
const exactChannels = 86;

const budgets: readonly { readonly share: number; readonly uniform: readonly Patch[] }[] = [
  {
    share: 0.5,
    uniform: [
      [1, 2],
      [2, 1],
    ],
  },
  { share: 0.25, uniform: [[2, 2]] },
  { share: 0.125, uniform: [[2, 4]] },
  { share: 0.0625, uniform: [[4, 4]] },
];

interface Row {
  readonly case: string;
  readonly images: number;
  readonly seconds?: number;
  /** Processor time of all threads: what other programs on the machine lengthen least. */
  readonly processorSeconds?: number;
  readonly drelus?: number;
  readonly top1?: number;
  /** Spearman's, over `pairs` of channel and patch. */
  readonly correlation?: number;
  readonly pairs?: number;
}

/** Sums over the first `count` pictures of a set. */
async function measure(
  meter: Meter,
  measurement: Measurement,
  images: Float32Array,
  count: number,
): Promise<{ sums: Float64Array; seconds: number; processorSeconds: number }> {
  const sums = new Float64Array(measurement.rows * measurement.patches.length);
  const size = images.length / count;
  const start = performance.now();
  const used = process.cpuUsage();
  for (let first = 0; first < count; first += meter.batch) {
    const own = Math.min(meter.batch, count - first);
    await meter.add({ images: images.subarray(first * size, (first + own) * size), count: own, first }, sums);
  }
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(used);
  meter.close();
  return { sums, seconds, processorSeconds: (user + system) / 1e6 };
}

/** Channels and patches under `exact`, with pictures of the sample that `linear` had. */
async function compare(compute: Compute, measurement: Measurement, distortion: Distortion, images: Float32Array): Promise<Row> {
  const own = images.subarray(0, (images.length / samples) * exactSamples);
  const start = performance.now();
  const used = process.cpuUsage();
  const pictures = { images: own, count: exactSamples };
  const { correlation, pairs, channels } = await compareWithExact(compute, measurement, distortion, pictures, exactChannels);
  const { user, system } = process.cpuUsage(used);
  return {
    case: `exact, ${formatCount(channels)} channels, {1, 2, 4}² patches`,
    images: exactSamples,
    seconds: (performance.now() - start) / 1000,
    processorSeconds: (user + system) / 1e6,
    correlation,
    pairs,
  };
}

async function top1(compute: Compute, graph: Graph, test: Dataset): Promise<number> {
  const outputs = await forward(compute, graph, await test.read(0, test.count), test.count);
  let right = 0;
  for (let i = 0; i < test.count; i++) right += argmax(rowOf(outputs, i, test.count)) === test.labels![i] ? 1 : 0;
  return right / test.count;
}

async function accuracies(compute: Compute, graph: Graph, distortion: Distortion, test: Dataset): Promise<Row[]> {
  const full = fullCost(distortion, dreluCost);
  const rows: Row[] = [{ case: 'every element compared', images: test.count, drelus: full, top1: await top1(compute, graph, test) }];
  const add = async (name: string, { patches, cost }: Selection): Promise<void> => {
    const blocks = applyPatches(graph, patchesOf(toSpec(distortion, patches, {})));
    rows.push({ case: name, images: test.count, drelus: cost, top1: await top1(compute, blocks, test) });
  };
  for (const { share, uniform } of budgets) {
    const budget = Math.floor(share * full);
    await add(`${formatShare(share)}: knapsack`, selectOptimal(withoutConstants(distortion), dreluCost, budget));
    await add(`${formatShare(share)}: knapsack, identity and zero too`, selectOptimal(distortion, dreluCost, budget));
    await add(`${formatShare(share)}: one patch a layer`, selectByLayer(distortion, dreluCost, budget));
    for (const patch of uniform)
      await add(`${formatShare(share)}: ${patch.join(' × ')} everywhere`, selectUniform(distortion, dreluCost, patch));
  }
  return rows;
}

async function measureNetwork(threads: number): Promise<Row[]> {
  const network = join(shared, 'cifar10/resnet20.onnx');
  const onnx = await readOnnx(network);
  const graph = simplify(onnx.readGraph());
  const measurement = planMeasurement(graph);
  const train = await loadDataset(join(unpacked, 'cifar10/resnet20.train.json'), { limit: samples });
  const test = await loadDataset(join(shared, 'cifar10/resnet20.test.json'));
  const images = await train.read(0, samples);
  const compute = await createNodeCompute({ threads });
  try {
    const meter = await openLinear(compute, measurement, { probes, seed: 1 });
    const { sums, ...times } = await measure(meter, measurement, images, samples);
    const name = `linear, ${probes} probes, ${measurement.rows} channels, up to ${measurement.patches.length} patches`;
    const timed: Row = { case: name, images: samples, ...times };
    const made = { model: onnx.hash, method: 'linear' as const, samples, probes, seed: 1, version: '' };
    const distortion = distortionOf(measurement, { perPicture: probes }, sums, made);
    const compared = await compare(compute, measurement, distortion, images);
    return [timed, compared, ...(await accuracies(compute, graph, distortion, test))];
  } finally {
    await compute.close();
  }
}

const options = benchOptions();
const rows: Row[] = [];
if (!existsSync(shared)) process.stderr.write('the shared networks are not here: nothing measured\n');
else {
  if (!existsSync(join(unpacked, 'cifar10/train.bin'))) {
    spawnSync(process.execPath, [join(shared, 'prepare.mjs'), unpacked], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  rows.push(...(await measureNetwork(options.threads)));
}

printRows(rows, options, {
  'ResNet-20, CIFAR-10': (row) => row.case,
  pictures: (row) => formatCount(row.images),
  time: (row) => (row.seconds === undefined ? '' : formatSeconds(row.seconds)),
  processors: (row) => (row.processorSeconds === undefined ? '' : formatSeconds(row.processorSeconds)),
  DReLUs: (row) => (row.drelus === undefined ? '' : formatCount(row.drelus)),
  'top-1': (row) => (row.top1 === undefined ? '' : formatShare(row.top1)),
  "Spearman's ρ": (row) => (row.correlation === undefined ? '' : `${row.correlation.toFixed(4)} (${row.pairs})`),
});
