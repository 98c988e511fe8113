// Graph → ONNX file (float32, dynamic batch): what training writes, and what any other runtime loads.
import type { ConvGeometry, PoolGeometry } from '../kernel/geometry.js';
import {
  type AddNode,
  type AffineNode,
  type AveragePoolNode,
  type ConvNode,
  type Graph,
  type GraphNode,
  type ResampleNode,
  shapeOf,
  sizeOf,
  type ValueId,
} from './graph.js';
import { poolSizes } from './layout.js';
import { writeView } from './onnx-writer-views.js';
import { encodeModel, type OnnxAttribute, type OnnxNode, type OnnxTensor } from './protobuf.js';

/** Opset 13 is what most tools read; resizing one axis alone needs 18, a mean over spread-out windows 19. */
const usualOpset = 13;
const resizeOpset = 18;
const dilatedMeanOpset = 19;
/** The file format that belongs to them. */
const irVersions: Readonly<Record<number, number>> = { [usualOpset]: 7, [resizeOpset]: 8, [dilatedMeanOpset]: 9 };

/** Attribute values; a number is an integer unless it is wrapped. */
export type AttributeValue = number | string | readonly number[] | { readonly float: number };

/** Collects the nodes and constants of the file. Values are named by id; shapes are per image. */
export interface Writer {
  shape(id: ValueId): readonly number[];
  /** A constant of float32 (or int64) numbers; returns its name. */
  floats(wanted: string, dims: readonly number[], values: Float32Array): string;
  integers(wanted: string, values: readonly number[]): string;
  /** Adds an ONNX node that makes `output` (a fresh intermediate value where it is left out) and returns its id. */
  add(op: string, inputs: readonly string[], options: NodeOptions): ValueId;
  /** `id` under another shape with as many elements; itself where it has that shape. */
  reshape(id: ValueId, shape: readonly number[], node: GraphNode): ValueId;
}

interface NodeOptions {
  readonly name: string;
  readonly shape: readonly number[];
  readonly output?: ValueId;
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
}

/**
 * Serialises a network. Layers keep their names, so that a spec for the graph fits the file; patches are not part of ONNX and stay in the
 * spec. A layer that ONNX has no single node for is written as several, one of which has its name.
 *
 * Throws RangeError for a view that reads one axis twice, which no ONNX op does.
 */
export function writeOnnx(graph: Graph): Uint8Array {
  const nodes: OnnxNode[] = [];
  const initializer: OnnxTensor[] = [];
  const writer = createWriter(graph, nodes, initializer);
  for (const node of graph.nodes) writeNode(writer, node);
  const resizes = graph.nodes.some((n) => n.kind === 'resample');
  const opset = graph.nodes.some(isDilatedMean) ? dilatedMeanOpset : resizes ? resizeOpset : usualOpset;
  const value = (name: ValueId) => {
    const dim = [{ parameter: 'N' }, ...shapeOf(graph, name).map((size) => ({ value: size }))];
    return { name, type: { tensorType: { elemType: 1, shape: { dim } } } };
  };
  return encodeModel({
    irVersion: irVersions[opset] ?? 7,
    opsetImport: [{ domain: '', version: opset }],
    graph: { name: 'tessera', node: nodes, initializer, input: [value(graph.input.id)], output: [value(graph.output)] },
  });
}

const emptyTensor = { floatData: [], int32Data: [], int64Data: [], doubleData: [], externalData: [] };

