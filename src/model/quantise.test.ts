import { describe, expect, it } from 'vitest';
import { noiseArray } from '../../test/model/onnx.js';
import type { ConvNode } from './graph.js';
import { quantise } from './quantise.js';

const geometry = {
  inputChannels: 6,
  inputHeight: 5,
  inputWidth: 5,
  outputChannels: 4,
  outputHeight: 5,
  outputWidth: 5,
  kernelHeight: 3,
  kernelWidth: 1,
  strideY: 1,
  strideX: 1,
  dilationY: 1,
  dilationX: 1,
  padTop: 1,
  padLeft: 0,
};

describe('quantise', () => {
  it.each([1, 2])('keeps the output of the mean input, to half a unit of the bias, in %d groups', (groups) => {
    const each = (6 / groups) * 3;
    const weights = noiseArray(4 * each, 1);
    const bias = noiseArray(4, 2);
    const means = Float64Array.from(noiseArray(6, 3), (v) => v + 2);
    const node = { name: 'c', geometry: { ...geometry, groups }, weights, bias } as unknown as ConvNode;
    const [scale, outputScale] = [8, 2 ** 12];
    const rounded = quantise(node, scale, outputScale, means, 32);
    const output = (w: (i: number) => number, b: number, o: number): number =>
      Array.from(
        { length: each },
        (_, i) => w(o * each + i) * means[Math.floor((o * groups) / 4) * (6 / groups) + Math.floor(i / 3)]!,
      ).reduce((sum, v) => sum + v, b);
    for (let o = 0; o < 4; o++) {
      const exact = output((i) => weights[i]!, bias[o]!, o);
      const got = output((i) => Number(rounded.weights[i]!) / scale, Number(rounded.bias[o]!) / outputScale, o);
      expect(Math.abs(got - exact)).toBeLessThanOrEqual(0.5 / outputScale + 1e-9);
    }
  });

  it('lets a bias go round the ring, as the sum it is part of comes back', () => {
    const node = { name: 'c', geometry: { ...geometry, groups: 1 }, weights: new Float32Array(72), bias: Float32Array.of(3, -3, 0.5, 1) };
    const { bias } = quantise(node as unknown as ConvNode, 8, 2 ** 31, new Float64Array(6), 32);
    expect(Array.from(bias, Number)).toEqual([-(2 ** 31), -(2 ** 31), 2 ** 30, -(2 ** 31)]);
  });
});
