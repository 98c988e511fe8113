// tessera bench suites: ResNet-20 with all its comparisons and with an eighth of them, by the suites on every named network: bytes, rounds and
// seconds beside each other. Where the default suite is not the best of them, its row says in what.

import type { StoredModel } from '../src/cli/model-folder.js';
import { suites } from '../src/party/session.js';
import { namedNetworks, parseNetwork } from '../src/wire/profiles.js';
import { type BenchOptions, type BenchRow, benchOptions, median, printRows, withParties } from './_parties.js';
import { resnet20 } from './_resnet20.js';

const defaultRuns = 5;
const defaultSuite = 'masked';
const comparedSuites = [defaultSuite, 'securenn'];

async function measure(name: string, model: StoredModel, suite: string, network: string, options: BenchOptions): Promise<BenchRow> {
  const runs = options.runs ?? defaultRuns;
  const { program } = model.compiled;
  const image = new Float32Array(program.tensors[program.input]!.shape.reduce((a, b) => a * b, 1));
  const { outcomes, traffic } = await withParties(model, { ...options, suite, network: parseNetwork(network) }, async (session) => {
    const outcomes = [];
    for (let i = 0; i < runs + 1; i++) outcomes.push(await session.infer(image, 1));
    return { outcomes: outcomes.slice(1), traffic: await session.traffic() };
  });
  const phase = (which: 'offline' | 'online') => ({
    seconds: median(outcomes.map((outcome) => outcome.seconds[which])),
    bytes: Object.values(traffic[which]).reduce((a, b) => a + b, 0) / (runs + 1),
    rounds: outcomes[0]!.rounds[which],
  });
  return { case: name, suite, ringBits: program.ringBits, network, runs, offline: phase('offline'), online: phase('online') };
}

const figures: Readonly<Record<string, (row: BenchRow) => number>> = {
  'offline bytes': (row) => row.offline.bytes,
  'offline seconds': (row) => row.offline.seconds,
  bytes: (row) => row.offline.bytes + row.online.bytes,
  'online bytes': (row) => row.online.bytes,
  rounds: (row) => row.online.rounds,
  seconds: (row) => row.offline.seconds + row.online.seconds,
  'online seconds': (row) => row.online.seconds,
};

/** Says of a row of the default suite in what another one is better. */
function withLosses(row: BenchRow, rows: readonly BenchRow[]): BenchRow {
  if (row.suite !== defaultSuite) return row;
  const others = rows.filter((other) => other.suite !== row.suite && other.case === row.case && other.network === row.network);
  const lost = Object.entries(figures).flatMap(([name, of]) => {
    const best = others.reduce<BenchRow | undefined>(
      (least, other) => (least === undefined || of(other) < of(least) ? other : least),
      undefined,
    );
    return best !== undefined && of(best) < of(row) ? [`${name} to ${best.suite}`] : [];
  });
  return lost.length === 0 ? row : { ...row, note: `loses ${lost.join(', ')}` };
}

const options = benchOptions();
const rows: BenchRow[] = [];
for (const ring of options.rings ?? [32, 64]) {
  for (const [name, model] of await resnet20(ring)) {
    if (!name.includes(options.match ?? '')) continue;
    for (const suite of options.suites ?? comparedSuites) {
      if (suites[suite]?.refuses(model.compiled.program) !== undefined) continue;
      for (const network of options.networks ?? namedNetworks.map(([own]) => own))
        rows.push(await measure(name, model, suite, network, options));
    }
  }
}
const order = (row: BenchRow): string => `${row.case} ${(options.networks ?? namedNetworks.map(([own]) => own)).indexOf(row.network)}`;
const sorted = rows.map((row) => withLosses(row, rows)).sort((a, b) => order(a).localeCompare(order(b), 'en', { numeric: true }));
printRows(sorted, options, {
  case: (row) => row.case,
  network: (row) => row.network,
  suite: (row) => row.suite,
  ring: (row) => String(row.ringBits),
  'offline MB': (row) => (row.offline.bytes / 1e6).toFixed(2),
  'online MB': (row) => (row.online.bytes / 1e6).toFixed(2),
  rounds: (row) => String(row.online.rounds),
  'offline s': (row) => row.offline.seconds.toFixed(3),
  'online s': (row) => row.online.seconds.toFixed(3),
  runs: (row) => String(row.runs),
  note: (row) => row.note ?? '',
});
