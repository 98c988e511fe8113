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

/** One kernel on one number of threads. */
export interface KernelRow {
  readonly case: string;
  readonly network: string;
  /** Words mod 2^32, floats, or bytes of a key stream. */
  readonly type: 'i32' | 'f32' | 'u8';
  readonly threads: number;
  /** Of the fastest of `runs` runs. */
  readonly seconds: number;
  readonly runs: number;
  /** Multiply-adds (key streams: bytes) per second. */
  readonly rate: number;
  /** The ceiling's best rate, measured in turns with the kernel; for key streams that of node:crypto by itself on one thread. */
  readonly ceiling: number;
  /** Median, over the runs, of the kernel's rate by that of the ceiling just before and after it: what else runs here falls out. */
  readonly share: number;
  /** Seconds of the same float layer elsewhere; absent where a runtime is not installed. */
  readonly peers?: readonly { readonly name: string; readonly threads: number; readonly seconds: number }[];
}

type Type = 'i32' | 'f32';
const suffix = { i32: 'Words', f32: 'Floats' } as const;

interface Timing {
  readonly seconds: number;
  readonly ceiling: number;
  readonly share: number;
  readonly runs: number;
}

async function secondsOf(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Times `work` (of `amount` operations) for about `budget` seconds, with a slice of the ceiling before and after each run. */
async function inTurns(work: () => unknown, amount: number, ceiling: () => Promise<number>, budget: number): Promise<Timing> {
  for (let i = 0; i < 3; i++) await work();
  const shares: number[] = [];
  let seconds = Number.POSITIVE_INFINITY;
  let before = await ceiling();
  let best = before;
  const end = performance.now() + 1000 * budget;
  while (shares.length < 5 || (performance.now() < end && shares.length < 1000)) {
    const taken = await secondsOf(work);
    const after = await ceiling();
    shares.push(amount / taken / Math.max(before, after));
    seconds = Math.min(seconds, taken);
    best = Math.max(best, after);
    before = after;
  }
  return { seconds, ceiling: best, share: median(shares), runs: shares.length };
}

/** Multiply-adds per second of the ceiling loop on all threads of a compute: a slice of about 2 ms. */
async function ceilingOf(compute: Compute, type: Type): Promise<() => Promise<number>> {
  const data = compute.words(256).fill(type === 'i32' ? 3 : 0x3f800000);
  const items = compute.threads * 4;
  const out = compute.words(items * 4);
  const steps = 1 << 16;
  const slice = () => compute.run(`ceiling${suffix[type]}`, [data, steps, out], items, { costPerItem: 1e6 });
  for (let i = 0; i < 20; i++) await slice();
  return async () => (items * steps * 32) / (await secondsOf(slice));
}

function rowOf(base: Pick<KernelRow, 'case' | 'network' | 'type' | 'threads'>, work: number, timing: Timing): KernelRow {
  return { ...base, ...timing, rate: work / timing.seconds };
}

/** Both operands packed and in the second-level cache: the micro-kernel by itself. */
async function measureGemm(compute: Compute, type: Type, ceiling: () => Promise<number>, threads: number): Promise<KernelRow> {
  const [k, panels, tiles] = [256, 32, 64];
  const [a, b] = [compute.words(panels * 4 * k).fill(0), compute.words(tiles * 8 * k).fill(0)];
  const out = compute.words(panels * 4 * tiles * 8);
  const zeros = compute.words(16).fill(0);
  const work = () => compute.run(`multiplyPacked${suffix[type]}`, [a, b, k, panels, out, tiles, zeros], tiles, { costPerItem: 1e6 });
  const macs = panels * 4 * k * tiles * 8;
  const timing = await inTurns(work, macs, ceiling, 1);
  compute.free(a, b, out, zeros);
  return rowOf({ case: `packed GEMM ${panels * 4}x${k}x${tiles * 8}`, network: '', type, threads }, macs, timing);
}

async function measureConvolution(
  compute: Compute,
  type: Type,
  ceiling: () => Promise<number>,
  threads: number,
  which: KernelCase,
): Promise<KernelRow> {
  const g = which.geometry;
  const weightCount = (g.outputChannels * g.inputChannels * g.kernelHeight * g.kernelWidth) / g.groups;
  const inputCount = g.inputChannels * g.inputHeight * g.inputWidth;
  const outputCount = g.outputChannels * g.outputHeight * g.outputWidth;
  const base = { case: which.name, network: which.network, type, threads };
  if (type === 'i32') {
    const packed = await packWeights(compute, g, new Int32Array(weightCount).fill(0x12345));
    const [input, output] = [compute.words(inputCount).fill(0x6789abc), compute.words(outputCount)];
    const timing = await inTurns(() => convolve(compute, packed, input, 1, output), macsOf(g), ceiling, 0.5);
    freeWeights(compute, packed);
    compute.free(input, output);
    return rowOf(base, macsOf(g), timing);
  }
  const packed = await packFloatWeights(compute, g, new Float32Array(weightCount).fill(0.01));
  const [input, output] = [compute.floats(inputCount).fill(0.5), compute.floats(outputCount)];
  const timing = await inTurns(() => convolveFloat(compute, packed, input, 1, output), macsOf(g), ceiling, 0.5);
  freeWeights(compute, packed);
  compute.free(input, output);
  return rowOf(base, macsOf(g), timing);
}

/** 8 MiB of key stream on the heap, beside node:crypto encrypting 64 KiB over and over without a copy. */
async function measureKeystream(compute: Compute, threads: number): Promise<KernelRow> {
  const bytes = 1 << 23;
  const out = compute.bytes(bytes);
  const key = new Uint8Array(16);
  const zeros = new Uint8Array(1 << 16);
  const cipher = createCipheriv('aes-128-ctr', key, key);
  const alone = async () =>
    (32 * zeros.length) /
    (await secondsOf(() => {
      for (let i = 0; i < 32; i++) cipher.update(zeros);
    }));
  const timing = await inTurns(() => compute.keystream(key, key, out), bytes, alone, 1);
  compute.free(out);
  return rowOf({ case: 'AES-128-CTR key stream', network: '', type: 'u8', threads }, bytes, timing);
}

interface Peer {
  readonly name: string;
  readonly threads: number;
  measure(index: number): Promise<number | undefined>;
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
    async measure(index) {
      child.send(index);
      const [answer] = (await once(child, 'message')) as [{ seconds?: number }];
      return answer.seconds;
    },
    close: () => child.kill(),
  };
}

