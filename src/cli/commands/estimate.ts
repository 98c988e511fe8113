// tessera estimate: every byte of every link, and the seconds, before any run.
import type { Command } from 'commander';
import { Option } from 'commander';
import { suites } from '../../party/session.js';
import type { PhaseCost } from '../../protocol/estimate.js';
import { openCompute } from '../compute.js';
import { estimateSuite, type SuiteEstimate } from '../estimating.js';
import { formatBytes, formatSeconds, formatTable } from '../format.js';
import { openMachine } from '../machine.js';
import { findModel, openModel } from '../model.js';
import type { CompiledSummary } from '../model-folder.js';
import { createCommand, type ModelOptions, wholeNumber, withCompilation, withPictures, withPlan } from '../options.js';
import { openPictures } from '../pictures.js';
import { describePlan, type PlanOptions, planModel } from '../planning.js';
import { formatPeaks } from '../run-report.js';
import { perform } from '../task.js';

export function estimateCommand(): Command {
  const example = 'tessera estimate models/cifar10-resnet20.onnx';
  const command = createCommand('estimate', 'Predict every byte of every link and the seconds, before any run.', example);
  return withPlan(withCompilation(withPictures(command)))
    .argument('<model>', 'ONNX file or compiled model')
    .addOption(new Option('--suite <name>', 'that suite alone').choices(Object.keys(suites)))
    .addOption(new Option('--batch <n>', 'pictures that share their messages').argParser(wholeNumber(1)).default(1))
    .action((path: string, options: ModelOptions & PlanOptions & { readonly batch: number; readonly suite?: string }) =>
      perform(options, async (task) => {
        const source = await findModel(path, options);
        const pictures = options.data === undefined ? undefined : await openPictures([], options, task.output, source.description);
        const compute = await openCompute(task, options.threads);
        const opened = await openModel(source, options, task, compute, pictures);
        const { compiled, summary } = await planModel(opened, options, source.stored !== undefined, task);
        const costs: [string, SuiteEstimate][] = [];
        for (const [name, suite] of Object.entries(suites)) {
          if ((options.suite ?? name) !== name) continue;
          const reason = suite.refuses(compiled.program);
          if (reason !== undefined) task.output.note(`no estimate for the ${name} suite: it ${reason}`);
          if (reason !== undefined) continue;
          const machine = await openMachine({ suite: name, threads: options.threads, ringBits: compiled.program.ringBits }, task);
          costs.push([name, estimateSuite(compiled.program, name, options.batch, machine)]);
        }
        const report = { suites: Object.fromEntries(costs), batch: options.batch, ...planOf(summary), calibratedOn: summary.calibratedOn };
        const plan = summary.plan === undefined ? [] : [describePlan(summary.plan)];
        task.output.result(report, () => [...plan, ...costs.map(([name, cost]) => describe(name, cost))].join('\n\n'));
      }),
    );
}

const planOf = ({ plan }: CompiledSummary): Pick<CompiledSummary, 'plan'> => (plan === undefined ? {} : { plan });

function describe(name: string, { offline, online, seconds, peakBytes }: SuiteEstimate): string {
  const links = [...new Set([...Object.keys(offline.links), ...Object.keys(online.links)])].sort() as (keyof PhaseCost['links'])[];
  const rows = [
    [`suite ${name}`, 'offline', 'online'],
    ...links.map((link) => [link.replace('>', ' → '), formatBytes(offline.links[link] ?? 0), formatBytes(online.links[link] ?? 0)]),
    ['in all', formatBytes(offline.bytes), formatBytes(online.bytes)],
    ['messages in a row', String(offline.rounds), String(online.rounds)],
    ...Object.keys(seconds).map((profile) => [
      profile === 'none' ? 'time here' : `time on ${profile}`,
      formatSeconds(offline.seconds[profile]!),
      formatSeconds(online.seconds[profile]!),
    ]),
  ];
  const memory = peakBytes === undefined ? '' : `\nmost memory: ${formatPeaks(peakBytes)}`;
  return `${formatTable(rows)}${memory}\ntimes are those of three machines like this one, predicted`;
}
