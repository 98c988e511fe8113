// Fixed point: a real r is the integer round(r · scale), two's complement mod 2^ringBits.
import { DataError } from '../errors.js';

/**
 * Encodes reals. Throws DataError for a value that is not finite or whose integer does not fit below 2^(ringBits − 2) in size, the
 * range in which truncation and comparison hold.
 */
export function encodeFixed(values: ArrayLike<number>, scale: number, ringBits: number): Int32Array {
  const limit = 2 ** (ringBits - 2);
  const words = new Int32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const word = Math.round(values[i]! * scale);
    if (!(Math.abs(word) < limit)) {
      throw new DataError(`value ${values[i]} at ${i} is outside ±${(limit / scale).toPrecision(4)}`, {
        code: 'out-of-range',
        where: `value ${i}`,
        hint: 'check the preprocessing (mean, std, 0..1 or 0..255), or compile with pictures like this one',
      });
    }
    words[i] = word;
  }
  return words;
}

/** Decodes two's complement words (sign-extended to 32 bits). */
export function decodeFixed(words: Int32Array, scale: number): Float32Array {
  const values = new Float32Array(words.length);
  for (let i = 0; i < words.length; i++) values[i] = words[i]! / scale;
  return values;
}
