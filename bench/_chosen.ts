// Choices of patches for the benchmarks of fine-tuning, kept as spec files: the knapsack's, and what it is compared with.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { planMeasurement } from '../src/block/distort.js';
import { type Distortion, readDistortion, writeDistortion } from '../src/block/distortion-file.js';
import {
  dreluCost,
  fullCost,
  measured,
  type Selection,
  selectOptimal,
  selectUniform,
  shuffle,
  toSpec,
  withoutConstants,
} from '../src/block/select.js';
import { writeWhole } from '../src/cli/files.js';
import { openSpending, optimal, type Spending } from '../src/cli/spending.js';
import type { Task } from '../src/cli/task.js';
import { createSequence } from '../src/data/generated.js';
import type { Compute } from '../src/kernel/compute.js';
import type { LayerPatches } from '../src/model/passes/lower.js';
import type { Patch } from '../src/model/program.js';
import { parseSpec, patchesOf } from '../src/model/spec.js';
import { measureLinear, type TrainedNetwork } from './_distortions.js';
import type { Kept } from './_kept.js';

/**
 * knapsack: least distortion without channels that are left alone or zero. again: after measuring once more under that choice. constants: with
 * such channels. shuffled: the knapsack's patches, dealt out anew in each layer. bytes: for the bytes of an inference under the knapsack's choice.
 * uniform: two patches of nearly the same cost everywhere.
 */
export type ChoiceKind = 'knapsack' | 'again' | 'constants' | 'shuffled' | 'bytes' | 'uniform';

export interface Choice {
  readonly kind: ChoiceKind;
  /** Of the comparisons of the network as it is. */
  readonly share: number;
  /** Pictures that distortion is measured on. */
  readonly samples: number;
}

export interface Chooser {
  readonly compute: Compute;
  readonly network: TrainedNetwork;
  readonly kept: Kept;
  readonly task: Task;
  readonly threads: number;
}

/** Goes into what results are kept by: raised when choices are made in another way. */
const version = 2;

interface Chosen {
  readonly drelus: number;
  readonly full: number;
}

/** The spec file of a choice, made where it is not kept, and its comparisons. */
export async function chosenSpec(
  chooser: Chooser,
  choice: Choice,
): Promise<Chosen & { readonly path: string; readonly patches: LayerPatches }> {
  const { kept, network } = chooser;
  const from = ['choice', version, network.hash, choice];
  const path = kept.file(from, '.spec.json');
  const distortion = await distortionFor(chooser, choice);
  if (!existsSync(path)) {
    const { patches } = await choose(chooser, distortion, choice);
    await writeWhole(path, JSON.stringify(toSpec(distortion, patches, { ...choice })));
  }
  const patches = patchesOf(parseSpec(await readFile(path, 'utf8'), path));
  const { cost } = measured(distortion, dreluCost, [...patches.values()].flat());
  return { drelus: cost, full: fullCost(distortion, dreluCost), path, patches };
}

const knapsack = (distortion: Distortion, share: number): Selection =>
  selectOptimal(withoutConstants(distortion), dreluCost, Math.floor(share * fullCost(distortion, dreluCost)));

async function distortionFor(chooser: Chooser, { kind, share, samples }: Choice): Promise<Distortion> {
  const first = await distortionUnder(chooser, samples, 'nothing');
  if (kind !== 'again') return first;
  return distortionUnder(chooser, samples, `${share}`, patchesOf(toSpec(first, knapsack(first, share).patches, {})));
}

async function distortionUnder(
  { compute, network, kept }: Chooser,
  samples: number,
  name: string,
  under?: LayerPatches,
): Promise<Distortion> {
  const from = ['distortion', version, network.hash, samples, name];
  const path = kept.file(from, '.npz');
  if (!existsSync(path)) {
    const measurement = planMeasurement(network.graph, under === undefined ? {} : { under });
    const { distortion } = await measureLinear(compute, measurement, await network.train(samples), network.hash);
    await writeWhole(path, writeDistortion(distortion));
  }
  return readDistortion(await readFile(path), path);
}

async function choose(chooser: Chooser, distortion: Distortion, { kind, share }: Choice): Promise<Selection> {
  const budget = Math.floor(share * fullCost(distortion, dreluCost));
  if (kind === 'uniform') return nearlyUniform(distortion, budget);
  if (kind === 'constants') return selectOptimal(distortion, dreluCost, budget);
  const best = knapsack(distortion, share);
  if (kind === 'knapsack' || kind === 'again') return best;
  if (kind === 'shuffled') return shuffle(distortion, dreluCost, best, createSequence(1));
  const spending = await openBytes(chooser, distortion);
  return spending.choose(await spending.costOf(best), optimal(withoutConstants(distortion), undefined));
}

/** Bytes of an inference by the masked suite, offline and online. */
function openBytes({ network, task, threads }: Chooser, distortion: Distortion): Promise<Spending> {
  const options = {
    json: false,
    quiet: true,
    threads,
    seed: 1,
    cache: false,
    suite: 'masked',
    phase: 'total',
    network: undefined,
  } as const;
  return openSpending(network.model, distortion, 'bytes', { ...options, data: network.trainPath }, task);
}

/** Bytes of an inference under a choice. */
export async function bytesOf(chooser: Chooser, choice: Choice): Promise<number> {
  return chooser.kept.once(['bytes', version, chooser.network.hash, choice], async () => {
    const { patches } = await chosenSpec(chooser, choice);
    const spending = await openBytes(chooser, await distortionUnder(chooser, choice.samples, 'nothing'));
    return spending.costOf({ patches: [...patches.values()].flat() });
  });
}

/** Sides of uniform patches, never more than twice as long as wide. */
const sides = [1, 2, 3, 4, 5, 6, 7, 8];

/**
 * The same patch everywhere, or where none costs just the budget, the next dearer and the next cheaper one for so many channels each,
 * spread evenly over every layer.
 */
export function nearlyUniform(distortion: Distortion, budget: number): Selection {
  const patches = sides.flatMap((h) => sides.filter((w) => w >= h && w <= 2 * h).map((w): Patch => [h, w]));
  const choices = patches.map((patch) => selectUniform(distortion, dreluCost, patch)).sort((a, b) => a.cost - b.cost);
  const cheap = choices.findLast(({ cost }) => cost <= budget) ?? choices[0]!;
  const dear = choices.find(({ cost }) => cost > budget) ?? cheap;
  const rows = cheap.patches.length;
  const mixed = (count: number): Selection =>
    measured(
      distortion,
      dreluCost,
      cheap.patches.map((patch, r) => (Math.floor(((r + 1) * count) / rows) > Math.floor((r * count) / rows) ? dear.patches[r]! : patch)),
    );
  let count = dear === cheap ? 0 : Math.floor((rows * (budget - cheap.cost)) / (dear.cost - cheap.cost));
  while (count > 0 && mixed(count).cost > budget) count--;
  return mixed(count);
}
