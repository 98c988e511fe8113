// Convolution and pooling sums of 64-bit words: columns of the implicit im2col matrix, 8 at a time, are copied into this thread's scratch
// memory and multiplied with the weights as they lie. Scalar, as longs.ts is, and for the same reason.
import { Geometry } from './conv';
import { scratch } from './scratch';

// Scratch memory: where each of the 8 columns of a tile begins in the input (bytes) and on the map, where its output lies, then the panel.
export const laneBaseAt: usize = 0;
export const laneRowAt: usize = 32;
export const laneColumnAt: usize = 64;
export const outAt: usize = 96;
const panelAt: usize = 512;

/** Two rows by two columns over `inner` steps: adds a . b to what lies at the four outputs. Single rows or columns are given twice. */
function tile(a0: usize, a1: usize, b: usize, inner: i32, out00: usize, out01: usize, out10: usize, out11: usize): void {
  let c00: i64 = 0;
  let c01: i64 = 0;
  let c10: i64 = 0;
  let c11: i64 = 0;
  const end = a0 + (<usize>inner << 3);
  while (a0 < end) {
    const x0 = load<i64>(a0);
    const x1 = load<i64>(a1);
    const y0 = load<i64>(b);
    const y1 = load<i64>(b, 8);
    c00 += x0 * y0;
    c01 += x0 * y1;
    c10 += x1 * y0;
    c11 += x1 * y1;
    a0 += 8;
    a1 += 8;
    b += 64;
  }
  store<i64>(out00, load<i64>(out00) + c00);
  if (out01 != out00) store<i64>(out01, load<i64>(out01) + c01);
  if (out10 == out00) return;
  store<i64>(out10, load<i64>(out10) + c10);
  if (out11 != out10) store<i64>(out11, load<i64>(out11) + c11);
}

/** Notes where the columns from `first` on begin; missing ones repeat the last. */
export function placeLanes(g: Geometry, input: usize, inputImage: usize, outputImage: usize, first: i32, valid: i32): void {
  const outputs = g.outputHeight * g.outputWidth;
  for (let l = 0; l < 8; l++) {
    const p = first + min(l, valid - 1);
    const r = p % outputs;
    const at = scratch + (<usize>l << 2);
    store<u32>(at + laneBaseAt, <u32>(input + <usize>(p / outputs) * inputImage));
    store<i32>(at + laneRowAt, (r / g.outputWidth) * g.strideY - g.padTop);
    store<i32>(at + laneColumnAt, (r % g.outputWidth) * g.strideX - g.padLeft);
    store<u32>(at + outAt, <u32>(<usize>(p / outputs) * outputImage + (<usize>r << 3)));
  }
}

/** Copies `count` channels from byte `offset` of each image on, all taps of the 8 columns, into the panel [channel][tap][8]. */
function packPanel(g: Geometry, offset: usize, count: i32): void {
  const map = (<usize>g.inputHeight * g.inputWidth) << 3;
  const step = (<usize>g.kernelHeight * g.kernelWidth) << 6;
  for (let ky = 0; ky < g.kernelHeight; ky++) {
    for (let kx = 0; kx < g.kernelWidth; kx++) {
      const row = scratch + panelAt + (<usize>(ky * g.kernelWidth + kx) << 6);
      for (let l = 0; l < 8; l++) {
        const at = scratch + (<usize>l << 2);
        const iy = load<i32>(at + laneRowAt) + ky * g.dilationY;
        const ix = load<i32>(at + laneColumnAt) + kx * g.dilationX;
        let to = row + (<usize>l << 3);
        if (<u32>iy < <u32>g.inputHeight && <u32>ix < <u32>g.inputWidth) {
          let from = <usize>load<u32>(at + laneBaseAt) + offset + (<usize>(iy * g.inputWidth + ix) << 3);
          for (let c = 0; c < count; c++, from += map, to += step) store<i64>(to, load<i64>(from));
        } else {
          for (let c = 0; c < count; c++, to += step) store<i64>(to, 0);
        }
      }
    }
  }
}

