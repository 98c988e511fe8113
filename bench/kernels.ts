// tessera bench kernels: every heavy kernel as a share of what this machine's own loop of multiply-adds reaches, and ONNX Runtime beside
// the float convolutions. Kernel and ceiling are measured in turns, because a shared machine's speed changes from second to second.
import { type ChildProcess, fork } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Compute } from '../src/kernel/compute.js';
import { convolveFloat, packFloatWeights } from '../src/kernel/float.js';
import { convolve, freeWeights, packWeights } from '../src/kernel/linear.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { type KernelCase, kernelCases, macsOf } from './_kernel-cases.js';
import { type BenchOptions, benchOptions, median, printRows } from './_parties.js';

/** One kernel. */
export interface KernelRow {
  readonly case: string;
  readonly network: string;
  /** Words mod 2^32, floats, or bytes of a key stream. */
  readonly type: 'i32' | 'f32' | 'u8';
  /** Multiply-adds (key streams: bytes) per second of processor time on the calling thread, median of `runs`. */
  readonly rate: number;
  /** The same of the loop that measures the ceiling; for key streams of node:crypto without a copy. */
  readonly ceiling: number;
  /** Median, over the runs, of the kernel's rate by the ceiling's just before and after. */
  readonly share: number;
  readonly runs: number;
  /** Fastest run on the clock: on the calling thread (threads 1), and on as many workers as were asked for. */
  readonly times: readonly Time[];
  /** The same float layer elsewhere, fastest run; absent where a runtime is not installed. */
  readonly peers?: readonly (Time & { readonly name: string })[];
}

interface Time {
  readonly threads: number;
  readonly seconds: number;
}

type Type = 'i32' | 'f32';
const suffix = { i32: 'Words', f32: 'Floats' } as const;

/** Seconds on the clock and of this process on the processors: other programs on the machine lengthen only the first. */
async function time(work: () => unknown): Promise<{ clock: number; processor: number }> {
  const used = process.cpuUsage();
  const start = performance.now();
  await work();
  const clock = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(used);
  return { clock, processor: (user + system) / 1e6 };
}

/** The fastest of at least five runs in about `budget` seconds. */
async function fastest(work: () => unknown, budget: number): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + 1000 * budget;
  for (let i = 0; i < 5 || (performance.now() < end && i < 1000); i++) best = Math.min(best, (await time(work)).clock);
  return best;
}

type Measured = Pick<KernelRow, 'rate' | 'ceiling' | 'share' | 'runs'> & { readonly clock: number };

/** Runs `work` (of `amount` operations) for about `budget` seconds, with a slice of the ceiling before and after each run. */
async function inTurns(work: () => unknown, amount: number, ceiling: () => Promise<number>, budget: number): Promise<Measured> {
  // A slice of less than a millisecond would measure the clock.
  await work();
  await work();
  const repeats = Math.max(1, Math.min(100, Math.ceil(0.001 / Math.max(1e-6, (await time(work)).clock))));
  const repeat = async () => {
    for (let i = 0; i < repeats; i++) await work();
  };
  const [rates, ceilings, shares]: number[][] = [[], [], []];
  let clock = Number.POSITIVE_INFINITY;
  let before = await ceiling();
  const end = performance.now() + 1000 * budget;
  while (shares!.length < 5 || (performance.now() < end && shares!.length < 1000)) {
    const taken = await time(repeat);
    const after = await ceiling();
    rates!.push((amount * repeats) / taken.processor);
    ceilings!.push(after);
    shares!.push((2 * rates!.at(-1)!) / (before + after));
    clock = Math.min(clock, taken.clock / repeats);
    before = after;
  }
  return { rate: median(rates!), ceiling: median(ceilings!), share: median(shares!), runs: shares!.length, clock };
}

/** Multiply-adds per second of processor time of the ceiling loop: a slice of about 2 ms. */
async function ceilingOf(compute: Compute, type: Type): Promise<() => Promise<number>> {
  const data = compute.words(256).fill(type === 'i32' ? 3 : 0x3f800000);
  const out = compute.words(4);
  const steps = 1 << 19;
  const slice = () => compute.run(`ceiling${suffix[type]}`, [data, steps, out], 1);
  for (let i = 0; i < 20; i++) await slice();
  return async () => (steps * 32) / (await time(slice)).processor;
}

/** Where a case runs: on the calling thread, and on workers. */
interface Computes {
  readonly alone: Compute;
  readonly pool: Compute;
}

type Prepared = { readonly work: () => Promise<void>; readonly free: () => void };

