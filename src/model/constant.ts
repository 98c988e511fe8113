// Tensors known when the model is read: initialisers and what can be computed from them.
import { DataError } from '../errors.js';
import type { OnnxTensor } from './protobuf.js';

/** A constant with its full shape (batch axis included). Integers up to 2^53 are exact; floats are rounded to float32. */
export interface Constant {
  readonly dims: readonly number[];
  readonly type: 'float' | 'integer';
  readonly data: Float32Array | Float64Array;
}

/** Reads the bytes of an external tensor: `location` is the path the model names, relative to it. */
export type ExternalData = (location: string, offset: number, length: number | undefined) => Uint8Array;

/** No tensor of a model may have more elements than this (1 GiB of float32). */
const maxElements = 2 ** 28;

/** A constant computed when the model is read is small: shapes, masks, broadcast vectors. */
export const maxFolded = 2 ** 24;

/** Product of dimensions. Throws DataError for anything that is not a list of at most 8 counts with a product within `limit`. */
export function elementCount(dims: readonly number[], where: string, limit = maxElements): number {
  let count = 1;
  if (dims.length > 8) throw new DataError(`${where}: ${dims.length} dimensions`, { code: 'bad-shape', where, hint: 'at most 8 are read' });
  for (const d of dims) {
    if (!Number.isSafeInteger(d) || d < 0)
      throw new DataError(`${where}: dimension ${d}`, { code: 'bad-shape', where, hint: 'dimensions are counts' });
    count *= d;
    if (count > limit) {
      throw new DataError(`${where}: shape [${dims.join(', ')}] is larger than ${limit} elements`, {
        code: 'too-large',
        where,
        hint: 'the file is damaged, or the model is too large for this program',
      });
    }
  }
  return count;
}

const bytesPer: Readonly<Record<number, number>> = { 1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8 };
const isFloat = (dataType: number): boolean => dataType === 1 || dataType === 10 || dataType === 11;

function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const rawReaders: Readonly<Record<number, (view: DataView, at: number) => number>> = {
  1: (v, at) => v.getFloat32(at, true),
  2: (v, at) => v.getUint8(at),
  3: (v, at) => v.getInt8(at),
  4: (v, at) => v.getUint16(at, true),
  5: (v, at) => v.getInt16(at, true),
  6: (v, at) => v.getInt32(at, true),
  7: (v, at) => Number(v.getBigInt64(at, true)),
  9: (v, at) => v.getUint8(at),
  10: (v, at) => halfToNumber(v.getUint16(at, true)),
  11: (v, at) => v.getFloat64(at, true),
  12: (v, at) => v.getUint32(at, true),
  13: (v, at) => Number(v.getBigUint64(at, true)),
};

function typedValues(tensor: OnnxTensor, dataType: number): readonly number[] {
  if (dataType === 1) return tensor.floatData;
  if (dataType === 11) return tensor.doubleData;
  if (dataType === 7) return tensor.int64Data;
  return dataType === 10 ? tensor.int32Data.map(halfToNumber) : tensor.int32Data;
}

function externalBytes(tensor: OnnxTensor, bytes: number, where: string, external: ExternalData | undefined): Uint8Array {
  const entries = new Map(tensor.externalData.map((e) => [e.key, e.value]));
  const location = entries.get('location');
  if (location === undefined || external === undefined) {
    throw new DataError(`${where}: its values lie in another file${location === undefined ? '' : ` (${location})`}`, {
      code: 'missing-tensor',
      where,
      hint: 'keep the model and its external data together and open it by path',
    });
  }
  const offset = Number(entries.get('offset') ?? 0);
  const length = Number(entries.get('length') ?? bytes);
  if (!Number.isSafeInteger(offset) || offset < 0 || length !== bytes) {
    throw new DataError(`${where}: external data of ${length} bytes at ${offset}, ${bytes} expected`, {
      code: 'bad-tensor',
      where,
      hint: 'export the model again',
    });
  }
  const data = external(location, offset, length);
  if (data.length !== bytes) {
    throw new DataError(`${where}: ${location} holds ${data.length} of its ${bytes} bytes`, {
      code: 'bad-tensor',
      where,
      hint: 'the external file is cut short',
    });
  }
  return data;
}

/** Decodes a tensor of the file. Throws DataError when its type is not numeric or its data do not match its dimensions. */
export function readTensor(tensor: OnnxTensor, where: string, external?: ExternalData): Constant {
  const dataType = tensor.dataType ?? 0;
  const size = bytesPer[dataType];
  const reader = rawReaders[dataType];
  if (size === undefined || reader === undefined) {
    throw new DataError(`${where}: data type ${dataType} is not a number`, {
      code: 'bad-tensor',
      where,
      hint: 'export the model as float32',
    });
  }
  const count = elementCount(tensor.dims, where);
  const type = isFloat(dataType) ? 'float' : 'integer';
  const allocate = (): Float32Array | Float64Array => (type === 'float' ? new Float32Array(count) : new Float64Array(count));
  const raw = tensor.dataLocation === 1 ? externalBytes(tensor, count * size, where, external) : tensor.rawData;
  if (raw !== undefined && raw.length > 0) {
    if (raw.length !== count * size) {
      throw new DataError(`${where}: ${raw.length} bytes for shape [${tensor.dims.join(', ')}]`, {
        code: 'bad-tensor',
        where,
        hint: 'the file is damaged',
      });
    }
    const data = allocate();
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    for (let i = 0; i < count; i++) data[i] = reader(view, i * size);
    return { dims: tensor.dims, type, data };
  }
  const values = typedValues(tensor, dataType);
  if (values.length !== count) {
    throw new DataError(`${where}: ${values.length} values for shape [${tensor.dims.join(', ')}]`, {
      code: 'bad-tensor',
      where,
      hint: 'the file is damaged',
    });
  }
  const data = allocate();
  data.set(values);
  return { dims: tensor.dims, type, data };
}

export const integers = (values: readonly number[], dims: readonly number[] = [values.length]): Constant => ({
  dims,
  type: 'integer',
  data: Float64Array.from(values),
});

/** A constant of the same type with other dimensions of the same product. */
export const reshaped = (c: Constant, dims: readonly number[]): Constant => ({ ...c, dims });
