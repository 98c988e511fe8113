// Runs a network on the same pictures under one choice of patches after another, from the last kept values that a choice does not change.
import type { Compute } from '../kernel/compute.js';
import { picturesAtOnce } from '../model/execute.js';
import { freeLayers, packLayers, runNode } from '../model/forward.js';
import { type Graph, type GraphNode, sizeOf, type ValueId } from '../model/graph.js';
import { applyPatches, type LayerPatches } from '../model/passes/lower.js';

export interface Replay {
  /** The network's output under patches, `count` × outputs. */
  run(patches: LayerPatches): Promise<Float32Array>;
  /** Later runs start from values of the last one. */
  keep(): void;
  close(): void;
}

/** Values that are still read from a node on: for each part of the pictures, by place of the node. */
type Cuts = ReadonlyMap<number, ReadonlyMap<ValueId, Float32Array>>;

interface Kept {
  readonly patches: LayerPatches;
  /** One entry a part of the pictures. */
  readonly cuts: readonly Cuts[];
}

/** Places where values are kept, the input aside: so many share the network's work evenly. */
const mostCuts = 5;

/** Throws RangeError when `images` is not `count` pictures of the graph's input shape. */
export async function openReplay(compute: Compute, graph: Graph, images: Float32Array, count: number): Promise<Replay> {
  const size = sizeOf(graph.input.shape);
  if (images.length !== count * size) throw new RangeError(`replay: ${images.length} numbers for ${count} pictures of ${size}`);
  const layers = await packLayers(compute, graph);
  const atOnce = picturesAtOnce(Math.max(size, ...graph.nodes.map((n) => sizeOf(n.shape))), count);
  const inputs = partsOf(compute, graph, images, count, atOnce);
  const places = cutPlaces(graph);
  const outputs = sizeOf(graph.nodes.find((n) => n.output === graph.output)?.shape ?? graph.input.shape);
  let kept: Kept = { patches: new Map(), cuts: inputs };
  let last: Kept | undefined;
  const drop = (old: Kept | undefined, still: Kept): void => {
    if (old === undefined) return;
    const used = new Set(arraysOf(still));
    compute.free(...new Set(arraysOf(old).filter((array) => !used.has(array))));
  };
  return {
    async run(patches) {
      drop(last, kept);
      last = undefined;
      const changed = applyPatches(graph, patches);
      const from = restart(graph, kept, patches);
      const result = new Float32Array(count * outputs);
      const cuts: Cuts[] = [];
      for (const [part, before] of kept.cuts.entries()) {
        const pictures = Math.min(atOnce, count - part * atOnce);
        const run = await runFrom({ compute, graph: changed, layers, places }, before, from, pictures);
        result.set(run.output, part * atOnce * outputs);
        cuts.push(run.cuts);
      }
      last = { patches, cuts };
      return result;
    },
    keep() {
      if (last === undefined) return;
      drop(kept, last);
      kept = last;
      last = undefined;
    },
    close() {
      drop(last, kept);
      compute.free(...new Set(arraysOf(kept)));
      freeLayers(compute, layers);
    },
  };
}

const arraysOf = ({ cuts }: Kept): Float32Array[] => cuts.flatMap((part) => [...part.values()].flatMap((values) => [...values.values()]));

/** The pictures on the heap, cut into parts: the values at place 0. */
function partsOf(compute: Compute, graph: Graph, images: Float32Array, count: number, atOnce: number): Cuts[] {
  const size = sizeOf(graph.input.shape);
  return Array.from({ length: Math.ceil(count / atOnce) }, (_, part) => {
    const own = images.subarray(part * atOnce * size, Math.min(count, (part + 1) * atOnce) * size);
    const input = compute.floats(own.length);
    input.set(own);
    return new Map([[0, new Map([[graph.input.id, input]])]]);
  });
}

/** Activations that share the work, as elements of the values computed, about evenly. */
function cutPlaces(graph: Graph): ReadonlySet<number> {
  const total = graph.nodes.reduce((sum, node) => sum + sizeOf(node.shape), 0);
  const places = new Set<number>();
  let done = 0;
  let next = 1;
  graph.nodes.forEach((node, i) => {
    if (i > 0 && (node.kind === 'relu' || node.kind === 'prelu') && done >= (next * total) / (mostCuts + 1)) {
      places.add(i);
      next = Math.floor((done * (mostCuts + 1)) / total) + 1;
    }
    done += sizeOf(node.shape);
  });
  return places;
}

/** The last place with kept values that comes before every activation whose patches are others now. */
function restart(graph: Graph, { patches, cuts }: Kept, now: LayerPatches): number {
  const key = (all: LayerPatches, { name }: GraphNode): string => (all.get(name) ?? []).join(';');
  const first = graph.nodes.findIndex((node) => (patches.has(node.name) || now.has(node.name)) && key(patches, node) !== key(now, node));
  return Math.max(...[...cuts[0]!.keys()].filter((place) => first < 0 || place <= first));
}

interface Network {
  readonly compute: Compute;
  readonly graph: Graph;
  readonly layers: Awaited<ReturnType<typeof packLayers>>;
  readonly places: ReadonlySet<number>;
}

/** Runs from a place on, for `count` pictures. The values at places from there on stay on the heap. */
async function runFrom(
  { compute, graph, layers, places }: Network,
  before: Cuts,
  from: number,
  count: number,
): Promise<{ output: Float32Array; cuts: Cuts }> {
  const values = new Map(before.get(from)!);
  const cuts = new Map([...before].filter(([place]) => place <= from));
  const held = new Set([...cuts.values()].flatMap((kept) => [...kept.values()]));
  const lastUse = new Map<ValueId, number>([[graph.output, graph.nodes.length]]);
  graph.nodes.forEach((node, i) => {
    for (const id of node.inputs) if (id !== graph.output) lastUse.set(id, i);
  });
  for (let i = from; i < graph.nodes.length; i++) {
    const node = graph.nodes[i]!;
    if (places.has(i) && i > from) {
      cuts.set(i, new Map(values));
      for (const array of values.values()) held.add(array);
    }
    const output = compute.floats(count * sizeOf(node.shape));
    values.set(node.output, output);
    await runNode(
      compute,
      node,
      layers,
      node.inputs.map((id) => values.get(id)!),
      count,
      output,
    );
    for (const id of new Set([...node.inputs, node.output])) {
      if ((lastUse.get(id) ?? i) > i) continue;
      if (!held.has(values.get(id)!)) compute.free(values.get(id)!);
      values.delete(id);
    }
  }
  const scores = values.get(graph.output)!;
  const output = scores.slice();
  if (!held.has(scores)) compute.free(scores);
  return { output, cuts };
}
