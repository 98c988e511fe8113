// --refine annealing: a choice made better by measuring candidates on pictures.
import { type Annealed, type AnnealMeasure, anneal } from '../block/anneal.js';
import type { Distortion } from '../block/distortion-file.js';
import type { CostOf, Selection } from '../block/select.js';
import { createSequence } from '../data/generated.js';
import { UsageError } from '../errors.js';
import { simplify } from '../model/passes/simplify.js';
import { openCompute } from './compute.js';
import { findModel, inputShapeOf } from './model.js';
import type { CommonOptions } from './options.js';
import { checkShape, openPictures, type PictureOptions, type Pictures } from './pictures.js';
import type { Task } from './task.js';

export interface RefineOptions extends CommonOptions, PictureOptions {
  readonly model?: string;
  readonly seed: number;
  readonly refineSeconds?: number;
  readonly refineSteps?: number;
  readonly refineMeasure: AnnealMeasure;
  /** Opened already; else those of --data are. */
  readonly pictures?: Pictures;
}

/** What a refinement did, for reports. */
export type Refined = Omit<Annealed, 'selection'> & { readonly pictures: number };

/** Pictures that candidates are measured on where the call sets no limit. */
const defaultPictures = 256;

/**
 * Refines a selection on pictures of --data, spread over the set. Ctrl-C ends it: `keep` is given the best choice until then.
 * @throws UsageError without --model or --data; DataError for pictures that do not fit, or have no labels for the measure "loss".
 */
export async function refine(
  distortion: Distortion,
  selection: Selection,
  { costOf, room }: { readonly costOf: CostOf; readonly room: number },
  options: RefineOptions,
  task: Task,
  keep: (best: Selection) => Promise<void>,
): Promise<{ readonly selection: Selection; readonly refined: Refined }> {
  const { onnx, description } = await findModel(options.model ?? missing('--model', 'the network'));
  if (options.data === undefined && options.pictures === undefined) missing('--data', 'pictures');
  if (onnx === undefined || onnx.hash !== distortion.meta.model) {
    const hint = `Give the ONNX file with the hash ${distortion.meta.model.slice(0, 16)}….`;
    throw new UsageError('the distortion was measured on another model', { code: 'wrong-model', where: '--model', hint });
  }
  const { limit = defaultPictures, ...all } = options;
  const pictures = options.pictures ?? (await openPictures([], all, task.output, description));
  const { dataset } = pictures;
  const graph = simplify(onnx.readGraph(inputShapeOf(onnx, pictures)));
  checkShape(dataset, graph.input.shape);
  const chosen = spread(dataset.count, limit, options.seed);
  const images = new Float32Array(chosen.length * graph.input.shape.reduce((a, b) => a * b, 1));
  for (const [i, index] of chosen.entries()) images.set(await dataset.read(index, 1), (i * images.length) / chosen.length);
  const labels = dataset.labels === undefined ? {} : { labels: chosen.map((index) => dataset.labels![index]!) };
  if (options.refineMeasure === 'loss' && dataset.labels === undefined) missing('--data', 'pictures with labels');
  const progress = task.output.progress('refining', 100);
  const running = anneal(
    await openCompute(task, options.threads, { joined: true }),
    graph,
    distortion,
    selection,
    costOf,
    room,
    { images, count: chosen.length, ...labels },
    {
      seed: options.seed,
      measure: options.refineMeasure,
      signal: task.signal,
      progress: ({ done }) => progress.update(Math.floor(100 * done)),
      ...(options.refineSteps === undefined ? {} : { steps: options.refineSteps }),
      ...(options.refineSeconds === undefined ? {} : { seconds: options.refineSeconds }),
    },
  );
  const withWindows = (best: Selection): Selection => (selection.windows === undefined ? best : { ...best, windows: selection.windows });
  task.atEnd(async () => {
    if (task.signal.aborted) await running.then(({ selection: best }) => keep(withWindows(best)));
  });
  const { selection: best, ...refined } = await running;
  progress.end();
  return { selection: withWindows(best), refined: { ...refined, pictures: chosen.length } };
}

function missing(where: string, what: string): never {
  throw new UsageError(`--refine needs ${what}`, { code: 'usage', where, hint: 'Add --model net.onnx and --data with training pictures.' });
}

/** Places of `limit` pictures, one from each of as many equal stretches of the set, drawn by the seed. */
function spread(count: number, limit: number, seed: number): readonly number[] {
  const random = createSequence(seed);
  const wanted = Math.min(count, limit);
  return Array.from({ length: wanted }, (_, i) => Math.floor(((i + random()) * count) / wanted));
}
