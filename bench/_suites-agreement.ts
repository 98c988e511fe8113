// The same pictures answered by several suites: labels beside float's and beside each other's, and how far from a tie those are that differ.
import { createHash } from 'node:crypto';
import { correct } from '../src/block/correct.js';
import { planMeasurement } from '../src/block/distort.js';
import { dreluCost, fullCost, selectOptimal, toSpec } from '../src/block/select.js';
import { argmax, maxAbsDifference, rowOf } from '../src/cli/answers.js';
import type { Compute } from '../src/kernel/compute.js';
import { type Compiled, compileGraph } from '../src/model/compile.js';
import { forward } from '../src/model/forward.js';
import type { Graph } from '../src/model/graph.js';
import { applyPatches, type LayerPatches } from '../src/model/passes/lower.js';
import { patchesOf } from '../src/model/spec.js';
import { openLocalSession } from '../src/party/local.js';
import { suites } from '../src/party/session.js';
import { measureLinear, type Pictures, type TrainedNetwork } from './_distortions.js';

/** A suite in a ring. */
export interface Setting {
  readonly suite: string;
  readonly ringBits: number;
}

/** A network under a spec, or none. */
export interface Variant {
  readonly name: string;
  readonly graph: Graph;
  readonly patches?: LayerPatches;
}

export interface Agreement extends Setting {
  readonly network: string;
  readonly pictures: number;
  /** Shares of the pictures: named right in float and privately, and named privately as in float. */
  readonly floatRight: number;
  readonly right: number;
  readonly asFloat: number;
  /** The largest difference of a logit from float's. */
  readonly maxAbsError: number;
  /** Pictures with a logit more than 2 off: what a truncation that failed leaves. */
  readonly failed: number;
  /** Share of the pictures with the label of the first setting. */
  readonly asFirst: number;
  /** Where a label differs from the first setting's: the widest margin between float's two best logits, in units of the larger maxAbsError. */
  readonly widestMargin: number;
}

/** Finds the logits of some pictures that were answered before, or has them `make`d; undefined where there is no time for that. */
export type Answer = (key: unknown, make: () => Promise<Float32Array>) => Promise<ArrayLike<number> | undefined>;

const calibrated = 256;
const fitted = 512;
/** A difference of logits that rounding does not make. */
const failure = 2;

/** The whole network, one at a share of its signs chosen without training, and that one corrected. */
export async function variants(compute: Compute, network: TrainedNetwork, share: number): Promise<readonly Variant[]> {
  const { graph, hash } = network;
  const measurement = planMeasurement(graph);
  const { distortion } = await measureLinear(compute, measurement, await network.train(calibrated), hash);
  const { patches: chosen } = selectOptimal(distortion, dreluCost, Math.floor(share * fullCost(distortion, dreluCost)));
  const patches = patchesOf(toSpec(distortion, chosen, {}));
  const { images, count } = await network.train(fitted);
  const corrected = await correct(compute, graph, patches, images, count);
  const name = `${Math.round(100 * share)} %`;
  return [
    { name: 'all signs', graph },
    { name, graph, patches },
    { name: `${name}, corrected`, graph: corrected, patches },
  ];
}

/** Compiles a variant as a suite wants it. */
export function compileFor(compute: Compute, { graph, patches }: Variant, { suite, ringBits }: Setting, calibration: Pictures) {
  const rangeBits = suites[suite]!.rangeBits(ringBits);
  return compileGraph(compute, graph, calibration, { ringBits, rangeBits, ...(patches && { spec: patches }) });
}

/** Logits of a private inference, all parties in this process. */
export async function privateLogits(
  compute: Compute,
  { program, weights }: Compiled,
  suite: string,
  { images, count }: Pictures,
  batch: number,
): Promise<Float32Array> {
  const local = await openLocalSession({ compute, program, weights, suite });
  const size = images.length / count;
  const rows: Float32Array[] = [];
  for (let first = 0; first < count; first += batch) {
    const own = Math.min(batch, count - first);
    rows.push(...(await local.client.infer(images.subarray(first * size, (first + own) * size), own)).outputs);
  }
  await local.close();
  return Float32Array.from(rows.flatMap((row) => [...row]));
}

