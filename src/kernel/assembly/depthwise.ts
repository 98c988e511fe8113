// Kernels that work on one map at a time: depthwise convolution, sums and maxima over windows. A strip of the map is first copied
// into this thread's scratch memory with its padding, rows and columns sorted by their remainder mod the strides. There, for any
// stride, a window position of all outputs of the strip is one run of words, so that the inner loops run over the whole strip.
// They take one window position, or one vector, at a time: V8 moves the loads of unrolled code to its front and spills them.
import { scratch } from './scratch';

/** As ConvGeometry without channels, in 32-bit words; tiling.ts writes it. */
@unmanaged
class MapGeometry {
  inputHeight: i32;
  inputWidth: i32;
  outputHeight: i32;
  outputWidth: i32;
  kernelHeight: i32;
  kernelWidth: i32;
  strideY: i32;
  strideX: i32;
  dilationY: i32;
  dilationX: i32;
  padTop: i32;
  padLeft: i32;
  /** Output maps per input map (depthwise convolution with a multiplier). */
  multiplier: i32;
  /** Output rows of a strip. */
  stripRows: i32;
  /** Words from one output row to the next, in scratch. */
  pitch: i32;
  /** Words from one plane (input rows and columns of equal remainders) to the next. */
  planeWords: i32;
  /** Words from the first plane to the strip's outputs. */
  outputAt: i32;
}

/** The record ends in a word for each window position: where that of output 0 lies among the planes, in bytes. */
const windowAt: usize = 68;

/** dst[0..words) = value. */
@inline
function fillRow(dst: usize, words: i32, value: v128): void {
  let i = 0;
  for (; i + 4 <= words; i += 4) v128.store(dst + (<usize>i << 2), value);
  for (; i < words; i++) v128.store32_lane(dst + (<usize>i << 2), value, 0);
}

@inline
function copyRow(dst: usize, src: usize, words: i32): void {
  let left = words;
  for (; left >= 8; left -= 8) {
    v128.store(dst, v128.load(src));
    v128.store(dst, v128.load(src, 16), 16);
    dst += 32;
    src += 32;
  }
  if (left >= 4) {
    v128.store(dst, v128.load(src));
    dst += 16;
    src += 16;
    left -= 4;
  }
  if (left == 0) return;
  if (words >= 4) {
    // The last vector, of which some words are already there: no loop over words.
    const back = <usize>(4 - left) << 2;
    v128.store(dst - back, v128.load(src - back));
    return;
  }
  for (; left > 0; left--) {
    store<i32>(dst, load<i32>(src));
    dst += 4;
    src += 4;
  }
}

@inline
function splitEight(even: usize, odd: usize, src: usize): void {
  const v0 = v128.load(src);
  const v1 = v128.load(src, 16);
  v128.store(even, v128.shuffle<i32>(v0, v1, 0, 2, 4, 6));
  v128.store(odd, v128.shuffle<i32>(v0, v1, 1, 3, 5, 7));
}

/** Words with an even index to `even`, the others to `odd`. */
@inline
function splitRow(even: usize, odd: usize, src: usize, words: i32): void {
  let x = 0;
  for (; x + 8 <= words; x += 8) {
    const half = <usize>x << 1;
    splitEight(even + half, odd + half, src + (half << 1));
  }
  if (words >= 8 && words - x > 1) {
    // Eight words that end where the row's last pair does: some are already there.
    const half = <usize>((words & ~1) - 8) << 1;
    splitEight(even + half, odd + half, src + (half << 1));
    x = words & ~1;
  }
  for (; x < words; x += 2) {
    const half = <usize>x << 1;
    store<i32>(even + half, load<i32>(src + (half << 1)));
    if (x + 1 < words) store<i32>(odd + half, load<i32>(src + (half << 1), 4));
  }
}

/** Deals a row out to `stride` planes, the first word to the place of column `pad`. */
@inline
function dealRow(dst: usize, planeBytes: usize, stride: i32, pad: i32, src: usize, words: i32): void {
  let remainder = pad % stride;
  let at = pad / stride;
  for (let x = 0; x < words; x++) {
    store<i32>(dst + <usize>remainder * planeBytes + (<usize>at << 2), load<i32>(src + (<usize>x << 2)));
    if (++remainder == stride) {
      remainder = 0;
      at++;
    }
  }
}

