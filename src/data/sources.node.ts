// Where pictures come from: files, folders, idx pairs, NumPy arrays. Not here: CIFAR's records (records.node.ts), preprocessing.
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { DataError } from '../errors.js';
import { type NpyArray, readNpy, readNpz } from './npy.js';
import { isPictureName, readAnnotation, readFileOrExplain, readPicture } from './picture.node.js';
import type { Picture } from './preprocess.js';

/** Pictures by number, with what is known of them. */
export interface Source {
  readonly count: number;
  /** A name for each picture: its path within the set, or "file#index". */
  readonly names: readonly string[];
  /** Class index of each picture. */
  readonly labels?: readonly number[];
  /** Names of classes where the source itself has them (sub-folders). */
  readonly classes?: readonly string[];
  /** A picture to preprocess, or an input tensor that is fed as it is. */
  item(index: number): Promise<Picture | Tensor>;
  /** Class of every pixel, for segmentation. */
  annotation?(index: number): Promise<Picture>;
  /** Where every picture (and annotation) is a file of its own: its path. */
  file?(index: number): string;
  annotationFile?(index: number): string;
}

/** One input tensor, planes × height × width. */
export interface Tensor {
  readonly shape: readonly [planes: number, height: number, width: number];
  readonly values: Float32Array;
}

/** Most bytes a compressed file may unpack to. */
const gzipLimitBytes = 2 ** 31;

/** A file's bytes, unpacked where gzip had packed them. */
export async function readUnpacked(path: string): Promise<Uint8Array> {
  const bytes = await readFileOrExplain(path);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return gunzipSync(bytes, { maxOutputLength: gzipLimitBytes });
  } catch (cause) {
    throw badData(path, `it does not unpack: ${(cause as Error).message}`, 'Fetch the file again.', cause);
  }
}

/** What the data set is not, as an error that names the file. */
export function badData(where: string, reason: string, hint: string, cause?: unknown): DataError {
  return new DataError(`${where} cannot be used as data: ${reason}`, { code: 'bad-data', where, hint, cause });
}

/** One picture file, or several. */
export function fileSource(paths: readonly string[]): Source {
  const file = (index: number): string => paths[index] as string;
  return { count: paths.length, names: paths.map((path) => basename(path)), file, item: (index) => readPicture(file(index)) };
}

/** A name for each picture of a file. */
export function numberedNames(path: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${basename(path)}#${index}`);
}

/** Planes to samples side by side. */
export function interleave(planes: Uint8Array, height: number, width: number, channels: 1 | 3): Picture {
  if (channels === 1) return { width, height, channels, pixels: planes };
  const area = height * width;
  const pixels = new Uint8Array(3 * area);
  for (let c = 0; c < 3; c++) for (let i = 0; i < area; i++) pixels[3 * i + c] = planes[c * area + i] as number;
  return { width, height, channels, pixels };
}

/** MNIST's idx files: unsigned bytes, pictures in one, labels in another; the labels' name follows from the pictures' unless given. */
export async function idxSource(path: string, labelsPath?: string): Promise<Source> {
  const guessed = join(dirname(path), basename(path).replace('images', 'labels').replace('idx3', 'idx1'));
  const images = readIdx(await readUnpacked(path), 3, path);
  const [count, height, width] = images.sizes as [number, number, number];
  let labels: readonly number[] | undefined;
  if (labelsPath !== undefined || (guessed !== path && (await kindOf(guessed)) === 'file')) {
    const from = labelsPath ?? guessed;
    labels = [...readIdx(await readUnpacked(from), 1, from).data];
    if (labels.length !== count)
      throw badData(from, `it has ${labels.length} labels for ${count} pictures`, 'Give the pair that belongs together.');
  }
  const area = height * width;
  return {
    count,
    names: numberedNames(path, count),
    ...(labels === undefined ? {} : { labels }),
    item: async (index) => ({ width, height, channels: 1, pixels: images.data.subarray(index * area, (index + 1) * area) }),
  };
}

