// tessera bench models: which networks load and run unchanged, one picture each, in three processes on this machine: the real ones of ../shared/data
// where they are, and those of bench/networks, whose weights are random. --size small takes pictures that any machine answers in seconds, --ring K another ring than
// that of 32 bits;
// --case NAME keeps networks whose names contain it; TESSERA_MODELS names other ONNX files (files or folders, apart by ":") instead.
// Rows are kept in .cache/bench (--kept FOLDER) as they are finished: a bench that was killed goes on with what is missing.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { argmax, sharedLabels } from '../src/cli/answers.js';
import { formatBytes, formatCount, formatSeconds, formatShare } from '../src/cli/format.js';
import { readOnnx } from '../src/cli/model.js';
import { activated } from '../src/cli/run-report.js';
import { loadDataset } from '../src/data/dataset.node.js';
import { generatePictures } from '../src/data/generated.js';
import { plainPreprocessing } from '../src/data/preprocess.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { forward } from '../src/model/forward.js';
import { inspectModel } from '../src/model/inspect.js';
import { resizedShape } from '../src/model/output.js';
import { openKept } from './_kept.js';
import { networkFile, randomNetworks } from './_networks.js';
import { benchOptions, printRows } from './_parties.js';
import { buildKey, compileModel, type PhaseCost, runPrivately } from './_private.js';

interface Row {
  readonly network: string;
  readonly weights: 'trained' | 'random' | 'given';
  readonly input: string;
  /** Why it does not run; the rest is absent then. */
  readonly refused?: string;
  readonly drelus?: number;
  readonly comparisons?: number;
  /** Share of labels, or of pixels of a map, as in float. */
  readonly agreement?: number;
  /** Root mean square of the outputs' errors, as a share of their standard deviation. */
  readonly error?: number;
  /** Widest margin between float's two best classes where the label is another one, in units of the root mean square of errors; 0 for none. */
  readonly widest?: number;
  readonly offline?: PhaseCost;
  readonly online?: PhaseCost;
  readonly peakBytes?: number;
}

/** A network to run; `file` writes it where it has to be written. */
interface Entry {
  readonly name: string;
  readonly weights: Row['weights'];
  /** Dataset descriptor with pictures for it; made-up ones without. */
  readonly pictures?: string;
  file(compute: Compute): Promise<string>;
}

const shared = fileURLToPath(new URL('../../../shared/data', import.meta.url));

/** Trained networks, and the random ones they stand in for. */
const trained: readonly (readonly [name: string, file: string, instead?: string])[] = [
  ['MiniONN CIFAR-10', 'cifar10/minionn-relu', 'MiniONN CIFAR-10'],
  ['MiniONN CIFAR-10, no ReLU', 'cifar10/minionn-poly7'],
  ['ResNet-20 CIFAR-10', 'cifar10/resnet20'],
  ['SqueezeNet 1.1', 'imagenet/squeezenet11', 'SqueezeNet 1.1'],
  ['MobileNetV1 0.75', 'imagenet/mobilenetv1-075', 'MobileNetV1'],
  ['ESPNet CamVid', 'camvid/espnet'],
];

function givenEntries(given: string): readonly Entry[] {
  const found = given.split(':').filter((path) => existsSync(path));
  const all = found.flatMap((path) => (statSync(path).isDirectory() ? readdirSync(path).map((name) => join(path, name)) : [path]));
  const files = all.filter((path) => path.endsWith('.onnx'));
  return files.map((path) => ({ name: basename(path, '.onnx'), weights: 'given', file: async () => path }));
}

function entries(size: 'small' | 'full'): readonly Entry[] {
  if (process.env.TESSERA_MODELS !== undefined) return givenEntries(process.env.TESSERA_MODELS);
  const real = size === 'small' ? [] : trained.filter(([, file]) => existsSync(join(shared, `${file}.onnx`)));
  const replaced = new Set(real.map(([, , instead]) => instead));
  const random = randomNetworks.filter(({ name }) => !replaced.has(name));
  return [
    ...real.map(([name, file]): Entry => {
      const path = join(shared, `${file}.onnx`);
      return { name, weights: 'trained', pictures: join(shared, `${file}.test.json`), file: async () => path };
    }),
    ...random.map(({ name, [size]: shape }): Entry => ({ name, weights: 'random', file: (compute) => networkFile(compute, name, shape) })),
  ];
}

/** Pictures that a network of so many multiply-adds is calibrated on: 16, or those of some seconds. */
const calibrationCount = (macs: number): number => Math.max(1, Math.min(16, Math.floor(1.5e10 / macs)));

/** The last of them is answered; for the others the network is compiled. */
async function picturesFor(entry: Entry, shape: readonly number[], count: number): Promise<Float32Array> {
  if (entry.pictures === undefined) return generatePictures(shape, plainPreprocessing(shape[0] ?? 1), count, 2);
  return (await loadDataset(entry.pictures, { limit: count })).read(0, count);
}

