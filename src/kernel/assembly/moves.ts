// The ways back through pools and moves of elements, one map (or picture) after the other.

/** dst[n][i] (+)= src[n][order[i]], or 0 where order[i] is negative, for pictures of `length` and `size` words. Items are pictures. */
export function gatherMaps(dst: usize, src: usize, order: usize, length: i32, size: i32, add: i32, begin: i32, end: i32): void {
  for (let n = begin; n < end; n++) {
    const from = src + ((<usize>n * size) << 2);
    const to = dst + ((<usize>n * length) << 2);
    for (let i: usize = 0; i < <usize>length << 2; i += 4) {
      const at = load<i32>(order + i);
      const value: f32 = at < 0 ? 0 : load<f32>(from + (<usize>at << 2));
      store<f32>(to + i, add ? value + load<f32>(to + i) : value);
    }
  }
}

/**
 * dst[map][i] (+)= the sum of g[map][o] * shares[o] over the pairs (o, i) of a pool; `pairs` of them. Items are maps.
 */
export function spreadPool(dst: usize, g: usize, taps: usize, pairs: i32, shares: usize, outputs: i32, inputs: i32, add: i32, begin: i32, end: i32): void {
  for (let map = begin; map < end; map++) {
    const from = g + ((<usize>map * outputs) << 2);
    const to = dst + ((<usize>map * inputs) << 2);
    if (!add) memory.fill(to, 0, <usize>inputs << 2);
    for (let k: usize = 0; k < <usize>pairs << 3; k += 8) {
      const o = <usize>load<i32>(taps + k) << 2;
      const i = to + (<usize>load<i32>(taps + k, 4) << 2);
      store<f32>(i, load<f32>(i) + load<f32>(from + o) * load<f32>(shares + o));
    }
  }
}

/**
 * As spreadPool, to the first of each window's greatest values of x, whose `maps` maps g repeats. Pairs are in order of their outputs; an
 * output without a pair gives nothing.
 */
export function spreadMaxima(dst: usize, g: usize, x: usize, maps: i32, taps: usize, pairs: i32, outputs: i32, inputs: i32, add: i32, begin: i32, end: i32): void {
  for (let map = begin; map < end; map++) {
    const values = x + ((<usize>(map % maps) * inputs) << 2);
    const from = g + ((<usize>map * outputs) << 2);
    const to = dst + ((<usize>map * inputs) << 2);
    if (!add) memory.fill(to, 0, <usize>inputs << 2);
    let k = 0;
    while (k < pairs) {
      const o = load<i32>(taps + (<usize>k << 3));
      let best = load<i32>(taps + (<usize>k << 3), 4);
      let most = load<f32>(values + (<usize>best << 2));
      for (k++; k < pairs && load<i32>(taps + (<usize>k << 3)) == o; k++) {
        const i = load<i32>(taps + (<usize>k << 3), 4);
        const value = load<f32>(values + (<usize>i << 2));
        if (value > most) {
          most = value;
          best = i;
        }
      }
      const at = to + (<usize>best << 2);
      store<f32>(at, load<f32>(at) + load<f32>(from + (<usize>o << 2)));
    }
  }
}

/** Adds maps of rows * columns to every strideY-th row and strideX-th column of maps of height * width, from (firstY, firstX) on. Items are maps. */
export function addPhases(dst: usize, part: usize, rows: i32, columns: i32, height: i32, width: i32, firstY: i32, firstX: i32, strideY: i32, strideX: i32, begin: i32, end: i32): void {
  const step = <usize>strideX << 2;
  for (let map = begin; map < end; map++) {
    let from = part + ((<usize>map * rows * columns) << 2);
    const to = dst + ((<usize>map * height * width) << 2);
    for (let y = 0; y < rows; y++) {
      let at = to + (<usize>((firstY + y * strideY) * width + firstX) << 2);
      for (let x = 0; x < columns; x++, from += 4, at += step) store<f32>(at, load<f32>(at) + load<f32>(from));
    }
  }
}