function createWriter(graph: Graph, nodes: OnnxNode[], initializer: OnnxTensor[]): Writer {
  const used = new Set([graph.input.id, ...graph.nodes.map((n) => n.output)]);
  const shapes = new Map<ValueId, readonly number[]>([[graph.input.id, graph.input.shape]]);
  const fresh = (wanted: string): string => {
    let name = wanted;
    for (let i = 2; used.has(name); i++) name = `${wanted}#${i}`;
    used.add(name);
    return name;
  };
  const writer: Writer = {
    shape: (id) => shapes.get(id) ?? [],
    floats(wanted, dims, values) {
      const name = fresh(wanted);
      const rawData = new Uint8Array(Float32Array.from(values).buffer);
      initializer.push({ ...emptyTensor, name, dims: [...dims], dataType: 1, rawData });
      return name;
    },
    integers(wanted, values) {
      const name = fresh(wanted);
      initializer.push({ ...emptyTensor, name, dims: [values.length], dataType: 7, int64Data: [...values] });
      return name;
    },
    add(op, inputs, { name, shape, output, attributes = {} }) {
      const id = output ?? fresh(name);
      shapes.set(id, shape);
      nodes.push({ opType: op, name, input: [...inputs], output: [id], attribute: Object.entries(attributes).map(toAttribute) });
      return id;
    },
    reshape(id, shape, node) {
      if (writer.shape(id).join() === shape.join()) return id;
      const name = `${node.name}/reshape`;
      return writer.add('Reshape', [id, writer.integers(`${name}.shape`, [0, ...shape])], { name, shape });
    },
  };
  return writer;
}

/** An attribute of a node, of the type its value has. */
export function toAttribute([name, value]: [string, AttributeValue]): OnnxAttribute {
  const base = { name, floats: [], ints: [] };
  if (typeof value === 'number') return { ...base, i: value, type: 2 };
  if (typeof value === 'string') return { ...base, s: new TextEncoder().encode(value), type: 3 };
  return 'float' in value ? { ...base, f: value.float, type: 1 } : { ...base, ints: [...value], type: 7 };
}

function writeNode(writer: Writer, node: GraphNode): void {
  const { name, output, shape } = node;
  const input = node.inputs[0]!;
  const last = { name, output, shape };
  switch (node.kind) {
    case 'conv':
      writeConv(writer, node);
      break;
    case 'affine':
      writeAffine(writer, node);
      break;
    case 'relu': {
      if (node.cap === undefined) {
        writer.add('Relu', [input], last);
        break;
      }
      const limits = [writer.floats(`${name}.min`, [], Float32Array.of(0)), writer.floats(`${name}.max`, [], Float32Array.of(node.cap))];
      writer.add('Clip', [input, ...limits], last);
      break;
    }
    case 'prelu':
      writer.add('PRelu', [input, perRun(writer, `${name}.slope`, node.slopes, shape)], last);
      break;
    case 'maxpool': {
      const from = writer.reshape(input, pooledShape(node.geometry), node);
      writer.add('MaxPool', [from], { ...last, attributes: poolAttributes(node.geometry) });
      break;
    }
    case 'averagepool':
      writeMean(writer, node);
      break;
    case 'add':
      writeSum(writer, node);
      break;
    case 'product':
      writer.add('Mul', node.inputs, last);
      break;
    case 'concat':
      writer.add('Concat', node.inputs, { ...last, attributes: { axis: node.axis + 1 } });
      break;
    case 'view':
      writeView(writer, node);
      break;
    case 'resample':
      writeResize(writer, node);
      break;
    case 'truncate':
      writer.add('Identity', [input], last);
      break;
    case 'softmax':
    case 'logsoftmax':
      writer.add(node.kind === 'softmax' ? 'Softmax' : 'LogSoftmax', [input], { ...last, attributes: { axis: -1 } });
      break;
  }
}

/** One axis at a time; by its length where the file gave that, by its scale where it gave another. */
function writeResize(writer: Writer, node: ResampleNode): void {
  const { name, output, shape, axis, interpolation: how } = node;
  const input = node.inputs[0]!;
  const bySize = how.scale === shape[axis]! / writer.shape(input)[axis]!;
  const none = writer.floats(`${name}.none`, [0], new Float32Array(0));
  const scale = (): string => writer.floats(`${name}.scale`, [1], Float32Array.of(how.scale));
  const target = bySize ? [none, writer.integers(`${name}.size`, [shape[axis]!])] : [scale()];
  writer.add('Resize', [input, none, ...target], {
    name,
    shape,
    output,
    attributes: {
      axes: [axis + 1],
      mode: how.mode,
      coordinate_transformation_mode: how.coordinates,
      ...(how.mode === 'nearest' && { nearest_mode: how.nearest }),
      ...(how.mode === 'cubic' && { cubic_coeff_a: { float: how.cubicCoefficient }, exclude_outside: Number(how.excludeOutside) }),
    },
  });
}

