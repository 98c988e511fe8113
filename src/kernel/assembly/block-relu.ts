// Block ReLU on maps, and what of a gradient it lets through. One comparison a patch: of the sum of its elements, in doubles.
import { scratch } from './scratch';

/** A number in [0, 1) for a comparison: a counter through a 32-bit finaliser (constants of MurmurHash3's), so that the way back draws it again. */
@inline
function drawn(seed: u32, map: u32, block: u32): f64 {
  let mixed = seed ^ (map * 0x9e3779b9) ^ (block * 0x85ebca77);
  mixed = (mixed ^ (mixed >> 16)) * 0x85ebca6b;
  mixed = (mixed ^ (mixed >> 13)) * 0xc2b2ae35;
  return <f64>(mixed ^ (mixed >> 16)) / 4294967296.0;
}

// Scratch memory: of each column of a map its sum over a band of patches, whether its patch passes, and whether that is cut at the cap.
const sumsAt: usize = 512;

@inline
function passingAt(width: i32): usize {
  return scratch + sumsAt + (<usize>(width + 3) << 3);
}

@inline
function cappedAt(width: i32): usize {
  return passingAt(width) + (<usize>(width + 3) << 2);
}

/** Sums of each column of rows [top, bottom). */
function sumColumns(map: usize, width: i32, top: i32, bottom: i32): void {
  const sums = scratch + sumsAt;
  let c = 0;
  for (; c + 4 <= width; c += 4) {
    let near = f64x2.splat(0);
    let far = f64x2.splat(0);
    for (let r = top; r < bottom; r++) {
      const x = v128.load(map + (<usize>(r * width + c) << 2));
      near = f64x2.add(near, f64x2.promote_low_f32x4(x));
      far = f64x2.add(far, f64x2.promote_low_f32x4(v128.shuffle<i32>(x, x, 2, 3, 2, 3)));
    }
    v128.store(sums + (<usize>c << 3), near);
    v128.store(sums + (<usize>c << 3), far, 16);
  }
  for (; c < width; c++) {
    let sum: f64 = 0;
    for (let r = top; r < bottom; r++) sum += <f64>load<f32>(map + (<usize>(r * width + c) << 2));
    store<f64>(sums + (<usize>c << 3), sum);
  }
}

/**
 * As compareBand where nothing is capped, mixed or drawn and patches are 1, 2 or a multiple of 4 columns wide, as many as divide the map's: four
 * columns at a time.
 */
function compareVectors(map: usize, width: i32, top: i32, bottom: i32, patchWidth: i32): void {
  sumColumns(map, width, top, bottom);
  const zero = f64x2.splat(0);
  const end = scratch + sumsAt + (<usize>width << 3);
  let passing = passingAt(width);
  for (let from = scratch + sumsAt; from < end; ) {
    let near = v128.load(from);
    let far = v128.load(from, 16);
    if (patchWidth <= 2) {
      if (patchWidth == 2) {
        near = f64x2.add(near, v128.shuffle<i64>(near, near, 1, 0));
        far = f64x2.add(far, v128.shuffle<i64>(far, far, 1, 0));
      }
      v128.store(passing, v128.shuffle<i32>(f64x2.ge(near, zero), f64x2.ge(far, zero), 0, 2, 4, 6));
      from += 32;
      passing += 16;
      continue;
    }
    near = f64x2.add(near, far);
    const to = from + (<usize>patchWidth << 3);
    for (from += 32; from < to; from += 32) near = f64x2.add(near, f64x2.add(v128.load(from), v128.load(from, 16)));
    const passes = f64x2.ge(f64x2.add(near, v128.shuffle<i64>(near, near, 1, 0)), zero);
    for (let c = 0; c < patchWidth; c += 4, passing += 16) v128.store(passing, passes);
  }
}

/** Rows of a band where the masks of compareVectors let them pass, 0 elsewhere. */
function passRows(dst: usize, from: usize, width: i32, top: i32, bottom: i32): void {
  const passing = passingAt(width);
  for (let r = top; r < bottom; r++) {
    const row = <usize>(r * width) << 2;
    for (let at: usize = 0; at < <usize>width << 2; at += 16) {
      v128.store(dst + row + at, v128.and(v128.load(from + row + at), v128.load(passing + at)));
    }
  }
}

/** Whether compareVectors and passRows do for a map. */
@inline
function isVector(width: i32, patchWidth: i32, cap: f32, alpha: f32, flip: f64): bool {
  const narrow = patchWidth <= 2 && (width & 3) == 0;
  return alpha == 0 && flip == 0 && cap == Infinity && (narrow || ((patchWidth & 3) == 0 && width % patchWidth == 0));
}

