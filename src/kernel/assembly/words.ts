// Element-wise kernels on 32-bit words, and packing of k-bit words for the wire. Every kernel works on items [begin, end);
// pointers are byte offsets on 16-byte boundaries and `begin` is a multiple of the grain its caller gives (a power of two >= 32).

/** Copies bytes whatever their alignment; JavaScript's own copy within shared memory goes byte by byte when the two differ in it. */
export function copyBytes(dst: usize, src: usize, bytes: i32): void {
  memory.copy(dst, src, bytes);
}

/** dst[i] = ((a[i] - b[i]) mod 2^bits), sign-extended */
export function differenceSignedWords(dst: usize, a: usize, b: usize, bits: i32, begin: i32, end: i32): void {
  const up = 32 - bits;
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(dst + o, i32x4.shr_s(i32x4.shl(i32x4.sub(v128.load(a + o), v128.load(b + o)), up), up));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(dst + o, ((load<i32>(a + o) - load<i32>(b + o)) << up) >> up);
  }
}

/** dst[i] = (a[i] mod 2^bits), sign-extended */
export function signExtendWords(dst: usize, a: usize, bits: i32, begin: i32, end: i32): void {
  const up = 32 - bits;
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(dst + o, i32x4.shr_s(i32x4.shl(v128.load(a + o), up), up));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(dst + o, (load<i32>(a + o) << up) >> up);
  }
}

/** dst[i] = a[i] + b[i] */
export function addWords(dst: usize, a: usize, b: usize, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(dst + o, i32x4.add(v128.load(a + o), v128.load(b + o)));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(dst + o, load<i32>(a + o) + load<i32>(b + o));
  }
}

/** dst[i] = a[i] - b[i] */
export function subWords(dst: usize, a: usize, b: usize, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(dst + o, i32x4.sub(v128.load(a + o), v128.load(b + o)));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(dst + o, load<i32>(a + o) - load<i32>(b + o));
  }
}

/** dst[i] = dst[i] + factor * a[i] */
export function addScaledWords(dst: usize, a: usize, factor: i32, begin: i32, end: i32): void {
  const f = i32x4.splat(factor);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(dst + o, i32x4.add(v128.load(dst + o), i32x4.mul(v128.load(a + o), f)));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(dst + o, load<i32>(dst + o) + factor * load<i32>(a + o));
  }
}

/** dst[i] = factor * a[i] */
export function scaleWords(dst: usize, a: usize, factor: i32, begin: i32, end: i32): void {
  const f = i32x4.splat(factor);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(dst + o, i32x4.mul(v128.load(a + o), f));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(dst + o, factor * load<i32>(a + o));
  }
}

/** dst[i] = a[i] * b[i] */
export function productWords(dst: usize, a: usize, b: usize, begin: i32, end: i32): void {
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(dst + o, i32x4.mul(v128.load(a + o), v128.load(b + o)));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(dst + o, load<i32>(a + o) * load<i32>(b + o));
  }
}

/** dst[i] = dst[i] * factors[i % period] */
export function multiplyPeriodicWords(dst: usize, factors: usize, period: i32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(dst + o, load<i32>(dst + o) * load<i32>(factors + (<usize>(i % period) << 2)));
  }
}

/** dst[i] = (a[i] mod 2^bits) >> shift */
export function shiftWords(dst: usize, a: usize, bits: i32, shift: i32, begin: i32, end: i32): void {
  const mask: i32 = bits == 32 ? -1 : (1 << bits) - 1;
  const m = i32x4.splat(mask);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(dst + o, i32x4.shr_u(v128.and(v128.load(a + o), m), shift));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<u32>(dst + o, (load<u32>(a + o) & <u32>mask) >> shift);
  }
}

/** dst[i] = src[index[i]], or 0 where index[i] < 0 */
export function gatherWords(dst: usize, src: usize, index: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 2;
    const at = load<i32>(index + o);
    store<i32>(dst + o, at < 0 ? 0 : load<i32>(src + (<usize>at << 2)));
  }
}

/** dst[index[i]] = src[i] */
export function scatterWords(dst: usize, src: usize, index: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 2;
    store<i32>(dst + (<usize>load<i32>(index + o) << 2), load<i32>(src + o));
  }
}

/** dst[index[i]] += src[i]; one thread only, two items may share a target */
export function scatterAddWords(dst: usize, src: usize, index: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 2;
    const at = dst + (<usize>load<i32>(index + o) << 2);
    store<i32>(at, load<i32>(at) + load<i32>(src + o));
  }
}

/** Writes the low `bits` bits of every word, least significant bit first, without gaps. Grain 32: a group of 32 words is 4 * bits bytes. */
export function packWords(dst: usize, src: usize, bits: i32, begin: i32, end: i32): void {
  if (bits == 32) {
    memory.copy(dst + (<usize>begin << 2), src + (<usize>begin << 2), <usize>(end - begin) << 2);
    return;
  }
  const mask: u64 = ((<u64>1) << bits) - 1;
  let out = dst + ((<usize>begin * bits) >> 3);
  let held: u64 = 0;
  let count = 0;
  for (let i = begin; i < end; i++) {
    held |= (<u64>load<u32>(src + (<usize>i << 2)) & mask) << count;
    count += bits;
    if (count >= 32) {
      store<u32>(out, <u32>held);
      out += 4;
      held >>= 32;
      count -= 32;
    }
  }
  while (count > 0) {
    store<u8>(out, <u8>held);
    out += 1;
    held >>= 8;
    count -= 8;
  }
}

/** The inverse of packWords; words come out in [0, 2^bits). Reads up to 7 bytes past the last group. */
export function unpackWords(dst: usize, src: usize, bits: i32, begin: i32, end: i32): void {
  if (bits == 32) {
    memory.copy(dst + (<usize>begin << 2), src + (<usize>begin << 2), <usize>(end - begin) << 2);
    return;
  }
  const mask: u64 = ((<u64>1) << bits) - 1;
  let at: usize = <usize>begin * bits;
  for (let i = begin; i < end; i++) {
    store<u32>(dst + (<usize>i << 2), <u32>((load<u64>(src + (at >> 3)) >> (at & 7)) & mask));
    at += bits;
  }
}