/** One number for each of equal runs of elements, as a constant that broadcasts to [N, …shape]. */
function perRun(writer: Writer, wanted: string, values: Float32Array, shape: readonly number[]): string {
  if (values.length === shape[0]) return writer.floats(wanted, [values.length, ...shape.slice(1).map(() => 1)], values);
  const run = sizeOf(shape) / values.length;
  return writer.floats(
    wanted,
    shape,
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => values[Math.floor(i / run)]!),
  );
}

function writeConv(writer: Writer, node: ConvNode): void {
  const { geometry: g, name, output, shape } = node;
  const dense = g.groups === 1 && g.inputHeight * g.inputWidth * g.kernelHeight * g.kernelWidth * g.outputHeight * g.outputWidth === 1;
  const bias = writer.floats(`${name}.bias`, [g.outputChannels], node.bias);
  const perOutput = [g.inputChannels / g.groups, g.kernelHeight, g.kernelWidth];
  const result = dense && shape.length === 1 ? [g.outputChannels] : [g.outputChannels, g.outputHeight, g.outputWidth];
  const whole = result.join() === shape.join();
  const made = { name, shape: result, ...(whole ? { output } : {}) };
  let id: ValueId;
  if (result.length === 1) {
    const from = writer.reshape(node.inputs[0]!, [g.inputChannels], node);
    const weights = writer.floats(`${name}.weight`, [g.outputChannels, g.inputChannels], node.weights);
    id = writer.add('Gemm', [from, weights, bias], { ...made, attributes: { transB: 1 } });
  } else {
    const from = writer.reshape(node.inputs[0]!, [g.inputChannels, g.inputHeight, g.inputWidth], node);
    const weights = writer.floats(`${name}.weight`, [g.outputChannels, ...perOutput], node.weights);
    id = writer.add('Conv', [from, weights, bias], { ...made, attributes: { ...windowAttributes(g), group: g.groups } });
  }
  if (!whole) writer.add('Reshape', [id, writer.integers(`${name}.shape`, [0, ...shape])], { name: `${name}/reshaped`, output, shape });
}

/** Pads at the end are what the last window needs; where it needs less than the map has, ONNX rounds down to the same number of windows. */
function windowAttributes(g: ConvGeometry | PoolGeometry): Record<string, readonly number[]> {
  const after = (outputs: number, stride: number, kernel: number, dilation: number, before: number, size: number): number =>
    Math.max(0, (outputs - 1) * stride + (kernel - 1) * dilation + 1 - before - size);
  const bottom = after(g.outputHeight, g.strideY, g.kernelHeight, g.dilationY, g.padTop, g.inputHeight);
  const right = after(g.outputWidth, g.strideX, g.kernelWidth, g.dilationX, g.padLeft, g.inputWidth);
  return {
    kernel_shape: [g.kernelHeight, g.kernelWidth],
    strides: [g.strideY, g.strideX],
    pads: [g.padTop, g.padLeft, bottom, right],
    dilations: [g.dilationY, g.dilationX],
  };
}

const pooledShape = (g: PoolGeometry): readonly number[] => [g.channels, g.inputHeight, g.inputWidth];

/** Without dilations where there are none: AveragePool has them only since opset 19. */
function poolAttributes(g: PoolGeometry): Record<string, readonly number[]> {
  const { dilations, ...rest } = windowAttributes(g);
  return g.dilationY === 1 && g.dilationX === 1 ? rest : { ...rest, dilations: dilations! };
}

function isDilatedMean(node: GraphNode): boolean {
  return node.kind === 'averagepool' && (node.geometry.dilationY > 1 || node.geometry.dilationX > 1);
}

