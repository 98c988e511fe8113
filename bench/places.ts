// tessera bench places: what accuracy a choice keeps when distortion is taken at the scores or before the global pooling, and with a
// network's max pools replaced by average pools. Without any training. Needs ../shared/data; says so where it is absent.
import { type MeasuringPlace, planMeasurement } from '../src/block/distort.js';
import { dreluCost, fullCost, selectOptimal, withoutConstants } from '../src/block/select.js';
import { formatCount, formatShare } from '../src/cli/format.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { maxPoolsToMeans } from '../src/model/passes/replace.js';
import { measureLinear, openNetwork, type TrainedNetwork, top1, withChoice } from './_distortions.js';
import { benchOptions, printRows } from './_parties.js';

const samples = 256;
const budgets = [0.5, 0.25, 0.125, 0.0625];

interface Row {
  readonly network: string;
  readonly at: MeasuringPlace;
  readonly drelus: number;
  /** Share of the test pictures named right with every element compared, and by budget. */
  readonly plain: number;
  readonly top1: readonly number[];
}

async function measure(compute: Compute, name: string, network: TrainedNetwork, at: MeasuringPlace): Promise<Row> {
  const measurement = planMeasurement(network.graph, { at });
  const measured = await measureLinear(compute, measurement, await network.train(samples), network.hash);
  const distortion = withoutConstants(measured.distortion);
  const drelus = fullCost(distortion, dreluCost);
  const right: number[] = [];
  for (const share of budgets) {
    const chosen = selectOptimal(distortion, dreluCost, Math.floor(share * drelus));
    right.push(await top1(compute, withChoice(network.graph, distortion, chosen), network.test));
  }
  return { network: name, at, drelus, plain: await top1(compute, network.graph, network.test), top1: right };
}

async function measureAll(threads: number): Promise<readonly Row[]> {
  const resnet = await openNetwork('resnet20');
  const minionn = await openNetwork('minionn');
  if (resnet === undefined || minionn === undefined) return [];
  const compute = await createNodeCompute({ threads });
  try {
    const means = { ...minionn, graph: maxPoolsToMeans(minionn.graph) };
    return [
      await measure(compute, 'ResNet-20, CIFAR-10', resnet, 'logits'),
      await measure(compute, 'ResNet-20, CIFAR-10', resnet, 'features'),
      await measure(compute, 'MiniONN, MNIST', minionn, 'logits'),
      await measure(compute, 'MiniONN, MNIST, average pools', means, 'logits'),
    ];
  } finally {
    await compute.close();
  }
}

const options = benchOptions();

printRows(await measureAll(options.threads), options, {
  '1,000 test pictures': (row) => row.network,
  'distortion at': (row) => row.at,
  DReLUs: (row) => formatCount(row.drelus),
  'all of them': (row) => formatShare(row.plain),
  ...Object.fromEntries(budgets.map((share, i) => [formatShare(share), (row: Row) => formatShare(row.top1[i]!)])),
});
