// Convolution mod 2^k of 64-bit words, 33 <= k <= 47: in vectors of 32 bits, where 64-bit multiplication has none (conv-longs.ts is scalar).
// With l = k - 32, every word is a' 2^l + a'' (a'' its low l bits as a signed number), and
//
//   a b = 2^l (a' (b mod 2^32) + a'' b' mod 2^32) + a'' b''   mod 2^k
//
// so that three products of 32 bits do: two sums mod 2^32 as one, and a sum of a'' b'', exact in 32 bits for 2^(33 - 2l) - 1 terms.
import { Geometry } from './conv';
import { laneBaseAt, laneColumnAt, laneRowAt, outAt, placeLanes } from './conv-longs';
import { tile4, tile8 } from './gemm';
import { scratch } from './scratch';

// Scratch memory: what conv-longs.ts knows of the 8 columns of a tile, then both sums of 4 x 8 outputs, zeros, then a panel.
const sumsAt: usize = 128;
const zerosAt: usize = 384;
const panelsAt: usize = 512;

/** Bytes of a step of a panel of weights: 4 rows of a' and a''. */
const weightBytes: usize = 32;

/** The lowest bits of a word, as a signed number. */
@inline
function lowPart(word: i64, low: i32): i64 {
  return (word << (64 - low)) >> (64 - low);
}

/**
 * Packs panel p of weights [groups * rows, k] into [group][panel][block of `block` steps][a' of all its steps, then a''][4], missing rows being 0.
 * Items are panels of all groups.
 */
export function packWideRows(dst: usize, weights: usize, rows: i32, k: i32, block: i32, low: i32, begin: i32, end: i32): void {
  const panels = (rows + 3) >> 2;
  for (let item = begin; item < end; item++) {
    const first = (item % panels) << 2;
    const src = weights + (((<usize>(item / panels) * rows + first) * k) << 3);
    for (let start = 0; start < k; start += block) {
      const steps = min(block, k - start);
      const to = dst + (<usize>item * k + start) * weightBytes;
      for (let r = 0; r < 4; r++) {
        let out = to + (<usize>r << 2);
        for (let i = start; i < start + steps; i++, out += 16) {
          const word: i64 = first + r < rows ? load<i64>(src + ((<usize>r * k + i) << 3)) : 0;
          const part = lowPart(word, low);
          store<i32>(out, <i32>((word - part) >> low));
          store<i32>(out + (<usize>steps << 4), <i32>part);
        }
      }
    }
  }
}

/** Copies `count` channels from byte `offset` of each image on, all taps of the 8 columns that were placed, into the panel: b of all steps, b', b''. */
function packPanel(g: Geometry, offset: usize, count: i32, low: i32): void {
  const map = (<usize>g.inputHeight * g.inputWidth) << 3;
  const taps = g.kernelHeight * g.kernelWidth;
  const step = <usize>taps << 5;
  const highParts = <usize>count * step;
  const lowParts = highParts << 1;
  for (let ky = 0; ky < g.kernelHeight; ky++) {
    for (let kx = 0; kx < g.kernelWidth; kx++) {
      const row = scratch + panelsAt + (<usize>(ky * g.kernelWidth + kx) << 5);
      for (let l = 0; l < 8; l++) {
        const at = scratch + (<usize>l << 2);
        const iy = load<i32>(at + laneRowAt) + ky * g.dilationY;
        const ix = load<i32>(at + laneColumnAt) + kx * g.dilationX;
        const inside = <u32>iy < <u32>g.inputHeight && <u32>ix < <u32>g.inputWidth;
        let to = row + (<usize>l << 2);
        let from = <usize>load<u32>(at + laneBaseAt) + offset + (inside ? <usize>(iy * g.inputWidth + ix) << 3 : 0);
        for (let c = 0; c < count; c++, from += map, to += step) {
          const word: i64 = inside ? load<i64>(from) : 0;
          const part = lowPart(word, low);
          store<i32>(to, <i32>word);
          store<i32>(to + highParts, <i32>((word - part) >> low));
          store<i32>(to + lowParts, <i32>part);
        }
      }
    }
  }
}

/** Adds the sums in scratch to `rows` rows by `columns` columns of the output: the first ones `up` bits higher, then the exact ones. */
function addSums(output: usize, rowBytes: usize, rows: i32, columns: i32, up: i32): void {
  for (let r = 0; r < rows; r++) {
    const sums = scratch + sumsAt + (<usize>r << 5);
    for (let c = 0; c < columns; c++) {
      const at = <usize>c << 2;
      const to = output + <usize>r * rowBytes + <usize>load<u32>(scratch + outAt + at);
      store<i64>(to, load<i64>(to) + ((<i64>load<i32>(sums + at) << up) + <i64>load<i32>(sums + at, 128)));
    }
  }
}

/** to = from + a . b for 4 rows by 8 columns, or the first 4 of them. */
@inline
function multiply(a: usize, b: usize, steps: i32, from: usize, fromStride: usize, to: usize, columns: i32): void {
  const zeros = scratch + zerosAt;
  if (columns > 4) tile8<i32>(a, b, steps, from, fromStride, zeros, to, 32);
  else tile4<i32>(a, b, steps, from, fromStride, zeros, to, 32);
}

