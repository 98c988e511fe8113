// The ways back through pools and moves: each the adjoint of its step. `count` maps end to end on the heap; added to the target, or put there.
import type { Compute } from '../kernel/compute.js';
import { gatherMaps, type PoolTaps, spreadMaxima, spreadPool } from '../kernel/moves.js';
import type { AveragePoolNode, ConcatNode, MaxPoolNode, ResampleNode, ViewNode } from '../model/graph.js';
import { sizeOf } from '../model/graph.js';
import { eachTap, poolSizes, viewPositions } from '../model/layout.js';

/** What one map's outputs read. */
function tapsOf(node: AveragePoolNode | MaxPoolNode): PoolTaps {
  const geometry = { ...node.geometry, channels: 1 };
  const { input, output } = poolSizes(geometry);
  const pairs: number[] = [];
  eachTap(geometry, (o, i) => pairs.push(o, i));
  return { pairs: Int32Array.from(pairs), inputs: input, outputs: output };
}

export function averageGradient(
  compute: Compute,
  node: AveragePoolNode,
  gradient: Float32Array,
  target: Float32Array,
  add: boolean,
): Promise<void> {
  const pool = tapsOf(node);
  const shares = Array.from({ length: pool.outputs }, (_, o) => 1 / (node.divisors.length === 1 ? node.divisors[0]! : node.divisors[o]!));
  return spreadPool(compute, pool, shares, gradient, target, add);
}

/** A maximum's gradient goes to the first of its window's greatest values; directions repeat the maps of `values`. */
export function maxPoolGradient(
  compute: Compute,
  node: MaxPoolNode,
  values: Float32Array,
  gradient: Float32Array,
  target: Float32Array,
  add: boolean,
): Promise<void> {
  return spreadMaxima(compute, tapsOf(node), values, gradient, target, add);
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

/** Where in the output each position of the input went, or -1; undefined where one went to several places. */
function inverse(positions: Int32Array, size: number): Int32Array | undefined {
  const places = new Int32Array(size).fill(-1);
  for (const [i, position] of positions.entries()) {
    if (position < 0) continue;
    if (places[position]! >= 0) return undefined;
    places[position] = i;
  }
  return places;
}

export async function viewGradient(
  compute: Compute,
  node: ViewNode,
  gradient: Float32Array,
  count: number,
  target: Float32Array,
  add: boolean,
): Promise<void> {
  const positions = viewPositions(node);
  const size = sizeOf(node.inputShape);
  const places = inverse(positions, size);
  if (places) return gatherMaps(compute, gradient, places, count, target, add);
  if (!add) target.fill(0);
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < positions.length; i++) {
      const position = positions[i]!;
      if (position >= 0) target[n * size + position]! += gradient[n * positions.length + i]!;
    }
  }
}

/** `other` is the other factor; directions repeat its values. */
export function productGradient(other: Float32Array, gradient: Float32Array, target: Float32Array, add: boolean): void {
  for (let i = 0; i < gradient.length; i++) target[i] = (add ? target[i]! : 0) + gradient[i]! * other[i % other.length]!;
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
