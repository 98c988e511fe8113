// Convolution of 32-bit words with 3 x 3 kernels at stride 1, in 36 multiplications for 3 x 3 outputs instead of 81. Only additions,
// subtractions and products: exact in any ring, where Winograd's own algorithms need halves.
//
// In one dimension it is the transpose of Karatsuba's product of three terms (a Toeplitz matrix times a vector, Fan and Hasan 2007):
//   y0 = (x0 - x1 - x2) w0 + x1 (w0 + w1) + x2 (w0 + w2)
//   y1 = (x2 - x1 - x3) w1 + x1 (w0 + w1) + x3 (w1 + w2)
//   y2 = (x4 - x2 - x3) w2 + x2 (w0 + w2) + x3 (w1 + w2)
// and in two dimensions that of itself: 36 points, at each of which a product of matrices runs over the channels.
import { Geometry, packAnyTile } from './conv';
import { tile8 } from './gemm';
import { scratch } from './scratch';

const points = 36;

// Scratch memory: what conv.ts keeps, rows between the two passes of a transform, then inputs as they are and at the points, weights at the
// points, and sums at the points. tiling.ts knows their sizes.
const zerosAt: usize = 0;
/** Between points, beside their channels: else all of them fall into the same few sets of the first-level cache. */
const gap: usize = 64;
const rowsAt: usize = 512;
const startAt: usize = 1088;

/** The six combinations of five vectors `step` bytes apart, to places `toStep` bytes apart. */
@inline
function combineInputs(from: usize, step: usize, to: usize, toStep: usize): void {
  const x1 = v128.load(from + step);
  const x2 = v128.load(from + 2 * step);
  const x3 = v128.load(from + 3 * step);
  v128.store(to, i32x4.sub(i32x4.sub(v128.load(from), x1), x2));
  v128.store(to + toStep, i32x4.sub(i32x4.sub(x2, x1), x3));
  v128.store(to + 2 * toStep, i32x4.sub(i32x4.sub(v128.load(from + 4 * step), x2), x3));
  v128.store(to + 3 * toStep, x1);
  v128.store(to + 4 * toStep, x2);
  v128.store(to + 5 * toStep, x3);
}

/** The six combinations of three weights. */
@inline
function combineWeights(from: usize, step: usize, to: usize, toStep: usize): void {
  const w0 = v128.load(from);
  const w1 = v128.load(from + step);
  const w2 = v128.load(from + 2 * step);
  v128.store(to, w0);
  v128.store(to + toStep, w1);
  v128.store(to + 2 * toStep, w2);
  v128.store(to + 3 * toStep, i32x4.add(w0, w1));
  v128.store(to + 4 * toStep, i32x4.add(w0, w2));
  v128.store(to + 5 * toStep, i32x4.add(w1, w2));
}

/** Three outputs of six sums. */
@inline
function combineSums(from: usize, step: usize, to: usize, toStep: usize): void {
  const m3 = v128.load(from + 3 * step);
  const m4 = v128.load(from + 4 * step);
  const m5 = v128.load(from + 5 * step);
  v128.store(to, i32x4.add(v128.load(from), i32x4.add(m3, m4)));
  v128.store(to + toStep, i32x4.add(v128.load(from + step), i32x4.add(m3, m5)));
  v128.store(to + 2 * toStep, i32x4.add(v128.load(from + 2 * step), i32x4.add(m4, m5)));
}

/** Inputs [channel][5 x 5][8 tiles] to [point][channel][8 tiles]. */
function transformInputs(raw: usize, to: usize, channels: i32): void {
  const rows = scratch + rowsAt;
  const pointStep = (<usize>channels << 5) + gap;
  for (let c = 0; c < channels; c++) {
    for (let half: usize = 0; half < 32; half += 16) {
      const from = raw + <usize>c * 800 + half;
      for (let y: usize = 0; y < 5; y++) combineInputs(from + y * 160, 32, rows + y * 96, 16);
      const out = to + (<usize>c << 5) + half;
      for (let x: usize = 0; x < 6; x++) combineInputs(rows + x * 16, 96, out + x * pointStep, 6 * pointStep);
    }
  }
}

/** Weights [channel][3 x 3][4 rows] to [point][channel][4 rows]. */
function transformWeights(weights: usize, to: usize, channels: i32): void {
  const rows = scratch + rowsAt;
  const pointStep = (<usize>channels << 4) + gap;
  for (let c = 0; c < channels; c++) {
    const from = weights + <usize>c * 144;
    for (let y: usize = 0; y < 3; y++) combineWeights(from + y * 48, 16, rows + y * 96, 16);
    const out = to + (<usize>c << 4);
    for (let x: usize = 0; x < 6; x++) combineWeights(rows + x * 16, 96, out + x * pointStep, 6 * pointStep);
  }
}

/** A map of outputs and what is added to it: `start` a bias, `addend` words of the same map or 0. */
@inline
function storeLane(out: usize, addend: usize, start: i32, word: i32): void {
  store<i32>(out, word + start + (addend ? load<i32>(addend) : 0));
}

