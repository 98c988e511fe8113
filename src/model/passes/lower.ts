// From what the network computes to what the protocol can run: linear layers read hidden values and give sealed ones.
import { DataError } from '../../errors.js';
import {
  type AffineNode,
  type ConvNode,
  type Graph,
  type GraphNode,
  type PreluNode,
  type ReluNode,
  sizeOf,
  type TruncateNode,
  type ValueId,
  type ViewNode,
  withoutDeadNodes,
} from '../graph.js';
import { pointwiseGeometry } from '../ops/linear.js';
import type { Patch } from '../program.js';
import { resampleBits } from '../resample.js';
import { everywhere, replaced } from './rewrite.js';

/** Patches by layer name, one a channel. */
export type LayerPatches = ReadonlyMap<string, readonly Patch[]>;

const isIdentity = (p: Patch): boolean => p[0] === 0 && p[1] === 1;
const isPlain = (p: Patch): boolean => p[0] === 1 && p[1] === 1;

/** Gives each activation its patches; a layer of identities becomes a truncation. Throws DataError for names or counts that do not fit. */
export function applyPatches(graph: Graph, patches: LayerPatches): Graph {
  const left = new Set(patches.keys());
  const nodes = graph.nodes.map((node): GraphNode => {
    const given = patches.get(node.name);
    if (given === undefined || (node.kind !== 'relu' && node.kind !== 'prelu')) return node;
    left.delete(node.name);
    checkPatches(node, given);
    if (given.every(isPlain)) return node;
    if (given.every(isIdentity)) return { kind: 'truncate', name: node.name, inputs: node.inputs, output: node.output, shape: node.shape };
    return { ...node, patches: given };
  });
  const unknown = [...left][0];
  if (unknown !== undefined) {
    throw new DataError(`the spec names layer ${unknown}, which has no activation in this model`, {
      code: 'bad-spec',
      where: unknown,
      hint: 'make the spec from this model; `tessera inspect` lists its layers',
    });
  }
  return { ...graph, nodes };
}

function checkPatches(node: ReluNode | PreluNode, patches: readonly Patch[]): void {
  const [channels, height = 1, width = 1] = node.shape as [number, number?, number?];
  const bad = (reason: string): never => {
    throw new DataError(`the spec of layer ${node.name}: ${reason}`, {
      code: 'bad-spec',
      where: node.name,
      hint: 'make the spec from this model',
    });
  };
  if (patches.length !== channels) bad(`${patches.length} patches for ${channels} channels`);
  for (const [h, w] of patches) {
    const special = (h === 0 && w === 1) || (h === 1 && w === 0);
    if (!special && !(Number.isInteger(h) && Number.isInteger(w) && h >= 1 && w >= 1 && h <= height && w <= width))
      bad(`patch [${h}, ${w}] on a map of ${height} × ${width}`);
  }
}

const isZero = (p: Patch): boolean => p[0] === 1 && p[1] === 0;

/**
 * A channel a spec sets to zero costs nothing where its ReLU stands between two ungrouped linear layers and nothing else reads it: its
 * filter and what reads it are dropped. Elsewhere it stays, and is zero.
 */
function dropZeroChannels(graph: Graph): Graph {
  const done = new Set<string>();
  return everywhere(graph, (relu, links, g) => {
    if (relu.kind !== 'relu' || !relu.patches?.some(isZero) || done.has(relu.name)) return undefined;
    done.add(relu.name);
    const before = links.maker(relu.inputs[0]!);
    const after = links.onlyReader(relu.output);
    if (before?.kind !== 'conv' || after?.kind !== 'conv' || links.onlyReader(before.output) !== relu) return undefined;
    const channels = relu.shape[0]!;
    if (before.geometry.groups !== 1 || after.geometry.groups !== 1 || before.geometry.outputChannels !== channels) return undefined;
    const kept = relu.patches.flatMap((p, c) => (isZero(p) ? [] : [c]));
    if (kept.length === 0) return undefined;
    const shape = [kept.length, ...relu.shape.slice(1)];
    const patches = kept.map((c) => relu.patches![c]!);
    const { patches: _, ...plain } = relu;
    const smaller: ReluNode = patches.every(isPlain) ? { ...plain, shape } : { ...relu, shape, patches };
    const by = new Map<GraphNode, GraphNode>([
      [before, { ...keepOutputs(before, kept), shape }],
      [relu, smaller],
      [after, keepInputs(after, kept, channels)],
    ]);
    return { ...g, nodes: g.nodes.map((n) => by.get(n) ?? n) };
  });
}

