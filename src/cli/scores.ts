// How right answers are, by labels or annotated pixels, and how often they agree with others.
import type { Dataset } from '../data/dataset.node.js';
import { DataError } from '../errors.js';
import { argmax, createConfusion, isInTop, rowOf, sharedLabels } from './answers.js';
import type { Pictures } from './pictures.js';

export interface Score {
  readonly top1?: number;
  /** Where the network gives more than five scores. */
  readonly top5?: number;
  readonly miou?: number;
  /** Share of pictures, or of pixels, with the same label as in what they are compared with. */
  readonly agreement: number;
}

export interface Scores {
  add(from: number, count: number, outputs: Float32Array, plaintext: Float32Array): Promise<void>;
  result(): Score;
}

/** Throws DataError ("no-labels") for pictures that there is nothing to evaluate against. */
export function checkLabelled({ labels, annotation, names }: Dataset): void {
  if (labels !== undefined || annotation !== undefined) return;
  const hint = 'Give a folder with labels, or a dataset descriptor.';
  throw new DataError('the pictures have no labels to evaluate against', { code: 'no-labels', where: names[0] ?? 'data', hint });
}

/** Counts right answers, where there are labels; for pictures with annotations, pixels. And how many are those they are compared with. */
export function createScores({ dataset, classes }: Pictures): Scores {
  const { labels, annotation, ignore } = dataset;
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
