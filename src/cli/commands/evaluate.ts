// tessera evaluate: how often a network is right, in float, in fixed point, or privately, and how often that agrees with float.
import type { Command } from 'commander';
import { Option } from 'commander';
import { batches } from '../../data/dataset.node.js';
import { openCompute } from '../compute.js';
import { formatCount, formatSeconds, formatShare } from '../format.js';
import { findModel, type OpenModel, openModel } from '../model.js';
import { createCommand, withCompilation, withPictures } from '../options.js';
import { openPictures, type Pictures } from '../pictures.js';
import { planModel } from '../planning.js';
import { eachAnswer } from '../private-run.js';
import { activated } from '../run-report.js';
import { checkLabelled, createScores, type Score } from '../scores.js';
import { openLocal } from '../sessions.js';
import { perform, type Task } from '../task.js';
import { type PartyOptions, withParties } from './run.js';

interface EvaluateOptions extends PartyOptions {
  readonly precision: 'float' | 'fixed' | 'secure';
}

/** Agreement is with float (compiled models: with fixed point). */
interface Evaluation extends Score {
  readonly images: number;
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
        const opened = await openModel(source, options, task, await openCompute(task, options.threads), pictures);
        const secure = options.precision === 'secure';
        const model = secure ? await planModel(opened, options, source.stored !== undefined, task) : opened;
        const evaluation = await evaluate(model, pictures, options, task);
        const about = { precision: options.precision, plaintext: model.plaintextKind, calibratedOn: model.summary.calibratedOn };
        task.output.result({ ...evaluation, ...about }, () => describe(evaluation, options.precision));
      }),
    );
}

async function evaluate(model: OpenModel, pictures: Pictures, options: EvaluateOptions, task: Task): Promise<Evaluation> {
  const { dataset } = pictures;
  checkLabelled(dataset);
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
    const session = await openLocal(model, { ...options, batch: Math.min(options.batch, dataset.count) }, task);
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
