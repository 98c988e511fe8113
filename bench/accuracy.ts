// tessera bench accuracy: real trained networks, privately, beside ONNX Runtime's float. All three parties in one process; the protocol is the
// same as between hosts. Needs ../shared/data; says so where it is absent. TESSERA_IMAGES=n evaluates at most n pictures of each.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { argmax, isInTop, maxAbsDifference, rowOf } from '../src/cli/answers.js';
import { formatBytes, formatCount, formatShare } from '../src/cli/format.js';
import { findModel, type OpenModel, openModel } from '../src/cli/model.js';
import { eachAnswer } from '../src/cli/private-run.js';
import { activated } from '../src/cli/run-report.js';
import type { Outcome } from '../src/cli/run-types.js';
import { openLocal } from '../src/cli/sessions.js';
import { type Dataset, loadDataset } from '../src/data/dataset.node.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { benchOptions, commandTask, median, type PhaseRow, printRows } from './_parties.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const shared = join(root, '../shared/data');
/** Where shared/data/prepare.mjs unpacks the training pictures. */
const unpacked = join(root, '.cache/data');

interface Case {
  readonly network: string;
  /** Calibration pictures: a path, or every so-manieth of the test pictures, which are then not evaluated. */
  readonly calibrate: string | { readonly every: number };
  readonly limit?: number;
}

const cases: readonly Case[] = [
  { network: 'cifar10/resnet20', calibrate: join(unpacked, 'cifar10/resnet20.train.json') },
  { network: 'cifar10/resnet32', calibrate: join(unpacked, 'cifar10/resnet32.train.json') },
  { network: 'cifar10/minionn-relu', calibrate: join(unpacked, 'cifar10/minionn-relu.train.json') },
  { network: 'cifar100/resnet20-kd', calibrate: join(unpacked, 'cifar100/resnet20-kd.train.json') },
  { network: 'mnist/secureml', calibrate: join(shared, 'mnist/train-images-idx3-ubyte.gz') },
  { network: 'mnist/minionn', calibrate: join(shared, 'mnist/train-images-idx3-ubyte.gz') },
  { network: 'mnist/mnist-7', calibrate: join(shared, 'mnist/train-images-idx3-ubyte.gz') },
  { network: 'medical/xray-pneumonia', calibrate: { every: 2 } },
  { network: 'medical/lymphoma36', calibrate: { every: 3 } },
  { network: 'faces/face-expression', calibrate: { every: 2 } },
  { network: 'imagenet/squeezenet11', calibrate: { every: 2 }, limit: 2 },
  { network: 'imagenet/mobilenetv1-075', calibrate: { every: 2 }, limit: 2 },
];

interface Row {
  readonly case: string;
  readonly suite: string;
  readonly ringBits: number;
  readonly images: number;
  readonly agreement: number;
  readonly top1: number;
  readonly floatTop1: number;
  readonly top5: number;
  readonly maxAbsError: number;
  readonly clipped: number;
  /** Of one inference; seconds are medians. */
  readonly offline: PhaseRow;
  readonly online: PhaseRow;
}

/** Some pictures of a data set, as one of their own. */
function subset(dataset: Dataset, indices: readonly number[]): Dataset {
  const size = dataset.shape.reduce((a, b) => a * b, 1);
  const { labels } = dataset;
  return {
    ...dataset,
    count: indices.length,
    names: indices.map((i) => dataset.names[i]!),
    ...(labels === undefined ? {} : { labels: indices.map((i) => labels[i]!) }),
    read: async (start, count) => {
      const out = new Float32Array(count * size);
      for (let i = 0; i < count; i++) out.set(await dataset.read(indices[start + i]!, 1), i * size);
      return out;
    },
  };
}

async function choosePictures({
  network,
  calibrate,
  limit,
}: Case): Promise<{ readonly evaluated: Dataset; readonly calibration: Dataset }> {
  const most = Number(process.env.TESSERA_IMAGES ?? 1000);
  const descriptor = join(shared, `${network}.test.json`);
  if (typeof calibrate === 'string') {
    const evaluated = await loadDataset(descriptor, { limit: Math.min(most, limit ?? most) });
    return { evaluated, calibration: await loadDataset(calibrate, { limit: 256, preprocessing: evaluated.preprocessing }) };
  }
  const all = await loadDataset(descriptor, limit === undefined ? {} : { limit });
  const indices = Array.from({ length: all.count }, (_, i) => i);
  const held = (i: number): boolean => i % calibrate.every === 0;
  return {
    evaluated: subset(all, indices.filter((i) => !held(i)).slice(0, most)),
    calibration: subset(all, indices.filter(held)),
  };
}

