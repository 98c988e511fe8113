// tessera bench segmentation: what choices keep of networks that are larger than those of CIFAR-10, without training: the mean IoU of ESPNet on
// CamVid, and the labels of the ImageNet networks on photographs, by budget. Distortion is taken at the scores: for ESPNet at all pixels of the map.
// Without --runs all pictures of a set are evaluated, with it so many. Cells are kept in .cache/bench (--kept FOLDER) as they are finished.
// Says so where ../shared/data is absent.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CandidateKind } from '../src/block/candidates.js';
import { correct } from '../src/block/correct.js';
import { planMeasurement } from '../src/block/distort.js';
import { type Distortion, readDistortion, writeDistortion } from '../src/block/distortion-file.js';
import { dreluCost, fullCost, type Selection, selectOptimal, toSpec, withoutConstants } from '../src/block/select.js';
import { argmax, createConfusion } from '../src/cli/answers.js';
import { writeWhole } from '../src/cli/files.js';
import { formatCount, formatSeconds, formatShare } from '../src/cli/format.js';
import { readOnnx } from '../src/cli/model.js';
import { type Dataset, loadDataset } from '../src/data/dataset.node.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { forward } from '../src/model/forward.js';
import type { Graph } from '../src/model/graph.js';
import { applyPatches, type LayerPatches } from '../src/model/passes/lower.js';
import { simplify } from '../src/model/passes/simplify.js';
import { patchesOf } from '../src/model/spec.js';
import { nearlyUniform } from './_chosen.js';
import { measureLinear, type Pictures } from './_distortions.js';
import { type Kept, openKept } from './_kept.js';
import { benchOptions, printRows } from './_parties.js';

const shared = fileURLToPath(new URL('../../../shared/data', import.meta.url));
/** Goes into what results are kept by: raised when they are made in another way. */
const version = 1;
const budgets = [1, 0.5, 0.25, 0.12, 0.06];

interface Case {
  readonly network: string;
  readonly path: string;
  /** Set that distortion is measured and weights are fitted on, and the one that is evaluated; the halves of the latter without the former. */
  readonly training?: string;
  readonly candidates: CandidateKind;
  /** Pictures that are measured and fitted on. */
  readonly samples: number;
}

const espnet = { network: 'ESPNet, CamVid', path: 'camvid/espnet', training: 'camvid/espnet.train', samples: 20 };
const cases: readonly Case[] = [
  { ...espnet, candidates: 'generated' },
  { ...espnet, candidates: 'seed' },
  { network: 'SqueezeNet 1.1', path: 'imagenet/squeezenet11', candidates: 'generated', samples: 30 },
  { network: 'MobileNetV1 0.75', path: 'imagenet/mobilenetv1-075', candidates: 'generated', samples: 30 },
];

const choices = ['uniform', 'knapsack', 'corrected'] as const;
type Choice = (typeof choices)[number];

interface Row {
  readonly network: string;
  readonly candidates: CandidateKind;
  readonly choice: Choice;
  readonly metric: 'mean IoU' | 'top-1';
  readonly pictures: number;
  /** Mean IoU or share of right labels, by budget. */
  readonly scores: readonly number[];
  /** Measuring the distortion. */
  readonly seconds: number;
}

interface Opened {
  readonly compute: Compute;
  readonly kept: Kept;
  readonly graph: Graph;
  readonly hash: string;
  readonly fitted: Pictures;
  readonly data: Dataset;
  /** Places in `data` of what is evaluated. */
  readonly tested: readonly number[];
}

async function open(compute: Compute, kept: Kept, each: Case, limit: number): Promise<Opened> {
  const path = join(shared, `${each.path}.onnx`);
  const data = await loadDataset(join(shared, `${each.path}.test.json`));
  const onnx = await readOnnx(path);
  const graph = simplify(onnx.readGraph({ inputShape: data.shape }));
  const training = each.training === undefined ? data : await loadDataset(join(shared, `${each.training}.json`));
  const first = each.training === undefined ? each.samples : 0;
  const count = Math.min(each.samples, training.count);
  const tested = Array.from({ length: Math.min(limit, data.count - first) }, (_, i) => first + i);
  return { compute, kept, graph, hash: onnx.hash, data, tested, fitted: { images: await training.read(0, count), count } };
}

