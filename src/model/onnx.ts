// ONNX file → Graph: reads the protobuf, orders the nodes, folds shape arithmetic, and maps each node by the table of ops.
import { DataError } from '../errors.js';
import { type ExternalData, elementCount, readTensor } from './constant.js';
import { type Graph, type GraphNode, withoutDeadNodes } from './graph.js';
import type { OpContext, Operand, OpImporter, Variable } from './ops/context.js';
import { adviceFor, ops } from './ops/table.js';
import { decodeModel, type OnnxGraph, type OnnxModel, type OnnxNode, type OnnxValueInfo } from './protobuf.js';

export interface ReadOptions {
  /** Called for tensors kept outside the file; Node and the browser read it in their own ways. */
  readonly externalData?: ExternalData;
  /** Shape of one picture, for models whose height and width are open. */
  readonly inputShape?: readonly number[];
  /** Ops of one's own, by type, of any domain; they come before the built-in ones. */
  readonly ops?: ReadonlyMap<string, OpImporter>;
}

export interface Unsupported {
  readonly node: string;
  readonly op: string;
  readonly reason: string;
}

export interface ReadResult {
  /** Absent when something is unsupported. */
  readonly graph?: Graph;
  readonly unsupported: readonly Unsupported[];
  readonly input: { readonly name: string; readonly shape: readonly number[] };
}

const bad = (message: string, code: string, where: string, hint: string, cause?: unknown): DataError =>
  new DataError(message, { code, where, hint, cause });

function parse(bytes: Uint8Array): { model: OnnxModel; graph: OnnxGraph; opset: number } {
  let model: OnnxModel;
  try {
    model = decodeModel(bytes);
  } catch (cause) {
    throw bad('not an ONNX file, or cut short', 'bad-model', 'model', 'export or download the model again', cause);
  }
  const graph = model.graph;
  if (graph === undefined || graph.node.length === 0)
    throw bad('the ONNX file holds no network', 'bad-model', 'model', 'export or download the model again');
  const opset = model.opsetImport.find((o) => (o.domain ?? '') === '' || o.domain === 'ai.onnx')?.version ?? 1;
  if (opset < 7 || opset > 21) throw bad(`opset ${opset}`, 'bad-opset', 'model', 'opsets 7 to 21 are read; convert the model');
  return { model, graph, opset };
}

/** Layer names: the node's own where unique, else its first output's. */
function layerNames(nodes: readonly OnnxNode[]): ReadonlyMap<OnnxNode, string> {
  const counts = new Map<string, number>();
  for (const n of nodes) counts.set(n.name ?? '', (counts.get(n.name ?? '') ?? 0) + 1);
  return new Map(nodes.map((n) => [n, n.name && counts.get(n.name) === 1 ? n.name : (n.output[0] ?? n.opType ?? 'node')]));
}

/** Nodes in an order in which each comes after what it reads. Throws for cycles and tensors nobody makes. */
function executionOrder(graph: OnnxGraph, names: ReadonlyMap<OnnxNode, string>): readonly OnnxNode[] {
  const known = new Set<string>(['', ...graph.initializer.map((t) => t.name ?? ''), ...graph.input.map((v) => v.name ?? '')]);
  const makers = new Map<string, number>();
  graph.node.forEach((node, i) => {
    for (const output of node.output) {
      if (output === '') continue;
      if (makers.has(output) || known.has(output))
        throw bad(`tensor ${output} is made twice`, 'bad-model', output, 'the model is not consistent');
      makers.set(output, i);
    }
  });
  const waiting = new Map<string, OnnxNode[]>();
  const missing = new Map<OnnxNode, number>();
  const ready: OnnxNode[] = [];
  for (const node of graph.node) {
    const needs = new Set(node.input.filter((i) => !known.has(i)));
    for (const need of needs) {
      if (!makers.has(need))
        throw bad(
          `node ${names.get(node)} (${node.opType}) reads ${need}, which is not in the model`,
          'missing-tensor',
          names.get(node) ?? '',
          'the file is incomplete',
        );
      const list = waiting.get(need);
      if (list === undefined) waiting.set(need, [node]);
      else list.push(node);
    }
    missing.set(node, needs.size);
    if (needs.size === 0) ready.push(node);
  }
  for (let i = 0; i < ready.length; i++) {
    for (const output of ready[i]!.output) {
      for (const node of waiting.get(output) ?? []) {
        const left = (missing.get(node) ?? 0) - 1;
        missing.set(node, left);
        if (left === 0) ready.push(node);
      }
    }
  }
  const stuck = graph.node.find((n) => (missing.get(n) ?? 0) > 0);
  if (stuck !== undefined)
    throw bad(
      `node ${names.get(stuck)} (${stuck.opType}) waits for its own output`,
      'cyclic-graph',
      names.get(stuck) ?? '',
      'a network may not contain a cycle',
    );
  // Almost every file lists its nodes in an order that works; then it is kept, so that layers are listed as their author did.
  const inFileOrder = graph.node.every((node, i) => node.input.every((id) => known.has(id) || makers.get(id)! < i));
  return inFileOrder ? graph.node : ready;
}

