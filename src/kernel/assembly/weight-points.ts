// Gradient of a float convolution with 3 x 3 kernels at stride 1 with respect to its weights, in 36 multiplications for the 144 of a tile of
// 4 x 4 outputs. At each of 36 points (points.ts) a product of matrices runs over tiles.
import { insideMap } from './conv-points';
import { tile8 } from './gemm';
import { combineGradients, combineInputs, combineProducts, gap, points, storeColumns } from './points';
import { scratch } from './scratch';

/** What weight-gradient.ts writes. Channels are those of one group; blocks are those of an item, in whole panels. */
@unmanaged
class Blocks {
  inputChannels: i32;
  inputHeight: i32;
  inputWidth: i32;
  outputChannels: i32;
  outputHeight: i32;
  outputWidth: i32;
  padTop: i32;
  padLeft: i32;
  groups: i32;
  /** Multiples of 8 inputs and of 4 outputs. */
  blockInputs: i32;
  blockOutputs: i32;
  /** Parts that the pictures are divided into; each has gradients of its own. */
  parts: i32;
  /** Tiles of 4 x 4 outputs. */
  tilesDown: i32;
  tilesAcross: i32;
}

/** Tiles at a time. */
const tilesAtOnce = 32;

// Scratch memory: zeros, a tile of 4 channels as it is, the same between two passes, then inputs, output gradients and sums at the points.
const zerosAt: usize = 0;
const rawAt: usize = 512;
const rowsAt: usize = 1088;
const startAt: usize = 1664;

/** The first `columns` of 4 columns of a row of 4 maps at `a` to `d`, as vectors of the maps, 16 bytes apart. */
@inline
function transpose(a: usize, b: usize, c: usize, d: usize, mask: v128, to: usize, columns: i32): void {
  const va = v128.and(v128.load(a), mask);
  const vb = v128.and(v128.load(b), mask);
  const vc = v128.and(v128.load(c), mask);
  const vd = v128.and(v128.load(d), mask);
  storeColumns(va, vb, vc, vd, to, 16, columns);
}

/** Tiles of 6 x 6 inputs of `channels` maps to [point][8 channels][tile][8]. The tile begins at (top, left), which may lie outside. */
function transformInputs(g: Blocks, maps: usize, channels: i32, top: i32, left: i32, to: usize, pointStep: usize): void {
  const mapBytes = <usize>(g.inputHeight * g.inputWidth) << 2;
  const raw = scratch + rawAt;
  const rows = scratch + rowsAt;
  const near = insideMap(left, g.inputWidth);
  const far = insideMap(left + 4, g.inputWidth);
  const last = channels - 1;
  for (let channel = 0; channel < channels; channel += 4) {
    // Channels beyond the last repeat it; their sums are not used.
    const a = maps + <usize>channel * mapBytes;
    const b = maps + <usize>min(channel + 1, last) * mapBytes;
    const c = maps + <usize>min(channel + 2, last) * mapBytes;
    const d = maps + <usize>min(channel + 3, last) * mapBytes;
    for (let y = 0; y < 6; y++) {
      const at = raw + <usize>y * 96;
      if (<u32>(top + y) >= <u32>g.inputHeight) {
        memory.fill(at, 0, 96);
        continue;
      }
      const o = <usize>(((top + y) * g.inputWidth + left) << 2);
      transpose(a + o, b + o, c + o, d + o, near, at, 4);
      transpose(a + o + 16, b + o + 16, c + o + 16, d + o + 16, far, at + 64, 2);
    }
    for (let y: usize = 0; y < 6; y++) combineInputs<f32>(raw + y * 96, 16, rows + y * 96, 16);
    const out = to + <usize>(channel >> 3) * (tilesAtOnce << 5) + <usize>((channel & 4) << 2);
    for (let x: usize = 0; x < 6; x++) combineInputs<f32>(rows + x * 16, 96, out + x * pointStep, 6 * pointStep);
  }
}

/** Tiles of 4 x 4 output gradients of `channels` maps to [point][4 channels][tile][4]. */
function transformGradients(g: Blocks, maps: usize, channels: i32, top: i32, left: i32, to: usize, pointStep: usize): void {
  const mapBytes = <usize>(g.outputHeight * g.outputWidth) << 2;
  const raw = scratch + rawAt;
  const rows = scratch + rowsAt;
  const mask = insideMap(left, g.outputWidth);
  const last = channels - 1;
  for (let channel = 0; channel < channels; channel += 4) {
    const a = maps + <usize>channel * mapBytes;
    const b = maps + <usize>min(channel + 1, last) * mapBytes;
    const c = maps + <usize>min(channel + 2, last) * mapBytes;
    const d = maps + <usize>min(channel + 3, last) * mapBytes;
    for (let y = 0; y < 4; y++) {
      const at = raw + ((<usize>y) << 6);
      if (top + y >= g.outputHeight) {
        memory.fill(at, 0, 64);
        continue;
      }
      const o = <usize>(((top + y) * g.outputWidth + left) << 2);
      transpose(a + o, b + o, c + o, d + o, mask, at, 4);
    }
    for (let y: usize = 0; y < 4; y++) combineGradients(raw + (y << 6), 16, rows + y * 96, 16);
    const out = to + <usize>(channel >> 2) * (tilesAtOnce << 4);
    for (let x: usize = 0; x < 6; x++) combineGradients(rows + x * 16, 96, out + x * pointStep, 6 * pointStep);
  }
}

