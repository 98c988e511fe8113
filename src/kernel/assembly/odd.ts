// Comparison words: n-bit values in 64-bit words, added mod L = 2^n and mod L - 1 (n from 2 to 64). Nothing here branches on a value.

@inline
function maskOf(bits: i32): u64 {
  return ~(<u64>0) >> (64 - bits);
}

/** 1 where a + b wraps round 2^bits, for a and b below it. */
@inline
function wraps(a: u64, b: u64, mask: u64): u64 {
  return <u64>(((a + b) & mask) < a);
}

/** a + b mod L - 1, for a and b below L; the result is below L - 1. */
@inline
function addMod(a: u64, b: u64, mask: u64): u64 {
  const sum = ((a + b) & mask) + wraps(a, b, mask);
  return sum & -(<u64>(sum != mask));
}

/** -a mod L - 1, up to L - 1 itself. */
@inline
function negative(a: u64, mask: u64): u64 {
  return mask - a;
}

@inline
function at(array: usize, i: i32): usize {
  return array + (<usize>i << 3);
}

@inline
function get(array: usize, i: i32): u64 {
  return load<u64>(array + (<usize>i << 3));
}

/** The compared bits of 32-bit ring words: dst[i] = (src[i] >> low) mod 2^bits, or 2 src[i] mod 2^bits where low is -1. */
export function windowWords(dst: usize, src: usize, low: i32, bits: i32, begin: i32, end: i32): void {
  const mask = maskOf(bits);
  const up = low < 0 ? 1 : 0;
  const down = low < 0 ? 0 : low;
  for (let i = begin; i < end; i++) store<u64>(at(dst, i), ((<u64>load<u32>(src + (<usize>i << 2)) << up) >> down) & mask);
}

/** The same of 64-bit ring words. */
export function windowLongs(dst: usize, src: usize, low: i32, bits: i32, begin: i32, end: i32): void {
  const mask = maskOf(bits);
  const up = low < 0 ? 1 : 0;
  const down = low < 0 ? 0 : low;
  for (let i = begin; i < end; i++) store<u64>(at(dst, i), ((get(src, i) << up) >> down) & mask);
}

/** dst[i] = 128 drawn bits mod L - 1: within 2^(bits - 128) of uniform. */
export function reduceOdd(dst: usize, stream: usize, bits: i32, begin: i32, end: i32): void {
  const mask = maskOf(bits);
  for (let i = begin; i < end; i++) {
    const low = load<u64>(stream + (<usize>i << 4));
    const high = load<u64>(stream + (<usize>i << 4) + 8);
    let value: u64 = 0;
    for (let from = 0; from < 128; from += bits) {
      const piece = from >= 64 ? high >> (from - 64) : from == 0 ? low : (low >> from) | (high << (64 - from));
      value = addMod(value, piece & mask, mask);
    }
    store<u64>(at(dst, i), value);
  }
}

/** The dealer's sum of two masks mod L, and whether it wrapped (a byte each). */
export function sumMasks(sum: usize, wrapped: usize, a: usize, b: usize, bits: i32, begin: i32, end: i32): void {
  const mask = maskOf(bits);
  for (let i = begin; i < end; i++) {
    const x = get(a, i) & mask;
    const y = get(b, i) & mask;
    store<u64>(at(sum, i), (x + y) & mask);
    store<u8>(wrapped + i, <u8>wraps(x, y, mask));
  }
}

/** dst[i] = a[i] + b[i] mod L - 1 */
export function addOdd(dst: usize, a: usize, b: usize, bits: i32, begin: i32, end: i32): void {
  const mask = maskOf(bits);
  for (let i = begin; i < end; i++) store<u64>(at(dst, i), addMod(get(a, i), get(b, i), mask));
}

