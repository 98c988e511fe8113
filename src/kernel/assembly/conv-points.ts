// Convolution with 3 x 3 kernels at stride 1 in 36 multiplications for a tile of outputs: of 3 x 3 words, which would take 81, or of 4 x 4
// floats, which would take 144. At each of 36 points (points.ts) a product of matrices runs over the channels.
import { Geometry } from './conv';
import { tile8 } from './gemm';
import { combineInputs, combineSums, combineWeights, gap, inputsOf, outputsOf, points, storeColumns } from './points';
import { scratch } from './scratch';

// Scratch memory: what conv.ts keeps, rows between the two passes of a transform, then inputs as they are and at the points, weights at the
// points, and sums at the points. tiling.ts knows their sizes.
const zerosAt: usize = 0;
const rowsAt: usize = 512;
const startAt: usize = 1152;
/** Of 4 tiles, where conv.ts keeps what it knows of 8 columns: byte offsets of their outputs, and how many of those there are. */
const placesAt: usize = 352;
const downAt: usize = 384;
const acrossAt: usize = 416;

// Of 8 tiles that are packed, in place of the rows: addresses of their first inputs, which may lie outside the map, where those are in
// it, and which of the first and the next 4 columns are.
const cornersAt: usize = 512;
const topsAt: usize = 544;
const leftsAt: usize = 576;
const nearAt: usize = 608;
const farAt: usize = 736;

/** Lanes l with 0 <= first + l < size. */
@inline
export function insideMap(first: i32, size: i32): v128 {
  return i32x4.lt_u(i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3)), i32x4.splat(size));
}

/** Where 4 columns from `column` of a tile's row begin; somewhere in the image where none of them is in the map, whose mask is then empty. */
@inline
function columnsOf(g: Geometry, lane: usize, y: i32, column: i32, image: usize): usize {
  const row = load<i32>(scratch + topsAt + (lane << 2)) + y;
  const first = load<i32>(scratch + leftsAt + (lane << 2)) + column;
  const safe = <u32>row >= <u32>g.inputHeight || first <= -4 || first >= g.inputWidth;
  return safe ? image : load<u32>(scratch + cornersAt + (lane << 2)) + ((y * g.inputWidth + column) << 2);
}

/** The mask of a tile's 4 columns, at nearAt or farAt, where the row is in the map. */
@inline
function maskOf(g: Geometry, masks: usize, lane: usize, y: i32): v128 {
  const row = load<i32>(scratch + topsAt + (lane << 2)) + y;
  return <u32>row < <u32>g.inputHeight ? v128.load(scratch + masks + (lane << 4)) : i32x4.splat(0);
}

/** Packs the inputs of 8 tiles into [channel][side x side][8 tiles]; tiles from `valid` on are 0. `first` is the first tile's index in the batch. */
function packTiles<T>(g: Geometry, input: usize, imageBytes: usize, first: i32, valid: i32, raw: usize, channels: i32): void {
  const tiles = g.outputHeight * g.outputWidth;
  for (let l = 0; l < 8; l++) {
    const tile = first + min(l, valid - 1);
    const top = ((tile % tiles) / g.outputWidth) * g.strideY - g.padTop;
    const left = ((tile % tiles) % g.outputWidth) * g.strideX - g.padLeft;
    const at = scratch + (<usize>l << 2);
    store<u32>(at + cornersAt, <u32>(input + <usize>(tile / tiles) * imageBytes + <usize>((top * g.inputWidth + left) << 2)));
    store<i32>(at + topsAt, l < valid ? top : i32.MIN_VALUE);
    store<i32>(at + leftsAt, left);
    const mask = scratch + (<usize>l << 4);
    v128.store(mask + nearAt, insideMap(left, g.inputWidth));
    v128.store(mask + farAt, insideMap(left + 4, g.inputWidth));
  }
  const side = <i32>inputsOf<T>();
  for (let lane: usize = 0; lane < 8; lane += 4) {
    for (let y = 0; y < side; y++) {
      const to = raw + ((<usize>(y * side)) << 5) + (lane << 2);
      packFour(g, input, lane, y, 0, nearAt, to, channels, <usize>(side * side) << 5, 4);
      packFour(g, input, lane, y, 4, farAt, to + 128, channels, <usize>(side * side) << 5, side - 4);
    }
  }
}

