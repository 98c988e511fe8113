// Fine-tuning of a network under a spec, from files to files. Not here: flags, and the training itself.
import { correct } from '../block/correct.js';
import { type Dataset, selectPictures } from '../data/dataset.node.js';
import { shuffledOrder } from '../data/loader.js';
import { UsageError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import { forward } from '../model/forward.js';
import { type Graph, shapeOf, sizeOf } from '../model/graph.js';
import { readGraph } from '../model/onnx.js';
import { writeOnnx } from '../model/onnx-writer.js';
import { applyPatches, type LayerPatches } from '../model/passes/lower.js';
import { splitOutputActivation } from '../model/passes/reorder.js';
import { replacements } from '../model/passes/replace.js';
import { simplify } from '../model/passes/simplify.js';
import type { LayerWindows } from '../model/spec.js';
import type { Epoch } from '../train/checkpoint.js';
import type { TrainNetwork } from '../train/network.js';
import { measureMoments, withBatchNorm } from '../train/normalise.js';
import { checkLabels, type Metric, metricOf, scoreOf } from './accuracy.js';
import { checkWritable } from './files.js';
import { findModel, inputShapeOf, type OnnxFile } from './model.js';
import { type NetworkFiles, writeNetwork } from './network-files.js';
import type { CommonOptions } from './options.js';
import { checkShape } from './pictures.js';
import { readSpec } from './spec.js';
import type { Task } from './task.js';
import { openTrainingPictures, runTraining, type Teacher, type Trained, type TrainingPictures, type TrainingPlan } from './training.js';
import { fineTuningDefaults, settingsFrom, type TrainingFlags } from './training-options.js';
import { packageVersion } from './version.js';

export interface Distillation {
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
  /** Low bits of an activation that its comparisons ignore while learning; with `qat` alone. */
  readonly ignoredBits?: number;
  /** False with --no-batch-norm: convolutions are trained with the batch norm that is folded into them. */
  readonly batchNorm?: boolean;
  /** False with --no-correct: begins with the weights as they are. */
  readonly correct?: boolean;
  /** Scores of the network as it was that an earlier run on the same batches has left. */
  readonly remembered?: Map<string, Float32Array>;
  /** Take the spec's comparison windows over, though ranges change: for who measures what they do to the new network. */
  readonly keepWindows?: boolean;
  readonly output: string;
}

export interface Finetuned extends NetworkFiles {
  /** Score of the network as it was given: full ReLU, nothing replaced. */
  readonly original: number;
  /** Under the spec, before and after training; the latter of the file that was written. */
  readonly before: number;
  readonly after: number;
  /** Between the two: of the corrected weights that training began with. */
  readonly corrected?: number;
  readonly metric: Metric;
  readonly epochs: readonly Epoch[];
  /** From 1; 0 where no epoch was better than the weights that training began with, which were written then. */
  readonly bestEpoch: number;
  readonly stoppedEarly: boolean;
  readonly seconds: number;
  readonly images: { readonly training: number; readonly validation: number; readonly heldOut?: number };
}

/** What is learned from the network as it was, unless the call says otherwise. */
export const defaultDistillation: Distillation = { temperature: 4, weight: 0.9 };

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
  if (options.ignoredBits !== undefined && options.qat === undefined) {
    const hint = 'Name the ring too: --qat 24 --ignored-bits 4.';
    throw new UsageError('bits can only be ignored in the fixed point of a ring', { code: 'usage', where: '--ignored-bits', hint });
  }
  await checkWritable(options.output);
  const pictures = await openTrainingPictures(options, task);
  const work = await prepare(onnx, pictures, options, task, compute);
  const { original, patches, corrected } = work;
  const trained = await runTraining(work.plan, task, compute);
  const { graph, bestEpoch } = bestOf(work, trained);
  const bytes = writeOnnx(simplify(graph));
  const after = await work.score(applyPatches(simplify(readGraph(bytes)), patches ?? new Map()));
  const made = { ...work.made, finetuned: { from: onnx.hash, version: packageVersion() } };
  const windows = options.keepWindows ? work.windows : undefined;
  const spec = patches === undefined ? undefined : { patches, made, ...(windows === undefined ? {} : { windows }) };
  const written = await writeNetwork(options.output, bytes, spec);
  const { metric, before, epochs, stoppedEarly, seconds } = trained;
  const { train, validation, heldOut } = pictures;
  return {
    ...{ original, before, after, ...(corrected === undefined ? {} : { corrected }), metric, epochs, bestEpoch, stoppedEarly, seconds },
    images: { training: train.count, validation: validation.count, ...(heldOut === undefined ? {} : { heldOut }) },
    ...written,
  };
}

interface Work {
  readonly plan: TrainingPlan;
  /** What training begins with, without the patches. */
  readonly begun: Graph;
  /** Score of the network as it was given. */
  readonly original: number;
  readonly corrected?: number;
  /** Of any network, on the validation pictures. */
  score(graph: Graph): Promise<number>;
  readonly patches?: LayerPatches;
  readonly windows?: LayerWindows;
  readonly made: object;
}

/**
 * The weights of the best epoch, or those that training began with where they score higher: a short run may take more from corrected weights
 * than it gives. Not where rounding is imitated, for which those were not made.
 */
