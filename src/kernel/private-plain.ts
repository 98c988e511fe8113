// Plain twins of assembly/digits.ts, odd.ts and select.ts: slow, obvious, the oracle of their tests. Digits are lists of rows' values.
import { type DigitCode, tileElements, tilesOf } from './private.js';

/** Sixteen uniform values a row from a tile's draws, as `sample` makes them. */
export function sampleRows(stream: Uint8Array, rows: number, modulus: number, add: number): number[][] {
  const draws = Array.from({ length: stream.length / 2 }, (_, i) => (stream[2 * i]! | (stream[2 * i + 1]! << 8)) & 0x7fff);
  const limit = Math.floor(32768 / modulus) * modulus;
  const reserve = draws.slice(16 * rows);
  return Array.from({ length: rows }, (_, row) =>
    draws.slice(16 * row, 16 * row + 16).map((draw) => {
      let value = draw;
      while (value >= limit && reserve.length > 0) value = reserve.shift()!;
      return (value % modulus) + add;
    }),
  );
}

const tileDraw = (stream: Uint8Array, tile: number, rows: number): Uint8Array =>
  stream.subarray(tile * (32 * rows + 64), (tile + 1) * (32 * rows + 64));

const wordsOf = ({ bits, record }: DigitCode): { first: number; stop: number; bytes: number }[] => {
  const perWord = record[2]!;
  return Array.from({ length: Math.ceil(bits / perWord) }, (_, g) => {
    const stop = Math.min((g + 1) * perWord, bits);
    return { first: g * perWord, stop, bytes: stop < bits ? 4 : record[3]! };
  });
};

export function packRows(code: DigitCode, rows: readonly (readonly number[])[]): number[] {
  return wordsOf(code).flatMap(({ first, stop, bytes }) =>
    Array.from({ length: tileElements }, (_, lane) => {
      let word = 0n;
      for (let i = stop - 1; i >= first; i--) word = word * BigInt(code.prime) + BigInt(rows[i]![lane]!);
      return Array.from({ length: bytes }, (_, byte) => Number((word >> BigInt(8 * byte)) & 255n));
    }).flat(),
  );
}

export function unpackRows(code: DigitCode, packed: Uint8Array): number[][] {
  const rows = Array.from({ length: code.bits }, () => new Array<number>(tileElements).fill(0));
  let at = 0;
  for (const { first, stop, bytes } of wordsOf(code)) {
    for (let lane = 0; lane < tileElements; lane++) {
      let word = 0n;
      for (let byte = 0; byte < bytes; byte++) word |= BigInt(packed[at++]!) << BigInt(8 * byte);
      for (let i = first; i < stop; i++) {
        rows[i]![lane] = Number(word % BigInt(code.prime));
        word /= BigInt(code.prime);
      }
    }
  }
  return rows;
}

const bitOf = (word: bigint, bit: number): number => Number((word >> BigInt(bit)) & 1n);
const modulo = (value: number, p: number): number => ((value % p) + p) % p;

export function shareBits(code: DigitCode, words: readonly bigint[], stream: Uint8Array): number[] {
  return Array.from({ length: tilesOf(words.length) }, (_, tile) => {
    const drawn = sampleRows(tileDraw(stream, tile, code.bits), code.bits, code.prime, 0);
    const rows = drawn.map((row, i) => row.map((share, lane) => modulo(bitOf(words[16 * tile + lane]!, i) - share, code.prime)));
    return packRows(code, rows);
  }).flat();
}

