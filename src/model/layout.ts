// Moves and pools over one picture's elements, for any kind of number: shared by the float executor and the fixed-point simulator.
import type { PoolGeometry } from '../kernel/geometry.js';
import type { ViewNode } from './graph.js';

export type Numbers = Float32Array | Int32Array | Float64Array;

/** As {@link Numbers}, or 64-bit words, which move as well but do not compare. */
export type Elements = Numbers | BigInt64Array;

/** For each element of a view's output the position it is read from, or −1 where it is 0. */
export function viewPositions(view: Pick<ViewNode, 'inputShape' | 'axes'>): Int32Array {
  let positions = new Int32Array(1);
  const strides = view.inputShape.map((_, d) => view.inputShape.slice(d + 1).reduce((a, b) => a * b, 1));
  for (const { axis, start, step, size } of view.axes) {
    const next = new Int32Array(positions.length * size);
    const length = view.inputShape[axis] ?? 0;
    const stride = strides[axis] ?? 0;
    for (let i = 0, at = 0; i < positions.length; i++) {
      const base = positions[i]!;
      for (let o = 0; o < size; o++, at++) {
        const coordinate = start + step * o;
        next[at] = base < 0 || coordinate < 0 || coordinate >= length ? -1 : base + coordinate * stride;
      }
    }
    positions = next;
  }
  return positions;
}

/** Reads `count` pictures of `inputSize` elements through {@link viewPositions}. */
export function gather<T extends Elements>(input: T, inputSize: number, positions: Int32Array, count: number, output: T): void {
  const size = positions.length;
  const zero = output instanceof BigInt64Array ? 0n : 0;
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < size; i++) {
      const p = positions[i]!;
      output[n * size + i] = p < 0 ? zero : input[n * inputSize + p]!;
    }
  }
}

/** Joins pictures along an axis. `runs[i]` is the number of elements of input i from that axis inwards. */
export function join<T extends Elements>(inputs: readonly T[], runs: readonly number[], output: T): void {
  const total = runs.reduce((a, b) => a + b, 0);
  let offset = 0;
  inputs.forEach((input, k) => {
    const run = runs[k]!;
    for (let i = 0, at = 0; at < input.length; i++, at += run)
      (output as Int32Array).set(input.subarray(at, at + run) as Int32Array, i * total + offset);
    offset += run;
  });
}

/** Calls `visit(output index, input index)` for every tap of every window of one picture that lies in the map. */
export function eachTap(g: PoolGeometry, visit: (output: number, input: number) => void): void {
  for (let c = 0; c < g.channels; c++) {
    for (let oy = 0; oy < g.outputHeight; oy++) {
      for (let ox = 0; ox < g.outputWidth; ox++) {
        const output = (c * g.outputHeight + oy) * g.outputWidth + ox;
        for (let ky = 0; ky < g.kernelHeight; ky++) {
          const y = oy * g.strideY + ky * g.dilationY - g.padTop;
          if (y < 0 || y >= g.inputHeight) continue;
          for (let kx = 0; kx < g.kernelWidth; kx++) {
            const x = ox * g.strideX + kx * g.dilationX - g.padLeft;
            if (x >= 0 && x < g.inputWidth) visit(output, (c * g.inputHeight + y) * g.inputWidth + x);
          }
        }
      }
    }
  }
}

/** Sizes of a pool's input and output for one picture. */
export function poolSizes(g: PoolGeometry): { input: number; output: number } {
  return { input: g.channels * g.inputHeight * g.inputWidth, output: g.channels * g.outputHeight * g.outputWidth };
}

/** Maxima over windows of `count` pictures. */
export function maxPool(g: PoolGeometry, input: Numbers, count: number, output: Numbers): void {
  const size = poolSizes(g);
  for (let n = 0; n < count; n++) {
    const from = n * size.input;
    const to = n * size.output;
    let last = -1;
    eachTap(g, (o, i) => {
      const value = input[from + i]!;
      if (o !== last || value > output[to + o]!) output[to + o] = value;
      last = o;
    });
  }
}

/**
 * Calls `visit` with the first and one-past-last row and column of every patch of a map; patches at the lower and right edge are cut.
 */
export function eachPatch(
  height: number,
  width: number,
  patch: readonly [number, number],
  visit: (top: number, bottom: number, left: number, right: number) => void,
): void {
  for (let top = 0; top < height; top += patch[0]) {
    for (let left = 0; left < width; left += patch[1]) {
      visit(top, Math.min(top + patch[0], height), left, Math.min(left + patch[1], width));
    }
  }
}