function readIdx(bytes: Uint8Array, rank: number, where: string): { readonly sizes: readonly number[]; readonly data: Uint8Array } {
  const start = 4 + 4 * rank;
  const hint = `An idx file of unsigned bytes with ${rank} axis sizes is read.`;
  if (bytes.length < start || bytes[0] !== 0 || bytes[1] !== 0 || bytes[2] !== 8 || bytes[3] !== rank)
    throw badData(where, 'it is not an idx file', hint);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sizes = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const expected = start + sizes.reduce((product, size) => product * size, 1);
  if (bytes.length !== expected) throw badData(where, `it has ${bytes.length} bytes, its header says ${expected}`, hint);
  return { sizes, data: bytes.subarray(start) };
}

/**
 * NumPy arrays: uint8 pictures [n, height, width], [n, height, width, 1 or 3] or [n, 1 or 3, height, width]; or float tensors
 * [n, planes, height, width], which are fed as they are. An .npz archive may hold both pictures and labels.
 */
export async function npySource(path: string, labelsPath?: string): Promise<Source> {
  const arrays = await readArrays(path);
  const images = pick(arrays, ['images', 'x', 'X', 'data', 'array'], (array) => array.shape.length >= 3);
  if (images === undefined) throw badData(path, 'it has no array of pictures', 'Name it "images", with axes [n, channels, height, width].');
  const labelled = labelsPath === undefined ? arrays : await readArrays(labelsPath);
  const labelNames = labelsPath === undefined ? ['labels', 'y'] : ['labels', 'y', 'array'];
  const labelArray = pick(labelled, labelNames, (array) => array !== images && array.shape.slice(1).every((size) => size === 1));
  const count = images.shape[0] as number;
  if (labelArray !== undefined && labelArray.data.length !== count) {
    throw badData(
      labelsPath ?? path,
      `it has ${labelArray.data.length} labels for ${count} pictures`,
      'Give labels that belong to the pictures.',
    );
  }
  return {
    count,
    names: numberedNames(path, count),
    ...(labelArray === undefined ? {} : { labels: Array.from(labelArray.data as ArrayLike<number | bigint>, Number) }),
    item: npyItems(images, path),
  };
}

async function readArrays(path: string): Promise<Map<string, NpyArray>> {
  const bytes = await readFileOrExplain(path);
  return bytes[0] === 0x50 ? readNpz(bytes, path) : new Map([['array', readNpy(bytes, path)]]);
}

function pick(arrays: Map<string, NpyArray>, names: readonly string[], fits: (array: NpyArray) => boolean): NpyArray | undefined {
  const named = names.map((name) => arrays.get(name)).find((array) => array !== undefined && fits(array));
  return named ?? (arrays.size <= 2 ? [...arrays.values()].find(fits) : undefined);
}

function npyItems({ shape, kind, data }: NpyArray, path: string): Source['item'] {
  const [, a = 1, b = 1, c = 1] = shape;
  const size = a * b * c;
  if (data instanceof Float32Array || data instanceof Float64Array) {
    const dimensions = shape.length === 3 ? ([1, a, b] as const) : ([a, b, c] as const);
    return async (index) => ({ shape: dimensions, values: Float32Array.from(data.subarray(index * size, (index + 1) * size)) });
  }
  if (!(data instanceof Uint8Array))
    throw badData(path, `pictures of type ${kind} are not read`, 'Save them as uint8 pixels or float32 tensors.');
  const slice = (index: number): Uint8Array => data.subarray(index * size, (index + 1) * size);
  if (shape.length === 3) return async (index) => ({ width: b, height: a, channels: 1, pixels: slice(index) });
  if (shape.length === 4 && (c === 1 || c === 3)) return async (index) => ({ width: b, height: a, channels: c, pixels: slice(index) });
  if (shape.length === 4 && (a === 1 || a === 3)) return async (index) => interleave(slice(index), b, c, a);
  throw badData(path, `its shape [${shape}] is not one of pictures`, 'Pictures have 1 or 3 channels on the last or the second axis.');
}

/** Class index or class name by file name, as `labels.json` holds them. */
export type LabelTable = Readonly<Record<string, number | string>>;

/**
 * The pictures of a folder, in the order of their names. Labels come from `table` (then only the files it names belong to the set),
 * else from the folder's own labels.json, else from the names of sub-folders, whose alphabetical order is the classes' order.
 */
