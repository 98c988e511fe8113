// Bits of items within messages and draws.
import type { Part } from './layout.js';

/** Reads up to 8 bits, least significant first. */
export const readBits = (bytes: Uint8Array, at: number, bits: number): number =>
  ((bytes[at >> 3]! | ((bytes[(at >> 3) + 1] ?? 0) << 8)) >> (at & 7)) & ((1 << bits) - 1);

export const readWord = (bytes: Uint8Array, at: number, bits: number): number => {
  let value = 0;
  for (let done = 0; done < bits; done += 8) value |= readBits(bytes, at + done, Math.min(8, bits - done)) << done;
  return value;
};

/** Writes up to 32 bits. */
export function writeBits(bytes: Uint8Array, at: number, bits: number, value: number): void {
  for (let done = 0; done < bits; done += 8) {
    const mask = (1 << Math.min(8, bits - done)) - 1;
    const [place, up] = [(at + done) >> 3, (at + done) & 7];
    const shifted = ((value >>> done) & mask) << up;
    bytes[place] = (bytes[place]! & ~(mask << up)) | shifted;
    if (shifted > 255 || mask << up > 255) bytes[place + 1] = (bytes[place + 1]! & ~((mask << up) >> 8)) | (shifted >> 8);
  }
}

/** Bit of item `index` of the first picture, relative to its part's start, and the distance to the next picture's. */
export const placesOf = ({ inner, stride }: Part, batch: number, index: number): { first: number; step: number } => ({
  first: ((index % inner) + inner * batch * Math.floor(index / inner)) * stride,
  step: inner * stride,
});
