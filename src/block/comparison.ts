// Does a distortion rank channels and patches as the exact one does?
import type { Compute } from '../kernel/compute.js';
import type { Patch } from '../model/program.js';
import type { Measurement } from './distort.js';
import { openExact } from './distort-exact.js';
import type { Distortion } from './distortion-file.js';
import { spearman } from './rank.js';

export interface Comparison {
  /** Spearman's, over all pairs of channel and patch but those with plain ReLU. */
  readonly correlation: number;
  readonly pairs: number;
  readonly channels: number;
  /** What the exact distortion was measured with. */
  readonly pictures: number;
}

/** Patches with these sides are compared: few, and from fine to coarse. */
const sides = [1, 2, 4];

/** Measures `channels` channels, evenly spread over all, exactly: one run of the network for each of their patches and batch of pictures. */
export async function compareWithExact(
  compute: Compute,
  measurement: Measurement,
  distortion: Distortion,
  { images, count }: { readonly images: Float32Array; readonly count: number },
  channels: number,
): Promise<Comparison> {
  const { rows, patches, layers } = measurement;
  const taken = new Set(Array.from({ length: Math.min(channels, rows) }, (_, i) => Math.floor((i * rows) / Math.min(channels, rows))));
  const wanted = (row: number, [h, w]: Patch): boolean => taken.has(row) && h * w > 1 && sides.includes(h) && sides.includes(w);
  const meter = await openExact(compute, measurement, { wanted });
  const sums = new Float64Array(rows * patches.length);
  const size = images.length / count;
  for (let first = 0; first < count; first += meter.batch) {
    const own = Math.min(meter.batch, count - first);
    await meter.add({ images: images.subarray(first * size, (first + own) * size), count: own, first }, sums);
  }
  meter.close();
  const places = layers.flatMap(({ firstRow, channels: count, columns }) =>
    Array.from({ length: count }, (_, c) => columns.map((k) => [firstRow + c, k] as const)).flat(),
  );
  const compared = places.filter(([row, k]) => wanted(row, patches[k]!)).map(([row, k]) => row * patches.length + k);
  const correlation = spearman(
    compared.map((at) => distortion.values[at]!),
    compared.map((at) => sums[at]!),
  );
  return { correlation, pairs: compared.length, channels: taken.size, pictures: count };
}
