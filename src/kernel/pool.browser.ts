// Computes for browsers: web workers where the page may share memory, else one thread. Key streams come from WebCrypto.
import type { Compute } from './compute.js';
import { createCompute } from './heap.js';
import { type WorkerInput, type WorkerLike, type WorkerReport, workerLoop } from './jobs.js';

export interface BrowserComputeOptions {
  /** Workers for heavy kernels, besides the calling thread; default: the processors the browser admits to, at most 8. */
  readonly threads?: number;
  /** Limit of the heap in bytes; address space, not memory, until it is used. Default 1 GiB. */
  readonly maxBytes?: number;
}

const workerSource = `onmessage = (event) => (${workerLoop})(event.data, undefined, (report) => postMessage(report));`;

function startWorker(input: WorkerInput): WorkerLike {
  const url = URL.createObjectURL(new Blob([workerSource], { type: 'text/javascript' }));
  const worker = new Worker(url, { name: `tessera-${input.index}` });
  URL.revokeObjectURL(url);
  worker.postMessage(input);
  return {
    onReport: (listener) => worker.addEventListener('message', (event: MessageEvent<WorkerReport>) => listener(event.data)),
    onFailure: (listener) => worker.addEventListener('error', (event) => listener(new Error(`compute worker: ${event.message}`))),
    hold: () => {},
    terminate: async () => worker.terminate(),
  };
}

/** A compute on web workers where the page is cross-origin isolated, and on the calling thread elsewhere. */
export function createBrowserCompute(options: BrowserComputeOptions = {}): Promise<Compute> {
  const isolated = globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer !== 'undefined';
  const threads = options.threads ?? Math.min(8, navigator.hardwareConcurrency || 1);
  return createCompute({
    threads: isolated ? threads : 0,
    worker: startWorker,
    ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }),
  });
}
