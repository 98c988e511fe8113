// Heap memory that belongs together: everything an inference allocates goes at its end, also when it fails half way.
import type { Compute, HeapArray } from '../kernel/compute.js';

export interface Scope {
  words(length: number): Int32Array;
  longs(length: number): BigInt64Array;
  bytes(length: number): Uint8Array;
  /** Frees arrays of this scope early; small ones wait for the end. */
  free(...arrays: HeapArray[]): void;
  /** Frees whatever is left. Later allocations throw. */
  end(): void;
}

/**
 * Arrays up to this size are cut from slabs and stay until the end: ResNet-20 allocates some 2,500 arrays an image and party, most of them
 * planes of 2 kB, and giving each back by itself took a tenth of the online time.
 */
const slabbedBytes = 32_768;
const slabBytes = 1 << 20;

export function createScope(compute: Compute): Scope {
  const held = new Set<HeapArray>();
  let slab: Uint8Array | undefined;
  let used = 0;
  let ended = false;

  const own = <T extends HeapArray>(array: T): T => {
    held.add(array);
    return array;
  };
  /** Byte offset of `bytes` bytes in the current slab. */
  const cut = (bytes: number): { buffer: ArrayBufferLike; offset: number } => {
    if (!slab || used + bytes > slab.length) {
      slab = own(compute.bytes(slabBytes));
      used = 0;
    }
    const offset = slab.byteOffset + used;
    used += Math.ceil(bytes / 16) * 16;
    return { buffer: slab.buffer, offset };
  };
  const check = (): void => {
    if (ended) throw new Error('this inference has ended; its memory is gone');
  };

  return {
    words(length) {
      check();
      if (4 * length > slabbedBytes) return own(compute.words(length));
      const { buffer, offset } = cut(4 * length);
      return new Int32Array(buffer, offset, length);
    },
    longs(length) {
      check();
      if (8 * length > slabbedBytes) return own(compute.longs(length));
      const { buffer, offset } = cut(8 * length);
      return new BigInt64Array(buffer, offset, length);
    },
    bytes(length) {
      check();
      if (length > slabbedBytes) return own(compute.bytes(length));
      const { buffer, offset } = cut(length);
      return new Uint8Array(buffer, offset, length);
    },
    free(...arrays) {
      for (const array of arrays) if (held.delete(array)) compute.free(array);
    },
    end() {
      ended = true;
      for (const array of held) compute.free(array);
      held.clear();
    },
  };
}
