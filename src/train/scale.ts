// Batch norm and affine layers that learn: a factor and an offset for each channel.
import type { Compute } from '../kernel/compute.js';
import { scaleShiftFloat } from '../kernel/float.js';
import { channelGradients, channelMoments, type Maps, type Mixture, mixMaps } from '../kernel/training.js';
import { type AffineNode, sizeOf } from '../model/graph.js';
import { createParameter, freeParameters, type Layer, onHeap } from './layer.js';
import type { BatchNormNode } from './network.js';

function createMixture(compute: Compute, channels: number): Mixture {
  return { factors: compute.floats(channels), slopes: compute.floats(channels), offsets: compute.floats(channels) };
}

const freeMixture = (compute: Compute, { factors, slopes, offsets }: Mixture): void => compute.free(factors, slopes, offsets);

/** y = x · multiplier + offset; both are parameters unless the layer is frozen. */
export function createAffine(compute: Compute, node: AffineNode, frozen: boolean): Layer {
  const channels = node.multiplier.length;
  const size = sizeOf(node.shape) / channels;
  const multiplier = createParameter(compute, `${node.name}.multiplier`, node.multiplier, false);
  const offset = createParameter(compute, `${node.name}.offset`, node.offset, false);
  const zeros = onHeap(compute, new Float32Array(channels));
  const mapsOf = (count: number): Maps => ({ batch: count, channels, size });
  return {
    node,
    parameters: frozen ? [] : [multiplier, offset],
    states: [],
    keeps: () => ({ input: !frozen, output: false }),
    inPlace: frozen,
    backwardInPlace: true,
    refresh: async () => {},
    forward: ({ inputs, output }) => scaleShiftFloat(compute, inputs[0]!, multiplier.values, offset.values, size, output),
    async backward({ inputs, gradient, count, targets }) {
      if (!frozen) {
        const sums = await channelGradients(compute, mapsOf(count), gradient, inputs[0]!, zeros);
        for (let c = 0; c < channels; c++) [offset.gradient[c], multiplier.gradient[c]] = [sums[2 * c]!, sums[2 * c + 1]!];
      }
      const mixture = { factors: multiplier.values, slopes: zeros, offsets: zeros };
      const target = targets[0];
      if (target) await mixMaps(compute, mapsOf(count), gradient, gradient, mixture, target.values, target.add);
    },
    current: () => ({ ...node, multiplier: multiplier.values.slice(), offset: offset.values.slice() }),
    close() {
      freeParameters(compute, [multiplier, offset]);
      compute.free(zeros);
    },
  };
}

/**
 * Batch norm: statistics of the batch while learning, the running ones otherwise and where frozen. The way back is that of Ioffe and Szegedy
 * 2015, section 3: dx = γ/σ · (g − mean(g) − x̂ · mean(g x̂)).
 */
export function createBatchNorm(compute: Compute, node: BatchNormNode, frozen: boolean): Layer {
  const channels = node.gamma.length;
  const size = sizeOf(node.shape) / channels;
  const gamma = createParameter(compute, `${node.name}.gamma`, node.gamma, false);
  const beta = createParameter(compute, `${node.name}.beta`, node.beta, false);
  const mean = { name: `${node.name}.mean`, values: onHeap(compute, node.mean) };
  const variance = { name: `${node.name}.variance`, values: onHeap(compute, node.variance) };
  const batchMean = compute.floats(channels);
  const deviation = new Float64Array(channels);
  const mixture = createMixture(compute, channels);
  const mapsOf = (count: number): Maps => ({ batch: count, channels, size });

  /** Leaves the batch's statistics for the way back, and moves the running ones. */
  const measure = async (x: Float32Array, count: number): Promise<void> => {
    const moments = await channelMoments(compute, mapsOf(count), x);
    const total = count * size;
    const unbiased = total > 1 ? total / (total - 1) : 1;
    for (let c = 0; c < channels; c++) {
      batchMean[c] = moments.mean[c]!;
      deviation[c] = Math.sqrt(moments.variance[c]! + node.epsilon);
      mean.values[c]! += node.momentum * (moments.mean[c]! - mean.values[c]!);
      variance.values[c]! += node.momentum * (unbiased * moments.variance[c]! - variance.values[c]!);
    }
  };

  return {
    node,
    parameters: frozen ? [] : [gamma, beta],
    states: [mean, variance],
    keeps: () => ({ input: !frozen, output: false }),
    inPlace: frozen,
    backwardInPlace: true,
    refresh: async () => {},
    async forward({ inputs, output, count, training }) {
      if (training && !frozen) await measure(inputs[0]!, count);
      else
        for (let c = 0; c < channels; c++) [batchMean[c], deviation[c]] = [mean.values[c]!, Math.sqrt(variance.values[c]! + node.epsilon)];
      for (let c = 0; c < channels; c++) {
        mixture.factors[c] = gamma.values[c]! / deviation[c]!;
        mixture.offsets[c] = beta.values[c]! - mixture.factors[c]! * batchMean[c]!;
      }
      await scaleShiftFloat(compute, inputs[0]!, mixture.factors, mixture.offsets, size, output);
    },
    async backward({ inputs, gradient, count, targets }) {
      const target = targets[0];
      const total = count * size;
      if (frozen) mixture.slopes.fill(0);
      const sums = frozen ? undefined : await channelGradients(compute, mapsOf(count), gradient, inputs[0]!, batchMean);
      for (let c = 0; c < channels; c++) {
        const scale = gamma.values[c]! / deviation[c]!;
        const [sum, products] = sums ? [sums[2 * c]!, sums[2 * c + 1]!] : [0, 0];
        [beta.gradient[c], gamma.gradient[c]] = [sum, products / deviation[c]!];
        mixture.factors[c] = scale;
        mixture.slopes[c] = (-scale * products) / (total * deviation[c]! ** 2);
        mixture.offsets[c] = (-scale * sum) / total - mixture.slopes[c]! * batchMean[c]!;
      }
      if (target) await mixMaps(compute, mapsOf(count), gradient, frozen ? gradient : inputs[0]!, mixture, target.values, target.add);
    },
    current() {
      const { kind: _, gamma: __, beta: ___, mean: ____, variance: _____, epsilon, momentum: ______, ...rest } = node;
      const multiplier = gamma.values.map((g, c) => g / Math.sqrt(variance.values[c]! + epsilon));
      const offset = beta.values.map((b, c) => b - (gamma.values[c]! / Math.sqrt(variance.values[c]! + epsilon)) * mean.values[c]!);
      return { ...rest, kind: 'affine', multiplier, offset };
    },
    close() {
      freeParameters(compute, [gamma, beta]);
      compute.free(mean.values, variance.values, batchMean);
      freeMixture(compute, mixture);
    },
  };
}
