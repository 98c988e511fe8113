// Convolution of 32-bit words or floats: columns of the implicit im2col matrix are packed block by block into this thread's
// scratch memory and multiplied with packed weights. Depthwise convolution is in depthwise.ts.
import { tile1, tile4, tile8 } from './gemm';
import { scratch } from './scratch';

// Scratch memory: zeros (a bias or start value of nothing), a ragged tile, what is known of the 8 columns of a tile, then panels.
const zerosAt: usize = 0;
const raggedAt: usize = 64;
const biasAt: usize = 192;
const laneBaseAt: usize = 256;
const laneRowAt: usize = 288;
const laneColumnAt: usize = 320;
const outAt: usize = 352;
const addressAt: usize = 384;
const maskAt: usize = 416;
const panelsAt: usize = 512;

/** A geometry as linear.ts writes it, in 32-bit words. Channels are those of one group. */
@unmanaged
export class Geometry {
  inputChannels: i32;
  inputHeight: i32;
  inputWidth: i32;
  outputChannels: i32;
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
  groups: i32;
  /** Input channels packed at a time. */
  blockChannels: i32;
}

/** Packs panel p of weights [groups * rows, k] into [group][panel][k][4], missing rows being 0. Items are panels of all groups. */
export function packRows(dst: usize, weights: usize, rows: i32, k: i32, begin: i32, end: i32): void {
  const panels = (rows + 3) >> 2;
  for (let item = begin; item < end; item++) {
    const group = item / panels;
    const first = (item % panels) << 2;
    const src = weights + (((<usize>group * rows + first) * k) << 2);
    const to = dst + ((<usize>item * k) << 4);
    for (let r = 0; r < 4; r++) {
      const row = src + ((<usize>r * k) << 2);
      const out = to + (<usize>r << 2);
      if (first + r < rows) {
        for (let i = 0; i < k; i++) store<i32>(out + (<usize>i << 4), load<i32>(row + (<usize>i << 2)));
      } else {
        for (let i = 0; i < k; i++) store<i32>(out + (<usize>i << 4), 0);
      }
    }
  }
}

/** Copies `count` channels, `step` bytes apart, of 8 neighbouring columns of one map row at `src` into panel rows `dstStep` bytes apart. */
function packRun(src: usize, step: usize, dst: usize, dstStep: usize, count: i32): void {
  for (let c = 0; c < count; c++) {
    const v0 = v128.load(src);
    const v1 = v128.load(src, 16);
    v128.store(dst, v0);
    v128.store(dst, v1, 16);
    src += step;
    dst += dstStep;
  }
}

/** As packRun with lanes outside the map set to 0. Reads up to 32 bytes around the row, which are within the heap. */
function packMasked(src: usize, step: usize, dst: usize, dstStep: usize, count: i32, m0: v128, m1: v128): void {
  for (let c = 0; c < count; c++) {
    const v0 = v128.and(v128.load(src), m0);
    const v1 = v128.and(v128.load(src, 16), m1);
    v128.store(dst, v0);
    v128.store(dst, v1, 16);
    src += step;
    dst += dstStep;
  }
}

/** As packMasked for every second column. */
function packSecond(src: usize, step: usize, dst: usize, dstStep: usize, count: i32, m0: v128, m1: v128): void {
  for (let c = 0; c < count; c++) {
    const v0 = v128.shuffle<i32>(v128.load(src), v128.load(src, 16), 0, 2, 4, 6);
    const v1 = v128.shuffle<i32>(v128.load(src, 32), v128.load(src, 48), 0, 2, 4, 6);
    v128.store(dst, v128.and(v0, m0));
    v128.store(dst, v128.and(v1, m1), 16);
    src += step;
    dst += dstStep;
  }
}

function packZero(dst: usize, dstStep: usize, count: i32): void {
  const zero = i32x4.splat(0);
  for (let c = 0; c < count; c++) {
    v128.store(dst, zero);
    v128.store(dst, zero, 16);
    dst += dstStep;
  }
}