/** One party's masked digits of one tile, from its shares of x's bits. */
export function compareTile(
  { bits, prime }: DigitCode,
  shares: readonly (readonly number[])[],
  z: readonly bigint[],
  beta: readonly number[],
  masks: Uint8Array,
  second: boolean,
): number[][] {
  const each = 32 * bits + 64;
  const s = sampleRows(masks.subarray(0, each), bits, prime - 1, 1);
  const u = sampleRows(masks.subarray(each, 2 * each), bits, prime, 0);
  const [turn] = sampleRows(masks.subarray(2 * each), 1, bits, 0);
  const j = second ? 1 : 0;
  const out = Array.from({ length: bits }, () => new Array<number>(tileElements).fill(0));
  for (let lane = 0; lane < tileElements; lane++) {
    const corner = beta[lane] === 1 && z[lane] === 0n;
    let above = 0;
    for (let i = bits - 1; i >= 0; i--) {
      const x = shares[i]![lane]!;
      const bit = bitOf(z[lane]!, i);
      const sign = beta[lane] === 1 ? -1 : 1;
      const c = corner ? (i === 0 ? 0 : j) : sign * (j * bit - x) + j + above;
      above += x + j * bit - 2 * bit * x;
      const d = s[i]![lane]! * c + (second ? -1 : 1) * u[i]![lane]!;
      out[(i + turn![lane]!) % bits]![lane] = modulo(d, prime);
    }
  }
  return out;
}

export function findZeros(code: DigitCode, a: Uint8Array, b: Uint8Array): number[] {
  return Array.from({ length: a.length / code.tileBytes }, (_, tile) => {
    const [x, y] = [a, b].map((all) => unpackRows(code, all.subarray(tile * code.tileBytes, (tile + 1) * code.tileBytes)));
    return Array.from({ length: tileElements }, (_, lane) =>
      x!.some((row, i) => (row[lane]! + y![i]![lane]!) % code.prime === 0) ? 1 : 0,
    );
  }).flat();
}

const size = (bits: number): bigint => 1n << BigInt(bits);
const odd = (value: bigint, bits: number): bigint => {
  const m = size(bits) - 1n;
  return ((value % m) + m) % m;
};

export const windowOf = (word: bigint, low: number, bits: number): bigint =>
  BigInt.asUintN(bits, low < 0 ? 2n * word : BigInt.asUintN(64, word) >> BigInt(low));
export const reduceOdd = (low: bigint, high: bigint, bits: number): bigint =>
  odd(BigInt.asUintN(64, low) + (BigInt.asUintN(64, high) << 64n), bits);
export const addOdd = (a: bigint, b: bigint, bits: number): bigint => odd(a + b, bits);
export const shareOdd = (flag: number, drawn: bigint, bits: number): bigint => odd(BigInt(flag) - drawn, bits);
export const wraps = (a: bigint, b: bigint, bits: number): bigint => (a + b) >> BigInt(bits);

export const openConversion = (a: bigint, x: bigint, bits: number) => ({
  r: BigInt.asUintN(bits, a + x),
  y: odd(a - wraps(a, BigInt.asUintN(bits, x), bits), bits),
});
export const joinConversion = (y: bigint, r: bigint, theirs: bigint, beta: number, bits: number, second: boolean) => ({
  z: BigInt.asUintN(bits, r + theirs + BigInt(beta)),
  y: odd(y - (second ? wraps(r, theirs, bits) : 0n), bits),
});
export const finishConversion = (y: bigint, alpha: bigint, eta: bigint, beta: number, bits: number, second: boolean): bigint =>
  odd(y + alpha + (beta === 1 ? (second ? 1n : 0n) - eta : eta), bits);
export const openSign = (y: bigint, x: bigint, bits: number): bigint => odd(2n * y + x, bits);
export const joinSign = (r: bigint, theirs: bigint, beta: number, bits: number) => {
  const opened = addOdd(r, theirs, bits);
  return { z: opened + BigInt(beta), turn: Number(opened & 1n) ^ beta };
};

/** One party's share of (1 xor turn xor g) y, mod 2^64. */
export function selected(turn: number, opened: bigint, y: bigint, g: bigint, masked: bigint, offset: bigint, first: boolean): bigint {
  const product = (opened - offset) * g - masked;
  return turn === 1 ? product : y - (first ? offset : 0n) - product;
}
