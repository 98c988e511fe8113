// Convolutions and fully connected layers that learn.
import type { Compute } from '../kernel/compute.js';
import { convolveFloat, packFloatWeights, repackFloatWeights } from '../kernel/float.js';
import { freeInputGradient, inputGradient, packInputGradient, repackInputGradient } from '../kernel/gradient.js';
import { freeWeights } from '../kernel/linear.js';
import { channelGradients, roundRows } from '../kernel/training.js';
import { freeWeightGradient, prepareWeightGradient, weightGradient } from '../kernel/weight-gradient.js';
import type { ConvNode } from '../model/graph.js';
import { createParameter, freeParameters, type Layer, onHeap } from './layer.js';

/** A layer whose weights can be rounded while learning. */
export interface ConvolutionLayer extends Layer {
  /** Multiples of what an output channel's weights are rounded to, 0 for none; undefined for weights as they are. */
  setGrid(units: Float32Array | undefined): void;
}

/**
 * @param biased whether the bias learns: not where batch norm follows, which takes every constant away.
 * @param behind whether anything before the layer learns, so that the gradient of its input is of use.
 */
export async function createConvolution(compute: Compute, node: ConvNode, biased: boolean, behind: boolean): Promise<ConvolutionLayer> {
  const { geometry } = node;
  const weights = createParameter(compute, `${node.name}.weight`, node.weights, true);
  const bias = biased ? createParameter(compute, `${node.name}.bias`, node.bias, false) : undefined;
  const constant = bias === undefined && node.bias.some((b) => b !== 0) ? onHeap(compute, node.bias) : undefined;
  const packed = await packFloatWeights(compute, geometry, node.weights);
  const flipped = behind ? await packInputGradient(compute, geometry, node.weights, { changing: true }) : undefined;
  const prepared = prepareWeightGradient(compute, geometry);
  const zeros = compute.floats(geometry.outputChannels);
  zeros.fill(0);
  const added = bias?.values ?? constant;
  let rounded: { readonly units: Float32Array; readonly weights: Float32Array } | undefined;
  const parameters = bias ? [weights, bias] : [weights];

  const biasGradient = async (gradient: Float32Array, count: number): Promise<void> => {
    if (bias === undefined) return;
    const maps = { batch: count, channels: geometry.outputChannels, size: geometry.outputHeight * geometry.outputWidth };
    const sums = await channelGradients(compute, maps, gradient, gradient, zeros);
    for (let c = 0; c < maps.channels; c++) bias.gradient[c] = sums[2 * c]!;
  };

  return {
    node,
    parameters,
    states: [],
    keeps: () => ({ input: true, output: false }),
    inPlace: false,
    backwardInPlace: false,
    async refresh() {
      if (rounded) await roundRows(compute, weights.values, rounded.units, rounded.weights);
      const used = rounded?.weights ?? weights.values;
      await repackFloatWeights(compute, packed, used);
      if (flipped) await repackInputGradient(compute, flipped, used);
    },
    setGrid(units) {
      if (rounded) compute.free(rounded.units, rounded.weights);
      rounded = units && { units: onHeap(compute, units), weights: compute.floats(weights.values.length) };
    },
    forward: ({ inputs, output, count }) => convolveFloat(compute, packed, inputs[0]!, count, output, added ? { bias: added } : {}),
    async backward({ inputs, gradient, count, targets }) {
      const target = targets[0];
      await Promise.all([
        weightGradient(compute, prepared, inputs[0]!, gradient, count, weights.gradient),
        biasGradient(gradient, count),
        target && flipped ? inputGradient(compute, flipped, gradient, count, target.values, target.add) : undefined,
      ]);
    },
    current: () => ({ ...node, weights: weights.values.slice(), bias: bias ? bias.values.slice() : node.bias }),
    close() {
      if (rounded) compute.free(rounded.units, rounded.weights);
      freeParameters(compute, parameters);
      freeWeights(compute, packed);
      if (flipped) freeInputGradient(compute, flipped);
      if (constant) compute.free(constant);
      freeWeightGradient(compute, prepared);
      compute.free(zeros);
    },
  };
}
