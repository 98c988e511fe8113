// Plain convolutions, until the kernels land.
import type { ConvGeometry } from '../kernel/geometry.js';

export function convolvePlain(
  g: ConvGeometry,
  input: Float32Array | Int32Array,
  weights: Float32Array | Int32Array,
  bias: Float32Array | Int32Array,
  count: number,
  output: Float32Array | Int32Array,
): void {
  const integer = output instanceof Int32Array;
  const perIn = g.inputChannels / g.groups;
  const perOut = g.outputChannels / g.groups;
  const inSize = g.inputHeight * g.inputWidth;
  const outSize = g.outputHeight * g.outputWidth;
  const acc = integer ? new Int32Array(outSize) : new Float64Array(outSize);
  for (let n = 0; n < count; n++) {
    for (let oc = 0; oc < g.outputChannels; oc++) {
      acc.fill(bias[oc]!);
      const group = Math.floor(oc / perOut);
      for (let ic = 0; ic < perIn; ic++) {
        const base = (n * g.inputChannels + group * perIn + ic) * inSize;
        for (let ky = 0; ky < g.kernelHeight; ky++) {
          for (let kx = 0; kx < g.kernelWidth; kx++) {
            const w = weights[((oc * perIn + ic) * g.kernelHeight + ky) * g.kernelWidth + kx]!;
            const x0 = kx * g.dilationX - g.padLeft;
            let first = 0;
            while (first < g.outputWidth && first * g.strideX + x0 < 0) first++;
            let last = g.outputWidth;
            while (last > first && (last - 1) * g.strideX + x0 >= g.inputWidth) last--;
            for (let oy = 0; oy < g.outputHeight; oy++) {
              const y = oy * g.strideY + ky * g.dilationY - g.padTop;
              if (y < 0 || y >= g.inputHeight) continue;
              const row = base + y * g.inputWidth + x0;
              const out = oy * g.outputWidth;
              if (integer) for (let ox = first; ox < last; ox++) acc[out + ox]! += Math.imul(w, input[row + ox * g.strideX]!);
              else for (let ox = first; ox < last; ox++) acc[out + ox]! += w * input[row + ox * g.strideX]!;
            }
          }
        }
      }
      output.set(acc, (n * g.outputChannels + oc) * outSize);
    }
  }
}
