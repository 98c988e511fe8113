// Simulated annealing on what a choice of patches really does to the network, from the knapsack's choice on. The knapsack adds up effects
// of single channels; annealing measures their joint effect. Not here: the knapsack, and how accurate the result is on other pictures.
//
// State: a weight for every channel's distortion, 1 at the start. A move scales the weights of one layer, or of some channels of one, and
// lets the knapsack choose again: every candidate keeps the budget whatever the cost is, and one move changes as many channels as the
// layer's misjudged weight concerns. Moves of single channels would be lost in the hundreds of evaluations that minutes allow.
// Kirkpatrick, Gelatt and Vecchi, "Optimization by simulated annealing", Science 220 (1983).
import { createSequence } from '../data/generated.js';
import type { Compute } from '../kernel/compute.js';
import type { Graph } from '../model/graph.js';
import { patchesOf } from '../model/spec.js';
import { withoutSoftmax } from './distort.js';
import { channelRows, type Distortion } from './distortion-file.js';
import { openReplay } from './replay.js';
import { type CostOf, measured, type Selection, selectOptimal, toSpec } from './select.js';

export interface AnnealPictures {
  /** `count` pictures, NCHW, preprocessed as the network expects. */
  readonly images: Float32Array;
  readonly count: number;
  /** Their classes, for the measure "loss". */
  readonly labels?: ArrayLike<number>;
}

/**
 * What is made small, a mean over the pictures: `distance` (default) is the squared distance of the scores from those of the network without
 * shared comparisons, `divergence` Kullback and Leibler's of the classes' probabilities, `loss` the cross-entropy with the labels.
 */
export type AnnealMeasure = 'distance' | 'divergence' | 'loss';

export interface AnnealOptions {
  readonly seed: number;
  readonly measure?: AnnealMeasure;
  /** Moves to try at most (default: no limit). Only a run limited by steps alone is the same on every machine. */
  readonly steps?: number;
  /** Seconds to spend at most (default 60 where no steps are given). */
  readonly seconds?: number;
  /** Ends the search; what was best until then is kept. */
  readonly signal?: AbortSignal;
  readonly progress?: (progress: AnnealProgress) => void;
}

export interface AnnealProgress {
  /** Moves tried. */
  readonly steps: number;
  /** Share of the steps or of the time that is over, 0 to 1. */
  readonly done: number;
  readonly best: number;
}

export interface Annealed {
  /** The best choice measured, never worse than the one it started from. */
  readonly selection: Selection;
  readonly measure: AnnealMeasure;
  /** The measure of the selection given, and of the one returned. */
  readonly start: number;
  readonly best: number;
  /** Moves tried, and how many were accepted. */
  readonly steps: number;
  readonly accepted: number;
  readonly seconds: number;
}

/** Standard deviation of a move, in natural logarithms of a weight. */
const moveSize = 0.7;
/** The first temperature, as a share of the measure at the start; the last one is 0. */
const firstTemperature = 0.01;
/** A move for all channels of a layer, else for each one with this chance. */
const someChannels = 0.3;
/** The knapsack proves nothing here: a candidate is measured anyway. */
const workLimit = 2 ** 18;

/**
 * Refines a selection within `budget` (in the unit of `costOf`).
 *
 * @param graph simplified, without patches; the model the distortion was measured on.
 * @param selection where to start: what is returned is never worse by the measure, and `selection` itself where nothing better was found.
 * @throws RangeError when `pictures` are not `count` pictures, or labels are missing that the measure needs.
 */
