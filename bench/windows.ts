// tessera bench windows: how many low and high bits comparisons may leave out. ResNet-20 in fixed point, by simulation with the draws of the
// protocol. Needs ../shared/data; says so where it is absent. TESSERA_IMAGES=n evaluates at most n pictures.
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { argmax, rowOf } from '../src/cli/answers.js';
import { writeWhole } from '../src/cli/files.js';
import { formatBytes, formatCount, formatShare } from '../src/cli/format.js';
import { readOnnx } from '../src/cli/model.js';
import { linePlot } from '../src/cli/report/plots.js';
import { loadDataset } from '../src/data/dataset.node.js';
import { createSequence } from '../src/data/generated.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { type Compiled, compileGraph } from '../src/model/compile.js';
import type { Program, ReluStep } from '../src/model/program.js';
import { simulate } from '../src/model/simulate.js';
import { suites } from '../src/party/session.js';
import { estimate } from '../src/protocol/estimate.js';
import { encodeFixed } from '../src/ring/fixed.js';
import { benchOptions, printRows } from './_parties.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const shared = join(root, '../shared/data');
const unpacked = join(root, '.cache/data');

/** Bits left out of every comparison, beside the exact window. */
interface Ignored {
  readonly low: number;
  readonly high: number;
}

const lows = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((low): Ignored => ({ low, high: 0 }));
const highs = [1, 2, 3, 4, 5].map((high): Ignored => ({ low: 0, high }));

interface Row {
  readonly case: string;
  readonly images: number;
  readonly low: number;
  readonly high: number;
  readonly top1: number;
  /** Of one inference, offline and online. */
  readonly bytes: number;
  /** Mean bits of a comparison. */
  readonly bits: number;
}

/** The program with narrower windows of its activations, of two bits at least. */
function narrowed(program: Program, { low, high }: Ignored): Program {
  const narrow = (step: ReluStep): ReluStep => {
    const from = Math.min(step.window.low + low, step.window.high - 2);
    return { ...step, window: { low: from, high: Math.max(from + 2, step.window.high - high) } };
  };
  return { ...program, steps: program.steps.map((step) => (step.kind === 'relu' ? narrow(step) : step)) };
}

function meanBits({ steps, tensors }: Program): number {
  const relus = steps.filter((step) => step.kind === 'relu');
  const elements = relus.map(({ output }) => tensors[output]!.shape.reduce((a, b) => a * b, 1));
  const bits = relus.reduce((sum, { window }, i) => sum + (window.high - window.low) * elements[i]!, 0);
  return bits / elements.reduce((a, b) => a + b, 0);
}

const options = benchOptions();
const rows: Row[] = [];
if (!existsSync(join(unpacked, 'cifar10/resnet20.train.json')))
  process.stderr.write('the shared networks are not here: nothing measured\n');
else {
  const compute = await createNodeCompute({ threads: options.threads });
  const test = await loadDataset(join(shared, 'cifar10/resnet20.test.json'), { limit: Number(process.env.TESSERA_IMAGES ?? 1000) });
  const train = await loadDataset(join(unpacked, 'cifar10/resnet20.train.json'), { limit: 256, preprocessing: test.preprocessing });
  const graph = (await readOnnx(join(shared, 'cifar10/resnet20.onnx'))).readGraph();
  const compiled: Compiled = await compileGraph(compute, graph, { images: await train.read(0, train.count), count: train.count });
  const images = await test.read(0, test.count);
  for (const ignored of [...lows, ...highs]) {
    const program = narrowed(compiled.program, ignored);
    const input = encodeFixed(images, program.tensors[program.input]!.scale, program.ringBits) as Int32Array;
    const { output } = await simulate(compute, program, compiled.weights, input, test.count, { random: createSequence(1) });
    const scores = Float32Array.from(output as Int32Array);
    const labels = Array.from({ length: test.count }, (_, i) => argmax(rowOf(scores, i, test.count)));
    const { offline, online } = estimate(program, suites.masked!);
    rows.push({
      case: 'cifar10/resnet20',
      images: test.count,
      ...ignored,
      top1: labels.filter((label, i) => label === test.labels![i]).length / test.count,
      bytes: offline.bytes + online.bytes,
      bits: meanBits(program),
    });
    process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`);
  }
  await compute.close();
}

/** Right answers against bits left out at either end. */
async function drawIgnored(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const along = (name: string, of: (row: Row) => number, other: (row: Row) => number) => ({
    name,
    points: rows.filter((row) => other(row) === 0).map((row) => [of(row), row.top1] as const),
  });
  const plot = await linePlot({
    title: 'Right answers by bits left out of every comparison',
    description: `ResNet-20 on CIFAR-10, ${rows[0]?.images} test pictures: share named right against the bits left out at the low and at the high end.`,
    x: { label: 'bits left out', format: 'd' },
    y: { label: 'right answers', format: '.0%' },
    series: [
      along(
        'low bits',
        ({ low }) => low,
        ({ high }) => high,
      ),
      along(
        'high bits',
        ({ high }) => high,
        ({ low }) => low,
      ),
    ],
  });
  await writeWhole(join(folder, 'ignored-bits.svg'), plot);
}

if (options.plots !== undefined && rows.length > 0) await drawIgnored(options.plots);
printRows(rows, options, {
  network: (row) => row.case,
  pictures: (row) => formatCount(row.images),
  'low bits left out': (row) => String(row.low),
  'high bits left out': (row) => String(row.high),
  'bits compared': (row) => row.bits.toFixed(1),
  'top-1': (row) => formatShare(row.top1),
  'an inference': (row) => formatBytes(row.bytes),
});
