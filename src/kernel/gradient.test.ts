import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Compute } from './compute.js';
import type { ConvGeometry } from './geometry.js';
import { freeInputGradient, inputGradient, packInputGradient } from './gradient.js';
import { plainConvolve } from './plain.js';
import { createNodeCompute } from './pool.node.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 2 });
});
afterAll(() => compute.close());

/** Whole numbers in [-4, 4]: sums of products are exact in floats. */
function whole(length: number, seed: number): Float32Array {
  let state = seed | 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return ((state >>> 16) % 9) - 4;
  });
}

const axis = fc
  .record({
    input: fc.integer({ min: 1, max: 12 }),
    kernel: fc.integer({ min: 1, max: 5 }),
    stride: fc.integer({ min: 1, max: 3 }),
    dilation: fc.integer({ min: 1, max: 3 }),
    pad: fc.integer({ min: 0, max: 5 }),
    after: fc.integer({ min: 0, max: 3 }),
  })
  .map((a) => {
    const reach = (a.kernel - 1) * a.dilation + 1;
    const input = Math.max(a.input, reach - a.pad - a.after);
    return { ...a, input, output: Math.floor((input + a.pad + a.after - reach) / a.stride) + 1 };
  });

const geometry: fc.Arbitrary<ConvGeometry> = fc
  .tuple(axis, axis, fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 }))
  .map(([y, x, groups, inputs, outputs]) => ({
    inputChannels: groups * inputs,
    outputChannels: groups * outputs,
    groups,
    inputHeight: y.input,
    inputWidth: x.input,
    outputHeight: y.output,
    outputWidth: x.output,
    kernelHeight: y.kernel,
    kernelWidth: x.kernel,
    strideY: y.stride,
    strideX: x.stride,
    dilationY: y.dilation,
    dilationX: x.dilation,
    padTop: y.pad,
    padLeft: x.pad,
  }));

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

it('the gradient of a convolution is its adjoint', async () => {
  await fc.assert(
    fc.asyncProperty(geometry, fc.integer({ min: 1, max: 3 }), fc.boolean(), fc.nat(), async (g, batch, add, seed) => {
      const inputs = batch * g.inputChannels * g.inputHeight * g.inputWidth;
      const outputs = batch * g.outputChannels * g.outputHeight * g.outputWidth;
      const weights = whole((g.outputChannels * g.inputChannels * g.kernelHeight * g.kernelWidth) / g.groups, seed);
      const gradient = compute.floats(outputs);
      gradient.set(whole(outputs, seed + 1));
      const found = compute.floats(inputs);
      const before = whole(inputs, seed + 2);
      found.set(before);
      const packed = await packInputGradient(compute, g, weights);
      await inputGradient(compute, packed, gradient, batch, found, add);
      // One input at a time, at most 40 of them: ⟨conv(e), g⟩ is the gradient's component.
      for (let i = 0; i < inputs; i += Math.ceil(inputs / 40)) {
        const unit = new Float32Array(inputs);
        unit[i] = 1;
        const image = new Float32Array(outputs);
        plainConvolve(g, weights, unit, batch, image);
        expect(found[i]).toBe(dot(image, gradient) + (add ? before[i]! : 0));
      }
      freeInputGradient(compute, packed);
      compute.free(gradient, found);
    }),
    { numRuns: 200 },
  );
  expect(compute.memory.usedBytes).toBe(0);
});
