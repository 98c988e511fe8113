// tessera bench agreement: do the three parties name what the float network under the same spec names? With an eighth of ResNet-20's
// comparisons, chosen without any training. Needs ../shared/data; says so where it is absent. TESSERA_IMAGES=n answers n pictures privately
// instead of 100; the fixed-point simulation answers 1,000.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatBytes, formatCount, formatShare } from '../src/cli/format.js';
import { tessera } from './_command.js';
import { cifar } from './_distortions.js';
import { benchOptions, printRows } from './_parties.js';

const pictures = process.env.TESSERA_IMAGES ?? '100';
const budgets = ['100%', '50%', '12.5%'];

interface Row {
  readonly budget: string;
  readonly ringBits: number;
  /** Shares of 1,000 test pictures: right in float, right in fixed point, and the same label in both. */
  readonly float: number;
  readonly fixed: number;
  readonly agreement: number;
  /** Share of `answered` pictures with the float label, privately. */
  readonly secure?: number;
  readonly answered?: number;
  /** Bytes of one inference, which are those of the estimate. */
  readonly bytes?: number;
}

function measure(folder: string, { model, train, test }: NonNullable<ReturnType<typeof cifar>>): Row[] {
  const [distortion, spec] = [join(folder, 'd.npz'), join(folder, 'spec.json')];
  const compiled = [model, '--data', test, '--calibrate', train];
  tessera('distort', model, '--data', train, '-o', distortion);
  return budgets.flatMap((budget) => {
    tessera('solve', distortion, '--budget', budget, '-o', spec);
    const float = tessera('evaluate', ...compiled, '--spec', spec).top1;
    const row = (ringBits: number): Row => {
      const args = [...compiled, '--spec', spec, '--ring', String(ringBits)];
      const { top1, agreement } = tessera('evaluate', ...args, '--precision', 'fixed');
      return { budget, ringBits, float, fixed: top1, agreement };
    };
    const args = [...compiled, '--spec', spec];
    const secure = tessera('evaluate', ...args, '--precision', 'secure', '--limit', pictures);
    const run = tessera('run', ...args, '--limit', '1');
    if (!run.estimateMatches) throw new Error('the bytes are not those of the estimate');
    const bytes = run.offline.bytes + run.online.bytes;
    return [{ ...row(32), secure: secure.agreement, answered: secure.images, bytes }, row(64)];
  });
}

const options = benchOptions();
const folder = mkdtempSync(join(tmpdir(), 'tessera-bench-'));
const rows: Row[] = [];
try {
  const network = cifar();
  if (network !== undefined) rows.push(...measure(folder, network));
} finally {
  rmSync(folder, { recursive: true });
}

printRows(rows, options, {
  'ResNet-20, CIFAR-10: DReLUs': (row) => row.budget,
  ring: (row) => `${row.ringBits} bits`,
  'float right': (row) => formatShare(row.float),
  'fixed point right': (row) => formatShare(row.fixed),
  'same label': (row) => formatShare(row.agreement),
  'same label, privately': (row) => (row.secure === undefined ? '' : `${formatShare(row.secure)} of ${formatCount(row.answered!)}`),
  'bytes, as estimated': (row) => (row.bytes === undefined ? '' : formatBytes(row.bytes)),
});
