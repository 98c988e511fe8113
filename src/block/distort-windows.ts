// What wrong signs near zero do to the output, to first order, for every channel, patch and number of low bits left out of a comparison.
//
// A comparison that ignores the bits below a threshold t lets a sum S in (−t, 0) pass with probability p = 1 − |S| / t (docs/protocol.md).
// Then its block's values pass instead of zeros: the output changes by Σ B_k G_k, with G_k = Σ over the block of g · y and B_k drawn with
// p_k. Its mean square is (Σ p_k G_k)² + Σ p_k (1 − p_k) G_k². Directions and gradients are those of distort-linear.ts.
import type { Compute } from '../kernel/compute.js';
import { openDifferentiable } from '../train/backward.js';
import type { MeasuredLayer, Measurement, SampleBatch } from './distort.js';
import { directionGradients, directionsAtOnce, picturesForDirections, slopeGradients } from './distort-linear.js';
import type { FlipDistortion } from './distortion-file.js';

/** Thresholds of a layer: 2^−8 to 2^4 times the power of two next to the root mean square of what it reads. */
const levels = 13;
const lowestLevel = -8;

export interface FlipOptions {
  /** Random directions for each picture, of which four at most are used. */
  readonly probes: number;
  readonly seed: number;
  readonly progress?: (pictures: number) => void;
  readonly signal?: AbortSignal;
}

/** Sums over pictures and directions, before they are divided. */
interface FlipSums {
  readonly exponents: Int32Array;
  /** Rows × patches × levels. */
  readonly own: Float64Array;
  /** Layers × levels, for plain ReLUs: of all channels' changes together, and of each alone. */
  readonly together: Float64Array;
  readonly alone: Float64Array;
}

/**
 * Measures on `count` pictures; the result depends on the seed and the pictures alone.
 * The second sign of a capped activation is not measured: its error is of the same size, and only where a value is at the cap.
 */
export async function measureFlips(
  compute: Compute,
  measurement: Measurement,
  images: Float32Array,
  count: number,
  { probes: wanted, seed, progress, signal }: FlipOptions,
): Promise<FlipDistortion> {
  const probes = Math.min(wanted, directionsAtOnce);
  const { layers, patches, rows, graph } = measurement;
  const sums: FlipSums = {
    exponents: new Int32Array(layers.length),
    own: new Float64Array(rows * patches.length * levels),
    together: new Float64Array(layers.length * levels),
    alone: new Float64Array(layers.length * levels),
  };
  const network = await openDifferentiable(compute, graph);
  const indices = new Map(layers.map((layer, index) => [layer.node, index]));
  const batch = picturesForDirections(measurement, probes);
  const size = images.length / count;
  try {
    for (let first = 0; first < count; first += batch) {
      signal?.throwIfAborted();
      const own: SampleBatch = {
        images: images.subarray(first * size, Math.min(count, first + batch) * size),
        count: Math.min(batch, count - first),
        first,
      };
      const pass = await network.forward(own.images, own.count);
      try {
        const gradients = directionGradients(compute, pass.value(graph.output).length, own, seed, 0, probes);
        await network.backward(pass, gradients, async (node, values, back) => {
          const index = indices.get(node);
          if (index === undefined) return;
          const layer = layers[index]!;
          if (first === 0) sums.exponents[index] = Math.round(Math.log2(Math.max(rootMeanSquare(values), 2 ** -20))) + lowestLevel;
          const slopes = slopeGradients(compute, node, back);
          addLayer(sums, measurement, layer, index, values, slopes ?? back, own.count, probes);
          if (slopes !== undefined) compute.free(slopes);
        });
      } finally {
        pass.free();
      }
      progress?.(first + own.count);
    }
  } finally {
    network.close();
  }
  return asDistortion(measurement, sums, count * probes);
}

const rootMeanSquare = (values: Float32Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / Math.max(1, values.length));

function asDistortion(
  { layers, patches, rows }: Measurement,
  { exponents, own, together, alone }: FlipSums,
  samples: number,
): FlipDistortion {
  const values = new Float32Array(own.length).fill(Number.NaN);
  for (const { channels, columns, firstRow } of layers) {
    for (let row = firstRow; row < firstRow + channels; row++) {
      for (const k of columns) {
        const at = (row * patches.length + k) * levels;
        for (let level = 0; level < levels; level++) values[at + level] = own[at + level]! / samples;
      }
    }
  }
  if (rows * patches.length * levels !== own.length) throw new RangeError('measureFlips: rows');
  return { exponents, levels, values, joint: together.map((sum, i) => (alone[i]! > 0 ? sum / alone[i]! : 1)) };
}

