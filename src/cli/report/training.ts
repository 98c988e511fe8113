// What a training run looks like: its curves, in the report of `optimize` and on a page of their own for `train` and `finetune`.
import type { Epoch } from '../../train/checkpoint.js';
import { formatCount, formatSeconds, formatShare } from '../format.js';
import { packageVersion } from '../version.js';
import type { Training } from './data.js';
import { advice, figure, htmlPage, section } from './html.js';
import { type LinePlot, linePlot } from './plots.js';
import { metricWords } from './recommend.js';
import { table } from './tables.js';

type Metric = keyof typeof metricWords;

/** A run as `train` and `finetune` answer it. */
export interface TrainingReport {
  /** Of the network. */
  readonly name: string;
  readonly metric: Metric;
  readonly training: Training;
  /** What the run comes to, in lines for a person. */
  readonly summary: string;
  /** What else is to be known of it, by name. */
  readonly facts: readonly (readonly [string, string])[];
}

/** The part of an answer that is drawn. */
export function trainingOf(trained: Omit<Training, 'images'> & { readonly images: { readonly training: number } }): Training {
  const { epochs, before, corrected, after, bestEpoch, seconds, images } = trained;
  return { epochs, before, after, bestEpoch, seconds, images: images.training, ...(corrected === undefined ? {} : { corrected }) };
}

function curveOf(epochs: readonly Epoch[], value: (epoch: Epoch) => number | undefined): [number, number][] {
  return epochs.map((epoch) => [epoch.epoch, value(epoch) ?? Number.NaN]);
}

const alongEpochs = (epochs: readonly Epoch[]): Pick<LinePlot, 'width' | 'height' | 'x'> => ({
  width: 560,
  height: 260,
  x: {
    label: 'epoch',
    format: 'd',
    domain: [0, Math.max(1, epochs.length)],
    ticks: epochs.map(({ epoch }) => epoch).filter((epoch) => epoch % Math.ceil(epochs.length / 12) === 0),
  },
});

/** Scores by epoch; validation begins with that of the network training found. */
function scorePlot({ epochs, before, corrected }: Training, metric: Metric): Promise<string> {
  return linePlot({
    ...alongEpochs(epochs),
    title: 'Scores by epoch',
    description: 'Scores after every epoch on training and validation pictures.',
    y: { label: metricWords[metric], format: '.0%' },
    series: [
      { name: 'validation', points: [[0, corrected ?? before], ...curveOf(epochs, ({ validation }) => validation)] },
      {
        name: metric === 'miou' ? 'training, pixels right' : 'training',
        points: curveOf(epochs, ({ accuracy }) => accuracy),
        dashed: true,
      },
    ],
  });
}

function lossPlot({ epochs }: Training): Promise<string> {
  return linePlot({
    ...alongEpochs(epochs),
    title: 'Loss by epoch',
    description: 'Mean loss of the training pictures in every epoch.',
    y: { label: 'loss', format: '~g' },
    series: [{ name: 'training', points: curveOf(epochs, ({ loss }) => loss) }],
  });
}

/** The curves of a run. */
export async function trainingFigures(training: Training, metric: Metric): Promise<string> {
  const { before, corrected, after, bestEpoch, epochs, images } = training;
  const begun =
    corrected === undefined ? `${formatShare(before)} before` : `${formatShare(before)} before, ${formatShare(corrected)} corrected`;
  const seconds = epochs.reduce((sum, epoch) => sum + epoch.seconds, 0);
  const chosen =
    bestEpoch === 0
      ? `without training, which was better than each of ${epochs.length} epochs`
      : `after epoch ${bestEpoch} of ${epochs.length}`;
  const scores = `${begun}, ${formatShare(after)} ${chosen}, on ${formatCount(images)} training pictures in ${formatSeconds(seconds)}. Training pictures are scored as they are augmented, while the network changes: they may score less than validation. The validation pictures chose the epoch, which flatters the result a little.`;
  const losses =
    'Mean over the steps of an epoch of what training makes small: with distillation, mostly the distance from the uncompressed network.';
  return figure(await scorePlot(training, metric), scores) + figure(await lossPlot(training), losses);
}

/** The page of one run. Everything that comes from files or flags is escaped. */
export async function writeTrainingPage({ name, metric, training, summary, facts }: TrainingReport): Promise<string> {
  const rows = training.epochs.map(({ epoch, loss, accuracy, validation, learningRate, seconds, imagesPerSecond }) => [
    ...[String(epoch), loss.toFixed(4), formatShare(accuracy), validation === undefined ? '' : formatShare(validation)],
    ...[learningRate.toPrecision(2), formatSeconds(seconds), imagesPerSecond.toFixed(0)],
  ]);
  const head = ['epoch', 'loss', 'training', 'validation', 'learning rate at the end', 'time', 'images/s'];
  const parts = [
    ...summary.split('\n').slice(0, 1).map(advice),
    section('curves', 'Curves', await trainingFigures(training, metric)),
    section('epochs', 'Epochs', table(head, rows, '', String(training.bestEpoch))),
    section('made', 'How this was made', table(['', ''], [...facts, ['made by', `tessera ${packageVersion()}`]], 'facts')),
  ];
  return htmlPage(`${name}: training`, parts.join('\n'));
}