/** The dealer's share of a bit mod L - 1: dst[i] = flags[i] - drawn[i] */
export function shareOdd(dst: usize, flags: usize, drawn: usize, bits: i32, begin: i32, end: i32): void {
  const mask = maskOf(bits);
  for (let i = begin; i < end; i++) store<u64>(at(dst, i), addMod(<u64>load<u8>(flags + i), negative(get(drawn, i), mask), mask));
}

/** Share conversion, before the opening: r = a + x mod L, y = a - [a + x wraps] mod L - 1. */
export function openConversion(r: usize, y: usize, a: usize, x: usize, bits: i32, begin: i32, end: i32): void {
  const mask = maskOf(bits);
  for (let i = begin; i < end; i++) {
    const value = get(a, i);
    const own = get(x, i) & mask;
    store<u64>(at(r, i), (value + own) & mask);
    store<u64>(at(y, i), addMod(value, negative(wraps(value, own, mask), mask), mask));
  }
}

/** After it: z = r + beta mod L for the opened r; the second party also takes [r_0 + r_1 wraps] off its y. */
export function joinConversion(z: usize, y: usize, r: usize, theirs: usize, beta: usize, bits: i32, second: i32, begin: i32, end: i32): void {
  const mask = maskOf(bits);
  for (let i = begin; i < end; i++) {
    const mine = get(r, i);
    const other = get(theirs, i);
    const wrapped = wraps(mine, other, mask) & -(<u64>second);
    store<u64>(at(y, i), addMod(get(y, i), negative(wrapped, mask), mask));
    store<u64>(at(z, i), (mine + other + <u64>load<u8>(beta + i)) & mask);
  }
}

/** y = y + alpha + (eta' xor beta), with shares of alpha and eta' mod L - 1 and beta known to both parties. */
export function finishConversion(y: usize, alpha: usize, eta: usize, beta: usize, bits: i32, second: i32, begin: i32, end: i32): void {
  const mask = maskOf(bits);
  for (let i = begin; i < end; i++) {
    const share = get(eta, i);
    const turn = -(<u64>load<u8>(beta + i));
    const mine = (share & ~turn) | (addMod(negative(share, mask), <u64>second, mask) & turn);
    store<u64>(at(y, i), addMod(addMod(get(y, i), get(alpha, i), mask), mine, mask));
  }
}

/** MSB, before the opening: r = 2 y + x mod L - 1. */
export function openSign(r: usize, y: usize, x: usize, bits: i32, begin: i32, end: i32): void {
  const mask = maskOf(bits);
  for (let i = begin; i < end; i++) {
    const value = get(y, i);
    store<u64>(at(r, i), addMod(addMod(value, value, mask), get(x, i), mask));
  }
}

/** After it: z = r + beta for the opened r mod L - 1, and turn = its lowest bit xor beta. */
export function joinSign(z: usize, turn: usize, r: usize, theirs: usize, beta: usize, bits: i32, begin: i32, end: i32): void {
  const mask = maskOf(bits);
  for (let i = begin; i < end; i++) {
    const opened = addMod(get(r, i), get(theirs, i), mask);
    const flag = <u64>load<u8>(beta + i);
    store<u64>(at(z, i), opened + flag);
    store<u8>(turn + i, <u8>((opened ^ flag) & 1));
  }
}

/** flags[i] ^= lowest bit of words[i] */
export function flipLowest(flags: usize, words: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) store<u8>(flags + i, load<u8>(flags + i) ^ (load<u8>(at(words, i)) & 1));
}

/** dst[i] = src[i] & 1, bytes */
export function lowestBits(dst: usize, src: usize, begin: i32, end: i32): void {
  const one = i8x16.splat(1);
  let i = begin;
  for (; i + 16 <= end; i += 16) v128.store(dst + i, v128.and(v128.load(src + i), one));
  for (; i < end; i++) store<u8>(dst + i, load<u8>(src + i) & 1);
}

/** dst[i] = src[index[i]], bytes */
export function gatherBytes(dst: usize, src: usize, index: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) store<u8>(dst + i, load<u8>(src + load<u32>(index + (<usize>i << 2))));
}
