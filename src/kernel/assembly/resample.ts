// Linear maps along one axis. Plain twin: resample-plain.ts.

/**
 * dst[o, inner] = sum over taps of weights[o mod length, tap] * src[outer, positions[o mod length, tap], inner], for rows o of all outer
 * parts. Items are rows of `inner` words.
 */
export function resampleWords(
  dst: usize, src: usize, positions: usize, weights: usize,
  taps: i32, length: i32, inputLength: i32, inner: i32,
  begin: i32, end: i32,
): void {
  for (let row = begin; row < end; row++) {
    const outer = row / length;
    const table = <usize>((row - outer * length) * taps) << 2;
    const from = src + (<usize>outer * <usize>inputLength * <usize>inner << 2);
    const to = dst + (<usize>row * <usize>inner << 2);
    for (let t = 0; t < taps; t++) {
      const w = load<i32>(weights + table + (<usize>t << 2));
      const at = from + (<usize>load<i32>(positions + table + (<usize>t << 2)) * <usize>inner << 2);
      const factor = i32x4.splat(w);
      let i = 0;
      for (; i + 4 <= inner; i += 4) {
        const o = <usize>i << 2;
        const product = i32x4.mul(v128.load(at + o), factor);
        v128.store(to + o, t == 0 ? product : i32x4.add(v128.load(to + o), product));
      }
      for (; i < inner; i++) {
        const o = <usize>i << 2;
        const product = load<i32>(at + o) * w;
        store<i32>(to + o, t == 0 ? product : load<i32>(to + o) + product);
      }
    }
  }
}

/** As resampleWords. */
export function resampleFloats(
  dst: usize, src: usize, positions: usize, weights: usize,
  taps: i32, length: i32, inputLength: i32, inner: i32,
  begin: i32, end: i32,
): void {
  for (let row = begin; row < end; row++) {
    const outer = row / length;
    const table = <usize>((row - outer * length) * taps) << 2;
    const from = src + (<usize>outer * <usize>inputLength * <usize>inner << 2);
    const to = dst + (<usize>row * <usize>inner << 2);
    for (let t = 0; t < taps; t++) {
      const w = load<f32>(weights + table + (<usize>t << 2));
      const at = from + (<usize>load<i32>(positions + table + (<usize>t << 2)) * <usize>inner << 2);
      const factor = f32x4.splat(w);
      let i = 0;
      for (; i + 4 <= inner; i += 4) {
        const o = <usize>i << 2;
        const product = f32x4.mul(v128.load(at + o), factor);
        v128.store(to + o, t == 0 ? product : f32x4.add(v128.load(to + o), product));
      }
      for (; i < inner; i++) {
        const o = <usize>i << 2;
        const product = load<f32>(at + o) * w;
        store<f32>(to + o, t == 0 ? product : load<f32>(to + o) + product);
      }
    }
  }
}

/** As resampleWords, on 64-bit words with 32-bit weights. */
export function resampleLongs(
  dst: usize, src: usize, positions: usize, weights: usize,
  taps: i32, length: i32, inputLength: i32, inner: i32,
  begin: i32, end: i32,
): void {
  for (let row = begin; row < end; row++) {
    const outer = row / length;
    const table = <usize>((row - outer * length) * taps) << 2;
    const from = src + (<usize>outer * <usize>inputLength * <usize>inner << 3);
    const to = dst + (<usize>row * <usize>inner << 3);
    for (let t = 0; t < taps; t++) {
      const w = <i64>load<i32>(weights + table + (<usize>t << 2));
      const at = from + (<usize>load<i32>(positions + table + (<usize>t << 2)) * <usize>inner << 3);
      for (let i = 0; i < inner; i++) {
        const o = <usize>i << 3;
        store<i64>(to + o, (t == 0 ? 0 : load<i64>(to + o)) + load<i64>(at + o) * w);
      }
    }
  }
}
