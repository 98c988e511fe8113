// Heap memory that belongs together: everything an inference allocates goes at its end, also when it fails half way.
import type { Compute, HeapArray } from '../kernel/compute.js';

export interface Scope {
  words(length: number): Int32Array;
  bytes(length: number): Uint8Array;
  /** Frees arrays of this scope early. */
  free(...arrays: HeapArray[]): void;
  /** Frees whatever is left. Later allocations throw. */
  end(): void;
}

export function createScope(compute: Compute): Scope {
  const held = new Set<HeapArray>();
  let ended = false;
  const hold = <T extends HeapArray>(allocate: (length: number) => T, length: number): T => {
    if (ended) throw new Error('this inference has ended; its memory is gone');
    const array = allocate(length);
    held.add(array);
    return array;
  };
  return {
    words: (length) => hold((n) => compute.words(n), length),
    bytes: (length) => hold((n) => compute.bytes(n), length),
    free: (...arrays) => {
      for (const array of arrays) if (held.delete(array)) compute.free(array);
    },
    end: () => {
      ended = true;
      for (const array of held) compute.free(array);
      held.clear();
    },
  };
}