/** All of the planes = padding. What copyStrip does not overwrite stays so. */
@inline
function clearPlanes(g: MapGeometry, padding: i32): void {
  fillRow(scratch, g.outputAt, i32x4.splat(padding));
}

/** Copies the input rows that outputs [firstRow, lastRow) of a map read. */
function copyStrip(g: MapGeometry, map: usize, firstRow: i32, lastRow: i32, padding: i32): void {
  const stride = g.strideX;
  const pad = g.padLeft;
  const pitch = g.pitch;
  const planeBytes = <usize>g.planeWords << 2;
  const rows = (lastRow - firstRow - 1) * g.strideY + (g.kernelHeight - 1) * g.dilationY + 1;
  const width = min(g.inputWidth, pitch * stride - pad);
  const even = <usize>(pad & 1) * planeBytes + (<usize>(pad >> 1) << 2);
  const odd = <usize>((pad + 1) & 1) * planeBytes + (<usize>((pad + 1) >> 1) << 2);
  const fill = i32x4.splat(padding);
  let iy = firstRow * g.strideY - g.padTop;
  let src = map + <usize>((iy * g.inputWidth) << 2);
  let remainder = 0;
  let row: usize = scratch;
  for (let y = 0; y < rows; y++) {
    const dst = row + <usize>(remainder * stride) * planeBytes;
    if (<u32>iy >= <u32>g.inputHeight) {
      for (let x = 0; x < stride; x++) fillRow(dst + <usize>x * planeBytes, pitch, fill);
    } else if (width > 0) {
      if (stride == 1) copyRow(dst + (<usize>pad << 2), src, width);
      else if (stride == 2) splitRow(dst + even, dst + odd, src, width);
      else dealRow(dst, planeBytes, stride, pad, src, width);
    }
    iy++;
    src += <usize>g.inputWidth << 2;
    if (++remainder == g.strideY) {
      remainder = 0;
      row += <usize>pitch << 2;
    }
  }
}

/** Copies rows of the strip's outputs to `out`, adding `addend` (which may be `out`) where it is not 0. */
function writeStrip<T>(g: MapGeometry, rows: i32, addend: usize, out: usize): void {
  const width = g.outputWidth;
  let row = scratch + (<usize>g.outputAt << 2);
  for (let y = 0; y < rows; y++) {
    if (addend) {
      let x = 0;
      for (; x + 4 <= width; x += 4) {
        const o = <usize>x << 2;
        v128.store(out + o, v128.add<T>(v128.load(row + o), v128.load(addend + o)));
      }
      for (; x < width; x++) {
        const o = <usize>x << 2;
        store<T>(out + o, <T>(load<T>(row + o) + load<T>(addend + o)));
      }
      addend += <usize>width << 2;
    } else {
      copyRow(out, row, width);
    }
    row += <usize>g.pitch << 2;
    out += <usize>width << 2;
  }
}

/** Sums of 3 x 3 windows: 4 outputs at a time, the kernel in registers. */
function convolveNine<T>(g: MapGeometry, rows: i32, kernel: usize, bias: usize): void {
  const window = changetype<usize>(g) + windowAt;
  const w0 = v128.load_splat<T>(kernel, 0);
  const o0: usize = load<u32>(window, 0);
  const w1 = v128.load_splat<T>(kernel, 4);
  const o1: usize = load<u32>(window, 4);
  const w2 = v128.load_splat<T>(kernel, 8);
  const o2: usize = load<u32>(window, 8);
  const w3 = v128.load_splat<T>(kernel, 12);
  const o3: usize = load<u32>(window, 12);
  const w4 = v128.load_splat<T>(kernel, 16);
  const o4: usize = load<u32>(window, 16);
  const w5 = v128.load_splat<T>(kernel, 20);
  const o5: usize = load<u32>(window, 20);
  const w6 = v128.load_splat<T>(kernel, 24);
  const o6: usize = load<u32>(window, 24);
  const w7 = v128.load_splat<T>(kernel, 28);
  const o7: usize = load<u32>(window, 28);
  const w8 = v128.load_splat<T>(kernel, 32);
  const o8: usize = load<u32>(window, 32);
  const start = bias ? v128.load_splat<T>(bias) : v128.splat<T>(0);
  const outputAt = <usize>g.outputAt << 2;
  const end = scratch + (<usize>(rows * g.pitch) << 2);
  for (let p = scratch; p < end; p += 16) {
    let sum = start;
    sum = v128.add<T>(sum, v128.mul<T>(w0, v128.load(p + o0)));
    sum = v128.add<T>(sum, v128.mul<T>(w1, v128.load(p + o1)));
    sum = v128.add<T>(sum, v128.mul<T>(w2, v128.load(p + o2)));
    sum = v128.add<T>(sum, v128.mul<T>(w3, v128.load(p + o3)));
    sum = v128.add<T>(sum, v128.mul<T>(w4, v128.load(p + o4)));
    sum = v128.add<T>(sum, v128.mul<T>(w5, v128.load(p + o5)));
    sum = v128.add<T>(sum, v128.mul<T>(w6, v128.load(p + o6)));
    sum = v128.add<T>(sum, v128.mul<T>(w7, v128.load(p + o7)));
    sum = v128.add<T>(sum, v128.mul<T>(w8, v128.load(p + o8)));
    v128.store(p + outputAt, sum);
  }
}

