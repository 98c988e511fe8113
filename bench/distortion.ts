// tessera bench distortion: how long measuring takes, whether `linear` ranks as `exact` does, and what accuracy the chosen patches keep
// without any training. Needs ../shared/data; says so where it is absent.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { measureAdditivity } from '../src/block/additivity.js';
import { planMeasurement } from '../src/block/distort.js';
import { openExact } from '../src/block/distort-exact.js';
import type { Distortion } from '../src/block/distortion-file.js';
import { spearman } from '../src/block/rank.js';
import { chooseInRounds } from '../src/block/rounds.js';
import {
  dreluCost,
  fullCost,
  type OptimalSelection,
  type Selection,
  selectByLayer,
  selectOptimal,
  selectUniform,
  withoutConstants,
} from '../src/block/select.js';
import { checkPictures } from '../src/cli/distortion-checks.js';
import { writeWhole } from '../src/cli/files.js';
import { formatCount, formatSeconds, formatShare } from '../src/cli/format.js';
import { additivityPlot, distortionMap } from '../src/cli/report/figures.js';
import { describeLayers } from '../src/cli/report/layers.js';
import { linePlot } from '../src/cli/report/plots.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import type { Patch } from '../src/model/program.js';
import { measure, measureLinear, openNetwork, type Pictures, probes, type TrainedNetwork, top1, withChoice } from './_distortions.js';
import { type BenchOptions, benchOptions, printRows } from './_parties.js';

const samples = 256;
/** Pictures for the exact distortion. */
const exactSamples = 32;
/** Times that patches are measured again under the last choice. */
const again = 2;

const budgets: readonly { readonly share: number; readonly uniform: readonly Patch[] }[] = [
  {
    share: 0.5,
    uniform: [
      [1, 2],
      [2, 1],
    ],
  },
  { share: 0.25, uniform: [[2, 2]] },
  { share: 0.125, uniform: [[2, 4]] },
  { share: 0.0625, uniform: [[4, 4]] },
];

interface Row {
  readonly case: string;
  readonly images: number;
  readonly seconds?: number;
  readonly processorSeconds?: number;
  readonly drelus?: number;
  readonly top1?: number;
  /** Spearman's, over `pairs` of channel and patch. */
  readonly correlation?: number;
  readonly pairs?: number;
}

/** The nine patches with sides 1, 2 and 4: exact distortions take a run of the network for each. */
const isOfNine = ([h, w]: Patch): boolean => [1, 2, 4].includes(h) && [1, 2, 4].includes(w);

const onlyNine = (distortion: Distortion): Distortion => ({
  ...distortion,
  values: distortion.values.map((value, i) => (isOfNine(distortion.patches[i % distortion.patches.length]!) ? value : Number.NaN)),
});

/** Ways to choose that are drawn: the ends of their rows' names. */
const drawn = [`knapsack, measured again ${again} times`, 'knapsack', 'one patch a layer'];

/** Accuracy against budget, distortions by layer and patch, and whether they add up. */
async function drawAll({ compute, network, rows }: Bench, distortion: Distortion, pictures: Pictures, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const full = fullCost(distortion, dreluCost);
  const of = (matches: (name: string) => boolean) =>
    rows.flatMap(({ case: name, drelus, top1: right }): [number, number][] =>
      drelus === undefined || right === undefined || !matches(name) ? [] : [[drelus / full, right]],
    );
  const everything = of((name) => name === 'every element compared');
  const line = (name: string, end: (text: string) => boolean, dashed = false) => ({ name, points: [...everything, ...of(end)], dashed });
  const accuracy = await linePlot({
    title: 'Right answers against budget, without any training',
    description: `ResNet-20 on CIFAR-10, ${network.test.count} test pictures: share named right against the share of DReLUs kept.`,
    x: { label: 'DReLUs kept', scale: 'log', format: '.3~p', ticks: [1, ...budgets.map(({ share }) => share)] },
    y: { label: 'right answers', format: '.0%' },
    series: [
      ...drawn.map((name) => line(name, (text) => text.endsWith(`: ${name}`), name === 'one patch a layer')),
      line('one patch everywhere', (text) => text.endsWith(' everywhere'), true),
    ],
  });
  const blocks = withoutConstants(distortion);
  const checked = { images: pictures.images.subarray(0, (checkPictures * pictures.images.length) / pictures.count), count: checkPictures };
  const additivity = await measureAdditivity(compute, planMeasurement(network.graph), blocks, checked, { choices: 40, seed: 1 });
  const layers = describeLayers(distortion, knapsack(blocks, 0.125).patches);
  await writeWhole(join(folder, 'accuracy.svg'), accuracy);
  await writeWhole(join(folder, 'additivity.svg'), await additivityPlot({ additivity }));
  await writeWhole(join(folder, 'distortion.svg'), await distortionMap({ layers }));
}

interface Bench {
  readonly compute: Compute;
  readonly network: TrainedNetwork;
  readonly rows: Row[];
}

async function addChoice({ compute, network, rows }: Bench, name: string, distortion: Distortion, selection: Selection): Promise<void> {
  const right = await top1(compute, withChoice(network.graph, distortion, selection), network.test);
  rows.push({ case: name, images: network.test.count, drelus: selection.cost, top1: right });
}

