// tessera bench correction: answers that choices keep with and without correction, by budget, and with one more round of measuring under the
// last choice. Without labels and without training. Needs ../shared/data; says so where it is absent.
import { correct } from '../src/block/correct.js';
import { chooseInRounds } from '../src/block/rounds.js';
import { dreluCost, fullCost, selectOptimal, selectUniform, toSpec, withoutConstants } from '../src/block/select.js';
import { formatSeconds, formatShare } from '../src/cli/format.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { applyPatches, type LayerPatches } from '../src/model/passes/lower.js';
import type { Patch } from '../src/model/program.js';
import { patchesOf } from '../src/model/spec.js';
import { measureLinear, openNetwork, type TrainedNetwork, top1 } from './_distortions.js';
import { benchOptions, printRows } from './_parties.js';

const measured = 256;
const fitted = 512;
const budgets = [0.5, 0.25, 0.125, 0.0625];
/** Patches everywhere that cost as much as the budget, or a little more. */
const uniform: readonly Patch[] = [
  [1, 2],
  [2, 2],
  [2, 4],
  [4, 4],
];

type Choices = readonly LayerPatches[];

interface Row {
  readonly choice: string;
  readonly corrected: boolean;
  /** Share of the test pictures named right, by budget. */
  readonly top1: readonly number[];
  /** Seconds of the corrections, all budgets together. */
  readonly seconds: number;
}

/** Choices by budget: in one round, in two, and without knowing anything. */
async function choose(compute: Compute, network: TrainedNetwork): Promise<Readonly<Record<string, Choices>>> {
  const pictures = await network.train(measured);
  const [once, again, blind]: [LayerPatches[], LayerPatches[], LayerPatches[]] = [[], [], []];
  for (const [i, share] of budgets.entries()) {
    const rounds = await chooseInRounds(
      network.graph,
      {},
      1,
      async (measurement) => withoutConstants((await measureLinear(compute, measurement, pictures, network.hash)).distortion),
      (distortion) => selectOptimal(distortion, dreluCost, Math.floor(share * fullCost(distortion, dreluCost))),
    );
    const patches = rounds.map(({ distortion, selection }) => patchesOf(toSpec(distortion, selection.patches, {})));
    const { distortion } = rounds[0]!;
    once.push(patches[0]!);
    again.push(patches[1]!);
    blind.push(patchesOf(toSpec(distortion, selectUniform(distortion, dreluCost, uniform[i]!).patches, {})));
  }
  return { 'uniform patches': blind, knapsack: once, 'knapsack, measured again': again };
}

async function measureAll(threads: number): Promise<readonly Row[]> {
  const network = await openNetwork('resnet20');
  if (network === undefined) return [];
  const compute = await createNodeCompute({ threads, joined: true });
  const { graph, test } = network;
  const { images, count } = await network.train(fitted);
  const rows: Row[] = [];
  try {
    for (const [choice, specs] of Object.entries(await choose(compute, network))) {
      const [plain, corrected]: [number[], number[]] = [[], []];
      let seconds = 0;
      for (const patches of specs) {
        plain.push(await top1(compute, applyPatches(graph, patches), test));
        const start = performance.now();
        const changed = await correct(compute, graph, patches, images, count);
        seconds += (performance.now() - start) / 1000;
        corrected.push(await top1(compute, applyPatches(changed, patches), test));
      }
      rows.push({ choice, corrected: false, top1: plain, seconds: 0 }, { choice, corrected: true, top1: corrected, seconds });
    }
    return rows;
  } finally {
    await compute.close();
  }
}

const options = benchOptions();

printRows(await measureAll(options.threads), options, {
  'ResNet-20, 1,000 test pictures': (row) => row.choice,
  corrected: (row) => (row.corrected ? 'yes' : 'no'),
  ...Object.fromEntries(budgets.map((share, i) => [formatShare(share), (row: Row) => formatShare(row.top1[i]!)])),
  'one correction': (row) => (row.corrected ? formatSeconds(row.seconds / budgets.length) : ''),
});
