// How right the choices of `optimize` are, and what they cost, beside simpler choices.
import { hostname } from 'node:os';
import { mostElements } from '../block/candidates.js';
import type { Distortion } from '../block/distortion-file.js';
import { dreluCost, type Selection, selectByLayer, selectUniform } from '../block/select.js';
import { batches } from '../data/dataset.node.js';
import { forward } from '../model/forward.js';
import type { Graph } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import { estimateSuite } from './estimating.js';
import { openMachine } from './machine.js';
import { findModel, type OpenModel, openModel } from './model.js';
import type { Work } from './optimize-work.js';
import type { Cost } from './report/data.js';
import { activated } from './run-report.js';
import { createScores, type Score } from './scores.js';
import { scoped } from './task.js';
import { packageVersion } from './version.js';

/** Pictures that are answered at a time. */
const batchSize = 50;

/** What a network answers, by batches of pictures. */
type Answer = (images: Float32Array, count: number) => Promise<Float32Array>;

/** Scores of several networks in one pass; they agree with the network as it was given. */
export async function scoreAll({ graph, validation, compute, task }: Work, answers: readonly Answer[]): Promise<readonly Score[]> {
  const scores = answers.map(() => createScores(validation));
  const progress = task.output.progress('evaluating', validation.dataset.count);
  for await (const { start, count, images } of batches(validation.dataset, batchSize)) {
    task.signal.throwIfAborted();
    const plain = await forward(compute, graph, images, count);
    for (const [i, answer] of answers.entries()) await scores[i]!.add(start, count, await answer(images, count), plain);
    progress.update(start + count);
  }
  progress.end();
  return scores.map((score) => score.result());
}

/** The float network under patches, or another. */
export const inFloat =
  ({ compute }: Work, graph: Graph): Answer =>
  (images, count) =>
    forward(compute, graph, images, count);

/** The fixed-point simulation of a compiled network. */
export const inFixedPoint =
  ({ compiled, fixedPoint }: OpenModel): Answer =>
  async (images, count) =>
    activated(compiled.program, (await fixedPoint(images, count)).logits, count);

/** The network compiled with a spec, on training pictures, as it would be for a run. */
export async function compileFor(work: Work, { path = work.path, spec }: { path?: string; spec?: string } = {}): Promise<OpenModel> {
  const { options, task, compute, train } = work;
  const settings = { ...options, ...(spec === undefined ? {} : { spec }) };
  return openModel(await findModel(path), settings, task, compute, { dataset: train }, 'calibrate');
}

/** Bytes of every link and seconds on every network. */
export async function costsOf({ options: { suite, threads }, folder, task }: Work, { compiled: { program } }: OpenModel): Promise<Cost> {
  const settings = { suite, threads, ringBits: program.ringBits };
  // Kept with the results: rows are to differ by what they compute, not by how busy the machine was when it was measured.
  const machine = await folder.once('machine', [settings, hostname(), packageVersion()], () =>
    scoped(task, (own) => openMachine(settings, own)),
  );
  return { suite, ...estimateSuite(program, suite, 1, machine) };
}

export interface NamedSelection {
  readonly name: string;
  readonly selection: Selection;
}

/** One patch everywhere with about as many DReLUs as `kept`: of those with sides that are powers of two the nearest, the squarest first. */
export function nearestUniform(distortion: Distortion, kept: number): NamedSelection {
  const sides = [1, 2, 4, 8, 16];
  const patches = sides.flatMap((height) => sides.map((width): Patch => [height, width])).filter(([h, w]) => h * w <= mostElements);
  const distance = (cost: number): number => Math.abs(Math.log(cost / kept));
  const slimness = ([height, width]: Patch): number => Math.abs(Math.log2(height / width) + 0.1);
  const all = patches.map((patch) => ({ patch, selection: selectUniform(distortion, dreluCost, patch) }));
  const [{ patch, selection }] = all.sort(
    (a, b) => distance(a.selection.cost) - distance(b.selection.cost) || slimness(a.patch) - slimness(b.patch),
  ) as [(typeof all)[number]];
  return { name: `${patch.join(' × ')} everywhere`, selection };
}

/** The knapsack's choice with the same patch for all channels of a layer. */
export function bestByLayer(distortion: Distortion, kept: number): NamedSelection {
  return { name: 'one patch a layer', selection: selectByLayer(distortion, dreluCost, kept) };
}
