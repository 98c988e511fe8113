// Digits of Z_p for private compare (p < 128). Sixteen elements make a tile; row i of a tile is digit i of its elements, a byte each, lowest
// bit first. On the wire `perWord` rows share a 32-bit word an element in base p, and the last rows take no more bytes than they need.
import { scratch } from './scratch';

let bits: i32 = 0;
let prime: i32 = 0;
let perWord: i32 = 0;
let lastBytes: i32 = 0;
let magic: u32 = 0;
let shift: i32 = 0;
let tileBytes: usize = 0;

/** Reads the record of a window's code: bits, prime, digits per word, bytes of the last group, multiplier and shift of division by p. */
function open(record: usize): void {
  bits = load<i32>(record);
  prime = load<i32>(record, 4);
  perWord = load<i32>(record, 8);
  lastBytes = load<i32>(record, 12);
  magic = load<u32>(record, 16);
  shift = load<i32>(record, 20);
  const groups = (bits + perWord - 1) / perWord;
  tileBytes = (<usize>(groups - 1) << 6) + (<usize>lastBytes << 4);
}

/** v mod m in every lane, for v < 2^15 and inverse = round(2^15 / m). */
@inline
function reduce(v: v128, m: v128, inverse: v128): v128 {
  const r = i16x8.sub(v, i16x8.mul(i16x8.q15mulr_sat_s(v, inverse), m));
  const positive = i16x8.min_u(r, i16x8.add(r, m));
  return i16x8.min_u(positive, i16x8.sub(positive, m));
}

/** Gives every draw of one row that is over the limit the next good one of the tile's reserve; returns what is left of the reserve. */
function redraw(row: usize, limit: i32, reserve: usize, end: usize): usize {
  for (let at = row; at < row + 32; at += 2) {
    let value = <i32>load<u16>(at) & 0x7fff;
    while (value >= limit && reserve < end) {
      value = <i32>load<u16>(reserve) & 0x7fff;
      reserve += 2;
    }
    store<u16>(at, <u16>(value >= limit ? value - limit : value));
  }
  return reserve;
}

/**
 * Sixteen uniform bytes in [add, add + modulus) a row. A draw takes 15 of 16 bits of the stream and is rejected at the largest multiple of the
 * modulus; `rows` * 32 bytes of draws are followed by a reserve of 64.
 */
function sample(dst: usize, stream: usize, rows: i32, modulus: i32, add: i32): void {
  const limit = (32768 / modulus) * modulus;
  const last = i16x8.splat(<i16>(limit - 1));
  const m = i16x8.splat(<i16>modulus);
  const inverse = i16x8.splat(<i16>((32768 + (modulus >> 1)) / modulus));
  const low = i16x8.splat(0x7fff);
  const offset = i8x16.splat(<i8>add);
  let reserve = stream + (<usize>rows << 5);
  const end = reserve + 64;
  for (let row = 0; row < rows; row++) {
    let a = v128.and(v128.load(stream), low);
    let b = v128.and(v128.load(stream, 16), low);
    if (v128.any_true(v128.or(i16x8.gt_s(a, last), i16x8.gt_s(b, last)))) {
      reserve = redraw(stream, limit, reserve, end);
      a = v128.load(stream);
      b = v128.load(stream, 16);
    }
    v128.store(dst, i8x16.add(i8x16.narrow_i16x8_u(reduce(a, m, inverse), reduce(b, m, inverse)), offset));
    dst += 16;
    stream += 32;
  }
}

/** Rows of the bits of sixteen words, lowest first. */
function bitRows(dst: usize, words: usize): void {
  const one = i8x16.splat(1);
  const bytes = scratch + 15360;
  for (let first = 0; first < bits; first += 8) {
    for (let lane: usize = 0; lane < 16; lane++) store<u8>(bytes + lane, load<u8>(words + (lane << 3) + (first >> 3)));
    const column = v128.load(bytes);
    const stop = min(first + 8, bits);
    for (let i = first; i < stop; i++) v128.store(dst + (<usize>i << 4), v128.and(i8x16.shr_u(column, i - first), one));
  }
}

/** w = w * p + row, for four lanes of 32 bits. */
@inline
function shiftIn(w: v128, row: v128, p: v128): v128 {
  return i32x4.add(i32x4.mul(w, p), row);
}

/** Packs a tile's rows. */
function packRows(dst: usize, rows: usize): void {
  const p = i32x4.splat(prime);
  for (let first = 0; first < bits; first += perWord) {
    const stop = min(first + perWord, bits);
    let a = i32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    for (let i = stop - 1; i >= first; i--) {
      const row = v128.load(rows + (<usize>i << 4));
      const low = i16x8.extend_low_i8x16_u(row);
      const high = i16x8.extend_high_i8x16_u(row);
      a = shiftIn(a, i32x4.extend_low_i16x8_u(low), p);
      b = shiftIn(b, i32x4.extend_high_i16x8_u(low), p);
      c = shiftIn(c, i32x4.extend_low_i16x8_u(high), p);
      d = shiftIn(d, i32x4.extend_high_i16x8_u(high), p);
    }
    const whole = stop < bits || lastBytes == 4;
    const to = whole ? dst : scratch + 15360;
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
    if (!whole) {
      for (let lane: usize = 0; lane < 16; lane++) {
        const word = load<u32>(to + (lane << 2));
        for (let byte = 0; byte < lastBytes; byte++) store<u8>(dst++, <u8>(word >> (byte << 3)));
      }
    }
    dst += 64;
  }
}

