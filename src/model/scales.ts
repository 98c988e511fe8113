// Fixed-point scales of a lowered graph. Powers of two, but for the odd part of a mean's divisor.
//
// A linear layer's output has the largest scale 2^F that keeps its range, with its margin, inside the ring (F depends on nothing else).
// Its input has 2^a: a larger a makes the activation finer and, as weights take what is left (F − a), the weights coarser. One output is
// off by  Σ over taps of  w² s² 4^−a  (s² = 1/6: truncation rounds up or down at random)  +  x² 4^(a−F) / 12  (weights rounded to nearest),
// which is least where 4^a = (w / x) 2^F √(12 s²): `balanced` below. Fewer bits cost nothing but accuracy and save one bit of every
// comparison each; how many fewer is measured in compile.ts (`thriftBits`).
import type { Range, Ranges } from './calibrate.js';
import type { ConvNode, Graph, GraphNode, ValueId } from './graph.js';
import { commonDivisor, sealedValues } from './passes/lower.js';
import { resampleBits } from './resample.js';

export interface Scales {
  /** Scale of every value. */
  readonly scale: ReadonlyMap<ValueId, number>;
  /** Bits dropped, by the name of a relu or truncate node. */
  readonly truncateBits: ReadonlyMap<string, number>;
  /** Low bits that a relu node's window leaves out, where that is more than what it drops. */
  readonly lowBits?: ReadonlyMap<string, number>;
}

export interface ScaleOptions {
  readonly ringBits: number;
  /** Bits of headroom over the greatest value seen. */
  readonly marginBits: number;
  /** Bits an activation has less than the most accurate choice. */
  readonly thriftBits: number;
}

/** A range below this is taken for this, so that a layer without signal gets no absurd scale. */
const leastMaximum = 2 ** -12;

/** Values that share a scale. */
class Groups {
  readonly #parent = new Map<ValueId, ValueId>();
  of(id: ValueId): ValueId {
    const up = this.#parent.get(id);
    return up === undefined || up === id ? id : this.of(up);
  }
  join(a: ValueId, b: ValueId): void {
    this.#parent.set(this.of(a), this.of(b));
  }
}

type ScalingNode = Extract<GraphNode, { kind: 'averagepool' | 'resample' }>;

const isLocalFactor = (node: GraphNode): node is ScalingNode => node.kind === 'averagepool' || node.kind === 'resample';

/** Whether a value's scale is not that of what it comes from times a public factor. */
const startsAnew = ({ kind }: GraphNode): boolean => kind === 'conv' || kind === 'relu' || kind === 'truncate' || kind === 'product';

/** By how much a local step's integer weights enlarge the scale. */
export const localFactor = (node: ScalingNode): number =>
  node.kind === 'averagepool' ? commonDivisor(node.divisors) : 2 ** resampleBits(node);

/** Factor a value's scale has over that of the sealed or hidden value it comes from by local steps alone. */
function poolFactors(graph: Graph): ReadonlyMap<ValueId, number> {
  const factor = new Map<ValueId, number>([[graph.input.id, 1]]);
  for (const node of graph.nodes) {
    const before = Math.max(...node.inputs.map((id) => factor.get(id) ?? 1));
    if (isLocalFactor(node)) factor.set(node.output, before * localFactor(node));
    else factor.set(node.output, startsAnew(node) ? 1 : before);
  }
  return factor;
}

/** Sealed values that meet in sums and joins, directly or by way of local steps, share one F: their group's representative. */
function sealedGroups(graph: Graph, sealed: ReadonlySet<ValueId>): (id: ValueId) => ValueId {
  const groups = new Groups();
  for (const node of graph.nodes) {
    if (!sealed.has(node.output) || node.kind === 'conv') continue;
    for (const id of node.inputs) if (sealed.has(id)) groups.join(id, node.output);
  }
  return (id) => groups.of(id);
}