/** Adds the panel's part of the product to rows [first, last) of the tile. `a` are the weights of row 0 from the block's first step on. */
function multiplyPanel(a: usize, k: i32, kc: i32, output: usize, rowBytes: usize, first: i32, last: i32, valid: i32): void {
  for (let row = first; row < last; row += 2) {
    const a0 = a + ((<usize>row * k) << 3);
    const two = row + 1 < last;
    const a1 = two ? a0 + (<usize>k << 3) : a0;
    const out0 = output + <usize>row * rowBytes;
    const out1 = two ? out0 + rowBytes : out0;
    for (let l = 0; l < valid; l += 2) {
      const lane = scratch + outAt + (<usize>l << 2);
      const here = <usize>load<u32>(lane);
      const next = l + 1 < valid ? <usize>load<u32>(lane, 4) : here;
      tile(a0, a1, scratch + panelAt + (<usize>l << 3), kc, out0 + here, out0 + next, out1 + here, out1 + next);
    }
  }
}

/**
 * output = bias + addend + weights * input; bias (one word an output channel) and addend (as the output) may be 0. Items are blocks of
 * `itemRows` output channels of one group by tiles of 8 output positions: group fastest, then rows, then positions.
 */
export function convolveLongs(
  geometry: usize,
  weights: usize,
  input: usize,
  batch: i32,
  output: usize,
  bias: usize,
  addend: usize,
  itemRows: i32,
  begin: i32,
  end: i32,
): void {
  const g = changetype<Geometry>(geometry);
  const taps = g.kernelHeight * g.kernelWidth;
  const k = g.inputChannels * taps;
  const outputs = g.outputHeight * g.outputWidth;
  const columns = batch * outputs;
  const rowBlocks = (g.outputChannels + itemRows - 1) / itemRows;
  const mapBytes = (<usize>g.inputHeight * g.inputWidth) << 3;
  const inputImage = <usize>g.groups * g.inputChannels * mapBytes;
  const rowBytes = <usize>outputs << 3;
  const outputImage = <usize>g.groups * g.outputChannels * rowBytes;
  for (let item = begin; item < end; item++) {
    const group = item % g.groups;
    const first = ((item / g.groups) % rowBlocks) * itemRows;
    const last = min(g.outputChannels, first + itemRows);
    const p = (item / g.groups / rowBlocks) << 3;
    const valid = min(8, columns - p);
    placeLanes(g, input, inputImage, outputImage, p, valid);
    const groupRow = group * g.outputChannels;
    for (let row = groupRow + first; row < groupRow + last; row++) {
      const start: i64 = bias ? load<i64>(bias + (<usize>row << 3)) : 0;
      for (let l = 0; l < valid; l++) {
        const offset = <usize>row * rowBytes + <usize>load<u32>(scratch + outAt + (<usize>l << 2));
        store<i64>(output + offset, start + (addend ? load<i64>(addend + offset) : 0));
      }
    }
    const groupOutput = output + <usize>groupRow * rowBytes;
    for (let channel = 0; channel < g.inputChannels; channel += g.blockChannels) {
      const count = min(g.blockChannels, g.inputChannels - channel);
      packPanel(g, <usize>(group * g.inputChannels + channel) * mapBytes, count);
      const a = weights + (((<usize>groupRow * k) + channel * taps) << 3);
      multiplyPanel(a, k, count * taps, groupOutput, rowBytes, first, last, valid);
    }
  }
}

/** Sums over windows of maps; positions outside count as 0. Reads the record of a convolution; items are maps. */
export function sumPoolLongs(geometry: usize, input: usize, output: usize, begin: i32, end: i32): void {
  const g = changetype<Geometry>(geometry);
  for (let map = begin; map < end; map++) {
    const from = input + ((<usize>map * g.inputHeight * g.inputWidth) << 3);
    let to = output + ((<usize>map * g.outputHeight * g.outputWidth) << 3);
    for (let oy = 0; oy < g.outputHeight; oy++) {
      for (let ox = 0; ox < g.outputWidth; ox++, to += 8) {
        let sum: i64 = 0;
        for (let ky = 0; ky < g.kernelHeight; ky++) {
          const iy = oy * g.strideY - g.padTop + ky * g.dilationY;
          if (<u32>iy >= <u32>g.inputHeight) continue;
          for (let kx = 0; kx < g.kernelWidth; kx++) {
            const ix = ox * g.strideX - g.padLeft + kx * g.dilationX;
            if (<u32>ix < <u32>g.inputWidth) sum += load<i64>(from + (<usize>(iy * g.inputWidth + ix) << 3));
          }
        }
        store<i64>(to, sum);
      }
    }
  }
}
