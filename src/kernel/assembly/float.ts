// Element-wise kernels on floats.

/** dst[i] = min(max(a[i], low), high) */
export function clipFloats(dst: usize, a: usize, low: f32, high: f32, begin: i32, end: i32): void {
  const l = f32x4.splat(low);
  const h = f32x4.splat(high);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(dst + o, f32x4.min(f32x4.max(v128.load(a + o), l), h));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<f32>(dst + o, min<f32>(max<f32>(load<f32>(a + o), low), high));
  }
}

/** dst[i] = a[i] where a[i] >= 0, else a[i] * slopes[(i / inner) % count] */
export function slopeFloats(dst: usize, a: usize, slopes: usize, count: i32, inner: i32, begin: i32, end: i32): void {
  let i = begin;
  while (i < end) {
    const run = i / inner;
    const slope = load<f32>(slopes + (<usize>(run % count) << 2));
    const last = min(end, (run + 1) * inner);
    const s = f32x4.splat(slope);
    const zero = f32x4.splat(0);
    for (; i + 4 <= last; i += 4) {
      const o = <usize>i << 2;
      const v = v128.load(a + o);
      v128.store(dst + o, v128.bitselect(f32x4.mul(v, s), v, f32x4.lt(v, zero)));
    }
    for (; i < last; i++) {
      const o = <usize>i << 2;
      const v = load<f32>(a + o);
      store<f32>(dst + o, v < 0 ? v * slope : v);
    }
  }
}

/** dst[i] = a[i] * scale + b[i] * otherScale */
export function addFloats(dst: usize, a: usize, scale: f32, b: usize, otherScale: f32, begin: i32, end: i32): void {
  const s = f32x4.splat(scale);
  const t = f32x4.splat(otherScale);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const o = <usize>i << 2;
    v128.store(dst + o, f32x4.add(f32x4.mul(v128.load(a + o), s), f32x4.mul(v128.load(b + o), t)));
  }
  for (; i < end; i++) {
    const o = <usize>i << 2;
    store<f32>(dst + o, load<f32>(a + o) * scale + load<f32>(b + o) * otherScale);
  }
}

/** dst[i] = a[i] * factors[c] + offsets[c] with c = (i / inner) % count */
export function scaleShiftFloats(dst: usize, a: usize, factors: usize, offsets: usize, count: i32, inner: i32, begin: i32, end: i32): void {
  let i = begin;
  while (i < end) {
    const run = i / inner;
    const c = <usize>(run % count) << 2;
    const factor = load<f32>(factors + c);
    const offset = load<f32>(offsets + c);
    const last = min(end, (run + 1) * inner);
    const f = f32x4.splat(factor);
    const s = f32x4.splat(offset);
    for (; i + 4 <= last; i += 4) {
      const o = <usize>i << 2;
      v128.store(dst + o, f32x4.add(f32x4.mul(v128.load(a + o), f), s));
    }
    for (; i < last; i++) {
      const o = <usize>i << 2;
      store<f32>(dst + o, load<f32>(a + o) * factor + offset);
    }
  }
}

/** dst[i] = a[i] * factors[i % period] */
export function multiplyFloats(dst: usize, a: usize, factors: usize, period: i32, begin: i32, end: i32): void {
  let at = begin % period;
  for (let i = begin; i < end; i++) {
    const o = <usize>i << 2;
    store<f32>(dst + o, load<f32>(a + o) * load<f32>(factors + (<usize>at << 2)));
    if (++at == period) at = 0;
  }
}
