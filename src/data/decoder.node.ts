// Pictures decoded on threads of their own, so that the thread that trains is not held up. Not here: decoding itself.
import { Worker } from 'node:worker_threads';
import { DataError } from '../errors.js';
import type { Picture } from './preprocess.js';

/** What a file is decoded as. */
export type DecodedKind = 'picture' | 'annotation';

/** Decodes a file. Throws what {@link readPicture} and {@link readAnnotation} throw. */
export type Decode = (path: string, kind: DecodedKind) => Promise<Picture>;

export interface Decoder {
  readonly decode: Decode;
  close(): Promise<void>;
}

export interface DecodeRequest {
  readonly id: number;
  readonly path: string;
  readonly kind: DecodedKind;
}

/** A thread's answer; errors cross as what they are made of. */
export type DecodeReply =
  | { readonly id: number; readonly picture: Picture }
  | {
      readonly id: number;
      readonly error: { readonly message: string; readonly code: string; readonly hint: string; readonly where: string };
    };

interface Pending {
  resolve(picture: Picture): void;
  reject(error: unknown): void;
}

interface Thread {
  readonly worker: Worker;
  readonly pending: Map<number, Pending>;
}

function startThread(): Thread {
  const worker = new Worker(new URL('./decoder-worker.node.js', import.meta.url), { name: 'tessera-decoder', execArgv: [] });
  const pending = new Map<number, Pending>();
  worker.unref();
  worker.on('message', (reply: DecodeReply) => {
    const waiting = pending.get(reply.id);
    pending.delete(reply.id);
    if (pending.size === 0) worker.unref();
    if ('picture' in reply) return waiting?.resolve(reply.picture);
    const { message, ...about } = reply.error;
    waiting?.reject(new DataError(message, about));
  });
  const fail = (error: unknown): void => {
    for (const waiting of pending.values()) waiting.reject(error);
    pending.clear();
  };
  worker.on('error', fail);
  worker.on('exit', () => fail(new Error('a decoding thread has ended')));
  return { worker, pending };
}

/** Starts up to so many threads, each when there is work for it. They do not keep the process alive unless a picture is awaited. */
export function createDecoder(threads: number): Decoder {
  const started: Thread[] = [];
  let closed = false;
  let next = 0;
  const idlest = (): Thread => {
    const free = started.find(({ pending }) => pending.size === 0);
    if (free !== undefined) return free;
    if (started.length < threads) started.push(startThread());
    return started.reduce((best, thread) => (thread.pending.size < best.pending.size ? thread : best));
  };
  return {
    decode(path, kind) {
      if (closed) return Promise.reject(new RangeError('the decoder is closed'));
      const { worker, pending } = idlest();
      const id = next++;
      const picture = new Promise<Picture>((resolve, reject) => pending.set(id, { resolve, reject }));
      worker.ref();
      worker.postMessage({ id, path, kind } satisfies DecodeRequest);
      return picture;
    },
    async close() {
      closed = true;
      await Promise.all(started.map(({ worker }) => worker.terminate()));
    },
  };
}