async function measure(compute: Compute, entry: Entry, ringBits: number, threads: number): Promise<Row> {
  const path = await entry.file(compute);
  const given = entry.pictures === undefined ? undefined : (await loadDataset(entry.pictures, { limit: 1 })).shape;
  const onnx = await readOnnx(path);
  const read = onnx.read(given === undefined ? {} : { inputShape: given });
  const { unsupported, graph, input } = read;
  const about = { network: entry.name, weights: entry.weights, input: input.shape.join(' × ') };
  if (graph === undefined) return { ...about, refused: `${unsupported[0]?.op}: ${unsupported[0]?.reason}` };
  const count = calibrationCount(inspectModel(read).macs);
  const pictures = await picturesFor(entry, input.shape, count + 1);
  const size = pictures.length / (count + 1);
  const images = pictures.subarray(count * size);
  const calibration = { images: pictures.subarray(0, count * size), count, marginBits: 1 };
  const model = await compileModel(compute, basename(dirname(path)), graph, calibration, { ringBits });
  const float = await forward(compute, graph, images, 1);
  const { program } = model.compiled;
  const { logits, ...costs } = await runPrivately(model, images, 1, 1, { threads });
  const positions = resizedShape(program)
    .slice(1)
    .reduce((a, b) => a * b, 1);
  const answers = activated(program, logits, 1);
  const { drelus, comparisons } = model.summary;
  const compared = { agreement: sharedLabels(answers, float, positions), ...errorOf(answers, float, positions) };
  return { ...about, drelus, comparisons, ...compared, ...costs };
}

/** How far answers are from float's, and how near a tie those positions are that are named otherwise. */
function errorOf(answers: Float32Array, float: Float32Array, positions: number): Pick<Row, 'error' | 'widest'> {
  const mean = float.reduce((sum, v) => sum + v, 0) / float.length;
  const rms = (of: (v: number, i: number) => number): number =>
    Math.sqrt(float.reduce((sum, v, i) => sum + of(v, i) ** 2, 0) / float.length);
  const error = rms((v, i) => answers[i]! - v);
  const scores = (of: Float32Array, p: number): number[] => Array.from({ length: of.length / positions }, (_, c) => of[c * positions + p]!);
  let widest = 0;
  for (let p = 0; p < positions; p++) {
    const own = scores(float, p);
    if (argmax(own) === argmax(scores(answers, p))) continue;
    const [best = 0, second = 0] = own.sort((a, b) => b - a);
    widest = Math.max(widest, (best - second) / error);
  }
  return { error: error / rms((v) => v - mean), widest };
}

/** A network that cannot be run has a row that says why. */
async function rowOf(compute: Compute, entry: Entry, ringBits: number, threads: number): Promise<Row> {
  try {
    return await measure(compute, entry, ringBits, threads);
  } catch (error) {
    return { network: entry.name, weights: entry.weights, input: '', refused: error instanceof Error ? error.message : String(error) };
  }
}

const options = benchOptions();
const { size = 'full', threads, rings: [ring = 32] = [] } = options;
const kept = await openKept(options.kept, 'models');
const build = await buildKey();
const wanted = entries(size).filter(({ name }) => name.includes(options.match ?? ''));
const rows: Row[] = [];
if (wanted.length === 0) process.stderr.write('models: no network has such a name\n');
for (const entry of wanted) {
  const from = ['models', build, threads, size, ring, entry.name];
  // Kernels with their memory for each: what a large network took is given back.
  rows.push(
    await kept.once(from, async () => {
      const compute = await createNodeCompute({ threads });
      const row = await rowOf(compute, entry, ring, threads);
      await compute.close();
      return row;
    }),
  );
}

const phase = (of: PhaseCost | undefined): string => (of === undefined ? '' : `${formatBytes(of.bytes)}, ${formatSeconds(of.seconds)}`);
const text = <T>(value: T | undefined, format: (value: T) => string): string => (value === undefined ? '' : format(value));
printRows(rows, options, {
  network: (row) => row.network,
  weights: (row) => row.weights,
  input: (row) => row.input,
  runs: (row) => row.refused ?? 'yes',
  ReLUs: (row) => text(row.drelus, formatCount),
  comparisons: (row) => text(row.comparisons, formatCount),
  'labels or pixels as in float': (row) => text(row.agreement, formatShare),
  error: (row) => text(row.error, (error) => `${(100 * error).toFixed(2)} %`),
  'widest margin where not': (row) => text(row.widest, (widest) => (widest === 0 ? '–' : `${widest.toFixed(1)} errors`)),
  offline: (row) => phase(row.offline),
  online: (row) => phase(row.online),
  'most memory of a party': (row) => text(row.peakBytes, formatBytes),
});
