// The compute heap and its kernels, as every layer above sees them. Not here: what the numbers mean.

/** A typed array whose memory lies in the compute heap, so that kernels can reach it by its byte offset. */
export type HeapArray = Int32Array | Uint8Array | Float32Array | BigInt64Array;

/** Ring words: 32 bits each for rings Z_{2^k} with k ≤ 32, 64 bits each for larger ones. */
export type Words = Int32Array | BigInt64Array;

/**
 * One WASM memory with an allocator, and a way to run its kernels on all threads.
 *
 * Arrays come from {@link words}, {@link bytes}, {@link floats} or {@link longs}, start on a 16-byte boundary, may be read and
 * written from JavaScript like any typed array, keep their identity for life, and are given back with {@link free}.
 */
export interface Compute {
  /** How many threads share a kernel's range; 1 where memory cannot be shared. */
  readonly threads: number;
  /** Bytes now allocated, and the most there have ever been. */
  readonly memory: { readonly usedBytes: number; readonly peakBytes: number };
  /** `length` 32-bit words; contents undefined. Throws RangeError when the heap's limit is reached. */
  words(length: number): Int32Array;
  /** `length` bytes, padded to a multiple of 16 in memory; contents undefined. */
  bytes(length: number): Uint8Array;
  floats(length: number): Float32Array;
  longs(length: number): BigInt64Array;
  free(...arrays: HeapArray[]): void;
  /**
   * Runs an exported kernel over [0, total), split over the threads at multiples of `grain` when the work is worth it
   * (`total · costPerItem` nanoseconds, costPerItem defaulting to 1, above a threshold), else at once on this thread.
   * The kernel is called as kernel(...args, begin, end); heap arrays are passed as byte offsets.
   */
  run(
    kernel: string,
    args: readonly (number | HeapArray)[],
    total: number,
    options?: { grain?: number; costPerItem?: number },
  ): Promise<void>;
  /** Runs an exported kernel once on this thread: kernel(...args). */
  call(kernel: string, ...args: (number | HeapArray)[]): number;
  /** Fills a heap array with the AES-128-CTR key stream of `key` from `counterBlock` (16 bytes each). */
  keystream(key: Uint8Array, counterBlock: Uint8Array, out: Uint8Array): Promise<void>;
  /** Ends the threads. Pending runs reject. */
  close(): Promise<void>;
}
