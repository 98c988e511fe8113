// tessera evaluate: how often a network is right, in float, in fixed point, or privately, and how often that agrees with float.
import type { Command } from 'commander';
import { Option } from 'commander';
import { batches } from '../../data/dataset.node.js';
import { DataError } from '../../errors.js';
import { argmax, createConfusion, isInTop, rowOf, sharedLabels } from '../answers.js';
import { openCompute } from '../compute.js';
import { formatCount, formatSeconds, formatShare } from '../format.js';
import { findModel, type OpenModel, openModel } from '../model.js';
import { createCommand, withCompilation, withPictures } from '../options.js';
import { openPictures, type Pictures } from '../pictures.js';
import { eachAnswer } from '../private-run.js';
import { activated } from '../run-report.js';
import { openLocal } from '../sessions.js';
import { perform, type Task } from '../task.js';
import { type PartyOptions, withParties } from './run.js';

interface EvaluateOptions extends PartyOptions {
  readonly precision: 'float' | 'fixed' | 'secure';
}

interface Evaluation {
  readonly images: number;
  readonly top1?: number;
  readonly top5?: number;
  readonly miou?: number;
  /** Share of pictures, or of pixels, with the same label as in float (compiled models: as in fixed point). */
  readonly agreement: number;
  /** Evaluated values that left their range, from the fixed-point simulation; absent for float. */
  readonly clipped?: number;
  readonly seconds: number;
}

export function evaluateCommand(): Command {
  const example = 'tessera evaluate net.onnx --data test.json --calibrate train.json --precision secure';
  const command = withCompilation(withPictures(createCommand('evaluate', 'Top-1, top-5 or mIoU over a data set.', example)));
  return withParties(command)
    .argument('<model>', 'ONNX file or compiled model')
    .addOption(new Option('--precision <kind>', 'how to compute').choices(['float', 'fixed', 'secure']).default('float'))
    .action((path: string, options: EvaluateOptions) =>
      perform(options, async (task) => {
        const source = await findModel(path, options);
        const pictures = await openPictures([], options, task.output, source.description);
        const model = await openModel(source, options, task, await openCompute(task, options.threads), pictures);
        const evaluation = await evaluate(model, pictures, options, task);
        const about = { precision: options.precision, plaintext: model.plaintextKind, calibratedOn: model.summary.calibratedOn };
        task.output.result({ ...evaluation, ...about }, () => describe(evaluation, options.precision));
      }),
    );
}

async function evaluate(model: OpenModel, pictures: Pictures, options: EvaluateOptions, task: Task): Promise<Evaluation> {
  const { dataset } = pictures;
  const scores = createScores(pictures);
  const start = performance.now();
  let clipped = 0;
  // The simulation is what can count values out of range: inside a secure run no party can see them.
  const judge = async (from: number, count: number, images: Float32Array, outputs?: Float32Array): Promise<void> => {
    const plaintext = await model.plaintext(images, count);
    if (options.precision === 'float') return scores.add(from, count, plaintext, plaintext);
    const fixed = await model.fixedPoint(images, count);
    clipped += fixed.clipped;
    await scores.add(from, count, outputs ?? activated(model.compiled.program, fixed.logits, count), plaintext);
  };
  if (options.precision === 'secure') {
    const session = await openLocal(model, options, task);
    await eachAnswer(session, dataset, { batch: options.batch, ahead: 2 }, task, (from, count, images, { logits }) =>
      judge(from, count, images, activated(session.program, logits, count)),
    );
    await session.close();
  } else {
    const progress = task.output.progress('evaluating', dataset.count);
    for await (const { start: from, count, images } of batches(dataset, options.batch)) {
      task.signal.throwIfAborted();
      await judge(from, count, images);
      progress.update(from + count);
    }
    progress.end();
  }
  const seconds = (performance.now() - start) / 1000;
  return { images: dataset.count, ...scores.result(), ...(options.precision === 'float' ? {} : { clipped }), seconds };
}

interface Scores {
  add(from: number, count: number, outputs: Float32Array, plaintext: Float32Array): Promise<void>;
  result(): Pick<Evaluation, 'top1' | 'top5' | 'miou' | 'agreement'>;
}

/** Counts right answers; for pictures with annotations, pixels. */
function createScores({ dataset, classes }: Pictures): Scores {
  const { labels, annotation, ignore } = dataset;
  if (labels === undefined && annotation === undefined) {
    const hint = 'Give a folder with labels, or a dataset descriptor.';
    throw new DataError('the pictures have no labels to evaluate against', { code: 'no-labels', where: dataset.names[0] ?? 'data', hint });
  }
  const confusion = annotation === undefined ? undefined : createConfusion(classes?.length ?? 256);
  let first = 0;
  let five = 0;
  let same = 0;
  let seen = 0;
  let outputs = 0;
  return {
    add: async (from, count, results, plaintext) => {
      for (let i = 0; i < count; i++) {
        const row = rowOf(results, i, count);
        outputs = row.length;
        const truth = await annotation?.(from + i);
        same += sharedLabels(row, rowOf(plaintext, i, count), truth?.length ?? 1);
        if (truth !== undefined) {
          checkMap(row, truth, dataset.names[from + i]!);
          confusion?.add(row, truth, ignore);
        }
        const label = labels?.[from + i];
        if (label === undefined) continue;
        first += argmax(row) === label ? 1 : 0;
        five += isInTop(row, label, 5) ? 1 : 0;
      }
      seen += count;
    },
    result: () => ({
      ...(labels === undefined ? {} : { top1: first / seen }),
      ...(labels === undefined || outputs <= 5 ? {} : { top5: five / seen }),
      ...(confusion === undefined ? {} : { miou: confusion.meanIou() }),
      agreement: same / seen,
    }),
  };
}

/** Throws DataError ("wrong-labels") for an annotation that is not of the size of the map of scores. */
function checkMap(scores: Float32Array, truth: Uint8Array, name: string): void {
  if (scores.length % truth.length === 0 && scores.length > truth.length) return;
  throw new DataError(`the annotation of ${name} has ${truth.length} pixels, which ${scores.length} scores cannot be for`, {
    code: 'wrong-labels',
    where: name,
    hint: 'Annotations have the size of the map of scores.',
  });
}

function describe({ images, top1, top5, miou, agreement, clipped, seconds }: Evaluation, precision: string): string {
  return [
    `${formatCount(images)} pictures, ${precision}, in ${formatSeconds(seconds)}`,
    ...(top1 === undefined ? [] : [`top-1 ${formatShare(top1)}`]),
    ...(top5 === undefined ? [] : [`top-5 ${formatShare(top5)}`]),
    ...(miou === undefined ? [] : [`mean IoU ${formatShare(miou)}`]),
    ...(precision === 'float' ? [] : [`same label as in plaintext: ${formatShare(agreement)}`]),
    ...(clipped === undefined ? [] : [`${formatCount(clipped)} values out of range`]),
  ].join('\n');
}
