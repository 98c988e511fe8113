// Graph → Program: lower, calibrate, choose scales and windows, round the weights.
import { DataError, UsageError } from '../errors.js';
import type { Compute, Words } from '../kernel/compute.js';
import { kernelLimit } from '../kernel/tiling.js';
import { type Calibration, measureRanges, type Ranges, usedPictures } from './calibrate.js';
import type { ConvNode, Graph, GraphNode, ReluNode, ValueId } from './graph.js';
import { commonDivisor, type LayerPatches, lower, sealedValues } from './passes/lower.js';
import { splitOutputActivation, splitOutputResamples } from './passes/reorder.js';
import { simplify } from './passes/simplify.js';
import {
  factorLimit,
  type Patch,
  type Program,
  type ProgramWeights,
  type Step,
  sharesSigns,
  type TensorId,
  type TensorInfo,
} from './program.js';
import { quantise, roundWords } from './quantise.js';
import { resampleWeights } from './resample.js';
import { chooseScales, type Scales } from './scales.js';
import { simulate } from './simulate.js';
import type { LayerWindows } from './spec.js';
import { uniformScales } from './uniform-scales.js';
import { checkWindowNames, reluWindow, type WindowOptions, windowFrom } from './windows.js';

export interface CompileOptions {
  /** Ring Z_{2^ringBits}: 16 to 64 (default 32). */
  readonly ringBits?: number;
  /**
   * How many of the ring's bits values use, what is left being headroom: a suite's affair (its `rangeBits`), as one whose truncation may fail
   * needs some. Default and most: {@link exactRangeBits}.
   */
  readonly rangeBits?: number;
  /** Patches of a spec, by layer name. */
  readonly spec?: LayerPatches;
  /** Comparison windows of a spec, by layer name; layers without one get the exact window of their calibrated range. */
  readonly windows?: LayerWindows;
  /** Truncates only after so many linear layers, with scales of {@link uniformScales}: in the ring of 64 bits. */
  readonly truncateEvery?: number;
  /** Bits an activation has less than the most accurate choice (default {@link thriftBits}; 0 where patches share signs). */
  readonly thriftBits?: number;
}

export interface CompileReport {
  /** Calibration values outside the range or the window of their step, in the fixed-point simulation. */
  readonly clipped: number;
  readonly clippedByStep: readonly { readonly step: string; readonly values: number }[];
  readonly fractionBits: { readonly activations: MinMax; readonly weights: MinMax };
  /** Signs of activations (ReLU, ReLU6, PReLU, LeakyReLU): one an element, or one a patch. */
  readonly drelus: number;
  /** All sign tests. */
  readonly comparisons: number;
  readonly ranges: Ranges;
}

interface MinMax {
  readonly min: number;
  readonly max: number;
}

export interface Compiled {
  readonly program: Program;
  readonly weights: ProgramWeights;
  readonly report: CompileReport;
}

/**
 * ResNet-20, 20 test pictures, k = 32: the greatest error of a logit is 0.018 with 0 bits, 0.019 with 1, 0.038 with 2, 0.078 with 3
 * (truncation rounding at random, as the protocol does), and a comparison is 16.6, 15.6, 14.6, 13.6 bits wide on average.
 */
export const thriftBits = 1;

/**
 * Networks whose patches share signs save no such bit: it costs labels, and little is saved where there are few comparisons. ResNet-20 at 12 %
 * of its comparisons, k = 44: the float label for 297 of 300 pictures with 1 bit less, for 299 with 0, and logits off by 0.083 or 0.064.
 */
const isBlockwise = ({ nodes }: Graph): boolean => nodes.some((node) => node.kind === 'relu' && sharesSigns(node.patches));

/**
 * Rings of more bits give values the scales of this width: everything compared is then below 2^53, exact in the doubles that encode pictures
 * and simulate. ResNet-20 keeps 23 fractional bits of activations and as many of weights, which float32 has not got.
 */
