// What the benchmarks of fine-tuning share: cells, each a choice of patches and a way to train, which are kept as they are finished. A bench that
// was killed goes on where it was, within a cell too, from the training's checkpoint.
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { finetune } from '../src/cli/finetuning.js';
import { formatCount, formatSeconds, formatShare } from '../src/cli/format.js';
import { readOnnx } from '../src/cli/model.js';
import { fineTuningDefaults } from '../src/cli/training-options.js';
import { DataError } from '../src/errors.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import type { Graph } from '../src/model/graph.js';
import { applyPatches } from '../src/model/passes/lower.js';
import { simplify } from '../src/model/passes/simplify.js';
import { type Choice, type Chooser, chosenSpec } from './_chosen.js';
import { type NetworkName, openNetwork, top1 } from './_distortions.js';
import { openKept } from './_kept.js';
import { type BenchOptions, commandTask } from './_parties.js';

/** How a cell is trained, beside what is fine-tuning's default. */
export interface Way {
  /** Training pictures, from the first; some are set apart to choose the epoch by. */
  readonly pictures: number;
  readonly epochs: number;
  readonly distill: boolean;
  /** Whether it begins with corrected weights. */
  readonly correct: boolean;
  /** Whether batch norm is put back, which is fine-tuning's default. */
  readonly batchNorm?: boolean;
  readonly weightDecay?: number;
  /** Epochs over which plain ReLU fades. */
  readonly softStart?: number;
  /** Stages over which the patches come in, a share of the channels at a time; 1 where absent. */
  readonly stages?: number;
  /** Bits of the ring whose rounding is imitated. */
  readonly qat?: number;
}

export interface Cell {
  readonly choice: Choice;
  readonly way: Way;
}

/** What a cell comes to. Scores are of the test pictures. */
export interface Outcome {
  readonly original: number;
  /** Under the patches, without any training. */
  readonly before: number;
  readonly after: number;
  readonly drelus: number;
  /** Of the network as it is. */
  readonly full: number;
  readonly tests: number;
  readonly trained: number;
  /** Of training, without choosing, correcting and scoring. */
  readonly seconds: number;
  /** One-minute load average at the end. */
  readonly load: number;
  readonly finished: string;
}

/** Goes into what results are kept by: raised when training or its defaults change what cells come to. */
const version = 3;
/** Pictures of the training set that choose the epoch. */
const validation = 500;
const checkpointSeconds = 20;

export interface Cells {
  /** What a cell came to where it is finished. */
  find(cell: Cell): Outcome | undefined;
  /** The same, trained where it is not. */
  finish(cell: Cell): Promise<Outcome>;
  /** The network of a cell and its spec, trained again where the outcome alone was kept. */
  files(cell: Cell): Promise<{ readonly model: string; readonly spec: string }>;
  /** Score of a network on the test pictures. */
  score(graph: Graph): Promise<number>;
  readonly chooser: Chooser;
  end(): Promise<void>;
}

/** Opens a network for cells; undefined where the shared data is absent. */
export async function openCells(name: NetworkName, { threads, kept: folder }: BenchOptions): Promise<Cells | undefined> {
  const network = await openNetwork(name);
  if (network === undefined) return undefined;
  const { task, end } = commandTask();
  const compute = await createNodeCompute({ threads, joined: true });
  task.atEnd(() => compute.close());
  const kept = await openKept(folder);
  const chooser: Chooser = { compute, network, kept, task, threads };
  const remembered = new Map<string, Float32Array>();
  const score = (graph: Graph): Promise<number> => top1(compute, graph, network.test);
  const defaults = [true, false].map((batchNorm) => fineTuningDefaults(network.test, batchNorm));
  const keyOf = (cell: Cell): unknown => ['cell', version, network.hash, defaults, cell];
  const train = (cell: Cell): Promise<Outcome> => trainCell({ ...chooser, remembered }, cell, keyOf(cell), score);
  return {
    find: (cell) => kept.find(keyOf(cell)),
    finish: (cell) => kept.once(keyOf(cell), () => train(cell)),
    files: async (cell) => {
      const files = { model: kept.file(keyOf(cell), '.onnx'), spec: kept.file(keyOf(cell), '.spec.json') };
      if (!Object.values(files).every(existsSync)) await train(cell);
      return files;
    },
    ...{ score, chooser, end },
  };
}