export async function folderSource(folder: string, table?: LabelTable, classes?: readonly string[]): Promise<Source> {
  const known = table ?? (await readOwnLabels(folder));
  if (known !== undefined) return tableSource(folder, known, classes);
  const entries = (await readdir(folder, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1));
  const own = entries.filter((entry) => entry.isFile() && isPictureName(entry.name)).map((entry) => entry.name);
  if (own.length > 0) return named(folder, own, undefined, undefined);
  const found: { name: string; label: number }[] = [];
  const groups: string[] = [];
  for (const entry of entries.filter((candidate) => candidate.isDirectory())) {
    const names = (await readdir(join(folder, entry.name))).filter(isPictureName).sort();
    if (names.length === 0) continue;
    const label = classes === undefined ? groups.length : classes.indexOf(entry.name);
    if (label < 0) throw badData(folder, `the sub-folder ${entry.name} is not one of the classes`, 'Name sub-folders after classes.');
    groups.push(entry.name);
    found.push(...names.map((name) => ({ name: join(entry.name, name), label })));
  }
  if (found.length === 0) throw badData(folder, 'it holds no pictures', 'PNG and JPEG files, or sub-folders of them, are read.');
  return named(
    folder,
    found.map(({ name }) => name),
    found.map(({ label }) => label),
    classes ?? groups,
  );
}

async function readOwnLabels(folder: string): Promise<LabelTable | undefined> {
  const path = join(folder, 'labels.json');
  return (await kindOf(path)) === 'file' ? readLabelTable(path) : undefined;
}

/** Reads a `labels.json`: {file name: class index or class name}. */
export async function readLabelTable(path: string): Promise<LabelTable> {
  const hint = 'It is {"file name": class index, …}.';
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(await readFileOrExplain(path)));
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    throw badData(path, 'it is not JSON', hint, cause);
  }
  const isTable = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isTable || !Object.values(value as object).every((label) => typeof label === 'string' || Number.isInteger(label))) {
    throw badData(path, 'it is not a table of labels', hint);
  }
  return value as LabelTable;
}

function tableSource(folder: string, table: LabelTable, classes: readonly string[] | undefined): Source {
  const names = Object.keys(table).sort();
  const byName = names.every((name) => typeof table[name] === 'string');
  const groups = classes ?? (byName ? [...new Set(Object.values(table) as string[])].sort() : undefined);
  const labels = names.map((name) => {
    if (relative(folder, join(folder, name)).startsWith('..'))
      throw badData(folder, `the label of ${name} points outside it`, 'Label files of the folder.');
    const label = table[name] as number | string;
    const index = typeof label === 'number' ? label : (groups?.indexOf(label) ?? -1);
    if (index < 0) throw badData(folder, `the class of ${name}, ${label}, is not one of the classes`, 'Give "classes" that hold it.');
    return index;
  });
  return named(folder, names, labels, groups);
}

function named(
  folder: string,
  names: readonly string[],
  labels: readonly number[] | undefined,
  classes: readonly string[] | undefined,
): Source {
  const file = (index: number): string => join(folder, names[index] as string);
  return {
    count: names.length,
    names,
    file,
    ...(labels === undefined ? {} : { labels }),
    ...(classes === undefined ? {} : { classes }),
    item: (index) => readPicture(file(index)),
  };
}

/** Segmentation: pictures and annotations in two folders under equal file names. */
export async function pairsSource(images: string, annotations: string): Promise<Source> {
  const names = (await listPictures(images)).sort();
  const marked = new Set(await listPictures(annotations));
  const lacking = names.find((name) => !marked.has(name));
  if (lacking !== undefined) throw badData(annotations, `there is no annotation ${lacking}`, 'Both folders hold equal file names.');
  const annotationFile = (index: number): string => join(annotations, names[index] as string);
  return {
    ...named(images, names, undefined, undefined),
    annotationFile,
    annotation: (index) => readAnnotation(annotationFile(index)),
  };
}

async function listPictures(folder: string): Promise<string[]> {
  if ((await kindOf(folder)) !== 'folder') throw badData(folder, 'it is not a folder', 'Check the path in the descriptor.');
  return (await readdir(folder)).filter(isPictureName);
}

/** What lies at a path. */
export async function kindOf(path: string): Promise<'file' | 'folder' | 'nothing'> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return 'nothing';
  return found.isDirectory() ? 'folder' : 'file';
}
