// tessera bench imagenet: networks for pictures of 224 × 224, and one of 512 × 512, three processes on this machine, beside their plaintext in ONNX
// Runtime on as many threads. SqueezeNet 1.1 and MobileNetV1 0.75 are the real ones of ../shared/data, and left out where it is absent; the others have random
// weights: time and bytes depend on shapes. --case NAME keeps cases whose names contain it, --runs N takes medians over N inferences.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openCompute } from '../src/cli/compute.js';
import { formatBytes, formatCount } from '../src/cli/format.js';
import type { StoredModel } from '../src/cli/model-folder.js';
import { estimator } from '../src/cli/private-run.js';
import { generatePictures } from '../src/data/generated.js';
import { plainPreprocessing } from '../src/data/preprocess.js';
import type { Compute } from '../src/kernel/compute.js';
import { readGraph } from '../src/model/onnx.js';
import { writeOnnx } from '../src/model/onnx-writer.js';
import { withoutCaps } from '../src/model/passes/replace.js';
import type { Patch } from '../src/model/program.js';
import type { RunPhase } from '../src/protocol/operation.js';
import { compileOnnx } from './_compile.js';
import { networkBytes } from './_networks.js';
import { type BenchOptions, benchOptions, commandTask, median, printRows, withParties } from './_parties.js';

const shared = fileURLToPath(new URL('../../../shared/data/imagenet', import.meta.url));

interface Case {
  readonly name: string;
  /** The network's ONNX file, or undefined where it is absent. */
  onnx(compute: Compute): Promise<Uint8Array | undefined>;
  /** One patch for all channels. */
  readonly patch?: Patch;
  /** Bits of the ring. Default 32. */
  readonly ring?: number;
}

const random =
  (name: string, side = 224) =>
  (compute: Compute) =>
    networkBytes(compute, name, [3, side, side]);

const real = (name: string) => async (): Promise<Uint8Array | undefined> => {
  const path = join(shared, `${name}.onnx`);
  return existsSync(path) ? new Uint8Array(readFileSync(path)) : undefined;
};

/** ReLU in the place of ReLU6. */
const uncapped = (network: Case['onnx']) => async (compute: Compute) => {
  const bytes = await network(compute);
  return bytes && writeOnnx(withoutCaps(readGraph(bytes)));
};

const deepLab = 'DeepLabV3 on MobileNetV2 at 512 × 512';

const cases: readonly Case[] = [
  { name: 'ResNet-50', onnx: random('ResNet-50') },
  { name: 'ResNet-50, patches of 4 × 4', onnx: random('ResNet-50'), patch: [4, 4] },
  // A ring in which shared signs keep their labels.
  { name: 'ResNet-50, patches of 4 × 4', onnx: random('ResNet-50'), patch: [4, 4], ring: 46 },
  { name: 'SqueezeNet 1.1', onnx: real('squeezenet11') },
  { name: 'MobileNetV1 0.75, ReLU6', onnx: real('mobilenetv1-075') },
  { name: 'MobileNetV1 0.75, ReLU', onnx: uncapped(real('mobilenetv1-075')) },
  { name: 'MobileNetV2, ReLU6', onnx: random('MobileNetV2') },
  { name: 'MobileNetV2, ReLU', onnx: random('MobileNetV2, ReLU') },
  { name: deepLab, onnx: random('DeepLabV3 MobileNetV2', 512) },
  { name: `${deepLab}, patches of 4 × 4`, onnx: random('DeepLabV3 MobileNetV2', 512), patch: [4, 4] },
  { name: `${deepLab}, patches of 4 × 4`, onnx: random('DeepLabV3 MobileNetV2', 512), patch: [4, 4], ring: 24 },
];

interface Phase {
  readonly bytes: number;
  /** The first inference of a session, and the median of the others. */
  readonly firstSeconds: number;
  readonly seconds: number;
}

