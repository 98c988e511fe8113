// Kernels of comparison and truncation on bit planes, with words of 32 bits (their twins for 64: long-compare.ts). A plane holds one bit an
// item, item j in byte j >> 3, bit j & 7. Grain 128: whole 16-byte pieces of a plane.

/** dst ^= a on `end - begin` bytes */
export function xorBytes(dst: usize, a: usize, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 16 <= end; i += 16) v128.store(dst + i, v128.xor(v128.load(dst + i), v128.load(a + i)));
  for (; i < end; i++) store<u8>(dst + i, load<u8>(dst + i) ^ load<u8>(a + i));
}

/** dst &= a */
export function andBytes(dst: usize, a: usize, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 16 <= end; i += 16) v128.store(dst + i, v128.and(v128.load(dst + i), v128.load(a + i)));
  for (; i < end; i++) store<u8>(dst + i, load<u8>(dst + i) & load<u8>(a + i));
}

/** dst ^= a & b */
export function xorAndBytes(dst: usize, a: usize, b: usize, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 16 <= end; i += 16) v128.store(dst + i, v128.xor(v128.load(dst + i), v128.and(v128.load(a + i), v128.load(b + i))));
  for (; i < end; i++) store<u8>(dst + i, load<u8>(dst + i) ^ (load<u8>(a + i) & load<u8>(b + i)));
}

/** dst ^= 0xff */
export function invertBytes(dst: usize, begin: i32, end: i32): void {
  const ones = i8x16.splat(-1);
  let i = begin;
  for (; i + 16 <= end; i += 16) v128.store(dst + i, v128.xor(v128.load(dst + i), ones));
  for (; i < end; i++) store<u8>(dst + i, load<u8>(dst + i) ^ 0xff);
}

/** dst[i] = src[index[i]] on planes */
export function gatherBits(dst: usize, src: usize, index: usize, begin: i32, end: i32): void {
  for (let j = begin; j < end; ) {
    const stop = min(j + 8, end);
    let byte: u32 = 0;
    for (let at = 0; j < stop; j++, at++) {
      const from = <usize>load<u32>(index + (<usize>j << 2));
      byte |= ((<u32>load<u8>(src + (from >> 3)) >> (<u32>from & 7)) & 1) << at;
    }
    store<u8>(dst + ((j - 1) >> 3), <u8>byte);
  }
}

/** Four lanes of all ones where the plane's bits j .. j+3 are set; j a multiple of 4. */
@inline
function lanes(plane: usize, j: i32): v128 {
  const nibble = <i32>load<u8>(plane + (j >> 3)) >> (j & 4);
  const select = i32x4(1, 2, 4, 8);
  return i32x4.eq(v128.and(i32x4.splat(nibble), select), select);
}

@inline
function bitOf(plane: usize, j: i32): i32 {
  return (<i32>load<u8>(plane + (j >> 3)) >> (j & 7)) & 1;
}

/** words[j] = bit j of the plane - words[j] */
export function bitMinusWords(words: usize, plane: usize, begin: i32, end: i32): void {
  let j = begin;
  for (; j + 4 <= end; j += 4) {
    const p = words + (<usize>j << 2);
    v128.store(p, i32x4.neg(i32x4.add(v128.load(p), lanes(plane, j))));
  }
  for (; j < end; j++) {
    const p = words + (<usize>j << 2);
    store<i32>(p, bitOf(plane, j) - load<i32>(p));
  }
}

/**
 * Shares of a mask's truncation: high[i] = ((mask[i] mod 2^bits) >> f) - high[i], carry[i] = top bit of mask[i] - carry[i];
 * with a plane, both only where its bit is set (the rest shares 0). `carry` = 0 leaves it out.
 */
export function shareTruncationWords(mask: usize, plane: usize, high: usize, carry: usize, bits: i32, f: i32, begin: i32, end: i32): void {
  const ring: i32 = bits == 32 ? -1 : (1 << bits) - 1;
  const ringLanes = i32x4.splat(ring);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    let m = v128.and(v128.load(mask + o), ringLanes);
    if (plane) m = v128.and(m, lanes(plane, i));
    v128.store(high + o, i32x4.sub(i32x4.shr_u(m, f), v128.load(high + o)));
    if (carry) v128.store(carry + o, i32x4.sub(i32x4.shr_u(m, bits - 1), v128.load(carry + o)));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    let m = load<u32>(mask + o) & <u32>ring;
    if (plane) m &= <u32>-bitOf(plane, i);
    store<u32>(high + o, (m >> f) - load<u32>(high + o));
    if (carry) store<u32>(carry + o, (m >> (bits - 1)) - load<u32>(carry + o));
  }
}

