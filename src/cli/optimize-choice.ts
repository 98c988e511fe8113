// Choosing for one budget: measuring and choosing in rounds, then refinement.
import { readFile } from 'node:fs/promises';
import { type Measurement, withoutSoftmax } from '../block/distort.js';
import { type Distortion, readDistortion } from '../block/distortion-file.js';
import { chooseInRounds } from '../block/rounds.js';
import { type Selection, toSpec, withoutConstants } from '../block/select.js';
import { batches } from '../data/dataset.node.js';
import { forward } from '../model/forward.js';
import { applyPatches, type LayerPatches } from '../model/passes/lower.js';
import type { Patch } from '../model/program.js';
import { patchesOf } from '../model/spec.js';
import { rowOf, sharedLabels } from './answers.js';
import { type Chosen, refineChosen, type Solved, select, summarise } from './choosing.js';
import { measureInto } from './measuring.js';
import { fileName, sha256, solveOptions, type Work } from './optimize-work.js';
import type { Refined } from './refine.js';
import type { Stage } from './report/data.js';
import { scoped } from './task.js';

/** A choice as it is kept. */
export interface BudgetChoice {
  readonly solved: Solved;
  /** In the order they were made; the last one is the choice. */
  readonly steps: readonly { readonly name: Stage['name']; readonly patches: readonly Patch[] }[];
  readonly windows?: Selection['windows'];
  readonly refined?: Refined;
}

/** Pictures that are answered at a time. */
const batchSize = 64;

/** The distortion of the network as it is, or under a spec, from the folder or measured into it. */
export async function distortionFor(work: Work, name: string, measurement: Measurement, under?: LayerPatches): Promise<Distortion> {
  const { onnx, sample, compute, task, folder, options, measuring } = work;
  const spec = under === undefined ? undefined : sha256(JSON.stringify([...under]));
  const file = folder.file(name);
  const measure = async (): Promise<null> => {
    task.output.note(under === undefined ? 'Measuring what every patch does.' : `Measuring again under the last choice (${name}).`);
    const about = spec === undefined ? {} : { under: spec };
    await measureInto(file, { onnx, measurement, dataset: sample, data: options.data, ...about }, measuring, compute, task);
    return null;
  };
  await folder.once(name, [work.key, spec ?? null], measure, [name]);
  return readDistortion(await readFile(file), file);
}

/** Distortions without the candidates that a call does not allow. */
export const allowed = (distortion: Distortion, { options }: Work): Distortion =>
  options.constants ? distortion : withoutConstants(distortion);

/** Chooses for a budget, or takes what was chosen before. Throws UsageError ("budget-too-small", "budget-too-large"). */
export function chooseFor(work: Work, budget: string): Promise<BudgetChoice> {
  const { cost, rounds, constants, windows, phase, suite, network, ring, calibrate, workLimit } = work.options;
  const { refine, refineSeconds, refineSteps, refineMeasure } = work.options;
  const ways = { cost, rounds, constants, windows, phase, suite, network, ring, calibrate, workLimit };
  const refinement = refine === undefined ? null : { refine, refineSeconds, refineSteps, refineMeasure };
  return work.folder.once(`choice ${budget}`, [work.key, budget, ways, refinement], () =>
    scoped(work.task, (task) => chooseAnew({ ...work, task }, budget)),
  );
}

interface RoundChoice extends Selection {
  readonly chosen: Chosen;
  readonly seconds: number;
}

async function chooseAnew(work: Work, budget: string): Promise<BudgetChoice> {
  const { graph, options, task } = work;
  const settings = solveOptions(work, budget);
  const choose = async (distortion: Distortion): Promise<RoundChoice> => {
    const start = performance.now();
    const chosen = await select(allowed(distortion, work), settings, task);
    return { ...chosen.selection, chosen, seconds: (performance.now() - start) / 1000 };
  };
  let under: LayerPatches | undefined;
  const rounds = await chooseInRounds(
    graph,
    { kind: options.candidates },
    options.rounds,
    (measurement, round) =>
      round === 0
        ? distortionFor(work, 'distortion.npz', measurement)
        : distortionFor(work, `work/${fileName(budget)}-${round}.npz`, measurement, under),
    async (distortion) => {
      const choice = await choose(distortion);
      under = layersOf(distortion, choice.patches);
      return choice;
    },
  );
  const used =
    rounds.length === 1
      ? 0
      : await mostAlike(
          work,
          rounds.map(({ distortion, selection }) => layersOf(distortion, selection.patches)),
        );
  const { distortion, selection } = rounds[used]!;
  const steps: { name: Stage['name']; patches: readonly Patch[] }[] = [{ name: 'knapsack', patches: rounds[0]!.selection.patches }];
  if (used > 0) steps.push({ name: 'measured again', patches: selection.patches });
  const own = allowed(distortion, work);
  const { selection: best, refined } = await refineChosen(own, selection.chosen, settings, task);
  if (refined !== undefined) steps.push({ name: 'refined', patches: best.patches });
  const solved = summarise(own, best, selection.chosen.budget, selection.seconds, '');
  return { solved, steps, ...(best.windows === undefined ? {} : { windows: best.windows }), ...(refined === undefined ? {} : { refined }) };
}

export const layersOf = (distortion: Distortion, patches: readonly Patch[]): LayerPatches => patchesOf(toSpec(distortion, patches, {}));

/**
 * Which choice gives the most pictures of the sample the label they have without patches: the first of equals. Rounds do not get better without
 * end, and the distance of the scores does not tell: at 6 % of ResNet-20's DReLUs it grows while 10 points more answers are right.
 */
async function mostAlike({ graph, sample, compute, task }: Work, choices: readonly LayerPatches[]): Promise<number> {
  const scores = withoutSoftmax(graph);
  const [, ...map] = scores.nodes.find(({ output }) => output === scores.output)?.shape ?? [];
  const positions = map.reduce((product, length) => product * length, 1);
  const changed = choices.map((patches) => applyPatches(scores, patches));
  const alike = choices.map(() => 0);
  for await (const { count, images } of batches(sample, batchSize)) {
    task.signal.throwIfAborted();
    const plain = await forward(compute, scores, images, count);
    for (const [i, other] of changed.entries()) {
      const values = await forward(compute, other, images, count);
      for (let k = 0; k < count; k++) alike[i]! += sharedLabels(rowOf(values, k, count), rowOf(plain, k, count), positions);
    }
  }
  return alike.indexOf(Math.max(...alike));
}
