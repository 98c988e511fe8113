// tessera solve: from a distortion file and a budget to a spec, proven optimal.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Distortion, readDistortion } from '../../block/distortion-file.js';
import {
  type CostOf,
  checkNotEmpty,
  dreluCost,
  fullCost,
  keptByLayer,
  type OptimalSelection,
  type Selection,
  selectByLayer,
  selectOptimal,
  selectUniform,
  shuffle,
  toSpec,
} from '../../block/select.js';
import { createSequence } from '../../data/generated.js';
import { readFileOrExplain } from '../../data/picture.node.js';
import { UsageError } from '../../errors.js';
import type { Patch } from '../../model/program.js';
import { amountOf, type CostKind, costKindOf, parseBudget } from '../budget.js';
import { writeWhole } from '../files.js';
import { formatCount, formatSeconds, formatShare, formatTable } from '../format.js';
import { type CommonOptions, createCommand, wholeNumber } from '../options.js';
import { perform } from '../task.js';
import { packageVersion } from '../version.js';

interface SolveOptions extends CommonOptions {
  readonly budget?: string;
  readonly cost?: CostKind;
  readonly uniform?: Patch;
  readonly baseline?: 'shuffled' | 'per-layer';
  readonly workLimit?: number;
  readonly seed: number;
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
  return createCommand(
    'solve',
    'Choose the patches that fit a budget with the least distortion.',
    'tessera solve net.npz --budget 12% -o spec.json',
  )
    .argument('<distortion>', 'file that tessera distort wrote')
    .option('--budget <budget>', 'share of the DReLUs (6%), or how many')
    .addOption(new Option('--cost <kind>', 'what the budget is of').choices(['drelus']))
    .addOption(new Option('--uniform <patch>', 'the same patch everywhere, such as 4x4, instead of a choice').argParser(patchFrom))
    .addOption(new Option('--baseline <kind>', 'a simpler choice, to compare with').choices(['shuffled', 'per-layer']))
    .addOption(new Option('--work-limit <n>', 'states the search may make; a limit that is reached leaves a gap').argParser(wholeNumber(1)))
    .addOption(new Option('--seed <n>', 'seed of --baseline shuffled').argParser(wholeNumber(0, 2 ** 32 - 1)).default(1))
    .requiredOption('-o, --output <spec>', 'spec file to write')
    .action((path: string, options: SolveOptions) =>
      perform(options, async ({ output }) => {
        const distortion = readDistortion(await readFileOrExplain(path), path);
        checkNotEmpty(distortion, path);
        const start = performance.now();
        const { selection, kind, budget } = select(distortion, options);
        const seconds = (performance.now() - start) / 1000;
        const { method, samples, seed } = distortion.meta;
        const baseline = options.uniform === undefined ? options.baseline : `uniform ${options.uniform.join('x')}`;
        const made = { budget: options.budget ?? null, cost: kind, method, samples, seed, version: packageVersion() };
        const spec = toSpec(distortion, selection.patches, { ...made, ...(baseline === undefined ? {} : { baseline }) });
        await writeWhole(options.output, `${JSON.stringify(spec)}\n`);
        const solved = summarise(distortion, selection, budget, seconds, options.output);
        output.result(solved, () => describe(solved));
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

function select(distortion: Distortion, options: SolveOptions): Chosen {
  const costOf: CostOf = dreluCost;
  if (options.uniform !== undefined) {
    if (options.budget !== undefined || options.baseline !== undefined) {
      throw new UsageError('--uniform is a choice of its own', {
        code: 'usage',
        where: '--uniform',
        hint: 'Leave --budget and --baseline out.',
      });
    }
    return { selection: selectUniform(distortion, costOf, options.uniform), kind: options.cost ?? 'drelus', budget: null };
  }
  if (options.budget === undefined) {
    throw new UsageError('no budget is given', { code: 'usage', where: '--budget', hint: 'Give --budget 12%, or --uniform 2x2.' });
  }
  const stated = parseBudget(options.budget);
  const kind = costKindOf(stated, options.cost);
  const budget = amountOf(stated, fullCost(distortion, costOf), kind);
  if (options.baseline === 'per-layer') return { selection: selectByLayer(distortion, costOf, budget), kind, budget };
  const limit = options.workLimit === undefined ? {} : { workLimit: options.workLimit };
  const optimal = selectOptimal(distortion, costOf, budget, limit);
  if (options.baseline === undefined) return { selection: optimal, kind, budget };
  return { selection: shuffle(distortion, costOf, optimal, createSequence(options.seed)), kind, budget };
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

function describe({ drelus, drelusFull, objective, gap, seconds, layers, file }: Solved): string {
  const rows = layers.map(({ name, kept, drelus: all }) => [name, formatCount(kept), formatCount(all), formatShare(kept / all)]);
  const proof = gap === null ? 'a baseline' : gap === 0 ? 'proven optimal' : `at most ${formatShare(gap)} above the optimum`;
  return [
    formatTable([['layer', 'kept', 'of', 'share'], ...rows]),
    '',
    `${formatCount(drelus)} of ${formatCount(drelusFull)} DReLUs (${formatShare(drelus / drelusFull)}), ${proof}, in ${formatSeconds(seconds)}`,
    ...(objective === null ? [] : [`distortion ${objective.toPrecision(6)}`]),
    file,
  ].join('\n');
}