const knapsack = (distortion: Distortion, share: number): OptimalSelection =>
  selectOptimal(distortion, dreluCost, Math.floor(share * fullCost(distortion, dreluCost)));

/** Rankings over all channels and the nine patches, and the choices among these: `exact`, and `linear` with what fits into its time. */
async function compare(bench: Bench, linear: Distortion, processorSeconds: number): Promise<void> {
  const { compute, network, rows } = bench;
  const measurement = planMeasurement(network.graph);
  const meter = await openExact(compute, measurement, { wanted: (_, patch) => isOfNine(patch) });
  const made = { model: network.hash, method: 'exact' as const };
  const exact = await measure(measurement, meter, await network.train(exactSamples), made);
  const compared = Array.from(linear.values.keys()).filter((i) => {
    const patch = linear.patches[i % linear.patches.length]!;
    return isOfNine(patch) && patch[0] * patch[1] > 1 && !Number.isNaN(linear.values[i]!);
  });
  const correlation = spearman(
    compared.map((i) => linear.values[i]!),
    compared.map((i) => exact.distortion.values[i]!),
  );
  const { distortion: _, ...times } = exact;
  rows.push({ case: 'exact, all channels, {1, 2, 4}² patches', images: exactSamples, ...times, correlation, pairs: compared.length });
  const fitting = Math.min(8192, Math.round((samples * exact.processorSeconds) / processorSeconds));
  const longer = await measureLinear(compute, measurement, await network.train(fitting), network.hash);
  rows.push({ case: 'linear, in the time of exact', images: fitting, seconds: longer.seconds, processorSeconds: longer.processorSeconds });
  for (const { share } of budgets) {
    const name = `${formatShare(share)}, {1, 2, 4}² patches`;
    await addChoice(bench, `${name}: exact, ${exactSamples} pictures`, linear, knapsack(onlyNine(exact.distortion), share));
    const many = `${name}: linear, ${formatCount(fitting)} pictures`;
    await addChoice(bench, many, linear, knapsack(onlyNine(longer.distortion), share));
  }
}

/** The last of the choices made in rounds. */
async function inRounds({ compute, network }: Bench, pictures: Pictures, share: number): Promise<Selection> {
  const rounds = await chooseInRounds(
    network.graph,
    {},
    again,
    async (measurement) => (await measureLinear(compute, measurement, pictures, network.hash)).distortion,
    (distortion) => knapsack(withoutConstants(distortion), share),
  );
  return rounds.at(-1)!.selection;
}

async function accuracies(bench: Bench, distortion: Distortion, pictures: Pictures): Promise<void> {
  const { compute, network, rows } = bench;
  const full = fullCost(distortion, dreluCost);
  const all = await top1(compute, network.graph, network.test);
  rows.push({ case: 'every element compared', images: network.test.count, drelus: full, top1: all });
  for (const { share, uniform } of budgets) {
    const name = formatShare(share);
    await addChoice(bench, `${name}: knapsack, measured again ${again} times`, distortion, await inRounds(bench, pictures, share));
    await addChoice(bench, `${name}: knapsack`, distortion, knapsack(withoutConstants(distortion), share));
    await addChoice(bench, `${name}: knapsack, identity and zero too`, distortion, knapsack(distortion, share));
    await addChoice(bench, `${name}: one patch a layer`, distortion, selectByLayer(distortion, dreluCost, Math.floor(share * full)));
    for (const patch of uniform) {
      await addChoice(bench, `${name}: ${patch.join(' × ')} everywhere`, distortion, selectUniform(distortion, dreluCost, patch));
    }
  }
}

async function measureNetwork(network: TrainedNetwork, { threads, plots, match = '' }: BenchOptions): Promise<Row[]> {
  const compute = await createNodeCompute({ threads, joined: true });
  const bench: Bench = { compute, network, rows: [] };
  try {
    const measurement = planMeasurement(network.graph);
    const pictures = await network.train(samples);
    const { distortion, ...times } = await measureLinear(compute, measurement, pictures, network.hash);
    const name = `linear, ${probes} probes, ${measurement.rows} channels, up to ${measurement.patches.length} patches`;
    bench.rows.push({ case: name, images: samples, ...times });
    await accuracies(bench, distortion, pictures);
    if (plots !== undefined) await drawAll(bench, distortion, pictures, plots);
    // The longest part: --case choices leaves it out.
    if ('exact'.includes(match)) await compare(bench, distortion, times.processorSeconds);
    return bench.rows;
  } finally {
    await compute.close();
  }
}

const options = benchOptions();
const network = await openNetwork('resnet20');
const rows = network === undefined ? [] : await measureNetwork(network, options);

printRows(rows, options, {
  'ResNet-20, CIFAR-10': (row) => row.case,
  pictures: (row) => formatCount(row.images),
  time: (row) => (row.seconds === undefined ? '' : formatSeconds(row.seconds)),
  processors: (row) => (row.processorSeconds === undefined ? '' : formatSeconds(row.processorSeconds)),
  DReLUs: (row) => (row.drelus === undefined ? '' : formatCount(row.drelus)),
  'top-1': (row) => (row.top1 === undefined ? '' : formatShare(row.top1)),
  "Spearman's ρ": (row) => (row.correlation === undefined ? '' : `${row.correlation.toFixed(4)} (${row.pairs})`),
});
