// The ideal functionality: what the three parties would compute together, on plain integers mod 2^ringBits, whose signs come from the steps' windows.
import type { Compute, Words } from '../kernel/compute.js';
import { convolve, freeWeights, type PackedWeights, packWeights, sumPool } from '../kernel/linear.js';
import { resample } from '../kernel/resample.js';
import { plainWords, ringWords, runWords, setWords, wrapWords } from '../ring/words.js';
import { execute, picturesAtOnce, type Task } from './execute.js';
import { sizeOf } from './graph.js';
import { eachTap, gather, join, maxPool, type Numbers, poolSizes, viewPositions } from './layout.js';
import {
  type LinearStep,
  type MaxPoolStep,
  type Program,
  type ProgramWeights,
  type ReluStep,
  type ResampleStep,
  type Step,
  stepInputs,
  type TensorId,
} from './program.js';
import { blockRelu, plainRelu, truncate } from './simulate-relu.js';

export interface SimulateOptions {
  /**
   * Numbers in [0, 1): rounds truncations up or down, and takes signs of small negative values for positive where windows ignore low bits, at
   * random as the protocol does. Without it truncations round down, and only values that leave their window get a wrong sign.
   */
  readonly random?: () => number;
}

export interface Overflow {
  readonly step: string;
  /** Values that are truncated or compared and not below 2^(ringBits − 2) in size; in 64 bits, not below 2^53: see {@link simulate}. */
  readonly range: number;
  /** Compared values (sums over a patch, differences of maxima) that leave the step's window. */
  readonly window: number;
  /** Signs of sums so near zero (or the cap) that truncation or the bits ignored decide them: the protocol may go either way. */
  readonly close: number;
}

export interface Simulation {
  /** `count` × output size, two's complement. */
  readonly output: Words;
  /** One entry a step that truncates or compares. */
  readonly overflow: readonly Overflow[];
}

/**
 * Runs a program on `count` encoded pictures (contiguous words).
 *
 * Truncation is floor(y / 2^bits); the protocol's result is that or one unit more, so that on average nothing is lost (see `random`).
 * 64-bit words are compared and truncated as doubles, exact below 2^53, which what compile.ts makes stays below (`exactRangeBits`).
 * Throws RangeError when `input` is not `count` pictures.
 */
export async function simulate(
  compute: Compute,
  program: Program,
  weights: ProgramWeights,
  input: Words,
  count: number,
  options: SimulateOptions = {},
): Promise<Simulation> {
  if (input.length !== count * sizeOf(program.tensors[program.input]!.shape))
    throw new RangeError(`simulate: ${input.length} words for ${count} pictures`);
  const sizes = program.tensors.map((t) => sizeOf(t.shape));
  const inputSize = sizes[program.input]!;
  const outputSize = sizes[program.output]!;
  const output = plainWords(program.ringBits, count * outputSize);
  const overflow = program.steps.map((step) => ({ step: step.name, range: 0, window: 0, close: 0 }));
  const layers = new Map<LinearStep, Layer>();
  try {
    for (const step of program.steps) if (step.kind === 'linear') layers.set(step, await packLayer(compute, step, weights));
    const atOnce = picturesAtOnce(Math.max(...sizes), count);
    for (let first = 0; first < count; first += atOnce) {
      const pictures = Math.min(atOnce, count - first);
      const run: Run = { compute, program, layers, count: pictures, options };
      const tasks = program.steps.map(
        (s): Task<TensorId> => ({ inputs: stepInputs(s), output: s.output, size: pictures * sizes[s.output]! }),
      );
      await execute(
        compute,
        tasks,
        { id: program.input, values: input.subarray(first * inputSize, (first + pictures) * inputSize) },
        program.output,
        {
          allocate: (length) => ringWords(compute, program.ringBits, length),
          async run(i, inputs, words) {
            await runStep(run, program.steps[i]!, overflow[i]!, inputs, words);
            await wrapWords(compute, words, program.ringBits);
          },
        },
        (words) => setWords(output.subarray(first * outputSize, first * outputSize + words.length), words),
      );
    }
  } finally {
    for (const { packed, bias } of layers.values()) {
      freeWeights(compute, packed);
      compute.free(bias);
    }
  }
  const tests = program.steps.map((s) => s.kind === 'relu' || s.kind === 'truncate' || s.kind === 'maxpool');
  return { output, overflow: overflow.filter((_, i) => tests[i]) };
}

interface Layer {
  readonly packed: PackedWeights;
  readonly bias: Words;
}

async function packLayer(compute: Compute, step: LinearStep, weights: ProgramWeights): Promise<Layer> {
  const layer = weights.layers[step.weights];
  if (layer === undefined) throw new RangeError(`simulate: no weights for step ${step.name}`);
  const packed = await packWeights(compute, step.geometry, layer.weights);
  const bias = layer.bias instanceof BigInt64Array ? compute.longs(layer.bias.length) : compute.words(layer.bias.length);
  setWords(bias, layer.bias);
  return { packed, bias };
}

