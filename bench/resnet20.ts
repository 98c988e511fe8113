// tessera bench resnet20: single images and streams of ResNet-20 at CIFAR size between three processes on one machine.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readModelFolder } from '../src/cli/model-folder.js';
import type { PrivateSession } from '../src/cli/run-types.js';
import { loadDataset } from '../src/data/dataset.node.js';
import { type BenchOptions, type BenchRow, benchOptions, median, printRows, withParties } from './_parties.js';

const sessions = 5;
const imagesPerSession = 10;
const streamed = 60;
const ahead = 3;

const root = fileURLToPath(new URL('../../', import.meta.url));
const shared = join(root, '../shared/data/cifar10');

interface Case {
  readonly name: string;
  readonly onnx: string;
  readonly data: string;
}

const cases: readonly Case[] = [
  { name: 'built-in', onnx: join(root, 'models/cifar10-resnet20.onnx'), data: join(root, 'models/cifar10-resnet20.json') },
  { name: 'shared data', onnx: join(shared, 'resnet20.onnx'), data: join(shared, 'resnet20.test.json') },
];

interface Row extends BenchRow {
  readonly imagesPerSecond?: number;
  readonly setupSeconds?: number;
}

/** One image after the other, each prepared when it is asked for; the first of a session and the tenth apart. */
async function singles(measured: Case, folder: string, images: Float32Array, size: number, options: BenchOptions): Promise<Row[]> {
  const model = await readModelFolder(folder);
  const reports: Awaited<ReturnType<PrivateSession['infer']>>[][] = [];
  const setups: number[] = [];
  let bytes = { offline: 0, online: 0 };
  for (let s = 0; s < sessions; s++) {
    await withParties(model, options, async (session) => {
      setups.push(session.setupSeconds);
      const own = [];
      for (let i = 0; i < imagesPerSession; i++) own.push(await session.infer(images.subarray(i * size, (i + 1) * size), 1));
      reports.push(own);
      const traffic = await session.traffic();
      const sum = (links: object) => Object.values(links).reduce((a: number, b: number) => a + b, 0) / imagesPerSession;
      bytes = { offline: sum(traffic.offline), online: sum(traffic.online) };
    });
  }
  return ([0, imagesPerSession - 1] as const).map((at) => {
    const chosen = reports.map((own) => own[at]!);
    const phase = (name: 'offline' | 'online') => ({
      seconds: median(chosen.map((r) => r.seconds[name])),
      bytes: bytes[name],
      rounds: chosen[0]!.rounds[name],
    });
    const common = { suite: 'masked', ringBits: model.summary.ringBits, network: 'local', runs: sessions, setupSeconds: median(setups) };
    return { case: `${measured.name}, image ${at + 1} of a session`, ...common, offline: phase('offline'), online: phase('online') };
  });
}

/** A stream: material for the next images is prepared while one is answered, or all of it before the clock starts. */
async function stream(
  measured: Case,
  folder: string,
  images: Float32Array,
  size: number,
  batch: number,
  prepared: boolean,
  options: BenchOptions,
): Promise<Row> {
  const model = await readModelFolder(folder);
  const count = Math.floor(streamed / batch);
  const input = (i: number) => images.subarray(((i * batch) % imagesPerSession) * size, (((i * batch) % imagesPerSession) + batch) * size);
  const { seconds, offlineSeconds } = await withParties(model, options, (session) =>
    prepared ? runPrepared(session, count, batch, input) : runOverlapped(session, count, batch, input),
  );
  const phase = { bytes: 0, rounds: 0 };
  return {
    case: `${measured.name}, ${count * batch} images, batch ${batch}, ${prepared ? 'online alone' : 'offline included'}`,
    suite: 'masked',
    ringBits: model.summary.ringBits,
    network: 'local',
    runs: 1,
    offline: { ...phase, seconds: offlineSeconds },
    online: { ...phase, seconds },
    imagesPerSecond: (count * batch) / seconds,
  };
}

type Input = (i: number) => Float32Array;

async function runPrepared(session: PrivateSession, count: number, batch: number, input: Input) {
  let seconds = 0;
  let offlineSeconds = 0;
  for (let start = 0; start < count; start += ahead) {
    const began = performance.now();
    const ready = await Promise.all(Array.from({ length: Math.min(ahead, count - start) }, () => session.prepare(batch)));
    offlineSeconds += (performance.now() - began) / 1000;
    const online = performance.now();
    await Promise.all(ready.map((prepared, i) => prepared.infer(input(start + i))));
    seconds += (performance.now() - online) / 1000;
  }
  return { seconds, offlineSeconds };
}

async function runOverlapped(session: PrivateSession, count: number, batch: number, input: Input) {
  const began = performance.now();
  const running: Promise<unknown>[] = [];
  for (let i = 0; i < count; i++) {
    if (running.length >= ahead) await running.shift();
    running.push(session.infer(input(i), batch));
  }
  await Promise.all(running);
  return { seconds: (performance.now() - began) / 1000, offlineSeconds: 0 };
}

async function measure(measured: Case, options: BenchOptions): Promise<Row[]> {
  const temporary = mkdtempSync(join(tmpdir(), 'tessera-bench-'));
  const folder = join(temporary, 'model');
  try {
    const main = join(root, 'dist/src/cli/main.js');
    const compiled = spawnSync(
      process.execPath,
      [main, 'compile', measured.onnx, '--data', measured.data, '--limit', '64', '-o', folder, '--json'],
      { encoding: 'utf8' },
    );
    if (compiled.status !== 0) throw new Error(`cannot compile ${measured.onnx}: ${compiled.stdout}${compiled.stderr}`);
    const data = await loadDataset(measured.data, { limit: imagesPerSession });
    const own = await data.read(0, data.count);
    const size = own.length / data.count;
    const images = new Float32Array(imagesPerSession * size);
    for (let i = 0; i < imagesPerSession; i++) images.set(own.subarray((i % data.count) * size, ((i % data.count) + 1) * size), i * size);
    return [
      ...(await singles(measured, folder, images, size, options)),
      await stream(measured, folder, images, size, 1, true, options),
      await stream(measured, folder, images, size, 5, true, options),
      await stream(measured, folder, images, size, 1, false, options),
      await stream(measured, folder, images, size, 5, false, options),
    ];
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

const options = benchOptions();
const rows: Row[] = [];
for (const each of cases) {
  if (existsSync(each.onnx) && existsSync(each.data)) rows.push(...(await measure(each, options)));
  else process.stderr.write(`${each.onnx} is not here: skipped\n`);
}

const bytes = (value: number) => (value === 0 ? '' : (value / 1e6).toFixed(2));
printRows(rows, options, {
  case: (row) => row.case,
  'offline s': (row) => (row.offline.seconds === 0 ? '' : row.offline.seconds.toFixed(3)),
  'online s': (row) => row.online.seconds.toFixed(3),
  'offline MB': (row) => bytes(row.offline.bytes),
  'online MB': (row) => bytes(row.online.bytes),
  'images/s': (row) => row.imagesPerSecond?.toFixed(1) ?? '',
  'setup s': (row) => row.setupSeconds?.toFixed(3) ?? '',
  rounds: (row) => (row.online.rounds === 0 ? '' : String(row.online.rounds)),
});
