// Plain twins of assembly/words.ts, compare.ts and tables.ts: slow, obvious, and the oracle of their tests. Same names, arrays instead of
// pointers, whole ranges instead of begin and end. A plane is an array of 0 and 1 here, a table one such array an item.

const ring = (value: number, bits: number): number => Number(BigInt.asUintN(bits, BigInt(value)));
const word = (value: bigint): number => Number(BigInt.asIntN(32, value));
const times = (a: number, b: number): bigint => BigInt(a) * BigInt(b);

export const addWords = (a: Int32Array, b: Int32Array): Int32Array => a.map((x, i) => x + b[i]!);
export const subWords = (a: Int32Array, b: Int32Array): Int32Array => a.map((x, i) => x - b[i]!);
export const signExtendWords = (a: Int32Array, bits: number): Int32Array => a.map((x) => Number(BigInt.asIntN(bits, BigInt(x))));
export const differenceSigned = (a: Int32Array, b: Int32Array, bits: number): Int32Array =>
  a.map((x, i) => Number(BigInt.asIntN(bits, BigInt(x) - BigInt(b[i]!))));
export const scaleWords = (a: Int32Array, factor: number): Int32Array => a.map((x) => word(times(x, factor)));
export const addScaledWords = (dst: Int32Array, a: Int32Array, factor: number): Int32Array =>
  dst.map((x, i) => x + word(times(a[i]!, factor)));
export const shiftWords = (a: Int32Array, bits: number, shift: number): Int32Array => a.map((x) => Math.floor(ring(x, bits) / 2 ** shift));

export function packWords(words: Int32Array, bits: number): Uint8Array {
  const all = Array.from(words, (x) => Array.from({ length: bits }, (_, i) => (x >>> i) & 1)).flat();
  return packPlane(all);
}

export function unpackWords(bytes: Uint8Array, bits: number, count: number): Int32Array {
  const all = unpackPlane(bytes, count * bits);
  return Int32Array.from({ length: count }, (_, j) => all.slice(j * bits, (j + 1) * bits).reduce((sum, bit, i) => sum + bit * 2 ** i, 0));
}

export function packPlane(bits: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(bits.length / 8));
  bits.forEach((bit, i) => {
    bytes[i >> 3]! |= bit << (i & 7);
  });
  return bytes;
}

export const unpackPlane = (bytes: Uint8Array, count: number): number[] =>
  Array.from({ length: count }, (_, i) => (bytes[i >> 3]! >> (i & 7)) & 1);

export const bitPlane = (words: Int32Array, bit: number): number[] => Array.from(words, (x) => (x >>> bit) & 1);

/** The digits of words of either width. */
export const digitsOf = (words: Int32Array | BigInt64Array, position: number, g: number): number[] =>
  Array.from(words as Iterable<number | bigint>, (x) => Number((BigInt(x) >> BigInt(position)) & (2n ** BigInt(g) - 1n)));

export function lookUpDigit(tables: readonly (readonly number[])[], digits: readonly number[]) {
  return {
    equal: digits.map((v, j) => tables[j]![v]!),
    above: digits.map((v, j) => tables[j]!.slice(v + 1).reduce((a, b) => a ^ b, 0)),
  };
}

export function flipDigit(tables: readonly (readonly number[])[], digits: readonly number[]): number[][] {
  return tables.map((table, j) => table.map((bit, v) => (v === digits[j] ? 1 - bit : bit)));
}

export const bitMinusWords = (words: Int32Array, plane: readonly number[]): Int32Array => words.map((x, j) => plane[j]! - x);

export function shareTruncation(
  mask: Int32Array,
  plane: readonly number[] | undefined,
  high: Int32Array,
  carry: Int32Array,
  bits: number,
  f: number,
) {
  const kept = Array.from(mask, (x, i) => (plane && plane[i] === 0 ? 0 : ring(x, bits)));
  return {
    high: high.map((x, i) => Math.floor(kept[i]! / 2 ** f) - x),
    carry: carry.map((x, i) => Math.floor(kept[i]! / 2 ** (bits - 1)) - x),
  };
}

/** u = v + 2^(width-2) - offset mod 2^width, and what truncation makes of it. */
function slack(v: number, width: number, offset: number): { a: number; b: number } {
  const u = ring(v + 2 ** (width - 2) - offset, width);
  return { a: u - 2 ** (width - 2), b: u >= 2 ** (width - 1) ? 0 : 1 };
}

export interface Selection {
  readonly bits: number;
  readonly f: number;
  readonly offset: number;
  readonly sign: number;
  readonly first: boolean;
}

export function selectTruncated(
  addend: Int32Array,
  v: Int32Array,
  z: readonly number[],
  [h1, c1, h2, c2, s5]: readonly [Int32Array, Int32Array | undefined, Int32Array, Int32Array | undefined, Int32Array],
  { bits, f, offset, sign, first }: Selection,
): Int32Array {
  return addend.map((base, i) => {
    const { a, b } = slack(v[i]!, bits - f, offset);
    const carry = (c: Int32Array | undefined) => (c ? times(b * c[i]!, 2 ** (bits - f)) : 0n);
    const flipped = times(a, s5[i]!) - BigInt(h2[i]!) + carry(c2);
    const straight = BigInt(first ? a : 0) - BigInt(h1[i]!) + carry(c1);
    return word(BigInt(base) + BigInt(sign) * (z[i] ? straight - flipped : flipped));
  });
}

/** See addTruncated of assembly/compare.ts. */
export function addTruncated(
  out: Int32Array,
  v: Int32Array,
  chosen: readonly number[] | undefined,
  turn: readonly number[],
  [high, carry, w]: readonly [Int32Array, Int32Array | undefined, Int32Array],
  { bits, f, offset, sign }: Omit<Selection, 'first'>,
): Int32Array {
  return out.map((base, i) => {
    const { a, b } = slack(v[i]!, bits - f, offset);
    const x = times(a, w[i]!) - BigInt(high[i]!) + (carry ? times(b * carry[i]!, 2 ** (bits - f)) : 0n);
    return word(BigInt(base) + (chosen && !chosen[i] ? 0n : BigInt(turn[i] ? -sign : sign) * x));
  });
}

export const slackPlane = (v: Int32Array, width: number): number[] => Array.from(v, (x) => slack(x, width, 0).b);
export const subQuarter = (v: Int32Array, words: Int32Array, width: number): Int32Array =>
  v.map((x, i) => slack(x, width, 0).a - words[i]!);
export const addWhereBit = (addend: Int32Array, words: Int32Array, plane: readonly number[]): Int32Array =>
  addend.map((x, i) => x + plane[i]! * words[i]!);
export const addShifted = (base: Int32Array, words: Int32Array, shift: number): Int32Array =>
  base.map((x, i) => x + word(times(words[i]!, 2 ** shift)));
