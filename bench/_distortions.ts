// What the benchmarks of distortion share: a network of ../shared/data with its pictures, measuring, and how many answers a choice keeps.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { distortionOf, type Measurement, type Meter } from '../src/block/distort.js';
import { openLinear } from '../src/block/distort-linear.js';
import type { Distortion } from '../src/block/distortion-file.js';
import { type Selection, toSpec } from '../src/block/select.js';
import { argmax, rowOf } from '../src/cli/answers.js';
import { readOnnx } from '../src/cli/model.js';
import { type Dataset, loadDataset } from '../src/data/dataset.node.js';
import type { Compute } from '../src/kernel/compute.js';
import { forward } from '../src/model/forward.js';
import type { Graph } from '../src/model/graph.js';
import { applyPatches } from '../src/model/passes/lower.js';
import { simplify } from '../src/model/passes/simplify.js';
import { patchesOf } from '../src/model/spec.js';

/** This file runs compiled, from dist/bench, and as it is in tests. */
const root = fileURLToPath(new URL(import.meta.url.includes('/dist/bench/') ? '../../' : '../', import.meta.url));
const shared = join(root, '../shared/data');
/** Where shared/data/prepare.mjs unpacks the training pictures. */
const unpacked = join(root, '.cache/data');

export const probes = 4;

export interface TrainedNetwork {
  /** Paths of the ONNX file and of the training pictures. */
  readonly model: string;
  readonly trainPath: string;
  readonly hash: string;
  readonly graph: Graph;
  /** Training pictures, from the first. */
  train(count: number): Promise<Pictures>;
  readonly test: Dataset;
}

export interface Pictures {
  readonly images: Float32Array;
  readonly count: number;
}

/** Networks of the shared data, with their training pictures: a descriptor that prepare.mjs writes, or a file read as the test pictures are. */
const networks = {
  resnet20: { folder: 'cifar10', train: join(unpacked, 'cifar10/resnet20.train.json') },
  'resnet20-kd': { folder: 'cifar100', train: join(unpacked, 'cifar100/resnet20-kd.train.json') },
  minionn: { folder: 'mnist', train: join(shared, 'mnist/train-images-idx3-ubyte.gz') },
};

export type NetworkName = keyof typeof networks;

/** Whether the shared data is there (a word on standard error where it is absent), its training pictures unpacked. */
function prepare(): boolean {
  if (!existsSync(shared)) {
    process.stderr.write('the shared networks are not here: nothing measured\n');
    return false;
  }
  if (!existsSync(join(unpacked, 'cifar10/train.bin'))) {
    spawnSync(process.execPath, [join(shared, 'prepare.mjs'), unpacked], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  return true;
}

/** Files of ResNet-20 and CIFAR-10, for commands; undefined where the shared data is absent. */
export function cifar(): { readonly model: string; readonly train: string; readonly test: string } | undefined {
  if (!prepare()) return undefined;
  return { model: join(shared, 'cifar10/resnet20.onnx'), train: networks.resnet20.train, test: join(shared, 'cifar10/resnet20.test.json') };
}

/** A network; undefined where the shared data is absent. */
export async function openNetwork(name: NetworkName): Promise<TrainedNetwork | undefined> {
  if (!prepare()) return undefined;
  const { folder, train } = networks[name];
  const model = join(shared, `${folder}/${name}.onnx`);
  const onnx = await readOnnx(model);
  const test = await loadDataset(join(shared, `${folder}/${name}.test.json`), { limit: 1000 });
  const dataset = await loadDataset(train, { preprocessing: test.preprocessing });
  return {
    ...{ model, trainPath: train },
    hash: onnx.hash,
    graph: simplify(onnx.readGraph()),
    train: async (count) => ({ images: await dataset.read(0, count), count }),
    test,
  };
}

export interface Times {
  readonly seconds: number;
  /** Processor time of all threads: what other programs on the machine lengthen least. */
  readonly processorSeconds: number;
}

/** A distortion over pictures, and how long it took. The meter is closed. */
export async function measure(
  measurement: Measurement,
  meter: Meter,
  { images, count }: Pictures,
  made: { readonly model: string; readonly method: 'linear' | 'exact' },
): Promise<Times & { readonly distortion: Distortion }> {
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
  const meta = { ...made, samples: count, probes: made.method === 'linear' ? probes : 0, seed: 1, version: '' };
  return { distortion: distortionOf(measurement, meter, sums, meta), seconds, processorSeconds: (user + system) / 1e6 };
}

/** As {@link measure}, to first order with the usual probes. */
export async function measureLinear(compute: Compute, measurement: Measurement, pictures: Pictures, model: string) {
  return measure(measurement, await openLinear(compute, measurement, { probes, seed: 1 }), pictures, { model, method: 'linear' });
}

/** The network under a choice. */
export function withChoice(graph: Graph, distortion: Distortion, { patches }: Selection): Graph {
  return applyPatches(graph, patchesOf(toSpec(distortion, patches, {})));
}

/** Share of a labelled set that a network names right. */
export async function top1(compute: Compute, graph: Graph, test: Dataset): Promise<number> {
  const outputs = await forward(compute, graph, await test.read(0, test.count), test.count);
  let right = 0;
  for (let i = 0; i < test.count; i++) right += argmax(rowOf(outputs, i, test.count)) === test.labels![i] ? 1 : 0;
  return right / test.count;
}