/** AveragePool counting pads, and where the divisors are not those of whole windows a factor for each position. */
function writeMean(writer: Writer, node: AveragePoolNode): void {
  const { geometry: g, divisors, name, output, shape } = node;
  const from = writer.reshape(node.inputs[0]!, pooledShape(g), node);
  const whole = g.kernelHeight * g.kernelWidth;
  const attributes = { ...poolAttributes(g), count_include_pad: 1 };
  if (divisors.every((d) => d === whole)) return void writer.add('AveragePool', [from], { name, output, shape, attributes });
  const counts = tapsInside(g);
  if (divisors.length === 1 ? counts.every((n) => n === divisors[0]) : counts.every((n, i) => n === divisors[i])) {
    return void writer.add('AveragePool', [from], { name, output, shape, attributes: poolAttributes(g) });
  }
  const mean = writer.add('AveragePool', [from], { name, shape, attributes });
  const map = [1, g.outputHeight, g.outputWidth];
  const factors = Float32Array.from({ length: sizeOf(map) }, (_, i) => whole / (divisors.length === 1 ? divisors[0]! : divisors[i]!));
  writer.add('Mul', [mean, writer.floats(`${name}.factor`, map, factors)], { name: `${name}/divided`, output, shape });
}

/** How many taps of each window of one map lie inside it. */
function tapsInside(g: PoolGeometry): readonly number[] {
  const counts = new Array<number>(poolSizes({ ...g, channels: 1 }).output).fill(0);
  const inside = (at: number, size: number): boolean => at >= 0 && at < size;
  for (let o = 0; o < counts.length; o++) {
    const [y, x] = [Math.floor(o / g.outputWidth) * g.strideY - g.padTop, (o % g.outputWidth) * g.strideX - g.padLeft];
    for (let k = 0; k < g.kernelHeight * g.kernelWidth; k++) {
      const row = y + Math.floor(k / g.kernelWidth) * g.dilationY;
      const column = x + (k % g.kernelWidth) * g.dilationX;
      counts[o]! += inside(row, g.inputHeight) && inside(column, g.inputWidth) ? 1 : 0;
    }
  }
  return counts;
}

/** One BatchNormalization where there is a constant for each channel (mean 0, variance 1), else Mul and Add. */
function writeAffine(writer: Writer, node: AffineNode): void {
  const { name, output, shape, multiplier, offset } = node;
  const input = node.inputs[0]!;
  const channels = multiplier.length;
  if (channels === shape[0]) {
    const constants = [multiplier, offset, new Float32Array(channels), new Float32Array(channels).fill(1)];
    const names = ['scale', 'bias', 'mean', 'variance'].map((part, i) => writer.floats(`${name}.${part}`, [channels], constants[i]!));
    return void writer.add('BatchNormalization', [input, ...names], { name, output, shape, attributes: { epsilon: { float: 0 } } });
  }
  const scale = perRun(writer, `${name}.scale`, multiplier, shape);
  const product = writer.add('Mul', [input, scale], { name: `${name}/product`, shape });
  writer.add('Add', [product, perRun(writer, `${name}.bias`, offset, shape)], { name, output, shape });
}

/** Add and Sub two at a time, terms with a plus first. */
function writeSum(writer: Writer, { name, inputs, factors, output, shape }: AddNode): void {
  const terms = inputs.map((id, i) => ({ id, factor: factors[i]! })).sort((a, b) => b.factor - a.factor);
  const first = terms.shift()!;
  const lone = terms.length === 0;
  let sum = first.id;
  if (first.factor < 0 || lone) {
    const factor = writer.floats(`${name}.factor`, [], Float32Array.of(first.factor));
    sum = writer.add('Mul', [sum, factor], lone ? { name, output, shape } : { name: `${name}/negative`, shape });
  }
  terms.forEach(({ id, factor }, i) => {
    const made = i === terms.length - 1 ? { name, output, shape } : { name: `${name}/sum${i}`, shape };
    sum = writer.add(factor < 0 ? 'Sub' : 'Add', [sum, id], made);
  });
}
