// tessera bench growth: seconds and bytes of a ResNet-18 by the size of the pictures, by their number in a batch, and by the share of comparisons
// that patches leave, each on one core and on two. Weights are random. Rows are kept in .cache/bench (--kept FOLDER) as they are finished.
import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { writeWhole } from '../src/cli/files.js';
import { formatBytes } from '../src/cli/format.js';
import { linePlot } from '../src/cli/report/plots.js';
import { generatePictures } from '../src/data/generated.js';
import { plainPreprocessing } from '../src/data/preprocess.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { readModel } from '../src/model/onnx.js';
import type { Patch } from '../src/model/program.js';
import { openKept } from './_kept.js';
import { networkBytes } from './_networks.js';
import { type BenchOptions, benchOptions, printRows } from './_parties.js';
import { buildKey, compileModel, type PrivateRun, runPrivately } from './_private.js';
import { everywhere, patchesEverywhere } from './_resnet20.js';

/** Runs of a case that count, and pictures it is compiled for. */
const defaultRuns = 2;
const calibrated = 2;
const usual = { side: 224, batch: 1, patch: [1, 1] } as const;
/** Batches are of smaller pictures, so that 32 of them fit beside each other. */
const batchSide = 64;

const sides = [112, 160, 224, 320, 416, 512];
const batches = [1, 2, 4, 8, 16, 32];

interface Case {
  readonly along: 'size' | 'batch' | 'comparisons';
  /** Of what is varied: pixels of a side, pictures, or the share of comparisons. */
  readonly value: number;
  readonly side: number;
  readonly batch: number;
  readonly patch: Patch;
}

const cases: readonly Case[] = [
  ...sides.map((side): Case => ({ ...usual, along: 'size', value: side, side })),
  ...batches.map((batch): Case => ({ ...usual, along: 'batch', value: batch, batch, side: batchSide })),
  ...patchesEverywhere.map((patch): Case => ({ ...usual, along: 'comparisons', value: 1 / (patch[0] * patch[1]), patch })),
];

interface Row extends Case, Omit<PrivateRun, 'logits'> {
  readonly cores: number;
}

/** Keeps this process, and those it starts, to the first cores; false where the system has no way. */
function pin(cores: number): boolean {
  const list = cores >= availableCores ? `0-${availableCores - 1}` : cores === 1 ? '0' : `0-${cores - 1}`;
  return spawnSync('taskset', ['-a', '-c', '-p', list, String(process.pid)], { stdio: 'ignore' }).status === 0;
}
/** Before anything is pinned. */
const availableCores = availableParallelism();

async function measure({ side, batch, patch }: Case, cores: number, options: BenchOptions): Promise<Omit<PrivateRun, 'logits'>> {
  const compute = await createNodeCompute({ threads: cores });
  try {
    const shape = [3, side, side] as const;
    const read = readModel(await networkBytes(compute, 'ResNet-18', shape));
    const pictures = generatePictures(shape, plainPreprocessing(3), calibrated + batch, 3);
    const size = 3 * side * side;
    const calibration = { images: pictures.subarray(0, calibrated * size), count: calibrated, marginBits: 1 };
    const model = await compileModel(compute, 'ResNet-18', read.graph!, calibration, { spec: everywhere(read, patch) });
    const images = pictures.subarray(calibrated * size);
    const { logits: _, ...costs } = await runPrivately(model, images, batch, options.runs ?? defaultRuns, { ...options, threads: cores });
    return costs;
  } finally {
    await compute.close();
  }
}

const axes = {
  size: { label: 'pixels of a side', scale: 'log', ticks: sides },
  batch: { label: `pictures of ${batchSide} × ${batchSide} in a batch`, scale: 'log', ticks: batches },
  comparisons: {
    label: 'share of comparisons left, at 224 × 224',
    scale: 'log',
    ticks: patchesEverywhere.map(([h, w]) => 1 / (h * w)),
    format: '.0%',
  },
} as const;

/** For each quantity that is varied a plot of seconds and one of bytes. */
async function drawAll(rows: readonly Row[], folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const phases = ['offline', 'online'] as const;
  const cores = [...new Set(rows.map((row) => row.cores))];
  for (const along of Object.keys(axes) as Case['along'][]) {
    const own = rows.filter((row) => row.along === along);
    if (own.length === 0) continue;
    const line = (name: string, of: readonly Row[], value: (row: Row) => number) => ({
      name,
      points: of.map((row) => [row.value, value(row)] as const),
    });
    const coresOf = (n: number): string => (n === 1 ? '1 core' : `${n} cores`);
    const seconds = cores.flatMap((n) =>
      phases.map((phase) =>
        line(
          `${phase}, ${coresOf(n)}`,
          own.filter((row) => row.cores === n),
          (row) => row[phase].seconds,
        ),
      ),
    );
    const once = own.filter((row) => row.cores === cores[0]);
    const bytes = phases.map((phase) => line(phase, once, (row) => row[phase].bytes / 1e6));
    const plots = { seconds: { label: 'seconds', series: seconds }, bytes: { label: 'MB', series: bytes } };
    for (const [what, { label, series }] of Object.entries(plots)) {
      const title = `ResNet-18: ${what} by ${along === 'comparisons' ? 'share of comparisons' : along}`;
      const description = `${series.length} lines: ${series.map(({ name }) => name).join('; ')}. The numbers are in the table beside it.`;
      const svg = await linePlot({ title, description, x: axes[along], y: { label, scale: 'log' }, series });
      await writeWhole(join(folder, `growth-${what}-by-${along}.svg`), svg);
    }
  }
}

const options = benchOptions();
const kept = await openKept(options.kept, 'growth');
const build = await buildKey();
const wanted = cases.filter(({ along }) => along.includes(options.match ?? ''));
const rows: Row[] = [];
for (const cores of [...new Set([1, availableCores])]) {
  if (!pin(cores) && cores < availableCores) {
    process.stderr.write('growth: there is no taskset here to keep processes on one core\n');
    continue;
  }
  for (const each of wanted) {
    const costs = await kept.once(['growth', build, cores, options.runs ?? defaultRuns, each], () => measure(each, cores, options));
    rows.push({ ...each, cores, ...costs });
  }
}
if (options.plots !== undefined) await drawAll(rows, options.plots);

printRows(rows, options, {
  'ResNet-18 by': (row) => row.along,
  pictures: (row) => `${row.batch} × ${row.side} × ${row.side}`,
  comparisons: (row) => `${(100 / (row.patch[0] * row.patch[1])).toFixed(row.patch[0] * row.patch[1] > 4 ? 1 : 0)} %`,
  cores: (row) => String(row.cores),
  'offline s': (row) => row.offline.seconds.toFixed(3),
  'online s': (row) => row.online.seconds.toFixed(3),
  offline: (row) => formatBytes(row.offline.bytes),
  online: (row) => formatBytes(row.online.bytes),
  'most memory of a party': (row) => formatBytes(row.peakBytes),
});
