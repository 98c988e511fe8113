// tessera bench suites-agreement: do the suites name pictures alike, and as float does? ResNet-20 with all its signs, with 12 % of them, and with
// those and weights corrected for it. Needs ../shared/data; says so where it is absent. TESSERA_IMAGES=n answers n pictures instead of 100. What is
// answered is kept (--kept, by default in .cache), so that a killed run goes on; --minutes 0 prints the rows that are whole.
import { formatCount, formatShare } from '../src/cli/format.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { openNetwork } from './_distortions.js';
import { untilLate } from './_finetuning.js';
import { openKept } from './_kept.js';
import { type BenchOptions, benchOptions, printRows } from './_parties.js';
import { type Agreement, type Answer, agreements, type Setting, variants } from './_suites-agreement.js';

const pictures = Number(process.env.TESSERA_IMAGES ?? 100);
const signsKept = 0.12;
/** Pictures that share their messages. */
const batch = 10;

const settings: readonly Setting[] = [
  { suite: 'masked', ringBits: 64 },
  { suite: 'masked', ringBits: 32 },
  { suite: 'securenn', ringBits: 64 },
  { suite: 'securenn-exact', ringBits: 64 },
  { suite: 'securenn-exact', ringBits: 32 },
  { suite: 'securenn', ringBits: 32 },
];

async function keptAnswers(options: BenchOptions): Promise<Answer> {
  const kept = await openKept(options.kept, 'agreement');
  const isLate = untilLate(options);
  return async (key, make) => {
    if (isLate()) return kept.find<number[]>(key);
    return kept.once(key, async () => Array.from(await make()));
  };
}

async function measure(options: BenchOptions): Promise<Agreement[]> {
  const { threads, match = '', suites, rings } = options;
  const network = await openNetwork('resnet20');
  if (network === undefined) return [];
  const compute = await createNodeCompute({ threads });
  const answer = await keptAnswers(options);
  const wanted = settings.filter(({ suite, ringBits }) => (suites?.includes(suite) ?? true) && (rings?.includes(ringBits) ?? true));
  const rows: Agreement[] = [];
  try {
    for (const variant of await variants(compute, network, signsKept)) {
      if (variant.name.includes(match)) rows.push(...(await agreements(compute, network, variant, wanted, pictures, batch, answer)));
    }
    return rows;
  } finally {
    await compute.close();
  }
}

const options = benchOptions();

printRows(await measure(options), options, {
  'ResNet-20, CIFAR-10': (row) => row.network,
  suite: (row) => row.suite,
  ring: (row) => `${row.ringBits} bits`,
  pictures: (row) => formatCount(row.pictures),
  'float right': (row) => formatShare(row.floatRight),
  right: (row) => formatShare(row.right),
  'label of float': (row) => formatShare(row.asFloat),
  'label of the first row': (row) => formatShare(row.asFirst),
  'widest margin / error where not': (row) => (row.asFirst === 1 ? '–' : row.widestMargin.toFixed(2)),
  'largest error': (row) => row.maxAbsError.toFixed(4),
  failed: (row) => formatCount(row.failed),
});