/**
 * out[i] = addend[i] + sign * (share of z * trunc(y)), from v = (opened y mod 2^bits) >> f, the opened bits z, and shares
 * h1, c1 of the mask's truncation, h2, c2 of the same times zeta, and s5 of zeta:
 *   u = v + 2^(bits-2-f) mod 2^(bits-f), A = u - 2^(bits-2-f), b = 1 - top bit of u
 *   flipped  = A s5 - h2 + b 2^(bits-f) c2
 *   straight = [first] A - h1 + b 2^(bits-f) c1
 *   result   = z ? straight - flipped : flipped
 * `offset` is subtracted from v first (in its scale). c1 = c2 = 0 when f = 0.
 */
export function selectTruncatedWords(
  out: usize, addend: usize, v: usize, z: usize, h1: usize, c1: usize, h2: usize, c2: usize, s5: usize,
  bits: i32, f: i32, offset: i32, sign: i32, first: i32, begin: i32, end: i32,
): void {
  const width = bits - f;
  const quarter: i32 = 1 << (width - 2);
  const mask: i32 = width == 32 ? -1 : (1 << width) - 1;
  const shiftIn = i32x4.splat(quarter - offset);
  const quarters = i32x4.splat(quarter);
  const masks = i32x4.splat(mask);
  const ones = i32x4.splat(1);
  const include = i32x4.splat(first ? -1 : 0);
  const negate = i32x4.splat(sign < 0 ? -1 : 0);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    const u = v128.and(i32x4.add(v128.load(v + o), shiftIn), masks);
    const a = i32x4.sub(u, quarters);
    let flipped = i32x4.sub(i32x4.mul(a, v128.load(s5 + o)), v128.load(h2 + o));
    let straight = i32x4.sub(v128.and(a, include), v128.load(h1 + o));
    if (c1) {
      const b = i32x4.sub(i32x4.shr_u(u, width - 1), ones);
      flipped = i32x4.add(flipped, i32x4.shl(v128.and(b, v128.load(c2 + o)), width));
      straight = i32x4.add(straight, i32x4.shl(v128.and(b, v128.load(c1 + o)), width));
    }
    const x = v128.bitselect(i32x4.sub(straight, flipped), flipped, lanes(z, i));
    v128.store(out + o, i32x4.add(v128.load(addend + o), i32x4.sub(v128.xor(x, negate), negate)));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    const u = (load<i32>(v + o) + quarter - offset) & mask;
    const a = u - quarter;
    let flipped = a * load<i32>(s5 + o) - load<i32>(h2 + o);
    let straight = (first ? a : 0) - load<i32>(h1 + o);
    if (c1) {
      const b = <i32>(<u32>u >> (width - 1)) - 1;
      flipped += (b & load<i32>(c2 + o)) << width;
      straight += (b & load<i32>(c1 + o)) << width;
    }
    const x = bitOf(z, i) ? straight - flipped : flipped;
    store<i32>(out + o, load<i32>(addend + o) + (sign < 0 ? -x : x));
  }
}

/**
 * out[i] += sign * (1 - 2 turn) * (share of w * trunc(y)) where the plane `chosen` has a bit (0: everywhere), from v as selectTruncated takes it
 * and shares high, carry of the mask's truncation times w, and of w itself: A w - high + b 2^(bits-f) carry. carry = 0 when f = 0.
 */
export function addTruncatedWords(
  out: usize, v: usize, chosen: usize, turn: usize, high: usize, carry: usize, w: usize,
  bits: i32, f: i32, offset: i32, sign: i32, begin: i32, end: i32,
): void {
  const width = bits - f;
  const quarter: i32 = 1 << (width - 2);
  const mask: i32 = width == 32 ? -1 : (1 << width) - 1;
  const shiftIn = i32x4.splat(quarter - offset);
  const quarters = i32x4.splat(quarter);
  const masks = i32x4.splat(mask);
  const ones = i32x4.splat(1);
  const negate = i32x4.splat(sign < 0 ? -1 : 0);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    const u = v128.and(i32x4.add(v128.load(v + o), shiftIn), masks);
    let x = i32x4.sub(i32x4.mul(i32x4.sub(u, quarters), v128.load(w + o)), v128.load(high + o));
    if (carry) {
      const b = i32x4.sub(i32x4.shr_u(u, width - 1), ones);
      x = i32x4.add(x, i32x4.shl(v128.and(b, v128.load(carry + o)), width));
    }
    const flip = v128.xor(lanes(turn, i), negate);
    x = i32x4.sub(v128.xor(x, flip), flip);
    if (chosen) x = v128.and(x, lanes(chosen, i));
    v128.store(out + o, i32x4.add(v128.load(out + o), x));
  }
  for (; i < end; i++) {
    if (chosen && !bitOf(chosen, i)) continue;
    const o = <usize>i << 2;
    const u = (load<i32>(v + o) + quarter - offset) & mask;
    let x = (u - quarter) * load<i32>(w + o) - load<i32>(high + o);
    if (carry) x += ((<i32>(<u32>u >> (width - 1)) - 1) & load<i32>(carry + o)) << width;
    store<i32>(out + o, load<i32>(out + o) + ((bitOf(turn, i) == 1) != (sign < 0) ? -x : x));
  }
}

