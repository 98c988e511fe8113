// Effects of wrong signs against their formula, on a network that is linear after its activation: there the first order is everything.
import { afterAll, describe, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import { createCompute } from '../kernel/heap.js';
import { forward } from '../model/forward.js';
import type { ConvNode, Graph } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import { distortionOf, planMeasurement } from './distort.js';
import { measureFlips } from './distort-windows.js';
import { readDistortion, writeDistortion } from './distortion-file.js';

const compute = await createCompute();
afterAll(() => compute.close());

const [channels, side, outputs, count] = [3, 5, 4, 3];

function conv(name: string, from: string, kernel: number, outputChannels: number, seed: number): ConvNode {
  const whole = kernel === side;
  const [outputSide, pad] = whole ? [1, 0] : [side, 1];
  const geometry = {
    ...{ inputChannels: channels, inputHeight: side, inputWidth: side, outputChannels, outputHeight: outputSide, outputWidth: outputSide },
    ...{
      kernelHeight: kernel,
      kernelWidth: kernel,
      strideY: 1,
      strideX: 1,
      dilationY: 1,
      dilationX: 1,
      groups: 1,
      padTop: pad,
      padLeft: pad,
    },
  };
  const weights = values(outputChannels * channels * kernel * kernel, seed);
  const shape = whole ? [outputChannels] : [outputChannels, side, side];
  return { kind: 'conv', name, inputs: [from], output: name, shape, geometry, weights, bias: values(outputChannels, seed + 1) };
}

const scores = conv('scores', 'relu', side, outputs, 3);
const graph: Graph = {
  input: { id: 'x', shape: [channels, side, side] },
  output: 'scores',
  nodes: [
    conv('c1', 'x', 3, channels, 1),
    { kind: 'relu', name: 'relu', inputs: ['c1'], output: 'relu', shape: [channels, side, side] },
    scores,
  ],
  parameters: 0,
};
const images = values(count * channels * side * side, 8);
const measurement = planMeasurement(graph);
// As many directions as outputs, of one orthogonal frame: nothing is left to chance.
const flips = await measureFlips(compute, measurement, images, count, { probes: outputs, seed: 1 });

/** (Σ p_k G_k)² + Σ p_k (1 − p_k) G_k², summed over the outputs, as a mean over the pictures. */
async function expected(channel: number, [h, w]: Patch, threshold: number): Promise<number> {
  const inputs = await forward(compute, { ...graph, output: 'c1', nodes: graph.nodes.slice(0, 1) }, images, count);
  let total = 0;
  for (let n = 0; n < count; n++) {
    for (let o = 0; o < outputs; o++) {
      let [mean, variance] = [0, 0];
      for (let top = 0; top < side; top += h) {
        for (let left = 0; left < side; left += w) {
          let [sum, change] = [0, 0];
          for (let y = top; y < Math.min(side, top + h); y++) {
            for (let x = left; x < Math.min(side, left + w); x++) {
              const value = inputs[((n * channels + channel) * side + y) * side + x]!;
              sum += value;
              change += value * scores.weights[((o * channels + channel) * side + y) * side + x]!;
            }
          }
          const p = sum < 0 ? Math.max(0, 1 + sum / threshold) : 0;
          mean += p * change;
          variance += p * (1 - p) * change * change;
        }
      }
      total += mean * mean + variance;
    }
  }
  return total / count;
}

describe('effects of wrong signs', () => {
  it.each(measurement.layers[0]!.patches.map((patch, k) => [patch, k] as const).filter(([[h, w]]) => h > 0 && w > 0))(
    'of patch %j are what the formula says at every threshold',
    async (patch, k) => {
      const column = measurement.layers[0]!.columns[k]!;
      for (let channel = 0; channel < channels; channel++) {
        for (let level = 0; level < flips.levels; level++) {
          const value = flips.values[(channel * measurement.patches.length + column) * flips.levels + level]!;
          const wanted = await expected(channel, patch, 2 ** (flips.exponents[0]! + level));
          expect(Math.abs(value - wanted)).toBeLessThan(1e-4 * wanted + 1e-9);
        }
      }
    },
  );

  it('are none where nothing is compared', () => {
    measurement.patches.forEach(([h, w], k) => {
      if (h > 0 && w > 0) return;
      expect(flips.values.subarray(k * flips.levels, (k + 1) * flips.levels).every((value) => value === 0)).toBe(true);
    });
  });

  it('are kept in the distortion file', () => {
    const made = { model: '0'.repeat(64), method: 'linear' as const, samples: 1, probes: 1, seed: 1, version: '0' };
    const plain = distortionOf(measurement, { perPicture: 1 }, new Float64Array(measurement.rows * measurement.patches.length), made);
    expect(readDistortion(writeDistortion({ ...plain, flips }), 'd.npz')).toEqual({ ...plain, flips });
    expect(readDistortion(writeDistortion(plain), 'd.npz').flips).toBeUndefined();
    const broken = { ...flips, joint: flips.joint.subarray(1) };
    expect(() => readDistortion(writeDistortion({ ...plain, flips: broken }), 'd.npz')).toThrow('flip_joint');
  });
});
