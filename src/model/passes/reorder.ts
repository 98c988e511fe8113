// MaxPool before ReLU (a quarter of the comparisons), views joined, pads into convolutions.
import type { ConvNode, Graph, GraphNode, ViewNode } from '../graph.js';
import { isReshape, sizeOf } from '../graph.js';
import type { OutputResample } from '../program.js';
import { everywhere, linksOf, renamed } from './rewrite.js';

/** max(relu(x)) = relu(max(x)): the pool runs first, the ReLU keeps its name on the smaller map. */
export function maxPoolBeforeRelu(graph: Graph): Graph {
  return everywhere(graph, (node, links, g) => {
    if (node.kind !== 'maxpool') return undefined;
    const relu = links.maker(node.inputs[0]!);
    if (relu?.kind !== 'relu' || relu.patches !== undefined || links.onlyReader(relu.output) !== node) return undefined;
    const pool: GraphNode = { ...node, inputs: relu.inputs, output: relu.output };
    const after: GraphNode = { ...relu, inputs: [relu.output], output: node.output, shape: node.shape };
    return { ...g, nodes: g.nodes.flatMap((n) => (n === relu ? [] : n === node ? [pool, after] : [n])) };
  });
}

/** Two views as one, where the second leaves the first one's axes apart and reads zeros only where the first one's source ends too. */
function joinViews(first: ViewNode, second: ViewNode): ViewNode | undefined {
  if (second.inputShape.join() !== first.shape.join()) return undefined;
  const axes = [];
  for (const b of second.axes) {
    const a = first.axes[b.axis];
    if (a === undefined) return undefined;
    const start = a.start + a.step * b.start;
    const step = a.step * b.step;
    const length = first.inputShape[a.axis] ?? 0;
    for (let o = 0; o < b.size; o++) {
      const middle = b.start + b.step * o;
      const source = start + step * o;
      const outside = middle < 0 || middle >= a.size;
      if (outside && source >= 0 && source < length) return undefined;
    }
    axes.push({ axis: a.axis, start, step, size: b.size });
  }
  return { ...second, inputs: first.inputs, inputShape: first.inputShape, axes };
}

/** Joins views that follow one another, and drops those that do nothing to the shape the next reader sees. */
export function mergeViews(graph: Graph): Graph {
  return everywhere(graph, (node, links, g) => {
    if (node.kind !== 'view') return undefined;
    const maker = links.maker(node.inputs[0]!);
    if (maker?.kind !== 'view') return undefined;
    // A reshape reads nothing but the order of elements, so whatever follows a reshape may skip it.
    const joined = isReshape(maker)
      ? { ...node, inputs: maker.inputs }
      : links.onlyReader(maker.output) === node
        ? joinViews(maker, node)
        : undefined;
    return joined === undefined ? undefined : { ...g, nodes: g.nodes.map((n) => (n === node ? joined : n)) };
  });
}

/** Linear layers carry their own geometry, so they read through a pure change of shape. */
export function skipReshapes(graph: Graph): Graph {
  return everywhere(graph, (node, links, g) => {
    if (node.kind !== 'conv') return undefined;
    const maker = links.maker(node.inputs[0]!);
    if (maker?.kind !== 'view' || !isReshape(maker)) return undefined;
    return { ...g, nodes: g.nodes.map((n) => (n === node ? { ...node, inputs: maker.inputs } : n)) };
  });
}

/** Zero padding of height and width becomes the pads of the convolution that reads it. */
export function padsIntoConvolutions(graph: Graph): Graph {
  return everywhere(graph, (node, links, g) => {
    if (node.kind !== 'conv') return undefined;
    const pad = links.maker(node.inputs[0]!);
    if (pad?.kind !== 'view' || links.onlyReader(pad.output) !== node) return undefined;
    const folded = foldPad(pad, node);
    return folded === undefined ? undefined : { ...g, nodes: g.nodes.map((n) => (n === node ? folded : n)) };
  });
}

function foldPad(pad: ViewNode, conv: ConvNode): ConvNode | undefined {
  const [c, y, x] = pad.axes;
  const shape = pad.inputShape;
  if (pad.axes.length !== 3 || shape.length !== 3 || c === undefined || y === undefined || x === undefined) return undefined;
  const g = conv.geometry;
  const whole = pad.axes.every((a, d) => a.axis === d && a.step === 1 && a.start <= 0 && a.start + a.size >= shape[d]!);
  if (!whole || c.start !== 0 || c.size !== shape[0] || y.size !== g.inputHeight || x.size !== g.inputWidth) return undefined;
  const geometry = { ...g, inputHeight: shape[1]!, inputWidth: shape[2]!, padTop: g.padTop - y.start, padLeft: g.padLeft - x.start };
  return { ...conv, inputs: pad.inputs, geometry };
}

/**
 * Splits resizing at the output off, where it makes more values than it reads: the client does it to its own decoded scores, in floating
 * point, and what is sent has the size before.
 */
export function splitOutputResamples(graph: Graph): { graph: Graph; resamples: readonly OutputResample[] } {
  const links = linksOf(graph);
  const last = links.maker(graph.output);
  if (last?.kind !== 'resample') return { graph, resamples: [] };
  const before = links.maker(last.inputs[0]!);
  if (before === undefined || sizeOf(before.shape) >= sizeOf(last.shape) || links.readers(last.output).length > 0)
    return { graph, resamples: [] };
  const { axis, taps, positions, weights } = last;
  const rest = splitOutputResamples({ ...graph, output: before.output, nodes: graph.nodes.filter((n) => n !== last) });
  return { graph: rest.graph, resamples: [...rest.resamples, { axis, taps, positions, weights }] };
}

/** Splits a Softmax or LogSoftmax at the output off: the client applies it to its own scores. */
export function splitOutputActivation(graph: Graph): { graph: Graph; activation: 'none' | 'softmax' | 'logsoftmax' } {
  const last = linksOf(graph).maker(graph.output);
  if (last?.kind !== 'softmax' && last?.kind !== 'logsoftmax') return { graph, activation: 'none' };
  const scores = last.inputs[0]!;
  return { graph: renamed({ ...graph, nodes: graph.nodes.filter((n) => n !== last) }, last.output, scores), activation: last.kind };
}
