// A compute: one WASM memory with an allocator, the kernels, and the workers that share it where there are any.
import { type Allocator, createAllocator } from './allocator.js';
import type { Compute, HeapArray } from './compute.js';
import {
  createJobQueue,
  type JobQueue,
  type KeystreamFiller,
  keystreamJob,
  ringLayout,
  slotWords,
  type WorkerInput,
  type WorkerLike,
} from './jobs.js';
import { memoryFlagOffset, moduleBase64 } from './module.generated.js';
import { scratchBytes } from './tiling.js';

const pageBytes = 65536;
/** Kernels read whole vectors, up to 64 bytes past an array's end. */
const guardBytes = 64;
/** A job sent to workers costs 30 to 60 µs on the way there and back; below this estimate it runs at once. */
const inlineNanoseconds = 300_000;
/** The same where the calling thread takes part: it goes on by itself, and workers look for jobs. */
const joinedInlineNanoseconds = 20_000;
/** A worker that is joined looks for jobs so long before it sleeps: for as long as a caller takes between two of them. */
const idleMilliseconds = 0.5;
/** The calling thread lets others (signals, progress, files) have a turn after so long. */
const turnMilliseconds = 25;
/** Pieces per worker: enough to even out a late start, few enough that claiming them costs nothing. */
const piecesPerWorker = 4;
/** Output of node:crypto is fastest while a piece stays in the second-level cache. */
const keystreamPieceBytes = 262_144;
const inlineKeystreamBytes = 262_144;

export interface ComputeOptions {
  /** Workers to start; 0 runs everything on the calling thread. Needs `worker`. Default 0. */
  readonly threads?: number;
  /** Whether the memory may be shared between threads although there are no workers. */
  readonly shared?: boolean;
  /** Limit of the heap in bytes, at most 4 GiB; address space, not memory, until it is used. Default 1 GiB. */
  readonly maxBytes?: number;
  /**
   * Where the calling thread is one of the threads: there is a worker less, a kernel has run when `run` returns its promise, and this gives
   * what else waits for the thread a turn, now and then.
   */
  readonly joined?: () => Promise<void>;
  /** Starts a worker that runs `workerLoop` on this input. */
  readonly worker?: (input: WorkerInput) => WorkerLike;
  /** AES-128-CTR on the calling thread, where the platform has it; else WebCrypto is used. */
  readonly keystream?: KeystreamFiller;
  /** Whether workers can make key streams. */
  readonly workerKeystream?: boolean;
}

type Kernel = (...args: number[]) => number;