function bestOf({ begun, corrected, plan }: Work, { graph, before, epochs, bestEpoch }: Trained): Pick<Trained, 'graph' | 'bestEpoch'> {
  const score = corrected ?? before;
  const { validation = score } = epochs[bestEpoch - 1] ?? {};
  return score > validation && plan.noise === undefined ? { graph: begun, bestEpoch: 0 } : { graph, bestEpoch };
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
  if (spec !== undefined && spec.windows.size > 0 && !options.keepWindows) {
    output.note('The windows of the spec are of the network as it was: they are left out, choose them for the new one.');
  }
  const outputs = shapeOf(given, given.output)[0] ?? 1;
  metricOf(validation, options.validate ?? options.data);
  checkLabels(train, outputs, options.data);
  checkLabels(validation, outputs, options.validate ?? options.data);
  const distillation = distillationOf(train, options);
  const noise = noiseOf(options);
  const score: Work['score'] = (graph) => scoreOf(validation, outputs, (images, count) => forward(compute, graph, images, count), signal);
  const original = await score(full);
  const before = await score(under);
  const corrects = options.correct !== false && spec !== undefined;
  const batchNorm = options.batchNorm ?? true;
  const { network, fitted } = await begin({ compute, full, given, under, train, signal }, corrects ? spec.patches : undefined, batchNorm);
  const plan: TrainingPlan = {
    ...{ before, network, outputs, train, validation, settings: settingsFrom(options, fineTuningDefaults(train, batchNorm)) },
    ...(spec === undefined ? {} : { patches: spec.patches }),
    ...{ softStart: options.softStart, stages: options.stages },
    ...(distillation === undefined ? {} : { teacher: teacherOf(full, distillation, options) }),
    ...(noise === undefined ? {} : { noise }),
    key: [onnx.fullHash(), spec?.hash ?? null, options.replace, batchNorm, corrects],
    ...(options.checkpoint === undefined ? {} : { checkpoint: options.checkpoint }),
    ...{ resume: options.resume, keepSeconds: options.checkpointSeconds },
  };
  const corrected = fitted === undefined ? undefined : await score(applyPatches(fitted, spec!.patches));
  return {
    ...{ plan, original, score, made: spec?.made ?? {}, begun: fitted ?? given },
    ...(spec === undefined ? {} : { patches: spec.patches, windows: spec.windows }),
    ...(corrected === undefined ? {} : { corrected }),
  };
}

/** Pictures that batch norm's statistics begin from. */
const normCalibration = 256;
/** Pictures that weights are fitted to before training, and numbers that all of them together may have in one layer: some layers are held at once. */
const correctionPictures = 512;
const correctionNumbers = 2 ** 25;

interface Beginning {
  readonly compute: Compute;
  readonly full: Graph;
  /** Without and with the patches. */
  readonly given: Graph;
  readonly under: Graph;
  readonly train: Dataset;
  readonly signal: AbortSignal;
}

interface Drawn {
  readonly images: Float32Array;
  readonly count: number;
}

/** Pictures from all over a set: folders are sorted by class. */
async function draw(train: Dataset, most: number): Promise<Drawn> {
  const count = Math.min(most, train.count);
  return { images: await selectPictures(train, [...shuffledOrder(train.count, 0, 0).subarray(0, count)]).read(0, count), count };
}

/** Pictures that weights are corrected with: fewer of a network with large layers. */
export function drawForCorrection(graph: Graph, train: Dataset): Promise<Drawn> {
  const largest = Math.max(sizeOf(graph.input.shape), ...graph.nodes.map(({ shape }) => sizeOf(shape)));
  return draw(train, Math.max(1, Math.min(correctionPictures, Math.floor(correctionNumbers / largest))));
}

/** Where training begins: what is given, corrected or not, with batch norm behind its convolutions or not. */
async function begin(
  { compute, full, given, under, train, signal }: Beginning,
  /** That weights are corrected for; undefined leaves them as they are. */
  patches: LayerPatches | undefined,
  batchNorm: boolean,
): Promise<{ readonly network: TrainNetwork; readonly fitted?: Graph }> {
  const { images, count } = await draw(train, normCalibration);
  const momentsOf = (graph: Graph) => measureMoments(compute, graph, images, count);
  if (patches === undefined) {
    // Batch norm then brings channels back to the moments they had in the full network.
    return { network: batchNorm ? withBatchNorm(given, await momentsOf(full), await momentsOf(under)) : given };
  }
  const sample = await drawForCorrection(given, train);
  const fitted = await correct(compute, given, patches, sample.images, sample.count, { signal });
  if (!batchNorm) return { network: fitted, fitted };
  const moments = await momentsOf(applyPatches(fitted, patches));
  return { network: withBatchNorm(fitted, moments, moments), fitted };
}

function teacherOf(full: Graph, distillation: Distillation, { remembered }: FinetuneOptions): Teacher {
  return { graph: splitOutputActivation(full).graph, ...distillation, ...(remembered === undefined ? {} : { remembered }) };
}

function noiseOf({ qat, ignoredBits }: FinetuneOptions): TrainingPlan['noise'] {
  if (qat === undefined) return undefined;
  return { ringBits: qat, ...(ignoredBits === undefined ? {} : { ignoredBits }) };
}

/** What is learned from the network as it was: without labels, everything. */
function distillationOf({ labels, annotation }: Dataset, { distill, data }: FinetuneOptions): Distillation | undefined {
  const labelled = labels !== undefined || annotation !== undefined;
  if (distill === true) return labelled ? defaultDistillation : { ...defaultDistillation, weight: 1 };
  if (labelled || (distill !== false && distill.weight === 1)) return distill === false ? undefined : distill;
  const hint = 'Give labels, or learn from the network as it was: --distill 4,1.';
  throw new UsageError('the training pictures have no labels', { code: 'no-labels', where: data, hint });
}