/** Runs `work` on words as numbers: on 32-bit words themselves, on 64-bit ones as doubles. */
async function asNumbers(compute: Compute, input: Words, output: Words, work: (input: Numbers, output: Numbers) => void): Promise<void> {
  if (input instanceof Int32Array && output instanceof Int32Array) {
    work(input, output);
    return;
  }
  const doubles = (longs: Words): Float64Array => new Float64Array(longs.buffer, longs.byteOffset, longs.length);
  const from = compute.longs(input.length);
  await compute.run('longsToDoubles', [from, input], input.length, { grain: 32 });
  work(doubles(from), doubles(output));
  await compute.run('doublesToLongs', [output, output], output.length, { grain: 32 });
  compute.free(from);
}

interface Run {
  readonly compute: Compute;
  readonly program: Program;
  readonly layers: ReadonlyMap<LinearStep, Layer>;
  /** Pictures in this part. */
  readonly count: number;
  readonly options: SimulateOptions;
}

type Counters = { range: number; window: number; close: number };

async function runStep(run: Run, step: Step, counters: Counters, inputs: readonly Words[], output: Words): Promise<void> {
  const { compute, program, count } = run;
  const input = inputs[0]!;
  switch (step.kind) {
    case 'linear': {
      const { packed, bias } = run.layers.get(step)!;
      await convolve(compute, packed, input, count, output, { bias });
      return;
    }
    case 'relu':
      await asNumbers(compute, input, output, (from, to) => {
        counters.range += outOfRange(from, program.ringBits);
        activate(run, step, counters, from, to);
      });
      return;
    case 'truncate':
      await asNumbers(compute, input, output, (from, to) => {
        counters.range += outOfRange(from, program.ringBits);
        for (let i = 0; i < from.length; i++) to[i] = truncate(from[i]!, step.truncateBits, run.options.random);
      });
      return;
    case 'maxpool':
      await asNumbers(compute, input, output, (from, to) => {
        maxPool(step.geometry, from, count, to);
        counters.window += wideWindows(step, from, count);
      });
      return;
    case 'sumpool':
      await sumPool(compute, step.geometry, input, count, output);
      if (step.multipliers !== undefined) {
        const factors = compute.words(step.multipliers.length);
        factors.set(step.multipliers);
        await runWords(compute, 'multiplyPeriodic', output, [output, factors, factors.length], output.length);
        compute.free(factors);
      }
      return;
    case 'resample':
      return resampleStep(compute, step, program.tensors[step.input]!.shape, input, output);
    case 'add':
      await runWords(compute, 'scale', output, [output, input, step.factors[0]!], output.length);
      for (const [k, x] of inputs.slice(1).entries())
        await runWords(compute, 'addScaled', output, [output, x, step.factors[k + 1]!], output.length);
      return;
    case 'product':
      await runWords(compute, 'product', output, [output, input, inputs[1]!], output.length);
      return;
    case 'concat': {
      const outer = count * sizeOf(program.tensors[step.output]!.shape.slice(0, step.axis));
      if (output.length > 0)
        join(
          inputs,
          inputs.map((x) => x.length / outer),
          output,
        );
      return;
    }
    case 'view':
      gather(input, input.length / count, viewPositions(step), count, output);
      return;
  }
}

async function resampleStep(compute: Compute, step: ResampleStep, shape: readonly number[], input: Words, output: Words): Promise<void> {
  const inner = sizeOf(shape.slice(step.axis + 1));
  const inputs = shape[step.axis]!;
  const [positions, weights] = [compute.words(step.positions.length), compute.words(step.weights.length)];
  positions.set(step.positions);
  weights.set(step.weights);
  const outer = input.length / Math.max(1, inputs * inner);
  await resample(compute, { outer, inputs, inner }, { taps: step.taps, positions, weights }, input, output);
  compute.free(positions, weights);
}

function activate({ program, count, options: { random } }: Run, step: ReluStep, counters: Counters, input: Numbers, output: Numbers): void {
  const settings = { step, counters, random };
  if (step.patches === undefined) plainRelu(settings, input, output);
  else blockRelu(settings, step.patches, program.tensors[step.output]!.shape, count, input, output);
}

function outOfRange(values: Numbers, ringBits: number): number {
  const limit = 2 ** Math.min(ringBits - 2, 53);
  let count = 0;
  for (let i = 0; i < values.length; i++) if (values[i]! >= limit || values[i]! <= -limit) count++;
  return count;
}

/** Windows whose greatest difference the step's window of bits cannot hold. */
function wideWindows({ geometry, window }: MaxPoolStep, input: Numbers, count: number): number {
  const size = poolSizes(geometry);
  const limit = 2 ** (window.high - 1) - 2 ** window.low;
  let wide = 0;
  for (let n = 0; n < count; n++) {
    let last = -1;
    let low = 0;
    let high = 0;
    const close = (): void => {
      if (high - low >= limit) wide++;
    };
    eachTap(geometry, (o, i) => {
      const v = input[n * size.input + i]!;
      if (o !== last) {
        close();
        low = v;
        high = v;
        last = o;
      } else if (v < low) low = v;
      else if (v > high) high = v;
    });
    close();
  }
  return wide;
}
