// Choosing patches for a budget as a call states it: what is paid for, baselines, refinement. Not here: the knapsack (block/).
import type { Distortion } from '../block/distortion-file.js';
import {
  dreluCost,
  fullCost,
  keptByLayer,
  type OptimalSelection,
  type Selection,
  selectByLayer,
  selectUniform,
  shuffle,
  toSpec,
} from '../block/select.js';
import { createSequence } from '../data/generated.js';
import { UsageError } from '../errors.js';
import type { Patch } from '../model/program.js';
import { amountOf, type Budget, type CostKind, costKindOf, parseBudget } from './budget.js';
import { writeWhole } from './files.js';
import { type Refined, type RefineOptions, refine } from './refine.js';
import { openSpending, optimal, optimalWithWindows, type Spending, type SpendingOptions, type SpentSelection } from './spending.js';
import type { Task } from './task.js';
import { packageVersion } from './version.js';

export interface SolveOptions extends SpendingOptions, RefineOptions {
  readonly budget?: string;
  readonly cost?: CostKind;
  /** The ONNX file, which costs other than DReLUs are of, and which is refined on. */
  readonly model?: string;
  readonly windows?: boolean;
  readonly refine?: 'annealing';
  readonly constants: boolean;
  readonly uniform?: Patch;
  readonly baseline?: 'shuffled' | 'per-layer';
  readonly workLimit?: number;
  readonly output: string;
}

export interface Solved {
  readonly drelus: number;
  readonly drelusFull: number;
  readonly cost: number;
  readonly budget: number | null;
  /** Sum of distortions; null where a patch of a uniform choice was not measured. */
  readonly objective: number | null;
  /** Null for a baseline, which proves nothing. */
  readonly bound: number | null;
  readonly gap: number | null;
  readonly resolution?: number;
  /** Bits left out of comparisons, by layer: windows that are not exact. */
  readonly windows?: Selection['windows'];
  readonly refined?: Refined;
  readonly seconds: number;
  readonly layers: readonly { readonly name: string; readonly kept: number; readonly drelus: number }[];
  readonly file: string;
}

/** Writes the spec of a choice to options.output. */
export async function writeSpec(
  distortion: Distortion,
  selection: Selection,
  kind: CostKind,
  options: SolveOptions,
  refined?: Refined,
): Promise<void> {
  const { method, samples, seed } = distortion.meta;
  const baseline = options.uniform === undefined ? options.baseline : `uniform ${options.uniform.join('x')}`;
  const about = { ...(baseline === undefined ? {} : { baseline }), ...(refined === undefined ? {} : { refined }) };
  const made = { budget: options.budget ?? null, cost: kind, method, samples, seed, version: packageVersion(), ...about };
  await writeWhole(options.output, `${JSON.stringify(toSpec(distortion, selection.patches, made, selection.windows))}\n`);
}

/** The choice after --refine, or as it is. A refined one that costs more once it is compiled is given up. */
export async function refineChosen(
  distortion: Distortion,
  { selection, spent, kind, budget, costOf }: Chosen,
  options: SolveOptions,
  task: Task,
): Promise<{ readonly selection: Selection; readonly refined?: Refined }> {
  if (options.refine === undefined || spent === undefined || budget === null) return { selection };
  const affordable = async (best: Selection): Promise<Selection> => {
    const cost = await costOf(best);
    return cost <= budget ? { ...best, cost } : selection;
  };
  const { selection: best, refined } = await refine(distortion, selection, spent, options, task, async (kept) =>
    writeSpec(distortion, kind === 'drelus' ? kept : selection, kind, options),
  );
  const kept = await affordable(best);
  if (kept === selection && best !== selection)
    task.output.note('The refined choice costs more than the budget once compiled: it is not used.');
  return { selection: kept, refined };
}

/** A choice, and what it has to keep to. */
export interface Chosen {
  readonly selection: Selection | OptimalSelection;
  /** Costs and the room that patches have, where there is a budget. */
  readonly spent?: Pick<SpentSelection, 'costOf' | 'room'>;
  readonly costOf: Spending['costOf'];
  readonly kind: CostKind;
  readonly budget: number | null;
}

