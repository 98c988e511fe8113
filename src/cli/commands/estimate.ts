// tessera estimate: every byte of every link before any run.
import type { Command } from 'commander';
import { Option } from 'commander';
import { transportSeconds } from '../../block/cost.js';
import { suites } from '../../party/session.js';
import { estimate, type PhaseCost } from '../../protocol/estimate.js';
import { namedNetworks } from '../../wire/profiles.js';
import { openCompute } from '../compute.js';
import { formatBytes, formatSeconds, formatTable } from '../format.js';
import { findModel, openModel } from '../model.js';
import { createCommand, type ModelOptions, wholeNumber, withCompilation, withPictures } from '../options.js';
import { openPictures } from '../pictures.js';
import { perform } from '../task.js';

interface SuiteEstimate {
  readonly offline: PhaseCost;
  readonly online: PhaseCost;
  /** Transport alone, offline and online: rounds at half a round trip each, and the busiest direction at the network's rate. */
  readonly seconds: Readonly<Record<string, number>>;
}

export function estimateCommand(): Command {
  const example = 'tessera estimate models/cifar10-resnet20.onnx';
  return withCompilation(withPictures(createCommand('estimate', 'Predict every byte of every link, before any run.', example)))
    .argument('<model>', 'ONNX file or compiled model')
    .addOption(new Option('--batch <n>', 'pictures that share their messages').argParser(wholeNumber(1)).default(1))
    .action((path: string, options: ModelOptions & { readonly batch: number }) =>
      perform(options, async (task) => {
        const source = await findModel(path, options);
        const pictures = options.data === undefined ? undefined : await openPictures([], options, task.output, source.description);
        const compute = await openCompute(task, options.threads);
        const { compiled, summary } = await openModel(source, options, task, compute, pictures);
        const able = Object.entries(suites).filter(([, suite]) => suite.refuses(compiled.program) === undefined);
        const costs = able.map(([name, suite]): [string, SuiteEstimate] => {
          const { offline, online } = estimate(compiled.program, suite, options.batch);
          const seconds = Object.fromEntries(
            namedNetworks.map(([profile, network]) => [profile, transportSeconds(offline, network) + transportSeconds(online, network)]),
          );
          return [name, { offline, online, seconds }];
        });
        const report = { suites: Object.fromEntries(costs), batch: options.batch, calibratedOn: summary.calibratedOn };
        task.output.result(report, () => costs.map(([name, cost]) => describe(name, cost)).join('\n\n'));
      }),
    );
}

function describe(name: string, { offline, online, seconds }: SuiteEstimate): string {
  const links = [...new Set([...Object.keys(offline.links), ...Object.keys(online.links)])].sort() as (keyof PhaseCost['links'])[];
  const rows = [
    [`suite ${name}`, 'offline', 'online'],
    ...links.map((link) => [link.replace('>', ' → '), formatBytes(offline.links[link] ?? 0), formatBytes(online.links[link] ?? 0)]),
    ['in all', formatBytes(offline.bytes), formatBytes(online.bytes)],
    ['messages in a row', String(offline.rounds), String(online.rounds)],
  ];
  const times = Object.entries(seconds).map(([profile, time]) => `${formatSeconds(time)} on ${profile}`);
  return `${formatTable(rows)}\nsending takes ${times.join(', ')}, computing not counted`;
}
