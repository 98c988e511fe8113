// The training loop: batches, rate, steps, validation, checkpoints; stops on divergence. Not here: where batches come from, how a step is
// computed, where checkpoints go.
import type { Loader } from '../data/loader.js';
import { TesseraError } from '../errors.js';
import type { LayerPatches } from '../model/passes/lower.js';
import type { Checkpoint, Epoch } from './checkpoint.js';
import { badCheckpoint } from './checkpoint.js';
import { type Best, isBetter, isOver, noneYet } from './early-stopping.js';
import { learningRateAt, type Schedule, softStartAlpha } from './schedule.js';
import type { Sgd } from './sgd.js';
import { patchesOfStage, stageOf } from './stages.js';
import type { LossOptions, Trainable, TrainingState } from './trainable.js';

export interface FitSettings {
  readonly epochs: number;
  readonly learningRate: number;
  readonly schedule: Schedule;
  readonly loss: LossOptions;
  /** Epochs over which α falls from 1 to 0 in α · ReLU + (1 − α) · block ReLU; 0 for none. */
  readonly softStart: number;
  /** Stages over which the patches come in, a share of the channels at a time; 1 for all at once. */
  readonly stages: number;
  /** Epochs without a better validation after which training ends; never where absent. */
  readonly patience?: number;
  readonly seed: number;
}

/** What a caller shows while a run goes on. */
export interface StepProgress {
  readonly epoch: number;
  readonly step: number;
  readonly stepsPerEpoch: number;
  /** Means of the epoch so far. */
  readonly loss: number;
  readonly accuracy: number;
  /** Of this process, data and optimiser included. */
  readonly imagesPerSecond: number;
  /** Until the last epoch ends, validation left out. */
  readonly secondsLeft: number;
}

export interface FitRun {
  readonly trainable: Trainable;
  readonly sgd: Sgd;
  readonly loader: Loader;
  readonly settings: FitSettings;
  /** Classes of the network: a loss far above ln(classes), that of guessing, says that training has diverged. */
  readonly classes: number;
  /** Says which run this is; a checkpoint of another is refused. */
  readonly key: string;
  /** Patches by layer, for a run with stages. */
  readonly patches?: LayerPatches;
  /** Scores of the uncompressed network, for distillation. */
  readonly teacher?: (images: Float32Array, count: number) => Promise<Float32Array>;
  /** Accuracy or mean IoU on pictures that are not trained on. */
  readonly validate?: () => Promise<number>;
  readonly signal?: AbortSignal;
  readonly resume?: Checkpoint;
  onStep?(progress: StepProgress): void;
  onEpoch?(epoch: Epoch): void;
  /** Stores a checkpoint; called after every epoch, when the run is aborted, and every {@link keepSeconds}. */
  keep?(checkpoint: Checkpoint): Promise<void>;
  readonly keepSeconds?: number;
}

export interface Fitted {
  readonly curve: readonly Epoch[];
  /** Epoch whose weights the network has now, from 0; the last one without validation. */
  readonly bestEpoch: number;
  readonly stoppedEarly: boolean;
}

/** Share of the past in the running loss that divergence is told by. */
const smoothing = 0.95;
/** Training has diverged where the running loss is so many times that of the beginning (or of guessing, where that is more). */
const divergence = 3;
/** Steps before which a high loss is no sign yet. */
const graceSteps = 20;

/** What changes from step to step; with the arrays it is a checkpoint. */
interface State {
  epoch: number;
  step: number;
  sums: { loss: number; correct: number; counted: number; pictures: number; seconds: number };
  watch: { smoothed: number | null; first: number | null };
  best: Best;
  bestArrays: TrainingState[];
  curve: Epoch[];
}

/**
 * Trains, and leaves the network with the weights of its best epoch on validation (the last epoch's where there is none). From a checkpoint
 * it goes on to the same weights, bit for bit, that an unbroken run on as many threads reaches.
 *
 * Throws TesseraError ("diverged") where the loss is no number or grows, DataError ("bad-checkpoint") for a checkpoint of another run, and
 * the signal's reason when aborted; the run can then go on from what was kept.
 */