/** As packRun for 8 columns at any addresses (in scratch at addressAt) under masks (at maskAt). */
function packGather(step: usize, dst: usize, dstStep: usize, count: i32): void {
  const m0 = v128.load(scratch + maskAt);
  const m1 = v128.load(scratch + maskAt, 16);
  let a0: usize = load<u32>(scratch + addressAt);
  let a1: usize = load<u32>(scratch + addressAt, 4);
  let a2: usize = load<u32>(scratch + addressAt, 8);
  let a3: usize = load<u32>(scratch + addressAt, 12);
  let a4: usize = load<u32>(scratch + addressAt, 16);
  let a5: usize = load<u32>(scratch + addressAt, 20);
  let a6: usize = load<u32>(scratch + addressAt, 24);
  let a7: usize = load<u32>(scratch + addressAt, 28);
  let offset: usize = 0;
  for (let c = 0; c < count; c++) {
    let v0 = v128.load_zero<u32>(a0 + offset);
    let v1 = v128.load_zero<u32>(a4 + offset);
    v0 = v128.load_lane<u32>(a1 + offset, v0, 1);
    v1 = v128.load_lane<u32>(a5 + offset, v1, 1);
    v0 = v128.load_lane<u32>(a2 + offset, v0, 2);
    v1 = v128.load_lane<u32>(a6 + offset, v1, 2);
    v0 = v128.load_lane<u32>(a3 + offset, v0, 3);
    v1 = v128.load_lane<u32>(a7 + offset, v1, 3);
    v128.store(dst, v128.and(v0, m0));
    v128.store(dst, v128.and(v1, m1), 16);
    offset += step;
    dst += dstStep;
  }
}

/** Lanes l of 4 with 0 <= first + l * stride < size, as a mask. */
function insideMask(first: i32, stride: i32, size: i32): v128 {
  let x = i32x4.add(i32x4.splat(first), i32x4.mul(i32x4.splat(stride), i32x4(0, 1, 2, 3)));
  return i32x4.lt_u(x, i32x4.splat(size));
}

/** Packs 8 columns of one output row, starting at (oy, ox) of the image at `image`, `count` channels from it. */
function packRowTile(g: Geometry, image: usize, oy: i32, ox: i32, panel: usize, count: i32): void {
  const map = (<usize>g.inputHeight * g.inputWidth) << 2;
  const taps = g.kernelHeight * g.kernelWidth;
  const dstStep = <usize>taps << 5;
  const stride = g.strideX;
  for (let ky = 0; ky < g.kernelHeight; ky++) {
    const iy = oy * g.strideY - g.padTop + ky * g.dilationY;
    const rowInside = <u32>iy < <u32>g.inputHeight;
    for (let kx = 0; kx < g.kernelWidth; kx++) {
      const dst = panel + (<usize>(ky * g.kernelWidth + kx) << 5);
      if (!rowInside) {
        packZero(dst, dstStep, count);
        continue;
      }
      const ix = ox * stride - g.padLeft + kx * g.dilationX;
      const src = image + (<usize>(iy * g.inputWidth + ix) << 2);
      const inside = ix >= 0 && ix + 7 * stride < g.inputWidth;
      if (stride == 1 && inside) {
        packRun(src, map, dst, dstStep, count);
      } else {
        const m0 = insideMask(ix, stride, g.inputWidth);
        const m1 = insideMask(ix + 4 * stride, stride, g.inputWidth);
        if (stride == 1) packMasked(src, map, dst, dstStep, count, m0, m1);
        else packSecond(src, map, dst, dstStep, count, m0, m1);
      }
    }
  }
}

/** Packs 8 columns that may lie anywhere in the batch; lanes from `valid` on are 0. `first` is the first column's index in the batch. */
function packAnyTile(g: Geometry, input: usize, imageBytes: usize, first: i32, valid: i32, panel: usize, count: i32): void {
  const map = (<usize>g.inputHeight * g.inputWidth) << 2;
  const taps = g.kernelHeight * g.kernelWidth;
  const outputs = g.outputHeight * g.outputWidth;
  for (let l = 0; l < 8; l++) {
    const p = first + min(l, valid - 1);
    const n = p / outputs;
    const r = p % outputs;
    const oy = r / g.outputWidth;
    const ox = r % g.outputWidth;
    const at = scratch + (<usize>l << 2);
    store<u32>(at + laneBaseAt, <u32>(input + <usize>n * imageBytes));
    store<i32>(at + laneRowAt, l < valid ? oy * g.strideY - g.padTop : i32.MIN_VALUE);
    store<i32>(at + laneColumnAt, ox * g.strideX - g.padLeft);
  }
  for (let ky = 0; ky < g.kernelHeight; ky++) {
    for (let kx = 0; kx < g.kernelWidth; kx++) {
      for (let l = 0; l < 8; l++) {
        const at = scratch + (<usize>l << 2);
        const iy = load<i32>(at + laneRowAt) + ky * g.dilationY;
        const ix = load<i32>(at + laneColumnAt) + kx * g.dilationX;
        const inside = <u32>iy < <u32>g.inputHeight && <u32>ix < <u32>g.inputWidth;
        store<u32>(at + addressAt, load<u32>(at + laneBaseAt) + (inside ? (iy * g.inputWidth + ix) << 2 : 0));
        store<i32>(at + maskAt, inside ? -1 : 0);
      }
      packGather(map, panel + (<usize>(ky * g.kernelWidth + kx) << 5), <usize>taps << 5, count);
    }
  }
}

