// Payloads made of parts: k-bit words and bit planes laid end to end, each part starting on a byte.
import type { Compute, Words } from '../kernel/compute.js';
import { isLong, runWords } from '../ring/words.js';
import type { Scope } from './scope.js';

/** What writing and reading payloads needs of a step. */
interface Hands {
  readonly compute: Compute;
  readonly memory: Scope;
}

/** Bytes of `count` words of `bits` bits. */
export const packedBytes = (count: number, bits: number): number => Math.ceil((count * bits) / 8);

/** Distance in memory between two bit planes of `count` bits: whole 16-byte pieces, so that kernels need no tail. */
export const planeStride = (count: number): number => Math.ceil(count / 128) * 16;

/** Cost of an element of the packing kernels, measured under Node 20 (ns). */
const nanosecondsPerWord = 1.5;

/** Writes parts into a payload on the heap, in the order of the calls. */
export interface PayloadWriter {
  words(source: Words, count: number, bits: number): Promise<void>;
  /** The first `bytes` bytes of `source`. */
  raw(source: Uint8Array, bytes: number): void;
  /** `number` bit planes of `count` bits that lie side by side in `block`. */
  planes(block: Uint8Array, number: number, count: number): void;
  /** The finished payload; throws RangeError when it does not have the announced size. */
  done(): Uint8Array;
  /** Gives the payload's memory back before the inference ends. */
  free(): void;
}

export function payloadWriter(context: Hands, bytes: number): PayloadWriter {
  const payload = context.memory.bytes(bytes + 16);
  let at = 0;
  return {
    async words(source, count, bits) {
      const from = at;
      at += packedBytes(count, bits);
      if (count > 0 && bits > 0)
        await runWords(context.compute, 'pack', source, [payload.subarray(from), source, bits], count, {
          grain: 128,
          costPerItem: nanosecondsPerWord,
        });
    },
    raw(source, length) {
      context.compute.call('copyBytes', payload.subarray(at), source, length);
      at += length;
    },
    planes(block, number, count) {
      const bytes = packedBytes(count, 1);
      context.compute.call('copyRows', payload.subarray(at), bytes, block, planeStride(count), bytes, number);
      at += number * bytes;
    },
    done() {
      if (at !== bytes) throw new RangeError(`"payload" expected ${bytes} bytes, got ${at}`);
      return payload.subarray(0, bytes);
    },
    free() {
      context.memory.free(payload);
    },
  };
}

/** Reads the parts of a payload, in the order they were written. */
export interface PayloadReader {
  words(target: Words, count: number, bits: number): Promise<void>;
  raw(target: Uint8Array, bytes: number): void;
  /** `number` bit planes of `count` bits, to lie side by side in `block`; padding bits are 0. */
  planes(block: Uint8Array, number: number, count: number): void;
  free(): void;
}

export function payloadReader(context: Hands, payload: Uint8Array): PayloadReader {
  const source = context.memory.bytes(payload.length + 16);
  source.set(onWordBoundary(payload));
  let at = 0;
  return {
    async words(target, count, bits) {
      const from = at;
      at += packedBytes(count, bits);
      if (count > 0 && bits > 0)
        await runWords(context.compute, 'unpack', target, [target, source.subarray(from), bits], count, {
          grain: 128,
          costPerItem: nanosecondsPerWord,
        });
    },
    raw(target, length) {
      context.compute.call('copyBytes', target, source.subarray(at), length);
      at += length;
    },
    planes(block, number, count) {
      const bytes = packedBytes(count, 1);
      const stride = planeStride(count);
      if (stride !== bytes) block.fill(0);
      context.compute.call('copyRows', block, stride, source.subarray(at), bytes, bytes, number);
      at += number * bytes;
    },
    free() {
      context.memory.free(source);
    },
  };
}

/** Copies a payload that starts inside a word: into shared memory, two copies at 5 GB/s are faster than one at 1.3. */
const onWordBoundary = (payload: Uint8Array): Uint8Array => (payload.byteOffset % 8 === 0 ? payload : payload.slice());

/** Cuts one allocation into parts that each start on a 16-byte boundary; sizes are in bytes. */
export function carve(whole: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  let at = 0;
  return sizes.map((size) => {
    const part = whole.subarray(at, at + size);
    at += align(size);
    return part;
  });
}

export const carvedBytes = (sizes: readonly number[]): number => sizes.reduce((sum, size) => sum + align(size), 0);

const align = (bytes: number): number => Math.ceil(bytes / 16) * 16;

/** The ring words that lie in a part made by {@link carve}. */
export function asWords(part: Uint8Array, ringBits: number): Words {
  const { buffer, byteOffset, byteLength } = part;
  return isLong(ringBits) ? new BigInt64Array(buffer, byteOffset, byteLength >> 3) : new Int32Array(buffer, byteOffset, byteLength >> 2);
}