/** Each network's convolutions together, as often as it has them: times add up, rates and shares are means over time. */
function totals(rows: readonly KernelRow[]): KernelRow[] {
  const counts = new Map(kernelCases.map((c) => [c.name + c.network, c]));
  const networks = [...new Set(kernelCases.map((c) => c.network))];
  return networks.flatMap((network) => {
    const own = rows.filter((row) => row.network === network);
    const weigh = (value: (row: KernelRow) => number) =>
      own.reduce((sum, row) => sum + counts.get(row.case + network)!.count * value(row), 0);
    if (own.length === 0) return [];
    const seconds = weigh((row) => row.seconds);
    const rate = weigh((row) => row.rate * row.seconds) / seconds;
    const ceiling = weigh((row) => row.ceiling * row.seconds) / seconds;
    const share = weigh((row) => row.share * row.seconds) / seconds;
    const peers = own[0]!.peers?.map((peer, i) => ({ ...peer, seconds: weigh((row) => row.peers?.[i]?.seconds ?? Number.NaN) }));
    const { type, threads } = own[0]!;
    const name = `${network}, ${network === 'MobileNetV1' ? 'depthwise' : 'all'} layers`;
    const total = { case: name, network, type, threads, seconds, runs: Math.min(...own.map((row) => row.runs)), rate, ceiling, share };
    return [{ ...total, ...(peers ? { peers } : {}) }];
  });
}

/**
 * Measures every kernel on one worker thread and on `threads`. Rows of floats carry the same layer in onnxruntime-node and onnxruntime-web
 * (WASM) with as many threads. Work below 0.3 ms runs at once on the calling thread, whatever the threads.
 */
export async function benchKernels({ threads }: Pick<BenchOptions, 'threads'>): Promise<KernelRow[]> {
  const rows: KernelRow[] = [];
  for (const count of new Set([1, threads])) {
    const compute = await createNodeCompute({ threads: count });
    for (const type of ['i32', 'f32'] as const) {
      const ceiling = await ceilingOf(compute, type);
      rows.push(await measureGemm(compute, type, ceiling, count));
      const peers =
        type === 'f32' ? [await startPeer('node', count), await startPeer('web', count)].filter((peer) => peer !== undefined) : [];
      const layers: KernelRow[] = [];
      for (const [index, which] of kernelCases.entries()) {
        const row = await measureConvolution(compute, type, ceiling, count, which);
        const found = [];
        for (const peer of peers)
          found.push({ name: peer.name, threads: peer.threads, seconds: (await peer.measure(index)) ?? Number.NaN });
        layers.push(found.length > 0 ? { ...row, peers: found } : row);
      }
      for (const peer of peers) peer.close();
      rows.push(...layers, ...totals(layers));
    }
    rows.push(await measureKeystream(compute, count));
    await compute.close();
  }
  return rows;
}

const milliseconds = (seconds: number | undefined): string => (seconds === undefined ? '' : (1000 * seconds).toPrecision(3));
const peerSeconds = (row: KernelRow, name: string) => row.peers?.find((peer) => peer.name === name)?.seconds;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const options = benchOptions();
  printRows(await benchKernels(options), options, {
    kernel: (row) => (row.case.startsWith(row.network) ? row.case : `${row.network} ${row.case}`),
    type: (row) => row.type,
    threads: (row) => String(row.threads),
    ms: (row) => milliseconds(row.seconds),
    'G/s': (row) => (row.rate / 1e9).toFixed(2),
    ceiling: (row) => (row.ceiling / 1e9).toFixed(2),
    share: (row) => `${Math.round(100 * row.share)} %`,
    'ort-node ms': (row) => milliseconds(peerSeconds(row, 'onnxruntime-node')),
    'ort-web ms': (row) => milliseconds(peerSeconds(row, 'onnxruntime-web')),
    runs: (row) => String(row.runs),
  });
}