/**
 * The product of a panel of 4 rows with a tile whose columns end early, cross images, or whose rows end early: through a
 * buffer in scratch. Column addresses (byte offsets within a channel-less output) lie in scratch at outAt.
 */
function raggedTile<T>(
  a: usize,
  b: usize,
  kc: i32,
  from: usize,
  bias: usize,
  to: usize,
  rowBytes: usize,
  rows: i32,
  valid: i32,
): void {
  const buffer = scratch + raggedAt;
  let start = scratch + zerosAt;
  let startStride: usize = 0;
  if (from) {
    start = buffer;
    startStride = 32;
    for (let r = 0; r < rows; r++) {
      for (let l = 0; l < valid; l++) {
        const offset = <usize>r * rowBytes + load<u32>(scratch + outAt + (<usize>l << 2));
        store<u32>(buffer + (<usize>r << 5) + (<usize>l << 2), load<u32>(from + offset));
      }
    }
  }
  if (bias && rows < 4) {
    const padded = scratch + biasAt;
    for (let r = 0; r < 4; r++) store<u32>(padded + (<usize>r << 2), r < rows ? load<u32>(bias + (<usize>r << 2)) : 0);
    bias = padded;
  }
  if (!bias) bias = scratch + zerosAt;
  if (valid > 4) tile8<T>(a, b, kc, start, startStride, bias, buffer, 32);
  else tile4<T>(a, b, kc, start, startStride, bias, buffer, 32);
  for (let r = 0; r < rows; r++) {
    for (let l = 0; l < valid; l++) {
      const offset = <usize>r * rowBytes + load<u32>(scratch + outAt + (<usize>l << 2));
      store<u32>(to + offset, load<u32>(buffer + (<usize>r << 5) + (<usize>l << 2)));
    }
  }
}

/** Column addresses of a tile, relative to the group's first output channel of the first image. */
function placeColumns(outputs: i32, imageBytes: usize, first: i32, valid: i32): void {
  for (let l = 0; l < valid; l++) {
    const p = first + l;
    store<u32>(scratch + outAt + (<usize>l << 2), <u32>(<usize>(p / outputs) * imageBytes + (<usize>(p % outputs) << 2)));
  }
}

/**
 * Items are blocks of `itemTiles` tiles of 8 output positions times `itemPanels` panels of 4 output channels, of one group:
 * group fastest, then panels, then positions. bias (one per output channel) and addend (as the output) may be 0.
 */
