// tessera estimate: every byte of every link, and the seconds, before any run.
import type { Command } from 'commander';
import { Option } from 'commander';
import type { Program } from '../../model/program.js';
import { suites } from '../../party/session.js';
import { estimate, type PhaseCost } from '../../protocol/estimate.js';
import { type MachineRates, predictSeconds } from '../../protocol/timing.js';
import { networkProfiles } from '../../wire/profiles.js';
import { openCompute } from '../compute.js';
import { formatBytes, formatSeconds, formatTable } from '../format.js';
import { openMachine } from '../machine.js';
import { findModel, openModel } from '../model.js';
import { createCommand, type ModelOptions, wholeNumber, withCompilation, withPictures } from '../options.js';
import { openPictures } from '../pictures.js';
import { perform } from '../task.js';

type Seconds = Readonly<Record<string, number>>;

/** Seconds by network, on machines like this one. */
interface PhaseEstimate extends PhaseCost {
  readonly seconds: Seconds;
}

interface SuiteEstimate {
  readonly offline: PhaseEstimate;
  readonly online: PhaseEstimate;
  /** Of both phases. */
  readonly seconds: Seconds;
}

export function estimateCommand(): Command {
  const example = 'tessera estimate models/cifar10-resnet20.onnx';
  return withCompilation(
    withPictures(createCommand('estimate', 'Predict every byte of every link and the seconds, before any run.', example)),
  )
    .argument('<model>', 'ONNX file or compiled model')
    .addOption(new Option('--batch <n>', 'pictures that share their messages').argParser(wholeNumber(1)).default(1))
    .action((path: string, options: ModelOptions & { readonly batch: number }) =>
      perform(options, async (task) => {
        const source = await findModel(path, options);
        const pictures = options.data === undefined ? undefined : await openPictures([], options, task.output, source.description);
        const compute = await openCompute(task, options.threads);
        const { compiled, summary } = await openModel(source, options, task, compute, pictures);
        const costs: [string, SuiteEstimate][] = [];
        for (const [name, suite] of Object.entries(suites)) {
          if (suite.refuses(compiled.program) !== undefined) continue;
          const machine = await openMachine({ suite: name, threads: options.threads, ringBits: compiled.program.ringBits }, task);
          costs.push([name, estimateSuite(compiled.program, name, options.batch, machine)]);
        }
        const report = { suites: Object.fromEntries(costs), batch: options.batch, calibratedOn: summary.calibratedOn };
        task.output.result(report, () => costs.map(([name, cost]) => describe(name, cost)).join('\n\n'));
      }),
    );
}

function estimateSuite(program: Program, name: string, batch: number, machine: MachineRates): SuiteEstimate {
  const suite = suites[name]!;
  const cost = estimate(program, suite, batch);
  const networks = Object.entries(networkProfiles);
  const predicted = networks.map(([profile, network]) => [profile, predictSeconds(program, suite, batch, network, machine)] as const);
  const seconds = (of: (each: { offline: number; online: number }) => number): Seconds =>
    Object.fromEntries(predicted.map(([profile, each]) => [profile, of(each)]));
  return {
    offline: { ...cost.offline, seconds: seconds(({ offline }) => offline) },
    online: { ...cost.online, seconds: seconds(({ online }) => online) },
    seconds: seconds(({ offline, online }) => offline + online),
  };
}

function describe(name: string, { offline, online, seconds }: SuiteEstimate): string {
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
  return `${formatTable(rows)}\ntimes are those of three machines like this one, predicted`;
}