/** Rows `kept` of a matrix with rows of `length` numbers. */
function rows(values: Float32Array, length: number, kept: readonly number[]): Float32Array {
  const out = new Float32Array(kept.length * length);
  kept.forEach((row, i) => {
    out.set(values.subarray(row * length, (row + 1) * length), i * length);
  });
  return out;
}

function keepOutputs(conv: ConvNode, kept: readonly number[]): ConvNode {
  const weights = rows(conv.weights, conv.weights.length / conv.geometry.outputChannels, kept);
  return { ...conv, geometry: { ...conv.geometry, outputChannels: kept.length }, weights, bias: rows(conv.bias, 1, kept) };
}

/** The channels of what was read may be several inputs each (a fully connected layer reads a flattened map). */
function keepInputs(conv: ConvNode, kept: readonly number[], channels: number): ConvNode {
  const { inputChannels, outputChannels } = conv.geometry;
  const length = conv.weights.length / outputChannels / channels;
  const all = Array.from({ length: outputChannels }, (_, o) => kept.map((c) => o * channels + c)).flat();
  const geometry = { ...conv.geometry, inputChannels: (inputChannels / channels) * kept.length };
  return { ...conv, geometry, weights: rows(conv.weights, length, all) };
}

/** An affine layer as a depthwise 1 × 1 convolution: its constants are the server's weights. */
function asConvolution(node: AffineNode): ConvNode {
  const channels = node.multiplier.length;
  const geometry = pointwiseGeometry(channels, channels, sizeOf(node.shape) / channels, 1, channels);
  return {
    kind: 'conv',
    name: node.name,
    inputs: node.inputs,
    output: node.output,
    shape: node.shape,
    geometry,
    weights: node.multiplier,
    bias: node.offset,
  };
}

interface Parts {
  readonly relu: ReluNode;
  readonly rest: TruncateNode;
}

function prelusParts(node: PreluNode): Parts {
  const common = { inputs: node.inputs, shape: node.shape };
  return {
    relu: { ...common, kind: 'relu', name: node.name, output: `${node.output}/relu`, ...(node.patches && { patches: node.patches }) },
    rest: { ...common, kind: 'truncate', name: `${node.name}/rest`, output: `${node.output}/rest` },
  };
}

/** W (x ≥ 0 ? x : a x) = W (1 − a) relu(x) + W a x: one convolution over both, where the activation's one reader is an ungrouped one. */
function joinedPrelu(node: PreluNode, conv: ConvNode): readonly GraphNode[] | undefined {
  const channels = conv.geometry.inputChannels;
  if (conv.geometry.groups !== 1 || channels % node.slopes.length !== 0) return undefined;
  const { relu, rest } = prelusParts(node);
  const both: GraphNode = {
    kind: 'concat',
    name: `${node.name}/both`,
    inputs: [relu.output, rest.output],
    output: node.output,
    axis: 0,
    shape: [2 * node.shape[0]!, ...node.shape.slice(1)],
  };
  const taps = conv.geometry.kernelHeight * conv.geometry.kernelWidth;
  const row = channels * taps;
  const weights = new Float32Array(2 * conv.weights.length);
  conv.weights.forEach((w, i) => {
    const output = Math.floor(i / row);
    const slope = node.slopes[Math.floor((Math.floor((i % row) / taps) * node.slopes.length) / channels)]!;
    weights[2 * output * row + (i % row)] = w * (1 - slope);
    weights[(2 * output + 1) * row + (i % row)] = w * slope;
  });
  return [relu, rest, both, { ...conv, weights, geometry: { ...conv.geometry, inputChannels: 2 * channels } }];
}