export const exactRangeBits = 54;

/** Calibration pictures that are simulated again to count what leaves the range. */
const simulatedPictures = 16;

/**
 * Compiles a graph for the three parties, with scales and windows chosen from calibration pictures.
 *
 * Throws DataError for a spec that does not fit or an op that cannot run privately, UsageError for a ring of another width.
 */
export async function compileGraph(
  compute: Compute,
  graph: Graph,
  calibration: Calibration,
  options: CompileOptions = {},
): Promise<Compiled> {
  const ringBits = options.ringBits ?? 32;
  if (!Number.isInteger(ringBits) || ringBits < 16 || ringBits > 64) {
    throw new UsageError(`ring of ${ringBits} bits`, { code: 'bad-ring', where: '--ring', hint: 'choose 16 to 64' });
  }
  if (options.truncateEvery !== undefined && ringBits !== 64)
    throw new UsageError('only the ring of 64 bits has room for values that are not truncated', {
      code: 'bad-ring',
      where: '--truncate-every',
      hint: 'give --ring 64',
    });
  const rangeBits = Math.min(ringBits, options.rangeBits ?? exactRangeBits, exactRangeBits);
  const { graph: whole, activation } = splitOutputActivation(simplify(graph));
  const { graph: scores, resamples } = splitOutputResamples(whole);
  const windows = options.windows ?? new Map();
  checkWindowNames(scores, windows);
  const lowered = lower(scores, options.spec);
  checkLayers(lowered);
  const ranges = await measureRanges(compute, lowered, calibration);
  checkRanges(lowered, ranges);
  const marginBits = 1 + (calibration.marginBits ?? 0);
  const scalesIn = (bits: number): Scales =>
    chooseScales(lowered, ranges, {
      ringBits: bits,
      marginBits,
      thriftBits: options.thriftBits ?? (isBlockwise(lowered) ? 0 : thriftBits),
    });
  const { truncateEvery } = options;
  const scales = truncateEvery === undefined ? scalesIn(rangeBits) : uniformScales(lowered, ranges, { truncateEvery, marginBits });
  const coarse = coarseLayer(lowered, ranges, scales);
  if (coarse !== undefined) throw tooNarrow(coarse, ringBits, wideEnough(lowered, ranges, ringBits, rangeBits, scalesIn));
  const assembled = assemble(lowered, ranges, scales, { ringBits, marginBits, windows });
  const program: Program = {
    schema: 'tessera/program@1',
    ringBits,
    ...(options.truncateEvery === undefined && rangeBits < ringBits && { rangeBits }),
    tensors: assembled.tensors,
    input: assembled.ids.get(lowered.input.id)!,
    output: assembled.ids.get(lowered.output)!,
    ...(resamples.length === 0 ? {} : { outputResamples: resamples }),
    outputActivation: activation,
    steps: assembled.steps,
  };
  const weights: ProgramWeights = { layers: assembled.layers };
  const report = await reportOn(compute, { program, weights }, assembled, ranges, calibration);
  return { program, weights, report };
}

/** Kernels have limits, and scales are chosen from sizes, so every number has to have one. Throws DataError that names the layer. */
function checkLayers(graph: Graph): void {
  for (const node of graph.nodes) {
    if (node.kind !== 'conv' && node.kind !== 'averagepool' && node.kind !== 'maxpool') continue;
    const limit = kernelLimit(node.geometry);
    if (limit !== undefined)
      throw new DataError(`layer ${node.name}: ${limit}`, { code: 'too-large', where: node.name, hint: 'use smaller windows' });
    if (node.kind !== 'conv' || (node.weights.every(Number.isFinite) && node.bias.every(Number.isFinite))) continue;
    throw new DataError(`layer ${node.name} has weights that are no finite numbers`, {
      code: 'bad-weights',
      where: node.name,
      hint: 'the file is damaged, or training diverged',
    });
  }
}

