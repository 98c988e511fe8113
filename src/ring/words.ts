// Ring words of either width: 32-bit words for rings up to 2^32, 64-bit words for the ring of 2^64. Kernels come in pairs, addWords and
// addLongs; whoever computes in a ring allocates and runs through these functions and need not know which.
import type { Compute, HeapArray, Words } from '../kernel/compute.js';

/** Whether a ring's words have 64 bits. */
export const isLong = (ringBits: number): boolean => ringBits > 32;

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
  return compute.run(`${kernel}${words instanceof BigInt64Array ? 'Longs' : 'Words'}`, args, total, options);
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

/** Reduces words mod 2^ringBits to two's complement, in place. */
export function wrapWords(words: Words, ringBits: number): void {
  if (words instanceof BigInt64Array || ringBits === 32) return;
  const shift = 32 - ringBits;
  for (let i = 0; i < words.length; i++) words[i] = (words[i]! << shift) >> shift;
}