/** plane[i] = 1 - top bit of (v[i] + 2^(width-2) mod 2^width): the bit b of the slack-bit truncation, width = bits - f. */
export function slackPlaneWords(plane: usize, v: usize, width: i32, begin: i32, end: i32): void {
  const quarter = i32x4.splat(1 << (width - 2));
  const up = 32 - width;
  let j = begin;
  for (; j + 8 <= end; j += 8) {
    const p = v + (<usize>j << 2);
    const a = i32x4.bitmask(i32x4.shl(i32x4.add(v128.load(p), quarter), up));
    const b = i32x4.bitmask(i32x4.shl(i32x4.add(v128.load(p + 16), quarter), up));
    store<u8>(plane + (j >> 3), <u8>~(a | (b << 4)));
  }
  if (j < end) {
    let byte: u32 = 0;
    for (let i = j; i < end; i++) {
      const u = load<i32>(v + (<usize>i << 2)) + (1 << (width - 2));
      byte |= (1 - ((<u32>u >> (width - 1)) & 1)) << (i - j);
    }
    store<u8>(plane + (j >> 3), <u8>byte);
  }
}

/** out[i] = addend[i] + (bit i of the plane ? words[i] : 0) */
export function addWhereBitWords(out: usize, addend: usize, words: usize, plane: usize, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(out + o, i32x4.add(v128.load(addend + o), v128.and(v128.load(words + o), lanes(plane, i))));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(out + o, load<i32>(addend + o) + (bitOf(plane, i) ? load<i32>(words + o) : 0));
  }
}

/** out[i] = base[i] + (words[i] << shift) */
export function addShiftedWords(out: usize, base: usize, words: usize, shift: i32, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(out + o, i32x4.add(v128.load(base + o), i32x4.shl(v128.load(words + o), shift)));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(out + o, load<i32>(base + o) + (load<i32>(words + o) << shift));
  }
}

/** out[i] = (v[i] + 2^(width-2) mod 2^width) - 2^(width-2) - words[i]: the A of the slack-bit truncation less a share. */
export function subQuarterWords(out: usize, v: usize, words: usize, width: i32, begin: i32, end: i32): void {
  const quarter: i32 = 1 << (width - 2);
  const mask: i32 = width == 32 ? -1 : (1 << width) - 1;
  const quarters = i32x4.splat(quarter);
  const masks = i32x4.splat(mask);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    const u = v128.and(i32x4.add(v128.load(v + o), quarters), masks);
    v128.store(out + o, i32x4.sub(i32x4.sub(u, quarters), v128.load(words + o)));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(out + o, ((load<i32>(v + o) + quarter) & mask) - quarter - load<i32>(words + o));
  }
}

/** Copies `rows` rows of `bytes` bytes between two strides. */
export function copyRows(dst: usize, dstStride: i32, src: usize, srcStride: i32, bytes: i32, rows: i32): void {
  if (dstStride == bytes && srcStride == bytes) {
    memory.copy(dst, src, <usize>bytes * rows);
    return;
  }
  for (let i = 0; i < rows; i++) memory.copy(dst + <usize>i * dstStride, src + <usize>i * srcStride, bytes);
}

/**
 * out = XOR over terms of the AND of the term's planes. `list` holds for each term its number of planes and their byte offsets (32-bit words).
 * A term of no planes counts as all ones. Works on bytes [begin, end), multiples of 16.
 */
export function evaluateTerms(out: usize, list: usize, terms: i32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i += 16) {
    let sum = i8x16.splat(0);
    let at = list;
    for (let t = 0; t < terms; t++) {
      const planes = load<i32>(at);
      at += 4;
      let product = i8x16.splat(-1);
      for (let p = 0; p < planes; p++) {
        product = v128.and(product, v128.load(<usize>load<u32>(at) + i));
        at += 4;
      }
      sum = v128.xor(sum, product);
    }
    v128.store(out + i, sum);
  }
}
