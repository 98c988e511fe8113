// tessera solve: from a distortion file and a budget to a spec, proven optimal.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Distortion, readDistortion } from '../../block/distortion-file.js';
import { checkNotEmpty, withoutConstants } from '../../block/select.js';
import { readFileOrExplain } from '../../data/picture.node.js';
import { UsageError } from '../../errors.js';
import type { Patch } from '../../model/program.js';
import { suites } from '../../party/session.js';
import { parseNetwork } from '../../wire/profiles.js';
import type { CostKind } from '../budget.js';
import { refineChosen, type Solved, type SolveOptions, select, summarise, writeSpec } from '../choosing.js';
import { formatBytes, formatCount, formatSeconds, formatShare, formatTable } from '../format.js';
import { createCommand, seconds, wholeNumber, withCompilation, withPictures } from '../options.js';
import { perform } from '../task.js';

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

function patchFrom(text: string): Patch {
  const match = /^(\d+)x(\d+)$/.exec(text);
  const [height, width] = [Number(match?.[1]), Number(match?.[2])];
  const constant = (height === 0 && width === 1) || (height === 1 && width === 0);
  if (match === null || !(constant || (height >= 1 && width >= 1 && height < 65536 && width < 65536))) {
    throw new InvalidArgumentError('A patch is like 4x4; 0x1 is identity, 1x0 zero.');
  }
  return [height, width];
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
