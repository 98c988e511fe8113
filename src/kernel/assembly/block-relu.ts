// Block ReLU on maps, and what of a gradient it lets through. One comparison a patch: of the sum of its elements, in doubles.

/** A number in [0, 1) for a comparison: a counter through a 32-bit finaliser (constants of MurmurHash3's), so that the way back draws it again. */
@inline
function drawn(seed: u32, map: u32, block: u32): f64 {
  let mixed = seed ^ (map * 0x9e3779b9) ^ (block * 0x85ebca77);
  mixed = (mixed ^ (mixed >> 16)) * 0x85ebca6b;
  mixed = (mixed ^ (mixed >> 13)) * 0xc2b2ae35;
  return <f64>(mixed ^ (mixed >> 16)) / 4294967296.0;
}

/** The sum over rows and columns of a map. */
@inline
function sumOf(map: usize, width: i32, top: i32, bottom: i32, left: i32, right: i32): f64 {
  let sum: f64 = 0;
  for (let r = top; r < bottom; r++) {
    const row = map + (<usize>(r * width) << 2);
    for (let c = left; c < right; c++) sum += <f64>load<f32>(row + (<usize>c << 2));
  }
  return sum;
}

/** One map in patches: each gives alpha * plain ReLU + (1 - alpha) * its elements, zeros or caps. */
function reluInPatches(dst: usize, x: usize, height: i32, width: i32, patchHeight: i32, patchWidth: i32, cap: f32, alpha: f32, flip: f64, seed: u32, map: u32): void {
  const rest: f32 = <f32>1 - alpha;
  let block: u32 = 0;
  for (let top = 0; top < height; top += patchHeight) {
    const bottom = min(height, top + patchHeight);
    for (let left = 0; left < width; left += patchWidth, block++) {
      const right = min(width, left + patchWidth);
      const sum = sumOf(x, width, top, bottom, left, right);
      const least = flip > 0 ? -flip * drawn(seed, map, block) : 0;
      const passes = sum >= least;
      const capped = passes && sum >= <f64>cap * <f64>((bottom - top) * (right - left)) + least;
      for (let r = top; r < bottom; r++) {
        for (let c = left; c < right; c++) {
          const at = <usize>(r * width + c) << 2;
          const value = load<f32>(x + at);
          const shared: f32 = capped ? cap : passes ? value : 0;
          store<f32>(dst + at, alpha == 0 ? shared : alpha * min<f32>(max<f32>(value, 0), cap) + rest * shared);
        }
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

/** One map's way back: each element's gradient times alpha * (its own comparison) + (1 - alpha) * (its patch's). */
function gateInPatches(dst: usize, g: usize, x: usize, height: i32, width: i32, patchHeight: i32, patchWidth: i32, cap: f32, alpha: f32, flip: f64, seed: u32, map: u32): void {
  const rest: f32 = <f32>1 - alpha;
  let block: u32 = 0;
  for (let top = 0; top < height; top += patchHeight) {
    const bottom = min(height, top + patchHeight);
    for (let left = 0; left < width; left += patchWidth, block++) {
      const right = min(width, left + patchWidth);
      const sum = sumOf(x, width, top, bottom, left, right);
      const least = flip > 0 ? -flip * drawn(seed, map, block) : 0;
      const passes = sum >= least && sum < <f64>cap * <f64>((bottom - top) * (right - left)) + least;
      const share: f32 = passes ? rest : 0;
      for (let r = top; r < bottom; r++) {
        for (let c = left; c < right; c++) {
          const at = <usize>(r * width + c) << 2;
          const value = load<f32>(x + at);
          const factor = alpha != 0 && value >= 0 && value < cap ? share + alpha : share;
          store<f32>(dst + at, factor == 0 ? 0 : factor * load<f32>(g + at));
        }
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