/** Throws DataError with the first layer whose values left the range of float32. */
function checkRanges(graph: Graph, ranges: Ranges): void {
  for (const node of graph.nodes) {
    const range = ranges.values.get(node.output);
    if (range === undefined || (Number.isFinite(range.maximum) && Number.isFinite(range.rms))) continue;
    throw new DataError(`layer ${node.name} gives values that are no finite numbers`, {
      code: 'bad-range',
      where: node.name,
      hint: 'check the preprocessing of the calibration pictures, and that the network answers them in another program',
    });
  }
}

interface CoarseLayer {
  readonly name: string;
  readonly maximum: number;
}

/** The first layer of which not even the greatest value is two units of its scale: nothing would be left of it. */
function coarseLayer(graph: Graph, ranges: Ranges, { scale }: Scales): CoarseLayer | undefined {
  for (const { name, output } of graph.nodes) {
    const { maximum } = ranges.values.get(output)!;
    if (maximum >= 2 ** -12 && maximum * scale.get(output)! < 2) return { name, maximum };
  }
  return undefined;
}

/** The narrowest ring above `ringBits` in which no layer is coarse, with as much headroom; undefined where there is none. */
function wideEnough(
  graph: Graph,
  ranges: Ranges,
  ringBits: number,
  rangeBits: number,
  scalesIn: (rangeBits: number) => Scales,
): number | undefined {
  for (let bits = ringBits + 1; bits <= 64; bits++) {
    const scales = scalesIn(Math.min(exactRangeBits, bits - (Math.min(ringBits, exactRangeBits) - rangeBits)));
    if (coarseLayer(graph, ranges, scales) === undefined) return bits;
  }
  return undefined;
}

function tooNarrow({ name, maximum }: CoarseLayer, ringBits: number, enough: number | undefined): DataError {
  const training = 'values that grow from layer to layer need training with smaller weights';
  return new DataError(`layer ${name}: values up to ${maximum.toPrecision(3)} do not fit a ring of ${ringBits} bits beside the others`, {
    code: 'ring-too-narrow',
    where: name,
    hint:
      enough === undefined
        ? `no ring is wide enough: calibrate on more usual pictures; ${training}`
        : `compile with --ring ${enough} or more, or calibrate on more usual pictures`,
  });
}

interface Assembled {
  readonly steps: Step[];
  readonly tensors: TensorInfo[];
  readonly ids: Map<ValueId, TensorId>;
  readonly layers: { weights: Words; bias: Words }[];
  readonly weightBits: number[];
}

