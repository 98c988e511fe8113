// tessera finetune: trains a network under a spec (or with cheaper layers in place of others) until it is nearly as right as before.
import { createHash } from 'node:crypto';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Dataset, selectPictures } from '../../data/dataset.node.js';
import { shuffledOrder } from '../../data/loader.js';
import { UsageError } from '../../errors.js';
import type { Compute } from '../../kernel/compute.js';
import { forward } from '../../model/forward.js';
import { type Graph, shapeOf } from '../../model/graph.js';
import { readGraph } from '../../model/onnx.js';
import { writeOnnx } from '../../model/onnx-writer.js';
import { applyPatches, type LayerPatches } from '../../model/passes/lower.js';
import { splitOutputActivation } from '../../model/passes/reorder.js';
import { replacements } from '../../model/passes/replace.js';
import { simplify } from '../../model/passes/simplify.js';
import type { Epoch } from '../../train/checkpoint.js';
import type { TrainNetwork } from '../../train/network.js';
import { measureMoments, withBatchNorm } from '../../train/normalise.js';
import { checkLabels, type Metric, metricOf, scoreOf } from '../accuracy.js';
import { openCompute } from '../compute.js';
import { checkWritable, writeWhole } from '../files.js';
import { formatCount, formatSeconds, formatShare } from '../format.js';
import { findModel, inputShapeOf, type OnnxFile } from '../model.js';
import { type CommonOptions, createCommand, wholeNumber } from '../options.js';
import { checkShape } from '../pictures.js';
import { readSpec } from '../spec.js';
import { perform, type Task } from '../task.js';
import { openTrainingPictures, runTraining, type TrainingPictures, type TrainingPlan } from '../training.js';
import { fineTuningDefaults, numberBetween, settingsFrom, type TrainingFlags, withTraining } from '../training-options.js';
import { packageVersion } from '../version.js';

interface Distillation {
  readonly temperature: number;
  readonly weight: number;
}

export interface FinetuneOptions extends CommonOptions, TrainingFlags {
  readonly spec?: string;
  readonly replace: readonly string[];
  /** False with --no-distill. */
  readonly distill: Distillation | boolean;
  readonly softStart: number;
  readonly stages: number;
  readonly qat?: number;
  /** False with --no-batch-norm. */
  readonly batchNorm: boolean;
  readonly output: string;
}

export interface Finetuned {
  /** Score of the network as it was given: full ReLU, nothing replaced. */
  readonly original: number;
  /** Under the spec, before and after training; the latter of the file that was written. */
  readonly before: number;
  readonly after: number;
  readonly metric: Metric;
  readonly epochs: readonly Epoch[];
  readonly bestEpoch: number;
  readonly stoppedEarly: boolean;
  readonly seconds: number;
  readonly images: { readonly training: number; readonly validation: number; readonly heldOut?: number };
  readonly file: string;
  readonly spec?: string;
  /** SHA-256 of the file. */
  readonly model: string;
}

const defaultDistillation: Distillation = { temperature: 4, weight: 0.9 };

export function finetuneCommand(): Command {
  const example = 'tessera finetune net.onnx --spec spec.json --data train.json --validate test.json -o small.onnx';
  const command = createCommand('finetune', 'Train a network under a spec until it is nearly as right as before.', example)
    .argument('<model>', 'ONNX file')
    .option('--spec <file>', 'block-ReLU spec to train under')
    .addOption(
      new Option('--replace <change>', 'put a cheaper layer in place of another; may be given more than once')
        .choices(Object.keys(replacements))
        .argParser((text: string, before: readonly string[]) => [...before, replacementFrom(text)])
        .default([]),
    )
    .requiredOption('--data <path>', 'training pictures: a folder, records, or a dataset descriptor')
    .addOption(
      new Option('--distill <T,weight>', 'learn from the network as it was at temperature T, and (1 - weight) from labels')
        .argParser(distillationFrom)
        .default(true, '4,0.9'),
    )
    .option('--no-distill', 'learn from labels alone')
    .addOption(new Option('--soft-start <epochs>', 'over which plain ReLU fades').argParser(numberBetween(0, 1e4)).default(0))
    .addOption(new Option('--stages <n>', 'stages over which the spec comes in').argParser(wholeNumber(1, 1000)).default(1))
    .option('--no-batch-norm', 'train biases as they are, instead of batch norm put back behind the convolutions')
    .addOption(new Option('--qat <bits>', 'imitate the fixed point of a ring of so many bits').argParser(wholeNumber(16, 32)));
  return withTraining(command)
    .requiredOption('-o, --output <file>', 'ONNX file to write; its spec is put beside it as .spec.json')
    .action((path: string, options: FinetuneOptions) =>
      perform(options, async (task) => {
        const finetuned = await finetune(path, options, task, await openCompute(task, options.threads));
        task.output.result(finetuned, () => describe(finetuned));
      }),
    );
}

