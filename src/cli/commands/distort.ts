// tessera distort: measures what every patch on every channel does to the output, and writes the distortion file.
import { rm } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { type CandidateKind, candidateKinds } from '../../block/candidates.js';
import {
  distortionOf,
  type Measurement,
  type MeasuringPlace,
  type Meter,
  measuringPlaces,
  planMeasurement,
  type SampleBatch,
} from '../../block/distort.js';
import { openExact } from '../../block/distort-exact.js';
import { openLinear, openLoss } from '../../block/distort-linear.js';
import { measureFlips } from '../../block/distort-windows.js';
import { type FlipDistortion, writeDistortion } from '../../block/distortion-file.js';
import type { Dataset } from '../../data/dataset.node.js';
import { createSequence } from '../../data/generated.js';
import { DataError, UsageError } from '../../errors.js';
import type { Compute } from '../../kernel/compute.js';
import { simplify } from '../../model/passes/simplify.js';
import { openCompute } from '../compute.js';
import { type CheckOptions, type Checks, checkDistortion, checkPictures, describeChecks } from '../distortion-checks.js';
import { writeWhole } from '../files.js';
import { formatCount, formatSeconds } from '../format.js';
import { findModel, inputShapeOf } from '../model.js';
import { type CommonOptions, createCommand, wholeNumber, withPictures } from '../options.js';
import { checkShape, openPictures, type PictureOptions } from '../pictures.js';
import { readSpec } from '../spec.js';
import { perform, type Task } from '../task.js';
import { readUnfinished, type Unfinished, writeUnfinished } from '../unfinished.js';
import { packageVersion } from '../version.js';

interface DistortOptions extends CommonOptions, PictureOptions, CheckOptions {
  readonly method: 'linear' | 'exact' | 'loss';
  readonly samples: number;
  readonly probes: number;
  readonly seed: number;
  readonly candidates: CandidateKind;
  readonly at: MeasuringPlace;
  readonly spec?: string;
  readonly windows: boolean;
  readonly output: string;
}

interface Distorted extends Checks {
  readonly channels: number;
  readonly candidates: number;
  readonly samples: number;
  /** Of this run; pictures that an earlier one had measured are not in it. */
  readonly seconds: number;
  readonly file: string;
  readonly method: DistortOptions['method'];
  readonly at: MeasuringPlace;
  readonly layers: number;
  /** Pictures that an unfinished run had measured. */
  readonly resumed: number;
}

/** What was measured is kept so often: a killed run loses no more. */
const keepSeconds = 2;

export function distortCommand(): Command {
  const command = createCommand(
    'distort',
    'Measure what sharing comparisons does to the output, for every channel and patch.',
    'tessera distort net.onnx --data train.json --samples 256 -o net.npz',
  );
  return withPictures(command)
    .argument('<model>', 'ONNX file')
    .addOption(
      new Option('--method <kind>', 'first order at once, one run for each channel and patch, or the signed change of the loss')
        .choices(['linear', 'exact', 'loss'])
        .default('linear'),
    )
    .addOption(new Option('--samples <n>', 'pictures to measure with, drawn from those given').argParser(wholeNumber(1)).default(256))
    .addOption(new Option('--probes <n>', 'random directions at the output for each picture').argParser(wholeNumber(1, 1024)).default(4))
    .addOption(new Option('--seed <n>', 'seed of pictures and directions').argParser(wholeNumber(0, 2 ** 32 - 1)).default(1))
    .addOption(
      new Option('--candidates <kind>', "patches to measure: all worth it, square ones, or the paper's own lists")
        .choices(candidateKinds)
        .default('generated'),
    )
    .addOption(
      new Option('--at <place>', 'where the change is measured: the scores before a softmax, or what the global pooling reads')
        .choices(measuringPlaces)
        .default('logits'),
    )
    .option('--spec <file>', 'measure under the patches of a spec: what solve then chooses fits their joint effect better')
    .addOption(
      new Option('--compare <channels>', 'also measure so many channels exactly, and say how alike the rankings are').argParser(
        wholeNumber(1),
      ),
    )
    .addOption(
      new Option('--additivity <choices>', 'also measure so many random choices as a whole, and say how well sums foretell it').argParser(
        wholeNumber(3, 10_000),
      ),
    )
    .option('--windows', 'also measure what wrong signs near zero do, from which solve chooses comparison windows', false)
    .requiredOption('-o, --output <file>', 'distortion file to write (.npz); a killed run goes on from <file>.unfinished')
    .action((path: string, options: DistortOptions) =>
      perform(options, async (task) => {
        const distorted = await distort(path, options, task);
        task.output.result(distorted, () => describe(distorted));
      }),
    );
}

