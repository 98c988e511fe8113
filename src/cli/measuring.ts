// Measuring a distortion from pictures into a file, so that a killed run goes on. Not here: what is measured (block/distort.ts).
import { rm } from 'node:fs/promises';
import { distortionOf, type Measurement, type MeasuringPlace, type Meter, type SampleBatch } from '../block/distort.js';
import { openExact } from '../block/distort-exact.js';
import { openLinear, openLoss } from '../block/distort-linear.js';
import { measureFlips } from '../block/distort-windows.js';
import { type Distortion, type FlipDistortion, writeDistortion } from '../block/distortion-file.js';
import type { Dataset } from '../data/dataset.node.js';
import { createSequence } from '../data/generated.js';
import { DataError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import { writeWhole } from './files.js';
import { formatCount } from './format.js';
import type { OnnxFile } from './model.js';
import type { Task } from './task.js';
import { readUnfinished, type Unfinished, writeUnfinished } from './unfinished.js';
import { packageVersion } from './version.js';

/** How to measure. */
export interface MeasuringOptions {
  readonly method: 'linear' | 'exact' | 'loss';
  readonly samples: number;
  readonly probes: number;
  readonly seed: number;
  readonly at: MeasuringPlace;
  /** Also what wrong signs near zero do. */
  readonly windows: boolean;
}

/** What to measure, and with which pictures. */
export interface MeasuringWork {
  readonly onnx: OnnxFile;
  readonly measurement: Measurement;
  readonly dataset: Dataset;
  /** Where the pictures are from: what is kept of an unfinished run is of the same ones. */
  readonly data: string | undefined;
  /** SHA-256 of the spec that the measurement is under. */
  readonly under?: string;
}

export interface MeasuredFile {
  readonly distortion: Distortion;
  /** Places of the pictures it was measured with. */
  readonly sample: readonly number[];
  /** Of this run; pictures that an earlier one had measured are not in it. */
  readonly seconds: number;
  /** Pictures that an unfinished run had measured. */
  readonly resumed: number;
}

/**
 * Measures, and writes the distortion file. A killed run goes on from <file>.unfinished.
 * @throws DataError ("no-labels", "wrong-labels", "unwritable-file").
 */
export async function measureInto(
  file: string,
  { onnx, measurement, dataset, data, under }: MeasuringWork,
  options: MeasuringOptions,
  compute: Compute,
  task: Task,
): Promise<MeasuredFile> {
  const sample = drawSample(dataset, options, data ?? 'pictures');
  const { method, seed, at } = options;
  const meter = await openMeter(compute, measurement, options);
  const probes = method === 'linear' ? options.probes : 0;
  const about = { at, ...(under === undefined ? {} : { under }), version: packageVersion() };
  const made = { model: onnx.hash, method, samples: sample.length, probes, seed, ...about };
  const names = sample.map((index) => dataset.names[index]);
  const key = JSON.stringify([made, onnx.fullHash(), measurement.patches, data, names, dataset.preprocessing, meter.batch]);
  const unfinished = await readUnfinished(file, key, measurement.rows * measurement.patches.length);
  if (unfinished.done > 0) task.output.note(`${formatCount(unfinished.done)} pictures were measured before; going on from there.`);
  const start = performance.now();
  const sums = await measureAll({ meter, dataset, sample, task }, unfinished, (state) => writeUnfinished(file, key, state));
  const seconds = (performance.now() - start) / 1000;
  const flips = options.windows ? { flips: await measureSigns({ compute, measurement, dataset, sample, task }, options) } : {};
  const distortion = { ...distortionOf(measurement, meter, sums, made), ...flips };
  await writeWhole(file, writeDistortion(distortion));
  await rm(`${file}.unfinished`, { force: true });
  return { distortion, sample, seconds, resumed: unfinished.done };
}

/** What was measured is kept so often: a killed run loses no more. */
const keepSeconds = 2;

function openMeter(compute: Compute, measurement: Measurement, { method, probes, seed }: MeasuringOptions): Promise<Meter> {
  if (method === 'exact') return openExact(compute, measurement);
  return method === 'loss' ? openLoss(compute, measurement) : openLinear(compute, measurement, { probes, seed });
}

/** Which pictures to measure with: all, or as many as asked for, drawn without repeats, in order (folders are sorted by class). */
export function drawSample(dataset: Dataset, { samples, seed, method }: MeasuringOptions, path: string): readonly number[] {
  if (method === 'loss' && dataset.labels === undefined && dataset.annotation === undefined) {
    const hint = 'Give a folder with labels or a dataset descriptor, or use --method linear.';
    throw new DataError('the pictures have no labels, which the change of the loss needs', { code: 'no-labels', where: path, hint });
  }
  const all = Array.from({ length: dataset.count }, (_, i) => i);
  const random = createSequence(seed);
  const count = Math.min(samples, all.length);
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(random() * (all.length - i));
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all.slice(0, count).sort((a, b) => a - b);
}

interface Work {
  readonly meter: Meter;
  readonly dataset: Dataset;
  readonly sample: readonly number[];
  readonly task: Task;
}

/** Measures what is left of the sample. State is kept at once, so that a place that cannot be written to is found out before the work. */
async function measureAll(
  { meter, dataset, sample, task }: Work,
  { done, sums }: Unfinished,
  keep: (state: Unfinished) => Promise<void>,
): Promise<Float64Array> {
  await keep({ done, sums });
  const progress = task.output.progress('measuring', sample.length);
  let kept = Number.NEGATIVE_INFINITY;
  try {
    for (let first = done; first < sample.length; first += meter.batch) {
      task.signal.throwIfAborted();
      const chosen = sample.slice(first, first + meter.batch);
      const images = await readPictures(dataset, chosen);
      await meter.add({ images, count: chosen.length, first, ...(await truthOf(dataset, chosen, meter)) }, sums);
      progress.update(first + chosen.length);
      if (performance.now() - kept < keepSeconds * 1000) continue;
      await keep({ done: first + chosen.length, sums });
      kept = performance.now();
    }
  } finally {
    progress.end();
    meter.close();
  }
  return sums;
}

/** Pictures that wrong signs are measured on: their effects vary less than those of patches. */
const signPictures = 128;

/** What wrong signs near zero do, measured on pictures spread over the sample. Short beside the rest, so that nothing is kept on the way. */
async function measureSigns(
  { compute, measurement, dataset, sample, task }: Omit<Work, 'meter'> & { readonly compute: Compute; readonly measurement: Measurement },
  { probes, seed }: MeasuringOptions,
): Promise<FlipDistortion> {
  const step = Math.max(1, sample.length / signPictures);
  const chosen = Array.from({ length: Math.min(signPictures, sample.length) }, (_, i) => sample[Math.floor(i * step)]!);
  const progress = task.output.progress('measuring signs', chosen.length);
  const images = await readPictures(dataset, chosen);
  const watch = { signal: task.signal, progress: (pictures: number) => progress.update(pictures) };
  const flips = await measureFlips(compute, measurement, images, chosen.length, { probes: Math.max(1, probes), seed, ...watch });
  progress.end();
  return flips;
}

/** Pictures of a data set by their places, one after the other. */
export async function readPictures(dataset: Dataset, chosen: readonly number[]): Promise<Float32Array> {
  const images = await Promise.all(chosen.map((index) => dataset.read(index, 1)));
  const joined = new Float32Array(images.reduce((sum, image) => sum + image.length, 0));
  images.forEach((image, i) => {
    joined.set(image, i * image.length);
  });
  return joined;
}

/** Classes of pictures or, where they are annotated, of their pixels. */
async function truthOf(
  dataset: Dataset,
  chosen: readonly number[],
  { labelsEach }: Meter,
): Promise<Pick<SampleBatch, 'labels' | 'ignore'>> {
  if (labelsEach === undefined) return {};
  const { annotation, ignore } = dataset;
  const maps = annotation === undefined ? undefined : await Promise.all(chosen.map((index) => annotation(index)));
  const labels = maps === undefined ? chosen.map((index) => dataset.labels![index]!) : maps.flatMap((map) => Array.from(map));
  if (labels.length === chosen.length * labelsEach) return { labels, ...(ignore === undefined ? {} : { ignore }) };
  throw new DataError(`a picture has ${labels.length / chosen.length} labels, the network gives ${labelsEach} positions a class`, {
    code: 'wrong-labels',
    where: dataset.names[chosen[0]!] ?? 'labels',
    hint: 'Annotations have the size of the map of scores; --method linear needs none.',
  });
}
