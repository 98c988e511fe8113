// tessera bench distortion50: distortion of all channels of a ResNet-50 at 224 × 224, its time and the most memory it takes, and the time of
// choosing 6 % of the comparisons by it and of evaluating that choice. The weights and the pictures are random: neither time nor memory depends
// on them. TESSERA_IMAGES=n measures n pictures instead of 64.
import { distortionOf, planMeasurement } from '../src/block/distort.js';
import { openLinear } from '../src/block/distort-linear.js';
import { dreluCost, fullCost, selectOptimal, toSpec } from '../src/block/select.js';
import { formatBytes, formatCount, formatSeconds } from '../src/cli/format.js';
import { residentPeakBytes } from '../src/cli/resident.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { forward } from '../src/model/forward.js';
import { applyPatches } from '../src/model/passes/lower.js';
import { simplify } from '../src/model/passes/simplify.js';
import { patchesOf } from '../src/model/spec.js';
import { createRandom } from './_choices.js';
import { benchOptions, printRows } from './_parties.js';
import { randomResnet50 } from './_resnet50.js';

const probes = 4;
const budget = 0.06;
/** Pictures that a choice is evaluated on. */
const evaluated = 8;
const pictures = Number(process.env.TESSERA_IMAGES ?? 64);

interface Row {
  readonly candidates: 'generated' | 'seed';
  readonly patches: number;
  readonly channels: number;
  readonly pictures: number;
  readonly seconds: number;
  /** Processor time of all threads. */
  readonly processorSeconds: number;
  /** The most the kernels' heap held, and the most memory the process ever had. */
  readonly heapBytes: number;
  readonly processBytes: number;
  /** Of the knapsack at the budget, and of the network under its choice, each picture. */
  readonly solveSeconds: number;
  readonly evaluateSeconds: number;
}

const noise = (random: () => number, count: number): Float32Array =>
  Float32Array.from({ length: count * 3 * 224 * 224 }, () => 4 * random() - 2);

async function measure(candidates: Row['candidates'], threads: number): Promise<Row> {
  const graph = simplify(randomResnet50(1));
  const measurement = planMeasurement(graph, { kind: candidates });
  const compute = await createNodeCompute({ threads });
  const random = createRandom(2);
  const start = performance.now();
  const used = process.cpuUsage();
  const meter = await openLinear(compute, measurement, { probes, seed: 1 });
  const sums = new Float64Array(measurement.rows * measurement.patches.length);
  for (let first = 0; first < pictures; first += meter.batch) {
    const count = Math.min(meter.batch, pictures - first);
    await meter.add({ images: noise(random, count), count, first }, sums);
  }
  const distortion = distortionOf(measurement, meter, sums, {
    model: '',
    method: 'linear',
    samples: pictures,
    probes,
    seed: 1,
    version: '',
  });
  meter.close();
  const { user, system } = process.cpuUsage(used);
  const seconds = (performance.now() - start) / 1000;
  const solving = performance.now();
  const { patches } = selectOptimal(distortion, dreluCost, Math.floor(budget * fullCost(distortion, dreluCost)));
  const solveSeconds = (performance.now() - solving) / 1000;
  const evaluating = performance.now();
  await forward(compute, applyPatches(graph, patchesOf(toSpec(distortion, patches, {}))), noise(random, evaluated), evaluated);
  const row: Row = {
    candidates,
    patches: Math.max(...measurement.layers.map((layer) => layer.patches.length)),
    channels: measurement.rows,
    pictures,
    seconds,
    processorSeconds: (user + system) / 1e6,
    heapBytes: compute.memory.peakBytes,
    processBytes: residentPeakBytes(),
    solveSeconds,
    evaluateSeconds: (performance.now() - evaluating) / 1000 / evaluated,
  };
  await compute.close();
  return row;
}

const options = benchOptions();
const rows = [await measure('seed', options.threads), await measure('generated', options.threads)];

printRows(rows, options, {
  'ResNet-50, 224 × 224': (row) => `linear, ${probes} probes, ${row.candidates} candidates`,
  channels: (row) => formatCount(row.channels),
  'patches each': (row) => `up to ${row.patches}`,
  pictures: (row) => formatCount(row.pictures),
  time: (row) => formatSeconds(row.seconds),
  processors: (row) => formatSeconds(row.processorSeconds),
  "kernels' heap": (row) => formatBytes(row.heapBytes),
  process: (row) => formatBytes(row.processBytes),
  'choosing 6 %': (row) => formatSeconds(row.solveSeconds),
  'evaluating, each picture': (row) => formatSeconds(row.evaluateSeconds),
});
