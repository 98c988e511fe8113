// What the steps of `optimize` share: the call's network, pictures and folder.
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { CandidateKind } from '../block/candidates.js';
import { distortionOf, planMeasurement } from '../block/distort.js';
import { withoutConstants } from '../block/select.js';
import { type Dataset, hashDataset, selectPictures } from '../data/dataset.node.js';
import { UsageError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import type { Graph } from '../model/graph.js';
import { simplify } from '../model/passes/simplify.js';
import { checkLabels, metricOf } from './accuracy.js';
import { type CostKind, costKindOf, parseBudget } from './budget.js';
import { type SolveOptions, select } from './choosing.js';
import { openCompute } from './compute.js';
import { drawSample, type MeasuringOptions } from './measuring.js';
import { findModel, hashFolder, inputShapeOf, type OnnxFile } from './model.js';
import { type OptimizeFolder, openFolder } from './optimize-folder.js';
import { checkShape, type Pictures } from './pictures.js';
import type { Task } from './task.js';
import { openTrainingPictures } from './training.js';
import { packageVersion } from './version.js';

export interface OptimizeOptions extends Omit<SolveOptions, 'uniform' | 'baseline'> {
  readonly data: string;
  readonly validate?: string;
  readonly validateLimit?: number;
  readonly budget: string;
  /** Further budgets. */
  readonly budgets: readonly string[];
  readonly samples: number;
  readonly probes: number;
  readonly candidates: CandidateKind;
  /** Times that patches are measured again under the last choice; absent: see {@link roundsOf}. */
  readonly rounds?: number;
  /** Fit weights to what the network computes without patches. */
  readonly correct: boolean;
  /** Epochs, or true for fine-tuning's own default. */
  readonly finetune?: number | true;
}

export interface Work {
  readonly path: string;
  readonly name: string;
  readonly onnx: OnnxFile;
  /** Simplified. */
  readonly graph: Graph;
  readonly train: Dataset;
  readonly validation: Pictures;
  readonly heldOut?: number;
  /** Training pictures that distortions are measured with. */
  readonly sample: Dataset;
  readonly measuring: MeasuringOptions;
  /** What budgets are of, and their names: the one asked for first. */
  readonly kind: CostKind;
  readonly budgets: readonly string[];
  readonly folder: OptimizeFolder;
  /** What every step's result depends on. */
  readonly key: readonly unknown[];
  /** Hash of the pictures that scores are of. */
  readonly scoredOn: string;
  readonly options: OptimizeOptions & { readonly rounds: number };
  readonly compute: Compute;
  readonly task: Task;
}

/**
 * Measuring again makes untrained choices better and corrected ones worse: it knows what patches spoil beside each other, of which correction
 * takes most away (ResNet-20 at 12.5 % of its comparisons: 57.1 → 60.3 % right, corrected 84.8 → 81.5).
 */
const roundsOf = ({ rounds, correct, finetune }: OptimizeOptions): number => rounds ?? (correct || finetune !== undefined ? 0 : 1);

/**
 * Opens everything a call names, and the folder last: a call that cannot be done leaves nothing behind.
 * @throws UsageError for a compiled model and for budgets of different units; DataError for pictures that do not fit the network.
 */
export async function openWork(path: string, options: OptimizeOptions, task: Task): Promise<Work> {
  const { onnx, description } = await findModel(path);
  if (onnx === undefined) {
    const hint = 'Give the ONNX file: a compiled model has no float network left.';
    throw new UsageError('a compiled model cannot be optimised', { code: 'usage', where: path, hint });
  }
  if (options.data === undefined) {
    const hint = 'Give training pictures with --data PATH.';
    throw new UsageError('no pictures are named', { code: 'usage', where: '--data', hint });
  }
  const { kind, budgets } = readBudgets(options);
  const { train, validation, heldOut } = await openTrainingPictures(options, task);
  const graph = simplify(onnx.readGraph(inputShapeOf(onnx, { dataset: train })));
  for (const dataset of [train, validation]) checkShape(dataset, graph.input.shape);
  const outputs = graph.nodes.find(({ output }) => output === graph.output)?.shape[0] ?? 1;
  checkLabels(validation, outputs, options.validate ?? options.data);
  if (options.finetune !== undefined) metricOf(validation, options.validate ?? options.data);
  const { samples, probes, seed } = options;
  const windows = options.windows ?? kind !== 'drelus';
  const measuring: MeasuringOptions = { method: 'linear', samples, probes, seed, at: 'logits', windows };
  const sample = selectPictures(train, drawSample(train, measuring, options.data));
  if (kind === 'drelus') await checkBudgets(graph, budgets, { ...options, model: path, cost: kind }, task);
  const code = ['block', 'model', 'train', 'kernel', 'cli'].map((name) => fileURLToPath(new URL(`../${name}`, import.meta.url)));
  const programs = await Promise.all(code.map(hashFolder));
  const key = [packageVersion(), programs, onnx.fullHash(), await hashDataset(sample), measuring, options.candidates];
  return {
    ...{ path, name: description.name, onnx, graph, train, sample, measuring, kind, budgets, task },
    options: { ...options, rounds: roundsOf(options) },
    validation: { dataset: validation, ...(validation.classes === undefined ? {} : { classes: validation.classes }) },
    ...(heldOut === undefined ? {} : { heldOut }),
    ...{ key, scoredOn: await hashDataset(validation) },
    compute: await openCompute(task, options.threads, { joined: true }),
    folder: await openFolder(options.output, onnx.hash),
  };
}

/** Budgets without repeats. Throws UsageError where they are not all of one kind. */
function readBudgets({ budget, budgets, cost }: OptimizeOptions): { readonly kind: CostKind; readonly budgets: readonly string[] } {
  const all = [...new Set([budget, ...budgets].map((text) => text.trim()))];
  const kind = costKindOf(parseBudget(all[0]!), cost);
  // Shares and numbers without a unit are of what the first one is of.
  for (const text of all) costKindOf(parseBudget(text), kind);
  return { kind, budgets: all };
}

/** Refuses budgets that no choice keeps, or every one, before anything is measured: costs in DReLUs do not depend on distortions. */
async function checkBudgets(graph: Graph, budgets: readonly string[], options: OptimizeOptions, task: Task): Promise<void> {
  const measurement = planMeasurement(graph, { kind: options.candidates });
  const sums = new Float64Array(measurement.rows * measurement.patches.length);
  const made = { model: '', method: 'linear', samples: 1, probes: 0, seed: 0, version: '' } as const;
  const unmeasured = distortionOf(measurement, { perPicture: 1 }, sums, made);
  const distortion = options.constants ? unmeasured : withoutConstants(unmeasured);
  for (const budget of budgets) await select(distortion, { ...options, budget }, task);
}

/** What `solve` would be told for a budget. */
export function solveOptions(work: Work, budget: string): SolveOptions {
  const { options, path, kind, train, folder } = work;
  return { ...options, budget, cost: kind, model: path, output: folder.file(specName(work, budget)), pictures: { dataset: train } };
}

/** Name of a budget in the names of files: "12.5%" is "12.5percent". */
export const fileName = (budget: string): string => budget.replace('%', 'percent').replace(/[^\w.]+/g, '');

/** The spec of the budget that was asked for is spec.json, those of further ones say theirs. */
export const specName = ({ budgets }: Work, budget: string): string =>
  budget === budgets[0] ? 'spec.json' : `spec-${fileName(budget)}.json`;

export const sha256 = (content: string): string => createHash('sha256').update(content).digest('hex');