/** The distortion of a case, kept as a file, and the seconds it took. */
async function distortionOf(
  { compute, kept, graph, hash, fitted }: Opened,
  each: Case,
): Promise<{ distortion: Distortion; seconds: number }> {
  const from = ['distortion', version, each];
  const file = kept.file(from, '.npz');
  const { seconds } = await kept.once([...from, existsSync(file)], async () => {
    const measurement = planMeasurement(graph, { kind: each.candidates });
    const { distortion, ...times } = await measureLinear(compute, measurement, fitted, hash);
    await writeWhole(file, writeDistortion(distortion));
    return times;
  });
  return { distortion: withoutConstants(readDistortion(readFileSync(file), file)), seconds };
}

/** Mean IoU or share of right labels of a network in float. */
async function scoreOf({ compute, data, tested }: Opened, graph: Graph): Promise<number> {
  const classes = data.classes?.length ?? 0;
  const confusion = createConfusion(classes);
  let right = 0;
  for (const picture of tested) {
    const scores = await forward(compute, graph, await data.read(picture, 1), 1);
    const truth = await data.annotation?.(picture);
    if (truth === undefined) right += argmax(scores) === data.labels?.[picture] ? 1 : 0;
    else confusion.add(scores.subarray(0, classes * truth.length), truth, data.ignore);
  }
  return data.annotation === undefined ? right / tested.length : confusion.meanIou();
}

function select(distortion: Distortion, choice: Choice, share: number): Selection {
  const budget = Math.floor(share * fullCost(distortion, dreluCost));
  return choice === 'uniform' ? nearlyUniform(distortion, budget) : selectOptimal(distortion, dreluCost, budget);
}

async function scoreAt(opened: Opened, distortion: Distortion, choice: Choice, share: number): Promise<number> {
  if (share === 1) return scoreOf(opened, opened.graph);
  const patches: LayerPatches = patchesOf(toSpec(distortion, select(distortion, choice, share).patches, {}));
  const { compute, graph, fitted } = opened;
  const running = choice === 'corrected' ? await correct(compute, graph, patches, fitted.images, fitted.count) : graph;
  return scoreOf(opened, applyPatches(running, patches));
}

async function measure(compute: Compute, kept: Kept, each: Case, limit: number): Promise<readonly Row[]> {
  const opened = await open(compute, kept, each, limit);
  const { distortion, seconds } = await distortionOf(opened, each);
  const pictures = opened.tested.length;
  const rows: Row[] = [];
  for (const choice of choices) {
    const scores: number[] = [];
    for (const share of budgets) {
      // All comparisons are the same network whatever chooses.
      const cell = share === 1 ? [each.path, pictures] : [each, choice, share, pictures];
      scores.push(await kept.once(['score', version, cell], () => scoreAt(opened, distortion, choice, share)));
    }
    const metric = opened.data.annotation === undefined ? 'top-1' : 'mean IoU';
    rows.push({ network: each.network, candidates: each.candidates, choice, metric, pictures, scores, seconds });
  }
  return rows;
}

const options = benchOptions();
const rows: Row[] = [];
if (!existsSync(shared)) process.stderr.write('the shared networks are not here: nothing measured\n');
else {
  const kept = await openKept(options.kept, 'segmentation');
  for (const each of cases.filter(({ network, candidates }) => `${network} ${candidates}`.includes(options.match ?? ''))) {
    const compute = await createNodeCompute({ threads: options.threads });
    rows.push(...(await measure(compute, kept, each, options.runs ?? Number.POSITIVE_INFINITY)));
    await compute.close();
  }
}

printRows(rows, options, {
  network: (row) => row.network,
  candidates: (row) => row.candidates,
  choice: (row) => row.choice,
  pictures: (row) => `${formatCount(row.pictures)}, ${row.metric}`,
  ...Object.fromEntries(budgets.map((share, i) => [formatShare(share), (row: Row) => formatShare(row.scores[i]!)])),
  'distortion took': (row) => formatSeconds(row.seconds),
});
