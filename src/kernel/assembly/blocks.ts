// What sharing comparisons does to an output, to first order: for every channel and patch the sum of gradient times change, and the way
// gradients go back through a ReLU.
import { scratch } from './scratch';

/** Words of the record, before the patch heights, the patch widths and the table of candidates. */
const headWords: i32 = 13;

/** Scratch, after the 512 bytes the convolutions keep: sums of one block of rows, their prefixes, and a sum for each candidate. */
let columns: usize = 0;
let products: usize = 0;
let prefix: usize = 0;
let productPrefix: usize = 0;
let sums: usize = 0;

/** One map, its gradients (one for each probe, `probeStride` bytes apart) and how many probes fill a row of sums (an even number). */
let map: usize = 0;
let gradient: usize = 0;
let probeStride: usize = 0;
let probes: i32 = 0;
let lanes: i32 = 0;

/** columns[x] = sum over rows of y - hinge, products[p][x] = sum over rows of g_p (y - hinge). */
function addRows(width: i32, top: i32, bottom: i32, hinge: f32): void {
  const rowBytes = <usize>width << 2;
  const shift = f32x4.splat(hinge);
  const first = map + <usize>top * rowBytes;
  const rows = bottom - top;
  let x: i32 = 0;
  for (; x + 4 <= width; x += 4) {
    const at = <usize>x << 2;
    let sum = f32x4.splat(0);
    let source = first + at;
    for (let r = 0; r < rows; r++, source += rowBytes) sum = f32x4.add(sum, f32x4.sub(v128.load(source), shift));
    v128.store(columns + at, sum);
    for (let p = 0; p < probes; p++) {
      let product = f32x4.splat(0);
      let y = first + at;
      let g = gradient + <usize>p * probeStride + <usize>top * rowBytes + at;
      for (let r = 0; r < rows; r++, y += rowBytes, g += rowBytes) {
        product = f32x4.add(product, f32x4.mul(v128.load(g), f32x4.sub(v128.load(y), shift)));
      }
      v128.store(products + <usize>p * rowBytes + at, product);
    }
  }
  for (; x < width; x++) {
    const at = <usize>x << 2;
    let sum: f32 = 0;
    for (let r = 0; r < rows; r++) sum += load<f32>(first + <usize>r * rowBytes + at) - hinge;
    store<f32>(columns + at, sum);
    for (let p = 0; p < probes; p++) {
      const g = gradient + <usize>p * probeStride + <usize>top * rowBytes + at;
      let product: f32 = 0;
      for (let r = 0; r < rows; r++) {
        product += load<f32>(g + <usize>r * rowBytes) * (load<f32>(first + <usize>r * rowBytes + at) - hinge);
      }
      store<f32>(products + <usize>p * rowBytes + at, product);
    }
  }
}

/** Running sums along a row, in doubles: differences of them are the sums of blocks. Probes lie side by side. */
function addUp(width: i32): void {
  let sum: f64 = 0;
  store<f64>(prefix, 0);
  for (let x = 0; x < width; x++) {
    sum += <f64>load<f32>(columns + (<usize>x << 2));
    store<f64>(prefix + (<usize>(x + 1) << 3), sum);
  }
  memory.fill(productPrefix, 0, <usize>lanes << 3);
  for (let p = 0; p < probes; p++) {
    const source = products + ((<usize>p * width) << 2);
    let target = productPrefix + (<usize>(lanes + p) << 3);
    let product: f64 = 0;
    for (let x = 0; x < width; x++, target += <usize>lanes << 3) {
      product += <f64>load<f32>(source + (<usize>x << 2));
      store<f64>(target, product);
    }
  }
}

