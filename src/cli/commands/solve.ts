// tessera solve: from a distortion file and a budget to a spec, proven optimal.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Distortion, readDistortion } from '../../block/distortion-file.js';
import {
  checkNotEmpty,
  dreluCost,
  fullCost,
  keptByLayer,
  type OptimalSelection,
  type Selection,
  selectByLayer,
  selectUniform,
  shuffle,
  toSpec,
  withoutConstants,
} from '../../block/select.js';
import { createSequence } from '../../data/generated.js';
import { readFileOrExplain } from '../../data/picture.node.js';
import { UsageError } from '../../errors.js';
import type { Patch } from '../../model/program.js';
import { suites } from '../../party/session.js';
import { parseNetwork } from '../../wire/profiles.js';
import { amountOf, type Budget, type CostKind, costKindOf, parseBudget } from '../budget.js';
import { writeWhole } from '../files.js';
import { formatBytes, formatCount, formatSeconds, formatShare, formatTable } from '../format.js';
import { createCommand, seconds, wholeNumber, withCompilation, withPictures } from '../options.js';
import { type Refined, type RefineOptions, refine } from '../refine.js';
import { openSpending, optimal, optimalWithWindows, type Spending, type SpendingOptions, type SpentSelection } from '../spending.js';
import { perform, type Task } from '../task.js';
import { packageVersion } from '../version.js';

