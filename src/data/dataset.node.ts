// A data set as commands see it: input tensors in batches, with labels, classes and a hash. Not here: file formats.
import { createHash } from 'node:crypto';
import { dirname, isAbsolute, join } from 'node:path';
import { DataError } from '../errors.js';
import type { Decode } from './decoder.node.js';
import { type Descriptor, parseDescriptor, preprocessingOf } from './descriptor.js';
import { isPictureName, readFileOrExplain } from './picture.node.js';
import { type Picture, type Preprocessing, plainPreprocessing, planesOf, preprocess, sizeAfter } from './preprocess.js';
import { recordSource } from './records.node.js';
import {
  badData,
  fileSource,
  folderSource,
  idxSource,
  kindOf,
  npySource,
  pairsSource,
  readLabelTable,
  type Source,
  type Tensor,
} from './sources.node.js';

export interface DatasetOptions {
  /** Use at most this many pictures, from the first. */
  readonly limit?: number;
  /** For paths and descriptors that state no preprocessing of their own. */
  readonly preprocessing?: Preprocessing;
  /** Decodes picture files, on other threads; by default they are decoded where they are read, one after another. */
  readonly decode?: Decode;
}

export interface Dataset {
  readonly count: number;
  /** Planes, height and width of every input tensor. */
  readonly shape: readonly [planes: number, height: number, width: number];
  readonly names: readonly string[];
  /** Class index of each picture, where known. */
  readonly labels?: readonly number[];
  readonly classes?: readonly string[];
  readonly preprocessing: Preprocessing;
  /** Whether the preprocessing was stated by the data or the caller, not assumed. */
  readonly preprocessingStated: boolean;
  /** Segmentation: the class that is not scored. */
  readonly ignore?: number;
  /** Input tensors of pictures [start, start + count), batch × planes × height × width. */
  read(start: number, count: number): Promise<Float32Array>;
  /** One picture as it was read, before preprocessing; a float tensor where the set holds those. */
  item(index: number): Promise<Picture | Tensor>;
  /** Segmentation: class of every pixel of one picture, height × width. */
  annotation?(index: number): Promise<Uint8Array>;
}

/**
 * Opens pictures by path: a picture, a folder, CIFAR-format records, an idx pair, a NumPy file, or a dataset descriptor (JSON).
 * Pictures are decoded when they are read.
 * @throws DataError with the file and the reason.
 */
export async function loadDataset(path: string, options: DatasetOptions = {}): Promise<Dataset> {
  const kind = await kindOf(path);
  if (kind === 'file' && path.endsWith('.json')) {
    const descriptor = await readDescriptor(path);
    if (descriptor.images === undefined) {
      throw badData(path, 'it names no pictures', 'A dataset descriptor has "images"; preprocessing alone goes to --preprocess.');
    }
    return loadDescribed(descriptor, dirname(path), path, options);
  }
  return open(kind === 'folder' ? await folderSource(path) : await pathSource(path, kind), options.preprocessing, options, path);
}

/** Opens single pictures as one data set, all under the same preprocessing. */
export async function loadPictures(paths: readonly string[], options: DatasetOptions = {}): Promise<Dataset> {
  return open(fileSource(paths), options.preprocessing, options, paths[0] ?? 'pictures');
}

/** Reads the preprocessing out of a descriptor file, for `--preprocess`. */
export async function readPreprocessing(path: string): Promise<{ preprocessing: Preprocessing; classes?: readonly string[] }> {
  const descriptor = await readDescriptor(path);
  const preprocessing = preprocessingOf(descriptor, path);
  if (preprocessing === undefined) throw badData(path, 'it states no preprocessing', 'Give "mean", "std" and "channels".');
  const classes = await readClasses(descriptor, dirname(path));
  return { preprocessing, ...(classes === undefined ? {} : { classes }) };
}

async function readDescriptor(path: string): Promise<Descriptor> {
  return parseDescriptor(new TextDecoder().decode(await readFileOrExplain(path)), path);
}

