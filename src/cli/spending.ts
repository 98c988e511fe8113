// Budgets in bytes and seconds: costs of patches depend on comparison windows, and windows on patches, so choosing and compiling alternate.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bytesMeter, type ComputeCost, costsFrom, type Meter, type PaidPhase, secondsMeter } from '../block/cost.js';
import type { Distortion } from '../block/distortion-file.js';
import { type CostOf, leastCost, type OptimalSelection, selectOptimal, toSpec } from '../block/select.js';
import { UsageError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import type { Patch, Program, ReluStep } from '../model/program.js';
import { openLocalSession } from '../party/local.js';
import { suites } from '../party/session.js';
import type { NetworkProfile } from '../wire/profiles.js';
import { openCompute } from './compute.js';
import { findModel, openModel } from './model.js';
import type { ModelOptions } from './options.js';
import { openPictures } from './pictures.js';
import type { Task } from './task.js';

export interface SpendingOptions extends ModelOptions {
  readonly suite: string;
  readonly phase: PaidPhase;
  readonly network: NetworkProfile | undefined;
}

/** A model to spend a budget on. */
export interface Spending {
  /** Cost of the network without a spec. */
  readonly full: number;
  /** Cost of an inference with the patches of a selection. */
  costOf(patches: readonly Patch[]): Promise<number>;
  /** Patches with the least distortion that keep the budget, by the estimate of the program compiled with them. */
  choose(budget: number, select: Select): Promise<OptimalSelection>;
}

/** A way to choose within a budget, in the unit of the costs. */
export type Select = (costOf: CostOf, budget: number) => OptimalSelection;

/** Choosing and compiling alternate at most so often; two or three times are the rule. */
const mostRounds = 6;
/** A choice is final when it leaves less than this share of the budget. */
const closeEnough = 0.002;

export async function openSpending(
  model: string,
  distortion: Distortion,
  kind: 'bytes' | 'seconds',
  options: SpendingOptions,
  task: Task,
): Promise<Spending> {
  const source = await findModel(model);
  if (source.onnx === undefined || source.onnx.hash !== distortion.meta.model) {
    throw new UsageError(`the distortion was measured on another model than ${model}`, {
      code: 'wrong-model',
      where: model,
      hint: `Give the ONNX file with the hash ${distortion.meta.model.slice(0, 16)}….`,
    });
  }
  const suite = suites[options.suite]!;
  const compute = await openCompute(task, options.threads);
  const pictures = options.data === undefined ? undefined : await openPictures([], options, task.output, source.description);
  const plain = (await openModel(source, options, task, compute, pictures, 'calibrate')).compiled;
  const meter =
    kind === 'bytes'
      ? bytesMeter(suite, options.phase)
      : secondsMeter(suite, options.phase, options.network, await measureCompute(compute, plain, options), plain.program);
  const folder = await mkdtemp(join(tmpdir(), 'tessera-solve-'));
  task.atEnd(() => rm(folder, { recursive: true, force: true }));
  const compileWith = async (patches: readonly Patch[]): Promise<Program> => {
    const spec = join(folder, 'spec.json');
    await writeFile(spec, JSON.stringify(toSpec(distortion, patches, {})));
    return (await openModel(source, { ...options, spec, cache: false }, task, compute, pictures, 'calibrate')).compiled.program;
  };
  return {
    full: meter.whole(plain.program),
    costOf: async (patches) => meter.whole(await compileWith(patches)),
    choose: (budget, select) => alternate({ meter, distortion, plain: plain.program, compileWith }, budget, select),
  };
}

interface Alternation {
  readonly meter: Meter;
  readonly distortion: Distortion;
  readonly plain: Program;
  readonly compileWith: (patches: readonly Patch[]) => Promise<Program>;
}

async function alternate(
  { meter, distortion, plain, compileWith }: Alternation,
  budget: number,
  select: Select,
): Promise<OptimalSelection> {
  const { layers } = distortion.meta;
  let program = plain;
  let fixed = meter.whole(plain) - selectionCost(distortion, costsFrom(meter, [plain], layers), undefined);
  let best: OptimalSelection | undefined;
  let overspent = 0;
  for (let round = 0; round < mostRounds; round++) {
    const costOf = costsFrom(meter, [program, plain], layers);
    if (budget - fixed - overspent < leastCost(distortion, costOf)) break;
    const chosen = select(costOf, budget - fixed - overspent);
    program = await compileWith(chosen.patches);
    const cost = meter.whole(program);
    // What does not depend on patches, as of this program: rounding, fused layers, and windows that are wider or narrower now.
    fixed = cost - selectionCost(distortion, costsFrom(meter, [program, plain], layers), chosen.patches);
    const fits = cost <= budget;
    if (fits && (best === undefined || chosen.objective < best.objective)) best = { ...chosen, cost };
    if (fits && budget - cost <= closeEnough * budget) break;
    if (!fits) overspent += round < 2 ? 0 : cost - budget;
  }
  if (best !== undefined) return best;
  throw tooSmall(budget, fixed + leastCost(distortion, costsFrom(meter, [program, plain], layers)));
}

function tooSmall(budget: number, least: number): UsageError {
  return new UsageError(`a budget of ${budget} is too small: the cheapest patches come to about ${least.toPrecision(4)}`, {
    code: 'budget-too-small',
    where: '--budget',
    hint: 'Give a larger budget. What is sent for every element, and for other layers, does not shrink with patches.',
  });
}

/** Sum of the costs of patches, of plain ReLUs where there are none. */
function selectionCost({ meta }: Distortion, costOf: CostOf, patches: readonly Patch[] | undefined): number {
  let row = 0;
  return meta.shapes.reduce((sum, [channels, height, width], layer) => {
    for (let c = 0; c < channels; c++) sum += costOf({ layer, height, width }, patches?.[row++] ?? [1, 1]);
    return sum;
  }, 0);
}

/** Elements of the sample activations: 16 channels of 64 × 64. */
const sampleShape = [16, 64, 64];
const sampleRuns = 3;

/** Times three activations on this machine, all parties in one process, and the model itself. Seconds of the phase that is paid for. */
async function measureCompute(
  compute: Compute,
  { program, weights }: { readonly program: Program; readonly weights: Parameters<typeof openLocalSession>[0]['weights'] },
  options: SpendingOptions,
): Promise<ComputeCost> {
  const step = program.steps.find((s): s is ReluStep => s.kind === 'relu')!;
  const time = (own: Program, ownWeights: typeof weights): Promise<number> => secondsOf(compute, own, ownWeights, options);
  const activation = (patch: Patch): Promise<number> => time(activationProgram(program, step, patch), { layers: [] });
  const elements = sampleShape.reduce((a, b) => a * b, 1);
  const [fine, coarse, identity] = [await activation([1, 1]), await activation([8, 8]), await activation([0, 1])];
  const perBlock = Math.max(0, (fine - coarse) / (elements - elements / 64));
  const cost = { perBlock, perElement: Math.max(0, fine / elements - perBlock), perIdentity: identity / elements };
  const relus = program.steps.reduce((sum, s) => {
    if (s.kind !== 'relu') return sum;
    return sum + program.tensors[s.input]!.shape.reduce((a, b) => a * b, 1) * (cost.perElement + perBlock);
  }, 0);
  return { ...cost, fixed: Math.max(0, (await time(program, weights)) - relus) };
}

function activationProgram(program: Program, step: ReluStep, patch: Patch): Program {
  const tensors = [step.input, step.output].map((id) => ({ shape: sampleShape, scale: program.tensors[id]!.scale }));
  const { cap: _, ...plain } = step;
  const own: ReluStep = { ...plain, input: 0, output: 1, patches: new Array<Patch>(sampleShape[0]!).fill(patch) };
  return { ...program, tensors, input: 0, output: 1, outputActivation: 'none', steps: [own] };
}

async function secondsOf(
  compute: Compute,
  program: Program,
  weights: Parameters<typeof openLocalSession>[0]['weights'],
  { suite, phase }: SpendingOptions,
): Promise<number> {
  const session = await openLocalSession({ compute, program, weights, suite });
  const zeros = new Float32Array(program.tensors[program.input]!.shape.reduce((a, b) => a * b, 1));
  const times: number[] = [];
  for (let i = 0; i < sampleRuns + 1; i++) {
    const start = performance.now();
    const prepared = await session.client.prepare(1);
    const middle = performance.now();
    await prepared.infer(zeros);
    const end = performance.now();
    times.push((phase === 'offline' ? middle - start : phase === 'online' ? end - middle : end - start) / 1000);
  }
  await session.close();
  // The first run also makes the index lists.
  return times.slice(1).sort((a, b) => a - b)[sampleRuns >> 1]!;
}

/** The knapsack, for {@link Spending.choose}. */
export const optimal =
  (distortion: Distortion, workLimit: number | undefined): Select =>
  (costOf, budget) =>
    selectOptimal(distortion, costOf, budget, workLimit === undefined ? {} : { workLimit });
