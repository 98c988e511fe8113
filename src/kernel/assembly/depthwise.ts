// Kernels that work on one map at a time: depthwise convolution, sums and maxima over windows. The map is first copied into this
// thread's scratch memory with its padding, its columns sorted by their remainder mod the stride, so that a window position of
// neighbouring outputs is a run of neighbouring words for any stride.
import { scratch } from './scratch';

/** As ConvGeometry without channels, in 32-bit words; linear.ts writes it. */
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
  /** Output rows whose padded input fits the scratch memory at once. */
  stripRows: i32;
}

/** Words of one remainder class of a padded row: enough for whole vectors of outputs. */
function phaseWords(g: MapGeometry): i32 {
  return ((g.outputWidth + 15) & ~15) + ((g.kernelWidth - 1) * g.dilationX) / g.strideX + 1;
}

/** Copies the input rows that outputs [firstRow, lastRow) read, in padded form: [row][remainder][phaseWords]. */
function copyPadded(g: MapGeometry, map: usize, firstRow: i32, lastRow: i32, padding: i32): void {
  const phase = phaseWords(g);
  const stride = g.strideX;
  const rows = (lastRow - firstRow - 1) * g.strideY + (g.kernelHeight - 1) * g.dilationY + 1;
  const top = firstRow * g.strideY - g.padTop;
  const rowWords = phase * stride;
  const fill = i32x4.splat(padding);
  for (let y = 0; y < rows; y++) {
    const dst = scratch + (<usize>(y * rowWords) << 2);
    let i = 0;
    for (; i + 4 <= rowWords; i += 4) v128.store(dst + (<usize>i << 2), fill);
    for (; i < rowWords; i++) store<i32>(dst + (<usize>i << 2), padding);
    const iy = top + y;
    if (<u32>iy >= <u32>g.inputHeight) continue;
    const src = map + (<usize>(iy * g.inputWidth) << 2);
    if (stride == 1) {
      const width = min(g.inputWidth, rowWords - g.padLeft);
      if (width > 0) memory.copy(dst + (<usize>g.padLeft << 2), src, <usize>width << 2);
      continue;
    }
    const width = min(g.inputWidth, rowWords - g.padLeft);
    let remainder = g.padLeft % stride;
    let at = g.padLeft / stride;
    for (let x = 0; x < width; x++) {
      store<i32>(dst + (<usize>(remainder * phase + at) << 2), load<i32>(src + (<usize>x << 2)));
      if (++remainder == stride) {
        remainder = 0;
        at++;
      }
    }
  }
}

/** Where window column kx of output 0 lies within a padded row. */
@inline
function columnOffset(g: MapGeometry, kx: i32): usize {
  const x = kx * g.dilationX;
  return <usize>((x % g.strideX) * phaseWords(g) + x / g.strideX) << 2;
}

@inline
function storeVectors(to: usize, left: i32, c0: v128, c1: v128, c2: v128, c3: v128): void {
  if (left >= 16) {
    v128.store(to, c0);
    v128.store(to, c1, 16);
    v128.store(to, c2, 32);
    v128.store(to, c3, 48);
    return;
  }
  let c = c0;
  while (left > 0) {
    if (left >= 4) v128.store(to, c);
    else {
      v128.store32_lane(to, c, 0);
      if (left > 1) v128.store32_lane(to, c, 1, 4);
      if (left > 2) v128.store32_lane(to, c, 2, 8);
    }
    c = c1;
    c1 = c2;
    c2 = c3;
    to += 16;
    left -= 4;
  }
}