/** The same for four probes, without a branch that half of the time is guessed wrong, and with each prefix read once: twice as fast. */
function addBlocksOfFour(target: usize, size: i32, width: i32, sign: v128): void {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  let sumBefore = load<f64>(prefix);
  let lowBefore = v128.load(productPrefix);
  let highBefore = v128.load(productPrefix, 16);
  for (let left = 0; left < width; left += size) {
    const right = <usize>min(left + size, width);
    const sum = load<f64>(prefix + (right << 3));
    const at = productPrefix + (right << 5);
    const lowHere = v128.load(at);
    const highHere = v128.load(at, 16);
    const passed = i64x2.splat(-(<i64>(sum >= sumBefore)));
    low = f64x2.add(low, v128.and(f64x2.sub(lowHere, lowBefore), passed));
    high = f64x2.add(high, v128.and(f64x2.sub(highHere, highBefore), passed));
    sumBefore = sum;
    lowBefore = lowHere;
    highBefore = highHere;
  }
  v128.store(target, f64x2.add(v128.load(target), f64x2.mul(sign, low)));
  v128.store(target, f64x2.add(v128.load(target, 16), f64x2.mul(sign, high)), 16);
}

/** sums[candidate][p] += sign * (sum of the products of every block of one block of rows whose y - hinge sums to at least 0). */
function addBlocks(candidate: i32, size: i32, width: i32, sign: f64): void {
  const row = <usize>lanes << 3;
  const target = sums + <usize>candidate * row;
  const s = f64x2.splat(sign);
  if (row == 32) return addBlocksOfFour(target, size, width, s);
  for (let q: usize = 0; q < row; q += 16) {
    let total = f64x2.splat(0);
    for (let left = 0; left < width; left += size) {
      const right = min(left + size, width);
      if (load<f64>(prefix + (<usize>right << 3)) - load<f64>(prefix + (<usize>left << 3)) < 0) continue;
      const from = productPrefix + <usize>left * row + q;
      const to = productPrefix + <usize>right * row + q;
      total = f64x2.add(total, f64x2.sub(v128.load(to), v128.load(from)));
    }
    v128.store(target + q, f64x2.add(v128.load(target + q), f64x2.mul(s, total)));
  }
}

/** Adds g (y - hinge) where y >= hinge, times the sign, to sums[reference], and where hinge is 0 all of g y to sums[reference + 1]. */
function addElements(size: i32, hinge: f32, sign: f64, reference: i32): void {
  const shift = f32x4.splat(hinge);
  for (let p = 0; p < probes; p++) {
    const g = gradient + <usize>p * probeStride;
    let passed: f64 = 0;
    let all: f64 = 0;
    for (let from = 0; from < size; from += 1024) {
      const to = min(from + 1024, size);
      let some = f32x4.splat(0);
      let every = f32x4.splat(0);
      let i = from;
      for (; i + 4 <= to; i += 4) {
        const at = <usize>i << 2;
        const y = v128.load(map + at);
        const product = f32x4.mul(v128.load(g + at), f32x4.sub(y, shift));
        every = f32x4.add(every, product);
        some = f32x4.add(some, v128.and(product, f32x4.ge(y, shift)));
      }
      passed += <f64>(f32x4.extract_lane(some, 0) + f32x4.extract_lane(some, 1) + f32x4.extract_lane(some, 2) + f32x4.extract_lane(some, 3));
      all += <f64>(f32x4.extract_lane(every, 0) + f32x4.extract_lane(every, 1) + f32x4.extract_lane(every, 2) + f32x4.extract_lane(every, 3));
      for (; i < to; i++) {
        const at = <usize>i << 2;
        const y = load<f32>(map + at) - hinge;
        const product = load<f32>(g + at) * y;
        all += <f64>product;
        if (y >= 0) passed += <f64>product;
      }
    }
    const target = sums + ((<usize>reference * lanes + p) << 3);
    store<f64>(target, load<f64>(target) + sign * passed);
    if (hinge == 0) store<f64>(target + (<usize>lanes << 3), all);
  }
}

/** One ReLU hinge: every candidate of the table, and the reference. */
function addHinge(record: usize, height: i32, width: i32, hinge: f32, sign: f64, candidates: i32): void {
  const heights = load<i32>(record, 32);
  const widths = load<i32>(record, 36);
  const list = record + <usize>headWords * 4;
  const table = list + (<usize>(heights + widths) << 2);
  addElements(height * width, hinge, sign, candidates);
  for (let h = 0; h < heights; h++) {
    const blockHeight = load<i32>(list + (<usize>h << 2));
    const row = table + ((<usize>h * widths) << 2);
    for (let top = 0; top < height; top += blockHeight) {
      addRows(width, top, min(top + blockHeight, height), hinge);
      addUp(width);
      for (let w = 0; w < widths; w++) {
        const candidate = load<i32>(row + (<usize>w << 2));
        if (candidate >= 0) addBlocks(candidate, load<i32>(list + (<usize>(heights + w) << 2)), width, sign);
      }
    }
  }
}

