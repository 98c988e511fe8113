// Gradients of weights: sums over pictures and positions of an output's gradient times what each weight was multiplied with. Maps are copied,
// padded and split by the stride's phases, into this thread's scratch memory, where every tap is a shift; nothing is laid out a tap at a time.
// Each sum is one thread's, over pictures in order: results do not depend on how many threads there are.
import { scratch } from './scratch';

/** Scratch memory up to here is the convolutions'. */
const tableAt: usize = 512;

/** As training.ts writes it, in 32-bit words. Channels are those of one group. */
@unmanaged
class Record {
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
  /** Input and output channels of an item. */
  blockInputs: i32;
  blockOutputs: i32;
  /** Output rows at a time. */
  bandRows: i32;
  /** Output columns, rounded up to a multiple of 4. */
  columns: i32;
  /** Words of a row, and of a phase, of a padded map. */
  pitch: i32;
  phaseWords: i32;
  /** Least row and column of a phase that an output at 0 reads. */
  leastY: i32;
  leastX: i32;
}

/** Quotient rounded down, for a positive divisor. */
@inline
function floorDivide(a: i32, b: i32): i32 {
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

/**
 * acc[o][c] += products of 4 gradient maps with 2 input maps over rows of vectors, 8 sums of 4 lanes each. Gaps are the bytes from a row's
 * end to the next row.
 */
function addProducts(acc: usize, a0: usize, a1: usize, a2: usize, a3: usize, b0: usize, b1: usize, rows: i32, rowBytes: usize, gapA: usize, gapB: usize): void {
  let c00 = v128.load(acc);
  let c01 = v128.load(acc, 16);
  let c10 = v128.load(acc, 32);
  let c11 = v128.load(acc, 48);
  let c20 = v128.load(acc, 64);
  let c21 = v128.load(acc, 80);
  let c30 = v128.load(acc, 96);
  let c31 = v128.load(acc, 112);
  for (let r = 0; r < rows; r++) {
    const end = b0 + rowBytes;
    while (b0 < end) {
      const x0 = v128.load(b0);
      const x1 = v128.load(b1);
      let g = v128.load(a0);
      c00 = f32x4.add(c00, f32x4.mul(g, x0));
      c01 = f32x4.add(c01, f32x4.mul(g, x1));
      g = v128.load(a1);
      c10 = f32x4.add(c10, f32x4.mul(g, x0));
      c11 = f32x4.add(c11, f32x4.mul(g, x1));
      g = v128.load(a2);
      c20 = f32x4.add(c20, f32x4.mul(g, x0));
      c21 = f32x4.add(c21, f32x4.mul(g, x1));
      g = v128.load(a3);
      c30 = f32x4.add(c30, f32x4.mul(g, x0));
      c31 = f32x4.add(c31, f32x4.mul(g, x1));
      a0 += 16;
      a1 += 16;
      a2 += 16;
      a3 += 16;
      b0 += 16;
      b1 += 16;
    }
    a0 += gapA;
    a1 += gapA;
    a2 += gapA;
    a3 += gapA;
    b0 += gapB;
    b1 += gapB;
  }
  v128.store(acc, c00);
  v128.store(acc, c01, 16);
  v128.store(acc, c10, 32);
  v128.store(acc, c11, 48);
  v128.store(acc, c20, 64);
  v128.store(acc, c21, 80);
  v128.store(acc, c30, 96);
  v128.store(acc, c31, 112);
}

/** As addProducts for one gradient map and 8 input maps, whose byte offsets from `b` lie in a table: depthwise layers. */
function addProductsOfOne(acc: usize, a: usize, b: usize, table: usize, rows: i32, rowBytes: usize, gapA: usize, gapB: usize): void {
  let b0 = b + load<u32>(table);
  let b1 = b + load<u32>(table, 4);
  let b2 = b + load<u32>(table, 8);
  let b3 = b + load<u32>(table, 12);
  let c0 = v128.load(acc);
  let c1 = v128.load(acc, 16);
  let c2 = v128.load(acc, 32);
  let c3 = v128.load(acc, 48);
  for (let r = 0; r < rows; r++) {
    const end = a + rowBytes;
    while (a < end) {
      const g = v128.load(a);
      c0 = f32x4.add(c0, f32x4.mul(g, v128.load(b0)));
      c1 = f32x4.add(c1, f32x4.mul(g, v128.load(b1)));
      c2 = f32x4.add(c2, f32x4.mul(g, v128.load(b2)));
      c3 = f32x4.add(c3, f32x4.mul(g, v128.load(b3)));
      a += 16;
      b0 += 16;
      b1 += 16;
      b2 += 16;
      b3 += 16;
    }
    a += gapA;
    b0 += gapB;
    b1 += gapB;
    b2 += gapB;
    b3 += gapB;
  }
  v128.store(acc, c0);
  v128.store(acc, c1, 16);
  v128.store(acc, c2, 32);
  v128.store(acc, c3, 48);
}

/** Copies the rows that a band of `rows` output rows from `top` reads, of one map: each phase of the stride padded with zeros. */
function copyPhases(g: Record, map: usize, top: i32, rows: i32, to: usize): void {
  const mostY = floorDivide((g.kernelHeight - 1) * g.dilationY - g.padTop, g.strideY);
  const height = rows + mostY - g.leastY;
  for (let py = 0; py < g.strideY; py++) {
    for (let px = 0; px < g.strideX; px++) {
      let row = to + (<usize>((py * g.strideX + px) * g.phaseWords) << 2);
      // Columns inside the map: 0 <= (leastX + j) * strideX + px < inputWidth.
      const first = max(0, -g.leastX);
      const last = max(first, min(g.pitch, (g.inputWidth - px + g.strideX - 1) / g.strideX - g.leastX));
      const bytes = <usize>(last - first) << 2;
      for (let r = 0; r < height; r++, row += <usize>g.pitch << 2) {
        const iy = (top + g.leastY + r) * g.strideY + py;
        if (<u32>iy >= <u32>g.inputHeight || px >= g.inputWidth) {
          memory.fill(row, 0, <usize>g.pitch << 2);
          continue;
        }
        for (let j = 0; j < first; j++) store<f32>(row + (<usize>j << 2), 0);
        let source = map + (<usize>(iy * g.inputWidth + (g.leastX + first) * g.strideX + px) << 2);
        if (g.strideX == 1) {
          let j: usize = 0;
          for (; j + 16 <= bytes; j += 16) v128.store(row + (<usize>first << 2) + j, v128.load(source + j));
          for (; j < bytes; j += 4) store<f32>(row + (<usize>first << 2) + j, load<f32>(source + j));
        } else {
          const step = <usize>g.strideX << 2;
          for (let j = first; j < last; j++, source += step) store<f32>(row + (<usize>j << 2), load<f32>(source));
        }
        for (let j = last; j < g.pitch; j++) store<f32>(row + (<usize>j << 2), 0);
      }
    }
  }
}

/** Byte offset, within the padded maps of a block, of what each weight of an output channel reads; the last is repeated to an end of 8. */
function placeTaps(g: Record, table: usize, channels: i32, channelBytes: usize): void {
  let at = table;
  let offset: usize = 0;
  for (let c = 0; c < channels; c++) {
    for (let ky = 0; ky < g.kernelHeight; ky++) {
      const ty = ky * g.dilationY - g.padTop;
      const qy = floorDivide(ty, g.strideY);
      for (let kx = 0; kx < g.kernelWidth; kx++) {
        const tx = kx * g.dilationX - g.padLeft;
        const qx = floorDivide(tx, g.strideX);
        const phase = (ty - qy * g.strideY) * g.strideX + tx - qx * g.strideX;
        offset = <usize>c * channelBytes + (<usize>(phase * g.phaseWords + (qy - g.leastY) * g.pitch + qx - g.leastX) << 2);
        store<u32>(at, <u32>offset);
        at += 4;
      }
    }
  }
  for (let i = 0; i < 8; i++) store<u32>(at + (<usize>i << 2), <u32>offset);
}

/** Copies rows of `outputWidth` words to rows of `columns`, the rest being 0. */
function padRows(g: Record, source: usize, rows: i32, to: usize): void {
  for (let r = 0; r < rows; r++) {
    let x = 0;
    for (; x < g.outputWidth; x++, source += 4, to += 4) store<f32>(to, load<f32>(source));
    for (; x < g.columns; x++, to += 4) store<f32>(to, 0);
  }
}

/** The sum of a vector's lanes. */
@inline
function lanes(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/**
 * dw[group][o][i][ky][kx] = sum over pictures and positions of dy times what the weight reads of x. Items are blocks of output channels
 * (fastest) times blocks of input channels times groups.
 */
export function weightGradient(record: usize, x: usize, dy: usize, batch: i32, dw: usize, begin: i32, end: i32): void {
  const g = changetype<Record>(record);
  const taps = g.kernelHeight * g.kernelWidth;
  const inputBlocks = (g.inputChannels + g.blockInputs - 1) / g.blockInputs;
  const outputBlocks = (g.outputChannels + g.blockOutputs - 1) / g.blockOutputs;
  const mapBytes = <usize>g.inputHeight * g.inputWidth * 4;
  const outBytes = <usize>g.outputHeight * g.outputWidth * 4;
  const channelBytes = <usize>g.strideY * g.strideX * g.phaseWords * 4;
  const exact = g.columns == g.outputWidth;
  const table = scratch + tableAt;
  for (let item = begin; item < end; item++) {
    const o0 = (item % outputBlocks) * g.blockOutputs;
    const i0 = ((item / outputBlocks) % inputBlocks) * g.blockInputs;
    const group = item / outputBlocks / inputBlocks;
    const outputs = min(g.blockOutputs, g.outputChannels - o0);
    const inputs = min(g.blockInputs, g.inputChannels - i0);
    const k = inputs * taps;
    const single = g.outputChannels == 1;
    const columnsEach = single ? 4 : 2;
    const steps = (k + columnsEach - 1) / columnsEach;
    const panels = single ? 1 : (outputs + 3) >> 2;
    const accBytes = <usize>(single ? 64 : 128);
    const sums = table + ((<usize>k * 4 + 47) & ~15);
    const strips = sums + <usize>panels * steps * accBytes;
    const padded = (strips + <usize>inputs * channelBytes + 31) & ~15;
    memory.fill(sums, 0, <usize>panels * steps * accBytes);
    placeTaps(g, table, inputs, channelBytes);
    for (let n = 0; n < batch; n++) {
      const images = x + (<usize>n * g.groups + group) * g.inputChannels * mapBytes + <usize>i0 * mapBytes;
      const gradients = dy + (<usize>n * g.groups + group) * g.outputChannels * outBytes + <usize>o0 * outBytes;
      for (let top = 0; top < g.outputHeight; top += g.bandRows) {
        const rows = min(g.bandRows, g.outputHeight - top);
        for (let c = 0; c < inputs; c++) copyPhases(g, images + <usize>c * mapBytes, top, rows, strips + <usize>c * channelBytes);
        let from = gradients + (<usize>top * g.outputWidth << 2);
        let stride = outBytes;
        if (!exact) {
          stride = <usize>rows * g.columns << 2;
          for (let o = 0; o < outputs; o++) padRows(g, from + <usize>o * outBytes, rows, padded + <usize>o * stride);
          from = padded;
        }
        const rowBytes = <usize>g.columns << 2;
        const flat = g.pitch == g.columns;
        const runs = flat ? 1 : rows;
        const runBytes = flat ? rowBytes * rows : rowBytes;
        const gap = <usize>(g.pitch - g.columns) << 2;
        for (let panel = 0; panel < panels; panel++) {
          // Rows beyond the last output channel repeat it; their sums are not used.
          const o = panel << 2;
          const a0 = from + <usize>o * stride;
          const a1 = from + <usize>min(o + 1, outputs - 1) * stride;
          const a2 = from + <usize>min(o + 2, outputs - 1) * stride;
          const a3 = from + <usize>min(o + 3, outputs - 1) * stride;
          let acc = sums + <usize>(panel * steps) * accBytes;
          for (let step = 0; step < steps; step++, acc += accBytes) {
            const taken = table + (<usize>(step * columnsEach) << 2);
            if (single) addProductsOfOne(acc, a0, strips, taken, runs, runBytes, 0, gap);
            else addProducts(acc, a0, a1, a2, a3, strips + load<u32>(taken), strips + load<u32>(taken, 4), runs, runBytes, 0, gap);
          }
        }
      }
    }
    for (let o = 0; o < outputs; o++) {
      const to = dw + ((((<usize>group * g.outputChannels + o0 + o) * g.inputChannels + i0) * taps) << 2);
      for (let c = 0; c < k; c++) {
        const acc = sums + <usize>((o >> 2) * steps + c / columnsEach) * accBytes;
        const lane = single ? <usize>(c & 3) << 4 : (<usize>(o & 3) << 5) + (<usize>(c & 1) << 4);
        store<f32>(to + (<usize>c << 2), lanes(v128.load(acc + lane)));
      }
    }
  }
}

/** dw[o][i] = sum over pictures of dy[n][o] x[n][i]. Items are panels of 4 outputs. */
export function denseWeightGradient(x: usize, dy: usize, batch: i32, inputs: i32, outputs: i32, dw: usize, begin: i32, end: i32): void {
  const xBytes = <usize>inputs << 2;
  const dyBytes = <usize>outputs << 2;
  for (let panel = begin; panel < end; panel++) {
    for (let o = panel << 2; o < min(outputs, (panel << 2) + 4); o++) {
      const to = dw + <usize>o * xBytes;
      let i = 0;
      for (; i + 8 <= inputs; i += 8) {
        let s0 = f32x4.splat(0);
        let s1 = f32x4.splat(0);
        let a = x + (<usize>i << 2);
        let g = dy + (<usize>o << 2);
        for (let n = 0; n < batch; n++, a += xBytes, g += dyBytes) {
          const v = v128.load32_splat(g);
          s0 = f32x4.add(s0, f32x4.mul(v, v128.load(a)));
          s1 = f32x4.add(s1, f32x4.mul(v, v128.load(a, 16)));
        }
        v128.store(to + (<usize>i << 2), s0);
        v128.store(to + (<usize>i << 2), s1, 16);
      }
      for (; i < inputs; i++) {
        let sum: f32 = 0;
        for (let n: usize = 0; n < <usize>batch; n++) sum += load<f32>(dy + n * dyBytes + (<usize>o << 2)) * load<f32>(x + n * xBytes + (<usize>i << 2));
        store<f32>(to + (<usize>i << 2), sum);
      }
    }
  }
}