/** Sums of windows of any size, 16 outputs at a time. */
function convolveAny<T>(g: MapGeometry, rows: i32, kernel: usize, bias: usize): void {
  const window = changetype<usize>(g) + windowAt;
  const windowEnd = window + (<usize>(g.kernelHeight * g.kernelWidth) << 2);
  const start = bias ? v128.load_splat<T>(bias) : v128.splat<T>(0);
  const outputAt = <usize>g.outputAt << 2;
  const end = scratch + (<usize>(rows * g.pitch) << 2);
  for (let p = scratch; p < end; p += 64) {
    let c0 = start;
    let c1 = start;
    let c2 = start;
    let c3 = start;
    let w = kernel;
    for (let tap = window; tap < windowEnd; tap += 4) {
      const at = p + load<u32>(tap);
      const s = v128.load_splat<T>(w);
      c0 = v128.add<T>(c0, v128.mul<T>(s, v128.load(at)));
      c1 = v128.add<T>(c1, v128.mul<T>(s, v128.load(at, 16)));
      c2 = v128.add<T>(c2, v128.mul<T>(s, v128.load(at, 32)));
      c3 = v128.add<T>(c3, v128.mul<T>(s, v128.load(at, 48)));
      w += 4;
    }
    v128.store(p + outputAt, c0);
    v128.store(p + outputAt, c1, 16);
    v128.store(p + outputAt, c2, 32);
    v128.store(p + outputAt, c3, 48);
  }
}

/** Depthwise convolution. Items are output maps of the batch; `channels` output channels an image. bias and addend may be 0. */
@inline
function depthwise<T>(
  geometry: usize,
  weights: usize,
  channels: i32,
  input: usize,
  output: usize,
  bias: usize,
  addend: usize,
  begin: i32,
  end: i32,
): void {
  const g = changetype<MapGeometry>(geometry);
  const taps = g.kernelHeight * g.kernelWidth;
  const nine = g.kernelHeight == 3 && g.kernelWidth == 3;
  clearPlanes(g, 0);
  for (let map = begin; map < end; map++) {
    const channel = map % channels;
    const source = input + ((<usize>(map / g.multiplier) * g.inputHeight * g.inputWidth) << 2);
    const kernel = weights + (<usize>(channel * taps) << 2);
    const channelBias = bias ? bias + (<usize>channel << 2) : 0;
    for (let strip = 0; strip < g.outputHeight; strip += g.stripRows) {
      const last = min(g.outputHeight, strip + g.stripRows);
      const offset = (<usize>map * g.outputHeight + strip) * g.outputWidth * 4;
      copyStrip(g, source, strip, last, 0);
      if (nine) convolveNine<T>(g, last - strip, kernel, channelBias);
      else convolveAny<T>(g, last - strip, kernel, channelBias);
      writeStrip<T>(g, last - strip, addend ? addend + offset : 0, output + offset);
    }
  }
}

export function depthwiseWords(geometry: usize, weights: usize, channels: i32, input: usize, output: usize, bias: usize, addend: usize, begin: i32, end: i32): void {
  depthwise<i32>(geometry, weights, channels, input, output, bias, addend, begin, end);
}

