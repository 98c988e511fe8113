// A network compiled and answered privately once or more, as the tables of networks and of growth measure it.
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { hashFolder } from '../src/cli/model.js';
import type { StoredModel } from '../src/cli/model-folder.js';
import { estimator } from '../src/cli/private-run.js';
import type { Compute } from '../src/kernel/compute.js';
import type { Calibration } from '../src/model/calibrate.js';
import { type CompileOptions, compileGraph } from '../src/model/compile.js';
import { programHash } from '../src/model/files.js';
import type { Graph } from '../src/model/graph.js';
import { median, type PartiesOptions, withParties } from './_parties.js';

/** Compiles without files, for parties on this machine. */
export async function compileModel(
  compute: Compute,
  name: string,
  graph: Graph,
  calibration: Calibration,
  options: CompileOptions = {},
): Promise<StoredModel> {
  const { program, weights, report } = await compileGraph(compute, graph, calibration, options);
  const hash = await programHash(program);
  const { clipped, fractionBits, drelus, comparisons } = report;
  const calibratedOn = { source: 'pictures', images: calibration.count, extraMarginBits: calibration.marginBits ?? 0 };
  return {
    compiled: { program, weights, description: { name }, hash },
    summary: { hash, ringBits: program.ringBits, fractionBits, drelus, comparisons, clipped, calibratedOn },
  };
}

export interface PhaseCost {
  readonly bytes: number;
  readonly seconds: number;
}

export interface PrivateRun {
  /** Of a batch; seconds are medians. */
  readonly offline: PhaseCost;
  readonly online: PhaseCost;
  /** Outputs of the last run, batch × outputs. */
  readonly logits: Float32Array;
  /** The most memory of any of the three parties. */
  readonly peakBytes: number;
}

/** Answers a batch `runs` times in three processes. The session is fresh: the first of several runs, which warms it, is left out. */
export async function runPrivately(
  model: StoredModel,
  images: Float32Array,
  batch: number,
  runs: number,
  options: PartiesOptions,
): Promise<PrivateRun> {
  return withParties(model, options, async (session) => {
    const outcomes = [];
    for (let run = 0; run < (runs === 1 ? 1 : runs + 1); run++) outcomes.push(await session.infer(images, batch));
    const counted = runs === 1 ? outcomes : outcomes.slice(1);
    const cost = estimator(session, options.suite ?? 'masked')(batch);
    const phase = (name: 'offline' | 'online'): PhaseCost => ({
      bytes: cost[name].bytes,
      seconds: median(counted.map(({ seconds }) => seconds[name])),
    });
    const peaks = Object.values(await session.peakBytes());
    return { offline: phase('offline'), online: phase('online'), logits: outcomes.at(-1)!.logits, peakBytes: Math.max(...peaks) };
  });
}

/** What measured seconds depend on beside their settings: this machine's processors, and the programs. For keys of what is kept. */
export async function buildKey(): Promise<string> {
  const programs = await hashFolder(fileURLToPath(new URL('../src', import.meta.url)));
  return `${cpus().length} ${cpus()[0]?.model ?? ''} ${process.version} ${programs.slice(0, 16)}`;
}