async function pathSource(path: string, kind: 'file' | 'folder' | 'nothing'): Promise<Source> {
  const name = path.replace(/\.gz$/, '');
  if (kind === 'nothing') await readFileOrExplain(path);
  if (isPictureName(name)) return fileSource([path]);
  if (name.endsWith('.npy') || name.endsWith('.npz')) return npySource(path);
  if (name.endsWith('.bin')) return recordSource(path);
  if (/idx\d/.test(name)) return idxSource(path);
  throw badData(
    path,
    'its name tells no format',
    'Give a .png, .jpg, .bin, .npy, .npz or idx file, a folder, or a dataset descriptor with "format".',
  );
}

async function loadDescribed(descriptor: Descriptor, base: string, path: string, options: DatasetOptions): Promise<Dataset> {
  const classes = await readClasses(descriptor, base);
  const source = await describedSource(descriptor, base, path, classes);
  const limit = Math.min(options.limit ?? Number.POSITIVE_INFINITY, descriptor.limit ?? Number.POSITIVE_INFINITY);
  const dataset = await open(source, preprocessingOf(descriptor, path) ?? options.preprocessing, { ...options, limit }, path);
  return {
    ...dataset,
    ...(classes === undefined ? {} : { classes }),
    ...(descriptor.ignore === undefined ? {} : { ignore: descriptor.ignore }),
  };
}

async function describedSource(
  descriptor: Descriptor,
  base: string,
  path: string,
  classes: readonly string[] | undefined,
): Promise<Source> {
  const images = at(base, descriptor.images as string);
  const labels = descriptor.labels;
  const labelsPath = typeof labels === 'string' ? at(base, labels) : undefined;
  switch (descriptor.format) {
    case 'cifar10':
    case 'cifar100':
      return recordSource(images, descriptor.format);
    case 'idx':
      return idxSource(images, labelsPath);
    case 'npy':
      return npySource(images, labelsPath);
    case 'pairs':
      if (descriptor.annotations === undefined)
        throw badData(path, 'it names no annotations', 'A "pairs" set has "images" and "annotations".');
      return pairsSource(images, at(base, descriptor.annotations));
    default: {
      const kind = await kindOf(images);
      if (kind !== 'folder') return pathSource(images, kind);
      if (Array.isArray(labels)) throw badData(path, 'a folder needs labels by file name', 'Give {"file name": class index}.');
      const table = labelsPath === undefined ? (labels as Record<string, number | string> | undefined) : await readLabelTable(labelsPath);
      return folderSource(images, table, classes);
    }
  }
}

async function readClasses(descriptor: Descriptor, base: string): Promise<readonly string[] | undefined> {
  if (typeof descriptor.classes !== 'string') return descriptor.classes;
  const path = at(base, descriptor.classes);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(await readFileOrExplain(path)));
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
  }
  if (!Array.isArray(value) || !value.every((name) => typeof name === 'string')) {
    throw badData(path, 'it is not a list of class names', 'It is ["first class", "second class", …].');
  }
  return value;
}

function at(base: string, path: string): string {
  return isAbsolute(path) ? path : join(base, path);
}

/** The source with its files decoded elsewhere. */
function decodedElsewhere(source: Source, decode: Decode): Source {
  const { file, annotationFile } = source;
  return {
    ...source,
    ...(file === undefined ? {} : { item: (index: number) => decode(file(index), 'picture') }),
    ...(annotationFile === undefined ? {} : { annotation: (index: number) => decode(annotationFile(index), 'annotation') }),
  };
}

