// tessera bench curve: accuracy by the share of comparisons, before and after fine-tuning, of the knapsack's choice, distilled and from labels
// alone, and of uniform patches for the same comparisons. An hour and a half: cells are kept as they are finished, and a killed run goes on. --network
// resnet20 or resnet20-kd takes one network, --budgets 6,12 some shares, --minutes 0 prints what there is. Needs ../shared/data.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../src/cli/files.js';
import { formatCount, formatShare } from '../src/cli/format.js';
import { linePlot, type Series } from '../src/cli/report/plots.js';
import type { ChoiceKind } from './_chosen.js';
import type { NetworkName } from './_distortions.js';
import { type Cell, finishAll, type Outcome, openCells, outcomeColumns, untilLate, wayOf } from './_finetuning.js';
import { benchOptions, printRows } from './_parties.js';

/** Pictures that distortions are measured on. */
const samples = 256;

const curves: readonly { readonly network: NetworkName; readonly name: string; readonly shares: readonly number[] }[] = [
  { network: 'resnet20', name: 'CIFAR-10, ResNet-20', shares: [0.03, 0.06, 0.09, 0.12, 0.15, 0.18, 0.25, 0.5] },
  { network: 'resnet20-kd', name: 'CIFAR-100, ResNet-20', shares: [0.06, 0.09, 0.18, 0.5] },
];
/** What a reader looks for first is trained first. */
const first = [0.12, 0.06, 0.25];

const ways: readonly { readonly kind: ChoiceKind; readonly distill: boolean }[] = [
  { kind: 'knapsack', distill: true },
  { kind: 'uniform', distill: true },
  { kind: 'knapsack', distill: false },
];

/** One cell that is trained for longer, for what that wins back: a quarter of an hour on one thread. */
const longer = { network: 'resnet20', share: 0.12, pictures: 40_000, epochs: 4 };

interface Row extends Cell {
  readonly network: string;
  readonly outcome: Outcome;
}

const options = benchOptions();
const isLate = untilLate(options);
const way = wayOf(options);
const rows: Row[] = [];
for (const { network, name, shares } of curves) {
  if (options.networks !== undefined && !options.networks.includes(network)) continue;
  const opened = await openCells(network, options);
  if (opened === undefined) break;
  const wanted = options.budgets === undefined ? shares : shares.filter((share) => options.budgets!.includes(share));
  const usual = wanted.flatMap((share) =>
    ways.map(({ kind, distill }): Cell => ({ choice: { kind, share, samples }, way: { ...way, distill } })),
  );
  const { share, pictures, epochs } = longer;
  const more: Cell = { choice: { kind: 'knapsack', share, samples }, way: { ...way, pictures, epochs } };
  const cells = network === longer.network && wanted.includes(share) ? [...usual, more] : usual;
  const turn = (cell: Cell): number => {
    if (cell === more) return Number.POSITIVE_INFINITY;
    const [at, column] = [first.indexOf(cell.choice.share), cells.indexOf(cell) % ways.length];
    return column * (first.length + 1) + (at < 0 ? first.length : at);
  };
  const order = [...cells].sort((a, b) => turn(a) - turn(b));
  for (const [cell, outcome] of await finishAll(opened, cells, isLate, order)) rows.push({ ...cell, network: name, outcome });
  await opened.end();
}

/** Right answers against the share of comparisons, one plot a network. */
async function drawCurves(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const { network, name } of curves) {
    const own = rows.filter((row) => row.network === name);
    if (own.length === 0) continue;
    const along = (kind: ChoiceKind, distill: boolean, of: (outcome: Outcome) => number): Series['points'] =>
      own
        .filter((row) => row.choice.kind === kind && row.way.distill === distill && row.way.pictures === way.pictures)
        .map(({ choice, outcome }) => [choice.share, of(outcome)]);
    const { original, tests } = own[0]!.outcome;
    const plot = await linePlot({
      title: `${name}: right answers by the share of comparisons`,
      description: `${tests} test pictures: the knapsack's choice and uniform patches for as many comparisons, before and after fine-tuning.`,
      x: { label: 'share of the comparisons', format: '.0%', domain: [0, 0.5] },
      y: { label: 'right answers', format: '.0%', domain: [0, 1] },
      series: [
        {
          name: 'all comparisons',
          dashed: true,
          points: [
            [0, original],
            [0.5, original],
          ],
        },
        { name: 'knapsack, fine-tuned', points: along('knapsack', true, ({ after }) => after) },
        { name: 'knapsack, labels alone', points: along('knapsack', false, ({ after }) => after) },
        { name: 'uniform, fine-tuned', points: along('uniform', true, ({ after }) => after) },
        { name: 'knapsack, untrained', dashed: true, points: along('knapsack', true, ({ before }) => before) },
        { name: 'uniform, untrained', dashed: true, points: along('uniform', true, ({ before }) => before) },
      ],
    });
    await writeWhole(join(folder, `curve-${network}.svg`), plot);
  }
}

if (options.plots !== undefined) await drawCurves(options.plots);
const [any] = rows;
if (!options.json && any !== undefined) {
  const original = [...new Map(rows.map(({ network, outcome }) => [network, formatShare(outcome.original)]))].map((pair) => pair.join(' '));
  process.stdout.write(`100 % of the DReLUs: ${original.join(', ')}, of ${any.outcome.tests} test pictures\n`);
  process.stdout.write(`distortions of ${samples} pictures\n`);
}
printRows(rows, options, {
  network: (row) => row.network,
  budget: (row) => formatShare(row.choice.share),
  patches: (row) => row.choice.kind,
  'learned from': (row) => (row.way.distill ? 'network, labels' : 'labels'),
  pictures: (row) => `${formatCount(row.outcome.trained)} × ${row.way.epochs}`,
  ...Object.fromEntries(Object.entries(outcomeColumns).map(([name, column]) => [name, (row: Row) => column(row.outcome)])),
});
