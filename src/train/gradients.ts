// The ways back through pools and moves: each the adjoint of its step. `count` maps end to end; added to the target, or put there.
import type { AveragePoolNode, ConcatNode, MaxPoolNode, ResampleNode, ViewNode } from '../model/graph.js';
import { sizeOf } from '../model/graph.js';
import { eachTap, poolSizes, viewPositions } from '../model/layout.js';

/** Positions of a map that one output reads, in pairs: output, input. */
function tapsOf(node: AveragePoolNode | MaxPoolNode): Int32Array {
  const pairs: number[] = [];
  eachTap({ ...node.geometry, channels: 1 }, (output, input) => pairs.push(output, input));
  return Int32Array.from(pairs);
}

/** Maps of one channel, of a pool's input and output. */
function mapSizes(node: AveragePoolNode | MaxPoolNode): { input: number; output: number } {
  return poolSizes({ ...node.geometry, channels: 1 });
}

export function averageGradient(node: AveragePoolNode, gradient: Float32Array, count: number, target: Float32Array, add: boolean): void {
  const taps = tapsOf(node);
  const size = mapSizes(node);
  if (!add) target.fill(0);
  const share = Float64Array.from(
    { length: size.output },
    (_, o) => 1 / (node.divisors.length === 1 ? node.divisors[0]! : node.divisors[o]!),
  );
  for (let map = 0; map < count * node.geometry.channels; map++) {
    const from = map * size.output;
    const to = map * size.input;
    for (let k = 0; k < taps.length; k += 2) target[to + taps[k + 1]!]! += gradient[from + taps[k]!]! * share[taps[k]!]!;
  }
}

/** A maximum's gradient goes to the first of its window's greatest values. `values` are those of `pictures` pictures; directions repeat them. */
export function maxPoolGradient(
  node: MaxPoolNode,
  values: Float32Array,
  pictures: number,
  gradient: Float32Array,
  target: Float32Array,
  add: boolean,
): void {
  const taps = tapsOf(node);
  const size = mapSizes(node);
  const maps = pictures * node.geometry.channels;
  const directions = gradient.length / Math.max(1, maps * size.output);
  const greatest = new Int32Array(size.output);
  if (!add) target.fill(0);
  for (let map = 0; map < maps; map++) {
    greatest.fill(-1);
    for (let k = 0; k < taps.length; k += 2) {
      const known = greatest[taps[k]!]!;
      if (known < 0 || values[map * size.input + taps[k + 1]!]! > values[map * size.input + known]!) greatest[taps[k]!] = taps[k + 1]!;
    }
    for (let d = 0; d < directions; d++) {
      const from = (d * maps + map) * size.output;
      const to = (d * maps + map) * size.input;
      for (let o = 0; o < size.output; o++) if (greatest[o]! >= 0) target[to + greatest[o]!]! += gradient[from + o]!;
    }
  }
}

/** Of the input that holds positions [before, before + length) of the joined axis. */
export function concatGradient(
  node: ConcatNode,
  before: number,
  length: number,
  gradient: Float32Array,
  count: number,
  target: Float32Array,
  add: boolean,
): void {
  const inner = sizeOf(node.shape.slice(node.axis + 1));
  const row = node.shape[node.axis]! * inner;
  const part = length * inner;
  const rows = count * sizeOf(node.shape.slice(0, node.axis));
  for (let r = 0; r < rows; r++) {
    const from = r * row + before * inner;
    if (!add) target.set(gradient.subarray(from, from + part), r * part);
    else for (let i = 0; i < part; i++) target[r * part + i]! += gradient[from + i]!;
  }
}

export function viewGradient(node: ViewNode, gradient: Float32Array, count: number, target: Float32Array, add: boolean): void {
  const positions = viewPositions(node);
  const size = sizeOf(node.inputShape);
  if (!add) target.fill(0);
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < positions.length; i++) {
      const position = positions[i]!;
      if (position >= 0) target[n * size + position]! += gradient[n * positions.length + i]!;
    }
  }
}

export function resampleGradient(node: ResampleNode, gradient: Float32Array, count: number, target: Float32Array, add: boolean): void {
  const inner = sizeOf(node.shape.slice(node.axis + 1));
  const outputs = node.shape[node.axis]!;
  const outer = count * sizeOf(node.shape.slice(0, node.axis));
  const inputs = target.length / Math.max(1, outer * inner);
  if (!add) target.fill(0);
  for (let a = 0; a < outer; a++) {
    for (let tap = 0; tap < node.positions.length; tap++) {
      const from = (a * outputs + Math.floor(tap / node.taps)) * inner;
      const to = (a * inputs + node.positions[tap]!) * inner;
      const weight = node.weights[tap]!;
      for (let i = 0; i < inner; i++) target[to + i]! += weight * gradient[from + i]!;
    }
  }
}
