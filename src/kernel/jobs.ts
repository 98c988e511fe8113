// The ring of jobs through which the main thread feeds its workers, and the loop a worker runs. Everything lies in the first page
// of the shared memory. Not here: how workers are started (pool.node.ts, pool.browser.ts) and what kernels do.

/** Where things lie; passed to workers, whose loop is sent as source text and can see nothing else. */
export const ringLayout = {
  /** Byte offset of the control words; AssemblyScript keeps its constants, if any, below. */
  base: 32768,
  head: 0,
  stop: 1,
  /** One word a worker: how many jobs it has passed. */
  positions: 2,
  /** Byte offset and size of the slots. */
  slots: 32768 + 1024,
  slotBytes: 192,
  slotCount: 128,
  argumentOffset: 32,
  maxArguments: 20,
  maxThreads: 128,
} as const;

/** Words of a slot. `next` and `remaining` count pieces and are atomic. */
export const slotWords = { kernel: 0, argumentCount: 1, total: 2, piece: 3, next: 4, remaining: 5, pieces: 6, failed: 7 } as const;

/** Kernel index of a keystream job; its arguments are the addresses of key and counter block (16 bytes each, in a row) and of the output. */
export const keystreamJob = -1;

/** Fills `out` with AES-128-CTR output, starting `firstBlock` blocks after `counterBlock`. */
export type KeystreamFiller = (key: Uint8Array, counterBlock: Uint8Array, firstBlock: number, out: Uint8Array) => void;

export interface WorkerInput {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly index: number;
  readonly scratch: number;
  readonly layout: typeof ringLayout;
  readonly words: typeof slotWords;
  /** Whether the calling thread takes part in jobs and waits for their end: nobody is told of it, and for so long a worker looks for the next job before it sleeps. */
  readonly joined?: { readonly idleMilliseconds: number };
}

/** What a worker tells: a job whose last piece it finished, and what went wrong in a piece, if anything did. */
export type WorkerReport = { readonly done: number } | { readonly failed: number; readonly reason: string };

/** A started worker. */
export interface WorkerLike {
  onReport(listener: (report: WorkerReport) => void): void;
  onFailure(listener: (error: Error) => void): void;
  /** Whether this worker keeps the process alive. */
  hold(alive: boolean): void;
  terminate(): Promise<void>;
}

/**
 * A worker's life: take jobs in order, claim pieces until none is left, sleep when there is no job. Sent to workers as source
 * text, so it refers to nothing outside its own body.
 */
export function workerLoop(input: WorkerInput, fill: KeystreamFiller | undefined, report: (report: WorkerReport) => void): void {
  const { layout, words, index, joined } = input;
  const buffer = input.memory.buffer;
  const control = new Int32Array(buffer, layout.base, layout.positions + layout.maxThreads);
  const exported = new WebAssembly.Instance(input.module, { env: { memory: input.memory } }).exports as Record<
    string,
    (...args: number[]) => void
  >;
  const kernels = Object.keys(exported).map((name) => exported[name]!);
  exported.setScratch!(input.scratch);
  let position = 0;
  let idleSince: number | undefined;

  const runPiece = (slot: Int32Array, slotOffset: number, piece: number): void => {
    const begin = piece * slot[words.piece]!;
    const end = Math.min(begin + slot[words.piece]!, slot[words.total]!);
    const args = new Float64Array(buffer, slotOffset + layout.argumentOffset, slot[words.argumentCount]!);
    if (slot[words.kernel]! >= 0) {
      kernels[slot[words.kernel]!]!(...args, begin, end);
    } else {
      const secrets = new Uint8Array(buffer, args[0]!, 32).slice();
      fill!(secrets.subarray(0, 16), secrets.subarray(16, 32), begin / 16, new Uint8Array(buffer, args[1]! + begin, end - begin));
      secrets.fill(0);
    }
  };

  while (Atomics.load(control, layout.stop) === 0) {
    if (position === Atomics.load(control, layout.head)) {
      if (joined) {
        const now = performance.now();
        idleSince ??= now;
        if (now - idleSince < joined.idleMilliseconds) continue;
      }
      Atomics.wait(control, layout.head, position);
      idleSince = undefined;
      continue;
    }
    idleSince = undefined;
    const slotOffset = layout.slots + (position % layout.slotCount) * layout.slotBytes;
    const slot = new Int32Array(buffer, slotOffset, 8);
    for (;;) {
      const piece = Atomics.add(slot, words.next, 1);
      if (piece >= slot[words.pieces]!) break;
      try {
        runPiece(slot, slotOffset, piece);
      } catch (error) {
        slot[words.failed] = 1;
        report({ failed: position, reason: String(error) });
      }
      if (Atomics.sub(slot, words.remaining, 1) === 1 && !joined) report({ done: position });
    }
    position++;
    Atomics.store(control, layout.positions + index, position);
  }
}

function waitForZero(words: Int32Array, index: number): void {
  const start = performance.now();
  for (let left = Atomics.load(words, index); left > 0; left = Atomics.load(words, index)) {
    if (performance.now() - start > lookMilliseconds) Atomics.wait(words, index, left, lookMilliseconds);
  }
}