export async function anneal(
  compute: Compute,
  graph: Graph,
  distortion: Distortion,
  selection: Selection,
  costOf: CostOf,
  budget: number,
  pictures: AnnealPictures,
  options: AnnealOptions,
): Promise<Annealed> {
  const measure = options.measure ?? 'distance';
  if (measure === 'loss' && pictures.labels === undefined) throw new RangeError('anneal: the loss needs labels');
  const begin = performance.now();
  const random = createSequence(options.seed);
  const replay = await openReplay(compute, withoutSoftmax(graph), pictures.images, pictures.count);
  try {
    const plain = await replay.run(new Map());
    replay.keep();
    const judge = judgeOf(measure, plain, pictures);
    const evaluate = async ({ patches }: Selection): Promise<number> => judge(await replay.run(patchesOf(toSpec(distortion, patches, {}))));
    const start = await evaluate(selection);
    replay.keep();
    let state = { weights: new Float64Array(channelRows(distortion.meta).length).fill(1), patches: selection.patches, value: start };
    let best = { selection, value: start };
    let steps = 0;
    let accepted = 0;
    const over = (): number => shareOver(options, steps, (performance.now() - begin) / 1000);
    for (let done = over(); done < 1 && options.signal?.aborted !== true; done = over()) {
      const weights = move(distortion, state.weights, random);
      const candidate = selectOptimal(weighted(distortion, weights), costOf, budget, { workLimit });
      const same = candidate.patches.every((patch, row) => patch === state.patches[row]);
      const value = same ? state.value : await evaluate(candidate);
      steps++;
      const temperature = firstTemperature * start * (1 - done);
      if (value - state.value <= -temperature * Math.log(1 - random())) {
        accepted++;
        if (!same) replay.keep();
        state = { weights, patches: candidate.patches, value };
        if (value < best.value) best = { selection: candidate, value };
      }
      options.progress?.({ steps, done: Math.min(1, over()), best: best.value });
    }
    return {
      selection: best.selection === selection ? selection : measured(distortion, costOf, best.selection.patches),
      measure,
      start,
      best: best.value,
      steps,
      accepted,
      seconds: (performance.now() - begin) / 1000,
    };
  } finally {
    replay.close();
  }
}

/** Time a run takes that is limited neither in steps nor in time. */
const defaultSeconds = 60;

function shareOver(
  { steps, seconds = steps === undefined ? defaultSeconds : undefined }: AnnealOptions,
  made: number,
  spent: number,
): number {
  return Math.max(steps === undefined ? 0 : steps > 0 ? made / steps : 1, seconds === undefined ? 0 : spent / seconds);
}

/** The weights with those of one layer, or of some of its channels, scaled. */
function move({ meta }: Distortion, weights: Float64Array, random: () => number): Float64Array<ArrayBuffer> {
  const layer = Math.floor(random() * meta.shapes.length);
  const first = meta.shapes.slice(0, layer).reduce((sum, [channels]) => sum + channels, 0);
  const whole = random() < 0.5;
  const common = Math.exp(moveSize * normal(random));
  const moved = Float64Array.from(weights);
  for (let row = first; row < first + meta.shapes[layer]![0]; row++) {
    if (whole) moved[row]! *= common;
    else if (random() < someChannels) moved[row]! *= Math.exp(moveSize * normal(random));
  }
  return moved;
}

/** A standard normal number (Box and Muller 1958). */
const normal = (random: () => number): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

function weighted(distortion: Distortion, weights: Float64Array): Distortion {
  const columns = distortion.patches.length;
  return { ...distortion, values: distortion.values.map((value, i) => value * weights[Math.floor(i / columns)]!) };
}

/** The measure of scores, `count` × classes. */
function judgeOf(measure: AnnealMeasure, plain: Float32Array, { count, labels }: AnnealPictures): (scores: Float32Array) => number {
  if (measure === 'distance') return (scores) => scores.reduce((sum, score, i) => sum + (score - plain[i]!) ** 2, 0) / count;
  const classes = plain.length / count;
  const rows = (scores: Float32Array, n: number): Float64Array => logProbabilities(scores.subarray(n * classes, (n + 1) * classes));
  const mean = (of: (n: number) => number): number => Array.from({ length: count }, (_, n) => of(n)).reduce((a, b) => a + b, 0) / count;
  if (measure === 'loss') return (scores) => mean((n) => -(rows(scores, n)[labels![n]!] ?? 0));
  const known = Array.from({ length: count }, (_, n) => rows(plain, n));
  return (scores) =>
    mean((n) => {
      const own = rows(scores, n);
      return known[n]!.reduce((sum, log, k) => sum + Math.exp(log) * (log - own[k]!), 0);
    });
}

function logProbabilities(scores: Float32Array): Float64Array {
  const greatest = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const logSum = greatest + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - greatest), 0));
  return Float64Array.from(scores, (score) => score - logSum);
}
