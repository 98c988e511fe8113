// tessera bench truncation: what truncating shares costs and how often it fails, in ResNet-20 for CIFAR-10: local or exact, after every layer or
// after every second or third, in 64 and 32 bits. All three parties in one process. Needs ../shared/data. TESSERA_IMAGES=n: n pictures (64).
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { argmax, maxAbsDifference, rowOf } from '../src/cli/answers.js';
import { formatBytes, formatCount, formatShare } from '../src/cli/format.js';
import { findModel, openModel } from '../src/cli/model.js';
import { eachAnswer } from '../src/cli/private-run.js';
import { activated } from '../src/cli/run-report.js';
import { openLocal } from '../src/cli/sessions.js';
import { loadDataset } from '../src/data/dataset.node.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import type { Program } from '../src/model/program.js';
import { suites } from '../src/party/session.js';
import { estimate } from '../src/protocol/estimate.js';
import { benchOptions, commandTask, printRows } from './_parties.js';

const folder = join(fileURLToPath(new URL('../../', import.meta.url)), '../shared/data/cifar10');
const pictures = Number(process.env.TESSERA_IMAGES ?? 64);
/** An error of a logit that no rounding explains: a truncation was off by 2^(k − f). */
const garbage = 2;

interface Case {
  readonly suite: 'securenn' | 'securenn-exact';
  readonly ring: 32 | 64;
  readonly truncateEvery?: number;
}

interface Row extends Case {
  /** Elements truncated for one picture. */
  readonly truncated: number;
  /** Of one picture. */
  readonly offlineBytes: number;
  readonly onlineBytes: number;
  readonly rounds: number;
  readonly pictures: number;
  /** Share of pictures with a logit further than {@link garbage} from float's. */
  readonly failed: number;
  readonly agreement: number;
  /** Median over pictures of the greatest error of a logit. */
  readonly error: number;
}

const cases: readonly Case[] = [
  ...[1, 2, 3].flatMap((truncateEvery) =>
    (['securenn', 'securenn-exact'] as const).map((suite) => ({ suite, ring: 64 as const, truncateEvery })),
  ),
  { suite: 'securenn', ring: 64 },
  { suite: 'securenn', ring: 32 },
  { suite: 'securenn-exact', ring: 32 },
];

function truncatedElements({ steps, tensors }: Program): number {
  const truncating = steps.filter((step) => (step.kind === 'relu' || step.kind === 'truncate') && step.truncateBits > 0);
  return truncating.reduce((sum, step) => sum + tensors[step.output]!.shape.reduce((a, b) => a * b, 1), 0);
}

async function measure(each: Case, threads: number): Promise<Row> {
  const dataset = await loadDataset(join(folder, 'resnet20.test.json'), { limit: pictures });
  const { task, end } = commandTask();
  try {
    const compute = await createNodeCompute({ threads });
    task.atEnd(() => compute.close());
    const settings = { json: false, quiet: true, threads, seed: 1, cache: false, ...each };
    const model = await openModel(await findModel(join(folder, 'resnet20.onnx')), settings, task, compute, { dataset }, 'calibrate');
    const session = await openLocal(model, { suite: each.suite, parties: 'memory', threads }, task);
    const errors: number[] = [];
    let same = 0;
    await eachAnswer(session, dataset, { batch: 8, ahead: 1 }, task, async (_from, count, images, { logits }) => {
      const outputs = activated(session.program, logits, count);
      const plain = await model.plaintext(images, count);
      for (let i = 0; i < count; i++) {
        const [own, float] = [rowOf(outputs, i, count), rowOf(plain, i, count)];
        errors.push(maxAbsDifference(own, float));
        if (argmax(own) === argmax(float)) same++;
      }
    });
    await session.close();
    const { offline, online } = estimate(session.program, suites[each.suite]!, 1);
    return {
      ...each,
      truncated: truncatedElements(session.program),
      offlineBytes: offline.bytes,
      onlineBytes: online.bytes,
      rounds: online.rounds,
      pictures: dataset.count,
      failed: errors.filter((error) => error > garbage).length / errors.length,
      agreement: same / errors.length,
      error: errors.sort((a, b) => a - b)[errors.length >> 1]!,
    };
  } finally {
    await end();
  }
}

const options = benchOptions();
const rows: Row[] = [];
if (!existsSync(join(folder, 'resnet20.onnx'))) process.stderr.write('the shared networks are not here: nothing measured\n');
else for (const each of cases) rows.push(await measure(each, options.threads));

printRows(rows, options, {
  ring: (row) => String(row.ring),
  truncation: (row) => (row.suite === 'securenn' ? 'local' : 'exact'),
  'after layers': (row) => String(row.truncateEvery ?? '1, own scales'),
  'elements truncated': (row) => formatCount(row.truncated),
  offline: (row) => formatBytes(row.offlineBytes),
  online: (row) => formatBytes(row.onlineBytes),
  'messages in a row': (row) => String(row.rounds),
  pictures: (row) => formatCount(row.pictures),
  'pictures that failed': (row) => formatShare(row.failed),
  'same label as float': (row) => formatShare(row.agreement),
  'median error': (row) => row.error.toFixed(4),
});