export interface JobQueue {
  /** Splits [0, total) into pieces and resolves when workers have run them all. */
  submit(kernel: number, total: number, piece: number, args: readonly number[]): Promise<void>;
  /** The same with workers that are joined: this thread runs pieces too, and returns when all of them have run; a promise only where one failed. */
  join(
    kernel: number,
    total: number,
    piece: number,
    args: readonly number[],
    run: (begin: number, end: number) => void,
  ): void | Promise<void>;
  close(): Promise<void>;
}

interface Waiting {
  readonly publish: () => void;
  readonly reject: (error: Error) => void;
}

/** How long the calling thread looks for the end of a job that others are at, before it sleeps for as long at a time. */
const lookMilliseconds = 0.1;

/** The main thread's end of the ring. But for `join` it never blocks: where the ring is full, jobs wait in a list. */
export function createJobQueue(buffer: ArrayBufferLike, workers: readonly WorkerLike[]): JobQueue {
  const layout = ringLayout;
  const control = new Int32Array(buffer, layout.base, layout.positions + workers.length);
  const pending = new Map<
    number,
    { resolve: () => void; reject: (error: Error) => void; failure: string | undefined; finished: boolean }
  >();
  const waiting: Waiting[] = [];
  let published = 0;
  let broken: Error | undefined;

  const slotFree = (): boolean => {
    for (let i = 0; i < workers.length; i++) {
      if (published - Atomics.load(control, layout.positions + i) >= layout.slotCount) return false;
    }
    return !pending.has(published - layout.slotCount);
  };

  const slotFailed = (job: number): boolean =>
    new Int32Array(buffer, layout.slots + (job % layout.slotCount) * layout.slotBytes, 8)[slotWords.failed] !== 0;

  const flush = (): void => {
    while (waiting.length > 0 && slotFree()) waiting.shift()!.publish();
    if (waiting.length > 0) setTimeout(flush, 1);
  };

  const settle = (job: number, error?: Error): void => {
    const entry = pending.get(job);
    if (!entry) return;
    pending.delete(job);
    if (pending.size === 0) workers[0]?.hold(false);
    const reason = error ?? (entry.failure === undefined ? undefined : new Error(`kernel failed: ${entry.failure}`));
    if (reason) entry.reject(reason);
    else entry.resolve();
  };

  const fail = (error: Error): void => {
    broken ??= error;
    for (const job of [...pending.keys()]) settle(job, error);
    for (const { reject } of waiting.splice(0)) reject(error);
  };

  for (const worker of workers) {
    worker.onFailure(fail);
    worker.onReport((report) => {
      const job = 'done' in report ? report.done : report.failed;
      const entry = pending.get(job);
      if (!entry) return;
      if ('done' in report) entry.finished = true;
      else entry.failure ??= report.reason;
      // One worker may say that a job is done before another's word of a failed piece arrives.
      if (entry.finished && (entry.failure !== undefined || !slotFailed(job))) settle(job);
    });
    // After the listeners: Node takes a worker that is listened to as a reason to stay alive.
    worker.hold(false);
  }

  /** Lets workers see a job. */
  const publishJob = (kernel: number, total: number, piece: number, args: readonly number[]): Int32Array => {
    const offset = layout.slots + (published % layout.slotCount) * layout.slotBytes;
    const slot = new Int32Array(buffer, offset, 8);
    const pieces = Math.ceil(total / piece);
    slot[slotWords.kernel] = kernel;
    slot[slotWords.argumentCount] = args.length;
    slot[slotWords.total] = total;
    slot[slotWords.piece] = piece;
    slot[slotWords.pieces] = pieces;
    slot[slotWords.failed] = 0;
    Atomics.store(slot, slotWords.next, 0);
    Atomics.store(slot, slotWords.remaining, pieces);
    new Float64Array(buffer, offset + layout.argumentOffset, args.length).set(args);
    published++;
    Atomics.store(control, layout.head, published);
    Atomics.notify(control, layout.head);
    return slot;
  };

  return {
    join(kernel, total, piece, args, run) {
      if (broken) return Promise.reject(broken);
      // Workers that sleep through many small jobs have not passed them yet.
      if (!slotFree()) return run(0, total);
      const job = published;
      const slot = publishJob(kernel, total, piece, args);
      let failure: unknown;
      for (let i = Atomics.add(slot, slotWords.next, 1); i < slot[slotWords.pieces]!; i = Atomics.add(slot, slotWords.next, 1)) {
        try {
          run(i * piece, Math.min(total, (i + 1) * piece));
        } catch (error) {
          failure ??= error;
        }
        Atomics.sub(slot, slotWords.remaining, 1);
      }
      waitForZero(slot, slotWords.remaining);
      if (failure !== undefined) throw new Error(`kernel failed: ${failure}`);
      if (slot[slotWords.failed] === 0) return;
      workers[0]?.hold(true);
      return new Promise((resolve, reject) => pending.set(job, { resolve, reject, failure: undefined, finished: true }));
    },
    submit(kernel, total, piece, args) {
      if (broken) return Promise.reject(broken);
      return new Promise((resolve, reject) => {
        const publish = (): void => {
          if (pending.size === 0) workers[0]?.hold(true);
          pending.set(published, { resolve, reject, failure: undefined, finished: false });
          publishJob(kernel, total, piece, args);
        };
        if (waiting.length === 0 && slotFree()) return publish();
        waiting.push({ publish, reject });
        if (waiting.length === 1) setTimeout(flush, 1);
      });
    },
    async close() {
      fail(new Error('the compute was closed'));
      Atomics.store(control, layout.stop, 1);
      Atomics.notify(control, layout.head);
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
