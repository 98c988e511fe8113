// Fixed point: a real r is the integer round(r · scale), two's complement mod 2^ringBits.
import { DataError } from '../errors.js';
import type { Words } from '../kernel/compute.js';
import { plainWords } from './words.js';

/** Integers up to this size are exact in the doubles that encode and decode them. */
const exactBits = 53;

/**
 * Encodes reals. Throws DataError for a value that is not finite or whose integer does not fit below 2^(ringBits − 2) in size, the
 * range in which truncation and comparison hold (in 64 bits, below 2^53).
 */
export function encodeFixed(values: ArrayLike<number>, scale: number, ringBits: number): Words {
  const limit = 2 ** Math.min(ringBits - 2, exactBits);
  const words = plainWords(ringBits, values.length);
  for (let i = 0; i < values.length; i++) {
    const word = Math.round(values[i]! * scale);
    if (!(Math.abs(word) < limit)) {
      throw new DataError(`value ${values[i]} at ${i} is outside ±${(limit / scale).toPrecision(4)}`, {
        code: 'out-of-range',
        where: `value ${i}`,
        hint: 'check the preprocessing (mean, std, 0..1 or 0..255), or compile with pictures like this one',
      });
    }
    if (words instanceof BigInt64Array) words[i] = BigInt(word);
    else words[i] = word;
  }
  return words;
}

/** Decodes two's complement words (sign-extended to their width). */
export function decodeFixed(words: Words, scale: number): Float32Array {
  const values = new Float32Array(words.length);
  for (let i = 0; i < words.length; i++) values[i] = Number(words[i]!) / scale;
  return values;
}