/** floor(w / p) in every lane. */
@inline
function divide(w: v128, m: v128, s: i32): v128 {
  const low = i64x2.extmul_low_i32x4_u(w, m);
  const high = i64x2.extmul_high_i32x4_u(w, m);
  return i32x4.shr_u(i8x16.shuffle(low, high, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31), s);
}

/** The inverse of packRows. Digits are below p whatever the words are, but for the last of a word, which is below 128. */
function unpackRows(rows: usize, src: usize): void {
  const p = i32x4.splat(prime);
  const m = i32x4.splat(magic);
  const s = shift;
  for (let first = 0; first < bits; first += perWord) {
    const stop = min(first + perWord, bits);
    let from = src;
    if (stop == bits && lastBytes < 4) {
      from = scratch + 15360;
      for (let lane: usize = 0; lane < 16; lane++) {
        let word: u32 = 0;
        for (let byte = 0; byte < lastBytes; byte++) word |= <u32>load<u8>(src++) << (byte << 3);
        store<u32>(from + (lane << 2), word);
      }
    }
    let a = v128.load(from);
    let b = v128.load(from, 16);
    let c = v128.load(from, 32);
    let d = v128.load(from, 48);
    for (let i = first; i < stop; i++) {
      const qa = divide(a, m, s);
      const qb = divide(b, m, s);
      const qc = divide(c, m, s);
      const qd = divide(d, m, s);
      const low = i16x8.narrow_i32x4_u(i32x4.sub(a, i32x4.mul(qa, p)), i32x4.sub(b, i32x4.mul(qb, p)));
      const high = i16x8.narrow_i32x4_u(i32x4.sub(c, i32x4.mul(qc, p)), i32x4.sub(d, i32x4.mul(qd, p)));
      v128.store(rows + (<usize>i << 4), i8x16.narrow_i16x8_u(low, high));
      a = qa;
      b = qb;
      c = qc;
      d = qd;
    }
    src += 64;
  }
}

/** Moves digit i of every element to place (i + turn) mod bits, by a barrel shifter: no address depends on a turn. Returns where the rows are. */
function rotateRows(rows: usize, spare: usize, turn: usize): usize {
  const turns = v128.load(turn);
  for (let step = 1; step < bits; step <<= 1) {
    const moved = i8x16.ne(v128.and(turns, i8x16.splat(<i8>step)), i8x16.splat(0));
    let from = bits - step;
    for (let i = 0; i < bits; i++) {
      const kept = v128.load(rows + (<usize>i << 4));
      v128.store(spare + (<usize>i << 4), v128.bitselect(v128.load(rows + (<usize>from << 4)), kept, moved));
      if (++from == bits) from = 0;
    }
    const done = spare;
    spare = rows;
    rows = done;
  }
  return rows;
}

/** Bytes a tile of `rows` rows draws. */
@inline
function drawnBytes(rows: i32): usize {
  return (<usize>rows << 5) + 64;
}

/** Places in scratch: rows of a tile. */
@inline
function rowsAt(index: usize): usize {
  return scratch + index * 1024;
}

/**
 * The dealer's shares of words' bits: dst[tile] = bit - (the share drawn from `stream`) mod p, packed. Words are 64 bits each, whole tiles of
 * them; items are tiles.
 */
export function shareBits(record: usize, dst: usize, words: usize, stream: usize, begin: i32, end: i32): void {
  open(record);
  const p = i8x16.splat(<i8>prime);
  const drawn = rowsAt(0);
  const rows = rowsAt(1);
  for (let tile = begin; tile < end; tile++) {
    sample(drawn, stream + <usize>tile * drawnBytes(bits), bits, prime, 0);
    bitRows(rows, words + (<usize>tile << 7));
    for (let at: usize = 0; at < <usize>bits << 4; at += 16) {
      const sum = i8x16.add(v128.load(rows + at), i8x16.sub(p, v128.load(drawn + at)));
      v128.store(rows + at, i8x16.min_u(sum, i8x16.sub(sum, p)));
    }
    packRows(dst + <usize>tile * tileBytes, rows);
  }
}

/**
 * One tile of compareDigits: d = s c +- u, with c this party's share of r_i - x_i + 1 + sum of (x_k xor r_k) over the bits above (or, where beta
 * is set, of x_i - t_i + 1 + ...). z holds r's or t's bits.
 */