function replacementFrom(text: string): string {
  if (text in replacements) return text;
  throw new InvalidArgumentError(`It is one of ${Object.keys(replacements).join(', ')}.`);
}

function distillationFrom(text: string): Distillation {
  const [temperature = Number.NaN, weight = defaultDistillation.weight] = text.split(',').map(Number);
  if (temperature > 0 && temperature <= 100 && weight > 0 && weight <= 1) return { temperature, weight };
  throw new InvalidArgumentError('It is like 4,0.9: a temperature, and a weight from 0 to 1.');
}

/** Fine-tunes as the flags say, and writes the network and its spec. */
export async function finetune(path: string, options: FinetuneOptions, task: Task, compute: Compute): Promise<Finetuned> {
  const { onnx } = await findModel(path);
  if (onnx === undefined) {
    const hint = 'Give the ONNX file: a compiled model has no float network left.';
    throw new UsageError('a compiled model cannot be trained', { code: 'usage', where: path, hint });
  }
  if (options.spec === undefined && options.replace.length === 0) {
    const hint = 'Give --spec spec.json, --replace maxpool=averagepool or both; tessera train trains from scratch.';
    throw new UsageError('there is nothing to fine-tune to', { code: 'usage', where: '--spec', hint });
  }
  await checkWritable(options.output);
  const pictures = await openTrainingPictures(options, task);
  const work = await prepare(onnx, pictures, options, task, compute);
  const { original, patches } = work;
  const trained = await runTraining(work.plan, task, compute);
  const bytes = writeOnnx(simplify(trained.graph));
  const model = createHash('sha256').update(bytes).digest('hex');
  const after = await work.score(applyPatches(simplify(readGraph(bytes)), patches ?? new Map()));
  await writeWhole(options.output, bytes);
  const spec = patches === undefined ? undefined : options.output.replace(/(\.onnx)?$/, '.spec.json');
  if (spec !== undefined && patches !== undefined) {
    const made = { ...work.made, finetuned: { from: onnx.hash, version: packageVersion() } };
    await writeWhole(spec, `${JSON.stringify({ schema: 'tessera/spec@1', model, made, layers: Object.fromEntries(patches) })}\n`);
  }
  const { metric, before, epochs, bestEpoch, stoppedEarly, seconds } = trained;
  const { train, validation, heldOut } = pictures;
  return {
    ...{ original, before, after, metric, epochs, bestEpoch, stoppedEarly, seconds },
    images: { training: train.count, validation: validation.count, ...(heldOut === undefined ? {} : { heldOut }) },
    ...{ file: options.output, ...(spec === undefined ? {} : { spec }), model },
  };
}

interface Work {
  readonly plan: TrainingPlan;
  /** Score of the network as it was given. */
  readonly original: number;
  /** Of any network, on the validation pictures. */
  score(graph: Graph): Promise<number>;
  readonly patches?: LayerPatches;
  readonly made: object;
}

