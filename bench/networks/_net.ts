// Writes a network op by op, as exporters write it, with random weights under which every layer's values keep their size: He et al.'s variance, and
// then the means and variances of some made-up pictures, as training would have left them in its normalisations.
import { createSequence, generatePictures } from '../../src/data/generated.js';
import { plainPreprocessing } from '../../src/data/preprocess.js';
import type { Compute } from '../../src/kernel/compute.js';
import { picturesAtOnce } from '../../src/model/execute.js';
import { forward } from '../../src/model/forward.js';
import { type Graph, sizeOf } from '../../src/model/graph.js';
import { readGraph } from '../../src/model/onnx.js';
import { encodeModel } from '../../src/model/protobuf.js';
import { addNode, type Draft, type Spread, type Value } from './_draft.js';
import * as layers from './_layers.js';

export type { Value } from './_draft.js';
export type { ConvOptions } from './_layers.js';

/** A network that is being written; each method adds ONNX nodes. What they do is said in _layers.ts. */
export interface Net {
  readonly input: Value;
  conv(x: Value, channels: number, options?: layers.ConvOptions): Value;
  convTranspose(x: Value, channels: number, kernel: number, stride: number, options?: Spread & { readonly bias?: boolean }): Value;
  dense(x: Value, outputs: number, spread?: Spread): Value;
  norm(x: Value, spread?: Spread): Value;
  relu(x: Value): Value;
  relu6(x: Value): Value;
  prelu(x: Value): Value;
  maxPool(x: Value, kernel: number, options: layers.PoolOptions): Value;
  averagePool(x: Value, kernel: number, options: layers.PoolOptions): Value;
  /** One mean a channel, [channels, 1, 1]. */
  globalPool(x: Value): Value;
  add(x: Value, y: Value): Value;
  concat(...values: readonly Value[]): Value;
  slice(x: Value, from: number, to: number): Value;
  widen(x: Value, channels: number): Value;
  shuffle(x: Value, groups: number): Value;
  upsample(x: Value, rows: number, columns: number): Value;
}

/** A family's way to write itself; returns the scores. */
export type Builder = (net: Net) => Value;

function createNet(draft: Draft, input: Value): Net {
  return {
    input,
    conv: (...from) => layers.conv(draft, ...from),
    convTranspose: (...from) => layers.convTranspose(draft, ...from),
    dense: (...from) => layers.dense(draft, ...from),
    norm: (...from) => layers.norm(draft, ...from),
    relu: (x) => addNode(draft, 'Relu', [x.id], x.shape),
    relu6: (x) => layers.relu6(draft, x),
    prelu: (x) => layers.prelu(draft, x),
    maxPool: (...from) => layers.pool(draft, 'MaxPool', ...from),
    averagePool: (...from) => layers.pool(draft, 'AveragePool', ...from),
    globalPool: (x) => addNode(draft, 'GlobalAveragePool', [x.id], [x.shape[0]!, 1, 1]),
    add: (x, y) => addNode(draft, 'Add', [x.id, y.id], x.shape),
    concat: (...values) => layers.concat(draft, values),
    slice: (...from) => layers.slice(draft, ...from),
    widen: (...from) => layers.widen(draft, ...from),
    shuffle: (...from) => layers.shuffle(draft, ...from),
    upsample: (...from) => layers.upsample(draft, ...from),
  };
}

/** Values that scores keep: classes are named about equally often. */
export const asScores: Spread = { gain: 1, shift: 0 };

/** The last layer of a residual branch: a tenth of the variance, so that sums of many blocks hardly grow. */
export const asBranch: Spread = { gain: 0.3, shift: 0 };

/** Convolution and normalisation. */
export const convNorm = (net: Net, x: Value, channels: number, options: layers.ConvOptions = {}): Value =>
  net.norm(net.conv(x, channels, options), options);

/** Convolution, normalisation and ReLU. */
export const convNormRelu = (net: Net, x: Value, channels: number, options: layers.ConvOptions = {}): Value =>
  net.relu(convNorm(net, x, channels, options));

