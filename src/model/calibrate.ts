// What a lowered graph's values look like on sample pictures: the ranges that scales and comparison windows are chosen from.

import { UsageError } from '../errors.js';
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
}

export interface Calibration {
  /** `count` pictures, NCHW, preprocessed as the network expects. */
  readonly images: Float32Array;
  readonly count: number;
  /** Bits of headroom beyond the usual one over the greatest value seen (default 0). */
  readonly marginBits?: number;
}

class Statistics {
  low = 0;
  high = 0;
  squares = 0;
  count = 0;
}

/** Runs the graph on the calibration pictures, a few at a time. Throws UsageError when there are none or their number is not `count`. */
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
  const sums = new Map<string, number>();
  const differences = new Map<string, number>();
  const relus = new Map<ValueId, ReluNode[]>();
  const means = new Map<ValueId, Float64Array>();
  for (const node of graph.nodes) if (node.kind === 'conv') means.set(node.inputs[0]!, new Float64Array(node.geometry.inputChannels));
  const pools = new Map<ValueId, Extract<GraphNode, { kind: 'maxpool' }>[]>();
  for (const node of graph.nodes) {
    const input = node.inputs[0]!;
    if (node.kind === 'relu') relus.set(input, [...(relus.get(input) ?? []), node]);
    if (node.kind === 'maxpool') pools.set(input, [...(pools.get(input) ?? []), node]);
  }
  const raise = (map: Map<string, number>, name: string, value: number): void => {
    map.set(name, Math.max(map.get(name) ?? 0, value));
  };
  const observe: Observer = (id, values, pictures) => {
    const s = statistics.get(id) ?? new Statistics();
    statistics.set(id, s);
    accumulate(s, values);
    const channels = means.get(id);
    if (channels !== undefined) addMeans(channels, values, pictures, count);
    for (const relu of relus.get(id) ?? []) {
      raise(sums, relu.name, relu.patches === undefined ? greatestSingle(relu, s) : greatestSum(relu, relu.patches, values, pictures));
    }
    for (const pool of pools.get(id) ?? []) raise(differences, pool.name, greatestDifference(pool.geometry, values, pictures));
  };
  await forward(compute, graph, images, count, observe);
  const values = new Map(
    [...statistics].map(([id, s]) => [id, { maximum: maximumOf(s), rms: Math.sqrt(s.squares / Math.max(1, s.count)) }]),
  );
  return { values, sums, means, differences };
}

function accumulate(s: Statistics, values: Float32Array): void {
  let { low, high, squares } = s;
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    squares += v * v;
    if (v > high) high = v;
    else if (v < low) low = v;
  }
  s.low = low;
  s.high = high;
  s.squares = squares;
  s.count += values.length;
}

/** Adds a batch to the means of its channels over `all` pictures; values are [pictures, channels, …]. */
function addMeans(means: Float64Array, values: Float32Array, pictures: number, all: number): void {
  const size = values.length / (pictures * means.length);
  for (let map = 0; map < pictures * means.length; map++) {
    let sum = 0;
    for (let i = map * size; i < (map + 1) * size; i++) sum += values[i]!;
    means[map % means.length]! += sum / (size * all);
  }
}

const maximumOf = ({ low, high }: Statistics): number => Math.max(-low, high);

/** The greatest |y| and |y − cap| of single values. */
const greatestSingle = (relu: ReluNode, { low, high }: Statistics): number =>
  Math.max(-low, high, (relu.cap ?? 0) - low, Math.abs(high - (relu.cap ?? 0)));

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
