// DReLU: the sign of shared values from a window of their bits, by share conversion and the most significant bit. SecureNN, algorithm 6.
//
//   window [q, h), q > 0   both parties drop q bits of their shares mod 2^h: what they share is floor(y / 2^q), or one less where the dropped bits
//                          carry. Conversion makes -1 a 0, so 0 and -1 are both taken as not negative: wrong for -2^q <= y < 0 alone.
//   window [0, h)          2 y mod 2^n with n = min(h + 1, k): it is even and never L - 1, so every sign is right; with h = k, |y| < 2^(k-2).
//
// Elements are compared in chunks of their own messages and draws, several at a time, so that the three parties work at once.
import type { Words } from '../../kernel/compute.js';
import type { Window } from '../../model/program.js';
import { isLong } from '../../ring/words.js';
import { type MessageSize, numberedFrom, roundStride } from '../operation.js';
import * as msb from './msb.js';
import { type Halves, type Hands, halvesOf, type Party, tileLongs } from './privatecompare.js';
import * as shareconvert from './shareconvert.js';

/** Elements of a chunk: a message of masked digits is 1.7 MB at 64 bits, and a chunk some milliseconds of work. */
export const chunkElements = 32_768;

/** Chunks whose masks are expanded at a time. */
const chunksInFlight = 4;

/** What is compared: `count` values in a ring of `ringBits`. */
export interface Comparison {
  readonly count: number;
  readonly ringBits: number;
  readonly window: Window;
  /** Number of the first chunk: tells apart comparisons of one step. */
  readonly firstChunk: number;
}

/** Bits of the comparison, and how far the shares are shifted down (-1: up by one). */
export function comparedBits({ low, high }: Window, ringBits: number): { bits: number; shift: number } {
  return low > 0 ? { bits: high - low, shift: low } : { bits: Math.min(high + 1, ringBits), shift: -1 };
}

interface Chunk {
  readonly first: number;
  readonly halves: Halves;
  /** By which its messages and draws are told apart. */
  readonly number: number;
}

export function chunksOf({ count, firstChunk }: Pick<Comparison, 'count' | 'firstChunk'>): Chunk[] {
  return Array.from({ length: Math.ceil(count / chunkElements) }, (_, i) => {
    const first = i * chunkElements;
    return { first, halves: halvesOf(Math.min(chunkElements, count - first)), number: firstChunk + i };
  });
}

/** The step's hands with messages and draws of one chunk. */
export const numbered = (hands: Hands, number: number): Hands => numberedFrom(hands, number * roundStride);

export function messages(comparison: Comparison): MessageSize[] {
  const { bits } = comparedBits(comparison.window, comparison.ringBits);
  return chunksOf(comparison).flatMap(({ halves, number }) =>
    [...shareconvert.messages(bits, halves), ...msb.messages(bits, halves, comparison.ringBits)].map((m) => ({
      ...m,
      name: m.name + number * roundStride,
    })),
  );
}

/** Online messages in a row: opening, digits and shares, of the conversion and of the sign. */
export const rounds = 6;

/** Runs `work` on every chunk with hands of its own, a few at a time; the promises it gives settle as chunks end. */
export function overChunks<T>(
  hands: Hands,
  comparison: Pick<Comparison, 'count' | 'firstChunk'>,
  work: (own: Hands, chunk: Chunk, index: number) => Promise<T>,
): Promise<T>[] {
  const results: Promise<T>[] = [];
  for (const [index, chunk] of chunksOf(comparison).entries()) {
    const own = numbered(hands.branch(), chunk.number);
    const before = results[index - chunksInFlight];
    results.push(before ? before.then(() => work(own, chunk, index)) : work(own, chunk, index));
  }
  for (const result of results) result.catch(() => {});
  return results;
}

/** What the provider keeps of a chunk. */
export interface DealerChunk {
  readonly eta: BigInt64Array;
  readonly sign: msb.DealerSign;
}

/** Provider, offline. */
export async function providerOffline(hands: Hands, comparison: Comparison): Promise<DealerChunk[]> {
  const { bits } = comparedBits(comparison.window, comparison.ringBits);
  return Promise.all(
    overChunks(hands, comparison, async (own, { halves }) => {
      const eta = await shareconvert.providerOffline(own, bits, halves);
      return { eta, sign: await msb.providerOffline(own, bits, halves, comparison.ringBits) };
    }),
  );
}

/** Provider, online: g of every chunk (see msb.ts), as chunks end. */
export function providerOnline(hands: Hands, comparison: Comparison, kept: readonly DealerChunk[]): Promise<Uint8Array>[] {
  const { bits } = comparedBits(comparison.window, comparison.ringBits);
  return overChunks(hands, comparison, async (own, { halves }, index) => {
    const { eta, sign } = kept[index]!;
    await shareconvert.providerOnline(own, bits, halves, eta);
    return msb.providerOnline(own, bits, halves, comparison.ringBits, sign);
  });
}

export interface ChunkMaterial {
  readonly conversion: shareconvert.ConversionMaterial;
  readonly sign: msb.SignMaterial;
}

/** Client and server, offline. */
export function partyOffline(hands: Hands, self: Party, comparison: Comparison): Promise<ChunkMaterial[]> {
  const { bits } = comparedBits(comparison.window, comparison.ringBits);
  return Promise.all(
    overChunks(hands, comparison, async (own, { halves }) => {
      const conversion = await shareconvert.partyOffline(own, self, bits, halves);
      return { conversion, sign: await msb.partyOffline(own, self, bits, halves, comparison.ringBits) };
    }),
  );
}

/** Client and server, online: the sign of every value that `words` shares, as chunks end: y < 0 is turn xor g. */
export function partyOnline(
  hands: Hands,
  self: Party,
  comparison: Comparison,
  words: Words,
  materials: readonly ChunkMaterial[],
): Promise<msb.SharedSign>[] {
  const { ringBits, window } = comparison;
  const { bits, shift } = comparedBits(window, ringBits);
  return overChunks(hands, comparison, async (own, { first, halves }, index) => {
    const a = tileLongs(hands, halves.count);
    const kernel = isLong(ringBits) ? 'windowLongs' : 'windowWords';
    await hands.compute.run(kernel, [a, words.subarray(first), shift, bits], halves.count, { grain: 32 });
    const y = await shareconvert.partyOnline(own, self, a, materials[index]!.conversion);
    hands.memory.free(a);
    return msb.partyOnline(own, self, y, materials[index]!.sign, ringBits);
  });
}