/** The 3 x 3 outputs of 4 tiles of one output channel, from its sums [point][4 rows][8 tiles]. */
function writeFour(g: Geometry, height: i32, width: i32, sums: usize, first: i32, valid: i32, image: usize, output: usize, addend: usize, start: i32): void {
  const rows = scratch + rowsAt;
  for (let x: usize = 0; x < 6; x++) combineSums(sums + x * 128, 768, rows + x * 16, 96);
  const nine = rows + 288;
  for (let y: usize = 0; y < 3; y++) combineSums(rows + y * 96, 16, nine + y * 48, 16);
  const tiles = g.outputHeight * g.outputWidth;
  for (let l = 0; l < valid; l++) {
    const tile = (first + l) % tiles;
    const top = (tile / g.outputWidth) * 3;
    const left = (tile % g.outputWidth) * 3;
    const at = <usize>((first + l) / tiles) * image + (<usize>(top * width + left) << 2);
    const down = min(3, height - top);
    const across = min(3, width - left);
    for (let y = 0; y < down; y++) {
      for (let x = 0; x < across; x++) {
        const o = at + (<usize>(y * width + x) << 2);
        const word = load<i32>(nine + (<usize>(y * 3 + x) << 4) + (<usize>l << 2));
        storeLane(output + o, addend ? addend + o : 0, start, word);
      }
    }
  }
}

/**
 * output = bias + addend + weights * input, bias (one word an output channel) and addend (as the output) may be 0. The geometry is that of the
 * tiles: kernels of 5 x 5 at strides of 3, with as many outputs as tiles; `height` and `width` are those of the output. Weights lie as packRows
 * leaves them. Items are `itemTiles` groups of 8 tiles times `itemPanels` panels of 4 output channels, of one group of channels: that
 * fastest, then panels, then tiles.
 */
export function convolveNine(
  geometry: usize,
  weights: usize,
  input: usize,
  batch: i32,
  output: usize,
  bias: usize,
  addend: usize,
  height: i32,
  width: i32,
  itemTiles: i32,
  itemPanels: i32,
  begin: i32,
  end: i32,
): void {
  const g = changetype<Geometry>(geometry);
  const zeros = scratch + zerosAt;
  memory.fill(zeros, 0, 32);
  const k = g.inputChannels * 9;
  const panels = (g.outputChannels + 3) >> 2;
  const panelBlocks = (panels + itemPanels - 1) / itemPanels;
  const tiles = batch * g.outputHeight * g.outputWidth;
  const groupsOfTiles = (tiles + 7) >> 3;
  const mapBytes = (<usize>g.inputHeight * g.inputWidth) << 2;
  const inputImage = <usize>g.groups * g.inputChannels * mapBytes;
  const rowBytes = <usize>(height * width) << 2;
  const outputImage = <usize>g.groups * g.outputChannels * rowBytes;
  const raw = scratch + startAt;
  const atPoints = raw + <usize>g.blockChannels * 800;
  const weightsAtPoints = atPoints + <usize>(itemTiles * points) * ((<usize>g.blockChannels << 5) + gap);
  const sums = weightsAtPoints + <usize>points * ((<usize>g.blockChannels << 4) + gap);
  for (let item = begin; item < end; item++) {
    const group = item % g.groups;
    const firstPanel = ((item / g.groups) % panelBlocks) * itemPanels;
    const lastPanel = min(panels, firstPanel + itemPanels);
    const firstTile = (item / g.groups / panelBlocks) * itemTiles;
    const count = min(itemTiles, groupsOfTiles - firstTile);
    for (let channel = 0; channel < g.inputChannels; channel += g.blockChannels) {
      const channels = min(g.blockChannels, g.inputChannels - channel);
      const source = input + <usize>(group * g.inputChannels + channel) * mapBytes;
      const inputStep = (<usize>channels << 5) + gap;
      const weightStep = (<usize>channels << 4) + gap;
      for (let t = 0; t < count; t++) {
        const p = (firstTile + t) << 3;
        packAnyTile(g, source, inputImage, p, min(8, tiles - p), raw, channels);
        transformInputs(raw, atPoints + <usize>(t * points) * inputStep, channels);
      }
      for (let m = firstPanel; m < lastPanel; m++) {
        transformWeights(weights + (((<usize>group * panels + m) * k + channel * 9) << 4), weightsAtPoints, channels);
        for (let point = 0; point < points; point++) {
          const a = weightsAtPoints + <usize>point * weightStep;
          for (let t = 0; t < count; t++) {
            const b = atPoints + <usize>(t * points + point) * inputStep;
            const to = sums + (<usize>(((m - firstPanel) * itemTiles + t) * points + point) << 7);
            if (channel == 0) tile8<i32>(a, b, channels, zeros, 0, zeros, to, 32);
            else tile8<i32>(a, b, channels, to, 32, zeros, to, 32);
          }
        }
      }
    }
    for (let m = firstPanel; m < lastPanel; m++) {
      for (let r = 0; r < min(4, g.outputChannels - (m << 2)); r++) {
        const row = <usize>(group * g.outputChannels + (m << 2) + r);
        const start = bias ? load<i32>(bias + (row << 2)) : 0;
        const to = output + row * rowBytes;
        const from = addend ? addend + row * rowBytes : 0;
        for (let t = 0; t < count; t++) {
          const at = sums + (<usize>(((m - firstPanel) * itemTiles + t) * points) << 7) + (<usize>r << 5);
          for (let half = 0; half < 8; half += 4) {
            const p = ((firstTile + t) << 3) + half;
            if (p < tiles) writeFour(g, height, width, at + (<usize>half << 2), p, min(4, tiles - p), outputImage, to, from, start);
          }
        }
      }
    }
  }
}
