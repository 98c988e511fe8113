// tessera optimize: measures, chooses, refines, trains, evaluates and reports in one go.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { candidateKinds } from '../../block/candidates.js';
import { suites } from '../../party/session.js';
import { parseNetwork } from '../../wire/profiles.js';
import { formatBytes, formatCount, formatSeconds, formatShare, formatTable } from '../format.js';
import type { OptimizeOptions } from '../optimize-work.js';
import { optimize } from '../optimizing.js';
import { createCommand, seconds, wholeNumber, withCompilation, withPictures } from '../options.js';
import { mainScore, type OptimizeReport } from '../report/data.js';
import { perform } from '../task.js';

export function optimizeCommand(): Command {
  const example = 'tessera optimize net.onnx --data train.json --validate test.json --budget 12% --budgets 50%,25%,6% -o net';
  const command = createCommand(
    'optimize',
    'From a network and a budget to a spec and a report: distort, solve, finetune and evaluate.',
    example,
  )
    .argument('<model>', 'ONNX file')
    .requiredOption('--budget <budget>', 'share of the full cost (6%), a number of DReLUs, bytes (20MB) or a time (300ms)')
    .addOption(new Option('--budgets <list>', 'further budgets to compare it with, with commas between').argParser(listFrom).default([]))
    .option('--validate <path>', 'pictures that scores are of; else a tenth of --data is set apart')
    .addOption(new Option('--validate-limit <n>', 'score on at most so many').argParser(wholeNumber(1)))
    .addOption(
      new Option('--rounds <n>', 'times to measure again under the last choice (default 1; 0 with --correct or --finetune)').argParser(
        wholeNumber(0, 10),
      ),
    )
    .addOption(new Option('--samples <n>', 'pictures to measure with').argParser(wholeNumber(1)).default(256))
    .addOption(new Option('--probes <n>', 'random directions at the output for each picture').argParser(wholeNumber(1, 1024)).default(4))
    .addOption(new Option('--candidates <kind>', 'patches to measure').choices(candidateKinds).default('generated'));
  return withPictures(withChoice(command))
    .requiredOption('-o, --output <folder>', 'folder to write; what a killed or earlier call left there is used')
    .action((path: string, options: OptimizeOptions) =>
      perform(options, async (task) => {
        const report = await optimize(path, options, task);
        task.output.result(report, () => describe(report));
      }),
    );
}

/** Adds what `solve` and `finetune` also take. */
function withChoice(command: Command): Command {
  return withCompilation(
    command
      .option('--correct', 'fit weights to what the network computes without patches; needs no labels', false)
      .addOption(new Option('--finetune [epochs]', 'train the network of --budget under its spec').argParser(epochsFrom))
      .addOption(new Option('--cost <kind>', 'what budgets are of').choices(['drelus', 'bytes', 'seconds']))
      .addOption(
        new Option('--phase <kind>', 'which phase bytes and seconds are of').choices(['total', 'offline', 'online']).default('total'),
      )
      .addOption(new Option('--suite <name>', 'protocol suite').choices(Object.keys(suites)).default('masked'))
      .addOption(new Option('--network <profile>', 'a named network or RATE,RTT that seconds are of').argParser(parseNetwork))
      .option('--constants', 'also let channels pass unchanged or vanish', false)
      .option('--windows', 'also choose comparison windows (default for bytes and seconds)')
      .option('--no-windows', 'compare exactly, whatever the cost')
      .addOption(new Option('--refine <how>', 'make choices better by measuring on pictures').choices(['annealing']))
      .addOption(new Option('--refine-seconds <s>', 'time for it, for each budget').argParser(seconds))
      .addOption(new Option('--refine-steps <n>', 'moves to try, alike on every machine').argParser(wholeNumber(1)))
      .addOption(
        new Option('--refine-measure <kind>', 'what is made small').choices(['distance', 'divergence', 'loss']).default('distance'),
      ),
    { spec: false },
  );
}

function listFrom(text: string): readonly string[] {
  const list = text.split(',').map((part) => part.trim());
  if (list.every((part) => part !== '')) return list;
  throw new InvalidArgumentError('It is like 50%,25%,6%.');
}

const epochsFrom = (text: string): number => wholeNumber(1, 1e6)(text);

function describe({ rows, original, recommendation, report, spec, model, metric, seconds: all }: OptimizeReport): string {
  const score = { top1: 'top-1', miou: 'mean IoU', agreement: 'same label' }[metric];
  const bytes = ({ offline, online }: OptimizeReport['original']['costs']): string => formatBytes(offline.bytes + online.bytes);
  const full = ['all', formatCount(rows[0]?.solved.drelusFull ?? 0), formatShare(mainScore(original.score)), '', '', bytes(original.costs)];
  const lines = rows.map((row) => [
    ...[row.name, formatCount(row.solved.drelus), formatShare(mainScore(row.fixed ?? row.score))],
    ...[formatShare(mainScore(row.perLayer.score)), formatShare(mainScore(row.uniform.score)), bytes(row.costs)],
  ]);
  return [
    formatTable([['budget', 'DReLUs', score, 'one patch a layer', 'one everywhere', 'an inference'], full, ...lines]),
    '',
    recommendation.sentence,
    `in ${formatSeconds(all)}: ${[spec, ...(model === undefined ? [] : [model]), report].join(', ')}`,
  ].join('\n');
}