export async function fitNetwork(run: FitRun): Promise<Fitted> {
  const { settings, signal } = run;
  const state = begin(run);
  const pace = { start: performance.now(), steps: 0, kept: performance.now() };
  const finished = (): boolean => state.epoch >= settings.epochs || isOver(state.epoch - 1, state.best, settings.patience);
  let stage = -1;
  while (!finished()) {
    stage = enterStage(run, state.epoch, stage);
    while (state.step < run.loader.stepsPerEpoch) {
      await learn(run, state);
      pace.steps++;
      run.onStep?.(progressOf(run, state, pace));
      const due = run.keepSeconds !== undefined && performance.now() - pace.kept > 1000 * run.keepSeconds;
      if (!due && !signal?.aborted) continue;
      await run.keep?.(checkpointOf(run, state));
      pace.kept = performance.now();
      signal?.throwIfAborted();
    }
    await endEpoch(run, state);
    await run.keep?.(checkpointOf(run, state));
    pace.kept = performance.now();
    signal?.throwIfAborted();
  }
  enterStage(run, settings.epochs - 1, stage);
  if (run.validate !== undefined) putBack([...run.trainable.parameters, ...run.trainable.states], state.bestArrays, run.key);
  const bestEpoch = run.validate === undefined ? state.epoch - 1 : state.best.epoch;
  return { curve: state.curve, bestEpoch, stoppedEarly: state.epoch < settings.epochs };
}

function begin(run: FitRun): State {
  const { resume } = run;
  const sums = { loss: 0, correct: 0, counted: 0, pictures: 0, seconds: 0 };
  if (resume === undefined)
    return { epoch: 0, step: 0, sums, watch: { smoothed: null, first: null }, best: noneYet, bestArrays: [], curve: [] };
  if (resume.key !== run.key) throw badCheckpoint('the checkpoint', 'other settings, another network or other data were trained');
  const isBest = (name: string): boolean => name.startsWith(bestPrefix);
  putBack(
    liveArrays(run),
    resume.arrays.filter(({ name }) => !isBest(name)),
    run.key,
  );
  return {
    epoch: resume.epoch,
    step: resume.step,
    sums: { ...resume.sums },
    watch: { ...resume.watch },
    best: { epoch: resume.best.epoch, score: resume.best.score ?? Number.NEGATIVE_INFINITY },
    bestArrays: resume.arrays
      .filter(({ name }) => isBest(name))
      .map(({ name, values }) => ({ name: name.slice(bestPrefix.length), values })),
    curve: [...resume.curve],
  };
}

const bestPrefix = 'best/';

/** Everything that goes on from step to step. Parameters and an optimiser's velocities may have the same names. */
function liveArrays({ trainable, sgd }: FitRun): TrainingState[] {
  const named = (prefix: string, arrays: readonly TrainingState[]): TrainingState[] =>
    arrays.map(({ name, values }) => ({ name: `${prefix}${name}`, values }));
  return [...named('', trainable.parameters), ...named('', trainable.states), ...named('sgd/', sgd.state)];
}

function checkpointOf(run: FitRun, state: State): Checkpoint {
  const { epoch, step, sums, watch, best, curve } = state;
  const kept = state.bestArrays.map(({ name, values }) => ({ name: `${bestPrefix}${name}`, values }));
  const score = Number.isFinite(best.score) ? best.score : null;
  return { key: run.key, epoch, step, sums, watch, best: { epoch: best.epoch, score }, curve, arrays: [...liveArrays(run), ...kept] };
}

function putBack(arrays: readonly TrainingState[], from: readonly TrainingState[], where: string): void {
  const known = new Map(from.map(({ name, values }) => [name, values]));
  for (const { name, values } of arrays) {
    const found = known.get(name);
    if (found === undefined || found.length !== values.length) throw badCheckpoint('the checkpoint', `it has no ${name}`, where);
    values.set(found);
  }
}

/** Puts the patches of the epoch's stage in place, where that is not the one before. Returns the stage. */
function enterStage({ trainable, patches, settings }: FitRun, epoch: number, before: number): number {
  const stage = stageOf(epoch, settings.epochs, settings.stages);
  if (patches === undefined || stage === before) return stage;
  for (const [layer, list] of patchesOfStage(patches, stage, settings.stages, settings.seed)) trainable.setPatches(layer, list);
  return stage;
}

