// Linear steps without weights on what a party holds of their inputs, whatever that is: masked values, masks, or shares. No messages.
import type { Words } from '../kernel/compute.js';
import { sumPool } from '../kernel/linear.js';
import { resample as resampleAxis } from '../kernel/resample.js';
import { join, viewPositions } from '../model/layout.js';
import type { AddStep, ConcatStep, ResampleStep, SumPoolStep, ViewStep } from '../model/program.js';
import { ringWords, runWords, setWords } from '../ring/words.js';
import type { StepContext } from './operation.js';

/** Σ factors[i] · inputs[i]. */
export async function add(context: StepContext<Words>, step: AddStep): Promise<Words> {
  const out = ringWords(context.memory, context.program.ringBits, context.elements(step.output));
  const [first, ...rest] = step.inputs;
  await runWords(context.compute, 'scale', out, [out, context.value(first!), step.factors[0]!], out.length);
  for (const [i, input] of rest.entries()) {
    await runWords(context.compute, 'addScaled', out, [out, context.value(input), step.factors[i + 1]!], out.length);
  }
  return out;
}

/** Concatenation along an axis. */
export async function concat(context: StepContext<Words>, step: ConcatStep): Promise<Words> {
  const out = ringWords(context.memory, context.program.ringBits, context.elements(step.output));
  const outer = context.program.tensors[step.output]!.shape.slice(0, step.axis).reduce((a, b) => a * b, context.batch);
  const inputs = step.inputs.map((input) => context.value(input));
  join(
    inputs,
    inputs.map((words) => words.length / outer),
    out,
  );
  return out;
}

const isReshape = ({ inputShape, axes }: ViewStep): boolean =>
  axes.length === inputShape.length &&
  axes.every(({ axis, start, step, size }, i) => axis === i && start === 0 && step === 1 && size === inputShape[i]);

/** A strided view with zero fill. */
export async function view(context: StepContext<Words>, step: ViewStep): Promise<Words> {
  const out = ringWords(context.memory, context.program.ringBits, context.elements(step.output));
  const input = context.value(step.input);
  if (isReshape(step)) {
    setWords(out, input);
    return out;
  }
  const index = context.cached('view', () => {
    const one = viewPositions(step);
    const heap = context.compute.words(one.length);
    heap.set(one);
    return heap;
  });
  const size = out.length / context.batch;
  const read = input.length / context.batch;
  for (let image = 0; image < context.batch; image++) {
    const [to, from] = [out.subarray(image * size, (image + 1) * size), input.subarray(image * read, (image + 1) * read)];
    await runWords(context.compute, 'gather', out, [to, from, index], size);
  }
  return out;
}

/** A public linear map along one axis. */
export async function resample(context: StepContext<Words>, step: ResampleStep): Promise<Words> {
  const out = ringWords(context.memory, context.program.ringBits, context.elements(step.output));
  const { shape } = context.program.tensors[step.input]!;
  const inner = shape.slice(step.axis + 1).reduce((a, b) => a * b, 1);
  const outer = shape.slice(0, step.axis).reduce((a, b) => a * b, context.batch);
  const heap = (values: readonly number[]): Int32Array => {
    const words = context.compute.words(values.length);
    words.set(values);
    return words;
  };
  const positions = context.cached('positions', () => heap(step.positions));
  const weights = context.cached('weights', () => heap(step.weights));
  const { taps } = step;
  await resampleAxis(
    context.compute,
    { outer, inputs: shape[step.axis]!, inner },
    { taps, positions, weights },
    context.value(step.input),
    out,
  );
  return out;
}

/** Sums over windows, evened out by public multipliers where there are any. */
export async function sumpool(context: StepContext<Words>, step: SumPoolStep): Promise<Words> {
  const out = ringWords(context.memory, context.program.ringBits, context.elements(step.output));
  await sumPool(context.compute, step.geometry, context.value(step.input), context.batch, out);
  const { multipliers } = step;
  if (!multipliers) return out;
  const factors = context.cached('multipliers', () => {
    const words = context.compute.words(multipliers.length);
    words.set(multipliers);
    return words;
  });
  await runWords(context.compute, 'multiplyPeriodic', out, [out, factors, factors.length], out.length);
  return out;
}
