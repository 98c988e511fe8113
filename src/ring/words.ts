// Ring words of either width: 32-bit words for rings up to 2^32, 64-bit words for larger ones, up to 2^64. Kernels come in pairs, addWords and
// addLongs; whoever computes in a ring allocates and runs through these functions and need not know which.
import type { Compute, HeapArray, Words } from '../kernel/compute.js';

/** Whether a ring's words have 64 bits. */
export const isLong = (ringBits: number): boolean => ringBits > 32;

/** Bytes of a word in memory. */
export const wordBytes = (ringBits: number): number => (isLong(ringBits) ? 8 : 4);

/** Words on a heap or in a scope; contents undefined. */
export function ringWords(heap: Pick<Compute, 'words' | 'longs'>, ringBits: number, length: number): Words {
  return isLong(ringBits) ? heap.longs(length) : heap.words(length);
}

/** Words outside any heap, all 0. */
export function plainWords(ringBits: number, length: number): Words {
  return isLong(ringBits) ? new BigInt64Array(length) : new Int32Array(length);
}

/** Element-wise kernels that exist in both widths. */
export type WordKernel =
  | 'add'
  | 'sub'
  | 'differenceSigned'
  | 'signExtend'
  | 'scale'
  | 'addScaled'
  | 'multiplyPeriodic'
  | 'product'
  | 'shift'
  | 'gather'
  | 'scatter'
  | 'scatterAdd'
  | 'shareTruncation'
  | 'slackPlane'
  | 'addWhereBit'
  | 'addShifted'
  | 'subQuarter'
  | 'bitPlane'
  | 'flipDigit'
  | 'lookUpDigit'
  | 'bitMinus'
  | 'selectTruncated'
  | 'addTruncated'
  | 'pack'
  | 'unpack';

/** Runs the kernel of the width that `words` have: `add` is addWords or addLongs. All word arrays among `args` have that width. */
export function runWords(
  compute: Compute,
  kernel: WordKernel,
  words: Words,
  args: readonly (number | HeapArray)[],
  total: number,
  options: { grain?: number; costPerItem?: number } = { grain: 32 },
): Promise<void> {
  return compute.run(kernelName(kernel, words), args, total, options);
}

const kernelName = (kernel: WordKernel, words: Words): string => `${kernel}${words instanceof BigInt64Array ? 'Longs' : 'Words'}`;

/** The same, all of it at once on this thread. */
export function callWords(compute: Compute, kernel: WordKernel, words: Words, args: readonly (number | HeapArray)[], total: number): void {
  compute.call(kernelName(kernel, words), ...args, 0, total);
}

/** Copies words or small integers into words of either width. */
export function setWords(target: Words, source: Words | readonly number[]): void {
  if (target instanceof Int32Array) {
    if (source instanceof BigInt64Array) throw new TypeError('64-bit words do not fit 32-bit ones');
    target.set(source);
  } else if (source instanceof BigInt64Array) target.set(source);
  else for (let i = 0; i < source.length; i++) target[i] = BigInt(source[i]!);
}

/** Sets every word to 0. */
export function setZero(words: Words): void {
  if (words instanceof Int32Array) words.fill(0);
  else words.fill(0n);
}

/** Reduces words on the heap mod 2^ringBits to two's complement, in place. */
export async function wrapWords(compute: Compute, words: Words, ringBits: number): Promise<void> {
  if (ringBits < 8 * wordBytes(ringBits)) await runWords(compute, 'signExtend', words, [words, words, ringBits], words.length);
}
