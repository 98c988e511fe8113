// Slow and obvious twins of block ReLU and its way back, without noise.
import type { BlockRelu } from './block-relu.js';

/** Whether an element's patch passes, and whether it is cut at the cap. */
function verdict({ shape, patches, cap }: BlockRelu, x: Float32Array, i: number): { passes: boolean; capped: boolean } {
  const [channels = 1, height = 1, width = 1] = shape;
  const map = Math.floor(i / (height * width));
  const [patchHeight, patchWidth] = patches[map % channels]!;
  if (patchHeight === 0) return { passes: true, capped: false };
  if (patchWidth === 0) return { passes: false, capped: false };
  const [row, column] = [Math.floor((i % (height * width)) / width), i % width];
  const top = row - (row % patchHeight);
  const left = column - (column % patchWidth);
  let [sum, count] = [0, 0];
  for (let r = top; r < Math.min(height, top + patchHeight); r++) {
    for (let c = left; c < Math.min(width, left + patchWidth); c++, count++) sum += x[(map * height + r) * width + c]!;
  }
  return { passes: sum >= 0, capped: sum >= 0 && sum >= cap * count };
}

export function plainBlockRelu(layer: BlockRelu, x: Float32Array): Float32Array {
  const { cap, alpha = 0 } = layer;
  return x.map((v, i) => {
    const { passes, capped } = verdict(layer, x, i);
    return alpha * Math.min(Math.max(v, 0), cap) + (1 - alpha) * (capped ? cap : passes ? v : 0);
  });
}

export function plainBlockReluGate(layer: BlockRelu, x: Float32Array, gradient: Float32Array): Float32Array {
  const { cap, alpha = 0 } = layer;
  return gradient.map((g, i) => {
    const at = i % x.length;
    const { passes, capped } = verdict(layer, x, at);
    return g * ((x[at]! >= 0 && x[at]! < cap ? alpha : 0) + (passes && !capped ? 1 - alpha : 0));
  });
}