/** One layer's values and gradients, added to the sums. */
function addLayer(
  sums: FlipSums,
  { patches }: Measurement,
  { channels, height, width, patches: own, columns, firstRow }: MeasuredLayer,
  index: number,
  values: Float32Array,
  gradients: Float32Array,
  count: number,
  probes: number,
): void {
  const map = height * width;
  const thresholds = Float64Array.from({ length: levels }, (_, level) => 2 ** (sums.exponents[index]! + level));
  const tables = createTables(height, width, probes);
  const changes = createChanges(probes);
  const joint = new Float64Array(probes * levels);
  for (let n = 0; n < count; n++) {
    joint.fill(0);
    for (let c = 0; c < channels; c++) {
      const at = (n * channels + c) * map;
      fillTables(tables, values, gradients, at, count * channels * map);
      own.forEach(([h, w], k) => {
        if (h === 0 || w === 0) return;
        changes.clear();
        addBlocks(changes, tables, h, w, thresholds);
        const out = ((firstRow + c) * patches.length + columns[k]!) * levels;
        changes.read(thresholds, (probe, level, mean, variance) => {
          sums.own[out + level]! += mean * mean + variance;
          if (k > 0) return;
          joint[probe * levels + level]! += mean;
          sums.together[index * levels + level]! += variance;
          sums.alone[index * levels + level]! += mean * mean + variance;
        });
      });
    }
    joint.forEach((mean, i) => {
      sums.together[index * levels + (i % levels)]! += mean * mean;
    });
  }
}

/** Sums over the rectangle from the top left corner up to, not with, a row and column: of y, and of g · y for each direction. */
interface Tables {
  readonly height: number;
  readonly width: number;
  readonly values: Float64Array;
  readonly products: readonly Float64Array[];
}

function createTables(height: number, width: number, probes: number): Tables {
  const make = (): Float64Array => new Float64Array((height + 1) * (width + 1));
  return { height, width, values: make(), products: Array.from({ length: probes }, make) };
}

function fillTables(
  { height, width, values: sums, products }: Tables,
  values: Float32Array,
  gradients: Float32Array,
  at: number,
  stride: number,
): void {
  const fill = (table: Float64Array, value: (i: number) => number): void => {
    for (let y = 0, i = at; y < height; y++) {
      let row = 0;
      for (let x = 0, to = (y + 1) * (width + 1) + 1; x < width; x++, i++, to++) {
        row += value(i);
        table[to] = table[to - width - 1]! + row;
      }
    }
  };
  fill(sums, (i) => values[i]!);
  products.forEach((table, probe) => {
    fill(table, (i) => values[i]! * gradients[probe * stride + i]!);
  });
}

/** Sums over blocks whose |S| lies between two thresholds, from which means and variances for every threshold follow: p is linear in |S|. */
interface Changes {
  clear(): void;
  add(probe: number, level: number, size: number, product: number): void;
  read(thresholds: Float64Array, visit: (probe: number, level: number, mean: number, variance: number) => void): void;
}

function createChanges(probes: number): Changes {
  const [g, sg, sgg, ssgg] = Array.from({ length: 4 }, () => new Float64Array(probes * levels)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  return {
    clear() {
      for (const sums of [g, sg, sgg, ssgg]) sums.fill(0);
    },
    add(probe, level, size, product) {
      const at = probe * levels + level;
      const scaled = size * product;
      g[at]! += product;
      sg[at]! += scaled;
      sgg[at]! += scaled * product;
      ssgg[at]! += scaled * scaled;
    },
    read(thresholds, visit) {
      for (let probe = 0; probe < probes; probe++) {
        let [a, b, c, d] = [0, 0, 0, 0];
        for (let level = 0, at = probe * levels; level < levels; level++, at++) {
          a += g[at]!;
          b += sg[at]!;
          c += sgg[at]!;
          d += ssgg[at]!;
          const t = thresholds[level]!;
          visit(probe, level, a - b / t, Math.max(0, c / t - d / (t * t)));
        }
      }
    },
  };
}

function addBlocks(changes: Changes, { height, width, values, products }: Tables, h: number, w: number, thresholds: Float64Array): void {
  const stride = width + 1;
  const most = thresholds[levels - 1]!;
  for (let top = 0; top < height; top += h) {
    const upper = top * stride;
    const lower = Math.min(height, top + h) * stride;
    for (let left = 0; left < width; left += w) {
      const right = Math.min(width, left + w);
      const sum = values[lower + right]! - values[lower + left]! - values[upper + right]! + values[upper + left]!;
      if (sum >= 0 || -sum >= most) continue;
      let level = 0;
      while (thresholds[level]! <= -sum) level++;
      for (let probe = 0; probe < products.length; probe++) {
        const table = products[probe]!;
        changes.add(probe, level, -sum, table[lower + right]! - table[lower + left]! - table[upper + right]! + table[upper + left]!);
      }
    }
  }
}
