// Memory for outgoing frames, used again: the system clears fresh pages one by one, which costs more than copying a payload into them.

export interface FramePool {
  /** An array of that length at the start of its buffer; contents undefined. */
  take(length: number): Uint8Array<ArrayBuffer>;
  /** Gives an array from `take` back. Nothing may read it afterwards. */
  give(array: Uint8Array<ArrayBuffer>): void;
}

/** Below this an allocation needs no fresh pages. */
const smallest = 65_536;

/** @param maxBytes Most that is kept while nobody uses it; the buffer unused for longest goes first. */
export function createFramePool(maxBytes: number): FramePool {
  const idle: ArrayBuffer[] = [];
  let idleBytes = 0;
  return {
    take(length) {
      // At most half of a buffer is wasted. The latest is tried first: it is the likeliest to be in the cache.
      const at = length < smallest ? -1 : idle.findLastIndex(({ byteLength }) => byteLength >= length && byteLength <= 2 * length);
      if (at < 0) return new Uint8Array(length);
      const [buffer] = idle.splice(at, 1);
      idleBytes -= buffer!.byteLength;
      return new Uint8Array(buffer!, 0, length);
    },
    give({ buffer }) {
      if (buffer.byteLength < smallest) return;
      idle.push(buffer);
      idleBytes += buffer.byteLength;
      while (idleBytes > maxBytes) idleBytes -= idle.shift()!.byteLength;
    },
  };
}
