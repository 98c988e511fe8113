// Computes for Node: workers from node:worker_threads, key streams from node:crypto.
import { createCipheriv } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Compute } from './compute.js';
import { createCompute } from './heap.js';
import { type KeystreamFiller, type WorkerInput, type WorkerLike, type WorkerReport, workerLoop } from './jobs.js';

export interface NodeComputeOptions {
  /** Worker threads for heavy kernels, besides the calling thread; default: the processors available. */
  readonly threads?: number;
  /** Limit of the heap in bytes; address space, not memory, until it is used. Default 4 GiB. */
  readonly maxBytes?: number;
  /**
   * The calling thread is one of the threads: for a process that does nothing but compute. It then loses no time between kernels (a training
   * step of ResNet-20 took 0.18 s on two threads, 0.23 s otherwise), but sockets, timers and signals wait for up to 25 ms and a kernel.
   */
  readonly joined?: boolean;
  /** Runs everything on the calling thread and starts no worker: for tests and tiny work. */
  readonly inline?: boolean;
}

/** Key streams by node:crypto. Sent to workers as source text, so it refers to nothing outside its own body. */
function makeFiller(cipher: typeof createCipheriv): KeystreamFiller {
  let zeros = new Uint8Array(0);
  return (key, counterBlock, firstBlock, out) => {
    const counter = counterBlock.slice();
    let carry = firstBlock;
    for (let i = 15; i >= 0 && carry > 0; i--) {
      carry += counter[i]!;
      counter[i] = carry % 256;
      carry = Math.floor(carry / 256);
    }
    const stream = cipher('aes-128-ctr', key, counter);
    const piece = Math.min(out.length, 65536);
    if (zeros.length < piece) zeros = new Uint8Array(piece);
    for (let at = 0; at < out.length; at += piece) out.set(stream.update(zeros.subarray(0, Math.min(piece, out.length - at))), at);
  };
}

const workerSource = `
const { parentPort, workerData } = require('node:worker_threads');
const { createCipheriv } = require('node:crypto');
(${workerLoop})(workerData, (${makeFiller})(createCipheriv), (report) => parentPort.postMessage(report));
`;

function startWorker(input: WorkerInput): WorkerLike {
  const worker = new Worker(workerSource, { eval: true, workerData: input, name: `tessera-${input.index}`, stdin: false, execArgv: [] });
  return {
    onReport: (listener) => void worker.on('message', (report: WorkerReport) => listener(report)),
    onFailure: (listener) => void worker.on('error', listener),
    hold: (alive) => (alive ? worker.ref() : worker.unref()),
    terminate: async () => {
      await worker.terminate();
    },
  };
}

/**
 * A compute whose heavy kernels and long key streams run on worker threads, so that the calling thread stays free for sockets.
 * It does not keep the process alive unless a run is pending.
 */
export function createNodeCompute(options: NodeComputeOptions = {}): Promise<Compute> {
  return createCompute({
    threads: options.inline ? 0 : Math.max(1, options.threads ?? availableParallelism()),
    maxBytes: options.maxBytes ?? 2 ** 32,
    shared: true,
    ...(options.joined ? { joined: () => setImmediate() } : {}),
    worker: startWorker,
    keystream: makeFiller(createCipheriv),
    workerKeystream: true,
  });
}