/** Reads network and spec, checks that pictures fit, and plans the run. */
async function prepare(
  onnx: OnnxFile,
  pictures: TrainingPictures,
  options: FinetuneOptions,
  { output, signal }: Task,
  compute: Compute,
): Promise<Work> {
  const { train, validation } = pictures;
  const full = simplify(onnx.readGraph(inputShapeOf(onnx, { dataset: train })));
  for (const dataset of [train, validation]) checkShape(dataset, full.input.shape);
  const given = options.replace.reduce((graph, name) => replacements[name]!(graph), full);
  const spec = options.spec === undefined ? undefined : await readSpec(options.spec, onnx.hash);
  const under = applyPatches(given, spec?.patches ?? new Map());
  if (spec !== undefined && spec.windows.size > 0) {
    output.note('The windows of the spec are of the network as it was: they are left out, choose them for the new one.');
  }
  const outputs = shapeOf(given, given.output)[0] ?? 1;
  metricOf(validation, options.validate ?? options.data);
  checkLabels(train, outputs, options.data);
  checkLabels(validation, outputs, options.validate ?? options.data);
  const distillation = distillationOf(train, options);
  const noise = options.qat === undefined ? undefined : { ringBits: options.qat };
  const score: Work['score'] = (graph) => scoreOf(validation, outputs, (images, count) => forward(compute, graph, images, count), signal);
  const original = await score(full);
  const network = options.batchNorm ? await normalise(compute, full, given, under, train) : given;
  const plan: TrainingPlan = {
    before: await score(under),
    ...{ network, outputs, train, validation, settings: settingsFrom(options, fineTuningDefaults(train)) },
    ...(spec === undefined ? {} : { patches: spec.patches }),
    ...{ softStart: options.softStart, stages: options.stages },
    ...(distillation === undefined ? {} : { teacher: { graph: splitOutputActivation(full).graph, ...distillation } }),
    ...(noise === undefined ? {} : { noise }),
    key: [onnx.fullHash(), spec?.hash ?? null, options.replace, options.batchNorm],
    ...(options.checkpoint === undefined ? {} : { checkpoint: options.checkpoint }),
    ...{ resume: options.resume, keepSeconds: options.checkpointSeconds },
  };
  return { plan, original, score, made: spec?.made ?? {}, ...(spec === undefined ? {} : { patches: spec.patches }) };
}

/** Pictures that batch norm's statistics begin from. */
const normCalibration = 256;

/** What is given with batch norm behind its convolutions, which brings channels back to the moments they had in the full network. */
async function normalise(
  compute: Compute,
  full: Graph,
  given: Graph,
  under: Graph,
  train: TrainingPictures['train'],
): Promise<TrainNetwork> {
  const count = Math.min(normCalibration, train.count);
  // Drawn, because folders are sorted by class.
  const images = await selectPictures(train, [...shuffledOrder(train.count, 0, 0).subarray(0, count)]).read(0, count);
  return withBatchNorm(given, await measureMoments(compute, full, images, count), await measureMoments(compute, under, images, count));
}

/** What is learned from the network as it was: without labels, everything. */
function distillationOf({ labels, annotation }: Dataset, { distill, data }: FinetuneOptions): Distillation | undefined {
  const labelled = labels !== undefined || annotation !== undefined;
  if (distill === true) return labelled ? defaultDistillation : { ...defaultDistillation, weight: 1 };
  if (labelled || (distill !== false && distill.weight === 1)) return distill === false ? undefined : distill;
  const hint = 'Give labels, or learn from the network as it was: --distill 4,1.';
  throw new UsageError('the training pictures have no labels', { code: 'no-labels', where: data, hint });
}

function describe({ original, before, after, metric, epochs, bestEpoch, seconds, images, file, spec }: Finetuned): string {
  const name = metric === 'miou' ? 'mean IoU' : 'top-1';
  const lost = original - before;
  const share = lost > 0 ? `; ${formatShare((after - before) / lost)} of what was lost is won back` : '';
  return [
    `${name} on ${formatCount(images.validation)} pictures: ${formatShare(original)} as given, ${formatShare(before)} before, ${formatShare(after)} after${share}`,
    `${formatCount(images.training)} training pictures, ${epochs.length} epochs (best: ${bestEpoch}), in ${formatSeconds(seconds)}`,
    file,
    ...(spec === undefined ? [] : [spec]),
  ].join('\n');
}
