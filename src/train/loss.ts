// Losses on scores, with their gradients: cross-entropy with smoothed labels, of pictures or of pixels, and distillation.
import type { LossOptions, StepResult, Targets } from './trainable.js';

/** log Σ exp of a column of scores, `step` apart, divided by a temperature. */
function logSum(scores: Float32Array, from: number, classes: number, step: number, temperature: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let k = 0; k < classes; k++) most = Math.max(most, scores[from + k * step]!);
  let sum = 0;
  for (let k = 0; k < classes; k++) sum += Math.exp((scores[from + k * step]! - most) / temperature);
  return most / temperature + Math.log(sum);
}

/** The class with the greatest score; the first of equals. */
function greatest(scores: Float32Array, from: number, classes: number, step: number): number {
  let best = 0;
  for (let k = 1; k < classes; k++) if (scores[from + k * step]! > scores[from + best * step]!) best = k;
  return best;
}

function expectTargets(scores: Float32Array, shape: readonly number[], count: number, targets: Targets, options: LossOptions): void {
  const [classes = 1] = shape;
  const weight = options.distillation?.weight ?? 0;
  const { labels, teacher } = targets;
  if (weight > 0 && teacher === undefined) throw new RangeError("distillation needs the teacher's scores");
  if (teacher && teacher.length !== scores.length) throw new RangeError(`${teacher.length} scores of the teacher for ${scores.length}`);
  if (weight < 1 && labels === undefined)
    throw new RangeError('a loss without distillation, or with a weight of less than 1, needs labels');
  if (labels === undefined) return;
  const places = scores.length / classes;
  if (labels.length !== places) throw new RangeError(`${labels.length} labels for ${count} pictures, which need ${places}`);
  const wrong = labels.find((label) => label !== options.ignoreLabel && (label < 0 || label >= classes));
  if (wrong !== undefined) throw new RangeError(`label ${wrong} is none of ${classes} classes`);
}

/**
 * The mean loss over pictures, or over the pixels of maps of scores, and its gradient.
 *
 * @param scores [count, classes] or [count, classes, height, width].
 * @param shape of one picture's scores, classes first.
 * @param gradient of the size of `scores`; filled.
 * @throws RangeError for lengths that do not fit, for labels that are no class and for targets that are missing.
 */
export function scoreLoss(
  scores: Float32Array,
  shape: readonly number[],
  count: number,
  targets: Targets,
  options: LossOptions,
  gradient: Float32Array,
): StepResult {
  expectTargets(scores, shape, count, targets, options);
  const [classes = 1] = shape;
  const { labels, teacher } = targets;
  const size = scores.length / Math.max(1, count) / classes;
  const ignored = (place: number): boolean => labels !== undefined && labels[place] === options.ignoreLabel;
  let counted = 0;
  for (let place = 0; place < count * size; place++) if (!ignored(place)) counted++;
  gradient.fill(0);
  let [loss, correct] = [0, 0];
  for (let place = 0; place < count * size; place++) {
    if (ignored(place)) continue;
    const column: Column = { from: Math.floor(place / size) * classes * size + (place % size), step: size, classes, share: 1 / counted };
    loss += addColumn(scores, labels?.[place], teacher, options, column, gradient) / counted;
    const wanted = labels?.[place] ?? greatest(teacher!, column.from, classes, size);
    if (greatest(scores, column.from, classes, size) === wanted) correct++;
  }
  return { loss: counted === 0 ? 0 : loss, correct, counted };
}

/** Scores of one picture or pixel, and its share of the mean. */
interface Column {
  readonly from: number;
  readonly step: number;
  readonly classes: number;
  readonly share: number;
}

/** Adds one column's gradient, and gives its loss. */
function addColumn(
  scores: Float32Array,
  label: number | undefined,
  teacher: Float32Array | undefined,
  { labelSmoothing = 0, distillation }: LossOptions,
  { from, step, classes, share }: Column,
  gradient: Float32Array,
): number {
  const { weight, temperature } = distillation ?? { weight: 0, temperature: 1 };
  let loss = 0;
  if (weight < 1) {
    const sum = logSum(scores, from, classes, step, 1);
    for (let k = 0; k < classes; k++) {
      const at = from + k * step;
      const wanted = (k === label ? 1 - labelSmoothing : 0) + labelSmoothing / classes;
      if (wanted > 0) loss -= (1 - weight) * wanted * (scores[at]! - sum);
      gradient[at]! += (1 - weight) * share * (Math.exp(scores[at]! - sum) - wanted);
    }
  }
  if (weight > 0) {
    const sum = logSum(scores, from, classes, step, temperature);
    const known = logSum(teacher!, from, classes, step, temperature);
    for (let k = 0; k < classes; k++) {
      const at = from + k * step;
      const [own, wanted] = [scores[at]! / temperature - sum, teacher![at]! / temperature - known];
      loss += weight * temperature ** 2 * Math.exp(wanted) * (wanted - own);
      gradient[at]! += weight * temperature * share * (Math.exp(own) - Math.exp(wanted));
    }
  }
  return loss;
}