function readInput(graph: OnnxGraph, options: ReadOptions): { name: string; shape: readonly number[] } {
  const constants = new Set(graph.initializer.map((t) => t.name));
  const inputs = graph.input.filter((v) => !constants.has(v.name));
  const value: OnnxValueInfo | undefined = inputs[0];
  const name = value?.name ?? '';
  if (inputs.length !== 1 || name === '')
    throw bad(
      `${inputs.length} inputs (${inputs.map((v) => v.name).join(', ')})`,
      'bad-input',
      'model',
      'a model has one input, the picture',
    );
  const dims = value?.type?.tensorType?.shape?.dim.map((d) => d.value) ?? [];
  const batch = dims[0];
  if (dims.length < 2)
    throw bad(`input ${name} has ${dims.length} axes`, 'bad-input', name, 'the input is a batch of pictures: [N, channels, height, width]');
  if (batch !== undefined && batch > 1)
    throw bad(`input ${name} has a fixed batch of ${batch}`, 'bad-input', name, 'export with a dynamic batch axis, or with batch 1');
  const declared = dims.slice(1);
  const shape = declared.map((d, i) => (d === undefined || d <= 0 ? options.inputShape?.[i] : d));
  if (shape.some((d) => d === undefined) || (options.inputShape !== undefined && options.inputShape.join() !== shape.join())) {
    throw bad(
      `input ${name} is [N, ${declared.map((d) => d ?? '?').join(', ')}]`,
      'open-shape',
      name,
      'give pictures of a shape that fits (inspect: --shape 3x224x224), or export with a fixed height and width',
    );
  }
  const fixed = shape as number[];
  if (elementCount(fixed, `input ${name}`) === 0)
    throw bad(`input ${name} is empty`, 'bad-input', name, 'the input is a batch of pictures');
  return { name, shape: fixed };
}

interface Reader {
  readonly values: Map<string, Operand | 'unsupported'>;
  readonly nodes: GraphNode[];
  readonly ids: Set<string>;
  readonly ownOps: ReadOptions['ops'];
}

/** A name nobody has yet. */
function freshId(reader: Reader, wanted: string): string {
  let id = wanted;
  for (let i = 2; reader.ids.has(id); i++) id = `${wanted}#${i}`;
  reader.ids.add(id);
  return id;
}

function context(reader: Reader, node: OnnxNode, name: string, opset: number, inputs: readonly (Operand | undefined)[]): OpContext {
  const emit: OpContext['emit'] = (fields, operands, suffix = '') => {
    const output = freshId(reader, `${node.output[0] ?? name}${suffix}`);
    reader.nodes.push({ ...fields, name: `${name}${suffix}`, output, inputs: operands.map((o) => o.id) } as GraphNode);
    return { kind: 'variable', id: output, shape: fields.shape };
  };
  return { node, opset, name, inputs, emit };
}

