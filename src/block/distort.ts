// What is measured when a distortion is: the activations of a network, their channels and patches. The ways to measure it stand beside:
// distort-linear.ts and distort-exact.ts.
import { DataError } from '../errors.js';
import type { Graph, PreluNode, ReluNode } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import { type CandidateOptions, candidatePatches, joinCandidates } from './candidates.js';
import { channelRows, type Distortion } from './distortion-file.js';

/** One activation, and where its results lie. */
export interface MeasuredLayer {
  readonly node: ReluNode | PreluNode;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** Its candidates, plain ReLU first, and the column of each among those of all layers. */
  readonly patches: readonly Patch[];
  readonly columns: readonly number[];
  /** Row of its channel 0. */
  readonly firstRow: number;
}

export interface Measurement {
  /** Ends at the scores: a softmax at the end is left out. */
  readonly graph: Graph;
  readonly layers: readonly MeasuredLayer[];
  /** Patches of all layers: the columns. */
  readonly patches: readonly Patch[];
  /** Channels of all layers. */
  readonly rows: number;
}

/** Some pictures of the sample, in order. */
export interface SampleBatch {
  readonly images: Float32Array;
  readonly count: number;
  /** Place of the first one in the sample. */
  readonly first: number;
  /** Their classes, which the method "loss" needs. */
  readonly labels?: ArrayLike<number>;
}

/** A way of measuring, opened on a network. */
export interface Meter {
  /** How many pictures to give it at a time; results hardly depend on it (rounding), memory does. */
  readonly batch: number;
  /** What a sum is divided by for each picture. */
  readonly perPicture: number;
  /** sums[row · patches + column] += the distortion of every picture of the batch. */
  add(batch: SampleBatch, sums: Float64Array): Promise<void>;
  close(): void;
}

/**
 * Lists what there is to measure in a simplified graph.
 * @throws DataError ("no-activations") for a network without any.
 */
export function planMeasurement(graph: Graph, options: CandidateOptions = {}): Measurement {
  const scores = withoutSoftmax(graph);
  const nodes = scores.nodes.filter((node) => node.kind === 'relu' || node.kind === 'prelu');
  if (nodes.length === 0) {
    throw new DataError('the network has no activation to share comparisons in', {
      code: 'no-activations',
      hint: 'A model without ReLUs needs no spec.',
    });
  }
  const maps = nodes.map((node) => {
    const [channels = 1, height = 1, width = 1] = node.shape;
    return { node, channels, height, width, patches: candidatePatches(height, width, options) };
  });
  const patches = joinCandidates(maps.map((map) => map.patches));
  const columns = new Map(patches.map((patch, k) => [patch.join(), k]));
  let rows = 0;
  const layers = maps.map((map): MeasuredLayer => {
    const firstRow = rows;
    rows += map.channels;
    return { ...map, columns: map.patches.map((patch) => columns.get(patch.join())!), firstRow };
  });
  return { graph: scores, layers, patches, rows };
}

/** Softmax keeps the order of the scores, and would hide by how much they change. */
export function withoutSoftmax(graph: Graph): Graph {
  const last = graph.nodes.find((node) => node.output === graph.output);
  if (last?.kind !== 'softmax' && last?.kind !== 'logsoftmax') return graph;
  return { ...graph, output: last.inputs[0]!, nodes: graph.nodes.filter((node) => node !== last) };
}

/** How many pictures at a time keep `copies` times the largest value within 2^20 elements (4 MiB, about a cache), at least one. */
export function picturesInCache({ graph }: Measurement, copies: number): number {
  const largest = Math.max(
    ...[graph.input.shape, ...graph.nodes.map((node) => node.shape)].map((shape) => shape.reduce((a, b) => a * b, 1)),
  );
  return Math.max(1, Math.floor(2 ** 20 / Math.max(1, largest * copies)));
}

/** The distortion that sums over `samples` pictures come to: their means, NaN where a patch is no candidate. */
export function distortionOf(
  { layers, patches, rows }: Measurement,
  { perPicture }: Pick<Meter, 'perPicture'>,
  sums: Float64Array,
  made: Omit<Distortion['meta'], 'schema' | 'layers' | 'shapes'>,
): Distortion {
  const values = new Float64Array(rows * patches.length).fill(Number.NaN);
  for (const { channels, columns, firstRow } of layers) {
    for (let row = firstRow; row < firstRow + channels; row++) {
      for (const k of columns) values[row * patches.length + k] = sums[row * patches.length + k]! / (made.samples * perPicture);
    }
  }
  const shapes = layers.map(({ channels, height, width }): [number, number, number] => [channels, height, width]);
  const meta = { schema: 'tessera/distortion@1' as const, ...made, layers: layers.map(({ node }) => node.name), shapes };
  if (channelRows(meta).length !== rows) throw new RangeError(`${rows} rows for layers with ${channelRows(meta).length} channels`);
  return { meta, patches, values };
}
