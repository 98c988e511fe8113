// Slow and obvious twins of the kernels of training.
import type { ConvGeometry } from './geometry.js';
import type { Descent, Maps, Mixture } from './training.js';

/** Twin of `weightGradient`, in doubles. */
export function plainWeightGradient(g: ConvGeometry, input: Float32Array, outputGradient: Float32Array, batch: number): Float64Array {
  const inputs = g.inputChannels / g.groups;
  const outputs = g.outputChannels / g.groups;
  const taps = g.kernelHeight * g.kernelWidth;
  const sums = new Float64Array(g.outputChannels * inputs * taps);
  let at = 0;
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < g.outputChannels; o++) {
      const first = n * g.inputChannels + Math.floor(o / outputs) * inputs;
      for (let oy = 0; oy < g.outputHeight; oy++) {
        for (let ox = 0; ox < g.outputWidth; ox++, at++) {
          for (let k = 0; k < inputs * taps; k++) {
            const y = oy * g.strideY - g.padTop + Math.floor((k % taps) / g.kernelWidth) * g.dilationY;
            const x = ox * g.strideX - g.padLeft + (k % g.kernelWidth) * g.dilationX;
            if (y < 0 || y >= g.inputHeight || x < 0 || x >= g.inputWidth) continue;
            const value = input[((first + Math.floor(k / taps)) * g.inputHeight + y) * g.inputWidth + x]!;
            sums[o * inputs * taps + k]! += outputGradient[at]! * value;
          }
        }
      }
    }
  }
  return sums;
}

const channelOf = ({ channels, size }: Maps, i: number): number => Math.floor(i / size) % channels;

export function plainChannelMoments(maps: Maps, x: Float32Array): { mean: Float64Array; variance: Float64Array } {
  const count = maps.batch * maps.size;
  const mean = new Float64Array(maps.channels);
  const variance = new Float64Array(maps.channels);
  x.forEach((v, i) => {
    mean[channelOf(maps, i)]! += v / count;
  });
  x.forEach((v, i) => {
    variance[channelOf(maps, i)]! += (v - mean[channelOf(maps, i)]!) ** 2 / count;
  });
  return { mean, variance };
}

export function plainChannelGradients(maps: Maps, g: Float32Array, x: Float32Array, means: Float32Array): Float64Array {
  const sums = new Float64Array(2 * maps.channels);
  g.forEach((v, i) => {
    const c = channelOf(maps, i);
    sums[2 * c]! += v;
    sums[2 * c + 1]! += v * (x[i]! - means[c]!);
  });
  return sums;
}

export function plainMixMaps(maps: Maps, g: Float32Array, x: Float32Array, { factors, slopes, offsets }: Mixture): Float32Array {
  return g.map((v, i) => {
    const c = channelOf(maps, i);
    return v * factors[c]! + x[i]! * slopes[c]! + offsets[c]!;
  });
}

/** Changes `w` and `v`. */
export function plainDescend(step: Descent, w: Float32Array, gradient: Float32Array, v: Float32Array): void {
  for (let i = 0; i < w.length; i++) {
    const d = step.scale * gradient[i]! + step.decay * w[i]!;
    v[i] = step.momentum * v[i]! + d;
    w[i] = w[i]! - step.rate * (step.nesterov ? d + step.momentum * v[i]! : v[i]!);
  }
}
