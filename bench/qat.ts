// tessera bench qat: rings of 32, 24 and 20 bits with and without imitating their rounding while fine-tuning. Cells are kept, and those without are
// those of `curve`. Fixed point is simulated with the numbers of the protocol (1,000 test pictures); TESSERA_IMAGES=n pictures, 1,000 else, are
// answered privately by three parties. --minutes 0 prints what there is. Needs ../shared/data.
import { formatBytes, formatCount, formatShare } from '../src/cli/format.js';
import { tessera } from './_command.js';
import { cifar } from './_distortions.js';
import { type Cell, finishAll, openCells, untilLate, wayOf } from './_finetuning.js';
import { benchOptions, printRows } from './_parties.js';

const rings = [32, 24, 20];
const pictures = process.env.TESSERA_IMAGES ?? '1000';

interface Row {
  readonly imitated: boolean;
  readonly ringBits: number;
  /** Shares of the test pictures: right in float, right in fixed point, the same label in both, and values that left their range. */
  readonly float: number;
  readonly fixed: number;
  readonly agreement: number;
  readonly clipped: number;
  /** Shares of the `answered` pictures that are right, and that have the float label, privately. */
  readonly secureRight: number;
  readonly secure: number;
  readonly answered: number;
  /** Bytes of one inference. */
  readonly bytes: number;
}

function measure(files: { readonly model: string; readonly spec: string }, ringBits: number, imitated: boolean): Row {
  const { train, test } = cifar()!;
  const args = [files.model, '--spec', files.spec, '--ring', String(ringBits), '--data', test, '--calibrate', train];
  const float = tessera('evaluate', ...args, '--precision', 'float').top1;
  const { top1: fixed, agreement, clipped } = tessera('evaluate', ...args, '--precision', 'fixed');
  const secure = tessera('evaluate', ...args, '--precision', 'secure', '--limit', pictures);
  const run = tessera('run', ...args, '--limit', '1');
  if (!run.estimateMatches) throw new Error('the bytes are not those of the estimate');
  const bytes = run.offline.bytes + run.online.bytes;
  const answered = { secureRight: secure.top1, secure: secure.agreement, answered: secure.images };
  return { imitated, ringBits, float, fixed, agreement, clipped, ...answered, bytes };
}

const options = benchOptions();
const base: Cell = { choice: { kind: 'knapsack', share: options.budgets?.[0] ?? 0.12, samples: 256 }, way: wayOf(options) };
const cells = [base, ...[...rings].reverse().map((qat): Cell => ({ ...base, way: { ...base.way, qat } }))];
const rows: Row[] = [];
const opened = await openCells('resnet20', options);
if (opened !== undefined) {
  const finished = await finishAll(opened, cells, untilLate(options));
  for (const ring of rings) {
    const own = [...finished.keys()].filter(({ way }) => way.qat === undefined || way.qat === ring);
    for (const cell of own) {
      const from = ['qat', cell, ring, pictures];
      rows.push(await opened.chooser.kept.once(from, async () => measure(await opened.files(cell), ring, cell.way.qat !== undefined)));
    }
  }
  await opened.end();
}

printRows(rows, options, {
  'ResNet-20, CIFAR-10': (row) => `${row.ringBits} bits`,
  'rounding imitated': (row) => (row.imitated ? 'yes' : 'no'),
  'float right': (row) => formatShare(row.float),
  'fixed point right': (row) => formatShare(row.fixed),
  'same label': (row) => formatShare(row.agreement),
  'out of range': (row) => formatCount(row.clipped),
  'right privately': (row) => formatShare(row.secureRight),
  'same label, privately': (row) => `${formatShare(row.secure)} of ${formatCount(row.answered)}`,
  'an inference': (row) => formatBytes(row.bytes),
});
