// tessera optimize: from a network and budgets to specs and a report. Each step's result is kept in the folder, for a call that goes on.
import { type Additivity, measureAdditivity } from '../block/additivity.js';
import { planMeasurement } from '../block/distort.js';
import { channelRows, type Distortion } from '../block/distortion-file.js';
import { toSpec } from '../block/select.js';
import { applyPatches } from '../model/passes/lower.js';
import type { Patch } from '../model/program.js';
import { checkPictures } from './distortion-checks.js';
import { writeWhole } from './files.js';
import type { Finetuned } from './finetuning.js';
import { allowed, type BudgetChoice, chooseFor, distortionFor, layersOf } from './optimize-choice.js';
import { correctFor, finetuneMain, withNetwork } from './optimize-networks.js';
import { bestByLayer, compileFor, costsOf, inFixedPoint, inFloat, nearestUniform, scoreAll } from './optimize-scores.js';
import { type OptimizeOptions, openWork, specName, type Work } from './optimize-work.js';
import type { BudgetRow, OptimizeReport } from './report/data.js';
import { describeLayers } from './report/layers.js';
import { writePage } from './report/page.js';
import { recommend } from './report/recommend.js';
import { trainingOf } from './report/training.js';
import type { Task } from './task.js';
import { packageVersion } from './version.js';

/** Random choices that additivity is measured with. */
const additivityChoices = 24;

/** Does it all, or what is left of it. */
export async function optimize(path: string, options: OptimizeOptions, task: Task): Promise<OptimizeReport> {
  const start = performance.now();
  const work = await openWork(path, options, task);
  const { folder, graph, budgets } = work;
  const measurement = planMeasurement(graph, { kind: options.candidates });
  const distortion = await distortionFor(work, 'distortion.npz', measurement);
  const original = await folder.once('original', [work.key, work.scoredOn, options.suite, options.ring, options.calibrate], () =>
    scoreOriginal(work),
  );
  const rows: BudgetRow[] = [];
  const choices: BudgetChoice[] = [];
  for (const [i, budget] of budgets.entries()) {
    task.output.note(`Budget ${budget} (${i + 1} of ${budgets.length}).`);
    choices.push(await chooseFor(work, budget));
    const row = await rowFor(work, distortion, budget, choices.at(-1)!);
    rows.push(options.correct ? await withNetwork(work, row, 'corrected', await correctFor(work, budget, choices.at(-1)!)) : row);
  }
  const additivity = await additivityOf(work, distortion);
  const trained = options.finetune === undefined ? undefined : await finetuneMain(work, choices[0]!);
  if (trained !== undefined) rows[0] = await withNetwork(work, rows[0]!, 'fine-tuned', trained);
  const report = {
    ...summary(work, { distortion, choice: choices[0]!, rows, original, additivity, trained }),
    seconds: (performance.now() - start) / 1000,
  };
  await writeWhole(folder.file('report.json'), `${JSON.stringify(report)}\n`);
  await writeWhole(folder.file('report.html'), await writePage(report));
  return report;
}

async function scoreOriginal(work: Work): Promise<OptimizeReport['original']> {
  const [score] = await scoreAll(work, [inFloat(work, work.graph)]);
  return { score: score!, costs: await costsOf(work, await compileFor(work)) };
}

/** Writes a budget's spec, and says how right and how dear it is, beside simpler choices. */
async function rowFor(work: Work, distortion: Distortion, budget: string, choice: BudgetChoice): Promise<BudgetRow> {
  const { folder, options, kind, graph } = work;
  const { solved, steps, windows, refined } = choice;
  const spec = folder.file(specName(work, budget));
  const { method, samples, seed } = distortion.meta;
  const about = { rounds: options.rounds, ...(refined === undefined ? {} : { refined }) };
  const made = { budget, cost: kind, method, samples, seed, version: packageVersion(), ...about };
  await writeWhole(spec, `${JSON.stringify(toSpec(distortion, steps.at(-1)!.patches, made, windows))}\n`);
  const key = [work.key, work.scoredOn, steps, windows, options.suite, options.ring, options.calibrate];
  return folder.once(`row ${budget}`, key, async () => {
    const baselines = [nearestUniform(distortion, solved.drelus), bestByLayer(allowed(distortion, work), solved.drelus)];
    const under = (patches: readonly Patch[]) => inFloat(work, applyPatches(graph, layersOf(distortion, patches)));
    const compiled = await compileFor(work, { spec });
    const answers = [...steps.map((step) => under(step.patches)), ...baselines.map(({ selection }) => under(selection.patches))];
    const scores = await scoreAll(work, windows === undefined ? answers : [...answers, inFixedPoint(compiled)]);
    const [uniform, perLayer] = baselines.map(({ name, selection }, i) => ({
      ...{ name, drelus: selection.cost, score: scores[steps.length + i]! },
    }));
    return {
      name: budget,
      solved: { ...solved, file: spec },
      share: solved.drelus / solved.drelusFull,
      stages: steps.map(({ name }, i) => ({ name, score: scores[i]! })),
      score: scores[steps.length - 1]!,
      ...(windows === undefined ? {} : { fixed: scores.at(-1)! }),
      ...{ uniform: uniform!, perLayer: perLayer!, costs: await costsOf(work, compiled), spec },
    };
  });
}

/** Sums of distortions against joint ones, on some pictures of the sample. */
function additivityOf(work: Work, distortion: Distortion): Promise<Additivity> {
  const { folder, sample, graph, options, compute, task, key } = work;
  return folder.once('additivity', [key, options.constants], async () => {
    task.output.note('Measuring whether distortions add up.');
    const count = Math.min(checkPictures, sample.count);
    const pictures = { images: await sample.read(0, count), count };
    const settings = { choices: additivityChoices, seed: options.seed };
    return measureAdditivity(compute, planMeasurement(graph, { kind: options.candidates }), allowed(distortion, work), pictures, settings);
  });
}

interface Findings {
  readonly distortion: Distortion;
  readonly choice: BudgetChoice;
  readonly rows: readonly BudgetRow[];
  readonly original: OptimizeReport['original'];
  readonly additivity: Additivity;
  readonly trained: Finetuned | undefined;
}

function summary(work: Work, { distortion, choice, rows, original, additivity, trained }: Findings): Omit<OptimizeReport, 'seconds'> {
  const { name, onnx, folder, kind, validation, heldOut, sample } = work;
  const [main] = rows as readonly [BudgetRow];
  const { refined } = choice;
  const images = validation.dataset.count;
  const metric = original.score.miou !== undefined ? 'miou' : original.score.top1 !== undefined ? 'top1' : 'agreement';
  return {
    ...{ name, modelHash: onnx.hash, version: packageVersion(), report: folder.file('report.html') },
    ...{ channels: channelRows(distortion.meta).length, candidates: distortion.patches.length, samples: sample.count },
    ...{ file: folder.file('distortion.npz'), spec: main.spec, ...(main.model === undefined ? {} : { model: main.model }) },
    ...main.solved,
    ...{
      file: folder.file('distortion.npz'),
      layers: describeLayers(distortion, choice.steps.at(-1)!.patches, choice.windows),
      costKind: kind,
    },
    ...{ metric, images, ...(heldOut === undefined ? {} : { heldOut }), ...main.score },
    ...{ original, rows, additivity, ...(refined === undefined ? {} : { refined }) },
    ...(trained === undefined ? {} : { training: trainingOf(trained) }),
    recommendation: recommend({ metric, images, original, rows }),
  };
}