/** F of every group of sealed values: the most bits with which all of them, their block sums and differences fit. */
function sealedBits(graph: Graph, ranges: Ranges, options: ScaleOptions): (id: ValueId) => number {
  const sealed = sealedValues(graph);
  const group = sealedGroups(graph, sealed);
  const factors = poolFactors(graph);
  const greatest = new Map<ValueId, number>();
  const see = (id: ValueId, value: number): void => {
    greatest.set(group(id), Math.max(greatest.get(group(id)) ?? 0, value * factors.get(id)!));
  };
  for (const id of sealed) see(id, ranges.values.get(id)!.maximum);
  for (const node of graph.nodes) {
    const input = node.inputs[0]!;
    if (!sealed.has(input)) continue;
    // Sums over a patch and differences may use the whole ring, single values a quarter of it.
    if (node.kind === 'relu')
      see(input, (ranges.sums.get(node.name) ?? 0) * (node.patches === undefined && node.cap === undefined ? 1 : 0.6));
    if (node.kind === 'maxpool') see(input, (ranges.differences.get(node.name) ?? 0) * 0.6);
  }
  const room = 2 ** (options.ringBits - 2 - options.marginBits);
  return (id) => Math.floor(Math.log2(room / Math.max(greatest.get(group(id)) ?? 0, leastMaximum)));
}

const rms = (values: Float32Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / Math.max(1, values.length));

/** Hidden values whose scales must be equal because a join, a maximum or a move links them: their group's representative. */
function hiddenGroups(graph: Graph, sealed: ReadonlySet<ValueId>): (id: ValueId) => ValueId {
  const groups = new Groups();
  for (const node of graph.nodes) {
    if (node.kind !== 'concat' && node.kind !== 'view' && node.kind !== 'maxpool') continue;
    if (!sealed.has(node.output)) for (const id of node.inputs) groups.join(id, node.output);
  }
  return (id) => groups.of(id);
}

/** Fraction bits of hidden values: what their readers want, passed on from the last step to the first until nothing changes. */
function hiddenBits(
  graph: Graph,
  ranges: Ranges,
  options: ScaleOptions,
  outputBits: (id: ValueId) => number,
): (id: ValueId) => number | undefined {
  const sealed = sealedValues(graph);
  const group = hiddenGroups(graph, sealed);
  const factors = poolFactors(graph);
  const wanted = new Map<ValueId, number>();
  let changed = true;
  const want = (id: ValueId, bits: number): void => {
    if (bits <= (wanted.get(group(id)) ?? Number.NEGATIVE_INFINITY)) return;
    wanted.set(group(id), bits);
    changed = true;
  };
  // A hidden output is decoded as it is; 2^-12 of its range is finer than anybody reads.
  if (!sealed.has(graph.output))
    want(graph.output, 12 - Math.ceil(Math.log2(Math.max(ranges.values.get(graph.output)!.maximum, leastMaximum))));
  for (const node of graph.nodes) {
    if (node.kind !== 'conv') continue;
    const input = node.inputs[0]!;
    want(input, balanced(node, ranges.values.get(input)!, outputBits(node.output), factors, graph) - options.thriftBits);
  }
  while (changed) {
    changed = false;
    for (const node of [...graph.nodes].reverse()) {
      const bits = wanted.get(group(node.output));
      if (bits !== undefined && node.kind !== 'conv') for (const id of node.inputs) want(id, bits);
    }
  }
  return (id) => wanted.get(group(id));
}