/** The same as a linear layer of its own: each run of elements with one slope is a group of two channels. */
function separatePrelu(node: PreluNode): readonly GraphNode[] {
  const { relu, rest } = prelusParts(node);
  const groups = node.slopes.length;
  const run = sizeOf(node.shape) / groups;
  const shape = [groups, 1, run];
  const axes = shape.map((size, axis) => ({ axis, start: 0, step: 1, size }));
  const column = (part: GraphNode): ViewNode => ({
    kind: 'view',
    name: `${part.name}/column`,
    inputs: [part.output],
    output: `${part.output}/column`,
    shape,
    inputShape: shape,
    axes,
  });
  const columns = [column(relu), column(rest)];
  const both: GraphNode = {
    kind: 'concat',
    name: `${node.name}/both`,
    inputs: columns.map((c) => c.output),
    output: `${node.output}/both`,
    axis: 1,
    shape: [groups, 2, run],
  };
  const sum: ConvNode = {
    kind: 'conv',
    name: `${node.name}/sum`,
    inputs: [both.output],
    output: node.output,
    shape: node.shape,
    geometry: { ...pointwiseGeometry(2 * groups, groups, run, 1, groups) },
    weights: Float32Array.from({ length: 2 * groups }, (_, i) => (i % 2 === 0 ? 1 - node.slopes[i >> 1]! : node.slopes[i >> 1]!)),
    bias: new Float32Array(groups),
  };
  return [relu, rest, ...columns, both, sum];
}

function lowerPrelus(graph: Graph): Graph {
  return everywhere(graph, (node, links, g) => {
    if (node.kind !== 'prelu') return undefined;
    const reader = links.onlyReader(node.output);
    const joined = reader?.kind === 'conv' ? joinedPrelu(node, reader) : undefined;
    const parts = joined ?? separatePrelu(node);
    const conv = joined?.at(-1);
    return {
      ...g,
      nodes: g.nodes.flatMap((n) => (n === node ? parts.slice(0, joined ? -1 : undefined) : n === reader && conv ? [conv] : [n])),
    };
  });
}

/** Odd part of what divides each value: the factor by which its scale differs from a power of two. */
function oddParts(graph: Graph): ReadonlyMap<ValueId, number> {
  const odd = new Map<ValueId, number>([[graph.input.id, 1]]);
  for (const node of graph.nodes) {
    const before = odd.get(node.inputs[0]!) ?? 1;
    if (node.kind === 'conv') odd.set(node.output, 1);
    else if (node.kind === 'product') odd.set(node.output, before * (odd.get(node.inputs[1]!) ?? 1));
    else if (node.kind === 'averagepool') odd.set(node.output, before * oddPart(commonDivisor(node.divisors)));
    else odd.set(node.output, before);
  }
  return odd;
}

const oddPart = (n: number): number => {
  while (n % 2 === 0 && n > 0) n /= 2;
  return n;
};

const greatestCommon = (a: number, b: number): number => (b === 0 ? a : greatestCommon(b, a % b));

/**
 * What the sum of a pool is divided by, all positions alike: the least common multiple of the divisors, or where that is above 2^12
 * (windows at three edges of large kernels), 128 times the greatest, which rounds the weight of an edge by less than 1/256.
 */
export function commonDivisor(divisors: readonly number[]): number {
  const multiple = divisors.reduce((l, d) => (l > 4096 ? l : (l / greatestCommon(l, d)) * d), 1);
  return multiple <= 4096 || divisors.length === 1 ? multiple : 128 * divisors.reduce((a, b) => Math.max(a, b), 1);
}

/** Sums and joins need scales that agree up to a factor; a mean by an odd divisor that meets others is rescaled by a linear layer. */
function rescaleOddMeans(graph: Graph): Graph {
  const odd = oddParts(graph);
  return replaced(graph, (node) => {
    if (node.kind !== 'add' && node.kind !== 'concat') return undefined;
    if (node.inputs.every((id) => odd.get(id) === 1)) return undefined;
    const rescaled = node.inputs.map((id, i): ConvNode | undefined => {
      if (odd.get(id) === 1) return undefined;
      const maker = graph.nodes.find((n) => n.output === id)!;
      const channels = maker.shape[0]!;
      const ones = new Float32Array(channels).fill(1);
      return asConvolution({
        kind: 'affine',
        name: `${node.name}/rescale${i}`,
        inputs: [id],
        output: `${node.output}/rescale${i}`,
        shape: maker.shape,
        multiplier: ones,
        offset: new Float32Array(channels),
      });
    });
    return [...rescaled.filter((n) => n !== undefined), { ...node, inputs: node.inputs.map((id, i) => rescaled[i]?.output ?? id) }];
  });
}

