// Hands out byte ranges of one memory: segregated free lists after TLSF (Masmano et al., ECRTS 2004), bookkeeping in JavaScript
// so that a kernel that writes out of bounds cannot destroy it. Not here: the memory itself, typed arrays.

interface Block {
  readonly offset: number;
  bytes: number;
  free: boolean;
  /** Neighbours in address order. */
  before: Block | undefined;
  after: Block | undefined;
  /** Neighbours in the free list of its class. */
  previous: Block | undefined;
  next: Block | undefined;
}

export interface Allocator {
  /** Offset of a fresh range of at least `bytes` bytes, a multiple of 16. Throws RangeError when no range is large enough. */
  allocate(bytes: number): number;
  /** Gives a range back. Throws an Error for an offset that is not the start of a live range, so freeing twice is found. */
  release(offset: number): void;
  readonly usedBytes: number;
  readonly peakBytes: number;
}

const alignment = 16;
/** Each power of two is cut into 16 classes, so a block chosen by class wastes at most 1/16 of itself. */
const subclassBits = 4;

/** Class of a size: floor of log2 and the next four bits. A block of class c holds every request whose class, rounded up, is ≤ c. */
function classOf(bytes: number): number {
  const log = 31 - Math.clz32(bytes / alignment);
  const sub = Math.floor((bytes / alignment / 2 ** log - 1) * (1 << subclassBits));
  return (log << subclassBits) | sub;
}

/** An allocator for the range [begin, end); both multiples of 16. */
export function createAllocator(begin: number, end: number): Allocator {
  const heads: (Block | undefined)[] = new Array((32 << subclassBits) + 1).fill(undefined);
  const live = new Map<number, Block>();
  let usedBytes = 0;
  let peakBytes = 0;

  function insert(block: Block): void {
    const index = classOf(block.bytes);
    block.free = true;
    block.previous = undefined;
    block.next = heads[index];
    if (block.next) block.next.previous = block;
    heads[index] = block;
  }

  function remove(block: Block): void {
    if (block.previous) block.previous.next = block.next;
    else heads[classOf(block.bytes)] = block.next;
    if (block.next) block.next.previous = block.previous;
    block.free = false;
  }

  function find(bytes: number): Block | undefined {
    const index = classOf(bytes);
    for (let block = heads[index]; block; block = block.next) if (block.bytes >= bytes) return block;
    for (let i = index + 1; i < heads.length; i++) if (heads[i]) return heads[i];
    return undefined;
  }

  function split(block: Block, bytes: number): void {
    if (block.bytes - bytes < alignment) return;
    const rest: Block = {
      offset: block.offset + bytes,
      bytes: block.bytes - bytes,
      free: true,
      before: block,
      after: block.after,
      previous: undefined,
      next: undefined,
    };
    if (rest.after) rest.after.before = rest;
    block.after = rest;
    block.bytes = bytes;
    insert(rest);
  }

  function absorbNext(block: Block): void {
    const { after } = block;
    if (!after?.free) return;
    remove(after);
    block.bytes += after.bytes;
    block.after = after.after;
    if (block.after) block.after.before = block;
  }

  if (end - begin >= alignment) {
    insert({ offset: begin, bytes: end - begin, free: true, before: undefined, after: undefined, previous: undefined, next: undefined });
  }

  return {
    allocate(bytes) {
      const size = Math.max(alignment, Math.ceil(bytes / alignment) * alignment);
      const block = size <= end - begin ? find(size) : undefined;
      if (!block) throw new RangeError(`compute heap: ${bytes} bytes do not fit beside the ${usedBytes} in use (limit ${end - begin})`);
      remove(block);
      split(block, size);
      live.set(block.offset, block);
      usedBytes += block.bytes;
      peakBytes = Math.max(peakBytes, usedBytes);
      return block.offset;
    },
    release(offset) {
      const block = live.get(offset);
      if (!block) throw new Error(`compute heap: ${offset} is not the start of a live array (freed twice?)`);
      live.delete(offset);
      usedBytes -= block.bytes;
      absorbNext(block);
      const { before } = block;
      if (before?.free) {
        remove(before);
        before.bytes += block.bytes;
        before.after = block.after;
        if (before.after) before.after.before = before;
        insert(before);
      } else {
        insert(block);
      }
    },
    get usedBytes() {
      return usedBytes;
    },
    get peakBytes() {
      return peakBytes;
    },
  };
}