/** The comparisons of a band of patches, as masks of its columns. Returns the number of the patch after the last. */
function compareBand(map: usize, width: i32, top: i32, bottom: i32, patchWidth: i32, cap: f32, flip: f64, seed: u32, mapNumber: u32, block: u32): u32 {
  sumColumns(map, width, top, bottom);
  const end = scratch + sumsAt + (<usize>width << 3);
  const step = <usize>patchWidth << 3;
  const limit = <f64>cap * <f64>(bottom - top);
  let passing = passingAt(width);
  let capped = cappedAt(width);
  for (let from = scratch + sumsAt; from < end; from += step, block++) {
    const to = min(end, from + step);
    let sum = load<f64>(from);
    for (let at = from + 8; at < to; at += 8) sum += load<f64>(at);
    const least = flip > 0 ? -flip * drawn(seed, mapNumber, block) : 0;
    const above = -<i32>(sum >= least);
    // Never where there is no cap: the limit is infinite.
    const beyond = above & -<i32>(sum >= limit * <f64>((to - from) >> 3) + least);
    const inside = above & ~beyond;
    for (let at = from; at < to; at += 8) {
      store<i32>(passing, inside);
      store<i32>(capped, beyond);
      passing += 4;
      capped += 4;
    }
  }
  return block;
}

/** alpha * plain ReLU + rest * what the patch gives. */
@inline
function mixed(x: v128, passing: v128, capped: v128, cap: v128, alpha: v128, rest: v128): v128 {
  const shared = v128.or(v128.and(x, passing), v128.and(cap, capped));
  const plain = f32x4.min(f32x4.max(x, f32x4.splat(0)), cap);
  return f32x4.add(f32x4.mul(alpha, plain), f32x4.mul(rest, shared));
}

/** One map in patches: each gives alpha * plain ReLU + (1 - alpha) * its elements, zeros or caps. */
function reluInPatches(dst: usize, x: usize, height: i32, width: i32, patchHeight: i32, patchWidth: i32, cap: f32, alpha: f32, flip: f64, seed: u32, map: u32): void {
  const caps = f32x4.splat(cap);
  const alphas = f32x4.splat(alpha);
  const rests = f32x4.splat(<f32>1 - alpha);
  const passingColumns = passingAt(width);
  const cappedColumns = cappedAt(width);
  const vectors = isVector(width, patchWidth, cap, alpha, flip);
  let block: u32 = 0;
  for (let top = 0; top < height; top += patchHeight) {
    const bottom = min(height, top + patchHeight);
    if (vectors) {
      compareVectors(x, width, top, bottom, patchWidth);
      passRows(dst, x, width, top, bottom);
      continue;
    }
    block = compareBand(x, width, top, bottom, patchWidth, cap, flip, seed, map, block);
    for (let r = top; r < bottom; r++) {
      const row = <usize>(r * width) << 2;
      let at: usize = 0;
      const end = <usize>width << 2;
      for (; at + 16 <= end; at += 16) {
        const passing = v128.load(passingColumns + at);
        const capped = v128.load(cappedColumns + at);
        const v = v128.load(x + row + at);
        const shared = v128.or(v128.and(v, passing), v128.and(caps, capped));
        v128.store(dst + row + at, alpha == 0 ? shared : mixed(v, passing, capped, caps, alphas, rests));
      }
      for (; at < end; at += 4) {
        const v = v128.load_zero<u32>(x + row + at);
        const passing = v128.load_zero<u32>(passingColumns + at);
        const capped = v128.load_zero<u32>(cappedColumns + at);
        const shared = v128.or(v128.and(v, passing), v128.and(caps, capped));
        v128.store_lane<u32>(dst + row + at, alpha == 0 ? shared : mixed(v, passing, capped, caps, alphas, rests), 0);
      }
    }
  }
}

/**
 * Block ReLU of maps [.., channels, height, width] with a patch [height, width] for each channel; [0, 1] is the identity, [1, 0] zero. `flip`
 * is how far below 0 a sum may be and still be taken as positive: it is down to flip times a number drawn for the comparison.
 * Items are maps.
 */
export function blockRelu(dst: usize, x: usize, patches: usize, channels: i32, height: i32, width: i32, cap: f32, alpha: f32, flip: f32, seed: i32, begin: i32, end: i32): void {
  const size = height * width;
  const bytes = <usize>size << 2;
  for (let map = begin; map < end; map++) {
    const patch = patches + (<usize>(map % channels) << 3);
    const patchHeight = load<i32>(patch);
    const patchWidth = load<i32>(patch, 4);
    const from = x + <usize>map * bytes;
    const to = dst + <usize>map * bytes;
    if (patchHeight == 0) memory.copy(to, from, bytes);
    else if (patchWidth == 0) memory.fill(to, 0, bytes);
    else if (patchHeight == 1 && patchWidth == 1 && flip == 0) {
      const high = f32x4.splat(cap);
      const zero = f32x4.splat(0);
      let at: usize = 0;
      for (; at + 16 <= bytes; at += 16) v128.store(to + at, f32x4.min(f32x4.max(v128.load(from + at), zero), high));
      for (; at < bytes; at += 4) store<f32>(to + at, min<f32>(max<f32>(load<f32>(from + at), 0), cap));
      continue;
    } else {
      reluInPatches(to, from, height, width, patchHeight, patchWidth, cap, alpha, <f64>flip, <u32>seed, <u32>map);
      continue;
    }
    if (alpha == 0) continue;
    for (let at: usize = 0; at < bytes; at += 4) {
      const plain = min<f32>(max<f32>(load<f32>(from + at), 0), cap);
      store<f32>(to + at, alpha * plain + (1 - alpha) * load<f32>(to + at));
    }
  }
}

