// Comparison and truncation with words of 64 bits: the twins of compare.ts, under the same rules.

@inline
function bitOf(plane: usize, j: i32): u64 {
  return (<u64>load<u8>(plane + (j >> 3)) >> (j & 7)) & 1;
}

/** The low `bits` bits. */
@inline
function low(bits: i32): u64 {
  return bits == 64 ? <u64>-1 : (<u64>1 << bits) - 1;
}

/** words[j] = bit j of the plane - words[j] */
export function bitMinusLongs(words: usize, plane: usize, begin: i32, end: i32): void {
  for (let j = begin; j < end; j++) {
    const p = words + (<usize>j << 3);
    store<u64>(p, bitOf(plane, j) - load<u64>(p));
  }
}

/** As shareTruncationWords. */
export function shareTruncationLongs(mask: usize, plane: usize, high: usize, carry: usize, bits: i32, f: i32, begin: i32, end: i32): void {
  const ring = low(bits);
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    let m = load<u64>(mask + o) & ring;
    if (plane) m &= -bitOf(plane, i);
    store<u64>(high + o, (m >> f) - load<u64>(high + o));
    if (carry) store<u64>(carry + o, (m >> (bits - 1)) - load<u64>(carry + o));
  }
}

/** As selectTruncatedWords; `offset` is a double, which holds every integer below 2^53. */
export function selectTruncatedLongs(
  out: usize, addend: usize, v: usize, z: usize, h1: usize, c1: usize, h2: usize, c2: usize, s5: usize,
  bits: i32, f: i32, offset: f64, sign: i32, first: i32, begin: i32, end: i32,
): void {
  const width = bits - f;
  const quarter: u64 = <u64>1 << (width - 2);
  const mask = low(width);
  const shiftIn = quarter - <u64>offset;
  const include: u64 = first ? <u64>-1 : 0;
  const negate: u64 = sign < 0 ? <u64>-1 : 0;
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    const u = (load<u64>(v + o) + shiftIn) & mask;
    const a = u - quarter;
    let flipped = a * load<u64>(s5 + o) - load<u64>(h2 + o);
    let straight = (a & include) - load<u64>(h1 + o);
    if (c1) {
      const b = (u >> (width - 1)) - 1;
      flipped += (b & load<u64>(c2 + o)) << width;
      straight += (b & load<u64>(c1 + o)) << width;
    }
    const x = flipped + (-bitOf(z, i) & (straight - flipped - flipped));
    store<u64>(out + o, load<u64>(addend + o) + ((x ^ negate) - negate));
  }
}

/** As addTruncatedWords; `offset` is a double. */
export function addTruncatedLongs(
  out: usize, v: usize, chosen: usize, turn: usize, high: usize, carry: usize, w: usize,
  bits: i32, f: i32, offset: f64, sign: i32, begin: i32, end: i32,
): void {
  const width = bits - f;
  const quarter: u64 = <u64>1 << (width - 2);
  const mask = low(width);
  const shiftIn = quarter - <u64>offset;
  const negate: u64 = sign < 0 ? <u64>-1 : 0;
  for (let i = begin; i < end; i++) {
    if (chosen && !bitOf(chosen, i)) continue;
    const o = <usize>i << 3;
    const u = (load<u64>(v + o) + shiftIn) & mask;
    let x = (u - quarter) * load<u64>(w + o) - load<u64>(high + o);
    if (carry) x += (((u >> (width - 1)) - 1) & load<u64>(carry + o)) << width;
    const flip = -bitOf(turn, i) ^ negate;
    store<u64>(out + o, load<u64>(out + o) + ((x ^ flip) - flip));
  }
}

/** As slackPlaneWords. */
export function slackPlaneLongs(plane: usize, v: usize, width: i32, begin: i32, end: i32): void {
  const quarter: u64 = <u64>1 << (width - 2);
  for (let j = begin; j < end; j += 8) {
    let byte: u32 = 0;
    for (let i = j; i < min(end, j + 8); i++) {
      const u = load<u64>(v + (<usize>i << 3)) + quarter;
      byte |= (1 - (<u32>(u >> (width - 1)) & 1)) << (i - j);
    }
    store<u8>(plane + (j >> 3), <u8>byte);
  }
}

/** out[i] = addend[i] + (bit i of the plane ? words[i] : 0) */
export function addWhereBitLongs(out: usize, addend: usize, words: usize, plane: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<u64>(out + o, load<u64>(addend + o) + (load<u64>(words + o) & -bitOf(plane, i)));
  }
}

/** out[i] = base[i] + (words[i] << shift) */
export function addShiftedLongs(out: usize, base: usize, words: usize, shift: i32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<u64>(out + o, load<u64>(base + o) + (load<u64>(words + o) << shift));
  }
}

/** out[i] = (v[i] + 2^(width-2) mod 2^width) - 2^(width-2) - words[i] */
export function subQuarterLongs(out: usize, v: usize, words: usize, width: i32, begin: i32, end: i32): void {
  const quarter: u64 = <u64>1 << (width - 2);
  const mask = low(width);
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    store<u64>(out + o, ((load<u64>(v + o) + quarter) & mask) - quarter - load<u64>(words + o));
  }
}