function assemble(graph: Graph, ranges: Ranges, scales: Scales, options: WindowOptions): Assembled {
  const out: Assembled = { steps: [], tensors: [], ids: new Map(), layers: [], weightBits: [] };
  const tensor = (shape: readonly number[], scale: number): TensorId => out.tensors.push({ shape, scale }) - 1;
  const define = (id: ValueId, shape: readonly number[]): TensorId => {
    const t = tensor(shape, scales.scale.get(id)!);
    out.ids.set(id, t);
    return t;
  };
  define(graph.input.id, graph.input.shape);
  const low = lowBits(graph, scales);
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((id) => out.ids.get(id)!);
    const scale = scales.scale.get(node.inputs[0]!)!;
    const common = { name: node.name, input: inputs[0]! };
    const output = (): TensorId => define(node.output, node.shape);
    switch (node.kind) {
      case 'conv':
        out.steps.push({
          ...common,
          kind: 'linear',
          output: output(),
          geometry: node.geometry,
          weights: addLayer(out, node, scale, scales.scale.get(node.output)!, ranges, options.ringBits),
        });
        break;
      case 'relu':
        out.steps.push(reluStep(node, { ...common, output: output() }, scale, ranges, scales, options));
        break;
      case 'truncate':
        out.steps.push({ ...common, kind: 'truncate', output: output(), truncateBits: scales.truncateBits.get(node.name)! });
        break;
      case 'maxpool': {
        const least = low.get(node.output) ?? 0;
        const reach = Math.ceil(ranges.differences.get(node.name)! * scale * 2 ** options.marginBits);
        const window = windowFrom(least, reach + 1 + 2 ** least, options.ringBits);
        out.steps.push({ ...common, kind: 'maxpool', output: output(), geometry: node.geometry, window });
        break;
      }
      case 'averagepool':
        out.steps.push({ ...common, kind: 'sumpool', output: output(), geometry: node.geometry, ...multipliers(node.divisors) });
        break;
      case 'resample': {
        const { axis, taps, positions } = node;
        out.steps.push({ ...common, kind: 'resample', output: output(), axis, taps, positions, weights: resampleWeights(node) });
        break;
      }
      case 'product':
        out.steps.push({ kind: 'product', name: node.name, inputs, output: output() });
        break;
      case 'add':
        out.steps.push({
          kind: 'add',
          name: node.name,
          inputs,
          factors: node.factors.map((f, i) => f * alignment(node, i, scales, options.ringBits)),
          output: output(),
        });
        break;
      case 'concat': {
        const aligned = inputs.map((input, i) => {
          const factor = alignment(node, i, scales, options.ringBits);
          if (factor === 1) return input;
          const shifted = tensor(out.tensors[input]!.shape, scales.scale.get(node.output)!);
          out.steps.push({ kind: 'add', name: `${node.name}/align${i}`, inputs: [input], factors: [factor], output: shifted });
          return shifted;
        });
        out.steps.push({ kind: 'concat', name: node.name, inputs: aligned, axis: node.axis, output: output() });
        break;
      }
      case 'view':
        out.steps.push({ ...common, kind: 'view', output: output(), inputShape: node.inputShape, axes: node.axes });
        break;
      default:
        throw new DataError(`node ${node.name}: ${node.kind} cannot run privately`, {
          code: 'unsupported-op',
          where: node.name,
          hint: 'replace it in the model',
        });
    }
  }
  return out;
}

/** Rounds a layer's weights to the scale that its input and output leave them; returns their index. */
function addLayer(out: Assembled, node: ConvNode, inputScale: number, outputScale: number, ranges: Ranges, ringBits: number): number {
  const scale = outputScale / inputScale;
  out.weightBits.push(Math.log2(scale));
  return out.layers.push(quantise(node, scale, outputScale, ranges.means.get(node.inputs[0]!)!, ringBits)) - 1;
}

/** The public integer that brings input `i` of a sum or join to the scale of its output. */
function alignment(node: GraphNode, i: number, scales: Scales, ringBits: number): number {
  const factor = scales.scale.get(node.output)! / scales.scale.get(node.inputs[i]!)!;
  if (!Number.isSafeInteger(factor) || factor >= factorLimit(ringBits)) {
    throw new DataError(`node ${node.name}: its inputs' scales differ by ${factor}`, {
      code: 'bad-scale',
      where: node.name,
      hint: 'report this model',
    });
  }
  return factor;
}

function multipliers(divisors: readonly number[]): { multipliers?: readonly number[] } {
  if (divisors.length === 1) return {};
  const common = commonDivisor(divisors);
  return { multipliers: divisors.map((d) => Math.round(common / d)) };
}

/** How many low bits every reader of a sealed value drops later: a max pool need not compare them. */
function lowBits(graph: Graph, scales: Scales): ReadonlyMap<ValueId, number> {
  const sealed = sealedValues(graph);
  const low = new Map<ValueId, number>();
  const see = (id: ValueId, bits: number): void => {
    if (sealed.has(id)) low.set(id, Math.min(low.get(id) ?? Number.POSITIVE_INFINITY, bits));
  };
  for (const node of [...graph.nodes].reverse()) {
    const own = node.kind === 'relu' || node.kind === 'truncate' ? (scales.truncateBits.get(node.name) ?? 0) : (low.get(node.output) ?? 0);
    for (const id of node.inputs) see(id, node.output === graph.output ? 0 : own);
  }
  return low;
}