/** Weights' gradients of one panel of outputs and one of inputs, from its sums at the points, `step` bytes apart. */
function writePanel(sums: usize, step: usize, outputs: i32, inputs: i32, to: usize, rowBytes: usize): void {
  const rows = scratch + rowsAt;
  const done = scratch + rawAt;
  for (let r = 0; r < outputs; r++) {
    for (let first = 0; first < inputs; first += 4) {
      const from = sums + (<usize>r << 5) + (<usize>first << 2);
      for (let x: usize = 0; x < 6; x++) combineProducts(from + x * step, 6 * step, rows + x * 16, 96);
      for (let y: usize = 0; y < 3; y++) combineProducts(rows + y * 96, 16, done + y * 48, 16);
      for (let l = 0; l < min(4, inputs - first); l++) {
        const out = to + <usize>r * rowBytes + <usize>(first + l) * 36;
        for (let k: usize = 0; k < 9; k++) store<f32>(out + (k << 2), load<f32>(done + (k << 4) + (<usize>l << 2)));
      }
    }
  }
}

/**
 * dw[part] = gradient of the weights over a part of the pictures, [outputChannels, inputChannels / groups, 3, 3] each. Items are blocks of
 * inputs, fastest, blocks of outputs, groups, then parts.
 */
export function weightGradientPoints(blocks: usize, x: usize, dy: usize, batch: i32, dw: usize, begin: i32, end: i32): void {
  const g = changetype<Blocks>(blocks);
  const zeros = scratch + zerosAt;
  memory.fill(zeros, 0, 32);
  const inputBlocks = (g.inputChannels + g.blockInputs - 1) / g.blockInputs;
  const outputBlocks = (g.outputChannels + g.blockOutputs - 1) / g.blockOutputs;
  const inputMap = <usize>(g.inputHeight * g.inputWidth) << 2;
  const outputMap = <usize>(g.outputHeight * g.outputWidth) << 2;
  const tiles = g.tilesDown * g.tilesAcross;
  const rowBytes = <usize>g.inputChannels * 36;
  const inputStep = (<usize>g.blockInputs * tilesAtOnce << 2) + gap;
  const gradientStep = (<usize>g.blockOutputs * tilesAtOnce << 2) + gap;
  const inputsAt = scratch + startAt;
  const gradientsAt = inputsAt + points * inputStep;
  const sums = gradientsAt + points * gradientStep;
  for (let item = begin; item < end; item++) {
    const i0 = (item % inputBlocks) * g.blockInputs;
    const o0 = ((item / inputBlocks) % outputBlocks) * g.blockOutputs;
    const group = (item / inputBlocks / outputBlocks) % g.groups;
    const part = item / inputBlocks / outputBlocks / g.groups;
    const inputs = min(g.blockInputs, g.inputChannels - i0);
    const outputs = min(g.blockOutputs, g.outputChannels - o0);
    const inputPanels = (inputs + 7) >> 3;
    const outputPanels = (outputs + 3) >> 2;
    const sumStep = <usize>(inputPanels * outputPanels) << 7;
    memory.fill(sums, 0, points * sumStep);
    const firstTile = (part * batch / g.parts) * tiles;
    const lastTile = ((part + 1) * batch / g.parts) * tiles;
    for (let tile = firstTile; tile < lastTile; tile += tilesAtOnce) {
      const count = min(tilesAtOnce, lastTile - tile);
      for (let t = 0; t < count; t++) {
        const n = (tile + t) / tiles;
        const top = (((tile + t) % tiles) / g.tilesAcross) << 2;
        const left = (((tile + t) % tiles) % g.tilesAcross) << 2;
        const maps = x + <usize>((n * g.groups + group) * g.inputChannels + i0) * inputMap;
        transformInputs(g, maps, inputs, top - g.padTop, left - g.padLeft, inputsAt + (<usize>t << 5), inputStep);
        const gradients = dy + <usize>((n * g.groups + group) * g.outputChannels + o0) * outputMap;
        transformGradients(g, gradients, outputs, top, left, gradientsAt + (<usize>t << 4), gradientStep);
      }
      for (let point: usize = 0; point < points; point++) {
        for (let m = 0; m < outputPanels; m++) {
          const a = gradientsAt + point * gradientStep + <usize>m * (tilesAtOnce << 4);
          for (let i = 0; i < inputPanels; i++) {
            const b = inputsAt + point * inputStep + <usize>i * (tilesAtOnce << 5);
            const sum = sums + point * sumStep + (<usize>(m * inputPanels + i) << 7);
            tile8<f32>(a, b, count, sum, 32, zeros, sum, 32);
          }
        }
      }
    }
    const to = dw + (<usize>part * g.groups * g.outputChannels + <usize>(group * g.outputChannels + o0)) * rowBytes + <usize>i0 * 36;
    for (let m = 0; m < outputPanels; m++) {
      for (let i = 0; i < inputPanels; i++) {
        const from = sums + (<usize>(m * inputPanels + i) << 7);
        const out = to + <usize>(m << 2) * rowBytes + <usize>(i << 3) * 36;
        writePanel(from, sumStep, min(4, outputs - (m << 2)), min(8, inputs - (i << 3)), out, rowBytes);
      }
    }
  }
}

/** out[i] = sum of parts[p][i] over all parts, in their order. */
export function addParts(parts: usize, count: i32, length: i32, out: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    let sum: f32 = 0;
    for (let p = 0; p < count; p++) sum += load<f32>(parts + ((<usize>p * length + i) << 2));
    store<f32>(out + (<usize>i << 2), sum);
  }
}
