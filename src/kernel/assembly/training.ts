// Element-wise passes and sums of training: batch norm, gates, the update of weights, and weights in another order.

/** The sum of a vector's lanes, in doubles. */
@inline
function total(v: v128): f64 {
  return <f64>f32x4.extract_lane(v, 0) + <f64>f32x4.extract_lane(v, 1) + (<f64>f32x4.extract_lane(v, 2) + <f64>f32x4.extract_lane(v, 3));
}

/** Elements that are summed in single precision before they go to a double. */
const run: i32 = 512;

/**
 * sums[c] = [sum of x - shift, sum of (x - shift)^2] over pictures and positions of channel c of x [batch, channels, size]; shifts[c] is the
 * channel's first value, which keeps the squares from cancelling. Items are channels.
 */
export function channelMoments(x: usize, batch: i32, channels: i32, size: i32, sums: usize, begin: i32, end: i32): void {
  for (let c = begin; c < end; c++) {
    const first = load<f32>(x + ((<usize>c * size) << 2));
    const shift = f32x4.splat(first);
    let sum: f64 = 0;
    let squares: f64 = 0;
    for (let n = 0; n < batch; n++) {
      const map = x + (((<usize>n * channels + c) * size) << 2);
      for (let from = 0; from < size; from += run) {
        const to = min(size, from + run);
        let s0 = f32x4.splat(0);
        let s1 = f32x4.splat(0);
        let q0 = f32x4.splat(0);
        let q1 = f32x4.splat(0);
        let i = from;
        for (; i + 8 <= to; i += 8) {
          const at = map + (<usize>i << 2);
          const v0 = f32x4.sub(v128.load(at), shift);
          const v1 = f32x4.sub(v128.load(at, 16), shift);
          s0 = f32x4.add(s0, v0);
          s1 = f32x4.add(s1, v1);
          q0 = f32x4.add(q0, f32x4.mul(v0, v0));
          q1 = f32x4.add(q1, f32x4.mul(v1, v1));
        }
        for (; i < to; i++) {
          const v = load<f32>(map + (<usize>i << 2)) - first;
          sum += <f64>v;
          squares += <f64>v * <f64>v;
        }
        sum += total(f32x4.add(s0, s1));
        squares += total(f32x4.add(q0, q1));
      }
    }
    store<f64>(sums + (<usize>c << 4), sum);
    store<f64>(sums + (<usize>c << 4), squares, 8);
  }
}

/** sums[c] = [sum of g, sum of g (x - means[c])] over pictures and positions of channel c. Items are channels. */
export function channelGradients(g: usize, x: usize, means: usize, batch: i32, channels: i32, size: i32, sums: usize, begin: i32, end: i32): void {
  for (let c = begin; c < end; c++) {
    const mean = load<f32>(means + (<usize>c << 2));
    const shift = f32x4.splat(mean);
    let sum: f64 = 0;
    let products: f64 = 0;
    for (let n = 0; n < batch; n++) {
      const offset = ((<usize>n * channels + c) * size) << 2;
      for (let from = 0; from < size; from += run) {
        const to = min(size, from + run);
        let s0 = f32x4.splat(0);
        let s1 = f32x4.splat(0);
        let q0 = f32x4.splat(0);
        let q1 = f32x4.splat(0);
        let i = from;
        for (; i + 8 <= to; i += 8) {
          const at = offset + (<usize>i << 2);
          const g0 = v128.load(g + at);
          const g1 = v128.load(g + at, 16);
          s0 = f32x4.add(s0, g0);
          s1 = f32x4.add(s1, g1);
          q0 = f32x4.add(q0, f32x4.mul(g0, f32x4.sub(v128.load(x + at), shift)));
          q1 = f32x4.add(q1, f32x4.mul(g1, f32x4.sub(v128.load(x + at, 16), shift)));
        }
        for (; i < to; i++) {
          const at = offset + (<usize>i << 2);
          const v = load<f32>(g + at);
          sum += <f64>v;
          products += <f64>v * <f64>(load<f32>(x + at) - mean);
        }
        sum += total(f32x4.add(s0, s1));
        products += total(f32x4.add(q0, q1));
      }
    }
    store<f64>(sums + (<usize>c << 4), sum);
    store<f64>(sums + (<usize>c << 4), products, 8);
  }
}

/** dst = g * factors[c] + x * slopes[c] + offsets[c] for maps of `size`; with `add`, added to what is there. Items are maps. */
export function mixMaps(dst: usize, g: usize, x: usize, factors: usize, slopes: usize, offsets: usize, channels: i32, size: i32, add: i32, begin: i32, end: i32): void {
  for (let map = begin; map < end; map++) {
    const c = <usize>(map % channels) << 2;
    const a = load<f32>(factors + c);
    const b = load<f32>(slopes + c);
    const o = load<f32>(offsets + c);
    const a4 = f32x4.splat(a);
    const b4 = f32x4.splat(b);
    const o4 = f32x4.splat(o);
    let at = (<usize>map * size) << 2;
    const last = at + (<usize>size << 2);
    for (; at + 16 <= last; at += 16) {
      let v = f32x4.add(f32x4.add(f32x4.mul(v128.load(g + at), a4), f32x4.mul(v128.load(x + at), b4)), o4);
      if (add) v = f32x4.add(v, v128.load(dst + at));
      v128.store(dst + at, v);
    }
    for (; at < last; at += 4) {
      const v = load<f32>(g + at) * a + load<f32>(x + at) * b + o;
      store<f32>(dst + at, add ? v + load<f32>(dst + at) : v);
    }
  }
}

