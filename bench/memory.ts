// tessera bench memory: the most resident memory of each of three processes on this machine, beside what `tessera estimate` predicts. All but the
// first network have random weights: memory depends on shapes. --case NAME keeps cases whose names contain it.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { formatBytes, formatCount } from '../src/cli/format.js';
import type { StoredModel } from '../src/cli/model-folder.js';
import { generatePictures } from '../src/data/generated.js';
import { plainPreprocessing } from '../src/data/preprocess.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { readGraph } from '../src/model/onnx.js';
import { predictMemory } from '../src/party/memory.js';
import { suites } from '../src/party/session.js';
import type { Role } from '../src/protocol/operation.js';
import { networkBytes } from './_networks.js';
import { benchOptions, printRows, withParties } from './_parties.js';
import { compileModel } from './_private.js';

interface Case {
  readonly name: string;
  /** A network of _networks.ts, and its pictures' shape; the ResNet-20 of models/ where there is none. */
  readonly network?: string;
  readonly shape?: readonly [number, number, number];
  readonly batch?: number;
}

const cases: readonly Case[] = [
  { name: 'ResNet-20, 32 × 32' },
  { name: 'ResNet-20, 32 × 32, batch of 16', batch: 16 },
  { name: 'VGG-16, 64 × 64', network: 'VGG-16', shape: [3, 64, 64] },
  { name: 'SqueezeNet 1.1, 224 × 224', network: 'SqueezeNet 1.1', shape: [3, 224, 224] },
  { name: 'ResNet-50, 224 × 224', network: 'ResNet-50', shape: [3, 224, 224] },
  { name: 'DeepLabV3 on MobileNetV2, 512 × 512', network: 'DeepLabV3 MobileNetV2', shape: [3, 512, 512] },
];

interface Row {
  readonly case: string;
  readonly weights: number;
  readonly elements: number;
  readonly predicted: Readonly<Record<Role, number>>;
  readonly measured: Readonly<Record<Role, number>>;
}

async function compile(compute: Compute, { network, shape, name }: Case): Promise<StoredModel> {
  const own = fileURLToPath(new URL('../../models/cifar10-resnet20.onnx', import.meta.url));
  const graph = readGraph(network === undefined ? readFileSync(own) : await networkBytes(compute, network, shape!));
  const images = generatePictures(graph.input.shape, plainPreprocessing(3), 1, 1);
  return compileModel(compute, name, graph, { images, count: 1 });
}

async function measure(each: Case, compute: Compute, threads: number): Promise<Row> {
  const model = await compile(compute, each);
  const { program, weights } = model.compiled;
  const { batch = 1 } = each;
  const size = program.tensors[program.input]!.shape.reduce((a, b) => a * b, batch);
  const measured = await withParties(model, { threads }, async (session) => {
    // The second finds what the first has left.
    for (let run = 0; run < 2; run++) await session.infer(new Float32Array(size).fill(0.5), batch);
    return (await session.peakBytes()) as Row['measured'];
  });
  return {
    case: each.name,
    weights: weights.layers.reduce((sum, layer) => sum + layer.weights.length, 0),
    elements: model.summary.drelus,
    predicted: predictMemory(program, suites.masked!, batch)!,
    measured,
  };
}

const options = benchOptions();
const compute = await createNodeCompute({ threads: options.threads });
const rows: Row[] = [];
for (const each of cases) {
  if (options.match !== undefined && !each.name.includes(options.match)) continue;
  rows.push(await measure(each, compute, options.threads));
}
await compute.close();

const both =
  (role: Role) =>
  ({ measured, predicted }: Row): string =>
    `${formatBytes(measured[role])} (${formatBytes(predicted[role])})`;

printRows(rows, options, {
  network: (row) => row.case,
  weights: (row) => formatCount(row.weights),
  activations: (row) => formatCount(row.elements),
  'client (predicted)': both('client'),
  'server (predicted)': both('server'),
  'provider (predicted)': both('provider'),
});