function maskRows(x: usize, z: usize, s: usize, u: usize, second: bool, beta: v128, corner: v128): void {
  const p = i8x16.splat(<i8>prime);
  const p16 = i16x8.splat(<i16>prime);
  const inverse = i16x8.splat(<i16>((32768 + (prime >> 1)) / prime));
  const zero = i8x16.splat(0);
  const one = i8x16.splat(second ? 1 : 0);
  let above = one;
  for (let at = <usize>(bits - 1) << 4; ; at -= 16) {
    const xi = v128.load(x + at);
    const zi = v128.load(z + at);
    const mine = v128.and(zi, one);
    const minus = i8x16.sub(p, xi);
    const straight = i8x16.add(minus, mine);
    const turned = i8x16.add(xi, i8x16.sub(p, mine));
    let c = i8x16.add(v128.bitselect(turned, straight, beta), above);
    c = i8x16.min_u(c, i8x16.sub(c, p));
    c = i8x16.min_u(c, i8x16.sub(c, p));
    c = v128.bitselect(at == 0 ? zero : one, c, corner);
    const differ = i8x16.add(v128.bitselect(minus, xi, i8x16.ne(zi, zero)), mine);
    above = i8x16.add(above, differ);
    above = i8x16.min_u(above, i8x16.sub(above, p));
    above = i8x16.min_u(above, i8x16.sub(above, p));
    const si = v128.load(s + at);
    const ui = v128.load(u + at);
    const product = i8x16.narrow_i16x8_u(
      reduce(i16x8.extmul_low_i8x16_u(si, c), p16, inverse),
      reduce(i16x8.extmul_high_i8x16_u(si, c), p16, inverse),
    );
    const sum = i8x16.add(product, second ? i8x16.sub(p, ui) : ui);
    v128.store(x + at, i8x16.min_u(sum, i8x16.sub(sum, p)));
    if (at == 0) break;
  }
}

/**
 * What a party sends to the provider in private compare, packed: its shares of all digits' masked sums, re-randomised and turned round. `z` are
 * words (r, or r + 1 mod 2^n where the byte `beta` is 1), whole tiles of them. Its shares of x's bits are drawn from `stream` for the tiles
 * [firstDrawn, endDrawn) and unpacked from `message` for the others.
 * `masks`: for each tile the draws of s, u (a row a bit) and of the turn, with their reserves. Items are tiles.
 */
export function compareDigits(
  record: usize,
  dst: usize,
  z: usize,
  beta: usize,
  stream: usize,
  message: usize,
  firstDrawn: i32,
  endDrawn: i32,
  masks: usize,
  second: i32,
  begin: i32,
  end: i32,
): void {
  open(record);
  const x = rowsAt(0);
  const zRows = rowsAt(1);
  const s = rowsAt(2);
  const u = rowsAt(3);
  const turn = rowsAt(4);
  const each = 2 * drawnBytes(bits) + drawnBytes(1);
  for (let tile = begin; tile < end; tile++) {
    if (tile >= firstDrawn && tile < endDrawn) sample(x, stream + <usize>(tile - firstDrawn) * drawnBytes(bits), bits, prime, 0);
    else unpackRows(x, message + <usize>(tile < firstDrawn ? tile : tile - (endDrawn - firstDrawn)) * tileBytes);
    bitRows(zRows, z + (<usize>tile << 7));
    const from = masks + <usize>tile * each;
    sample(s, from, bits, prime - 1, 1);
    sample(u, from + drawnBytes(bits), bits, prime, 0);
    sample(turn, from + 2 * drawnBytes(bits), 1, bits, 0);
    const flags = i8x16.ne(v128.load(beta + (<usize>tile << 4)), i8x16.splat(0));
    maskRows(x, zRows, s, u, second != 0, flags, v128.and(flags, isZero(z + (<usize>tile << 7))));
    packRows(dst + <usize>tile * tileBytes, rotateRows(x, zRows, turn));
  }
}

/** 0xff for each of sixteen words that is 0. */
function isZero(words: usize): v128 {
  const at = scratch + 15360;
  for (let lane: usize = 0; lane < 16; lane++) store<u8>(at + lane, load<u64>(words + (lane << 3)) == 0 ? 0xff : 0);
  return v128.load(at);
}

/** dst[element] = 1 where some digit of a + b is 0 mod p, else 0: what the provider learns of a comparison. Items are tiles. */
export function findZeros(record: usize, dst: usize, a: usize, b: usize, begin: i32, end: i32): void {
  open(record);
  const p = i8x16.splat(<i8>prime);
  const zero = i8x16.splat(0);
  const first = rowsAt(0);
  const second = rowsAt(1);
  for (let tile = begin; tile < end; tile++) {
    unpackRows(first, a + <usize>tile * tileBytes);
    unpackRows(second, b + <usize>tile * tileBytes);
    let found = zero;
    for (let at: usize = 0; at < <usize>bits << 4; at += 16) {
      const sum = i8x16.add(v128.load(first + at), v128.load(second + at));
      found = v128.or(found, v128.or(i8x16.eq(sum, zero), i8x16.eq(sum, p)));
    }
    v128.store(dst + (<usize>tile << 4), v128.and(found, i8x16.splat(1)));
  }
}