async function open(given: Source, stated: Preprocessing | undefined, options: DatasetOptions, where: string): Promise<Dataset> {
  const { decode } = options;
  const source = decode === undefined ? given : decodedElsewhere(given, decode);
  const count = Math.min(source.count, options.limit ?? source.count);
  if (count === 0) throw badData(where, 'it holds no pictures', 'Give at least one.');
  const first = await source.item(0);
  const preprocessing = stated ?? plainPreprocessing('values' in first ? first.shape[0] : first.channels);
  const shape = shapeOf(first, preprocessing);
  const checked = async (index: number): Promise<Picture | Tensor> => {
    const item = index === 0 ? first : await source.item(index);
    const itemShape = shapeOf(item, preprocessing);
    if (itemShape.some((size, axis) => size !== shape[axis])) {
      throw badData(
        where,
        `${source.names[index]} is ${itemShape.join(' × ')}, the first picture ${shape.join(' × ')}`,
        'Set "resize" and "crop".',
      );
    }
    return item;
  };
  const tensor = async (index: number): Promise<Float32Array> => {
    const item = await checked(index);
    return 'values' in item ? item.values : preprocess(item, preprocessing, source.names[index]);
  };
  return {
    count,
    shape,
    names: source.names.slice(0, count),
    ...(source.labels === undefined ? {} : { labels: source.labels.slice(0, count) }),
    ...(source.classes === undefined ? {} : { classes: source.classes }),
    preprocessing,
    preprocessingStated: stated !== undefined,
    read: async (start, length) => {
      const out = new Float32Array(length * shape[0] * shape[1] * shape[2]);
      const place = async (i: number): Promise<void> => out.set(await tensor(start + i), (out.length / length) * i);
      if (decode !== undefined) await Promise.all(Array.from({ length }, (_, i) => place(i)));
      else for (let i = 0; i < length; i++) await place(i);
      return out;
    },
    item: checked,
    ...annotations(source, preprocessing, where),
  };
}

function shapeOf(item: Picture | Tensor, preprocessing: Preprocessing): readonly [number, number, number] {
  return 'values' in item ? item.shape : [planesOf(preprocessing), ...sizeAfter(preprocessing, item.height, item.width)];
}

function annotations(source: Source, preprocessing: Preprocessing, where: string): Pick<Dataset, 'annotation'> {
  const read = source.annotation;
  if (read === undefined) return {};
  if (preprocessing.resize !== undefined || preprocessing.crop !== undefined) {
    throw badData(where, 'annotated pictures cannot be resized or cropped', 'Scale pictures and annotations beforehand.');
  }
  return { annotation: async (index) => (await read(index)).pixels };
}

/** Some of a data set's pictures, in the order of `indices`. */
export function selectPictures(dataset: Dataset, indices: readonly number[]): Dataset {
  const { labels, annotation } = dataset;
  const size = dataset.shape.reduce((product, length) => product * length, 1);
  const at = (index: number): number => {
    const found = indices[index];
    if (found === undefined) throw new RangeError(`picture ${index} of ${indices.length}`);
    return found;
  };
  return {
    ...dataset,
    count: indices.length,
    names: indices.map((index) => dataset.names[index] as string),
    ...(labels === undefined ? {} : { labels: indices.map((index) => labels[index] as number) }),
    read: async (start, count) => {
      const out = new Float32Array(count * size);
      for (let i = 0; i < count; i++) out.set(await dataset.read(at(start + i), 1), i * size);
      return out;
    },
    item: (index) => dataset.item(at(index)),
    ...(annotation === undefined ? {} : { annotation: (index: number) => annotation(at(index)) }),
  };
}

/** The tensors of a data set in batches of at most `size`, in order. */
export async function* batches(dataset: Dataset, size: number): AsyncGenerator<{ start: number; count: number; images: Float32Array }> {
  for (let start = 0; start < dataset.count; start += size) {
    const count = Math.min(size, dataset.count - start);
    yield { start, count, images: await dataset.read(start, count) };
  }
}

/** SHA-256 over the shape and every input tensor: two sets with equal hashes calibrate alike. */
export async function hashDataset(dataset: Dataset): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([dataset.count, ...dataset.shape]));
  for await (const { images } of batches(dataset, 16)) hash.update(new Uint8Array(images.buffer));
  return hash.digest('hex');
}
