// tessera bench agreement: do the three parties name what the float network under the same spec names, and in which ring? ResNet-20 with all
// of its comparisons and with 12 % of them, chosen without any training. Needs ../shared/data; says so where it is absent.
// TESSERA_IMAGES=n answers n pictures privately instead of 30; the fixed-point simulation answers 1,000 test pictures.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatBytes, formatCount, formatSeconds, formatShare } from '../src/cli/format.js';
import { tessera } from './_command.js';
import { cifar } from './_distortions.js';
import { benchOptions, printRows } from './_parties.js';

const pictures = process.env.TESSERA_IMAGES ?? '30';

interface Case {
  readonly budget: string;
  readonly suite: string;
  readonly ring: number;
}

const cases: readonly Case[] = [
  { budget: '100%', suite: 'masked', ring: 32 },
  ...[32, 36, 40, 44, 46, 48].map((ring) => ({ budget: '12%', suite: 'masked', ring })),
  { budget: '12%', suite: 'securenn-exact', ring: 64 },
];

type Network = NonNullable<ReturnType<typeof cifar>>;

interface Row extends Case {
  /** Shares of 1,000 test pictures: right in float, right in fixed point, and the same label in both. */
  readonly float: number;
  readonly fixed: number;
  readonly agreement: number;
  /** Shares of `answered` pictures, privately: right, and the label of float. */
  readonly right: number;
  readonly secure: number;
  readonly answered: number;
  /** Of one picture, offline and online; the bytes are those of the estimate. */
  readonly bytes: number;
  readonly seconds: number;
}

interface Solved {
  readonly spec: string;
  /** Share of test pictures the float network answers right under it. */
  readonly float: number;
}

/** A spec that keeps `budget` of the comparisons. */
function solve({ model, train, test }: Network, folder: string, budget: string): Solved {
  const spec = join(folder, `${budget}.json`);
  tessera('solve', join(folder, 'd.npz'), '--budget', budget, '-o', spec);
  return { spec, float: tessera('evaluate', model, '--data', test, '--calibrate', train, '--spec', spec).top1 };
}

function measure({ model, train, test }: Network, { spec, float }: Solved, each: Case): Row {
  const args = [model, '--data', test, '--calibrate', train, '--spec', spec, '--ring', String(each.ring), '--suite', each.suite];
  const { top1, agreement } = tessera('evaluate', ...args, '--precision', 'fixed');
  const run = tessera('run', ...args, '--limit', pictures, '--parties', 'processes');
  if (!run.estimateMatches) throw new Error('the bytes are not those of the estimate');
  const answered: number = run.results.length;
  const perPicture = (of: 'bytes' | 'seconds'): number => (run.offline[of] + run.online[of]) / answered;
  const secure = { right: run.accuracy, secure: run.agreement, answered };
  return { ...each, float, fixed: top1, agreement, ...secure, bytes: perPicture('bytes'), seconds: perPicture('seconds') };
}

const options = benchOptions();
const folder = mkdtempSync(join(tmpdir(), 'tessera-bench-'));
const rows: Row[] = [];
try {
  const network = cifar();
  if (network !== undefined) {
    tessera('distort', network.model, '--data', network.train, '--samples', '256', '-o', join(folder, 'd.npz'));
    const specs = new Map([...new Set(cases.map(({ budget }) => budget))].map((budget) => [budget, solve(network, folder, budget)]));
    const wanted = cases.filter(
      ({ ring, suite }) => (options.rings ?? [ring]).includes(ring) && (options.suites ?? [suite]).includes(suite),
    );
    for (const each of wanted) rows.push(measure(network, specs.get(each.budget)!, each));
  }
} finally {
  rmSync(folder, { recursive: true });
}

printRows(rows, options, {
  'ResNet-20, CIFAR-10: DReLUs': (row) => row.budget.replace('%', ' %'),
  suite: (row) => row.suite,
  ring: (row) => `${row.ring} bits`,
  'right in float, fixed': (row) => `${formatShare(row.float)}, ${formatShare(row.fixed)}`,
  'same label': (row) => formatShare(row.agreement),
  'privately: right, same label': (row) => `${formatShare(row.right)}, ${formatShare(row.secure)} of ${formatCount(row.answered)}`,
  'bytes a picture': (row) => formatBytes(row.bytes),
  'seconds a picture': (row) => formatSeconds(row.seconds),
});
