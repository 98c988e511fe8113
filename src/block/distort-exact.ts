// What a patch on one channel does to the output, measured: the network is run again from the changed activation. Slow; the reference.
import type { Compute } from '../kernel/compute.js';
import { freeLayers, type Layers, packLayers, runNode } from '../model/forward.js';
import { type Graph, type GraphNode, sizeOf, type ValueId } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import { type MeasuredLayer, type Measurement, type Meter, picturesInCache, type SampleBatch } from './distort.js';

export interface ExactOptions {
  /** Which (row, candidate of its layer) to measure; all by default. What is left out stays 0. */
  readonly wanted?: (row: number, patch: Patch) => boolean;
}

/**
 * D(c, b) = Σ over pictures of ‖net with patch b on channel c − net‖² at the scores: one run from the changed activation for each channel
 * and patch (arXiv 2304.10442, section 4).
 */
export async function openExact(compute: Compute, measurement: Measurement, { wanted }: ExactOptions = {}): Promise<Meter> {
  const layers = await packLayers(compute, measurement.graph);
  return {
    batch: Math.min(32, picturesInCache(measurement, 1)),
    perPicture: 1,
    add: (batch, sums) => addExact({ compute, measurement, layers, wanted: wanted ?? (() => true) }, batch, sums),
    close: () => freeLayers(compute, layers),
  };
}

interface Context {
  readonly compute: Compute;
  readonly measurement: Measurement;
  readonly layers: Layers;
  readonly wanted: (row: number, patch: Patch) => boolean;
}

async function addExact(context: Context, { images, count }: SampleBatch, sums: Float64Array): Promise<void> {
  const { compute, measurement, wanted } = context;
  const { graph, patches } = measurement;
  const input = compute.floats(images.length);
  const values = new Map<ValueId, Float32Array>([[graph.input.id, input]]);
  try {
    input.set(images);
    await runNodes(context, graph.nodes, values, new Map(), count);
    for (const layer of measurement.layers) {
      const after = nodesAfter(graph, layer.node);
      for (let channel = 0; channel < layer.channels; channel++) {
        const row = layer.firstRow + channel;
        for (const [i, patch] of layer.patches.entries()) {
          if (i === 0 || !wanted(row, patch)) continue;
          sums[row * patches.length + layer.columns[i]!]! += await changeOf(context, layer, after, values, channel, patch, count);
        }
      }
    }
  } finally {
    compute.free(...values.values());
  }
}

/** ‖net with the patch on the channel − net‖², summed over the pictures. */
async function changeOf(
  context: Context,
  { node, channels, height, width }: MeasuredLayer,
  after: readonly GraphNode[],
  values: ReadonlyMap<ValueId, Float32Array>,
  channel: number,
  patch: Patch,
  count: number,
): Promise<number> {
  const { compute, measurement } = context;
  const plain = values.get(node.output)!;
  const own = await patchedChannel(context, node, values.get(node.inputs[0]!)!, channel, patch, count);
  const map = height * width;
  if (own.every((value, i) => value === plain[(Math.floor(i / map) * channels + channel) * map + (i % map)])) return 0;
  const changed = compute.floats(plain.length);
  const mine = new Map<ValueId, Float32Array>([[node.output, changed]]);
  try {
    changed.set(plain);
    for (let n = 0; n < count; n++) changed.set(own.subarray(n * map, (n + 1) * map), (n * channels + channel) * map);
    await runNodes(context, after, mine, values, count);
    const before = values.get(measurement.graph.output)!;
    const now = mine.get(measurement.graph.output) ?? before;
    return now.reduce((sum, value, i) => sum + (value - before[i]!) ** 2, 0);
  } finally {
    compute.free(...mine.values());
  }
}

/** One channel of an activation under a patch, [count, height, width], as the float network computes it. */
async function patchedChannel(
  { compute, layers }: Context,
  node: MeasuredLayer['node'],
  input: Float32Array,
  channel: number,
  patch: Patch,
  count: number,
): Promise<Float32Array> {
  const [channels, ...rest] = node.shape as [number, ...number[]];
  const map = sizeOf(rest);
  const own = compute.floats(count * map);
  for (let n = 0; n < count; n++) {
    const from = (n * channels + channel) * map;
    own.set(input.subarray(from, from + map), n * map);
  }
  const single = { ...node, shape: [1, ...rest], patches: [patch] };
  if (single.kind === 'prelu') {
    const length = Math.max(1, single.slopes.length / channels);
    const slopes = single.slopes.length < channels ? single.slopes : single.slopes.subarray(channel * length, (channel + 1) * length);
    Object.assign(single, { slopes });
  }
  const output = compute.floats(own.length);
  await runNode(compute, single, layers, [own], count, output);
  const changed = output.slice();
  compute.free(own, output);
  return changed;
}

/** Runs nodes in order; what they give joins `values`, what they read comes from there or from `others`. */
async function runNodes(
  { compute, layers }: Context,
  nodes: readonly GraphNode[],
  values: Map<ValueId, Float32Array>,
  others: ReadonlyMap<ValueId, Float32Array>,
  count: number,
): Promise<void> {
  for (const node of nodes) {
    const output = compute.floats(count * sizeOf(node.shape));
    values.set(node.output, output);
    const inputs = node.inputs.map((id) => values.get(id) ?? others.get(id)!);
    await runNode(compute, node, layers, inputs, count, output);
  }
}

/** The nodes that an activation's value reaches, in order. */
function nodesAfter(graph: Graph, node: GraphNode): readonly GraphNode[] {
  const reached = new Set<ValueId>([node.output]);
  return graph.nodes.filter((other) => {
    if (other === node || !other.inputs.some((id) => reached.has(id))) return false;
    reached.add(other.output);
    return true;
  });
}