/** Measures a case alone beside the ceiling, and on the pool on the clock. */
async function measure(
  { alone, pool }: Computes,
  prepare: (compute: Compute) => Promise<Prepared>,
  amount: number,
  ceiling: () => Promise<number>,
): Promise<Pick<KernelRow, 'rate' | 'ceiling' | 'share' | 'runs' | 'times'>> {
  const one = await prepare(alone);
  const { clock, ...measured } = await inTurns(one.work, amount, ceiling, 0.5);
  one.free();
  const many = await prepare(pool);
  for (let i = 0; i < 3; i++) await many.work();
  const times = [
    { threads: 1, seconds: clock },
    { threads: pool.threads, seconds: await fastest(many.work, 0.3) },
  ];
  many.free();
  return { ...measured, times };
}

const gemm = { k: 256, panels: 32, tiles: 64 };

/** Both operands packed and in the second-level cache: the micro-kernel by itself. */
async function prepareGemm(compute: Compute, type: Type): Promise<Prepared> {
  const { k, panels, tiles } = gemm;
  const [a, b] = [compute.words(panels * 4 * k).fill(0), compute.words(tiles * 8 * k).fill(0)];
  const out = compute.words(panels * 4 * tiles * 8);
  const zeros = compute.words(16).fill(0);
  const work = () => compute.run(`multiplyPacked${suffix[type]}`, [a, b, k, panels, out, tiles, zeros], tiles, { costPerItem: 1e5 });
  return { work, free: () => compute.free(a, b, out, zeros) };
}

async function prepareConvolution(compute: Compute, type: Type, { geometry: g }: KernelCase): Promise<Prepared> {
  const weightCount = (g.outputChannels * g.inputChannels * g.kernelHeight * g.kernelWidth) / g.groups;
  const inputCount = g.inputChannels * g.inputHeight * g.inputWidth;
  const outputCount = g.outputChannels * g.outputHeight * g.outputWidth;
  if (type === 'i32') {
    const packed = await packWeights(compute, g, new Int32Array(weightCount).fill(0x12345));
    const [input, output] = [compute.words(inputCount).fill(0x6789abc), compute.words(outputCount)];
    const free = () => {
      freeWeights(compute, packed);
      compute.free(input, output);
    };
    return { work: () => convolve(compute, packed, input, 1, output), free };
  }
  const packed = await packFloatWeights(compute, g, new Float32Array(weightCount).fill(0.01));
  const [input, output] = [compute.floats(inputCount).fill(0.5), compute.floats(outputCount)];
  const free = () => {
    freeWeights(compute, packed);
    compute.free(input, output);
  };
  return { work: () => convolveFloat(compute, packed, input, 1, output), free };
}

const keystreamBytes = 1 << 23;

async function prepareKeystream(compute: Compute): Promise<Prepared> {
  const out = compute.bytes(keystreamBytes);
  const key = new Uint8Array(16);
  return { work: () => compute.keystream(key, key, out), free: () => compute.free(out) };
}

/** node:crypto encrypting 64 KiB over and over, in bytes per second of processor time. */
function cipherCeiling(): () => Promise<number> {
  const zeros = new Uint8Array(1 << 16);
  const cipher = createCipheriv('aes-128-ctr', new Uint8Array(16), new Uint8Array(16));
  const slice = () => {
    for (let i = 0; i < 64; i++) cipher.update(zeros);
  };
  return async () => (64 * zeros.length) / (await time(slice)).processor;
}

interface Peer {
  readonly name: string;
  readonly threads: number;
  /** Fastest run of a case. */
  seconds(index: number): Promise<number | undefined>;
  close(): void;
}

/** Starts a runtime in a process of its own, or says that it is not installed. */
async function startPeer(name: string, threads: number): Promise<Peer | undefined> {
  const child: ChildProcess = fork(fileURLToPath(new URL('./_onnx-peer.js', import.meta.url)), [name, String(threads)], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const first = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => undefined)]);
  if (!first) {
    process.stderr.write(`onnxruntime-${name} is not installed, or does not start: left out\n`);
    return undefined;
  }
  return {
    name: `onnxruntime-${name}`,
    threads,
    async seconds(index) {
      child.send(index);
      const [answer] = (await once(child, 'message')) as [{ seconds?: number }];
      return answer.seconds;
    },
    close: () => child.kill(),
  };
}

