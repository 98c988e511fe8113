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

/** The memory of an inference. */
export interface InferenceScope extends Scope {
  /** A scope for one step; it ends before this one, or with it. */
  part(): StepScope;
}

/** The memory of a step: its large arrays go when it ends, small ones with the inference. */
export interface StepScope extends Scope {
  /** Leaves an array to the whole inference; one that is a part of a larger array is copied. */
  keep<T extends HeapArray>(array: T): T;
}

/**
 * Arrays up to this size are cut from slabs and stay until the end: ResNet-20 allocates some 2,500 arrays an image and party, most of them
 * planes of 2 kB, and giving each back by itself took a tenth of the online time.
 */
const slabbedBytes = 32_768;
const slabBytes = 1 << 20;

export function createScope(compute: Compute): InferenceScope {
  const held = new Set<HeapArray>();
  const slabs: Uint8Array[] = [];
  const parts = new Set<StepScope>();
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
      slabs.push(slab);
      used = 0;
    }
    const offset = slab.byteOffset + used;
    used += Math.ceil(bytes / 16) * 16;
    return { buffer: slab.buffer, offset };
  };
  const check = (): void => {
    if (ended) throw new Error('this inference has ended; its memory is gone');
  };

  const inSlab = ({ byteOffset }: HeapArray): boolean =>
    slabs.some((each) => byteOffset >= each.byteOffset && byteOffset < each.byteOffset + each.length);

  const whole: InferenceScope = {
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
    part() {
      const part = stepScope(compute, whole, {
        check,
        ended: (self) => parts.delete(self),
        adopt: own,
        holds: (array) => held.has(array) || inSlab(array),
      });
      parts.add(part);
      return part;
    },
    end() {
      ended = true;
      for (const part of parts) part.end();
      for (const array of held) compute.free(array);
      held.clear();
    },
  };
  return whole;
}

/** What a step's scope needs of the inference's. */
interface Owner {
  check(): void;
  ended(part: StepScope): void;
  adopt(array: HeapArray): void;
  holds(array: HeapArray): boolean;
}

function stepScope(compute: Compute, whole: Scope, owner: Owner): StepScope {
  const held = new Set<HeapArray>();
  const large = <T extends HeapArray>(allocate: () => T): T => {
    owner.check();
    const array = allocate();
    held.add(array);
    return array;
  };
  const part: StepScope = {
    words: (length) => (4 * length > slabbedBytes ? large(() => compute.words(length)) : whole.words(length)),
    longs: (length) => (8 * length > slabbedBytes ? large(() => compute.longs(length)) : whole.longs(length)),
    bytes: (length) => (length > slabbedBytes ? large(() => compute.bytes(length)) : whole.bytes(length)),
    free(...arrays) {
      for (const array of arrays) {
        if (held.delete(array)) compute.free(array);
        else whole.free(array);
      }
    },
    keep(array) {
      if (held.delete(array)) owner.adopt(array);
      else if (!owner.holds(array)) return copyOf(whole, array);
      return array;
    },
    end() {
      for (const array of held) compute.free(array);
      held.clear();
      owner.ended(part);
    },
  };
  return part;
}

function copyOf<T extends HeapArray>(memory: Scope, array: T): T {
  if (array instanceof Float32Array) throw new TypeError('scopes hold words and bytes');
  const { length } = array;
  const copy =
    array instanceof Int32Array ? memory.words(length) : array instanceof Uint8Array ? memory.bytes(length) : memory.longs(length);
  copy.set(array as never);
  return copy as T;
}
