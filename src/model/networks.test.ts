// The real networks of ../shared/data: read, run in float against their expected outputs, compiled, simulated.
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noise } from '../../test/model/onnx.js';
import { type Dataset, loadDataset } from '../data/dataset.node.js';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { decodeFixed, encodeFixed } from '../ring/fixed.js';
import { compileGraph } from './compile.js';
import { forward } from './forward.js';
import { inspectModel } from './inspect.js';
import { readGraph, readModel } from './onnx.js';
import { simulate } from './simulate.js';

const folder = '../shared/data';
const present = existsSync(`${folder}/cifar10/resnet20.onnx`);
if (!present) process.stdout.write(`networks.test.ts: skipped, ${folder} is not there\n`);

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

interface Network {
  readonly file: string;
  /** Pictures tested, and pictures after them to calibrate on; where none are left the tested ones serve. */
  readonly tested: number;
  readonly calibration: number;
  readonly drelus: number;
  /** Greatest error of a logit, as a share of the greatest logit. */
  readonly error: number;
}

const networks: readonly Network[] = [
  { file: 'cifar10/resnet20', tested: 20, calibration: 32, drelus: 188416, error: 0.0015 },
  { file: 'cifar10/resnet32', tested: 20, calibration: 16, drelus: 303104, error: 0.0015 },
  { file: 'cifar10/minionn-relu', tested: 20, calibration: 16, drelus: 173056, error: 0.002 },
  { file: 'cifar100/resnet20-kd', tested: 20, calibration: 16, drelus: 180224, error: 0.002 },
  { file: 'mnist/secureml', tested: 20, calibration: 32, drelus: 256, error: 0.002 },
  { file: 'mnist/minionn', tested: 20, calibration: 32, drelus: 2660, error: 0.002 },
  { file: 'mnist/mnist-7', tested: 20, calibration: 32, drelus: 1824, error: 0.002 },
  { file: 'medical/xray-pneumonia', tested: 4, calibration: 4, drelus: 147456, error: 0.005 },
  { file: 'medical/lymphoma36', tested: 20, calibration: 25, drelus: 41726, error: 0.005 },
  { file: 'faces/face-expression', tested: 6, calibration: 0, drelus: 752640, error: 0.005 },
  { file: 'imagenet/squeezenet11', tested: 1, calibration: 1, drelus: 2146592, error: 0.02 },
  { file: 'imagenet/mobilenetv1-075', tested: 1, calibration: 1, drelus: 3782016, error: 0.005 },
];

interface Expected {
  /** By picture name (folders), or by place in the file. */
  readonly outputs?: readonly { logits: number[] }[];
  readonly images?: Readonly<Record<string, { logits: number[] }>>;
  readonly tiles?: readonly { file: string; logits: number[] }[];
  readonly pictures?: readonly { file: string; logits: number[] }[];
}

/** Expected logits of picture `index`, where there are any. */
function expectedLogits(file: string, dataset: Dataset, index: number): readonly number[] | undefined {
  if (!existsSync(`${folder}/${file}-expected.json`)) return undefined;
  const expected = JSON.parse(readFileSync(`${folder}/${file}-expected.json`, 'utf8')) as Expected;
  const name = dataset.names[index]!.split('/').at(-1)!;
  const named = [...(expected.tiles ?? []), ...(expected.pictures ?? [])].find((e) => e.file.split('/').at(-1) === name);
  return (expected.outputs?.[index] ?? expected.images?.[name] ?? named)?.logits;
}

const argmax = (values: Float32Array): number => values.reduce((best, v, i) => (v > values[best]! ? i : best), 0);

describe.skipIf(!present)('real networks', () => {
  it.each(networks)('$file', { timeout: 60_000 }, async ({ file, tested, calibration, drelus, error }) => {
    const bytes = readFileSync(`${folder}/${file}.onnx`);
    expect(inspectModel(readModel(bytes)).drelus).toBe(drelus);
    const graph = readGraph(bytes);
    const dataset = await loadDataset(`${folder}/${file}.test.json`, { limit: tested + calibration });
    const x = await dataset.read(0, tested);
    const y = await forward(compute, graph, x, tested);
    const size = y.length / tested;
    let compared = 0;
    for (let i = 0; i < tested; i++) {
      expectedLogits(file, dataset, i)?.forEach((v, j) => {
        expect(Math.abs(y[i * size + j]! - v)).toBeLessThan(1e-4 * Math.max(10, Math.abs(v)));
        compared++;
      });
    }
    const images = calibration === 0 ? x : await dataset.read(tested, calibration);
    const { program, weights, report } = await compileGraph(compute, graph, { images, count: calibration || tested });
    expect(report.clipped).toBe(0);
    const words = encodeFixed(x, program.tensors[program.input]!.scale, program.ringBits);
    const next = noise(11);
    const { output } = await simulate(compute, program, weights, words, tested, { random: () => (next() + 1) / 2 });
    const z = decodeFixed(output, program.tensors[program.output]!.scale);
    const greatest = y.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    for (let i = 0; i < tested; i++)
      expect(argmax(z.subarray(i * size, (i + 1) * size))).toBe(argmax(y.subarray(i * size, (i + 1) * size)));
    z.forEach((v, i) => {
      expect(Math.abs(v - y[i]!)).toBeLessThan(error * greatest);
    });
    if (existsSync(`${folder}/${file}-expected.json`)) expect(compared).toBeGreaterThan(0);
  });
});
