// Flags that training commands share, and the settings they stand for.
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Augmentation } from '../data/augment.js';
import type { Dataset } from '../data/dataset.node.js';
import { parseAugmentation, type TrainingSettings } from '../train/recipe.js';
import { defaultSchedule, type Schedule } from '../train/schedule.js';
import { wholeNumber } from './options.js';
import type { TrainingPictureOptions } from './training.js';

export interface TrainingFlags extends TrainingPictureOptions {
  readonly epochs?: number;
  readonly learningRate?: number;
  readonly batchSize?: number;
  readonly momentum?: number;
  readonly nesterov?: boolean;
  readonly weightDecay?: number;
  readonly schedule?: Schedule['kind'];
  readonly warmUp?: number;
  readonly labelSmoothing?: number;
  readonly clipNorm?: number;
  readonly patience?: number;
  readonly augment?: Augmentation;
  readonly checkpoint?: string;
  readonly checkpointSeconds: number;
  readonly resume: boolean;
  /** HTML file for the run's curves. */
  readonly report?: string;
}

/** Reads a number in [low, high]. */
export function numberBetween(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && value >= low && value <= high) return value;
    throw new InvalidArgumentError(`It has to be a number from ${low} to ${high}.`);
  };
}

function augmentationFrom(text: string): Augmentation {
  try {
    return parseAugmentation(text);
  } catch (error) {
    throw new InvalidArgumentError(`It is like crop=4,flip,cutout=8,colour=0.2, or none (${(error as Error).message}).`);
  }
}

/** Adds the flags of every training command; where one is left out, the recipe or the command's own default holds. */
export function withTraining(command: Command): Command {
  return command
    .addOption(new Option('--validate <path>', 'pictures to validate on; else a tenth of --data is set apart'))
    .addOption(new Option('--limit <n>', 'train on at most so many pictures').argParser(wholeNumber(1)))
    .addOption(new Option('--validate-limit <n>', 'validate on at most so many').argParser(wholeNumber(1)))
    .option('--preprocess <descriptor>', 'preprocessing for pictures that state none')
    .addOption(new Option('--epochs <n>', 'times all pictures are gone through').argParser(wholeNumber(1, 1e6)))
    .addOption(new Option('--learning-rate <rate>', 'length of a step').argParser(numberBetween(1e-9, 1e3)))
    .addOption(new Option('--batch-size <n>', 'pictures in a step').argParser(wholeNumber(1, 65536)))
    .addOption(new Option('--momentum <share>', 'of the last step in the next').argParser(numberBetween(0, 0.9999)))
    .option('--nesterov', "Nesterov's momentum")
    .addOption(new Option('--weight-decay <factor>', 'pulls weights towards 0').argParser(numberBetween(0, 10)))
    .addOption(new Option('--schedule <kind>', 'how the learning rate falls').choices(['cosine', 'step', 'constant']))
    .addOption(new Option('--warm-up <epochs>', 'over which the learning rate rises').argParser(numberBetween(0, 1e4)))
    .addOption(new Option('--label-smoothing <share>', 'of a label that all classes get alike').argParser(numberBetween(0, 0.99)))
    .addOption(new Option('--clip-norm <norm>', 'shorten gradients to this length').argParser(numberBetween(1e-6, 1e9)))
    .addOption(new Option('--patience <epochs>', 'end after so many without a better validation').argParser(wholeNumber(1)))
    .addOption(new Option('--augment <list>', 'crop=PIXELS,flip,cutout=PIXELS,colour=SHARE or none').argParser(augmentationFrom))
    .addOption(new Option('--seed <n>', 'of orders and augmentation').argParser(wholeNumber(0, 2 ** 32 - 1)).default(1))
    .option('--checkpoint <folder>', 'keep what a killed run goes on from')
    .addOption(new Option('--checkpoint-seconds <s>', 'between two checkpoints').argParser(numberBetween(0, 1e6)).default(60))
    .option('--report <file>', 'also write the curves of the run as an HTML page')
    .option('--resume', 'go on from the checkpoint, where there is one', false);
}

/** Settings of `base`, overruled by flags. */
export function settingsFrom(flags: TrainingFlags, base: TrainingSettings): TrainingSettings {
  const { epochs, learningRate, batchSize, momentum, nesterov, weightDecay, labelSmoothing, clipNorm, patience, augment, seed } = flags;
  return {
    epochs: epochs ?? base.epochs,
    batchSize: batchSize ?? base.batchSize,
    learningRate: learningRate ?? base.learningRate,
    schedule: { ...base.schedule, kind: flags.schedule ?? base.schedule.kind, warmUp: flags.warmUp ?? base.schedule.warmUp },
    momentum: momentum ?? base.momentum,
    nesterov: nesterov ?? base.nesterov,
    weightDecay: weightDecay ?? base.weightDecay,
    labelSmoothing: labelSmoothing ?? base.labelSmoothing,
    ...((clipNorm ?? base.clipNorm) === undefined ? {} : { clipNorm: clipNorm ?? base.clipNorm }),
    ...((patience ?? base.patience) === undefined ? {} : { patience: patience ?? base.patience }),
    augmentation: augment ?? base.augmentation,
    seed,
  };
}

/** Fine-tuning's defaults. Colour pictures are shifted by an eighth of their side and mirrored, grey ones (digits) only shifted a little. */
export function fineTuningDefaults({ shape: [planes, height] }: Pick<Dataset, 'shape'>, batchNorm: boolean): TrainingSettings {
  const augmentation = planes === 1 ? { crop: Math.ceil(height / 16) } : { crop: Math.ceil(height / 8), flip: true };
  return {
    ...{ epochs: 8, batchSize: 64, learningRate: batchNorm ? 0.03 : 0.003, schedule: defaultSchedule, momentum: 0.9, nesterov: false },
    ...{ weightDecay: 0, labelSmoothing: 0, clipNorm: 1, augmentation, seed: 1 },
  };
}