/** dst = g where 0 < y < cap, else 0, y being what a ReLU gave; with `add`, added to what is there. */
export function passPositive(dst: usize, g: usize, y: usize, cap: f32, add: i32, begin: i32, end: i32): void {
  const high = f32x4.splat(cap);
  const zero = f32x4.splat(0);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const at = <usize>i << 2;
    const v = v128.load(y + at);
    let passed = v128.and(v128.load(g + at), v128.and(f32x4.gt(v, zero), f32x4.lt(v, high)));
    if (add) passed = f32x4.add(passed, v128.load(dst + at));
    v128.store(dst + at, passed);
  }
  for (; i < end; i++) {
    const at = <usize>i << 2;
    const v = load<f32>(y + at);
    const passed: f32 = v > 0 && v < cap ? load<f32>(g + at) : 0;
    store<f32>(dst + at, add ? passed + load<f32>(dst + at) : passed);
  }
}

/** dst[i] = src[order[i]], or 0 where order[i] is negative. */
export function gatherWords(dst: usize, src: usize, order: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const at = load<i32>(order + (<usize>i << 2));
    store<i32>(dst + (<usize>i << 2), at < 0 ? 0 : load<i32>(src + (<usize>at << 2)));
  }
}

/**
 * One step of stochastic gradient descent: d = scale * gradient + decay * w; v = momentum * v + d; w -= rate * (nesterov ? d + momentum * v : v).
 */
export function descend(w: usize, gradient: usize, v: usize, scale: f32, decay: f32, momentum: f32, nesterov: i32, rate: f32, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const at = <usize>i << 2;
    const value = load<f32>(w + at);
    const d = scale * load<f32>(gradient + at) + decay * value;
    const velocity = momentum * load<f32>(v + at) + d;
    store<f32>(v + at, velocity);
    store<f32>(w + at, value - rate * (nesterov ? d + momentum * velocity : velocity));
  }
}

/** Four numbers in [0, 1), of 24 bits, for the elements from i on: counters through a 32-bit finaliser (constants of MurmurHash3's). */
@inline
function drawnFour(seed: i32, i: i32): v128 {
  let mixed = v128.xor(i32x4.splat(seed), i32x4.mul(i32x4.add(i32x4.splat(i), i32x4(0, 1, 2, 3)), i32x4.splat(0x9e3779b9)));
  mixed = i32x4.mul(v128.xor(mixed, i32x4.shr_u(mixed, 16)), i32x4.splat(0x85ebca6b));
  mixed = i32x4.mul(v128.xor(mixed, i32x4.shr_u(mixed, 13)), i32x4.splat(0xc2b2ae35));
  return f32x4.mul(f32x4.convert_i32x4_u(i32x4.shr_u(v128.xor(mixed, i32x4.shr_u(mixed, 16)), 8)), f32x4.splat(5.9604644775390625e-8));
}

/**
 * dst = the multiple of `unit` below or above src, at random with the probabilities that keep the mean. Whole vectors: both arrays have room
 * for them.
 */
export function roundRandomly(dst: usize, src: usize, unit: f32, seed: i32, begin: i32, end: i32): void {
  const u = f32x4.splat(unit);
  const inverse = f32x4.splat(1 / unit);
  for (let i = begin; i < end; i += 4) {
    const at = <usize>i << 2;
    const scaled = f32x4.add(f32x4.mul(v128.load(src + at), inverse), drawnFour(seed, i));
    v128.store(dst + at, f32x4.mul(f32x4.floor(scaled), u));
  }
}

/** dst = the multiple of `unit` nearest to src, ties to the even one. Whole vectors. */
export function roundNearest(dst: usize, src: usize, unit: f32, begin: i32, end: i32): void {
  const u = f32x4.splat(unit);
  const inverse = f32x4.splat(1 / unit);
  for (let i = begin; i < end; i += 4) {
    const at = <usize>i << 2;
    v128.store(dst + at, f32x4.mul(f32x4.nearest(f32x4.mul(v128.load(src + at), inverse)), u));
  }
}

/** dst = the multiple of units[row] nearest to src, for rows of `length`; a unit of 0 leaves a row as it is. Items are rows. */
export function roundRows(dst: usize, src: usize, units: usize, length: i32, begin: i32, end: i32): void {
  for (let row = begin; row < end; row++) {
    const unit = load<f32>(units + (<usize>row << 2));
    for (let at = (<usize>row * length) << 2; at < (<usize>(row + 1) * length) << 2; at += 4) {
      const value = load<f32>(src + at);
      store<f32>(dst + at, unit == 0 ? value : nearest<f32>(value / unit) * unit);
    }
  }
}
