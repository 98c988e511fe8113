// Slow and obvious twins of moves.ts. All add to their output.
import type { PhasePlace, PoolTaps } from './moves.js';

export function plainGatherMaps(input: Float32Array, order: Int32Array, count: number, output: Float32Array): void {
  const size = input.length / count;
  output.forEach((_, i) => {
    const at = order[i % order.length]!;
    if (at >= 0) output[i]! += input[Math.floor(i / order.length) * size + at]!;
  });
}

export function plainSpreadPool(
  { pairs, inputs, outputs }: PoolTaps,
  shares: ArrayLike<number>,
  gradient: Float32Array,
  output: Float32Array,
): void {
  for (let map = 0; map < gradient.length / outputs; map++) {
    for (let k = 0; k < pairs.length; k += 2) {
      output[map * inputs + pairs[k + 1]!]! += gradient[map * outputs + pairs[k]!]! * shares[pairs[k]!]!;
    }
  }
}

export function plainSpreadMaxima(
  { pairs, inputs, outputs }: PoolTaps,
  values: Float32Array,
  gradient: Float32Array,
  output: Float32Array,
): void {
  for (let at = 0; at < gradient.length; at++) {
    const map = Math.floor(at / outputs);
    const from = (map * inputs) % values.length;
    let best = -1;
    for (let k = 0; k < pairs.length; k += 2) {
      if (pairs[k] === at % outputs && (best < 0 || values[from + pairs[k + 1]!]! > values[from + best]!)) best = pairs[k + 1]!;
    }
    if (best >= 0) output[map * inputs + best]! += gradient[at]!;
  }
}

export function plainAddPhases(place: PhasePlace, part: Float32Array, output: Float32Array): void {
  const { rows, columns, height, width, firstY, firstX, strideY, strideX } = place;
  part.forEach((value, i) => {
    const [map, y, x] = [Math.floor(i / (rows * columns)), Math.floor(i / columns) % rows, i % columns];
    output[(map * height + firstY + y * strideY) * width + firstX + x * strideX]! += value;
  });
}
