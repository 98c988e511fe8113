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
import { createCommand, wholeNumber, withCompilation, withPictures } from '../options.js';
import { openSpending, optimal, type Spending, type SpendingOptions } from '../spending.js';
import { perform, type Task } from '../task.js';
import { packageVersion } from '../version.js';

interface SolveOptions extends SpendingOptions {
  readonly budget?: string;
  readonly cost?: CostKind;
  /** The ONNX file, which costs other than DReLUs are of. */
  readonly model?: string;
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
    .option('--model <onnx>', 'the network, for costs in bytes or seconds')
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
        const start = performance.now();
        const { selection, kind, budget } = await select(distortion, options, task);
        const seconds = (performance.now() - start) / 1000;
        const { method, samples, seed } = distortion.meta;
        const baseline = options.uniform === undefined ? options.baseline : `uniform ${options.uniform.join('x')}`;
        const made = { budget: options.budget ?? null, cost: kind, method, samples, seed, version: packageVersion() };
        const spec = toSpec(distortion, selection.patches, { ...made, ...(baseline === undefined ? {} : { baseline }) });
        await writeWhole(options.output, `${JSON.stringify(spec)}\n`);
        const solved = summarise(distortion, selection, budget, seconds, options.output);
        task.output.result(solved, () => describe(solved, kind));
      }),
    );
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
  readonly kind: CostKind;
  readonly budget: number | null;
}

async function select(distortion: Distortion, options: SolveOptions, task: Task): Promise<Chosen> {
  const stated = statedBudget(options);
  const kind = stated === undefined ? (options.cost ?? 'drelus') : costKindOf(stated, options.cost);
  if (kind !== 'drelus') return selectFor(await spendingOf(distortion, kind, options, task), distortion, kind, stated, options);
  const inDrelus: Spending = {
    full: fullCost(distortion, dreluCost),
    costOf: async (patches) => keptByLayer(distortion, patches).reduce((sum, { kept }) => sum + kept, 0),
    choose: async (budget, choice) => choice(dreluCost, budget),
  };
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
  if (options.uniform !== undefined) {
    const selection = selectUniform(distortion, dreluCost, options.uniform);
    return { selection: { ...selection, cost: await spending.costOf(selection) }, kind, budget: null };
  }
  const budget = amountOf(stated ?? { share: 1 }, spending.full, kind);
  if (options.baseline === 'per-layer') {
    return { selection: await spending.choose(budget, (costOf, room) => selectByLayer(distortion, costOf, room)), kind, budget };
  }
  const chosen = await spending.choose(budget, optimal(distortion, options.workLimit));
  if (options.baseline === undefined) return { selection: chosen, kind, budget };
  const shuffled = shuffle(distortion, dreluCost, chosen, createSequence(options.seed));
  return { selection: { ...shuffled, cost: await spending.costOf(shuffled) }, kind, budget };
}

function summarise(distortion: Distortion, selection: Chosen['selection'], budget: number | null, seconds: number, file: string): Solved {
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
    seconds,
    layers,
    file,
  };
}

function describe({ drelus, drelusFull, cost, objective, gap, seconds, layers, file }: Solved, kind: CostKind): string {
  const rows = layers.map(({ name, kept, drelus: all }) => [name, formatCount(kept), formatCount(all), formatShare(kept / all)]);
  const proof = gap === null ? 'a baseline' : gap === 0 ? 'proven optimal' : `at most ${formatShare(gap)} above the optimum`;
  return [
    formatTable([['layer', 'kept', 'of', 'share'], ...rows]),
    '',
    `${formatCount(drelus)} of ${formatCount(drelusFull)} DReLUs (${formatShare(drelus / drelusFull)}), ${proof}, in ${formatSeconds(seconds)}`,
    ...(kind === 'bytes' ? [`${formatBytes(cost)} an inference`] : []),
    ...(kind === 'seconds' ? [`${formatSeconds(cost)} an inference`] : []),
    ...(objective === null ? [] : [`distortion ${objective.toPrecision(6)}`]),
    file,
  ].join('\n');
}
