// What a lowered graph's values look like on sample pictures: the ranges that scales and comparison windows are chosen from.

import { DataError, UsageError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import { forward, type Observer } from './forward.js';
import { type Graph, type GraphNode, type ReluNode, sizeOf, type ValueId } from './graph.js';
import { eachPatch, eachTap, poolSizes } from './layout.js';
import type { Patch } from './program.js';

export interface Range {
  /** Greatest |x| seen. */
  readonly maximum: number;
  /** Root of the mean square. */
  readonly rms: number;
}

export interface Ranges {
  readonly values: ReadonlyMap<ValueId, Range>;
  /** Greatest |sum over a patch|, also of y − cap, by the name of a ReLU; equals the greatest |y| where every patch is 1 × 1. */
  readonly sums: ReadonlyMap<string, number>;
  /** Mean of every channel of what a convolution or fully connected layer reads. */
  readonly means: ReadonlyMap<ValueId, Float64Array>;
  /** Greatest difference of two values in one window, by the name of a max pool. */
  readonly differences: ReadonlyMap<string, number>;
  /** Pictures that are in none of the above, because of their values. */
  readonly leftOut: readonly LeftOut[];
}

/** A calibration picture whose values leave what the others have. */
export interface LeftOut {
  readonly picture: number;
  /** The value that does so most, by the layer that makes it, and how many times what the median picture has. */
  readonly layer: string;
  readonly times: number;
}

/**
 * A picture is left out when some value's greatest magnitude is more than so many times that of the median picture. Of 256 CIFAR-10
 * pictures ResNet-20 has none above 3.1, MiniONN's network with polynomials of degree 5 none above 7.1; with degree 7, where 252 lie below
 * 31, the other four have 4·10^3 to 10^11, and scales that hold those leave the 252 without a bit.
 */
const usualTimes = 64;
/** The median of fewer pictures says nothing. */
const fewestForMedian = 4;
/** More left out than this is the network's nature. */
const mostLeftOut = 0.1;

export interface Calibration {
  /** `count` pictures, NCHW, preprocessed as the network expects. */
  readonly images: Float32Array;
  readonly count: number;
  /** Bits of headroom beyond the usual one over the greatest value seen (default 0). */
  readonly marginBits?: number;
}

/** Means of a value's channels, [pictures, channels]. */
interface Means {
  readonly channels: number;
  readonly lists: Float32Array;
}

/** What one value looks like, picture by picture. */
class Statistics {
  readonly low: Float64Array;
  readonly high: Float64Array;
  readonly squares: Float64Array;
  size = 0;
  constructor(pictures: number) {
    this.low = new Float64Array(pictures);
    this.high = new Float64Array(pictures);
    this.squares = new Float64Array(pictures);
  }
  greatest(picture: number): number {
    const greatest = Math.max(-this.low[picture]!, this.high[picture]!);
    return Number.isFinite(this.squares[picture]!) ? greatest : Number.POSITIVE_INFINITY;
  }
}

/**
 * Runs the graph on the calibration pictures, a few at a time. A few pictures whose values leave those of the others by far are left out, and
 * listed. Throws UsageError when there are none or their number is not `count`, DataError when too many are to be left out.
 */
export async function measureRanges(compute: Compute, graph: Graph, calibration: Calibration): Promise<Ranges> {
  const size = sizeOf(graph.input.shape);
  const { images, count } = calibration;
  if (count < 1 || images.length !== count * size) {
    throw new UsageError(`calibration: ${images.length} numbers for ${count} pictures of ${size}`, {
      code: 'bad-calibration',
      where: 'calibration',
      hint: 'give at least one picture, preprocessed as the network expects',
    });
  }
  const statistics = new Map<ValueId, Statistics>();
  const sums = new Map<string, Float64Array>();
  const differences = new Map<string, Float64Array>();
  const relus = new Map<ValueId, ReluNode[]>();
  const means = new Map<ValueId, Means>();
  for (const node of graph.nodes) {
    if (node.kind !== 'conv') continue;
    const channels = node.geometry.inputChannels;
    means.set(node.inputs[0]!, { channels, lists: new Float32Array(count * channels) });
  }
  const pools = new Map<ValueId, Extract<GraphNode, { kind: 'maxpool' }>[]>();
  for (const node of graph.nodes) {
    const input = node.inputs[0]!;
    if (node.kind === 'relu') relus.set(input, [...(relus.get(input) ?? []), node]);
    if (node.kind === 'maxpool') pools.set(input, [...(pools.get(input) ?? []), node]);
  }
  const put = (map: Map<string, Float64Array>, name: string, picture: number, value: number): void => {
    const list = map.get(name) ?? new Float64Array(count);
    map.set(name, list);
    list[picture] = value;
  };
  const observe: Observer = (id, values, pictures, first) => {
    const s = statistics.get(id) ?? new Statistics(count);
    statistics.set(id, s);
    s.size = values.length / pictures;
    for (let i = 0; i < pictures; i++) {
      const own = values.subarray(i * s.size, (i + 1) * s.size);
      accumulate(s, first + i, own);
      const mean = means.get(id);
      if (mean !== undefined) meansOf(own, mean.lists.subarray((first + i) * mean.channels, (first + i + 1) * mean.channels));
      for (const relu of relus.get(id) ?? []) {
        const sum = relu.patches === undefined ? greatestSingle(relu, s, first + i) : greatestSum(relu, relu.patches, own, 1);
        put(sums, relu.name, first + i, sum);
      }
      for (const pool of pools.get(id) ?? []) put(differences, pool.name, first + i, greatestDifference(pool.geometry, own, 1));
    }
  };
  await forward(compute, graph, images, count, observe);
  const leftOut = unusual(graph, statistics, count);
  const kept = usedPictures(count, leftOut);
  const greatest = (of: (picture: number) => number): number => kept.reduce((most, i) => Math.max(most, of(i)), 0);
  const most = (map: Map<string, Float64Array>): Map<string, number> =>
    new Map([...map].map(([name, list]) => [name, greatest((i) => list[i]!)]));
  const values = new Map(
    [...statistics].map(([id, s]): [ValueId, Range] => {
      const squares = kept.reduce((sum, i) => sum + s.squares[i]!, 0);
      return [id, { maximum: greatest((i) => s.greatest(i)), rms: Math.sqrt(squares / Math.max(1, s.size * kept.length)) }];
    }),
  );
  return { values, sums: most(sums), means: channelMeans(means, kept), differences: most(differences), leftOut };
}

/** The places of the pictures that ranges are of. */
export function usedPictures(count: number, leftOut: readonly LeftOut[]): readonly number[] {
  const out = new Set(leftOut.map((l) => l.picture));
  return Array.from({ length: count }, (_, i) => i).filter((i) => !out.has(i));
}

/** Pictures that have a value beyond {@link usualTimes} the median. Throws DataError when they are not the exception. */
function unusual(graph: Graph, statistics: ReadonlyMap<ValueId, Statistics>, count: number): readonly LeftOut[] {
  if (count < fewestForMedian) return [];
  const worst = Array.from({ length: count }, (_, picture) => ({ picture, layer: '', times: 0 }));
  const makers = new Map(graph.nodes.map((node) => [node.output, node.name]));
  for (const [id, s] of statistics) {
    const sorted = Float64Array.from(worst, (w) => s.greatest(w.picture)).sort();
    const median = sorted[Math.floor(count / 2)]!;
    if (!(median > 0) || !Number.isFinite(median)) continue;
    for (const w of worst) {
      const times = s.greatest(w.picture) / median;
      if (times > w.times) Object.assign(w, { times, layer: makers.get(id) ?? 'input' });
    }
  }
  const out = worst.filter((w) => w.times > usualTimes);
  const [first] = out;
  if (first === undefined || out.length <= Math.max(1, mostLeftOut * count)) return out;
  throw new DataError(`${out.length} of ${count} calibration pictures have values at layer ${first.layer} far beyond the others'`, {
    code: 'unsteady-range',
    where: first.layer,
    hint: 'no fixed-point scale fits them: bound the activations (ReLU, or train on with smaller weights), or calibrate on pictures of one kind',
  });
}

function accumulate(s: Statistics, picture: number, values: Float32Array): void {
  let [low, high, squares] = [0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    squares += v * v;
    if (v > high) high = v;
    else if (v < low) low = v;
  }
  s.low[picture] = low;
  s.high[picture] = high;
  s.squares[picture] = squares;
}

/** Means over each channel of one picture's values [channels, …]. */
function meansOf(values: Float32Array, means: Float32Array): void {
  const size = values.length / means.length;
  for (let c = 0; c < means.length; c++) {
    let sum = 0;
    for (let i = c * size; i < (c + 1) * size; i++) sum += values[i]!;
    means[c] = sum / size;
  }
}

/** Means over the pictures that are kept, of lists [pictures, channels]. */
function channelMeans(means: ReadonlyMap<ValueId, Means>, kept: readonly number[]): Map<ValueId, Float64Array> {
  return new Map(
    [...means].map(([id, { channels, lists }]) => [
      id,
      Float64Array.from({ length: channels }, (_, c) => kept.reduce((sum, i) => sum + lists[i * channels + c]!, 0) / kept.length),
    ]),
  );
}

/** The greatest |y| and |y − cap| of a picture's single values. */
const greatestSingle = (relu: ReluNode, s: Statistics, picture: number): number => {
  const [low, high] = [s.low[picture]!, s.high[picture]!];
  return Math.max(-low, high, (relu.cap ?? 0) - low, Math.abs(high - (relu.cap ?? 0)));
};

function greatestSum(relu: ReluNode, patches: readonly Patch[], values: Float32Array, pictures: number): number {
  const cap = relu.cap ?? 0;
  let greatest = 0;
  const [channels, height = 1, width = 1] = relu.shape as [number, number?, number?];
  for (let n = 0; n < pictures; n++) {
    patches.forEach((patch, c) => {
      if (patch[0] === 0 || patch[1] === 0) return;
      const base = (n * channels + c) * height * width;
      eachPatch(height, width, patch, (top, bottom, left, right) => {
        let sum = 0;
        for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += values[base + y * width + x]!;
        const n = (bottom - top) * (right - left);
        greatest = Math.max(greatest, Math.abs(sum), Math.abs(sum - n * cap));
      });
    });
  }
  return greatest;
}

function greatestDifference(g: Parameters<typeof eachTap>[0], values: Float32Array, pictures: number): number {
  const size = poolSizes(g);
  let greatest = 0;
  for (let n = 0; n < pictures; n++) {
    let last = -1;
    let low = 0;
    let high = 0;
    eachTap(g, (o, i) => {
      const v = values[n * size.input + i]!;
      if (o !== last) {
        low = v;
        high = v;
        last = o;
      } else if (v < low) low = v;
      else if (v > high) high = v;
      if (high - low > greatest) greatest = high - low;
    });
  }
  return greatest;
}