/** Convolution with biases and ReLU. */
export const convRelu = (net: Net, x: Value, channels: number, options: layers.ConvOptions = {}): Value =>
  net.relu(net.conv(x, channels, { ...options, bias: true }));

/**
 * The ONNX file of a network for pictures of `shape` (planes × height × width), opset 13, any batch. The same seed gives the same file.
 * @param compute runs the network once in float, on made-up pictures.
 */
export async function writeNetwork(compute: Compute, build: Builder, shape: readonly number[], seed: number): Promise<Uint8Array> {
  const draft: Draft = { nodes: [], tensors: [], settlings: new Map(), random: createSequence(seed) };
  const input: Value = { id: 'picture', shape };
  const output = build(createNet(draft, input));
  const value = ({ id, shape: own }: Value) => {
    const dim = [{ parameter: 'N' }, ...own.map((size) => ({ value: size }))];
    return { name: id, type: { tensorType: { elemType: 1, shape: { dim } } } };
  };
  const encode = () =>
    encodeModel({
      irVersion: 7,
      opsetImport: [{ domain: '', version: 13 }],
      graph: { name: 'network', node: draft.nodes, initializer: draft.tensors, input: [value(input)], output: [value(output)] },
    });
  await settle(compute, readGraph(encode()), draft);
  return encode();
}

/** Most pictures that means and variances are taken over; fewer where maps are large. */
const mostPictures = 8;

/** Runs the network; each layer's values are normalised where they lie, before the next layer reads them. */
async function settle(compute: Compute, graph: Graph, { settlings, random }: Draft): Promise<void> {
  const { shape } = graph.input;
  const largest = Math.max(sizeOf(shape), ...graph.nodes.map((node) => sizeOf(node.shape)));
  const pictures = picturesAtOnce(largest, mostPictures);
  const images = generatePictures(shape, plainPreprocessing(shape[0] ?? 1), pictures, 5);
  await forward(compute, graph, images, pictures, (id, values, count) => {
    const settling = settlings.get(id);
    if (settling === undefined) return;
    const { channels, gain, shift } = settling;
    const { means, deviations } = momentsOf(values, count, channels);
    const gains = Float32Array.from({ length: channels }, () => gain * (0.8 + 0.4 * random()));
    const shifts = Float32Array.from({ length: channels }, () => shift + gain * (0.4 * random() - 0.2));
    settling.settle(means, deviations, gains, shifts);
    eachMap(values, count, channels, (c, from, to) => {
      for (let i = from; i < to; i++) values[i] = ((values[i]! - means[c]!) / deviations[c]!) * gains[c]! + shifts[c]!;
    });
  });
}

function eachMap(values: Float32Array, count: number, channels: number, visit: (channel: number, from: number, to: number) => void): void {
  const area = values.length / (count * channels);
  for (let map = 0; map < count * channels; map++) visit(map % channels, map * area, (map + 1) * area);
}

/** Fewer values of a channel than this say nothing of it: mean and deviation are then those of the whole layer. */
const fewest = 32;

function momentsOf(values: Float32Array, count: number, channels: number) {
  const [sums, squares] = [new Float64Array(channels), new Float64Array(channels)];
  eachMap(values, count, channels, (c, from, to) => {
    for (let i = from; i < to; i++) {
      sums[c]! += values[i]!;
      squares[c]! += values[i]! ** 2;
    }
  });
  const each = values.length / channels;
  const total = (list: Float64Array): number => list.reduce((a, b) => a + b, 0);
  const known = each >= fewest;
  const mean = (c: number): number => (known ? sums[c]! / each : total(sums) / values.length);
  const square = (c: number): number => (known ? squares[c]! / each : total(squares) / values.length);
  const means = Float64Array.from(sums, (_, c) => mean(c));
  return { means, deviations: Float64Array.from(means, (m, c) => Math.sqrt(Math.max(square(c) - m * m, 1e-12))) };
}