/** A network's convolutions together, as often as it has them: times add up, rates and shares are means over time. */
function total(network: string, rows: readonly KernelRow[]): KernelRow {
  const counts = new Map(kernelCases.filter((which) => which.network === network).map(({ name, count }) => [name, count]));
  const weigh = (value: (row: KernelRow) => number) => rows.reduce((sum, row) => sum + counts.get(row.case)! * value(row), 0);
  const { type, times, peers } = rows[0]!;
  const seconds = weigh((row) => row.times[0]!.seconds);
  const mean = (value: (row: KernelRow) => number) => weigh((row) => value(row) * row.times[0]!.seconds) / seconds;
  return {
    case: `${network}, ${network === 'MobileNetV1' ? 'depthwise' : 'all'} layers`,
    network,
    type,
    rate: mean((row) => row.rate),
    ceiling: mean((row) => row.ceiling),
    share: mean((row) => row.share),
    runs: Math.min(...rows.map((row) => row.runs)),
    times: times.map((entry, i) => ({ ...entry, seconds: weigh((row) => row.times[i]!.seconds) })),
    ...(peers ? { peers: peers.map((peer, i) => ({ ...peer, seconds: weigh((row) => row.peers?.[i]?.seconds ?? Number.NaN) })) } : {}),
  };
}

async function benchType(computes: Computes, type: Type, peers: readonly Peer[]): Promise<KernelRow[]> {
  const ceiling = await ceilingOf(computes.alone, type);
  const { k, panels, tiles } = gemm;
  const gemmMacs = panels * 4 * k * tiles * 8;
  const gemmRow = await measure(computes, (compute) => prepareGemm(compute, type), gemmMacs, ceiling);
  const rows: KernelRow[] = [{ case: `packed GEMM ${panels * 4}x${k}x${tiles * 8}`, network: '', type, ...gemmRow }];
  for (const [index, which] of kernelCases.entries()) {
    const measured = await measure(computes, (compute) => prepareConvolution(compute, type, which), macsOf(which.geometry), ceiling);
    const found = [];
    for (const { name, threads, seconds } of peers) found.push({ name, threads, seconds: (await seconds(index)) ?? Number.NaN });
    rows.push({ case: which.name, network: which.network, type, ...measured, ...(found.length > 0 ? { peers: found } : {}) });
  }
  const networks = new Set(kernelCases.map((which) => which.network));
  const totals = [...networks].map((network) =>
    total(
      network,
      rows.filter((row) => row.network === network),
    ),
  );
  return [...rows, ...totals];
}

/**
 * Measures every kernel on the calling thread, beside the ceiling, and on `threads` workers. Rows of floats carry the same layer in
 * onnxruntime-node and onnxruntime-web (WASM), on one thread and on as many. Layers below 0.3 ms run on the calling thread anyway.
 */
export async function benchKernels({ threads }: Pick<BenchOptions, 'threads'>): Promise<KernelRow[]> {
  const computes = { alone: await createNodeCompute({ inline: true }), pool: await createNodeCompute({ threads }) };
  const started: Peer[] = [];
  for (const name of ['node', 'web']) {
    for (const count of new Set([1, threads])) {
      const peer = await startPeer(name, count);
      if (peer) started.push(peer);
    }
  }
  const rows = [...(await benchType(computes, 'i32', [])), ...(await benchType(computes, 'f32', started))];
  for (const peer of started) peer.close();
  rows.push({
    case: 'AES-128-CTR key stream',
    network: '',
    type: 'u8',
    ...(await measure(computes, prepareKeystream, keystreamBytes, cipherCeiling())),
  });
  await computes.alone.close();
  await computes.pool.close();
  return rows;
}

function milliseconds(times: readonly Time[] | undefined, threads: number): string {
  const seconds = times?.find((entry) => entry.threads === threads)?.seconds;
  if (seconds === undefined) return '';
  const ms = 1000 * seconds;
  return ms >= 100 ? ms.toFixed(0) : ms.toPrecision(3);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const options = benchOptions();
  const { threads } = options;
  const peer = (row: KernelRow, name: string) => row.peers?.filter((entry) => entry.name === name);
  const timesOf: [string, (row: KernelRow) => readonly Time[] | undefined][] = [
    ['ms', (row) => row.times],
    ['ort-node ms', (row) => peer(row, 'onnxruntime-node')],
    ['ort-web ms', (row) => peer(row, 'onnxruntime-web')],
  ];
  const timeColumns = timesOf.flatMap(([name, of]) =>
    [...new Set([1, threads])].map((count) => [`${name} x${count}`, (row: KernelRow) => milliseconds(of(row), count)] as const),
  );
  printRows(await benchKernels(options), options, {
    kernel: (row) => (row.case.startsWith(row.network) ? row.case : `${row.network} ${row.case}`),
    type: (row) => row.type,
    'G/s': (row) => (row.rate / 1e9).toFixed(2),
    ceiling: (row) => (row.ceiling / 1e9).toFixed(2),
    share: (row) => `${Math.round(100 * row.share)} %`,
    runs: (row) => String(row.runs),
    ...Object.fromEntries(timeColumns),
  });
}