/** Maps one node; unsupported ones are added to the list and what depends on them is skipped. */
function readNode(reader: Reader, node: OnnxNode, name: string, opset: number, unsupported: Unsupported[]): void {
  const type = node.opType ?? '';
  const standard = (node.domain ?? '') === '' || node.domain === 'ai.onnx';
  const importer = reader.ownOps?.get(type) ?? (standard ? ops.get(type)?.importer : undefined);
  const give = (value: Operand | 'unsupported', output: string): void => {
    if (output !== '') reader.values.set(output, value);
  };
  const skip = (): void => {
    for (const output of node.output) give('unsupported', output);
  };
  if (importer === undefined) {
    unsupported.push({
      node: name,
      op: type,
      reason: standard ? adviceFor(type) : `domain ${node.domain}`,
    });
    skip();
    return;
  }
  const inputs = node.input.map((i) => (i === '' ? undefined : reader.values.get(i)));
  if (inputs.includes('unsupported')) {
    skip();
    return;
  }
  try {
    const op = context(reader, node, name, opset, inputs as (Operand | undefined)[]);
    const results = importer(op);
    node.output.forEach((output, i) => {
      const result = results[i];
      give(result ?? 'unsupported', output);
    });
  } catch (error) {
    if (!(error instanceof DataError) || error.code !== 'unsupported-op') throw error;
    unsupported.push({ node: name, op: type, reason: `${error.message.replace(/^node .*?: /, '')}; ${error.hint}` });
    skip();
  }
}

/**
 * Reads an ONNX model (opset 7 to 21) and lists what is not supported in it.
 *
 * Throws DataError for files that are no consistent model: truncated, a tensor missing, a cycle, shapes that do not fit, dimensions
 * beyond reason (checked before anything of that size is allocated).
 */
export function readModel(bytes: Uint8Array, options: ReadOptions = {}): ReadResult {
  const { graph: file, opset } = parse(bytes);
  const names = layerNames(file.node);
  const order = executionOrder(file, names);
  const input = readInput(file, options);
  const ids = new Set([input.name, ...file.node.flatMap((n) => n.output.slice(1))]);
  const reader: Reader = { values: new Map(), nodes: [], ids, ownOps: options.ops };
  let parameters = 0;
  for (const tensor of file.initializer) {
    const value = readTensor(tensor, `tensor ${tensor.name}`, options.externalData);
    if (value.type === 'float') parameters += value.data.length;
    reader.values.set(tensor.name ?? '', { kind: 'constant', ...value });
  }
  reader.values.set(input.name, { kind: 'variable', id: input.name, shape: input.shape });
  const unsupported: Unsupported[] = [];
  for (const node of order) readNode(reader, node, names.get(node)!, opset, unsupported);
  if (unsupported.length > 0) return { unsupported, input };
  const output = outputOf(file, reader);
  return {
    graph: withoutDeadNodes({ input: { id: input.name, shape: input.shape }, output: output.id, nodes: reader.nodes, parameters }),
    unsupported,
    input,
  };
}

function outputOf(file: OnnxGraph, reader: Reader): Variable {
  const name = file.output[0]?.name ?? '';
  if (file.output.length !== 1)
    throw bad(`${file.output.length} outputs`, 'bad-output', 'model', 'a model has one output, the class scores');
  const value = reader.values.get(name);
  if (value === undefined || value === 'unsupported')
    throw bad(`output ${name} is not made by any node`, 'missing-tensor', name, 'the file is incomplete');
  if (value.kind === 'constant' || !reader.nodes.some((n) => n.output === value.id))
    throw bad(`output ${name} does not depend on the picture`, 'bad-output', name, 'there is nothing to compute');
  return value;
}

/** As {@link readModel}, but anything unsupported is a DataError that names the node and says what to do. */
export function readGraph(bytes: Uint8Array, options: ReadOptions = {}): Graph {
  const { graph, unsupported } = readModel(bytes, options);
  const first = unsupported[0];
  if (graph === undefined || first !== undefined) {
    const more = unsupported.length > 1 ? ` (and ${unsupported.length - 1} more)` : '';
    throw bad(
      `node ${first?.node} (${first?.op}) is not supported${more}: ${first?.reason}`,
      'unsupported-op',
      first?.node ?? 'model',
      'replace it in the model; `tessera inspect` lists all such nodes',
    );
  }
  return graph;
}
