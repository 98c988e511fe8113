// What `distort` can say of its own result: whether it ranks as the exact distortion does, and whether distortions add up.
import { type Additivity, measureAdditivity } from '../block/additivity.js';
import { type Comparison, compareWithExact } from '../block/comparison.js';
import type { Measurement } from '../block/distort.js';
import type { Distortion } from '../block/distortion-file.js';
import { withoutConstants } from '../block/select.js';
import type { Compute } from '../kernel/compute.js';

export interface CheckOptions {
  /** Random choices of patches to measure as a whole. */
  readonly additivity?: number;
  /** Channels to measure exactly. */
  readonly compare?: number;
  readonly seed: number;
}

export interface Checks {
  readonly comparison?: Comparison;
  readonly additivity?: Additivity;
}

/** Pictures that checks are made with at most: each takes a run of the network for every choice, or channel and patch. */
export const checkPictures = 64;

/** Checks a distortion of the measurement on pictures. Choices are made as `solve` makes them, without identity and zero. */
export async function checkDistortion(
  compute: Compute,
  measurement: Measurement,
  distortion: Distortion,
  pictures: { readonly images: Float32Array; readonly count: number },
  { additivity: choices, compare, seed }: CheckOptions,
): Promise<Checks> {
  const blocks = withoutConstants(distortion);
  return {
    ...(compare === undefined ? {} : { comparison: await compareWithExact(compute, measurement, distortion, pictures, compare) }),
    ...(choices === undefined ? {} : { additivity: await measureAdditivity(compute, measurement, blocks, pictures, { choices, seed }) }),
  };
}

export function describeChecks({ comparison, additivity }: Checks): readonly string[] {
  return [
    ...(comparison === undefined
      ? []
      : [`Spearman with the exact distortion ${comparison.correlation.toFixed(4)}, over ${comparison.pairs} pairs of channel and patch`]),
    ...(additivity === undefined
      ? []
      : [
          `sums against joint distortion of random choices: Spearman ${additivity.correlation.toFixed(4)}, slope ${additivity.slope.toFixed(2)}, joint / sum ${additivity.ratio.toFixed(2)}`,
        ]),
  ];
}