/** 16 outputs at a time of one output row whose padded input starts at `row`. */
function convolveRow<T>(g: MapGeometry, row: usize, rowBytes: usize, kernel: usize, bias: usize, addend: usize, out: usize): void {
  const width = g.outputWidth;
  const start = bias ? v128.load_splat<T>(bias) : v128.splat<T>(0);
  const down = rowBytes * g.dilationY;
  for (let x = 0; x < width; x += 16) {
    let c0 = start;
    let c1 = start;
    let c2 = start;
    let c3 = start;
    let w = kernel;
    let line = row + (<usize>x << 2);
    for (let ky = 0; ky < g.kernelHeight; ky++) {
      for (let kx = 0; kx < g.kernelWidth; kx++) {
        const at = line + columnOffset(g, kx);
        const s = v128.load_splat<T>(w);
        c0 = v128.add<T>(c0, v128.mul<T>(s, v128.load(at)));
        c1 = v128.add<T>(c1, v128.mul<T>(s, v128.load(at, 16)));
        c2 = v128.add<T>(c2, v128.mul<T>(s, v128.load(at, 32)));
        c3 = v128.add<T>(c3, v128.mul<T>(s, v128.load(at, 48)));
        w += 4;
      }
      line += down;
    }
    const to = out + (<usize>x << 2);
    if (addend) {
      const from = addend + (<usize>x << 2);
      c0 = v128.add<T>(c0, v128.load(from));
      c1 = v128.add<T>(c1, v128.load(from, 16));
      c2 = v128.add<T>(c2, v128.load(from, 32));
      c3 = v128.add<T>(c3, v128.load(from, 48));
    }
    storeVectors(to, width - x, c0, c1, c2, c3);
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
  const outputs = <usize>g.outputHeight * g.outputWidth;
  const rowBytes = <usize>(phaseWords(g) * g.strideX) << 2;
  for (let map = begin; map < end; map++) {
    const channel = map % channels;
    const source = input + (((<usize>(map / g.multiplier) * g.inputHeight) * g.inputWidth) << 2);
    for (let strip = 0; strip < g.outputHeight; strip += g.stripRows) {
      const last = min(g.outputHeight, strip + g.stripRows);
      copyPadded(g, source, strip, last, 0);
      for (let y = strip; y < last; y++) {
        const offset = (<usize>map * outputs + y * g.outputWidth) << 2;
        convolveRow<T>(
          g,
          scratch + <usize>((y - strip) * g.strideY) * rowBytes,
          rowBytes,
          weights + (<usize>(channel * taps) << 2),
          bias ? bias + (<usize>channel << 2) : 0,
          addend ? addend + offset : 0,
          output + offset,
        );
      }
    }
  }
}

export function depthwiseWords(geometry: usize, weights: usize, channels: i32, input: usize, output: usize, bias: usize, addend: usize, begin: i32, end: i32): void {
  depthwise<i32>(geometry, weights, channels, input, output, bias, addend, begin, end);
}

export function depthwiseFloats(geometry: usize, weights: usize, channels: i32, input: usize, output: usize, bias: usize, addend: usize, begin: i32, end: i32): void {
  depthwise<f32>(geometry, weights, channels, input, output, bias, addend, begin, end);
}

/** Sum (or, for floats, maximum) over the windows of one output row. */
function poolRow<T>(g: MapGeometry, row: usize, rowBytes: usize, maximum: bool, multipliers: usize, out: usize): void {
  const width = g.outputWidth;
  const down = rowBytes * g.dilationY;
  for (let x = 0; x < width; x += 16) {
    let line = row + (<usize>x << 2);
    let c0 = v128.load(line);
    let c1 = v128.load(line, 16);
    let c2 = v128.load(line, 32);
    let c3 = v128.load(line, 48);
    for (let ky = 0; ky < g.kernelHeight; ky++) {
      for (let kx = ky == 0 ? 1 : 0; kx < g.kernelWidth; kx++) {
        const at = line + columnOffset(g, kx);
        if (isFloat<T>() && maximum) {
          c0 = f32x4.max(c0, v128.load(at));
          c1 = f32x4.max(c1, v128.load(at, 16));
          c2 = f32x4.max(c2, v128.load(at, 32));
          c3 = f32x4.max(c3, v128.load(at, 48));
        } else {
          c0 = v128.add<T>(c0, v128.load(at));
          c1 = v128.add<T>(c1, v128.load(at, 16));
          c2 = v128.add<T>(c2, v128.load(at, 32));
          c3 = v128.add<T>(c3, v128.load(at, 48));
        }
      }
      line += down;
    }
    if (multipliers) {
      const m = multipliers + (<usize>x << 2);
      c0 = v128.mul<T>(c0, v128.load(m));
      c1 = v128.mul<T>(c1, v128.load(m, 16));
      c2 = v128.mul<T>(c2, v128.load(m, 32));
      c3 = v128.mul<T>(c3, v128.load(m, 48));
    }
    storeVectors(out + (<usize>x << 2), width - x, c0, c1, c2, c3);
  }
}

@inline
function pool<T>(geometry: usize, input: usize, output: usize, maximum: bool, multipliers: usize, begin: i32, end: i32): void {
  const g = changetype<MapGeometry>(geometry);
  const outputs = <usize>g.outputHeight * g.outputWidth;
  const rowBytes = <usize>(phaseWords(g) * g.strideX) << 2;
  const padding = maximum ? reinterpret<i32>(-f32(Infinity)) : 0;
  for (let map = begin; map < end; map++) {
    const source = input + (((<usize>map * g.inputHeight) * g.inputWidth) << 2);
    for (let strip = 0; strip < g.outputHeight; strip += g.stripRows) {
      const last = min(g.outputHeight, strip + g.stripRows);
      copyPadded(g, source, strip, last, padding);
      for (let y = strip; y < last; y++) {
        const inMap = <usize>(y * g.outputWidth) << 2;
        poolRow<T>(
          g,
          scratch + <usize>((y - strip) * g.strideY) * rowBytes,
          rowBytes,
          maximum,
          multipliers ? multipliers + inMap : 0,
          output + ((<usize>map * outputs) << 2) + inMap,
        );
      }
    }
  }
}

/** Items are maps of the batch. */
export function sumPoolWords(geometry: usize, input: usize, output: usize, begin: i32, end: i32): void {
  pool<i32>(geometry, input, output, false, 0, begin, end);
}

/** As sumPoolWords; `multipliers`, one for each output position of a map, or 0. */
export function sumPoolFloats(geometry: usize, input: usize, output: usize, multipliers: usize, begin: i32, end: i32): void {
  pool<f32>(geometry, input, output, false, multipliers, begin, end);
}

export function maxPoolFloats(geometry: usize, input: usize, output: usize, begin: i32, end: i32): void {
  pool<f32>(geometry, input, output, true, 0, begin, end);
}

/** output[i] = the sum of `length` words. Items are runs. */
export function sumRunsWords(input: usize, length: i32, output: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    let at = input + ((<usize>i * length) << 2);
    let sum: i32 = 0;
    for (let j = 0; j < length; j++) {
      sum += load<i32>(at);
      at += 4;
    }
    store<i32>(output + (<usize>i << 2), sum);
  }
}
