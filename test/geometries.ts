// Arbitrary convolutions that several tests of kernels need.
import fc from 'fast-check';
import type { ConvGeometry } from '../src/kernel/geometry.js';

/** Kernels of 3 x 3 on maps and channels for which assembly/conv-points.ts is taken, and some for which it is not. */
export const threeByThree: fc.Arbitrary<ConvGeometry> = fc
  .record({
    groups: fc.constantFrom(1, 1, 2),
    inputs: fc.integer({ min: 15, max: 150 }),
    outputs: fc.integer({ min: 15, max: 40 }),
    height: fc.integer({ min: 5, max: 21 }),
    width: fc.integer({ min: 5, max: 21 }),
    pad: fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3), fc.nat(3)),
  })
  .map(({ groups, inputs, outputs, height, width, pad: [top, bottom, left, right] }) => ({
    ...{ kernelHeight: 3, kernelWidth: 3, strideY: 1, strideX: 1, dilationY: 1, dilationX: 1, padTop: top, padLeft: left, groups },
    ...{ inputChannels: groups * inputs, outputChannels: groups * outputs, inputHeight: height, inputWidth: width },
    ...{ outputHeight: height + top + bottom - 2, outputWidth: width + left + right - 2 },
  }));