/** Up to 4 columns of a row of 4 tiles, from all channels, each a vector of the tiles. */
@inline
function packFour(g: Geometry, image: usize, lane: usize, y: i32, column: i32, masks: usize, to: usize, channels: i32, step: usize, columns: i32): void {
  const mapBytes = (<usize>g.inputHeight * g.inputWidth) << 2;
  let a = columnsOf(g, lane, y, column, image);
  let b = columnsOf(g, lane + 1, y, column, image);
  let c = columnsOf(g, lane + 2, y, column, image);
  let d = columnsOf(g, lane + 3, y, column, image);
  const ma = maskOf(g, masks, lane, y);
  const mb = maskOf(g, masks, lane + 1, y);
  const mc = maskOf(g, masks, lane + 2, y);
  const md = maskOf(g, masks, lane + 3, y);
  for (let channel = 0; channel < channels; channel++) {
    const va = v128.and(v128.load(a), ma);
    const vb = v128.and(v128.load(b), mb);
    const vc = v128.and(v128.load(c), mc);
    const vd = v128.and(v128.load(d), md);
    storeColumns(va, vb, vc, vd, to, 32, columns);
    a += mapBytes;
    b += mapBytes;
    c += mapBytes;
    d += mapBytes;
    to += step;
  }
}

/** Inputs [channel][side x side][8 tiles] to [point][channel][8 tiles]. */
function transformInputs<T>(raw: usize, to: usize, channels: i32): void {
  const rows = scratch + rowsAt;
  const side = inputsOf<T>();
  const pointStep = (<usize>channels << 5) + gap;
  for (let c = 0; c < channels; c++) {
    for (let half: usize = 0; half < 32; half += 16) {
      const from = raw + <usize>c * side * side * 32 + half;
      for (let y: usize = 0; y < side; y++) combineInputs<T>(from + y * side * 32, 32, rows + y * 96, 16);
      const out = to + (<usize>c << 5) + half;
      for (let x: usize = 0; x < 6; x++) combineInputs<T>(rows + x * 16, 96, out + x * pointStep, 6 * pointStep);
    }
  }
}

/** Weights [channel][3 x 3][4 rows] to [point][channel][4 rows]. */
function transformWeights<T>(weights: usize, to: usize, channels: i32): void {
  const rows = scratch + rowsAt;
  const pointStep = (<usize>channels << 4) + gap;
  for (let c = 0; c < channels; c++) {
    const from = weights + <usize>c * 144;
    for (let y: usize = 0; y < 3; y++) combineWeights<T>(from + y * 48, 16, rows + y * 96, 16);
    const out = to + (<usize>c << 4);
    for (let x: usize = 0; x < 6; x++) combineWeights<T>(rows + x * 16, 96, out + x * pointStep, 6 * pointStep);
  }
}

/** A map of outputs and what is added to it: `start` a bias, `addend` numbers of the same map or 0. */
@inline
function storeLane<T>(out: usize, addend: usize, start: T, sum: T): void {
  store<T>(out, sum + start + (addend ? load<T>(addend) : <T>0));
}

/** Rows of 4 outputs of 4 tiles each, from a vector of the tiles for each output of the row: row y of tile l to `places` [l] + `offset`. */
@inline
function storeRows<T>(from: usize, places: usize, offset: usize, output: usize, addend: usize, start: T): void {
  const a = v128.load(from);
  const b = v128.load(from, 16);
  const c = v128.load(from, 32);
  const d = v128.load(from, 48);
  const ab0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const ab1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cd0 = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const cd1 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  storeRow<T>(v128.shuffle<i64>(ab0, cd0, 0, 2), <usize>load<u32>(places) + offset, output, addend, start);
  storeRow<T>(v128.shuffle<i64>(ab0, cd0, 1, 3), <usize>load<u32>(places, 4) + offset, output, addend, start);
  storeRow<T>(v128.shuffle<i64>(ab1, cd1, 0, 2), <usize>load<u32>(places, 8) + offset, output, addend, start);
  storeRow<T>(v128.shuffle<i64>(ab1, cd1, 1, 3), <usize>load<u32>(places, 12) + offset, output, addend, start);
}

@inline
function storeRow<T>(row: v128, at: usize, output: usize, addend: usize, start: T): void {
  const sum = v128.add<T>(row, v128.splat<T>(start));
  v128.store(output + at, addend ? v128.add<T>(sum, v128.load(addend + at)) : sum);
}

/** Puts into scratch memory where the outputs of 4 tiles go and how many of each are in the map. Returns whether all of all are. */
function placeTiles<T>(g: Geometry, height: i32, width: i32, first: i32, valid: i32, image: usize): bool {
  const side = <i32>outputsOf<T>();
  const tiles = g.outputHeight * g.outputWidth;
  let whole = valid == 4;
  for (let l = 0; l < valid; l++) {
    const tile = (first + l) % tiles;
    const top = (tile / g.outputWidth) * side;
    const left = (tile % g.outputWidth) * side;
    store<u32>(scratch + placesAt + (<usize>l << 2), <u32>(<usize>((first + l) / tiles) * image + (<usize>(top * width + left) << 2)));
    store<i32>(scratch + downAt + (<usize>l << 2), min(side, height - top));
    store<i32>(scratch + acrossAt + (<usize>l << 2), min(side, width - left));
    whole = whole && top + side <= height && left + side <= width;
  }
  return whole;
}

