// Training batches: pictures in a new order each epoch, augmented, made while the last batch is learned from.
// Everything drawn is addressed by (seed, epoch, picture), so that a run that goes on later sees the same batches. Not here: file formats.
import { DataError } from '../errors.js';
import { type Augmentation, augmentInto, augmentLabels } from './augment.js';
import { createSequence } from './generated.js';
import type { Picture, Preprocessing } from './preprocess.js';

/** What a loader reads from: a data set. */
export interface Examples {
  readonly count: number;
  readonly shape: readonly [planes: number, height: number, width: number];
  readonly names: readonly string[];
  readonly labels?: readonly number[];
  readonly preprocessing: Preprocessing;
  /** Segmentation: the class that is not scored. */
  readonly ignore?: number;
  item(index: number): Promise<Item>;
  /** Segmentation: class of every pixel. */
  annotation?(index: number): Promise<Uint8Array>;
}

type Item = Picture | { readonly shape: readonly [number, number, number]; readonly values: Float32Array };

export interface Batch {
  readonly count: number;
  /** [count, planes, height, width]; valid until the batch after the next is asked for. */
  readonly images: Float32Array;
  /** [count], or for segmentation [count, height, width]; absent where the set has none. */
  readonly labels?: Int32Array;
}

export interface Loader {
  readonly batchSize: number;
  /** Pictures beyond the last whole batch wait for another epoch's order. */
  readonly stepsPerEpoch: number;
  /** Pixels that annotations leave out have this label. */
  readonly ignoreLabel?: number;
  /** The batch of a step; the next one is begun at once, so that it is ready when this one has been learned from. */
  batch(epoch: number, step: number): Promise<Batch>;
}

export interface LoaderOptions {
  readonly batchSize: number;
  readonly augmentation: Augmentation;
  readonly seed: number;
  /** Classes of the network; annotations may have no others beside the ignored one. */
  readonly classes: number;
  /** Decoded pictures that may stay in memory, in bytes; default 2^30. Pictures beyond it are read and decoded each time. */
  readonly memoryBytes?: number;
}

const defaultMemoryBytes = 2 ** 30;
/** Label of pixels outside of a cut where a set names none to ignore: no class of an 8-bit annotation. */
const outsideLabel = 256;

/** Opens a loader. A batch larger than the set becomes as large as the set. */
export function createLoader(examples: Examples, options: LoaderOptions): Loader {
  const { seed, augmentation } = options;
  const batchSize = Math.min(options.batchSize, examples.count);
  const stepsPerEpoch = Math.floor(examples.count / batchSize);
  const ignoreLabel = examples.annotation === undefined ? undefined : (examples.ignore ?? outsideLabel);
  const read = createReader(examples, options.classes, options.memoryBytes ?? defaultMemoryBytes);
  const size = examples.shape.reduce((product, length) => product * length, 1);
  const buffers = [0, 1, 2].map(() => new Float32Array(batchSize * size));
  let order: { readonly epoch: number; readonly indices: Uint32Array } = { epoch: -1, indices: new Uint32Array(0) };
  let turn = 0;

  const make = async (epoch: number, step: number): Promise<Batch> => {
    if (order.epoch !== epoch) order = { epoch, indices: shuffledOrder(examples.count, seed, epoch) };
    const chosen = order.indices.subarray(step * batchSize, (step + 1) * batchSize);
    const images = buffers[turn++ % buffers.length]!;
    const [, height, width] = examples.shape;
    const pixels = ignoreLabel === undefined ? 1 : height * width;
    const labelled = examples.labels !== undefined || ignoreLabel !== undefined;
    const labels = new Int32Array(labelled ? batchSize * pixels : 0);
    // Asked for together: a set may decode them side by side.
    const examplesOf = await Promise.all(Array.from(chosen, (index) => read(index)));
    for (const [i, index] of chosen.entries()) {
      const { item, annotation } = examplesOf[i]!;
      const random = createSequence(mix(seed, epoch, index));
      const place = images.subarray(i * size, (i + 1) * size);
      const drawn = augmentInto(item, examples.preprocessing, augmentation, random, place, examples.names[index] ?? 'picture');
      if (annotation === undefined) labels[i] = examples.labels?.[index] ?? 0;
      else augmentLabels(annotation, sizeOfItem(item), drawn, ignoreLabel ?? outsideLabel, labels.subarray(i * pixels, (i + 1) * pixels));
    }
    return { count: batchSize, images, ...(labelled ? { labels } : {}) };
  };

  let ahead: { readonly epoch: number; readonly step: number; readonly batch: Promise<Batch> } | undefined;
  return {
    batchSize,
    stepsPerEpoch,
    ...(ignoreLabel === undefined ? {} : { ignoreLabel }),
    async batch(epoch, step) {
      const batch = await (ahead?.epoch === epoch && ahead.step === step ? ahead.batch : make(epoch, step));
      const next = step + 1 < stepsPerEpoch ? { epoch, step: step + 1 } : { epoch: epoch + 1, step: 0 };
      // A picture that cannot be read is reported when its batch is asked for, not before.
      const coming = Promise.resolve().then(() => make(next.epoch, next.step));
      coming.catch(() => {});
      ahead = { ...next, batch: coming };
      return batch;
    },
  };
}

