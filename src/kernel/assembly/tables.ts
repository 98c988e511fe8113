// Digits of compared words and their one-time truth tables, for words of 32 bits (`W` = u32) and of 64 (u64). A table of digit size g holds
// 2^g bits an item, item j's at bit j << g; a plane one bit an item, as in compare.ts. Grain 128: whole 16-byte pieces of a plane.

/** Byte offset of word j. */
@inline
function at<W>(words: usize, j: i32): usize {
  return words + (<usize>j << (sizeof<W>() == 8 ? 3 : 2));
}

/** Bits of word j from `position` on, at most 32 of them. */
@inline
function bitsOf<W>(words: usize, j: i32, position: i32): u32 {
  return sizeof<W>() == 8 ? <u32>(load<u64>(at<W>(words, j)) >> position) : load<u32>(at<W>(words, j)) >> position;
}

/** The digits of the four words from `words` on, in lanes of 32 bits. */
@inline
function digits4<W>(words: usize, position: i32, mask: v128): v128 {
  if (sizeof<W>() == 4) return v128.and(i32x4.shr_u(v128.load(words), position), mask);
  const low = i64x2.shr_u(v128.load(words), position);
  const high = i64x2.shr_u(v128.load(words, 16), position);
  return v128.and(i8x16.shuffle(low, high, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27), mask);
}

/** The digits of 16 words from `words` on, as 16 bytes. */
@inline
function digits16<W>(words: usize, position: i32, mask: v128): v128 {
  const a = digits4<W>(words, position, mask);
  const b = digits4<W>(at<W>(words, 4), position, mask);
  const c = digits4<W>(at<W>(words, 8), position, mask);
  const d = digits4<W>(at<W>(words, 12), position, mask);
  return i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_u(a, b), i16x8.narrow_i32x4_u(c, d));
}

/** Bit `up` places below the top of four words, as a number of four bits. */
@inline
function bits4<W>(words: usize, up: i32): i32 {
  if (sizeof<W>() == 4) return i32x4.bitmask(i32x4.shl(v128.load(words), up));
  return i64x2.bitmask(i64x2.shl(v128.load(words), up)) | (i64x2.bitmask(i64x2.shl(v128.load(words, 16), up)) << 2);
}

@inline
function bitPlane<W>(plane: usize, words: usize, bit: i32, begin: i32, end: i32): void {
  const up = <i32>(sizeof<W>() << 3) - 1 - bit;
  let j = begin;
  for (; j + 8 <= end; j += 8) {
    const from = at<W>(words, j);
    store<u8>(plane + (j >> 3), <u8>(bits4<W>(from, up) | (bits4<W>(from + (sizeof<W>() << 2), up) << 4)));
  }
  if (j < end) {
    let byte: u32 = 0;
    for (let i = j; i < end; i++) byte |= (bitsOf<W>(words, i, bit) & 1) << (i - j);
    store<u8>(plane + (j >> 3), <u8>byte);
  }
}

/** plane[j] = bit `bit` of words[j] */
export function bitPlaneWords(plane: usize, words: usize, bit: i32, begin: i32, end: i32): void {
  bitPlane<u32>(plane, words, bit, begin, end);
}

export function bitPlaneLongs(plane: usize, words: usize, bit: i32, begin: i32, end: i32): void {
  bitPlane<u64>(plane, words, bit, begin, end);
}

