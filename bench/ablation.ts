// tessera bench ablation: what each part of fine-tuning and of choosing does to the accuracy, one change a row. Cells are kept and shared with
// `curve`; a killed run goes on. --budgets 6 takes another share, --minutes 0 prints what there is. Needs ../shared/data.
import { formatBytes, formatCount } from '../src/cli/format.js';
import { bytesOf, type Choice } from './_chosen.js';
import { type Cell, finishAll, type Outcome, openCells, outcomeColumns, untilLate, type Way, wayOf } from './_finetuning.js';
import { benchOptions, printRows } from './_parties.js';

interface Change {
  readonly name: string;
  readonly choice?: Partial<Choice>;
  readonly way?: Partial<Way>;
}

interface Row extends Cell {
  readonly name: string;
  /** Of an inference. */
  readonly bytes: number;
  readonly outcome: Outcome;
}

const options = benchOptions();
const isLate = untilLate(options);
const base = wayOf(options);
const changes: readonly Change[] = [
  { name: 'as it is: knapsack, corrected, distilled' },
  { name: 'labels alone', way: { distill: false } },
  { name: 'shuffled within layers', choice: { kind: 'shuffled' } },
  { name: 'identity and zero channels allowed', choice: { kind: 'constants' } },
  { name: 'chosen for the same bytes', choice: { kind: 'bytes' } },
  { name: 'distortions of 1,024 pictures', choice: { samples: 1024 } },
  { name: 'weight decay 0.0005', way: { weightDecay: 5e-4 } },
  { name: 'soft start over half the epochs', way: { softStart: base.epochs / 2 } },
  { name: 'without correction', way: { correct: false } },
  { name: 'without batch norm', way: { batchNorm: false } },
  { name: 'a share of the channels more each epoch', way: { stages: base.epochs } },
  { name: 'measured again under the choice', choice: { kind: 'again' } },
];

const rows: Row[] = [];
const opened = await openCells('resnet20', options);
if (opened !== undefined) {
  const choice: Choice = { kind: 'knapsack', share: options.budgets?.[0] ?? 0.12, samples: 256 };
  const cells = changes.map((change) => ({ choice: { ...choice, ...change.choice }, way: { ...base, ...change.way } }));
  for (const [cell, outcome] of await finishAll(opened, cells, isLate)) {
    const bytes = await bytesOf(opened.chooser, cell.choice);
    rows.push({ ...cell, name: changes[cells.indexOf(cell)]!.name, bytes, outcome });
  }
  await opened.end();
}

const [any] = rows;
if (!options.json && any !== undefined) {
  const { trained, tests } = any.outcome;
  process.stdout.write(`${formatCount(trained)} pictures × ${base.epochs} epochs; scores of ${formatCount(tests)} test pictures\n`);
}
printRows(rows, options, {
  'ResNet-20, CIFAR-10': (row) => row.name,
  ...Object.fromEntries(Object.entries(outcomeColumns).map(([name, column]) => [name, (row: Row) => column(row.outcome)])),
  'an inference': (row) => formatBytes(row.bytes),
});
