// Codes of digits of Z_p: which prime a comparison of n bits takes, and how its digits lie on the wire. See assembly/digits.ts.

export interface DigitCode {
  /** Bits compared, 2 to 64. */
  readonly bits: number;
  /** The smallest prime above bits + 1. */
  readonly prime: number;
  /** Bytes of a tile of sixteen elements. */
  readonly tileBytes: number;
  /** What the kernels read. */
  readonly record: readonly number[];
}

/** Elements of a tile. */
export const tileElements = 16;

/** Tiles that hold `count` elements; the last one is padded. */
export const tilesOf = (count: number): number => Math.ceil(count / tileElements);

/** Bytes of stream that `tiles` tiles of `rows` rows of uniform digits take: two a digit, and a reserve for rejected draws. */
export const drawBytes = (rows: number, tiles: number): number => tiles * (2 * tileElements * rows + 64);

/** Bytes of stream that the masks of `tiles` tiles take: s, u and the turn (kernel compareDigits). */
export const maskBytes = (bits: number, tiles: number): number => 2 * drawBytes(bits, tiles) + drawBytes(1, tiles);

const codes = new Map<number, DigitCode>();

/** The code of a comparison of `bits` bits. */
export function digitCode(bits: number): DigitCode {
  const code = codes.get(bits) ?? makeCode(bits, smallestPrimeAbove(bits + 1));
  codes.set(bits, code);
  return code;
}

/** A code with a prime of choice (below 128): tests show what a smaller one does. */
export function makeCode(bits: number, prime: number): DigitCode {
  if (!Number.isInteger(bits) || bits < 2 || bits > 64) throw new RangeError(`"bits" expected 2 to 64, got ${bits}`);
  const perWord = Math.floor(32 / Math.log2(prime));
  const groups = Math.ceil(bits / perWord);
  const lastBytes = Math.ceil(((bits - (groups - 1) * perWord) * Math.log2(prime)) / 8);
  const shift = Math.floor(Math.log2(prime));
  const magic = Number(((1n << BigInt(32 + shift)) + BigInt(prime) - 1n) / BigInt(prime));
  const tileBytes = tileElements * (4 * (groups - 1) + lastBytes);
  return { bits, prime, tileBytes, record: [bits, prime, perWord, lastBytes, magic, shift] };
}

function smallestPrimeAbove(least: number): number {
  for (let candidate = least + 1; ; candidate++) {
    let divisor = 2;
    while (divisor * divisor <= candidate && candidate % divisor !== 0) divisor++;
    if (divisor * divisor > candidate) return candidate;
  }
}