/** 16 rows of 4 bits as 16 bytes. */
@inline
function nibbles(table: usize): v128 {
  const packed = v128.load64_zero(table);
  const low = v128.and(packed, i8x16.splat(15));
  const high = i8x16.shr_u(packed, 4);
  return i8x16.shuffle(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

@inline
function flipDigit<W>(table: usize, words: usize, position: i32, g: i32, begin: i32, end: i32): void {
  const mask: u32 = (1 << g) - 1;
  let j = begin;
  if (g == 2 || g == 3) {
    const masks = i32x4.splat(mask);
    const bit = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    for (; j + 16 <= end; j += 16) {
      const flips = i8x16.swizzle(bit, digits16<W>(at<W>(words, j), position, masks));
      const p = table + ((<usize>j << g) >> 3);
      if (g == 3) v128.store(p, v128.xor(v128.load(p), flips));
      else {
        const even = i8x16.shuffle(flips, flips, 0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
        const odd = i8x16.shuffle(flips, flips, 1, 3, 5, 7, 9, 11, 13, 15, 1, 3, 5, 7, 9, 11, 13, 15);
        store<u64>(p, load<u64>(p) ^ i64x2.extract_lane(v128.or(even, i8x16.shl(odd, 4)), 0));
      }
    }
  }
  for (; j < end; j++) {
    const bit = ((<u64>j) << g) + (bitsOf<W>(words, j, position) & mask);
    const p = table + <usize>(bit >> 3);
    store<u8>(p, load<u8>(p) ^ <u8>((<u32>1) << (<u32>bit & 7)));
  }
}

/** Flips, in each item's table, the bit at its digit (words[j] >> position) mod 2^g. */
export function flipDigitWords(table: usize, words: usize, position: i32, g: i32, begin: i32, end: i32): void {
  flipDigit<u32>(table, words, position, g, begin, end);
}

export function flipDigitLongs(table: usize, words: usize, position: i32, g: i32, begin: i32, end: i32): void {
  flipDigit<u64>(table, words, position, g, begin, end);
}

/** The table's bit at `digit` (bit 0) and the parity of its bits above (bit 1), of a table of 64 bits or more. */
@inline
function lookUpWide(row: usize, digit: u32, g: i32): u32 {
  const at = digit >> 6;
  const rest = load<u64>(row + (<usize>at << 3)) >> (digit & 63);
  let above = rest & ~(<u64>1);
  const words = (<u32>1) << (g - 6);
  for (let i = at + 1; i < words; i++) above ^= load<u64>(row + (<usize>i << 3));
  return (<u32>rest & 1) | ((<u32>popcnt<u64>(above) & 1) << 1);
}

@inline
function lookUpDigit<W>(equal: usize, above: usize, table: usize, words: usize, position: i32, g: i32, begin: i32, end: i32): void {
  const digitMask: u32 = (1 << g) - 1;
  const tableMask: u32 = g >= 5 ? 0xffffffff : (<u32>1 << (1 << g)) - 1;
  let j = begin;
  if (g == 2 || g == 3) {
    const masks = i32x4.splat(digitMask);
    const bit = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    const over = i8x16(-2, -4, -8, -16, -32, -64, -128, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const odd = i8x16(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0);
    const low = i8x16.splat(15);
    for (; j + 16 <= end; j += 16) {
      const digits = digits16<W>(at<W>(words, j), position, masks);
      const from = table + ((<usize>j << g) >> 3);
      const rows = g == 3 ? v128.load(from) : nibbles(from);
      if (equal) store<u16>(equal + (j >> 3), <u16>i8x16.bitmask(i8x16.ne(v128.and(rows, i8x16.swizzle(bit, digits)), i8x16.splat(0))));
      const rest = v128.and(rows, i8x16.swizzle(over, digits));
      const parity = v128.xor(i8x16.swizzle(odd, v128.and(rest, low)), i8x16.swizzle(odd, i8x16.shr_u(rest, 4)));
      store<u16>(above + (j >> 3), <u16>i8x16.bitmask(parity));
    }
  }
  while (j < end) {
    const stop = min(j + 8, end);
    let eq: u32 = 0;
    let lt: u32 = 0;
    if (g > 5) {
      for (let place = 0; j < stop; j++, place++) {
        const found = lookUpWide(table + (<usize>j << (g - 3)), bitsOf<W>(words, j, position) & digitMask, g);
        eq |= (found & 1) << place;
        lt |= (found >> 1) << place;
      }
    }
    for (let place = 0; j < stop; j++, place++) {
      const item = <usize>j << g;
      const row = (load<u32>(table + ((item >> 5) << 2)) >> (<u32>item & 31)) & tableMask;
      const rest = row >> (bitsOf<W>(words, j, position) & digitMask);
      eq |= (rest & 1) << place;
      lt |= ((popcnt<u32>(rest) ^ rest) & 1) << place;
    }
    if (equal) store<u8>(equal + ((j - 1) >> 3), <u8>eq);
    store<u8>(above + ((j - 1) >> 3), <u8>lt);
  }
}

/**
 * For each item with digit v = (words[j] >> position) mod 2^g: equal[j] = bit v of its table, above[j] = parity of the table's bits above v.
 * `equal` = 0 leaves that plane out. Digits of 2 and 3 bits, which the planner prefers, go 16 at a time; g may be up to 10.
 */
export function lookUpDigitWords(equal: usize, above: usize, table: usize, words: usize, position: i32, g: i32, begin: i32, end: i32): void {
  lookUpDigit<u32>(equal, above, table, words, position, g, begin, end);
}

export function lookUpDigitLongs(equal: usize, above: usize, table: usize, words: usize, position: i32, g: i32, begin: i32, end: i32): void {
  lookUpDigit<u64>(equal, above, table, words, position, g, begin, end);
}
