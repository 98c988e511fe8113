// Least squares over what a convolution reads: moments of its taps, gathered batch by batch, and the change of weights that fits a target.
import type { Compute } from '../kernel/compute.js';
import type { ConvGeometry } from '../kernel/geometry.js';
import { gatherMaps } from '../kernel/moves.js';
import { freeWeightGradient, prepareWeightGradient, weightGradient } from '../kernel/weight-gradient.js';

/** Sums over pictures and positions; taps are counted [inputChannels, kernelHeight, kernelWidth]. */
export interface Moments {
  readonly taps: number;
  readonly outputs: number;
  count: number;
  /** Σ tap · tap, [taps, taps] */
  readonly products: Float64Array;
  /** Σ tap */
  readonly sums: Float64Array;
  /** Σ residual · tap, [outputs, taps] */
  readonly residualProducts: Float64Array;
  /** Σ residual */
  readonly residuals: Float64Array;
}

export const tapCount = (g: ConvGeometry): number => g.inputChannels * g.kernelHeight * g.kernelWidth;

export function createMoments(g: ConvGeometry): Moments {
  const [taps, outputs] = [tapCount(g), g.outputChannels];
  return {
    taps,
    outputs,
    count: 0,
    products: new Float64Array(taps * taps),
    sums: new Float64Array(taps),
    residualProducts: new Float64Array(outputs * taps),
    residuals: new Float64Array(outputs),
  };
}

/** What output positions read through one tap of every input channel: positions of a picture, −1 for padding. */
function tapPositions(g: ConvGeometry, ky: number, kx: number): Int32Array {
  const positions = new Int32Array(g.inputChannels * g.outputHeight * g.outputWidth);
  let at = 0;
  for (let c = 0; c < g.inputChannels; c++) {
    for (let oy = 0; oy < g.outputHeight; oy++) {
      const y = oy * g.strideY + ky * g.dilationY - g.padTop;
      for (let ox = 0; ox < g.outputWidth; ox++, at++) {
        const x = ox * g.strideX + kx * g.dilationX - g.padLeft;
        const inside = y >= 0 && y < g.inputHeight && x >= 0 && x < g.inputWidth;
        positions[at] = inside ? (c * g.inputHeight + y) * g.inputWidth + x : -1;
      }
    }
  }
  return positions;
}

/** Σ over the batch of `gradient` times what every tap reads: a convolution's gradient of weights, for any number of output channels. */
async function tapProducts(
  compute: Compute,
  geometry: ConvGeometry,
  input: Float32Array,
  gradient: Float32Array,
  batch: number,
): Promise<Float32Array> {
  const prepared = prepareWeightGradient(compute, geometry);
  const result = compute.floats(geometry.outputChannels * tapCount(geometry));
  try {
    await weightGradient(compute, prepared, input, gradient, batch, result);
    return result.slice();
  } finally {
    compute.free(result);
    freeWeightGradient(compute, prepared);
  }
}

/** Adds a batch: what an ungrouped convolution reads, and what its output lacks, both on the heap. */
export async function addMoments(
  compute: Compute,
  g: ConvGeometry,
  moments: Moments,
  input: Float32Array,
  residual: Float32Array,
  batch: number,
): Promise<void> {
  const { taps, outputs, products, sums, residualProducts, residuals } = moments;
  const size = g.outputHeight * g.outputWidth;
  const square = { ...g, outputChannels: g.inputChannels };
  const shifted = compute.floats(batch * g.inputChannels * size);
  const kernel = g.kernelHeight * g.kernelWidth;
  for (let tap = 0; tap < kernel; tap++) {
    const order = tapPositions(g, Math.floor(tap / g.kernelWidth), tap % g.kernelWidth);
    await gatherMaps(compute, input, order, batch, shifted, false);
    const rows = await tapProducts(compute, square, input, shifted, batch);
    for (let c = 0; c < g.inputChannels; c++) {
      const row = (c * kernel + tap) * taps;
      for (let k = 0; k < taps; k++) products[row + k]! += rows[c * taps + k]!;
    }
    addChannelSums(shifted, batch, g.inputChannels, size, (c, sum) => {
      sums[c * kernel + tap]! += sum;
    });
  }
  compute.free(shifted);
  const cross = await tapProducts(compute, g, input, residual, batch);
  for (let i = 0; i < cross.length; i++) residualProducts[i]! += cross[i]!;
  addChannelSums(residual, batch, outputs, size, (c, sum) => {
    residuals[c]! += sum;
  });
  moments.count += batch * size;
}

function addChannelSums(maps: Float32Array, batch: number, channels: number, size: number, add: (c: number, sum: number) => void): void {
  for (let m = 0; m < batch * channels; m++) {
    let sum = 0;
    for (let i = m * size; i < (m + 1) * size; i++) sum += maps[i]!;
    add(m % channels, sum);
  }
}

/**
 * The change of weights [outputs, taps] and biases that leaves the least square of residuals, plus `ridge` times the taps' mean variance times
 * the square of the change: W (C + λ I) = R, C the taps' covariance, R theirs with the residuals (Cholesky).
 */
export function fitChange(moments: Moments, ridge: number): { readonly weights: Float64Array; readonly bias: Float64Array } {
  const { taps, outputs, count, products, sums, residualProducts, residuals } = moments;
  const mean = sums.map((s) => s / count);
  const meanResidual = residuals.map((r) => r / count);
  const covariance = new Float64Array(taps * taps);
  let trace = 0;
  for (let i = 0; i < taps; i++) {
    for (let j = 0; j <= i; j++) covariance[i * taps + j] = products[i * taps + j]! / count - mean[i]! * mean[j]!;
    trace += covariance[i * taps + i]!;
  }
  // Taps that are always 0 have no variance; the least λ keeps the factorisation going.
  const lambda = Math.max((ridge * trace) / taps, 1e-12);
  for (let i = 0; i < taps; i++) covariance[i * taps + i]! += lambda;
  factorise(covariance, taps);
  const weights = new Float64Array(outputs * taps);
  const bias = new Float64Array(outputs);
  for (let o = 0; o < outputs; o++) {
    const row = weights.subarray(o * taps, (o + 1) * taps);
    for (let k = 0; k < taps; k++) row[k] = residualProducts[o * taps + k]! / count - meanResidual[o]! * mean[k]!;
    solveFactorised(covariance, taps, row);
    bias[o] = meanResidual[o]! - row.reduce((sum, w, k) => sum + w * mean[k]!, 0);
  }
  return { weights, bias };
}

/** The Cholesky factor of a positive definite matrix, of which the lower triangle is read, in its place. */
function factorise(matrix: Float64Array, n: number): void {
  for (let i = 0; i < n; i++) {
    const own = matrix.subarray(i * n, i * n + n);
    for (let j = 0; j <= i; j++) {
      const other = matrix.subarray(j * n, j * n + n);
      let sum = own[j]!;
      for (let k = 0; k < j; k++) sum -= own[k]! * other[k]!;
      own[j] = i === j ? Math.sqrt(Math.max(sum, 1e-12)) : sum / other[j]!;
    }
  }
}

/** Solves L Lᵀ x = b in place of b. */
function solveFactorised(factor: Float64Array, n: number, b: Float64Array): void {
  for (let i = 0; i < n; i++) {
    let sum = b[i]!;
    for (let k = 0; k < i; k++) sum -= factor[i * n + k]! * b[k]!;
    b[i] = sum / factor[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    const value = b[i]! / factor[i * n + i]!;
    b[i] = value;
    for (let k = 0; k < i; k++) b[k]! -= factor[i * n + k]! * value;
  }
}