/** The outputs of the 4 tiles that were placed, of one output channel, from its sums [point][4 rows][8 tiles]. */
function writeFour<T>(width: i32, whole: bool, sums: usize, valid: i32, output: usize, addend: usize, start: T): void {
  const side = outputsOf<T>();
  const rows = scratch + rowsAt;
  for (let x: usize = 0; x < 6; x++) combineSums<T>(sums + x * 128, 768, rows + x * 16, 96);
  const done = rows + side * 96;
  for (let y: usize = 0; y < side; y++) combineSums<T>(rows + y * 96, 16, done + y * side * 16, 16);
  if (isFloat<T>() && whole) {
    for (let y: usize = 0; y < side; y++) storeRows<T>(done + y * 64, scratch + placesAt, (y * <usize>width) << 2, output, addend, start);
    return;
  }
  for (let l: usize = 0; l < <usize>valid; l++) {
    const at = <usize>load<u32>(scratch + placesAt + (l << 2));
    const down = <usize>load<i32>(scratch + downAt + (l << 2));
    const across = <usize>load<i32>(scratch + acrossAt + (l << 2));
    for (let y: usize = 0; y < down; y++) {
      for (let x: usize = 0; x < across; x++) {
        const o = at + ((y * <usize>width + x) << 2);
        storeLane<T>(output + o, addend ? addend + o : 0, start, load<T>(done + ((y * side + x) << 4) + (l << 2)));
      }
    }
  }
}

/**
 * output = bias + addend + weights * input, bias (one word an output channel) and addend (as the output) may be 0. The geometry is that of the
 * tiles: kernels of as many inputs as a tile reads at strides of its side, with as many outputs as tiles; `height` and `width` are those of the output. Weights lie as packRows
 * leaves them. Items are `itemTiles` groups of 8 tiles times `itemPanels` panels of 4 output channels, of one group of channels: that
 * fastest, then panels, then tiles.
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
  const atPoints = raw + <usize>g.blockChannels * inputsOf<T>() * inputsOf<T>() * 32;
  const weightsAtPoints = atPoints + <usize>itemTiles * points * ((<usize>g.blockChannels << 5) + gap);
  const sums = weightsAtPoints + points * ((<usize>g.blockChannels << 4) + gap);
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
        packTiles<T>(g, source, inputImage, p, min(8, tiles - p), raw, channels);
        transformInputs<T>(raw, atPoints + <usize>t * points * inputStep, channels);
      }
      for (let m = firstPanel; m < lastPanel; m++) {
        transformWeights<T>(weights + (((<usize>group * panels + m) * k + channel * 9) << 4), weightsAtPoints, channels);
        for (let point: usize = 0; point < points; point++) {
          const a = weightsAtPoints + point * weightStep;
          for (let t = 0; t < count; t++) {
            const b = atPoints + (<usize>t * points + point) * inputStep;
            const to = sums + ((<usize>((m - firstPanel) * itemTiles + t) * points + point) << 7);
            if (channel == 0) tile8<T>(a, b, channels, zeros, 0, zeros, to, 32);
            else tile8<T>(a, b, channels, to, 32, zeros, to, 32);
          }
        }
      }
    }
    for (let t = 0; t < count; t++) {
      for (let half = 0; half < 8; half += 4) {
        const p = ((firstTile + t) << 3) + half;
        const valid = min(4, tiles - p);
        if (valid <= 0) continue;
        const whole = placeTiles<T>(g, height, width, p, valid, outputImage);
        for (let m = firstPanel; m < lastPanel; m++) {
          const at = sums + (<usize>((m - firstPanel) * itemTiles + t) * points << 7) + (<usize>half << 2);
          for (let r = 0; r < min(4, g.outputChannels - (m << 2)); r++) {
            const row = <usize>(group * g.outputChannels + (m << 2) + r);
            const start = bias ? load<T>(bias + (row << 2)) : <T>0;
            const from = addend ? addend + row * rowBytes : 0;
            writeFour<T>(width, whole, at + (<usize>r << 5), valid, output + row * rowBytes, from, start);
          }
        }
      }
    }
  }
}

export function convolvePointsWords(
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
  convolve<i32>(geometry, weights, input, batch, output, bias, addend, height, width, itemTiles, itemPanels, begin, end);
}

export function convolvePointsFloats(
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
  convolve<f32>(geometry, weights, input, batch, output, bias, addend, height, width, itemTiles, itemPanels, begin, end);
}
