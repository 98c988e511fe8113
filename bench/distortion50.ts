// tessera bench distortion50: distortion of all channels of a ResNet-50 at 224 × 224, its time and the most memory it takes. The weights and
// the pictures are random: neither time nor memory depends on them. TESSERA_IMAGES=n measures n pictures instead of 64.
import { planMeasurement } from '../src/block/distort.js';
import { openLinear } from '../src/block/distort-linear.js';
import { formatBytes, formatCount, formatSeconds } from '../src/cli/format.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { simplify } from '../src/model/passes/simplify.js';
import { createRandom } from './_choices.js';
import { benchOptions, printRows } from './_parties.js';
import { randomResnet50 } from './_resnet50.js';

const probes = 4;
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
}

async function measure(candidates: Row['candidates'], threads: number): Promise<Row> {
  const measurement = planMeasurement(simplify(randomResnet50(1)), { kind: candidates });
  const compute = await createNodeCompute({ threads });
  const random = createRandom(2);
  const start = performance.now();
  const used = process.cpuUsage();
  const meter = await openLinear(compute, measurement, { probes, seed: 1 });
  const sums = new Float64Array(measurement.rows * measurement.patches.length);
  for (let first = 0; first < pictures; first += meter.batch) {
    const count = Math.min(meter.batch, pictures - first);
    const images = Float32Array.from({ length: count * 3 * 224 * 224 }, () => 4 * random() - 2);
    await meter.add({ images, count, first }, sums);
  }
  meter.close();
  const { user, system } = process.cpuUsage(used);
  const row: Row = {
    candidates,
    patches: Math.max(...measurement.layers.map((layer) => layer.patches.length)),
    channels: measurement.rows,
    pictures,
    seconds: (performance.now() - start) / 1000,
    processorSeconds: (user + system) / 1e6,
    heapBytes: compute.memory.peakBytes,
    processBytes: process.resourceUsage().maxRSS * 1024,
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
});
