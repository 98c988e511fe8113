// tessera train: a network from scratch, as a recipe says.
import { createHash } from 'node:crypto';
import { dirname, isAbsolute, join } from 'node:path';
import type { Command } from 'commander';
import { readFileOrExplain } from '../../data/picture.node.js';
import { DataError, UsageError } from '../../errors.js';
import type { Compute } from '../../kernel/compute.js';
import { forward } from '../../model/forward.js';
import { readGraph } from '../../model/onnx.js';
import { writeOnnx } from '../../model/onnx-writer.js';
import { simplify } from '../../model/passes/simplify.js';
import { buildArchitecture } from '../../train/architectures.js';
import type { Epoch } from '../../train/checkpoint.js';
import type { TrainNetwork } from '../../train/network.js';
import { parseRecipe, type Recipe } from '../../train/recipe.js';
import { checkLabels, type Metric, metricOf, scoreOf } from '../accuracy.js';
import { openCompute } from '../compute.js';
import { checkWritable, writeWhole } from '../files.js';
import { formatCount, formatSeconds, formatShare } from '../format.js';
import { type CommonOptions, createCommand } from '../options.js';
import { checkShape } from '../pictures.js';
import { trainingOf, writeTrainingPage } from '../report/training.js';
import { perform, type Task } from '../task.js';
import { openTrainingPictures, runTraining } from '../training.js';
import { settingsFrom, type TrainingFlags, withTraining } from '../training-options.js';

interface TrainOptions extends CommonOptions, Omit<TrainingFlags, 'data'> {
  readonly data?: string;
  readonly output: string;
}

interface TrainedNetwork {
  readonly before: number;
  /** Of the file that was written. */
  readonly after: number;
  readonly metric: Metric;
  readonly epochs: readonly Epoch[];
  readonly bestEpoch: number;
  readonly stoppedEarly: boolean;
  readonly seconds: number;
  readonly images: { readonly training: number; readonly validation: number; readonly heldOut?: number };
  readonly architecture: string;
  readonly file: string;
  /** SHA-256 of the file. */
  readonly model: string;
}

export function trainCommand(): Command {
  const example = 'tessera train models/recipes/cifar10-resnet20.json --data train.json --validate test.json -o resnet20.onnx';
  const command = createCommand('train', 'Train a network from scratch, as a recipe says; flags overrule it.', example)
    .argument('<recipe>', 'JSON file: architecture, epochs, learning rate and so on')
    .option('--data <path>', 'training pictures: a folder, records, or a dataset descriptor');
  return withTraining(command)
    .requiredOption('-o, --output <file>', 'ONNX file to write')
    .action((path: string, options: TrainOptions) =>
      perform(options, async (task) => {
        if (options.report !== undefined) await checkWritable(options.report);
        const trained = await train(path, options, task, await openCompute(task, options.threads, { joined: true }));
        const report = options.report === undefined ? {} : { report: options.report };
        if (options.report !== undefined) await writeWhole(options.report, await pageOf(path, trained));
        task.output.result({ ...trained, ...report }, () => describe(trained));
      }),
    );
}

function pageOf(path: string, trained: TrainedNetwork): Promise<string> {
  const { architecture, metric, file, model } = trained;
  const facts = [['recipe', path] as const, ['written', file] as const, ['hash', model] as const];
  return writeTrainingPage({ name: architecture, metric, training: trainingOf(trained), summary: describe(trained), facts });
}

async function train(path: string, options: TrainOptions, task: Task, compute: Compute): Promise<TrainedNetwork> {
  const bytes = await readFileOrExplain(path);
  const recipe = parseRecipe(new TextDecoder().decode(bytes), path);
  const at = (place: string | undefined): string | undefined =>
    place === undefined || isAbsolute(place) ? place : join(dirname(path), place);
  const data = options.data ?? at(recipe.data);
  const validate = options.validate ?? at(recipe.validate);
  if (data === undefined) {
    const hint = 'Give --data train.json.';
    throw new UsageError(`neither the call nor ${path} names training pictures`, { code: 'usage', where: '--data', hint });
  }
  await checkWritable(options.output);
  const flags: TrainingFlags = { ...options, data, ...(validate === undefined ? {} : { validate }) };
  const pictures = await openTrainingPictures(flags, task);
  const classes = recipe.classes ?? pictures.train.classes?.length ?? 1 + Math.max(...(pictures.train.labels ?? [0]));
  const settings = settingsFrom(flags, recipe);
  const network = build(recipe, classes, settings.seed, path);
  for (const [dataset, where] of [
    [pictures.train, data],
    [pictures.validation, validate ?? data],
  ] as const) {
    checkShape(dataset, network.input.shape);
    checkLabels(dataset, classes, where);
    metricOf(dataset, where);
  }
  const hash = createHash('sha256').update(bytes).digest('hex');
  const plan = {
    ...{ network, outputs: classes, train: pictures.train, validation: pictures.validation, settings, key: [hash] },
    ...(options.checkpoint === undefined ? {} : { checkpoint: options.checkpoint }),
    ...{ resume: options.resume, keepSeconds: options.checkpointSeconds },
  };
  const { graph, ...trained } = await runTraining(plan, task, compute);
  const file = writeOnnx(simplify(graph));
  const written = readGraph(file);
  const after = await scoreOf(pictures.validation, classes, (images, count) => forward(compute, written, images, count), task.signal);
  await writeWhole(options.output, file);
  const { heldOut } = pictures;
  return {
    ...trained,
    after,
    images: { training: pictures.train.count, validation: pictures.validation.count, ...(heldOut === undefined ? {} : { heldOut }) },
    architecture: recipe.architecture,
    file: options.output,
    model: createHash('sha256').update(file).digest('hex'),
  };
}

function build({ architecture }: Recipe, classes: number, seed: number, where: string): TrainNetwork {
  try {
    return buildArchitecture(architecture, { classes, seed });
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new DataError(`${where}: ${cause.message}`, {
      code: 'bad-recipe',
      where,
      hint: 'docs/training.md lists the architectures.',
      cause,
    });
  }
}

function describe({ before, after, metric, epochs, bestEpoch, seconds, images, architecture, file }: TrainedNetwork): string {
  const name = metric === 'miou' ? 'mean IoU' : 'top-1';
  return [
    `${architecture}: ${name} on ${formatCount(images.validation)} pictures ${formatShare(after)} (${formatShare(before)} before training)`,
    `${formatCount(images.training)} training pictures, ${epochs.length} epochs (best: ${bestEpoch}), in ${formatSeconds(seconds)}`,
    file,
  ].join('\n');
}