/** Chooses, fine-tunes from the checkpoint that a killed run left, and scores. */
async function trainCell(
  chooser: Chooser & { readonly remembered: Map<string, Float32Array> },
  { choice, way }: Cell,
  key: unknown,
  score: Cells['score'],
): Promise<Outcome> {
  const { compute, network, kept, task, threads, remembered } = chooser;
  const { path, patches, drelus, full } = await chosenSpec(chooser, choice);
  const { pictures, weightDecay, softStart = 0, qat, ...rest } = way;
  const checkpoint = kept.file(key, '.training');
  const tune = () =>
    finetune(
      network.model,
      {
        ...{ json: false, quiet: true, threads, seed: 1, spec: path, remembered, replace: [], stages: 1, softStart, ...rest },
        ...{ data: network.trainPath, limit: pictures, validateLimit: validation, output: kept.file(key, '.onnx') },
        ...{ checkpoint, checkpointSeconds, resume: true },
        ...(weightDecay === undefined ? {} : { weightDecay }),
        ...(qat === undefined ? {} : { qat }),
      },
      task,
      compute,
    );
  const tuned = await tune().catch(async (error) => {
    // Of an earlier version of the trainer.
    if (!(error instanceof DataError) || error.code !== 'bad-checkpoint') throw error;
    await rm(checkpoint, { recursive: true });
    return tune();
  });
  const graph = simplify((await readOnnx(tuned.file)).readGraph());
  const [original, before] = [await score(network.graph), await score(applyPatches(network.graph, patches))];
  const outcome: Outcome = {
    ...{ original, before, after: await score(applyPatches(graph, patches)), drelus, full, tests: network.test.count },
    ...{ trained: tuned.images.training, seconds: tuned.epochs.reduce((sum, { seconds }) => sum + seconds, 0), load: loadavg()[0]! },
    ...{ finished: new Date().toISOString().slice(0, 16) },
  };
  await rm(checkpoint, { recursive: true, force: true });
  return outcome;
}

/** With this, cells take some two minutes on two quiet processors: `curve` an hour and a half, `ablation` and `qat` half of one. */
const usual = { pictures: 10_000, epochs: 3 };

/** The way to train that the others are changes of. */
export function wayOf({ pictures = usual.pictures, epochs = usual.epochs }: BenchOptions): Way {
  return { pictures, epochs, distill: true, correct: true };
}

/** Outcomes by cell in the order of `cells`; undefined for those that were not begun because it is late. `order` is that of training. */
export async function finishAll<T extends Cell>(
  { find, finish }: Cells,
  cells: readonly T[],
  isLate: () => boolean,
  order: readonly T[] = cells,
): Promise<ReadonlyMap<T, Outcome>> {
  const outcomes = new Map<T, Outcome>();
  for (const cell of order) {
    const outcome = isLate() ? find(cell) : await finish(cell);
    if (outcome === undefined) continue;
    outcomes.set(cell, outcome);
    process.stderr.write(`${JSON.stringify({ ...cell, ...outcome })}\n`);
  }
  return new Map(cells.flatMap((cell) => (outcomes.has(cell) ? [[cell, outcomes.get(cell)!] as const] : [])));
}

/** Columns that every table of cells has. */
export const outcomeColumns = {
  DReLUs: ({ drelus }: Outcome) => formatCount(drelus),
  before: ({ before }: Outcome) => formatShare(before),
  after: ({ after }: Outcome) => formatShare(after),
  'points lost': ({ original, after }: Outcome) => (100 * (original - after)).toFixed(1),
  'won back': ({ original, before, after }: Outcome) => (original > before ? formatShare((after - before) / (original - before)) : ''),
  trained: ({ seconds }: Outcome) => formatSeconds(seconds),
  load: ({ load }: Outcome) => load.toFixed(0),
  on: ({ finished }: Outcome) => finished.slice(0, 10),
};

/** Says when no further cell is to be begun: after --minutes. */
export function untilLate({ minutes }: BenchOptions): () => boolean {
  const end = performance.now() + 60_000 * (minutes ?? Number.POSITIVE_INFINITY);
  return () => performance.now() >= end;
}
