// Public linear maps along one axis of an array: what makes maps larger or smaller without weights. Plain twin: resample-plain.ts.
import type { Compute, Words } from './compute.js';

/** Where the outputs of a map read: `taps` positions and as many weights for each output, all on the heap. Words of either width have 32-bit weights. */
export interface HeapTaps<T extends Words | Float32Array> {
  readonly taps: number;
  /** [outputs, taps], each from 0 to inputs − 1. */
  readonly positions: Int32Array;
  /** [outputs, taps] */
  readonly weights: T extends Words ? Int32Array : T;
}

/** The axis in an array [outer, inputs, inner]. */
export interface ResampleShape {
  readonly outer: number;
  readonly inputs: number;
  readonly inner: number;
}

/**
 * output[a, o, b] = Σ over taps of weights[o, t] · input[a, positions[o, t], b], in the ring for words. All arrays on the heap; output and input
 * differ. Throws RangeError on other lengths.
 */
export async function resample<T extends Words | Float32Array>(
  compute: Compute,
  { outer, inputs, inner }: ResampleShape,
  { taps, positions, weights }: HeapTaps<T>,
  input: T,
  output: T,
): Promise<void> {
  const length = positions.length / taps;
  if (input.length !== outer * inputs * inner || output.length !== outer * length * inner || weights.length !== positions.length) {
    throw new RangeError(`resample: ${input.length} values to ${output.length}, ${outer} × ${inputs} × ${inner} by ${length} outputs`);
  }
  const kernel = input instanceof Int32Array ? 'resampleWords' : input instanceof Float32Array ? 'resampleFloats' : 'resampleLongs';
  await compute.run(kernel, [output, input, positions, weights, taps, length, inputs, inner], outer * length, {
    costPerItem: 0.6 * taps * inner,
  });
}
