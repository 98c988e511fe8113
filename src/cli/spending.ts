// Budgets in bytes and seconds: costs of patches depend on comparison windows, and windows on patches, so choosing and compiling alternate.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bytesMeter, costsFrom, type Meter, type PaidPhase, type Prices, pricesFrom, secondsMeter } from '../block/cost.js';
import type { Distortion } from '../block/distortion-file.js';
import { type CostOf, leastCost, type OptimalSelection, type Selection, selectOptimal, toSpec } from '../block/select.js';
import { selectWithWindows } from '../block/select-windows.js';
import { UsageError } from '../errors.js';
import type { Patch, Program } from '../model/program.js';
import { suites } from '../party/session.js';
import type { NetworkProfile } from '../wire/profiles.js';
import { openCompute } from './compute.js';
import { openMachine } from './machine.js';
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
  /** Cost of an inference with the patches and windows of a selection. */
  costOf(selection: Pick<Selection, 'patches' | 'windows'>): Promise<number>;
  /** Patches with the least distortion that keep the budget, by the estimate of the program compiled with them; `windows` says that `select` chooses them too. */
  choose(budget: number, select: Select, windows?: boolean): Promise<SpentSelection>;
}

/** What was chosen, with the last costs and the part of the budget that patches had of it: what a refinement has to keep to. */
export interface SpentSelection extends OptimalSelection {
  readonly costOf: CostOf;
  readonly room: number;
}

/** A way to choose within a budget, in the unit of the costs. */
export type Select = (costOf: CostOf, budget: number, prices?: Prices) => OptimalSelection;

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
      : secondsMeter(
          suite,
          options.phase,
          options.network,
          await openMachine({ suite: options.suite, threads: options.threads, ringBits: plain.program.ringBits }, task),
          plain.program,
        );
  const folder = await mkdtemp(join(tmpdir(), 'tessera-solve-'));
  task.atEnd(() => rm(folder, { recursive: true, force: true }));
  const compileWith = async ({ patches, windows }: Pick<Selection, 'patches' | 'windows'>): Promise<Program> => {
    const spec = join(folder, 'spec.json');
    await writeFile(spec, JSON.stringify(toSpec(distortion, patches, {}, windows)));
    return (await openModel(source, { ...options, spec, cache: false }, task, compute, pictures, 'calibrate')).compiled.program;
  };
  return {
    full: meter.whole(plain.program),
    costOf: async (selection) => meter.whole(await compileWith(selection)),
    choose: (budget, select, windows) => alternate({ meter, distortion, plain: plain.program, compileWith }, budget, select, windows),
  };
}

interface Alternation {
  readonly meter: Meter;
  readonly distortion: Distortion;
  readonly plain: Program;
  readonly compileWith: (selection: Pick<Selection, 'patches' | 'windows'>) => Promise<Program>;
}

async function alternate(
  { meter, distortion, plain, compileWith }: Alternation,
  budget: number,
  select: Select,
  windows = false,
): Promise<SpentSelection> {
  const { layers } = distortion.meta;
  let program = plain;
  let fixed = meter.whole(plain) - selectionCost(distortion, costsFrom(meter, [plain], layers), undefined);
  let best: SpentSelection | undefined;
  let overspent = 0;
  for (let round = 0; round < mostRounds; round++) {
    const prices = pricesFrom(meter, [program, plain], layers);
    if (budget - fixed - overspent < leastCost(distortion, windows ? cheapestWindow(distortion, prices) : prices.costOf)) break;
    const chosen = select(prices.costOf, budget - fixed - overspent, prices);
    program = await compileWith(chosen);
    const cost = meter.whole(program);
    // What does not depend on patches, as of this program: rounding, fused layers, and windows that are wider or narrower now.
    const costOf = costsFrom(meter, [program, plain], layers);
    fixed = cost - selectionCost(distortion, costOf, chosen.patches);
    const fits = cost <= budget;
    if (fits && (best === undefined || chosen.objective < best.objective)) best = { ...chosen, cost, costOf, room: budget - fixed };
    if (fits && budget - cost <= closeEnough * budget) break;
    if (!fits) overspent += round < 2 ? 0 : cost - budget;
  }
  if (best !== undefined) return best;
  const prices = pricesFrom(meter, [program, plain], layers);
  throw tooSmall(budget, fixed + leastCost(distortion, windows ? cheapestWindow(distortion, prices) : prices.costOf));
}

/** A patch's cost in the cheapest of its layer's windows. */
const cheapestWindow =
  ({ flips }: Distortion, { windowCostOf }: Prices): CostOf =>
  (row, patch) =>
    Array.from({ length: flips?.levels ?? 0 }, (_, level) => windowCostOf(row, patch, 2 ** (flips!.exponents[row.layer]! + level)))
      .filter((cost) => !Number.isNaN(cost))
      .reduce((a, b) => Math.min(a, b), windowCostOf(row, patch, undefined));

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

/** The knapsack, for {@link Spending.choose}. */
export const optimal =
  (distortion: Distortion, workLimit: number | undefined): Select =>
  (costOf, budget) =>
    selectOptimal(distortion, costOf, budget, workLimit === undefined ? {} : { workLimit });

/** The knapsack of patches and windows together, for {@link Spending.choose}. */
export const optimalWithWindows =
  (distortion: Distortion, workLimit: number | undefined): Select =>
  (_, budget, prices) =>
    selectWithWindows(distortion, prices!.windowCostOf, budget, workLimit === undefined ? {} : { workLimit });
