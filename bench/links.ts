// tessera bench links: ResNet-20 as a function of a link's rate, of its round trip, and of the share of comparisons that are left: seconds by
// three processes over imitated links.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../src/cli/files.js';
import type { StoredModel } from '../src/cli/model-folder.js';
import { linePlot } from '../src/cli/report/plots.js';
import { suites } from '../src/party/session.js';
import type { NetworkProfile } from '../src/wire/profiles.js';
import { type BenchOptions, type BenchRow, benchOptions, median, printRows, withParties } from './_parties.js';
import { compileResnet20, patchesEverywhere } from './_resnet20.js';

const defaults = { runs: 5, suites: ['masked', 'securenn'] };

/** Rates in Mb/s at a round trip of 20 ms, round trips in ms at 1 Gb/s. */
const ratesMegabits = [10, 30, 100, 300, 1000, 10_000];
const roundTripsMilliseconds = [0.1, 1, 10, 30, 100, 200];
const fixed = { megabits: 1000, milliseconds: 20 };

interface Row extends BenchRow {
  /** What is varied, and its value: Mb/s, ms, or the share of comparisons. */
  readonly along: 'rate' | 'round trip' | 'comparisons';
  readonly value: number;
}

const speed = (megabits: number, milliseconds: number): NetworkProfile => ({
  bytesPerSecond: (megabits * 1e6) / 8,
  roundTripSeconds: milliseconds / 1e3,
});

async function measure(
  model: StoredModel,
  suite: string,
  network: NetworkProfile,
  options: BenchOptions,
): Promise<Pick<Row, 'offline' | 'online' | 'ringBits' | 'runs'>> {
  const runs = options.runs ?? defaults.runs;
  const { program } = model.compiled;
  const image = new Float32Array(program.tensors[program.input]!.shape.reduce((a, b) => a * b, 1));
  const { outcomes, traffic } = await withParties(model, { ...options, suite, network }, async (session) => {
    const outcomes = [];
    for (let i = 0; i < runs + 1; i++) outcomes.push(await session.infer(image, 1));
    return { outcomes: outcomes.slice(1), traffic: await session.traffic() };
  });
  const phase = (which: 'offline' | 'online') => ({
    seconds: median(outcomes.map((outcome) => outcome.seconds[which])),
    bytes: Object.values(traffic[which]).reduce((a, b) => a + b, 0) / (runs + 1),
    rounds: outcomes[0]!.rounds[which],
  });
  return { ringBits: program.ringBits, runs, offline: phase('offline'), online: phase('online') };
}

const axes = {
  rate: { file: 'seconds-by-rate', label: 'rate of each link (Mb/s), at a round trip of 20 ms', scale: 'log' },
  'round trip': { file: 'seconds-by-round-trip', label: 'round trip of each link (ms), at 1 Gb/s', scale: 'log' },
  comparisons: { file: 'seconds-by-comparisons', label: 'share of comparisons left, at 1 Gb/s and 20 ms', scale: 'log' },
} as const;

/** One plot for each quantity that is varied: seconds of one image, both phases. */
async function drawAll(rows: readonly Row[], folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const along of Object.keys(axes) as Row['along'][]) {
    const own = rows.filter((row) => row.along === along);
    if (own.length === 0) continue;
    const nameOf = (row: Row): string => (along === 'comparisons' ? row.suite : `${row.suite}, ${row.case.replace('ResNet-20, ', '')}`);
    const series = [...new Set(own.map(nameOf))].map((name) => ({
      name,
      points: own.filter((row) => nameOf(row) === name).map((row) => [row.value, row.offline.seconds + row.online.seconds] as const),
    }));
    const { file, ...x } = axes[along];
    const title = `Seconds of one image of ResNet-20, by ${along}`;
    const description = `${series.length} lines: ${series.map(({ name }) => name).join('; ')}. The numbers are in the table beside it.`;
    const y = { label: 'seconds, offline and online', scale: 'log' } as const;
    await writeWhole(join(folder, `${file}.svg`), await linePlot({ title, description, x, y, series }));
  }
}

const options = benchOptions();
const wanted = (along: Row['along']): boolean => along.includes(options.match ?? '');
const rows: Row[] = [];
for (const suite of options.suites ?? defaults.suites) {
  for (const patch of patchesEverywhere) {
    const share = 1 / (patch[0] * patch[1]);
    const model = await compileResnet20(share === 1 ? undefined : patch);
    if (suites[suite]?.refuses(model.compiled.program) !== undefined) continue;
    const name = `ResNet-20, ${(100 * share).toFixed(share < 0.2 ? 1 : 0)} %`;
    const add = async (along: Row['along'], value: number, megabits: number, milliseconds: number) => {
      if (!wanted(along)) return;
      const network = `${megabits}Mbit,${milliseconds}ms`;
      rows.push({ case: name, suite, network, along, value, ...(await measure(model, suite, speed(megabits, milliseconds), options)) });
    };
    await add('comparisons', share, fixed.megabits, fixed.milliseconds);
    // All comparisons and an eighth of them, along both axes.
    if (share !== 1 && share !== 0.125) continue;
    for (const megabits of ratesMegabits) await add('rate', megabits, megabits, fixed.milliseconds);
    for (const milliseconds of roundTripsMilliseconds) await add('round trip', milliseconds, fixed.megabits, milliseconds);
  }
}
if (options.plots !== undefined) await drawAll(rows, options.plots);
printRows(rows, options, {
  along: (row) => row.along,
  network: (row) => row.network,
  case: (row) => row.case,
  suite: (row) => row.suite,
  'offline s': (row) => row.offline.seconds.toFixed(3),
  'online s': (row) => row.online.seconds.toFixed(3),
  'MB in all': (row) => ((row.offline.bytes + row.online.bytes) / 1e6).toFixed(2),
  runs: (row) => String(row.runs),
});