const sizeOfItem = (item: Item): { height: number; width: number } =>
  'values' in item ? { height: item.shape[1], width: item.shape[2] } : item;

interface Example {
  readonly item: Item;
  readonly annotation?: Uint8Array;
}

/** Reads examples, and keeps the first ones that come as long as there is room. */
function createReader(examples: Examples, classes: number, memoryBytes: number): (index: number) => Promise<Example> {
  const kept = new Map<number, Example>();
  let room = memoryBytes;
  return async (index) => {
    const known = kept.get(index);
    if (known !== undefined) return known;
    const [item, annotation] = await Promise.all([examples.item(index), examples.annotation?.(index)]);
    if (annotation !== undefined)
      checkAnnotation(annotation, sizeOfItem(item), classes, examples.ignore, examples.names[index] ?? 'picture');
    const example = annotation === undefined ? { item } : { item, annotation };
    room -= ('values' in item ? item.values.byteLength : item.pixels.byteLength) + (annotation?.byteLength ?? 0);
    if (room >= 0) kept.set(index, example);
    return example;
  };
}

/** Throws DataError ("bad-annotation", "bad-label") for an annotation of another size, or with a class that is none. */
function checkAnnotation(
  annotation: Uint8Array,
  size: { height: number; width: number },
  classes: number,
  ignore: number | undefined,
  where: string,
): void {
  if (annotation.length !== size.height * size.width) {
    const hint = 'Annotations have the size of their pictures.';
    const message = `the annotation of ${where} has ${annotation.length} pixels, its picture ${size.height * size.width}`;
    throw new DataError(message, { code: 'bad-annotation', where, hint });
  }
  const wrong = annotation.find((label) => label >= classes && label !== ignore);
  if (wrong === undefined) return;
  const hint = 'Set "ignore" in the descriptor to the class that is not learned.';
  throw new DataError(`the annotation of ${where} has class ${wrong}, the network has ${classes}`, { code: 'bad-label', where, hint });
}

/** A new order of 0 … count − 1 for each epoch (Fisher and Yates). */
export function shuffledOrder(count: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  const random = createSequence(mix(seed, epoch, 0xffffffff));
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** A seed for an address: three numbers through a 32-bit finaliser, each after the other. */
function mix(...parts: readonly number[]): number {
  return parts.reduce((state, part) => {
    let mixed = (state ^ part) >>> 0;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x7feb352d);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
    return (mixed ^ (mixed >>> 16)) >>> 0;
  }, 0x9e3779b9);
}
