// Steps that every party does alone, to the masked value and to the mask alike: sums, concatenation, views, pooling sums. No messages.
import { sumPool } from '../../kernel/linear.js';
import { resample as resampleAxis } from '../../kernel/resample.js';
import { join, viewPositions } from '../../model/layout.js';
import type { AddStep, ConcatStep, ResampleStep, Step, SumPoolStep, ViewStep } from '../../model/program.js';
import type { Operation, StepContext } from '../operation.js';

/** An operation in which each party applies `apply` to what it holds: the client to masks of hidden tensors only. */
function local<S extends Step>(apply: (context: StepContext, step: S) => Promise<Int32Array>): Operation<S, void, void, void> {
  const run = async (context: StepContext, step: S) => context.give(step.output, await apply(context, step));
  return {
    messages: () => [],
    rounds: () => 0,
    client: { offline: async (context, step) => (context.isSealed(step.output) ? undefined : run(context, step)) },
    server: { offline: async () => undefined, online: run },
    provider: { offline: run },
  };
}

export const add = local<AddStep>(async (context, step) => {
  const out = context.memory.words(context.elements(step.output));
  const [first, ...rest] = step.inputs;
  await context.compute.run('scaleWords', [out, context.value(first!), step.factors[0]!], out.length, { grain: 32 });
  for (const [i, input] of rest.entries()) {
    await context.compute.run('addScaledWords', [out, context.value(input), step.factors[i + 1]!], out.length, { grain: 32 });
  }
  return out;
});

export const concat = local<ConcatStep>(async (context, step) => {
  const out = context.memory.words(context.elements(step.output));
  const outer = context.program.tensors[step.output]!.shape.slice(0, step.axis).reduce((a, b) => a * b, context.batch);
  const inputs = step.inputs.map((input) => context.value(input));
  join(
    inputs,
    inputs.map((words) => words.length / outer),
    out,
  );
  return out;
});

const isReshape = ({ inputShape, axes }: ViewStep): boolean =>
  axes.length === inputShape.length &&
  axes.every(({ axis, start, step, size }, i) => axis === i && start === 0 && step === 1 && size === inputShape[i]);

export const view = local<ViewStep>(async (context, step) => {
  const out = context.memory.words(context.elements(step.output));
  const input = context.value(step.input);
  if (isReshape(step)) {
    out.set(input);
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
    await context.compute.run('gatherWords', [to, from, index], size, { grain: 32 });
  }
  return out;
});

export const resample = local<ResampleStep>(async (context, step) => {
  const out = context.memory.words(context.elements(step.output));
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
});

export const sumpool = local<SumPoolStep>(async (context, step) => {
  const out = context.memory.words(context.elements(step.output));
  await sumPool(context.compute, step.geometry, context.value(step.input), context.batch, out);
  const { multipliers } = step;
  if (!multipliers) return out;
  const factors = context.cached('multipliers', () => {
    const words = context.compute.words(multipliers.length);
    words.set(multipliers);
    return words;
  });
  await context.compute.run('multiplyPeriodic', [out, factors, factors.length], out.length, { grain: 32 });
  return out;
});