/** What of four gradients passes their own comparisons, by alpha, and those of their patches, by the rest. */
@inline
function gated(g: v128, x: v128, passing: v128, cap: v128, alpha: v128, rest: v128): v128 {
  const inside = v128.and(f32x4.ge(x, f32x4.splat(0)), f32x4.lt(x, cap));
  const factor = f32x4.add(v128.and(rest, passing), v128.and(alpha, inside));
  return v128.and(f32x4.mul(factor, g), f32x4.ne(factor, f32x4.splat(0)));
}

/** One map's way back: each element's gradient times alpha * (its own comparison) + (1 - alpha) * (its patch's). */
function gateInPatches(dst: usize, g: usize, x: usize, height: i32, width: i32, patchHeight: i32, patchWidth: i32, cap: f32, alpha: f32, flip: f64, seed: u32, map: u32): void {
  const caps = f32x4.splat(cap);
  const alphas = f32x4.splat(alpha);
  const rests = f32x4.splat(<f32>1 - alpha);
  const passingColumns = passingAt(width);
  const vectors = isVector(width, patchWidth, cap, alpha, flip);
  let block: u32 = 0;
  for (let top = 0; top < height; top += patchHeight) {
    const bottom = min(height, top + patchHeight);
    if (vectors) {
      compareVectors(x, width, top, bottom, patchWidth);
      passRows(dst, g, width, top, bottom);
      continue;
    }
    block = compareBand(x, width, top, bottom, patchWidth, cap, flip, seed, map, block);
    for (let r = top; r < bottom; r++) {
      const row = <usize>(r * width) << 2;
      const end = <usize>width << 2;
      let at: usize = 0;
      for (; at + 16 <= end; at += 16) {
        const o = row + at;
        v128.store(dst + o, gated(v128.load(g + o), v128.load(x + o), v128.load(passingColumns + at), caps, alphas, rests));
      }
      for (; at < end; at += 4) {
        const o = row + at;
        const passing = v128.load_zero<u32>(passingColumns + at);
        const value = gated(v128.load_zero<u32>(g + o), v128.load_zero<u32>(x + o), passing, caps, alphas, rests);
        v128.store_lane<u32>(dst + o, value, 0);
      }
    }
  }
}

/** dst = what of the gradient g comes back through blockRelu; x has `maps` maps, which g repeats. In place where dst is g. Items are maps of g. */
export function blockReluGate(dst: usize, g: usize, x: usize, maps: i32, patches: usize, channels: i32, height: i32, width: i32, cap: f32, alpha: f32, flip: f32, seed: i32, begin: i32, end: i32): void {
  const size = height * width;
  const bytes = <usize>size << 2;
  const high = f32x4.splat(cap);
  const zero = f32x4.splat(0);
  for (let map = begin; map < end; map++) {
    const patch = patches + (<usize>(map % channels) << 3);
    const patchHeight = load<i32>(patch);
    const patchWidth = load<i32>(patch, 4);
    const values = x + <usize>(map % maps) * bytes;
    const from = g + <usize>map * bytes;
    const to = dst + <usize>map * bytes;
    if (patchHeight > 0 && patchWidth > 0 && (patchHeight > 1 || patchWidth > 1 || flip != 0)) {
      gateInPatches(to, from, values, height, width, patchHeight, patchWidth, cap, alpha, <f64>flip, <u32>seed, <u32>(map % maps));
      continue;
    }
    // Identity passes all, zero nothing and plain ReLU by the element.
    const passing: f32 = patchHeight == 0 ? 1 - alpha : 0;
    const own: f32 = patchHeight == 1 && patchWidth == 1 ? 1 : alpha;
    const p = f32x4.splat(passing);
    const o = f32x4.splat(own);
    let at: usize = 0;
    for (; at + 16 <= bytes; at += 16) {
      const v = v128.load(values + at);
      const inside = v128.and(f32x4.ge(v, zero), f32x4.lt(v, high));
      v128.store(to + at, f32x4.mul(v128.load(from + at), f32x4.add(p, v128.and(o, inside))));
    }
    for (; at < bytes; at += 4) {
      const v = load<f32>(values + at);
      store<f32>(to + at, load<f32>(from + at) * (passing + (v >= 0 && v < cap ? own : 0)));
    }
  }
}