/** Makes the exact sums small again: all but their lowest bits go to the others, which count in 2^low. */
function carry(low: i32): void {
  const mask = i32x4.splat((1 << low) - 1);
  const end = scratch + sumsAt + 128;
  for (let at = scratch + sumsAt; at < end; at += 16) {
    const exact = v128.load(at, 128);
    v128.store(at, i32x4.add(v128.load(at), i32x4.shr_s(exact, low)));
    v128.store(at, v128.and(exact, mask), 128);
  }
}

/** Output rows of the panels [first, last) at 8 columns whose inputs are packed. `a` are the weights of panel 0 from the block's first step on. */
function multiplyTile(a: usize, k: i32, kc: i32, output: usize, rowBytes: usize, rows: i32, first: i32, last: i32, valid: i32, low: i32): void {
  // A sum of so many products of low parts, and what a carry leaves, stays within 31 bits and a sign.
  const most = low <= 8 ? kc : min(kc, (1 << (33 - 2 * low)) - 1);
  const zeros = scratch + zerosAt;
  const sums = scratch + sumsAt;
  const exact = sums + 128;
  const panel = scratch + panelsAt;
  const lowParts = panel + (<usize>kc << 6);
  for (let m = first; m < last; m++) {
    const weights = a + <usize>m * k * weightBytes;
    const lowWeights = weights + (<usize>kc << 4);
    multiply(weights, panel, 2 * kc, zeros, 0, sums, valid);
    multiply(lowWeights, lowParts, most, zeros, 0, exact, valid);
    for (let from = most; from < kc; from += most) {
      carry(low);
      multiply(lowWeights + (<usize>from << 4), lowParts + (<usize>from << 5), min(most, kc - from), exact, 32, exact, valid);
    }
    addSums(output + <usize>(m << 2) * rowBytes, rowBytes, min(4, rows - (m << 2)), valid, low);
  }
}

/** Bias and addend, either of which may be 0, to rows [first, last) at the columns that were placed. */
function startTile(output: usize, bias: usize, addend: usize, rowBytes: usize, first: i32, last: i32, valid: i32): void {
  for (let row = first; row < last; row++) {
    const start: i64 = bias ? load<i64>(bias + (<usize>row << 3)) : 0;
    for (let l = 0; l < valid; l++) {
      const offset = <usize>row * rowBytes + <usize>load<u32>(scratch + outAt + (<usize>l << 2));
      store<i64>(output + offset, start + (addend ? load<i64>(addend + offset) : 0));
    }
  }
}

/**
 * output = bias + addend + weights * input mod 2^(32 + low); bits above are anything. Weights are packed by packWideRows; bias (one word an output
 * channel) and addend (as the output) may be 0. Items are blocks of `itemTiles` tiles of 8 output positions times `itemPanels` panels of 4
 * output channels, of one group: group fastest, then panels, then positions.
 */
export function convolveWide(
  geometry: usize,
  weights: usize,
  input: usize,
  batch: i32,
  output: usize,
  bias: usize,
  addend: usize,
  itemTiles: i32,
  itemPanels: i32,
  low: i32,
  begin: i32,
  end: i32,
): void {
  const g = changetype<Geometry>(geometry);
  memory.fill(scratch + zerosAt, 0, 64);
  const taps = g.kernelHeight * g.kernelWidth;
  const k = g.inputChannels * taps;
  const panels = (g.outputChannels + 3) >> 2;
  const panelBlocks = (panels + itemPanels - 1) / itemPanels;
  const outputs = g.outputHeight * g.outputWidth;
  const columns = batch * outputs;
  const mapBytes = (<usize>g.inputHeight * g.inputWidth) << 3;
  const inputImage = <usize>g.groups * g.inputChannels * mapBytes;
  const rowBytes = <usize>outputs << 3;
  const outputImage = <usize>g.groups * g.outputChannels * rowBytes;
  for (let item = begin; item < end; item++) {
    const group = item % g.groups;
    const firstPanel = ((item / g.groups) % panelBlocks) * itemPanels;
    const lastPanel = min(panels, firstPanel + itemPanels);
    const firstColumn = (item / g.groups / panelBlocks) * itemTiles * 8;
    const lastColumn = min(columns, firstColumn + itemTiles * 8);
    const groupRow = group * g.outputChannels;
    const groupOutput = output + <usize>groupRow * rowBytes;
    for (let channel = 0; channel == 0 || channel < g.inputChannels; channel += g.blockChannels) {
      const count = min(g.blockChannels, g.inputChannels - channel);
      const kc = count * taps;
      const a = weights + (<usize>group * panels * k + channel * taps) * weightBytes;
      for (let p = firstColumn; p < lastColumn; p += 8) {
        const valid = min(8, columns - p);
        placeLanes(g, input, inputImage, outputImage, p, valid);
        if (channel == 0)
          startTile(output, bias, addend, rowBytes, groupRow + (firstPanel << 2), groupRow + min(g.outputChannels, lastPanel << 2), valid);
        packPanel(g, <usize>(group * g.inputChannels + channel) * mapBytes, count, low);
        multiplyTile(a, k, kc, groupOutput, rowBytes, g.outputChannels, firstPanel, lastPanel, valid, low);
      }
    }
  }
}
