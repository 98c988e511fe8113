// Affine layers (batch norm, constants added or multiplied) go into a linear layer next to them.
// Nothing here looks at the constants' values: two models that differ only in them get the same program.
import type { AffineNode, ConvNode, Graph, GraphNode } from '../graph.js';
import { isReshape, sizeOf } from '../graph.js';
import { everywhere, type Links } from './rewrite.js';

/** y = m (W x + b) + o as one linear layer. */
function afterConv(conv: ConvNode, affine: AffineNode): ConvNode {
  const perOutput = conv.weights.length / conv.geometry.outputChannels;
  const weights = conv.weights.map((w, i) => w * affine.multiplier[Math.floor(i / perOutput)]!);
  const bias = conv.bias.map((b, c) => b * affine.multiplier[c]! + affine.offset[c]!);
  return { ...conv, output: affine.output, weights, bias };
}

/** y = W (m x + o) + b as one linear layer; `repeat` consecutive input channels share a constant. Needs a layer without padding. */
function beforeConv(affine: AffineNode, conv: ConvNode, repeat: number): ConvNode {
  const g = conv.geometry;
  const perGroupIn = g.inputChannels / g.groups;
  const perGroupOut = g.outputChannels / g.groups;
  const taps = g.kernelHeight * g.kernelWidth;
  const weights = conv.weights.slice();
  const bias = conv.bias.slice();
  for (let o = 0; o < g.outputChannels; o++) {
    let sum = 0;
    for (let i = 0; i < perGroupIn; i++) {
      const c = Math.floor((Math.floor(o / perGroupOut) * perGroupIn + i) / repeat);
      for (let t = 0; t < taps; t++) {
        const at = (o * perGroupIn + i) * taps + t;
        sum += weights[at]! * affine.offset[c]!;
        weights[at] = weights[at]! * affine.multiplier[c]!;
      }
    }
    bias[o] = bias[o]! + sum;
  }
  return { ...conv, inputs: affine.inputs, weights, bias };
}

/** Whether every window of a convolution lies in the map, so that a constant added before it acts alike everywhere. */
function isPadded({ geometry: g }: ConvNode): boolean {
  const reach = (output: number, stride: number, kernel: number, dilation: number, pad: number): number =>
    (output - 1) * stride + (kernel - 1) * dilation + 1 - pad;
  return (
    g.padTop > 0 ||
    g.padLeft > 0 ||
    reach(g.outputHeight, g.strideY, g.kernelHeight, g.dilationY, g.padTop) > g.inputHeight ||
    reach(g.outputWidth, g.strideX, g.kernelWidth, g.dilationX, g.padLeft) > g.inputWidth
  );
}

const swap = (graph: Graph, remove: GraphNode, replace: GraphNode, by: GraphNode): Graph => ({
  ...graph,
  nodes: graph.nodes.filter((n) => n !== remove).map((n) => (n === replace ? by : n)),
});

function intoMaker(affine: AffineNode, links: Links, graph: Graph): Graph | undefined {
  const maker = links.maker(affine.inputs[0]!);
  if (maker === undefined || links.onlyReader(maker.output) !== affine) return undefined;
  if (maker.kind === 'conv' && maker.geometry.outputChannels === affine.multiplier.length)
    return swap(graph, affine, maker, afterConv(maker, affine));
  if (maker.kind === 'affine' && maker.multiplier.length === affine.multiplier.length) {
    const merged: AffineNode = {
      ...affine,
      inputs: maker.inputs,
      multiplier: affine.multiplier.map((m, c) => m * maker.multiplier[c]!),
      offset: affine.offset.map((o, c) => affine.multiplier[c]! * maker.offset[c]! + o),
    };
    return swap(graph, maker, affine, merged);
  }
  return undefined;
}

function intoReader(affine: AffineNode, links: Links, graph: Graph): Graph | undefined {
  const reader = links.onlyReader(affine.output);
  if (reader === undefined) return undefined;
  if (reader.kind === 'conv' && !isPadded(reader) && reader.geometry.inputChannels % affine.multiplier.length === 0) {
    const map = sizeOf(affine.shape) / reader.geometry.inputChannels;
    if (map !== reader.geometry.inputHeight * reader.geometry.inputWidth) return undefined;
    return swap(graph, affine, reader, beforeConv(affine, reader, reader.geometry.inputChannels / affine.multiplier.length));
  }
  // A mean over whole windows of a channel, and a change of shape, may as well come first.
  const moves =
    (reader.kind === 'averagepool' && reader.geometry.channels === affine.multiplier.length && wholeWindows(reader)) ||
    (reader.kind === 'view' && isReshape(reader));
  if (!moves) return undefined;
  const first = { ...reader, inputs: affine.inputs, output: affine.output };
  const second: AffineNode = { ...affine, inputs: [affine.output], output: reader.output, shape: reader.shape };
  return { ...graph, nodes: graph.nodes.flatMap((n) => (n === affine ? [] : n === reader ? [first, second] : [n])) };
}

function wholeWindows(pool: Extract<GraphNode, { kind: 'averagepool' }>): boolean {
  const g = pool.geometry;
  return (
    pool.divisors.length === 1 &&
    pool.divisors[0] === g.kernelHeight * g.kernelWidth &&
    g.padTop === 0 &&
    g.padLeft === 0 &&
    (g.outputHeight - 1) * g.strideY + (g.kernelHeight - 1) * g.dilationY < g.inputHeight &&
    (g.outputWidth - 1) * g.strideX + (g.kernelWidth - 1) * g.dilationX < g.inputWidth
  );
}

/** Folds affine layers into linear ones, forwards through means and changes of shape where that helps. */
export function foldAffine(graph: Graph): Graph {
  return everywhere(graph, (node, links, g) =>
    node.kind === 'affine' ? (intoMaker(node, links, g) ?? intoReader(node, links, g)) : undefined,
  );
}
