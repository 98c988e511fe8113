// Slow and obvious twins of blocks.ts.
import type { BlockChangeShape, Candidates } from './blocks.js';

/** Block ReLU of one map: min(max(y, 0), cap) with the signs of y and of y − cap shared by a block, as their sums'. */
function blockRelu(y: readonly number[], height: number, width: number, [h, w]: readonly [number, number], cap: number): number[] {
  if (h === 0) return [...y];
  if (w === 0) return y.map(() => 0);
  return y.map((value, i) => {
    const top = Math.floor(Math.floor(i / width) / h) * h;
    const left = Math.floor((i % width) / w) * w;
    let sum = 0;
    let count = 0;
    for (let r = top; r < Math.min(top + h, height); r++) {
      for (let c = left; c < Math.min(left + w, width); c++, count++) sum += y[r * width + c]!;
    }
    return (sum >= 0 ? value : 0) - (cap < Number.POSITIVE_INFINITY && sum - cap * count >= 0 ? value - cap : 0);
  });
}

/** Twin of `addBlockChanges`. */
export function plainBlockChanges(
  { images, probes, channels, height, width, cap = Number.POSITIVE_INFINITY, signed }: BlockChangeShape,
  candidates: Candidates,
  values: Float32Array,
  gradients: Float32Array,
  out: Float64Array,
): void {
  const size = height * width;
  for (let n = 0; n < images; n++) {
    for (let c = 0; c < channels; c++) {
      const at = (n * channels + c) * size;
      const y = Array.from(values.subarray(at, at + size));
      const plain = y.map((value) => Math.min(Math.max(value, 0), cap));
      candidates.forEach((candidate, k) => {
        const shared = blockRelu(y, height, width, candidate, cap);
        for (let p = 0; p < probes; p++) {
          const g = gradients.subarray(p * values.length + at, p * values.length + at + size);
          const change = shared.reduce((sum, value, i) => sum + g[i]! * (value - plain[i]!), 0);
          out[c * candidates.length + k]! += signed ? change : change * change;
        }
      });
    }
  }
}

/** Twin of `gateFloat`. */
export function plainGate(gradients: Float32Array, values: Float32Array, cap: number): Float32Array {
  return gradients.map((g, i) => (values[i % values.length]! >= 0 && values[i % values.length]! < cap ? g : 0));
}
