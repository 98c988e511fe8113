// How right a network is on a data set while it trains: accuracy, or mean IoU where pixels have classes.
import { batches, type Dataset } from '../data/dataset.node.js';
import { DataError } from '../errors.js';
import { argmax, createConfusion, rowOf } from './answers.js';

export type Predict = (images: Float32Array, count: number) => Promise<Float32Array>;

export type Metric = 'top1' | 'miou';

/** Pictures that are scored at a time. */
const batchSize = 100;

/** What a data set is scored by. Throws DataError ("no-labels") where it has neither labels nor annotations. */
export function metricOf(dataset: Dataset, where: string): Metric {
  if (dataset.annotation !== undefined) return 'miou';
  if (dataset.labels !== undefined) return 'top1';
  const hint = 'Give a folder with labels, or a dataset descriptor.';
  throw new DataError('the validation pictures have no labels', { code: 'no-labels', where, hint });
}

/**
 * The score of a network on a whole set, from 0 to 1. `signal` ends it early.
 * @param outputs scores the network gives; of a map of scores only as many as the set has classes are looked at.
 */
export async function scoreOf(dataset: Dataset, outputs: number, predict: Predict, signal: AbortSignal): Promise<number> {
  const { labels, annotation, ignore } = dataset;
  const confusion = annotation === undefined ? undefined : createConfusion(dataset.classes?.length ?? outputs);
  let right = 0;
  for await (const { start, count, images } of batches(dataset, batchSize)) {
    signal.throwIfAborted();
    const scores = await predict(images, count);
    for (let i = 0; i < count; i++) {
      const row = rowOf(scores, i, count);
      if (annotation !== undefined) confusion?.add(row, await annotation(start + i), ignore);
      else if (argmax(row) === labels?.[start + i]) right++;
    }
  }
  return confusion === undefined ? right / dataset.count : confusion.meanIou();
}

/**
 * Checks that every label is one of the network's classes.
 * @throws DataError ("bad-label") that names the first picture whose label is not.
 */
export function checkLabels({ labels, names }: Dataset, classes: number, where: string): void {
  const wrong = labels?.findIndex((label) => !Number.isInteger(label) || label < 0 || label >= classes) ?? -1;
  if (wrong < 0) return;
  throw new DataError(`${names[wrong]} has label ${labels?.[wrong]}, the network has ${classes} classes, 0 to ${classes - 1}`, {
    code: 'bad-label',
    where,
    hint: 'Labels count from 0; give the data the network is for.',
  });
}
