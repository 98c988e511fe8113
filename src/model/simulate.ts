// The ideal functionality: what the three parties would compute together, on plain integers mod 2^ringBits, with exact signs.
import type { Compute } from '../kernel/compute.js';
import { eachPatch, gather, join, maxPool, sumPool, viewPositions } from './layout.js';
import { convolvePlain } from './plain.js';
import type { Program, ProgramWeights, ReluStep, Step, TensorId, Window } from './program.js';

export interface SimulateOptions {
  /** Numbers in [0, 1): rounds truncations up or down at random as the protocol does. Without it they round down. */
  readonly random?: () => number;
}

export interface Overflow {
  readonly step: string;
  /** Values that are truncated or compared and not below 2^(ringBits − 2) in size. */
  readonly range: number;
  /** Compared values (sums over a patch, differences of maxima) that leave the step's window. */
  readonly window: number;
}

export interface Simulation {
  /** `count` × output size, two's complement. */
  readonly output: Int32Array;
  /** One entry a step that truncates or compares. */
  readonly overflow: readonly Overflow[];
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/**
 * Runs a program on `count` encoded pictures (contiguous words).
 *
 * Truncation is floor(y / 2^bits); the protocol's result is that or one unit more, so that on average nothing is lost (see `random`).
 * Throws RangeError when `input` is not `count` pictures.
 */
export async function simulate(
  compute: Compute,
  program: Program,
  weights: ProgramWeights,
  input: Int32Array,
  count: number,
  options: SimulateOptions = {},
): Promise<Simulation> {
  if (input.length !== count * sizeOf(program.tensors[program.input]!.shape))
    throw new RangeError(`simulate: ${input.length} words for ${count} pictures`);
  const values = new Map<TensorId, Int32Array>([[program.input, input]]);
  const lastUse = new Map<TensorId, number>();
  program.steps.forEach((step, i) => {
    for (const id of inputsOf(step)) lastUse.set(id, i);
  });
  lastUse.set(program.output, program.steps.length);
  const overflow: Overflow[] = [];
  for (const [i, step] of program.steps.entries()) {
    const inputs = inputsOf(step).map((id) => values.get(id)!);
    const output = new Int32Array(count * sizeOf(program.tensors[step.output]!.shape));
    await runStep(compute, { program, weights, count, options, overflow }, step, inputs, output);
    wrap(output, program.ringBits);
    values.set(step.output, output);
    for (const id of inputsOf(step)) if (lastUse.get(id) === i) values.delete(id);
  }
  return { output: values.get(program.output)!, overflow };
}

/** The tensors a step reads. */
export function inputsOf(step: Step): readonly TensorId[] {
  return step.kind === 'add' || step.kind === 'concat' ? step.inputs : [step.input];
}

/** Reduces words mod 2^bits to two's complement, in place. */
function wrap(words: Int32Array, bits: number): void {
  const shift = 32 - bits;
  if (shift > 0) for (let i = 0; i < words.length; i++) words[i] = (words[i]! << shift) >> shift;
}

interface Run {
  readonly program: Program;
  readonly weights: ProgramWeights;
  readonly count: number;
  readonly options: SimulateOptions;
  readonly overflow: Overflow[];
}

async function runStep(_compute: Compute, run: Run, step: Step, inputs: readonly Int32Array[], output: Int32Array): Promise<void> {
  const { program, count } = run;
  const input = inputs[0]!;
  switch (step.kind) {
    case 'linear': {
      const layer = run.weights.layers[step.weights]!;
      convolvePlain(step.geometry, input, layer.weights, layer.bias, count, output);
      return;
    }
    case 'relu':
      relu(run, step, input, output);
      return;
    case 'truncate':
      run.overflow.push({ step: step.name, range: outOfRange(input, program.ringBits), window: 0 });
      for (let i = 0; i < input.length; i++) output[i] = truncate(input[i]!, step.truncateBits, run.options);
      return;
    case 'maxpool':
      maxPool(step.geometry, input, count, output);
      run.overflow.push({ step: step.name, range: 0, window: 0 });
      return;
    case 'sumpool':
      sumPool(step.geometry, input, count, output);
      if (step.multipliers !== undefined) {
        const { multipliers } = step;
        for (let i = 0; i < output.length; i++) output[i] = Math.imul(output[i]!, multipliers[i % multipliers.length]!);
      }
      return;
    case 'add':
      inputs.forEach((x, k) => {
        for (let i = 0; i < output.length; i++) output[i]! += Math.imul(x[i]!, step.factors[k]!);
      });
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

function truncate(value: number, bits: number, { random }: SimulateOptions): number {
  const floor = value >> bits;
  if (random === undefined || bits === 0) return floor;
  return floor + (random() * 2 ** bits < (value & (2 ** bits - 1)) ? 1 : 0);
}

function outOfRange(values: Int32Array, ringBits: number): number {
  const limit = 2 ** (ringBits - 2);
  let count = 0;
  for (let i = 0; i < values.length; i++) if (values[i]! >= limit || values[i]! <= -limit) count++;
  return count;
}

/** Whether a compared sum of `elements` values can be misjudged. */
function leaves(sum: number, elements: number, window: Window, bits: number): boolean {
  return Math.abs(sum) >= 2 ** (window.high - 1) - 2 ** window.low - (elements === 1 ? 0 : elements) * 2 ** bits;
}

function relu(run: Run, step: ReluStep, input: Int32Array, output: Int32Array): void {
  const { window, truncateBits, cap } = step;
  const shape = run.program.tensors[step.output]!.shape;
  let left = 0;
  const top = cap === undefined ? 0 : cap >> truncateBits;
  const block = (indices: readonly number[] | number): void => {
    const one = typeof indices === 'number';
    const n = one ? 1 : indices.length;
    const sum = one ? input[indices]! : indices.reduce((s, i) => s + input[i]!, 0);
    if (leaves(sum, n, window, truncateBits) || (cap !== undefined && leaves(sum - n * cap, n, window, truncateBits))) left++;
    const value = (i: number): number =>
      sum < 0 ? 0 : cap !== undefined && sum >= n * cap ? top : truncate(input[i]!, truncateBits, run.options);
    if (one) output[indices] = value(indices);
    else for (const i of indices) output[i] = value(i);
  };
  if (step.patches === undefined) for (let i = 0; i < input.length; i++) block(i);
  else {
    const [channels, height = 1, width = 1] = shape as [number, number?, number?];
    for (let n = 0; n < run.count; n++) {
      step.patches.forEach((patch, c) => {
        const base = (n * channels + c) * height * width;
        if (patch[0] === 0) for (let i = base; i < base + height * width; i++) output[i] = truncate(input[i]!, truncateBits, run.options);
        if (patch[0] === 0 || patch[1] === 0) return;
        eachPatch(height, width, patch, (y0, y1, x0, x1) => {
          const indices: number[] = [];
          for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) indices.push(base + y * width + x);
          block(indices);
        });
      });
    }
  }
  run.overflow.push({ step: step.name, range: outOfRange(input, run.program.ringBits), window: left });
}
