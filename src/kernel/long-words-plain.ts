// Plain twins of assembly/long-words.ts and long-compare.ts: slow, obvious, and the oracle of their tests. Same names, arrays instead of pointers, whole ranges
// instead of begin and end. A plane is an array of 0 and 1 here.
import { packPlane, type Selection, unpackPlane } from './words-plain.js';

const signed = (value: bigint): bigint => BigInt.asIntN(64, value);
const unsigned = (value: bigint, bits: number): bigint => BigInt.asUintN(bits, value);

export const addLongs = (a: BigInt64Array, b: BigInt64Array): BigInt64Array => a.map((x, i) => signed(x + b[i]!));
export const subLongs = (a: BigInt64Array, b: BigInt64Array): BigInt64Array => a.map((x, i) => signed(x - b[i]!));
export const scaleLongs = (a: BigInt64Array, factor: number): BigInt64Array => a.map((x) => signed(x * BigInt(factor)));
export const addScaledLongs = (dst: BigInt64Array, a: BigInt64Array, factor: number): BigInt64Array =>
  dst.map((x, i) => signed(x + a[i]! * BigInt(factor)));
export const multiplyPeriodicLongs = (dst: BigInt64Array, factors: Int32Array): BigInt64Array =>
  dst.map((x, i) => signed(x * BigInt(factors[i % factors.length]!)));
export const shiftLongs = (a: BigInt64Array, bits: number, shift: number): BigInt64Array =>
  a.map((x) => signed(unsigned(x, bits) >> BigInt(shift)));

export function packLongs(words: BigInt64Array, bits: number): Uint8Array {
  return packPlane(Array.from(words, (x) => Array.from({ length: bits }, (_, i) => Number((x >> BigInt(i)) & 1n))).flat());
}

export function unpackLongs(bytes: Uint8Array, bits: number, count: number): BigInt64Array {
  const all = unpackPlane(bytes, count * bits);
  return BigInt64Array.from({ length: count }, (_, j) =>
    signed(all.slice(j * bits, (j + 1) * bits).reduce((sum, bit, i) => sum + (BigInt(bit) << BigInt(i)), 0n)),
  );
}

export const differenceSignedLongs = (a: BigInt64Array, b: BigInt64Array, bits: number): BigInt64Array =>
  a.map((x, i) => BigInt.asIntN(bits, x - b[i]!));
export const signExtendLongs = (a: BigInt64Array, bits: number): BigInt64Array => a.map((x) => BigInt.asIntN(bits, x));
export const bitPlaneLongs = (words: BigInt64Array, bit: number): number[] => Array.from(words, (x) => Number((x >> BigInt(bit)) & 1n));
export const bitMinusLongs = (words: BigInt64Array, plane: readonly number[]): BigInt64Array =>
  words.map((x, j) => signed(BigInt(plane[j]!) - x));

export function shareTruncationLongs(
  mask: BigInt64Array,
  plane: readonly number[] | undefined,
  high: BigInt64Array,
  carry: BigInt64Array,
  bits: number,
  f: number,
) {
  const kept = (i: number): bigint => (plane?.[i] === 0 ? 0n : unsigned(mask[i]!, bits));
  return {
    high: high.map((x, i) => signed((kept(i) >> BigInt(f)) - x)),
    carry: carry.map((x, i) => signed((kept(i) >> BigInt(bits - 1)) - x)),
  };
}

const quarter = (width: number): bigint => 1n << BigInt(width - 2);

export const slackPlaneLongs = (v: BigInt64Array, width: number): number[] =>
  Array.from(v, (x) => 1 - Number(unsigned(x + quarter(width), width) >> BigInt(width - 1)));

/** See selectTruncated of words-plain.ts. */
export function selectTruncatedLongs(
  addend: BigInt64Array,
  v: BigInt64Array,
  z: readonly number[],
  [h1, c1, h2, c2, s5]: readonly [BigInt64Array, BigInt64Array | undefined, BigInt64Array, BigInt64Array | undefined, BigInt64Array],
  { bits, f, offset, sign, first }: Selection,
): BigInt64Array {
  const width = bits - f;
  return addend.map((base, i) => {
    const u = unsigned(v[i]! + quarter(width) - BigInt(offset), width);
    const a = u - quarter(width);
    const b = 1n - (u >> BigInt(width - 1));
    const carry = (c: BigInt64Array | undefined): bigint => (c ? (b * c[i]!) << BigInt(width) : 0n);
    const flipped = a * s5[i]! - h2[i]! + carry(c2);
    const straight = (first ? a : 0n) - h1[i]! + carry(c1);
    return signed(base + BigInt(sign) * (z[i] ? straight - flipped : flipped));
  });
}

/** See addTruncated of words-plain.ts. */
export function addTruncatedLongs(
  out: BigInt64Array,
  v: BigInt64Array,
  chosen: readonly number[] | undefined,
  turn: readonly number[],
  [high, carry, w]: readonly [BigInt64Array, BigInt64Array | undefined, BigInt64Array],
  { bits, f, offset, sign }: Omit<Selection, 'first'>,
): BigInt64Array {
  const width = bits - f;
  return out.map((base, i) => {
    const u = unsigned(v[i]! + quarter(width) - BigInt(offset), width);
    const b = 1n - (u >> BigInt(width - 1));
    const x = (u - quarter(width)) * w[i]! - high[i]! + (carry ? (b * carry[i]!) << BigInt(width) : 0n);
    return signed(base + (chosen && !chosen[i] ? 0n : BigInt(turn[i] ? -sign : sign) * x));
  });
}

export const addWhereBitLongs = (addend: BigInt64Array, words: BigInt64Array, plane: readonly number[]): BigInt64Array =>
  addend.map((x, i) => signed(x + BigInt(plane[i]!) * words[i]!));
export const addShiftedLongs = (base: BigInt64Array, words: BigInt64Array, shift: number): BigInt64Array =>
  base.map((x, i) => signed(x + (words[i]! << BigInt(shift))));
export const subQuarterLongs = (v: BigInt64Array, words: BigInt64Array, width: number): BigInt64Array =>
  v.map((x, i) => signed(unsigned(x + quarter(width), width) - quarter(width) - words[i]!));
