// The part of ONNX's protobuf schema Tessera reads and writes, as a table over protobufjs' Reader and Writer.
// A table and not protobufjs' generated code: that is built with `Function`, which a page with a strict content policy forbids.
import protobuf from 'protobufjs/minimal.js';

type Scalar = 'int64' | 'int32' | 'float' | 'double' | 'string' | 'bytes';
interface Field {
  readonly name: string;
  readonly type: string;
  readonly repeated?: boolean;
}
type Fields = Readonly<Record<number, Field>>;

const one = (name: string, type: string): Field => ({ name, type });
const many = (name: string, type: string): Field => ({ name, type, repeated: true });

/** Field numbers as in onnx.proto3; what is not listed (documentation, training, sub-graphs) is skipped. */
const schema: Readonly<Record<string, Fields>> = {
  Model: { 1: one('irVersion', 'int64'), 7: one('graph', 'Graph'), 8: many('opsetImport', 'OperatorSet') },
  OperatorSet: { 1: one('domain', 'string'), 2: one('version', 'int64') },
  Graph: {
    1: many('node', 'Node'),
    2: one('name', 'string'),
    5: many('initializer', 'Tensor'),
    11: many('input', 'ValueInfo'),
    12: many('output', 'ValueInfo'),
  },
  Node: {
    1: many('input', 'string'),
    2: many('output', 'string'),
    3: one('name', 'string'),
    4: one('opType', 'string'),
    5: many('attribute', 'Attribute'),
    7: one('domain', 'string'),
  },
  Attribute: {
    1: one('name', 'string'),
    2: one('f', 'float'),
    3: one('i', 'int64'),
    4: one('s', 'bytes'),
    5: one('t', 'Tensor'),
    7: many('floats', 'float'),
    8: many('ints', 'int64'),
    20: one('type', 'int32'),
  },
  Tensor: {
    1: many('dims', 'int64'),
    2: one('dataType', 'int32'),
    4: many('floatData', 'float'),
    5: many('int32Data', 'int32'),
    7: many('int64Data', 'int64'),
    8: one('name', 'string'),
    9: one('rawData', 'bytes'),
    10: many('doubleData', 'double'),
    13: many('externalData', 'Entry'),
    14: one('dataLocation', 'int32'),
  },
  Entry: { 1: one('key', 'string'), 2: one('value', 'string') },
  ValueInfo: { 1: one('name', 'string'), 2: one('type', 'Type') },
  Type: { 1: one('tensorType', 'TensorType') },
  TensorType: { 1: one('elemType', 'int32'), 2: one('shape', 'Shape') },
  Shape: { 1: many('dim', 'Dimension') },
  Dimension: { 1: one('value', 'int64'), 2: one('parameter', 'string') },
};

export interface OnnxTensor {
  dims: number[];
  dataType?: number;
  floatData: number[];
  int32Data: number[];
  int64Data: number[];
  doubleData: number[];
  name?: string;
  rawData?: Uint8Array;
  externalData: { key?: string; value?: string }[];
  dataLocation?: number;
}
export interface OnnxAttribute {
  name?: string;
  f?: number;
  i?: number;
  s?: Uint8Array;
  t?: OnnxTensor;
  floats: number[];
  ints: number[];
  type?: number;
}
export interface OnnxNode {
  input: string[];
  output: string[];
  name?: string;
  opType?: string;
  domain?: string;
  attribute: OnnxAttribute[];
}
export interface OnnxValueInfo {
  name?: string;
  type?: { tensorType?: { elemType?: number; shape?: { dim: { value?: number; parameter?: string }[] } } };
}
export interface OnnxGraph {
  node: OnnxNode[];
  name?: string;
  initializer: OnnxTensor[];
  input: OnnxValueInfo[];
  output: OnnxValueInfo[];
}
export interface OnnxModel {
  irVersion?: number;
  graph?: OnnxGraph;
  opsetImport: { domain?: string; version?: number }[];
}

type Message = Record<string, unknown>;

const wireTypes: Readonly<Record<Scalar, number>> = { int64: 0, int32: 0, float: 5, double: 1, string: 2, bytes: 2 };
const isScalar = (type: string): type is Scalar => type in wireTypes;

function readScalar(reader: protobuf.Reader, type: Scalar): unknown {
  // int64 beyond 2^53 only ever stands for "to the end", so a double is enough.
  return type === 'int64' ? Number(reader.int64()) : reader[type]();
}

function readMessage(reader: protobuf.Reader, type: string, end: number): Message {
  const fields = schema[type] as Fields;
  const message: Message = {};
  for (const field of Object.values(fields)) if (field.repeated) message[field.name] = [];
  while (reader.pos < end) {
    const tag = reader.uint32();
    const field = fields[tag >>> 3];
    const wireType = tag & 7;
    if (field === undefined) reader.skipType(wireType);
    else if (!isScalar(field.type)) {
      if (wireType !== 2) throw new RangeError(`field ${type}.${field.name} has wire type ${wireType}`);
      const length = reader.uint32();
      if (length > end - reader.pos) throw new RangeError(`field ${type}.${field.name} runs past its message`);
      const value = readMessage(reader, field.type, reader.pos + length);
      if (field.repeated) (message[field.name] as unknown[]).push(value);
      else message[field.name] = value;
    } else if (field.repeated && wireType === 2 && wireTypes[field.type] !== 2) {
      const length = reader.uint32();
      if (length > end - reader.pos) throw new RangeError(`field ${type}.${field.name} runs past its message`);
      const stop = reader.pos + length;
      const values = message[field.name] as unknown[];
      while (reader.pos < stop) values.push(readScalar(reader, field.type));
    } else {
      if (wireType !== wireTypes[field.type]) throw new RangeError(`field ${type}.${field.name} has wire type ${wireType}`);
      const value = readScalar(reader, field.type);
      if (field.repeated) (message[field.name] as unknown[]).push(value);
      else message[field.name] = value;
    }
  }
  if (reader.pos !== end) throw new RangeError(`message ${type} runs past its end`);
  return message;
}

/** Parses an ONNX file. Throws RangeError or Error where the bytes are not one; memory stays within a small multiple of the file. */
export function decodeModel(bytes: Uint8Array): OnnxModel {
  return readMessage(protobuf.Reader.create(bytes), 'Model', bytes.length) as unknown as OnnxModel;
}

function writeMessage(writer: protobuf.Writer, type: string, message: Message): void {
  for (const [number, field] of Object.entries(schema[type] as Fields)) {
    const value = message[field.name];
    if (value === undefined) continue;
    const values = field.repeated ? (value as unknown[]) : [value];
    if (isScalar(field.type) && field.repeated && wireTypes[field.type] !== 2) {
      if (values.length === 0) continue;
      writer.uint32((Number(number) << 3) | 2).fork();
      for (const item of values) (writer[field.type] as (v: unknown) => unknown).call(writer, item);
      writer.ldelim();
      continue;
    }
    for (const item of values) {
      if (isScalar(field.type)) {
        writer.uint32((Number(number) << 3) | wireTypes[field.type]);
        (writer[field.type] as (v: unknown) => unknown).call(writer, item);
      } else {
        writer.uint32((Number(number) << 3) | 2).fork();
        writeMessage(writer, field.type, item as Message);
        writer.ldelim();
      }
    }
  }
}

/** Serialises an ONNX model. */
export function encodeModel(model: OnnxModel): Uint8Array {
  const writer = protobuf.Writer.create();
  writeMessage(writer, 'Model', model as unknown as Message);
  return writer.finish();
}