interface SolveOptions extends SpendingOptions, RefineOptions {
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

interface Solved {
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

export function solveCommand(): Command {
  const example = 'tessera solve net.npz --budget 12% -o spec.json';
  const command = createCommand('solve', 'Choose the patches that fit a budget with the least distortion.', example)
    .argument('<distortion>', 'file that tessera distort wrote')
    .option('--budget <budget>', 'share of the full cost (6%), a number of DReLUs, bytes (20MB) or a time (300ms)')
    .addOption(new Option('--cost <kind>', 'what the budget is of').choices(['drelus', 'bytes', 'seconds']))
    .option('--model <onnx>', 'the network, for costs in bytes or seconds and for --refine')
    .addOption(
      new Option('--phase <kind>', 'which phase bytes and seconds are of').choices(['total', 'offline', 'online']).default('total'),
    )
    .addOption(new Option('--suite <name>', 'protocol suite').choices(Object.keys(suites)).default('masked'))
    .addOption(
      new Option('--network <profile>', 'a named network (lan, wan, home, …) or RATE,RTT that seconds are of').argParser(parseNetwork),
    )
    .option('--constants', 'also let channels pass unchanged or vanish: cheaper still, but their distortions add up badly', false)
    .addOption(new Option('--uniform <patch>', 'the same patch everywhere, such as 4x4, instead of a choice').argParser(patchFrom))
    .addOption(new Option('--baseline <kind>', 'a simpler choice, to compare with').choices(['shuffled', 'per-layer']))
    .option(
      '--windows',
      'also choose how many low bits each layer leaves out of its comparisons (default for bytes and seconds, where measured)',
    )
    .option('--no-windows', 'compare exactly, whatever the cost')
    .addOption(new Option('--refine <how>', 'make the choice better by measuring on the pictures of --data').choices(['annealing']))
    .addOption(new Option('--refine-seconds <s>', 'time for it (default: 60, or none with --refine-steps)').argParser(seconds))
    .addOption(new Option('--refine-steps <n>', 'moves to try, alike on every machine').argParser(wholeNumber(1)))
    .addOption(
      new Option('--refine-measure <kind>', 'what is made small: distance from the scores of the network as it is, or the loss of labels')
        .choices(['distance', 'divergence', 'loss'])
        .default('distance'),
    )
    .addOption(
      new Option('--work-limit <n>', 'states the search may make; a limit that is reached leaves a gap').argParser(wholeNumber(1)),
    );
  return withCompilation(withPictures(command), { spec: false })
    .requiredOption('-o, --output <spec>', 'spec file to write')
    .action((path: string, options: SolveOptions) =>
      perform(options, async (task) => {
        const read = readDistortion(await readFileOrExplain(path), path);
        checkNotEmpty(read, path);
        const distortion = options.constants ? read : withoutConstants(read);
        checkCombination(distortion, options, path);
        const start = performance.now();
        const chosen = await select(distortion, options, task);
        const { selection, refined } = await refineChosen(distortion, chosen, options, task);
        const elapsed = (performance.now() - start) / 1000;
        await writeSpec(distortion, selection, chosen.kind, options, refined);
        const solved = summarise(distortion, selection, chosen.budget, elapsed, options.output);
        const about = { ...solved, ...(refined === undefined ? {} : { refined }) };
        task.output.result(about, () => describe(about, chosen.kind));
      }),
    );
}

/** Refuses what has no meaning together. */
function checkCombination({ flips }: Distortion, { windows, uniform, baseline, refine: refining }: SolveOptions, path: string): void {
  const plain = uniform !== undefined || baseline === 'per-layer';
  if (windows && plain) {
    const hint = 'Leave --windows out; --baseline shuffled has them.';
    throw new UsageError('windows are chosen with patches of single channels', { code: 'usage', where: '--windows', hint });
  }
  if (windows && flips === undefined) {
    const hint = 'Measure them: tessera distort --windows.';
    throw new UsageError(`${path} does not say what wrong signs do`, { code: 'no-windows', where: path, hint });
  }
  if (refining !== undefined && (plain || baseline !== undefined)) {
    throw new UsageError('a baseline is not refined', { code: 'usage', where: '--refine', hint: 'Leave --refine out.' });
  }
}

async function writeSpec(
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
async function refineChosen(
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

function patchFrom(text: string): Patch {
  const match = /^(\d+)x(\d+)$/.exec(text);
  const [height, width] = [Number(match?.[1]), Number(match?.[2])];
  const constant = (height === 0 && width === 1) || (height === 1 && width === 0);
  if (match === null || !(constant || (height >= 1 && width >= 1 && height < 65536 && width < 65536))) {
    throw new InvalidArgumentError('A patch is like 4x4; 0x1 is identity, 1x0 zero.');
  }
  return [height, width];
}

interface Chosen {
  readonly selection: Selection | OptimalSelection;
  /** Costs and the room that patches have, where there is a budget. */
  readonly spent?: Pick<SpentSelection, 'costOf' | 'room'>;
  readonly costOf: Spending['costOf'];
  readonly kind: CostKind;
  readonly budget: number | null;
}

async function select(distortion: Distortion, options: SolveOptions, task: Task): Promise<Chosen> {
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

function summarise(distortion: Distortion, selection: Chosen['selection'], budget: number | null, elapsed: number, file: string): Solved {
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

function describe(
  { drelus, drelusFull, cost, objective, gap, seconds: elapsed, layers, file, windows, refined }: Solved,
  kind: CostKind,
): string {
  const rows = layers.map(({ name, kept, drelus: all }) => [name, formatCount(kept), formatCount(all), formatShare(kept / all)]);
  const proof =
    refined !== undefined
      ? 'refined'
      : gap === null
        ? 'a baseline'
        : gap === 0
          ? 'proven optimal'
          : `at most ${formatShare(gap)} above the optimum`;
  return [
    formatTable([['layer', 'kept', 'of', 'share'], ...rows]),
    '',
    `${formatCount(drelus)} of ${formatCount(drelusFull)} DReLUs (${formatShare(drelus / drelusFull)}), ${proof}, in ${formatSeconds(elapsed)}`,
    ...(kind === 'bytes' ? [`${formatBytes(cost)} an inference`] : []),
    ...(kind === 'seconds' ? [`${formatSeconds(cost)} an inference`] : []),
    ...(windows === undefined ? [] : [`${Object.keys(windows).length} of ${layers.length} layers leave low bits out of their comparisons`]),
    ...(refined === undefined
      ? []
      : [
          `${refined.measure} ${refined.start.toPrecision(4)} to ${refined.best.toPrecision(4)} on ${refined.pictures} pictures, ${formatCount(refined.steps)} moves`,
        ]),
    ...(objective === null ? [] : [`distortion ${objective.toPrecision(6)}`]),
    file,
  ].join('\n');
}
