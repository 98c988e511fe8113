// tessera bench scratch: the recipe of the built-in ResNet-20 from scratch, here and in PyTorch, on CIFAR-10's training pictures but 1,000 that choose
// the epoch. --epochs and --pictures make it shorter, --case PyTorch takes one side, --minutes 0 prints what there is. A killed run goes on from
// the last checkpoint: of the recipe as it is, from .cache/scratch, where `npm run models` keeps it too. Needs ../shared/data.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatCount, formatSeconds, formatShare } from '../src/cli/format.js';
import { shuffledOrder } from '../src/data/loader.js';
import { parseRecipe } from '../src/train/recipe.js';
import { main, printed, tessera } from './_command.js';
import { cifar } from './_distortions.js';
import { untilLate } from './_finetuning.js';
import { openKept } from './_kept.js';
import { benchOptions, median, printRows } from './_parties.js';
import { trainWithTorch } from './_torch-scratch.js';

interface Row {
  readonly case: string;
  readonly epochs: number;
  readonly threads: number;
  /** Pictures that were learned from. */
  readonly pictures: number;
  /** Share of the pictures that chose the epoch, and of the test pictures. */
  readonly validation: number;
  readonly test: number;
  /** Of learning; without validation. */
  readonly seconds: number;
  /** Of the median epoch. */
  readonly imagesPerSecond: number;
  /** One-minute load averages at the ends of epochs, the lowest and the highest; of a training that was found finished, none. */
  readonly load?: readonly [number, number];
}

const root = fileURLToPath(new URL('../../', import.meta.url));
const recipeFile = join(root, 'models/recipes/cifar10-resnet20.json');
const text = readFileSync(recipeFile, 'utf8');
const recipe = parseRecipe(text, recipeFile);
const options = benchOptions();
const isLate = untilLate(options);
const kept = await openKept(options.kept);
const { pictures: total = 50_000 } = options;
const epochs = options.epochs ?? recipe.epochs;
/** As `tessera train --validate-limit 1000` sets them apart. */
const heldOut = Math.min(1000, Math.ceil(0.1 * total));
const from = (side: string): unknown => ['scratch', side, createHash('sha256').update(text).digest('hex'), epochs, total];
const asIs = options.epochs === undefined && options.pictures === undefined;

/** Where a side keeps its checkpoint. */
function folderOf(side: string): string {
  const folder = asIs ? join(root, '.cache/scratch', side) : kept.file(from(side), '');
  mkdirSync(folder, { recursive: true });
  return folder;
}

interface Learned {
  readonly validation?: number;
  readonly seconds: number;
}

function rowOf(name: string, learned: readonly Learned[], test: number, load: readonly number[]): Row {
  const pictures = total - heldOut;
  return {
    ...{
      case: name,
      epochs,
      threads: options.threads,
      pictures,
      test,
      validation: Math.max(...learned.map(({ validation = 0 }) => validation)),
    },
    ...{
      seconds: learned.reduce((sum, { seconds }) => sum + seconds, 0),
      imagesPerSecond: pictures / median(learned.map((e) => e.seconds)),
    },
    ...(load.length === 0 ? {} : { load: [Math.min(...load), Math.max(...load)] as const }),
  };
}

async function ours(files: { readonly train: string; readonly test: string }): Promise<Row> {
  const folder = folderOf('ours');
  const shorter = asIs ? [] : ['--epochs', String(epochs), '--limit', String(total)];
  const ways = ['--validate-limit', String(heldOut), '--checkpoint', folder, '--resume', '--threads', String(options.threads), ...shorter];
  const args = ['train', recipeFile, '--data', files.train, ...ways, '--json', '-o', `${folder}.onnx`];
  const trained = JSON.parse(await printed(process.execPath, [main, ...args]));
  const { top1 } = tessera('evaluate', `${folder}.onnx`, '--data', files.test, '--limit', '1000');
  const here = trained.seconds > 0.5 * trained.epochs.reduce((sum: number, { seconds }: Learned) => sum + seconds, 0);
  return rowOf('Tessera', trained.epochs, top1, here ? [loadavg()[0]!] : []);
}

async function theirs(files: { readonly train: string; readonly test: string }): Promise<Row | undefined> {
  const { mean, std, images } = JSON.parse(readFileSync(files.train, 'utf8'));
  const { batchSize, learningRate, schedule, momentum, nesterov, weightDecay, augmentation, seed } = recipe;
  const order = [...shuffledOrder(total, 1, 0)];
  const trained = await trainWithTorch({
    ...{ train: join(dirname(files.train), images), test: join(dirname(files.test), 'test-1000.bin'), mean, std },
    ...{
      total,
      heldOut: order.slice(0, heldOut),
      depth: 20,
      classes: 10,
      epochs,
      batchSize,
      learningRate,
      momentum,
      nesterov,
      weightDecay,
    },
    ...{ warmUp: schedule.warmUp, crop: augmentation.crop ?? 0, flip: augmentation.flip ?? false, seed },
    ...{ threads: options.threads, folder: folderOf('torch') },
  });
  if (trained === undefined) return undefined;
  return rowOf(
    `PyTorch ${trained.version}`,
    trained.epochs,
    trained.test,
    trained.epochs.map(({ load }) => load),
  );
}

const rows: Row[] = [];
const files = cifar();
for (const [side, train] of files === undefined ? [] : ([['Tessera', ours] as const, ['PyTorch', theirs] as const] as const)) {
  if (options.match !== undefined && !side.includes(options.match)) continue;
  const found = kept.find<Row>(from(side)) ?? (isLate() ? undefined : await train(files!));
  if (found !== undefined) rows.push(await kept.once(from(side), async () => found));
}

printRows(rows, options, {
  'ResNet-20 from scratch': (row) => row.case,
  pictures: (row) => formatCount(row.pictures),
  epochs: (row) => String(row.epochs),
  threads: (row) => String(row.threads),
  'held-out right': (row) => formatShare(row.validation),
  'test right': (row) => formatShare(row.test),
  learning: (row) => formatSeconds(row.seconds),
  'images/s': (row) => row.imagesPerSecond.toFixed(0),
  'load average': (row) => (row.load === undefined ? 'not known' : row.load.map((load) => load.toFixed(0)).join(' to ')),
});