async function distort(path: string, options: DistortOptions, task: Task): Promise<Distorted> {
  const { onnx, description } = await findModel(path);
  if (onnx === undefined) {
    const hint = 'Give the ONNX file: a compiled model has no float network left.';
    throw new UsageError('a compiled model cannot be measured', { code: 'usage', where: path, hint });
  }
  checkMethod(options);
  const pictures = await openPictures([], options, task.output, description);
  const { dataset } = pictures;
  const graph = onnx.readGraph(inputShapeOf(onnx, pictures));
  checkShape(dataset, graph.input.shape);
  const sample = drawSample(dataset, options, path);
  const spec = options.spec === undefined ? undefined : await readSpec(options.spec, onnx.hash);
  const under = spec === undefined ? {} : { under: spec.patches };
  const measurement = planMeasurement(simplify(graph), { kind: options.candidates, at: options.at, ...under });
  const compute = await openCompute(task, options.threads);
  const meter = await openMeter(compute, measurement, options);
  const probes = options.method === 'linear' ? options.probes : 0;
  const { method, seed, at } = options;
  const about = { at, ...(spec === undefined ? {} : { under: spec.hash }), version: packageVersion() };
  const made = { model: onnx.hash, method, samples: sample.length, probes, seed, ...about };
  const names = sample.map((index) => dataset.names[index]);
  const key = JSON.stringify([made, onnx.fullHash(), measurement.patches, options.data, names, dataset.preprocessing, meter.batch]);
  const size = measurement.rows * measurement.patches.length;
  const unfinished = await readUnfinished(options.output, key, size);
  if (unfinished.done > 0) task.output.note(`${formatCount(unfinished.done)} pictures were measured before; going on from there.`);
  const start = performance.now();
  const sums = await measureAll({ meter, dataset, sample, task }, unfinished, (state) => writeUnfinished(options.output, key, state));
  const seconds = (performance.now() - start) / 1000;
  const flips = options.windows ? { flips: await measureSigns({ compute, measurement, dataset, sample, task }, options) } : {};
  const distortion = { ...distortionOf(measurement, meter, sums, made), ...flips };
  await writeWhole(options.output, writeDistortion(distortion));
  await rm(`${options.output}.unfinished`, { force: true });
  const checked = sample.slice(0, checkPictures);
  const wanted = options.additivity !== undefined || options.compare !== undefined;
  const images = wanted ? await readPictures(dataset, checked) : new Float32Array(0);
  const checks = wanted ? await checkDistortion(compute, measurement, distortion, { images, count: checked.length }, options) : {};
  return {
    channels: measurement.rows,
    candidates: measurement.patches.length,
    samples: sample.length,
    seconds,
    file: options.output,
    method: options.method,
    at: options.at,
    layers: measurement.layers.length,
    resumed: unfinished.done,
    ...checks,
  };
}

/** Refuses what a method cannot do. */
function checkMethod({ method, at, additivity, compare, spec, windows }: DistortOptions): void {
  const hint = 'Use --method linear.';
  if (spec !== undefined && (method === 'exact' || additivity !== undefined || compare !== undefined)) {
    const reason = 'exact and joint distortions are measured from the network without a spec';
    throw new UsageError(reason, { code: 'usage', where: '--spec', hint: 'Leave --spec out, or measure with --method linear alone.' });
  }
  if (method !== 'loss') return;
  if (windows) throw new UsageError('wrong signs are measured as squared changes', { code: 'usage', where: '--windows', hint });
  if (at === 'features') throw new UsageError('a loss is of the scores', { code: 'usage', where: '--at', hint });
  if (additivity === undefined && compare === undefined) return;
  const where = additivity === undefined ? '--compare' : '--additivity';
  throw new UsageError('changes of a loss have signs, and are not compared with distortions', { code: 'usage', where, hint });
}

function openMeter(compute: Compute, measurement: Measurement, { method, probes, seed }: DistortOptions): Promise<Meter> {
  if (method === 'exact') return openExact(compute, measurement);
  return method === 'loss' ? openLoss(compute, measurement) : openLinear(compute, measurement, { probes, seed });
}

/** Which pictures to measure with: all, or as many as asked for, drawn without repeats, in order (folders are sorted by class). */
function drawSample(dataset: Dataset, { samples, seed, method }: DistortOptions, path: string): readonly number[] {
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
  { probes, seed }: DistortOptions,
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

async function readPictures(dataset: Dataset, chosen: readonly number[]): Promise<Float32Array> {
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

function describe({ channels, candidates, samples, seconds, file, method, at, layers, ...checks }: Distorted): string {
  return [
    `${formatCount(channels)} channels of ${layers} layers under up to ${candidates} patches each`,
    `${formatCount(samples)} pictures, ${method}, at the ${at}, in ${formatSeconds(seconds)}`,
    ...describeChecks(checks),
    file,
  ].join('\n');
}
