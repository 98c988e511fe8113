// Selection by a shared bit, in ring words of 32 and of 64 bits.

/** The dealer's share of flags times words: dst[i] = flags[i] words[i] - drawn[i]; `words` = 0 stands for ones. */
export function shareSelectionWords(dst: usize, flags: usize, words: usize, drawn: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 2;
    const taken = -(<i32>load<u8>(flags + i)) & (words ? load<i32>(words + o) : 1);
    store<i32>(dst + o, taken - load<i32>(drawn + o));
  }
}

/** The same in 64 bits. */
export function shareSelectionLongs(dst: usize, flags: usize, words: usize, drawn: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    const taken = -(<i64>load<u8>(flags + i)) & (words ? load<i64>(words + o) : 1);
    store<i64>(dst + o, taken - load<i64>(drawn + o));
  }
}

/**
 * One party's share of (1 xor turn xor g) y: turn is known to both, g and g m are shared, opened = y + m is known to both. `offset` is taken off
 * the opened value, and off the share y of the party that is `offsets`. It is stored in dst where `sign` is 0, else added `sign` times.
 */
export function selectWords(
  dst: usize,
  turn: usize,
  opened: usize,
  y: usize,
  g: usize,
  masked: usize,
  offset: i32,
  offsets: i32,
  sign: i32,
  begin: i32,
  end: i32,
): void {
  const own = offsets ? offset : 0;
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 2;
    const t = -(<i32>load<u8>(turn + i));
    const product = (load<i32>(opened + o) - offset) * load<i32>(g + o) - load<i32>(masked + o);
    const x = ((load<i32>(y + o) - own) & ~t) + ((product ^ ~t) - ~t);
    store<i32>(dst + o, sign ? load<i32>(dst + o) + sign * x : x);
  }
}

/** The same in 64 bits; `offset` is a double, which holds every integer below 2^53. */
export function selectLongs(
  dst: usize,
  turn: usize,
  opened: usize,
  y: usize,
  g: usize,
  masked: usize,
  offset: f64,
  offsets: i32,
  sign: i32,
  begin: i32,
  end: i32,
): void {
  const less = <i64>offset;
  const own: i64 = offsets ? less : 0;
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 3;
    const t = -(<i64>load<u8>(turn + i));
    const product = (load<i64>(opened + o) - less) * load<i64>(g + o) - load<i64>(masked + o);
    const x = ((load<i64>(y + o) - own) & ~t) + ((product ^ ~t) - ~t);
    store<i64>(dst + o, sign ? load<i64>(dst + o) + <i64>sign * x : x);
  }
}
