// A training run of the command line: pictures, progress, checkpoints and scores around the training loop.
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Dataset, loadDataset, readPreprocessing, selectPictures } from '../data/dataset.node.js';
import { createDecoder } from '../data/decoder.node.js';
import { createLoader, shuffledOrder } from '../data/loader.js';
import { readFileOrExplain } from '../data/picture.node.js';
import { kindOf } from '../data/sources.node.js';
import { DataError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import { forward } from '../model/forward.js';
import type { Graph } from '../model/graph.js';
import type { LayerPatches } from '../model/passes/lower.js';
import { type Checkpoint, decodeCheckpoint, type Epoch, encodeCheckpoint } from '../train/checkpoint.js';
import { type FitRun, type Fitted, fitNetwork, type StepProgress } from '../train/fit.js';
import type { TrainNetwork } from '../train/network.js';
import type { TrainingSettings } from '../train/recipe.js';
import { createSgd } from '../train/sgd.js';
import { type NoiseOptions, openTrainable, type Trainable } from '../train/trainable.js';
import { type Metric, metricOf, scoreOf } from './accuracy.js';
import { writeWhole } from './files.js';
import { formatShare } from './format.js';
import type { Task } from './task.js';

export interface Teacher {
  readonly graph: Graph;
  readonly weight: number;
  readonly temperature: number;
  /** Its scores of batches that were seen before, for who trains on the same batches many times: a fifth of a step. */
  readonly remembered?: Map<string, Float32Array>;
}

/** What is trained on what. */
export interface TrainingPlan {
  readonly network: TrainNetwork;
  /** Scores the network gives, for a picture or for each of its pixels. */
  readonly outputs: number;
  readonly train: Dataset;
  readonly validation: Dataset;
  readonly settings: TrainingSettings;
  /** Patches of a spec, by layer. */
  readonly patches?: LayerPatches;
  readonly softStart?: number;
  readonly stages?: number;
  /** The uncompressed network, for distillation. */
  readonly teacher?: Teacher;
  readonly noise?: NoiseOptions;
  /** What else tells this run from others: hashes of the network and of the spec. */
  readonly key: readonly unknown[];
  /** Folder of the checkpoint, and whether to go on from it. */
  readonly checkpoint?: string;
  readonly resume: boolean;
  /** Score to be beaten; that of the network as training finds it where absent. */
  readonly before?: number;
  /** Seconds between two checkpoints; one is kept after every epoch anyway. */
  readonly keepSeconds: number;
}

/** What training gives, and what its JSON says of it. */
export interface Trained {
  readonly graph: Graph;
  readonly metric: Metric;
  /** Score before training (under the spec). */
  readonly before: number;
  readonly epochs: readonly Epoch[];
  readonly bestEpoch: number;
  readonly stoppedEarly: boolean;
  /** Of this process; what an earlier one had done is not in it. */
  readonly seconds: number;
}

/** Trains as planned. On Ctrl-C the step under way ends and a checkpoint is kept before the command ends. */
export async function runTraining(plan: TrainingPlan, task: Task, compute: Compute): Promise<Trained> {
  const { settings, validation } = plan;
  const resume = plan.resume ? await readCheckpoint(plan) : undefined;
  const trainable = await openTrainable(compute, plan.network, {
    seed: settings.seed,
    ...(plan.noise === undefined ? {} : { noise: plan.noise }),
  });
  for (const [layer, patches] of plan.patches ?? []) trainable.setPatches(layer, patches);
  const validate = (): Promise<number> =>
    scoreOf(validation, plan.outputs, (images, count) => trainable.predict(images, count), task.signal);
  const start = performance.now();
  const before = plan.before ?? (await validate());
  const { momentum, nesterov, weightDecay, clipNorm } = settings;
  const sgd = createSgd(compute, trainable.parameters, {
    momentum,
    nesterov,
    weightDecay,
    ...(clipNorm === undefined ? {} : { clipNorm }),
  });
  if (plan.checkpoint !== undefined) await mkdir(plan.checkpoint, { recursive: true });
  const display = showProgress(plan, task);
  const fitting = fitNetwork({
    ...runOf(plan, trainable, compute),
    sgd,
    validate,
    signal: task.signal,
    ...(resume === undefined ? {} : { resume }),
    onStep: display.step,
    onEpoch: display.epoch,
  });
  // The command waits for the checkpoint of an interrupted run; only then its threads end.
  task.atEnd(() => fitting.then(() => {}).catch(() => {}));
  let fitted: Fitted;
  try {
    fitted = await fitting;
  } finally {
    display.end();
  }
  const graph = trainable.toGraph();
  sgd.close();
  trainable.close();
  const seconds = (performance.now() - start) / 1000;
  const { curve, bestEpoch, stoppedEarly } = fitted;
  return { graph, metric: metricOf(validation, 'validation'), before, epochs: curve, bestEpoch: bestEpoch + 1, stoppedEarly, seconds };
}

/** The parts of a run that follow from the plan alone. */
function runOf(plan: TrainingPlan, trainable: Trainable, compute: Compute): Omit<FitRun, 'sgd'> {
  const { settings, teacher, patches } = plan;
  const { batchSize, augmentation, seed, epochs, learningRate, schedule, labelSmoothing, patience } = settings;
  const distillation = teacher === undefined ? {} : { distillation: { weight: teacher.weight, temperature: teacher.temperature } };
  const file = plan.checkpoint === undefined ? undefined : checkpointFile(plan.checkpoint);
  return {
    trainable,
    loader: createLoader(plan.train, { batchSize, augmentation, seed, classes: plan.outputs }),
    settings: {
      ...{ epochs, learningRate, schedule, seed, loss: { labelSmoothing, ...distillation } },
      ...{ softStart: plan.softStart ?? 0, stages: plan.stages ?? 1, ...(patience === undefined ? {} : { patience }) },
    },
    classes: plan.outputs,
    key: keyOf(plan),
    ...(patches === undefined ? {} : { patches }),
    ...(teacher === undefined ? {} : { teacher: scoresOf(teacher, compute) }),
    ...(file === undefined
      ? {}
      : { keep: (checkpoint: Checkpoint) => writeWhole(file, encodeCheckpoint(checkpoint)), keepSeconds: plan.keepSeconds }),
  };
}

function scoresOf({ graph, remembered }: Teacher, compute: Compute): NonNullable<FitRun['teacher']> {
  if (remembered === undefined) return (images, count) => forward(compute, graph, images, count);
  return async (images, count) => {
    const batch = createHash('sha256').update(images).digest('base64');
    const scores = remembered.get(batch) ?? (await forward(compute, graph, images, count));
    remembered.set(batch, scores);
    return scores;
  };
}

const checkpointFile = (folder: string): string => join(folder, 'training.checkpoint');

async function readCheckpoint({ checkpoint }: TrainingPlan): Promise<Checkpoint | undefined> {
  if (checkpoint === undefined || (await kindOf(checkpointFile(checkpoint))) === 'nothing') return undefined;
  return decodeCheckpoint(await readFileOrExplain(checkpointFile(checkpoint)), checkpointFile(checkpoint));
}

/** Two runs with the same key take the same steps. */
function keyOf({ settings, train, validation, softStart, stages, teacher, noise, key }: TrainingPlan): string {
  const data = [train, validation].map(({ count, names, labels, shape, preprocessing }) => [count, names, labels, shape, preprocessing]);
  const distilled = teacher === undefined ? null : [teacher.weight, teacher.temperature];
  return createHash('sha256')
    .update(JSON.stringify([settings, data, softStart ?? 0, stages ?? 1, distilled, noise ?? null, key]))
    .digest('hex');
}

interface Display {
  step(progress: StepProgress): void;
  epoch(epoch: Epoch): void;
  end(): void;
}

function showProgress({ settings }: TrainingPlan, { output }: Task): Display {
  let progress: ReturnType<typeof output.progress> | undefined;
  return {
    step: ({ epoch, step, stepsPerEpoch, loss, accuracy, imagesPerSecond }) => {
      progress ??= output.progress('training', settings.epochs * stepsPerEpoch);
      const detail = `epoch ${epoch + 1}, loss ${loss.toFixed(3)}, ${formatShare(accuracy)} right, ${imagesPerSecond.toFixed(0)} images/s`;
      progress.update(epoch * stepsPerEpoch + step, detail);
    },
    epoch: ({ epoch, loss, accuracy, validation, seconds }) => {
      const validated = validation === undefined ? '' : `, validation ${formatShare(validation)}`;
      output.note(
        `epoch ${epoch} of ${settings.epochs}: loss ${loss.toFixed(4)}, training ${formatShare(accuracy)}${validated}, ${seconds.toFixed(1)} s`,
      );
    },
    end: () => progress?.end(),
  };
}

export interface TrainingPictures {
  readonly train: Dataset;
  readonly validation: Dataset;
  /** How many training pictures were set apart for validation, where none were given for that. */
  readonly heldOut?: number;
}

export interface TrainingPictureOptions {
  readonly data: string;
  readonly validate?: string;
  readonly limit?: number;
  readonly validateLimit?: number;
  /** Descriptor with the preprocessing of pictures that state none. */
  readonly preprocess?: string;
  readonly seed: number;
  /** Threads that picture files are decoded on, beside those that compute. */
  readonly threads: number;
}

/** Share of the training pictures that is set apart where none are given for validation, and the most that are. */
const heldOutShare = 0.1;
const mostHeldOut = 5000;

/**
 * Opens training and validation pictures; without the latter, sets some of the former apart, drawn from the seed.
 * @throws DataError where one cannot be read, or is too small to be divided.
 */
export async function openTrainingPictures(options: TrainingPictureOptions, { output, atEnd }: Task): Promise<TrainingPictures> {
  const { decode, close } = createDecoder(options.threads);
  atEnd(close);
  const { preprocessing } = options.preprocess === undefined ? {} : await readPreprocessing(options.preprocess);
  const shared = { decode, ...(preprocessing === undefined ? {} : { preprocessing }) };
  const limited = (limit: number | undefined): object => (limit === undefined ? shared : { limit, ...shared });
  const train = await loadDataset(options.data, limited(options.limit));
  if (!train.preprocessingStated)
    output.note('No preprocessing is stated: the network is fed pixel / 255. Give --preprocess to change that.');
  if (options.validate !== undefined) {
    return { train, validation: await loadDataset(options.validate, limited(options.validateLimit)) };
  }
  const count = Math.min(mostHeldOut, options.validateLimit ?? mostHeldOut, Math.ceil(heldOutShare * train.count));
  if (count >= train.count) {
    const hint = 'Give more pictures, or others with --validate.';
    throw new DataError(`one picture cannot be both trained and validated on`, { code: 'bad-data', where: options.data, hint });
  }
  const order = [...shuffledOrder(train.count, options.seed, 0)];
  return {
    train: selectPictures(
      train,
      order.slice(count).sort((a, b) => a - b),
    ),
    validation: selectPictures(
      train,
      order.slice(0, count).sort((a, b) => a - b),
    ),
    heldOut: count,
  };
}
