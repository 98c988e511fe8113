// tessera bench built-in: the networks of models/ answering test pictures privately, between three processes. TESSERA_IMAGES=n pictures, 50 else.
// A network that is finished is kept with the programs that measured it; a killed run goes on. Needs ../shared/data.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuiltIn, builtIns, isThere, type Measured } from '../src/cli/built-in.js';
import { formatBytes, formatCount, formatSeconds, formatShare } from '../src/cli/format.js';
import { hashFolder } from '../src/cli/model.js';
import { tessera } from './_command.js';
import { cifar } from './_distortions.js';
import { openKept } from './_kept.js';
import { benchOptions, machine, printRows } from './_parties.js';

const images = Number(process.env.TESSERA_IMAGES ?? 50);
const batch = 10;
/** What seconds and answers depend on. */
const programs = ['kernel', 'model', 'party', 'protocol', 'random', 'ring', 'wire'];

/** Test pictures, and training pictures that set the scales. */
function picturesFor({ name }: BuiltIn): { readonly data: string; readonly calibrate: string } {
  const shared = fileURLToPath(new URL('../../../shared/data/', import.meta.url));
  const [digits, colour] = [join(shared, 'mnist'), join(shared, 'cifar10/test-1000.bin')];
  if (!name.startsWith('mnist')) return { data: colour, calibrate: join(cifar()!.train, '../train.bin') };
  return { data: join(digits, 't10k-images-idx3-ubyte.gz'), calibrate: join(digits, 'train-images-idx3-ubyte.gz') };
}

/** Runs as a person would; what is printed once for all pictures is divided among them. */
function measure(model: BuiltIn): Measured {
  const { name, budget, onnx, spec, preprocess } = model;
  const { data, calibrate } = picturesFor(model);
  const compiled = ['--calibrate', calibrate, '--preprocess', preprocess, ...(spec === undefined ? [] : ['--spec', spec])];
  const folder = mkdtempSync(join(tmpdir(), 'tessera-built-in-'));
  const { comparisons, ringBits } = tessera('compile', onnx, ...compiled, '--data', calibrate, '--limit', '256', '-o', folder);
  rmSync(folder, { recursive: true });
  const sizes = ['--limit', String(images), '--batch', String(Math.min(batch, images))];
  const run = tessera('run', onnx, ...compiled, '--data', data, ...sizes, '--parties', 'processes');
  if (!run.estimateMatches) throw new Error(`${name}: the bytes are not those of the estimate`);
  const answers = run.results as readonly { readonly plaintextLabel: number; readonly expected: number }[];
  const share = ({ bytes, seconds }: { bytes: number; seconds: number }) => ({ bytes: bytes / images, seconds: seconds / images });
  return {
    ...{ name, ...(budget === undefined ? {} : { budget }), comparisons, ringBits, images, batch: Math.min(batch, images) },
    float: answers.filter(({ plaintextLabel, expected }) => plaintextLabel === expected).length / images,
    ...{
      secure: run.accuracy,
      agreement: run.agreement,
      offline: share(run.offline),
      online: share(run.online),
      load: loadavg()[0]!,
      machine: machine({ load: false }),
    },
  };
}

const options = benchOptions();
const rows: Measured[] = [];
const kept = await openKept(options.kept);
const source = fileURLToPath(new URL('../src/', import.meta.url));
const code = await Promise.all(programs.map((name) => hashFolder(join(source, name))));
const hash = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
for (const model of cifar() === undefined ? [] : builtIns) {
  if (!isThere(model)) {
    process.stderr.write(`${model.name} is not here: left out (npm run models makes it)\n`);
    continue;
  }
  const { name, onnx, spec, preprocess } = model;
  const files = [onnx, preprocess, ...(spec === undefined ? [] : [spec])].map(hash);
  rows.push(await kept.once(['built-in', name, files, code, images, batch], async () => measure(model)));
}

printRows(rows, options, {
  network: (row) => row.name,
  comparisons: (row) => formatCount(row.comparisons),
  ring: (row) => `${row.ringBits} bits`,
  pictures: (row) => formatCount(row.images),
  'right in float': (row) => formatShare(row.float),
  'right privately': (row) => formatShare(row.secure),
  'same label': (row) => formatShare(row.agreement),
  'a picture': (row) => formatBytes(row.offline.bytes + row.online.bytes),
  [`offline, batches of ${batch}`]: (row) => formatSeconds(row.offline.seconds),
  online: (row) => formatSeconds(row.online.seconds),
});