@inline
function convolve<T>(
  geometry: usize,
  weights: usize,
  input: usize,
  batch: i32,
  output: usize,
  bias: usize,
  addend: usize,
  itemTiles: i32,
  itemPanels: i32,
  begin: i32,
  end: i32,
): void {
  const g = changetype<Geometry>(geometry);
  const zeros = scratch + zerosAt;
  v128.store(zeros, i32x4.splat(0));
  v128.store(zeros, i32x4.splat(0), 16);
  const taps = g.kernelHeight * g.kernelWidth;
  const k = g.inputChannels * taps;
  const panels = (g.outputChannels + 3) >> 2;
  const panelBlocks = (panels + itemPanels - 1) / itemPanels;
  const outputs = g.outputHeight * g.outputWidth;
  const columns = batch * outputs;
  const tiles = (columns + 7) >> 3;
  const mapBytes = <usize>g.inputHeight * g.inputWidth * 4;
  const inputImage = <usize>g.groups * g.inputChannels * mapBytes;
  const rowBytes = <usize>outputs << 2;
  const outputImage = <usize>g.groups * g.outputChannels * rowBytes;
  for (let item = begin; item < end; item++) {
    const group = item % g.groups;
    const firstPanel = ((item / g.groups) % panelBlocks) * itemPanels;
    const lastPanel = min(panels, firstPanel + itemPanels);
    const firstTile = (item / g.groups / panelBlocks) * itemTiles;
    const lastTile = min(tiles, firstTile + itemTiles);
    // At least once: without input channels the output is bias and addend.
    let channel = 0;
    do {
      const count = min(g.blockChannels, g.inputChannels - channel);
      const kc = count * taps;
      const panelBytes = <usize>kc << 5;
      const source = input + <usize>(group * g.inputChannels + channel) * mapBytes;
      for (let t = firstTile; t < lastTile; t++) {
        const p = t << 3;
        const r = p % outputs;
        const ox = r % g.outputWidth;
        const panel = scratch + panelsAt + <usize>(t - firstTile) * panelBytes;
        if (ox + 8 <= g.outputWidth && g.strideX <= 2) {
          packRowTile(g, source + <usize>(p / outputs) * inputImage, r / g.outputWidth, ox, panel, count);
        } else {
          packAnyTile(g, source, inputImage, p, min(8, columns - p), panel, count);
        }
      }
      for (let m = firstPanel; m < lastPanel; m++) {
        const row = group * g.outputChannels + (m << 2);
        const rows = min(4, g.outputChannels - (m << 2));
        const a = weights + (((<usize>group * panels + m) * k + channel * taps) << 4);
        const rowOffset = <usize>row * rowBytes;
        const rowBias = channel == 0 && bias ? bias + (<usize>row << 2) : 0;
        const start = channel == 0 ? addend : output;
        for (let t = firstTile; t < lastTile; t++) {
          const p = t << 3;
          const valid = min(8, columns - p);
          const b = scratch + panelsAt + <usize>(t - firstTile) * panelBytes;
          const r = p % outputs;
          if (rows == 4 && r + 8 <= outputs) {
            const offset = rowOffset + <usize>(p / outputs) * outputImage + (<usize>r << 2);
            const from = start ? start + offset : zeros;
            tile8<T>(a, b, kc, from, start ? rowBytes : 0, rowBias ? rowBias : zeros, output + offset, rowBytes);
          } else {
            placeColumns(outputs, outputImage, p, valid);
            raggedTile<T>(a, b, kc, start ? start + rowOffset : 0, rowBias, output + rowOffset, rowBytes, rows, valid);
          }
        }
      }
      channel += g.blockChannels;
    } while (channel < g.inputChannels);
  }
}

export function convolveWords(
  geometry: usize,
  weights: usize,
  input: usize,
  batch: i32,
  output: usize,
  bias: usize,
  addend: usize,
  itemTiles: i32,
  itemPanels: i32,
  begin: i32,
  end: i32,
): void {
  convolve<i32>(geometry, weights, input, batch, output, bias, addend, itemTiles, itemPanels, begin, end);
}

export function convolveFloats(
  geometry: usize,
  weights: usize,
  input: usize,
  batch: i32,
  output: usize,
  bias: usize,
  addend: usize,
  itemTiles: i32,
  itemPanels: i32,
  begin: i32,
  end: i32,
): void {
  convolve<f32>(geometry, weights, input, batch, output, bias, addend, itemTiles, itemPanels, begin, end);
}

/** output[row] = bias[row] + addend[row] + weights . input for one input vector of k words. Items are panels of 4 rows. */
@inline
function multiplyVector<T>(weights: usize, k: i32, rows: i32, input: usize, output: usize, bias: usize, addend: usize, begin: i32, end: i32): void {
  const buffer = scratch + raggedAt;
  for (let m = begin; m < end; m++) {
    const first = m << 2;
    const count = min(4, rows - first);
    for (let r = 0; r < 4; r++) {
      const at = <usize>(first + r) << 2;
      store<u32>(buffer + (<usize>r << 2), bias && r < count ? load<u32>(bias + at) : 0);
      store<u32>(buffer + 16 + (<usize>r << 2), addend && r < count ? load<u32>(addend + at) : 0);
    }
    tile1<T>(weights + ((<usize>m * k) << 4), input, 4, k, buffer + 16, buffer, buffer + 32);
    for (let r = 0; r < count; r++) store<u32>(output + (<usize>(first + r) << 2), load<u32>(buffer + 32 + (<usize>r << 2)));
  }
}

export function multiplyVectorWords(weights: usize, k: i32, rows: i32, input: usize, output: usize, bias: usize, addend: usize, begin: i32, end: i32): void {
  multiplyVector<i32>(weights, k, rows, input, output, bias, addend, begin, end);
}

export function multiplyVectorFloats(weights: usize, k: i32, rows: i32, input: usize, output: usize, bias: usize, addend: usize, begin: i32, end: i32): void {
  multiplyVector<f32>(weights, k, rows, input, output, bias, addend, begin, end);
}