async function learn(run: FitRun, state: State): Promise<void> {
  const { trainable, sgd, loader, settings } = run;
  const start = performance.now();
  const steps = loader.stepsPerEpoch;
  const at = state.epoch * steps + state.step;
  const { images, count, labels } = await loader.batch(state.epoch, state.step);
  const teacher = await run.teacher?.(images, count);
  trainable.setAlpha(softStartAlpha(at, Math.round(settings.softStart * steps)));
  const targets = { ...(labels === undefined ? {} : { labels }), ...(teacher === undefined ? {} : { teacher }) };
  const ignore = loader.ignoreLabel === undefined ? {} : { ignoreLabel: loader.ignoreLabel };
  const result = await trainable.learn(images, count, targets, { ...settings.loss, ...ignore });
  const rate = learningRateAt(settings.schedule, settings.learningRate, at, settings.epochs * steps, rise(run));
  watchLoss(run, state, result.loss, at);
  await sgd.step(rate);
  const { sums } = state;
  sums.loss += result.loss * count;
  sums.correct += result.correct;
  sums.counted += result.counted;
  sums.pictures += count;
  sums.seconds += (performance.now() - start) / 1000;
  state.step++;
}

const rise = ({ settings, loader }: FitRun): number => Math.round(settings.schedule.warmUp * loader.stepsPerEpoch);

/** Throws where the loss says that the steps are too long. */
function watchLoss({ classes, settings: { learningRate } }: FitRun, { watch }: State, loss: number, at: number): void {
  watch.first ??= loss;
  watch.smoothed = watch.smoothed === null ? loss : smoothing * watch.smoothed + (1 - smoothing) * loss;
  const grown = at >= graceSteps && watch.smoothed > divergence * Math.max(watch.first, Math.log(classes));
  if (Number.isFinite(loss) && !grown) return;
  const what = Number.isFinite(loss) ? `grew from ${watch.first.toFixed(2)} to ${watch.smoothed.toFixed(2)}` : `is ${loss}`;
  throw new TesseraError(`training has diverged: the loss ${what} in step ${at + 1}`, {
    code: 'diverged',
    where: `step ${at + 1}`,
    hint: `Try --learning-rate ${Number((learningRate / 5).toPrecision(1))}, a --warm-up of an epoch, or --clip-norm 1.`,
  });
}

async function endEpoch(run: FitRun, state: State): Promise<void> {
  const { loader, settings, trainable } = run;
  const { sums, epoch } = state;
  const score = await run.validate?.();
  const last = (epoch + 1) * loader.stepsPerEpoch - 1;
  const row: Epoch = {
    epoch: epoch + 1,
    loss: sums.loss / sums.pictures,
    accuracy: sums.correct / Math.max(1, sums.counted),
    ...(score === undefined ? {} : { validation: score }),
    learningRate: learningRateAt(settings.schedule, settings.learningRate, last, settings.epochs * loader.stepsPerEpoch, rise(run)),
    seconds: sums.seconds,
    imagesPerSecond: sums.pictures / sums.seconds,
  };
  state.curve.push(row);
  // Before its last stage a network keeps more comparisons than it may: those epochs are no candidates.
  const whole = run.patches === undefined || stageOf(epoch, settings.epochs, settings.stages) === settings.stages - 1;
  if (!whole) state.best = { ...noneYet, epoch };
  else if (score !== undefined && isBetter(score, state.best)) {
    state.best = { epoch, score };
    state.bestArrays = [...trainable.parameters, ...trainable.states].map(({ name, values }) => ({ name, values: values.slice() }));
  }
  state.epoch++;
  state.step = 0;
  state.sums = { loss: 0, correct: 0, counted: 0, pictures: 0, seconds: 0 };
  run.onEpoch?.(row);
}

function progressOf({ loader, settings }: FitRun, state: State, pace: { readonly start: number; readonly steps: number }): StepProgress {
  const { epoch, step, sums } = state;
  const secondsPerStep = (performance.now() - pace.start) / 1000 / pace.steps;
  return {
    epoch,
    step,
    stepsPerEpoch: loader.stepsPerEpoch,
    loss: sums.loss / sums.pictures,
    accuracy: sums.correct / Math.max(1, sums.counted),
    imagesPerSecond: sums.pictures / sums.seconds,
    secondsLeft: secondsPerStep * ((settings.epochs - epoch) * loader.stepsPerEpoch - step),
  };
}