/** The most fraction bits with which a hidden value, and what local steps make of it, stays inside the ring. */
function ceilings(graph: Graph, ranges: Ranges, options: ScaleOptions, outputBits: (id: ValueId) => number): (id: ValueId) => number {
  const sealed = sealedValues(graph);
  const group = hiddenGroups(graph, sealed);
  const room = options.ringBits - 2 - options.marginBits;
  const own = (id: ValueId): number =>
    sealed.has(id) ? outputBits(id) : Math.floor(room - Math.log2(Math.max(ranges.values.get(id)!.maximum, leastMaximum)));
  const ceiling = new Map<ValueId, number>();
  let changed = false;
  const lower = (id: ValueId, bits: number): void => {
    if (bits >= (ceiling.get(group(id)) ?? Number.POSITIVE_INFINITY)) return;
    ceiling.set(group(id), bits);
    changed = true;
  };
  lower(graph.input.id, own(graph.input.id));
  for (const node of graph.nodes) lower(node.output, own(node.output));
  while (changed) {
    changed = false;
    for (const node of [...graph.nodes].reverse()) {
      if (node.kind === 'conv' || node.kind === 'relu' || node.kind === 'truncate') continue;
      if (node.kind === 'product') {
        // Both factors as fine for their size: a gate in [0, 1] has more fraction bits than what it lets through.
        const [x, y] = node.inputs.map((id) => Math.log2(Math.max(ranges.values.get(id)!.maximum, leastMaximum))) as [number, number];
        const bits = ceiling.get(group(node.output))!;
        lower(node.inputs[0]!, Math.floor((bits + y - x) / 2));
        lower(node.inputs[1]!, Math.floor((bits + x - y) / 2));
        continue;
      }
      const lost = isLocalFactor(node) ? Math.ceil(Math.log2(localFactor(node))) : 0;
      for (const id of node.inputs) lower(id, ceiling.get(group(node.output))! - lost);
    }
  }
  return (id) => ceiling.get(group(id))!;
}

/** The a of the note above, for the value a linear layer reads. A mean of n positions averages their errors, and its scale is n times larger. */
function balanced(node: ConvNode, input: Range, outputBits: number, factors: ReadonlyMap<ValueId, number>, graph: Graph): number {
  const id = node.inputs[0]!;
  const divisor = factors.get(id)!;
  const maker = graph.nodes.find((n) => n.output === id);
  const taps =
    maker?.kind === 'averagepool' ? maker.geometry.kernelHeight * maker.geometry.kernelWidth : maker?.kind === 'resample' ? 1 : divisor;
  const w = Math.max(rms(node.weights), 1e-9);
  const x = Math.max(input.rms, 1e-9);
  return Math.round((outputBits + Math.log2((w * Math.SQRT2) / (x * divisor * Math.sqrt(taps)))) / 2);
}

/** Chooses every scale. */
export function chooseScales(graph: Graph, ranges: Ranges, options: ScaleOptions): Scales {
  const outputBits = sealedBits(graph, ranges, options);
  const wanted = hiddenBits(graph, ranges, options, outputBits);
  const ceiling = ceilings(graph, ranges, options, outputBits);
  // What no linear layer reads (a dead end towards the output) keeps 8 bits.
  const choices: Choices = { options, outputBits, hiddenBits: (id) => Math.min(wanted(id) ?? 8, ceiling(id)) };
  const scale = new Map<ValueId, number>([[graph.input.id, 2 ** choices.hiddenBits(graph.input.id)]]);
  const truncateBits = new Map<string, number>();
  for (const node of graph.nodes) scale.set(node.output, scaleOf(node, scale, truncateBits, choices));
  return { scale, truncateBits };
}

interface Choices {
  readonly options: ScaleOptions;
  readonly outputBits: (id: ValueId) => number;
  readonly hiddenBits: (id: ValueId) => number;
}

function scaleOf(node: GraphNode, scale: ReadonlyMap<ValueId, number>, truncateBits: Map<string, number>, choices: Choices): number {
  const inputs = node.inputs.map((id) => scale.get(id)!);
  const before = inputs[0]!;
  switch (node.kind) {
    case 'conv':
      return 2 ** choices.outputBits(node.output);
    case 'relu':
    case 'truncate': {
      const dropped = Math.round(Math.log2(before) - choices.hiddenBits(node.output));
      // A window is at least two bits wide and ends below the two bits kept free.
      const bits = Math.max(0, Math.min(dropped, choices.options.ringBits - 4));
      truncateBits.set(node.name, bits);
      return before / 2 ** bits;
    }
    case 'averagepool':
    case 'resample':
      return before * localFactor(node);
    case 'product':
      return before * inputs[1]!;
    case 'add':
    case 'concat':
      return Math.max(...inputs);
    default:
      return before;
  }
}