/** Which values are sealed (the server's masked output of a linear layer), the others being hidden. */
export function sealedValues(graph: Graph): ReadonlySet<ValueId> {
  const sealed = new Set<ValueId>();
  for (const node of graph.nodes) {
    const keeps = node.kind !== 'conv' && node.kind !== 'relu' && node.kind !== 'truncate' && node.kind !== 'product';
    if (node.kind === 'conv' || (keeps && node.inputs.some((id) => sealed.has(id)))) sealed.add(node.output);
  }
  return sealed;
}

const readsHidden = (node: GraphNode): boolean => node.kind === 'conv' || node.kind === 'resample' || node.kind === 'product';

/**
 * Linear layers and products read hidden values, and resizing needs room for its weights: a sealed value is truncated first, once for all its
 * readers.
 */
function insertTruncations(graph: Graph): Graph {
  const sealed = sealedValues(graph);
  const hidden = new Map<ValueId, ValueId>();
  const nodes: GraphNode[] = [];
  for (const node of graph.nodes) {
    if (!readsHidden(node)) {
      nodes.push(node);
      continue;
    }
    for (const input of new Set(node.inputs)) {
      if (!sealed.has(input) || hidden.has(input)) continue;
      const maker = graph.nodes.find((n) => n.output === input)!;
      const output = `${input}/truncated`;
      hidden.set(input, output);
      nodes.push({ kind: 'truncate', name: `${maker.name}/truncated`, inputs: [input], output, shape: maker.shape });
    }
    nodes.push({ ...node, inputs: node.inputs.map((id) => hidden.get(id) ?? id) });
  }
  return { ...graph, nodes };
}

/** A truncation of what is hidden already drops nothing: it goes. */
function dropIdleTruncations(graph: Graph): Graph {
  const sealed = sealedValues(graph);
  return everywhere(graph, (node, _links, g) => {
    if (node.kind !== 'truncate' || sealed.has(node.inputs[0]!) || node.output === g.output) return undefined;
    const by = node.inputs[0]!;
    return {
      ...g,
      nodes: g.nodes.filter((n) => n !== node).map((n) => ({ ...n, inputs: n.inputs.map((id) => (id === node.output ? by : id)) })),
    };
  });
}

/** Resizing whose weights take more bits than this leaves a linear layer behind it too few for its own. */
const mostResampleBits = 8;

/**
 * Truncates what has many bits though it is hidden: products, at the scale of both factors, and what resizing by factors that are no powers
 * of two gives, whose weights take up to 8 bits an axis.
 */
function truncateWideValues(graph: Graph): Graph {
  const bits = new Map<ValueId, number>();
  const narrow = new Map<ValueId, ValueId>();
  const nodes: GraphNode[] = [];
  for (const before of graph.nodes) {
    const node = {
      ...before,
      inputs: before.inputs.map((id) => (bits.has(id) && before.kind === 'resample' ? id : (narrow.get(id) ?? id))),
    };
    nodes.push(node);
    if (node.kind === 'resample') {
      bits.set(node.output, resampleBits(node) + (bits.get(node.inputs[0]!) ?? 0));
      const readers = graph.nodes.filter((n) => n.inputs.includes(node.output));
      if (bits.get(node.output)! <= mostResampleBits || readers.every((n) => n.kind === 'resample')) continue;
    } else if (node.kind !== 'product' || node.output === graph.output) continue;
    const output = `${node.output}/truncated`;
    narrow.set(node.output, output);
    nodes.push({ kind: 'truncate', name: `${node.name}/truncated`, inputs: [node.output], output, shape: node.shape });
  }
  return { ...graph, nodes };
}

/** The graph that becomes the program, step for step. */
export function lower(graph: Graph, patches: LayerPatches = new Map()): Graph {
  const stray = graph.nodes.find((n) => n.kind === 'softmax' || n.kind === 'logsoftmax');
  if (stray !== undefined) {
    throw new DataError(`node ${stray.name} (${stray.kind}) is not at the output`, {
      code: 'unsupported-op',
      where: stray.name,
      hint: 'softmax is computed by the client on its own scores; attention is not supported',
    });
  }
  const withPatches = dropZeroChannels(applyPatches(graph, patches));
  const linear = replaced(lowerPrelus(withPatches), (n) => (n.kind === 'affine' ? [asConvolution(n)] : undefined));
  return withoutDeadNodes(truncateWideValues(dropIdleTruncations(insertTruncations(rescaleOddMeans(linear)))));
}
