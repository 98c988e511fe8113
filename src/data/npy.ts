// NumPy's .npy and .npz files: dense arrays of plain numbers, C order, and single strings. Not here: objects, lists of strings, Fortran order.
// Format: numpy.lib.format, "The .npy file format", versions 1.0 to 3.0.
import { unzipSync, zipSync } from 'fflate';
import { DataError } from '../errors.js';

const kinds = {
  '|u1': Uint8Array,
  '|b1': Uint8Array,
  '|i1': Int8Array,
  '<u2': Uint16Array,
  '<i2': Int16Array,
  '<u4': Uint32Array,
  '<i4': Int32Array,
  '<i8': BigInt64Array,
  '<u8': BigUint64Array,
  '<f4': Float32Array,
  '<f8': Float64Array,
} as const;

export type NpyKind = keyof typeof kinds;
export type NpyData = InstanceType<(typeof kinds)[NpyKind]>;

export interface NpyArray {
  readonly shape: readonly number[];
  readonly kind: NpyKind;
  readonly data: NpyData;
}

/**
 * Reads one .npy file.
 * @throws DataError ("bad-npy") for anything but a C-order array of plain little-endian numbers whose length is what its shape says.
 */
export function readNpy(bytes: Uint8Array, where: string): NpyArray {
  const fail = (reason: string): never => {
    throw new DataError(`${where} is not an .npy array that can be read: ${reason}`, {
      code: 'bad-npy',
      where,
      hint: 'Save it with numpy.save as a C-order array of numbers.',
    });
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(1, 6)) !== 'NUMPY') fail('it does not start as one');
  const wide = (bytes[6] as number) >= 2;
  const headerEnd = wide ? 12 + view.getUint32(8, true) : 10 + view.getUint16(8, true);
  if (headerEnd > bytes.length) fail('its header is cut off');
  const header = new TextDecoder().decode(bytes.subarray(wide ? 12 : 10, headerEnd));
  const type = /'descr':\s*'([^']+)'/.exec(header)?.[1];
  // A string is its code points, four bytes each.
  const text = /^<U(\d+)$/.exec(type ?? '');
  const kind = (text ? '<u4' : type) as NpyKind;
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1];
  if (!Object.hasOwn(kinds, kind ?? '')) fail(`its type is ${type ?? 'not plain'}`);
  if (shape === undefined || !/'fortran_order':\s*False/.test(header)) fail('it is not in C order');
  const dimensions = [...(shape as string).split(','), ...(text ? [text[1]!] : [])].filter((part) => part.trim() !== '').map(Number);
  const length = dimensions.reduce((product, size) => product * size, 1);
  const Kind = kinds[kind];
  if (!Number.isSafeInteger(length) || length < 0 || bytes.length - headerEnd !== length * Kind.BYTES_PER_ELEMENT) {
    fail(`its shape (${shape}) does not fit its ${bytes.length - headerEnd} bytes`);
  }
  // A copy, since the data need not be aligned; not slice(), which on Node's Buffer is a view.
  return { shape: dimensions, kind, data: new Kind(new Uint8Array(bytes.subarray(headerEnd)).buffer) };
}

/** Most bytes an .npz may unpack to, where its reader does not know better. */
const npzLimitBytes = 2 ** 31;

/**
 * Reads an .npz archive: its arrays by name.
 * @throws DataError ("bad-npz", "bad-npy") for a broken archive, or one that would unpack to more than `limitBytes`.
 */
export function readNpz(bytes: Uint8Array, where: string, limitBytes = npzLimitBytes): Map<string, NpyArray> {
  let total = 0;
  let files: Record<string, Uint8Array>;
  try {
    files = unzipSync(bytes, {
      filter: (file) => {
        total += file.originalSize;
        if (total > limitBytes) throw new Error(`it would unpack to more than ${limitBytes} bytes`);
        return file.name.endsWith('.npy');
      },
    });
  } catch (cause) {
    throw new DataError(`${where} is not an .npz archive that can be read: ${(cause as Error).message}`, {
      code: 'bad-npz',
      where,
      hint: 'Save it with numpy.savez.',
      cause,
    });
  }
  return new Map(Object.entries(files).map(([name, file]) => [name.slice(0, -4), readNpy(file, `${where}:${name}`)]));
}

/** The string a scalar string array holds (its code points, padded with zeros). Throws DataError for anything else. */
export function textOf({ kind, shape, data }: NpyArray, where: string): string {
  if (kind !== '<u4' || shape.length !== 1) {
    throw new DataError(`${where} is not a string`, { code: 'bad-npy', where, hint: 'Save it with numpy.save as one string.' });
  }
  const points = Array.from(data as Uint32Array);
  const end = points.indexOf(0) < 0 ? points.length : points.indexOf(0);
  if (points.some((point) => point > 0x10ffff)) {
    throw new DataError(`${where} is not a string`, { code: 'bad-npy', where, hint: 'Its numbers are no characters.' });
  }
  let text = '';
  for (const point of points.slice(0, end)) text += String.fromCodePoint(point);
  return text;
}

type Writable =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/** An array or string to be written. */
export type NpyContent = { readonly shape: readonly number[]; readonly data: Writable } | string;

/** Writes an .npz archive: arrays and strings by name. The same content gives the same bytes. */
export function writeNpz(arrays: Readonly<Record<string, NpyContent>>): Uint8Array {
  const files = Object.entries(arrays).map(([name, content]) => [`${name}.npy`, writeNpy(content)]);
  // A fixed date; at the fastest level of compression, as distortions hardly shrink.
  return zipSync(Object.fromEntries(files), { level: 1, mtime: '1980-01-01T00:00:00' });
}

function writeNpy(content: NpyContent): Uint8Array {
  if (typeof content === 'string') {
    const points = Uint32Array.from(content, (character) => character.codePointAt(0)!);
    return npyFile(`<U${Math.max(1, points.length)}`, [], points.length === 0 ? new Uint32Array(1) : points);
  }
  return npyFile(kindOfData(content.data), content.shape, content.data);
}

function npyFile(kind: string, shape: readonly number[], data: Writable): Uint8Array {
  const header = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${shape.map((length) => `${length},`).join(' ')}), }`;
  // The data start at a multiple of 64 bytes; the header ends with a newline.
  const padded = new TextEncoder().encode(`${header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11)}\n`);
  const file = new Uint8Array(10 + padded.length + data.byteLength);
  file.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, padded.length & 255, padded.length >> 8]);
  file.set(padded, 10);
  file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + padded.length);
  return file;
}

function kindOfData(data: Writable): NpyKind {
  const found = (Object.keys(kinds) as NpyKind[]).find((kind) => data instanceof kinds[kind]);
  if (found === undefined) throw new TypeError('an .npy file holds typed arrays of numbers');
  return found;
}
