// Element-wise kernels on 64-bit words, and packing of words of up to 64 bits for the wire: the twins of words.ts, under the same rules.
// Factors come as doubles, which hold every integer below 2^53: JavaScript passes no 64-bit integer but as a BigInt.

/** dst[i] = a[i] + b[i] */
export function addLongs(dst: usize, a: usize, b: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<i64>(dst + o, load<i64>(a + o) + load<i64>(b + o));
  }
}

/** dst[i] = a[i] - b[i] */
export function subLongs(dst: usize, a: usize, b: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<i64>(dst + o, load<i64>(a + o) - load<i64>(b + o));
  }
}

/** dst[i] = ((a[i] - b[i]) mod 2^bits), sign-extended */
export function differenceSignedLongs(dst: usize, a: usize, b: usize, bits: i32, begin: i32, end: i32): void {
  const up = 64 - bits;
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<i64>(dst + o, ((load<i64>(a + o) - load<i64>(b + o)) << up) >> up);
  }
}

/** dst[i] = (a[i] mod 2^bits), sign-extended */
export function signExtendLongs(dst: usize, a: usize, bits: i32, begin: i32, end: i32): void {
  const up = 64 - bits;
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<i64>(dst + o, (load<i64>(a + o) << up) >> up);
  }
}

/** dst[i] = a[i] as a double; exact below 2^53 in size */
export function longsToDoubles(dst: usize, a: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<f64>(dst + o, <f64>load<i64>(a + o));
  }
}

/** dst[i] = the whole number a[i], which is below 2^63 in size */
export function doublesToLongs(dst: usize, a: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<i64>(dst + o, <i64>load<f64>(a + o));
  }
}

/** dst[i] = factor * a[i] */
export function scaleLongs(dst: usize, a: usize, factor: f64, begin: i32, end: i32): void {
  const f = <i64>factor;
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<i64>(dst + o, f * load<i64>(a + o));
  }
}

/** dst[i] = dst[i] + factor * a[i] */
export function addScaledLongs(dst: usize, a: usize, factor: f64, begin: i32, end: i32): void {
  const f = <i64>factor;
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<i64>(dst + o, load<i64>(dst + o) + f * load<i64>(a + o));
  }
}

/** dst[i] = a[i] * b[i] */
export function productLongs(dst: usize, a: usize, b: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<i64>(dst + o, load<i64>(a + o) * load<i64>(b + o));
  }
}

/** dst[i] = dst[i] * factors[i % period]; the factors are 32-bit words */
export function multiplyPeriodicLongs(dst: usize, factors: usize, period: i32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<i64>(dst + o, load<i64>(dst + o) * <i64>load<i32>(factors + (<usize>(i % period) << 2)));
  }
}

/** dst[i] = (a[i] mod 2^bits) >> shift */
export function shiftLongs(dst: usize, a: usize, bits: i32, shift: i32, begin: i32, end: i32): void {
  const mask: u64 = bits == 64 ? <u64>-1 : (<u64>1 << bits) - 1;
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<u64>(dst + o, (load<u64>(a + o) & mask) >> shift);
  }
}

/** dst[i] = src[index[i]], or 0 where index[i] < 0; indices are 32-bit words */
export function gatherLongs(dst: usize, src: usize, index: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const at = load<i32>(index + (<usize>i << 2));
    store<i64>(dst + (<usize>i << 3), at < 0 ? 0 : load<i64>(src + (<usize>at << 3)));
  }
}

/** dst[index[i]] = src[i] */
export function scatterLongs(dst: usize, src: usize, index: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) store<i64>(dst + (<usize>load<i32>(index + (<usize>i << 2)) << 3), load<i64>(src + (<usize>i << 3)));
}

/** dst[index[i]] += src[i]; one thread only, two items may share a target */
export function scatterAddLongs(dst: usize, src: usize, index: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const at = dst + (<usize>load<i32>(index + (<usize>i << 2)) << 3);
    store<i64>(at, load<i64>(at) + load<i64>(src + (<usize>i << 3)));
  }
}

/** Writes the low `bits` bits of every word, least significant bit first, without gaps. Grain 32: a group of 32 words is 4 * bits bytes. */
export function packLongs(dst: usize, src: usize, bits: i32, begin: i32, end: i32): void {
  if (bits == 64) {
    memory.copy(dst + (<usize>begin << 3), src + (<usize>begin << 3), <usize>(end - begin) << 3);
    return;
  }
  const mask: u64 = ((<u64>1) << bits) - 1;
  let out = dst + ((<usize>begin * bits) >> 3);
  let held: u64 = 0;
  let count = 0;
  for (let i = begin; i < end; i++) {
    const word = load<u64>(src + (<usize>i << 3)) & mask;
    held |= word << count;
    count += bits;
    if (count >= 64) {
      store<u64>(out, held);
      out += 8;
      count -= 64;
      held = count > 0 ? word >> (bits - count) : 0;
    }
  }
  while (count > 0) {
    store<u8>(out, <u8>held);
    out += 1;
    held >>= 8;
    count -= 8;
  }
}

/** The inverse of packLongs; words come out in [0, 2^bits). Reads up to 8 bytes past the last group. */
export function unpackLongs(dst: usize, src: usize, bits: i32, begin: i32, end: i32): void {
  if (bits == 64) {
    memory.copy(dst + (<usize>begin << 3), src + (<usize>begin << 3), <usize>(end - begin) << 3);
    return;
  }
  const mask: u64 = ((<u64>1) << bits) - 1;
  let at: usize = <usize>begin * bits;
  for (let i = begin; i < end; i++) {
    const from = src + (at >> 3);
    const shift = <i32>(at & 7);
    let word = load<u64>(from) >> shift;
    if (shift + bits > 64) word |= <u64>load<u8>(from, 8) << (64 - shift);
    store<u64>(dst + (<usize>i << 3), word & mask);
    at += bits;
  }
}