/** Adds to out[candidate] the square (or, for a signed change, the value) of what the candidate changes, summed over probes; candidate 0 changes nothing. */
function addChanges(record: usize, candidates: i32, out: usize): void {
  const squared = load<i32>(record, 48) != 0;
  const identity = load<i32>(record, 40);
  const zero = load<i32>(record, 44);
  for (let k = 1; k < candidates; k++) {
    const own = k == identity ? candidates + 1 : k;
    let total: f64 = 0;
    for (let p = 0; p < probes; p++) {
      const reference = load<f64>(sums + ((<usize>candidates * lanes + p) << 3));
      const change = (k == zero ? 0 : load<f64>(sums + ((<usize>own * lanes + p) << 3))) - reference;
      total += squared ? change * change : change;
    }
    const at = out + (<usize>k << 3);
    store<f64>(at, load<f64>(at) + total);
  }
}

/**
 * out[c][k] += sum over images and probes of (sum over the map of g * change)^2, where change is block ReLU with candidate k less plain ReLU.
 * y is [images, channels, height, width], g [probes, images, channels, height, width]; items are channels.
 * Record: images, probes, channels, height, width, candidates, cap (bits of a float), whether there is one, numbers of heights and widths,
 * the candidates that are identity and zero (or -1), whether to square; then heights, widths, and for each pair its candidate or -1.
 * Candidate 0 is plain ReLU; it is in no pair.
 */
export function blockChanges(record: usize, y: usize, g: usize, out: usize, begin: i32, end: i32): void {
  const images = load<i32>(record);
  probes = load<i32>(record, 4);
  const channels = load<i32>(record, 8);
  const height = load<i32>(record, 12);
  const width = load<i32>(record, 16);
  const candidates = load<i32>(record, 20);
  const cap = load<f32>(record, 24);
  const capped = load<i32>(record, 28) != 0;
  lanes = (probes + 1) & ~1;
  const size = height * width;
  probeStride = (<usize>images * channels * size) << 2;
  const wide = (<usize>width + 4) & ~3;
  columns = scratch + 512;
  products = columns + (wide << 2);
  prefix = (products + ((<usize>probes * wide) << 2) + 15) & ~15;
  productPrefix = (prefix + (<usize>(width + 1) << 3) + 15) & ~15;
  sums = productPrefix + ((<usize>(width + 1) * lanes) << 3);
  for (let c = begin; c < end; c++) {
    for (let n = 0; n < images; n++) {
      const offset = ((<usize>n * channels + c) * size) << 2;
      map = y + offset;
      gradient = g + offset;
      memory.fill(sums, 0, (<usize>(candidates + 2) * lanes) << 3);
      addHinge(record, height, width, 0, 1, candidates);
      if (capped) addHinge(record, height, width, cap, -1, candidates);
      addChanges(record, candidates, out + ((<usize>c * candidates) << 3));
    }
  }
}

/** dst[i] = g[i] where 0 <= y[i mod count] < cap, else 0: a gradient's way back through a ReLU, for several probes of the same maps. */
export function gateFloats(dst: usize, g: usize, y: usize, count: i32, cap: f32, begin: i32, end: i32): void {
  const high = f32x4.splat(cap);
  const zero = f32x4.splat(0);
  let i = begin;
  while (i < end) {
    const probe = i / count;
    const last = min(end, (probe + 1) * count);
    const values = y - ((<usize>probe * count) << 2);
    for (; i + 4 <= last; i += 4) {
      const at = <usize>i << 2;
      const v = v128.load(values + at);
      v128.store(dst + at, v128.and(v128.load(g + at), v128.and(f32x4.ge(v, zero), f32x4.lt(v, high))));
    }
    for (; i < last; i++) {
      const at = <usize>i << 2;
      const v = load<f32>(values + at);
      store<f32>(dst + at, v >= 0 && v < cap ? load<f32>(g + at) : 0);
    }
  }
}
