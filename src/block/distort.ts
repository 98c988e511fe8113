// What is measured when a distortion is: the activations of a network, their channels and patches. The ways to measure it stand beside:
// distort-linear.ts and distort-exact.ts.
import { DataError } from '../errors.js';
import { type Graph, type GraphNode, type PreluNode, type ReluNode, withoutDeadNodes } from '../model/graph.js';
import { applyPatches, type LayerPatches } from '../model/passes/lower.js';
import { splitOutputActivation } from '../model/passes/reorder.js';
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

/** Where a change is measured: at the scores before a softmax (a vector, or a map of them), or at what the global pooling reads. */
export const measuringPlaces = ['logits', 'features'] as const;
export type MeasuringPlace = (typeof measuringPlaces)[number];

export interface MeasurementOptions extends CandidateOptions {
  /** Default "logits". */
  readonly at?: MeasuringPlace;
  /**
   * Measure at the network under this spec instead of the plain one: what a patch changes in what the other channels' patches have left of
   * the values. For the first-order methods; the change is still from plain ReLU on the channel itself.
   */
  readonly under?: LayerPatches;
}

export interface Measurement {
  /** Ends where changes are measured. */
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
  /** Their classes, which the method "loss" needs: one for each position of the scores, picture after picture. */
  readonly labels?: ArrayLike<number>;
  /** The class that is not scored. */
  readonly ignore?: number;
}

/** A way of measuring, opened on a network. */
export interface Meter {
  /** How many pictures to give it at a time; results hardly depend on it (rounding), memory does. */
  readonly batch: number;
  /** What a sum is divided by for each picture. */
  readonly perPicture: number;
  /** How many labels it needs of each picture; undefined where it needs none. */
  readonly labelsEach?: number;
  /** sums[row · patches + column] += the distortion of every picture of the batch. */
  add(batch: SampleBatch, sums: Float64Array): Promise<void>;
  close(): void;
}

/**
 * Lists what there is to measure in a simplified graph: the activations that what is measured depends on.
 * @throws DataError ("no-activations") for a network without any, ("no-global-pooling", "unsupported-measurement").
 */
export function planMeasurement(graph: Graph, options: MeasurementOptions = {}): Measurement {
  const shared = options.under === undefined ? graph : withPatches(graph, options.under);
  const scores = options.at === 'features' ? upToPooling(shared) : withoutSoftmax(shared);
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

/** As {@link applyPatches}, but a layer that passes unchanged stays an activation: it is to be measured. */
function withPatches(graph: Graph, patches: LayerPatches): Graph {
  applyPatches(graph, patches);
  const nodes = graph.nodes.map((node): GraphNode => {
    const own = node.kind === 'relu' || node.kind === 'prelu' ? patches.get(node.name) : undefined;
    return own === undefined ? node : ({ ...node, patches: own } as GraphNode);
  });
  return { ...graph, nodes };
}

/**
 * The network up to its scores: softmax keeps their order, and would hide by how much they change.
 * @throws DataError ("unsupported-measurement") for a softmax elsewhere.
 */
export function withoutSoftmax(graph: Graph): Graph {
  const scores = splitOutputActivation(graph).graph;
  const stray = scores.nodes.find((node) => node.kind === 'softmax' || node.kind === 'logsoftmax');
  if (stray === undefined) return scores;
  throw new DataError(`the softmax ${stray.name} is not at the end of the network`, {
    code: 'unsupported-measurement',
    where: stray.name,
    hint: 'Distortion goes through a network up to its scores; --at features stops before a global pooling.',
  });
}

/** The network without its last global average pooling and what comes after. */
function upToPooling(graph: Graph): Graph {
  const pool = graph.nodes.findLast(
    (node) => node.kind === 'averagepool' && node.geometry.outputHeight === 1 && node.geometry.outputWidth === 1,
  );
  if (pool !== undefined) return withoutDeadNodes({ ...graph, output: pool.inputs[0]! });
  throw new DataError('the network has no global average pooling to measure before', {
    code: 'no-global-pooling',
    where: graph.output,
    hint: 'Leave --at features out: the change is then measured at the scores.',
  });
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