/** Pictures that are answered, and may be kept, together. */
const slice = 100;

/** Logits of pictures in a setting; undefined where `answer` has not all. */
async function answers(
  compute: Compute,
  hash: string,
  variant: Variant,
  setting: Setting,
  compiled: Compiled,
  { images, count }: Pictures,
  batch: number,
  answer: Answer,
): Promise<Float32Array | undefined> {
  const size = images.length / count;
  const digest = createHash('sha256').update(JSON.stringify(compiled.program)).digest('hex');
  const all: ArrayLike<number>[] = [];
  for (let first = 0; first < count; first += slice) {
    const end = Math.min(count, first + slice);
    const pictures = { images: images.subarray(first * size, end * size), count: end - first };
    const key = ['logits', hash, variant.name, setting.suite, digest, first, end];
    const logits = await answer(key, () => privateLogits(compute, compiled, setting.suite, pictures, batch));
    if (logits === undefined) return undefined;
    all.push(logits);
  }
  return Float32Array.from(all.flatMap((logits) => Array.from(logits)));
}

/** Answers the first pictures of the test set in every setting, and compares each with float and with the first setting. */
export async function agreements(
  compute: Compute,
  network: TrainedNetwork,
  variant: Variant,
  settings: readonly Setting[],
  count: number,
  batch: number,
  answer: Answer = (_key, make) => make(),
): Promise<readonly Agreement[]> {
  const images = await network.test.read(0, count);
  const running = variant.patches === undefined ? variant.graph : applyPatches(variant.graph, variant.patches);
  const float = await forward(compute, running, images, count);
  const calibration = await network.train(calibrated);
  const truth = network.test.labels!.slice(0, count);
  const all: { setting: Setting; logits: Float32Array }[] = [];
  for (const setting of settings) {
    const compiled = await compileFor(compute, variant, setting, calibration);
    const logits = await answers(compute, network.hash, variant, setting, compiled, { images, count }, batch, answer);
    if (logits !== undefined) all.push({ setting, logits });
  }
  const first = all[0]?.logits ?? float;
  return all.map(({ setting, logits }) => ({
    ...setting,
    network: variant.name,
    pictures: count,
    floatRight: share(labelsOf(float, count), truth),
    right: share(labelsOf(logits, count), truth),
    asFloat: share(labelsOf(logits, count), labelsOf(float, count)),
    maxAbsError: maxAbsDifference(logits, float),
    failed: failures(logits, float, count),
    asFirst: share(labelsOf(logits, count), labelsOf(first, count)),
    widestMargin: widestMargin(float, logits, first, count),
  }));
}

const labelsOf = (logits: Float32Array, count: number): number[] =>
  Array.from({ length: count }, (_, i) => argmax(rowOf(logits, i, count)));

const share = (labels: readonly number[], others: readonly (number | undefined)[]): number =>
  labels.filter((label, i) => label === others[i]).length / labels.length;

function failures(logits: Float32Array, float: Float32Array, count: number): number {
  let failed = 0;
  for (let i = 0; i < count; i++) if (maxAbsDifference(rowOf(logits, i, count), rowOf(float, i, count)) > failure) failed++;
  return failed;
}

/** Over pictures that two settings name differently: the margin between float's two best logits, over the larger of their greatest errors. */
function widestMargin(float: Float32Array, a: Float32Array, b: Float32Array, count: number): number {
  const worst = Math.max(maxAbsDifference(a, float), maxAbsDifference(b, float));
  let widest = 0;
  for (let i = 0; i < count; i++) {
    if (argmax(rowOf(a, i, count)) === argmax(rowOf(b, i, count))) continue;
    const [best = 0, second = 0] = [...rowOf(float, i, count)].sort((x, y) => y - x);
    widest = Math.max(widest, (best - second) / worst);
  }
  return widest;
}