interface Row {
  readonly case: string;
  readonly ringBits: number;
  readonly comparisons: number;
  readonly runs: number;
  readonly offline: Phase;
  readonly online: Phase;
  /** Median seconds of ONNX Runtime on the processor, and as WASM. */
  readonly plaintext: { readonly node?: number; readonly web?: number };
}

function plaintextSeconds(runtime: 'node' | 'web', path: string, shape: readonly number[], threads: number): number | undefined {
  const program = fileURLToPath(new URL('./_onnx-whole.js', import.meta.url));
  const args = [program, runtime, String(threads), path, shape.join('x')];
  const { status, stdout } = spawnSync(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  return status === 0 ? JSON.parse(stdout.toString()).seconds : undefined;
}

/** What was measured of a case, or undefined where its file is absent. */
async function measure(each: Case, folder: string, { threads, runs = 4 }: BenchOptions): Promise<Row | undefined> {
  const { task, end } = commandTask();
  const path = join(folder, 'network.onnx');
  let model: StoredModel;
  try {
    const compute = await openCompute(task, threads);
    const bytes = await each.onnx(compute);
    if (bytes === undefined) return undefined;
    writeFileSync(path, bytes);
    model = await compileOnnx(path, each.patch, threads, task, compute, each.ring);
  } finally {
    await end();
  }
  const { shape } = model.compiled.program.tensors[model.compiled.program.input]!;
  const node = plaintextSeconds('node', path, shape, threads);
  const web = plaintextSeconds('web', path, shape, threads);
  const plaintext = { ...(node === undefined ? {} : { node }), ...(web === undefined ? {} : { web }) };
  const picture = generatePictures(shape, plainPreprocessing(shape[0] ?? 1), 1, 2);
  return withParties(model, { threads }, async (session) => {
    const first = (await session.infer(picture, 1)).seconds;
    const seconds: Readonly<Record<RunPhase, number>>[] = [];
    for (let run = 0; run < runs; run++) seconds.push((await session.infer(picture, 1)).seconds);
    const cost = estimator(session, 'masked')(1);
    const phase = (of: RunPhase): Phase => ({
      bytes: cost[of].bytes,
      firstSeconds: first[of],
      seconds: median(seconds.map((run) => run[of])),
    });
    const { ringBits, comparisons } = model.summary;
    return { case: each.name, ringBits, comparisons, runs, offline: phase('offline'), online: phase('online'), plaintext };
  });
}

const options = benchOptions();
const rows: Row[] = [];
for (const each of cases) {
  if (options.match !== undefined && !each.name.includes(options.match)) continue;
  const folder = mkdtempSync(join(tmpdir(), 'tessera-bench-'));
  try {
    const row = await measure(each, folder, options);
    if (row === undefined) process.stderr.write(`imagenet: ${each.name} left out: its file of ../shared/data is absent\n`);
    else rows.push(row);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const whole = (row: Row): number => row.offline.seconds + row.online.seconds;
const milliseconds = (seconds: number | undefined): string => (seconds === undefined ? '' : (1000 * seconds).toFixed(1));
const times = (row: Row, seconds: number | undefined): string => (seconds === undefined ? '' : (row.online.seconds / seconds).toFixed(1));
printRows(rows, options, {
  network: (row) => row.case,
  ring: (row) => String(row.ringBits),
  comparisons: (row) => formatCount(row.comparisons),
  offline: (row) => formatBytes(row.offline.bytes),
  online: (row) => formatBytes(row.online.bytes),
  'in all': (row) => formatBytes(row.offline.bytes + row.online.bytes),
  'offline s': (row) => row.offline.seconds.toFixed(2),
  'online s': (row) => row.online.seconds.toFixed(2),
  'in all s': (row) => whole(row).toFixed(2),
  'first online s': (row) => row.online.firstSeconds.toFixed(2),
  'ort-node ms': (row) => milliseconds(row.plaintext.node),
  'online / that': (row) => times(row, row.plaintext.node),
  'ort-web ms': (row) => milliseconds(row.plaintext.web),
  'online / ort-web': (row) => times(row, row.plaintext.web),
});