function decodeModule(shared: boolean): Uint8Array<ArrayBuffer> {
  const text = atob(moduleBase64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  if (!shared) bytes[memoryFlagOffset] = 1;
  return bytes;
}

/** The whole memory at once: typed arrays over it must never detach, and the system hands out pages only when they are touched. */
function reserve(maxBytes: number, shared: boolean): WebAssembly.Memory {
  let pages = Math.min(65535, Math.ceil(maxBytes / pageBytes));
  for (;;) {
    try {
      return new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
    } catch (error) {
      if (pages < 1024) throw error;
      pages >>= 1;
    }
  }
}

/** AES-128-CTR from WebCrypto. Its counter argument wraps at 128 bits, as node:crypto's does. */
async function webKeystream(key: Uint8Array, counterBlock: Uint8Array, out: Uint8Array): Promise<void> {
  const imported = await crypto.subtle.importKey('raw', key.slice(), 'AES-CTR', false, ['encrypt']);
  const stream = await crypto.subtle.encrypt(
    { name: 'AES-CTR', counter: counterBlock.slice(), length: 128 },
    imported,
    new Uint8Array(out.length),
  );
  out.set(new Uint8Array(stream));
}

/**
 * Makes a compute. Platform code chooses the workers: see `createNodeCompute` and `createBrowserCompute`; without any, kernels run
 * on the calling thread. Jobs that are not awaited may run at the same time: await a result before using it.
 */
export async function createCompute(options: ComputeOptions = {}): Promise<Compute> {
  const wanted = options.worker ? Math.min(options.threads ?? 0, ringLayout.maxThreads) : 0;
  const workerCount = options.joined ? Math.max(0, wanted - 1) : wanted;
  const shared = workerCount > 0 || options.shared === true;
  const memory = reserve(options.maxBytes ?? 2 ** 30, shared);
  const { buffer } = memory;
  const module = await WebAssembly.compile(decodeModule(shared));
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  const kernels = instance.exports as Record<string, Kernel>;
  const indices = new Map(Object.keys(kernels).map((name, i) => [name, i]));
  kernels.setScratch!(pageBytes);

  const heapBase = pageBytes + (workerCount + 1) * scratchBytes;
  const allocator = createAllocator(heapBase, buffer.byteLength - guardBytes);
  const workers = Array.from({ length: workerCount }, (_, index) =>
    options.worker!({
      ...{ module, memory, index, scratch: pageBytes + (index + 1) * scratchBytes, layout: ringLayout, words: slotWords },
      ...(options.joined ? { joined: { idleMilliseconds } } : {}),
    }),
  );
  const jobs = workerCount > 0 ? createJobQueue(buffer, workers) : undefined;
  return assemble({ buffer, kernels, indices, allocator, jobs, workerCount, options });
}

interface Parts {
  readonly buffer: ArrayBufferLike;
  readonly kernels: Record<string, Kernel>;
  readonly indices: ReadonlyMap<string, number>;
  readonly allocator: Allocator;
  readonly jobs: JobQueue | undefined;
  readonly workerCount: number;
  readonly options: ComputeOptions;
}

function assemble({ buffer, kernels, indices, allocator, jobs, workerCount, options }: Parts): Compute {
  let closed = false;
  const { joined } = options;
  const threads = Math.max(1, workerCount + (joined ? 1 : 0));
  const inline = joined ? joinedInlineNanoseconds : inlineNanoseconds;
  let turn = performance.now();

  const address = (value: number | HeapArray): number => {
    if (typeof value === 'number') return value;
    if (value.buffer !== buffer) throw new TypeError('a kernel was given an array that is not on its heap');
    return value.byteOffset;
  };
  const kernelOf = (name: string): Kernel => {
    const kernel = kernels[name];
    if (!kernel) throw new TypeError(`there is no kernel "${name}"`);
    if (closed) throw new Error('the compute was closed');
    return kernel;
  };
  const allocate = (length: number, bytesEach: number): number => {
    if (!Number.isSafeInteger(length) || length < 0) throw new RangeError(`compute heap: ${length} is not a length`);
    return allocator.allocate(length * bytesEach);
  };
  /** Pieces of a range: multiples of the grain, a few for each worker. */
  const pieceOf = (total: number, grain: number): number => Math.max(1, Math.ceil(total / (threads * piecesPerWorker) / grain)) * grain;

  return {
    threads,
    memory: allocator,
    words: (length) => new Int32Array(buffer, allocate(length, 4), length),
    bytes: (length) => new Uint8Array(buffer, allocate(length, 1), length),
    floats: (length) => new Float32Array(buffer, allocate(length, 4), length),
    longs: (length) => new BigInt64Array(buffer, allocate(length, 8), length),
    free(...arrays) {
      for (const array of arrays) allocator.release(address(array));
    },
    async run(name, args, total, { grain = 1, costPerItem = 1 } = {}) {
      const kernel = kernelOf(name);
      if (total <= 0) return;
      const values = args.map(address);
      if (values.length > ringLayout.maxArguments)
        throw new RangeError(`kernel "${name}" has more than ${ringLayout.maxArguments} arguments`);
      if (!jobs || total * costPerItem < inline) kernel(...values, 0, total);
      else if (!joined) await jobs.submit(indices.get(name)!, total, pieceOf(total, grain), values);
      else await jobs.join(indices.get(name)!, total, pieceOf(total, grain), values, (begin, end) => void kernel(...values, begin, end));
      if (joined && performance.now() - turn > turnMilliseconds) {
        await joined();
        turn = performance.now();
      }
    },
    call: (name, ...args) => kernelOf(name)(...args.map(address)),
    async keystream(key, counterBlock, out) {
      if (key.length !== 16 || counterBlock.length !== 16) throw new RangeError('keystream: key and counter block are 16 bytes each');
      const start = address(out);
      if (out.length === 0) return;
      if (options.keystream && (!jobs || joined || !options.workerKeystream || out.length <= inlineKeystreamBytes)) {
        options.keystream(key, counterBlock, 0, out);
        return;
      }
      if (!jobs || !options.workerKeystream) return webKeystream(key, counterBlock, out);
      const secrets = new Uint8Array(buffer, allocator.allocate(32), 32);
      secrets.set(key, 0);
      secrets.set(counterBlock, 16);
      try {
        await jobs.submit(keystreamJob, out.length, keystreamPieceBytes, [secrets.byteOffset, start]);
      } finally {
        secrets.fill(0);
        allocator.release(secrets.byteOffset);
      }
    },
    async close() {
      if (closed) return;
      closed = true;
      await jobs?.close();
    },
  };
}