/** Chooses as the call says: for its budget, or one of the baselines. */
export async function select(distortion: Distortion, options: SolveOptions, task: Task): Promise<Chosen> {
  const stated = statedBudget(options);
  const kind = stated === undefined ? (options.cost ?? 'drelus') : costKindOf(stated, options.cost);
  if (kind !== 'drelus') return selectFor(await spendingOf(distortion, kind, options, task), distortion, kind, stated, options);
  const inDrelus: Spending = {
    full: fullCost(distortion, dreluCost),
    costOf: async ({ patches }) => keptByLayer(distortion, patches).reduce((sum, { kept }) => sum + kept, 0),
    choose: async (budget, choice) => ({ ...choice(dreluCost, budget), costOf: dreluCost, room: budget }),
  };
  if (options.windows) {
    const hint = 'Give a budget in bytes or seconds, or --cost bytes.';
    throw new UsageError('windows do not change how many comparisons there are', { code: 'usage', where: '--windows', hint });
  }
  return selectFor(inDrelus, distortion, kind, stated, options);
}

function statedBudget({ budget, uniform, baseline }: SolveOptions): Budget | undefined {
  if (uniform !== undefined) {
    if (budget === undefined && baseline === undefined) return undefined;
    throw new UsageError('--uniform is a choice of its own', {
      code: 'usage',
      where: '--uniform',
      hint: 'Leave --budget and --baseline out.',
    });
  }
  if (budget !== undefined) return parseBudget(budget);
  throw new UsageError('no budget is given', { code: 'usage', where: '--budget', hint: 'Give --budget 12%, or --uniform 2x2.' });
}

function spendingOf(distortion: Distortion, kind: 'bytes' | 'seconds', options: SolveOptions, task: Task): Promise<Spending> {
  if (options.model !== undefined) return openSpending(options.model, distortion, kind, options, task);
  const hint = 'Add --model net.onnx, and --calibrate with the pictures it will be compiled with.';
  throw new UsageError(`costs in ${kind} are of a compiled network`, { code: 'usage', where: '--model', hint });
}

async function selectFor(
  spending: Spending,
  distortion: Distortion,
  kind: CostKind,
  stated: Budget | undefined,
  options: SolveOptions,
): Promise<Chosen> {
  const about = { kind, costOf: spending.costOf };
  if (options.uniform !== undefined) {
    const selection = selectUniform(distortion, dreluCost, options.uniform);
    return { ...about, selection: { ...selection, cost: await spending.costOf(selection) }, budget: null };
  }
  const budget = amountOf(stated ?? { share: 1 }, spending.full, kind);
  if (options.baseline === 'per-layer') {
    return { ...about, selection: await spending.choose(budget, (costOf, room) => selectByLayer(distortion, costOf, room)), budget };
  }
  // ResNet-20 at 5 MB an inference: 83.1 % of 1,000 test pictures right without windows, 89.0 % with them.
  const windows = options.windows ?? (kind !== 'drelus' && distortion.flips !== undefined);
  const way = windows ? optimalWithWindows(distortion, options.workLimit) : optimal(distortion, options.workLimit);
  const { costOf, room, ...selection } = await spending.choose(budget, way, windows);
  if (options.baseline === undefined) return { ...about, selection, spent: { costOf, room }, budget };
  const shuffled = { ...selection, ...shuffle(distortion, dreluCost, selection, createSequence(options.seed)) };
  const { solution: _, ...plain } = shuffled;
  return { ...about, selection: { ...plain, cost: await spending.costOf(plain) }, budget };
}

/** What a choice comes to, as `solve` says it. */
export function summarise(
  distortion: Distortion,
  selection: Chosen['selection'],
  budget: number | null,
  elapsed: number,
  file: string,
): Solved {
  const layers = keptByLayer(distortion, selection.patches);
  const proof = 'solution' in selection ? selection.solution : undefined;
  return {
    drelus: layers.reduce((sum, { kept }) => sum + kept, 0),
    drelusFull: layers.reduce((sum, { drelus }) => sum + drelus, 0),
    cost: selection.cost,
    budget,
    objective: selection.objective ?? null,
    bound: proof?.bound ?? null,
    gap: proof?.gap ?? null,
    ...(proof === undefined ? {} : { resolution: proof.resolution }),
    ...(selection.windows === undefined ? {} : { windows: selection.windows }),
    seconds: elapsed,
    layers,
    file,
  };
}