async function measure(measured: Case, threads: number): Promise<Row> {
  const { evaluated, calibration } = await choosePictures(measured);
  const { task, end } = commandTask();
  try {
    const compute = await createNodeCompute({ threads });
    task.atEnd(() => compute.close());
    const path = join(shared, `${measured.network}.onnx`);
    const settings = { json: false, quiet: true, threads, ring: 32, seed: 1, cache: false };
    const model = await openModel(await findModel(path), settings, task, compute, { dataset: calibration }, 'calibrate');
    const reference = await InferenceSession.create(path, { intraOpNumThreads: threads });
    const session = await openLocal(model, { suite: 'masked', parties: 'memory', threads }, task);
    const tally = createTally(evaluated, model, reference);
    const outcomes: Outcome[] = [];
    await eachAnswer(session, evaluated, { batch: 1, ahead: 1 }, task, (from, count, images, outcome) => {
      outcomes.push(outcome);
      return tally.add(from, count, images, activated(session.program, outcome.logits, count));
    });
    const traffic = await session.traffic();
    const phase = (name: 'offline' | 'online'): PhaseRow => ({
      seconds: median(outcomes.map(({ seconds }) => seconds[name])),
      bytes: Object.values(traffic[name]).reduce((sum, bytes) => sum + bytes, 0) / evaluated.count,
      rounds: outcomes[0]!.rounds[name],
    });
    await session.close();
    return {
      case: measured.network,
      suite: 'masked',
      ringBits: model.summary.ringBits,
      images: evaluated.count,
      ...tally.result(),
      offline: phase('offline'),
      online: phase('online'),
    };
  } finally {
    await end();
  }
}

function createTally({ labels, shape, count: images }: Dataset, model: OpenModel, reference: InferenceSession) {
  const sums = { same: 0, top1: 0, floatTop1: 0, top5: 0, clipped: 0, maxAbsError: 0 };
  return {
    async add(from: number, count: number, inputs: Float32Array, outputs: Float32Array): Promise<void> {
      const feeds = { [reference.inputNames[0]!]: new Tensor('float32', inputs, [count, ...shape]) };
      const float = (await reference.run(feeds))[reference.outputNames[0]!]!.data as Float32Array;
      sums.clipped += (await model.fixedPoint(inputs, count)).clipped;
      sums.maxAbsError = Math.max(sums.maxAbsError, maxAbsDifference(outputs, float));
      for (let i = 0; i < count; i++) {
        const [own, other, label] = [rowOf(outputs, i, count), rowOf(float, i, count), labels?.[from + i] ?? -1];
        sums.same += Number(argmax(own) === argmax(other));
        sums.top1 += Number(argmax(own) === label);
        sums.floatTop1 += Number(argmax(other) === label);
        sums.top5 += Number(isInTop(own, label, 5));
      }
    },
    result: () => ({
      agreement: sums.same / images,
      top1: sums.top1 / images,
      floatTop1: sums.floatTop1 / images,
      top5: sums.top5 / images,
      maxAbsError: sums.maxAbsError,
      clipped: sums.clipped,
    }),
  };
}

const options = benchOptions();
const rows: Row[] = [];
if (!existsSync(shared)) process.stderr.write('the shared networks are not here: nothing measured\n');
else {
  if (!existsSync(join(unpacked, 'cifar10/train.bin'))) {
    spawnSync(process.execPath, [join(shared, 'prepare.mjs'), unpacked], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  for (const each of cases) {
    const row = await measure(each, options.threads);
    // The whole takes many minutes: what is measured is said at once.
    process.stderr.write(`${JSON.stringify(row)}\n`);
    rows.push(row);
  }
}

printRows(rows, options, {
  network: (row) => row.case,
  pictures: (row) => formatCount(row.images),
  'same label as float': (row) => formatShare(row.agreement),
  'top-1': (row) => formatShare(row.top1),
  'float top-1': (row) => formatShare(row.floatTop1),
  'top-5': (row) => formatShare(row.top5),
  'greatest difference': (row) => row.maxAbsError.toFixed(4),
  'out of range': (row) => formatCount(row.clipped),
  offline: (row) => formatBytes(row.offline.bytes),
  online: (row) => formatBytes(row.online.bytes),
  'offline s': (row) => row.offline.seconds.toFixed(3),
  'online s': (row) => row.online.seconds.toFixed(3),
});