export function depthwiseFloats(geometry: usize, weights: usize, channels: i32, input: usize, output: usize, bias: usize, addend: usize, begin: i32, end: i32): void {
  depthwise<f32>(geometry, weights, channels, input, output, bias, addend, begin, end);
}

@inline
function fold<T>(maximum: bool, a: v128, b: v128): v128 {
  if (isFloat<T>() && maximum) return f32x4.max(a, b);
  return v128.add<T>(a, b);
}

/** Sums (or, for floats, maxima) of windows, 16 outputs at a time. */
@inline
function foldWindows<T>(g: MapGeometry, rows: i32, maximum: bool): void {
  const window = changetype<usize>(g) + windowAt;
  const windowEnd = window + (<usize>(g.kernelHeight * g.kernelWidth) << 2);
  const outputAt = <usize>g.outputAt << 2;
  const end = scratch + (<usize>(rows * g.pitch) << 2);
  for (let p = scratch; p < end; p += 64) {
    const first = p + load<u32>(window);
    let c0 = v128.load(first);
    let c1 = v128.load(first, 16);
    let c2 = v128.load(first, 32);
    let c3 = v128.load(first, 48);
    for (let tap = window + 4; tap < windowEnd; tap += 4) {
      const at = p + load<u32>(tap);
      c0 = fold<T>(maximum, c0, v128.load(at));
      c1 = fold<T>(maximum, c1, v128.load(at, 16));
      c2 = fold<T>(maximum, c2, v128.load(at, 32));
      c3 = fold<T>(maximum, c3, v128.load(at, 48));
    }
    v128.store(p + outputAt, c0);
    v128.store(p + outputAt, c1, 16);
    v128.store(p + outputAt, c2, 32);
    v128.store(p + outputAt, c3, 48);
  }
}

/** Items are maps of the batch. */
@inline
function pool<T>(geometry: usize, input: usize, output: usize, maximum: bool, begin: i32, end: i32): void {
  const g = changetype<MapGeometry>(geometry);
  const padding = maximum ? reinterpret<i32>(-f32(Infinity)) : 0;
  clearPlanes(g, padding);
  for (let map = begin; map < end; map++) {
    const source = input + ((<usize>map * g.inputHeight * g.inputWidth) << 2);
    for (let strip = 0; strip < g.outputHeight; strip += g.stripRows) {
      const last = min(g.outputHeight, strip + g.stripRows);
      copyStrip(g, source, strip, last, padding);
      foldWindows<T>(g, last - strip, maximum);
      writeStrip<T>(g, last - strip, 0, output + (<usize>map * g.outputHeight + strip) * g.outputWidth * 4);
    }
  }
}

export function sumPoolWords(geometry: usize, input: usize, output: usize, begin: i32, end: i32): void {
  pool<i32>(geometry, input, output, false, begin, end);
}

export function sumPoolFloats(geometry: usize, input: usize, output: usize, begin: i32, end: i32): void {
  pool<f32>(geometry, input, output, false, begin, end);
}

export function maxPoolFloats(geometry: usize, input: usize, output: usize, begin: i32, end: i32): void {
  pool<f32>(geometry, input, output, true, begin, end);
}

/** output[i] = the sum of `length` words. Items are runs. */
@inline
function sumRuns<T>(input: usize, length: i32, output: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    let at = input + ((<usize>i * length) << 2);
    const last = at + (<usize>length << 2);
    let sums = v128.splat<T>(0);
    for (; at + 16 <= last; at += 16) sums = v128.add<T>(sums, v128.load(at));
    let sum = <T>(v128.extract_lane<T>(sums, 0) + v128.extract_lane<T>(sums, 1) + v128.extract_lane<T>(sums, 2) + v128.extract_lane<T>(sums, 3));
    for (; at < last; at += 4) sum += load<T>(at);
    store<T>(output + (<usize>i << 2), sum);
  }
}

export function sumRunsWords(input: usize, length: i32, output: usize, begin: i32, end: i32): void {
  sumRuns<i32>(input, length, output, begin, end);
}

export function sumRunsFloats(input: usize, length: i32, output: usize, begin: i32, end: i32): void {
  sumRuns<f32>(input, length, output, begin, end);
}