function reluStep(
  node: ReluNode,
  common: { name: string; input: TensorId; output: TensorId },
  scale: number,
  ranges: Ranges,
  scales: Scales,
  options: WindowOptions,
): Step {
  const truncateBits = scales.truncateBits.get(node.name)!;
  const largest = (node.patches ?? []).reduce((m: number, p: Patch) => Math.max(m, p[0] * p[1]), 1);
  const lowBits = scales.lowBits?.get(node.name) ?? truncateBits;
  const sums = { truncateBits: lowBits, scale, greatest: ranges.sums.get(node.name)! * scale, elements: largest === 1 ? 0 : largest };
  const window = reluWindow(node.name, sums, options);
  const cap = node.cap === undefined ? {} : { cap: Math.max(1, Math.round((node.cap * scale) / 2 ** truncateBits)) * 2 ** truncateBits };
  return { kind: 'relu', ...common, truncateBits, window, ...cap, ...(node.patches && { patches: node.patches }) };
}

async function reportOn(
  compute: Compute,
  compiled: Pick<Compiled, 'program' | 'weights'>,
  assembled: Assembled,
  ranges: Ranges,
  calibration: Calibration,
): Promise<CompileReport> {
  const { program, weights } = compiled;
  const size = calibration.images.length / calibration.count;
  const used = usedPictures(calibration.count, ranges.leftOut).slice(0, simulatedPictures);
  const images = new Float32Array(used.length * size);
  used.forEach((picture, i) => {
    images.set(calibration.images.subarray(picture * size, (picture + 1) * size), i * size);
  });
  const scale = program.tensors[program.input]!.scale;
  const words = roundWords(images, scale, program.ringBits);
  const { overflow } = await simulate(compute, program, weights, words, used.length);
  const clippedByStep = overflow.map((o) => ({ step: o.step, values: o.range + o.window })).filter((o) => o.values > 0);
  const hidden = program.steps
    .filter((s) => s.kind === 'relu' || s.kind === 'truncate')
    .map((s) => Math.log2(program.tensors[s.output]!.scale));
  return {
    clipped: clippedByStep.reduce((sum, s) => sum + s.values, 0),
    clippedByStep,
    fractionBits: { activations: minMax([Math.log2(scale), ...hidden]), weights: minMax(assembled.weightBits) },
    ...countSignTests(program),
    ranges,
  };
}

/** Signs of activations, and all sign tests, of a program. */
function countSignTests(program: Program): { drelus: number; comparisons: number } {
  let drelus = 0;
  let comparisons = 0;
  for (const step of program.steps) {
    if (step.kind === 'maxpool') {
      const g = step.geometry;
      comparisons += g.channels * g.outputHeight * g.outputWidth * (g.kernelHeight * g.kernelWidth - 1);
    }
    if (step.kind !== 'relu') continue;
    const signs = reluSigns(step.patches, program.tensors[step.output]!.shape);
    drelus += signs;
    comparisons += signs * (step.cap === undefined ? 1 : 2);
  }
  return { drelus, comparisons };
}

/** Signs a ReLU of a shape tests: one an element, or one a patch. */
function reluSigns(patches: readonly Patch[] | undefined, shape: readonly number[]): number {
  if (patches === undefined) return shape.reduce((a, b) => a * b, 1);
  const [, height = 1, width = 1] = shape as [number, number?, number?];
  return patches.reduce((sum, [h, w]) => sum + (h === 0 || w === 0 ? 0 : Math.ceil(height / h) * Math.ceil(width / w)), 0);
}

const minMax = (values: readonly number[]): MinMax => ({ min: Math.min(...values), max: Math.max(...values) });
