// MaxPool as a tournament of max(a, b) = b + relu(a - b), columns first and rows after: a 3 × 3 window with stride 2 costs 6 comparisons
// instead of 8, as neighbouring windows share their column maxima, and log2 of each side in rounds either way.
//
// Every difference is opened under a fresh mask of its own (relu.ts draws it): overlapping windows open the same value in several
// differences, and without it the client would read off differences of activations exactly. Roles, formulas and simulators of a single
// round are those of relu.ts with no truncation; the rest is local.

import type { Words } from '../../kernel/compute.js';
import { maxPoolPasses, type PoolPass } from '../../kernel/geometry.js';
import type { MaxPoolStep, ReluStep } from '../../model/program.js';
import { ringWords, runWords, setWords } from '../../ring/words.js';
import { type CostEnvironment, type MessageSize, numberedFrom, type Operation, roundStride, type StepContext } from '../operation.js';
import { planOf } from './plan.js';
import { relu } from './relu.js';
import { isSealed } from './states.js';

/** One round: how many differences are compared at once. */
interface Round {
  readonly pass: number;
  /** Candidates a window has before the round; pairs of them play, an odd last one waits. */
  readonly candidates: number;
  readonly outputs: number;
}

const pairs = (round: Round): number => (round.candidates >> 1) * round.outputs;

function roundsOf(step: MaxPoolStep, batch: number): Round[] {
  return maxPoolPasses(step.geometry).flatMap(({ kernel, outputs }, pass) => {
    const rounds: Round[] = [];
    for (let candidates = kernel; candidates > 1; candidates = Math.ceil(candidates / 2))
      rounds.push({ pass, candidates, outputs: outputs * batch });
    return rounds;
  });
}

/** The step a round is to relu.ts: no truncation, tensor 0 in, tensor 1 out, sizes given by the round. */
function roundStep(step: MaxPoolStep): ReluStep {
  const { name, window, comparison } = step;
  return { kind: 'relu', name, input: 0, output: 1, truncateBits: 0, window, ...(comparison && { comparison }) };
}

function roundEnvironment(environment: CostEnvironment, round: Round): CostEnvironment {
  return { program: environment.program, batch: environment.batch, elements: () => pairs(round) };
}

/** The rounds, as the ReLUs that they are. */
export function roundsAsRelu(
  step: MaxPoolStep,
  environment: CostEnvironment,
): readonly { readonly step: ReluStep; readonly environment: CostEnvironment }[] {
  return roundsOf(step, environment.batch).map((round) => ({ step: roundStep(step), environment: roundEnvironment(environment, round) }));
}

interface Nested {
  readonly context: StepContext;
  readonly output: () => Words;
}

/** A round's own view of the step: its messages and draws are numbered apart, its input and output are arrays. */
function nested(context: StepContext, round: Round, index: number, input?: Words): Nested {
  let output: Words | undefined;
  const within = (outer: StepContext): StepContext => ({
    ...numberedFrom(outer, index * roundStride),
    ...roundEnvironment(outer, round),
    value: () => input!,
    give: (_, words) => {
      output = words;
    },
    cached: (key, make) => outer.cached(`${index}/${key}`, make),
    branch: (after, quiet) => within(outer.branch(after, quiet)),
  });
  // After the rounds before, whose pieces have clocks of their own.
  return { context: within(context.branch(true)), output: () => output! };
}

function messages(step: MaxPoolStep, environment: CostEnvironment): MessageSize[] {
  return roundsOf(step, environment.batch).flatMap((round, index) =>
    relu.messages(roundStep(step), roundEnvironment(environment, round)).map((m) => ({ ...m, name: m.name + index * roundStride })),
  );
}

/** Candidates of every window side by side: [candidate][batch, outputs of the pass]. */
async function gather(context: StepContext, pass: PoolPass, number: number, source: Words): Promise<Words> {
  const { compute, memory, batch } = context;
  const index = context.cached(`pass${number}`, () => {
    const list = compute.words(pass.kernel * pass.outputs * batch);
    for (let at = 0, candidate = 0; candidate < pass.kernel; candidate++) {
      for (let image = 0; image < batch; image++) {
        for (let o = 0; o < pass.outputs; o++) list[at++] = image * pass.inputs + pass.source(o, candidate);
      }
    }
    return list;
  });
  const out = ringWords(memory, context.program.ringBits, index.length);
  await runWords(compute, 'gather', out, [out, source, index], index.length);
  return out;
}

/** Plays all rounds on one party's values; `play` gives the party's part of relu(a - b) from its part of a - b. */
async function tournament(
  context: StepContext,
  step: MaxPoolStep,
  play: (round: Round, index: number, difference: Words) => Promise<Words>,
): Promise<void> {
  const { compute, memory } = context;
  const { ringBits } = context.program;
  const passes = maxPoolPasses(step.geometry);
  const rounds = roundsOf(step, context.batch);
  let values = context.value(step.input);
  for (const [number, pass] of passes.entries()) {
    const candidates = await gather(context, pass, number, values);
    if (number > 0) memory.free(values);
    values = candidates;
    for (const [index, round] of rounds.entries()) {
      if (round.pass !== number) continue;
      const half = pairs(round);
      const [a, b] = [values.subarray(0, half), values.subarray(half, 2 * half)];
      const difference = ringWords(memory, ringBits, half);
      await runWords(compute, 'sub', difference, [difference, a, b], half);
      const won = await play(round, index, difference);
      const next = ringWords(memory, ringBits, half + (round.candidates & 1) * round.outputs);
      await runWords(compute, 'add', next, [next, b, won], half);
      setWords(next.subarray(half), values.subarray(2 * half));
      memory.free(difference, values);
      values = next;
    }
  }
  if (passes.length === 0) {
    const copy = ringWords(memory, ringBits, values.length);
    setWords(copy, values);
    values = copy;
  }
  context.give(step.output, values);
}

async function clientOffline(context: StepContext, step: MaxPoolStep): Promise<unknown[]> {
  const materials: unknown[] = [];
  const play = async (round: Round, index: number) => {
    const own = nested(context, round, index);
    materials.push(await relu.client.offline(own.context, roundStep(step)));
    return own.output();
  };
  if (isSealed(context, step.input)) {
    for (const [index, round] of roundsOf(step, context.batch).entries()) await play(round, index);
  } else await tournament(context, step, play);
  return materials;
}

async function providerOffline(context: StepContext, step: MaxPoolStep): Promise<void> {
  await tournament(context, step, async (round, index, difference) => {
    const own = nested(context, round, index, difference);
    await relu.provider.offline(own.context, roundStep(step));
    return own.output();
  });
}

async function serverOffline(context: StepContext, step: MaxPoolStep): Promise<unknown[]> {
  const materials: unknown[] = [];
  for (const [index, round] of roundsOf(step, context.batch).entries()) {
    materials.push(await relu.server.offline(nested(context, round, index).context, roundStep(step)));
  }
  return materials;
}

async function serverOnline(context: StepContext, step: MaxPoolStep, materials: unknown[]): Promise<void> {
  await tournament(context, step, async (round, index, difference) => {
    const own = nested(context, round, index, difference);
    await relu.server.online!(own.context, roundStep(step), materials[index] as never);
    return own.output();
  });
}

async function clientOnline(context: StepContext, step: MaxPoolStep, materials: unknown[]): Promise<void> {
  for (const [index, round] of roundsOf(step, context.batch).entries()) {
    await relu.client.online!(nested(context, round, index).context, roundStep(step), materials[index] as never);
  }
}

export const maxpool: Operation<MaxPoolStep, unknown[], unknown[], void> = {
  messages,
  rounds: (step, environment) => (planOf(step).direct ? 2 : 4) * roundsOf(step, environment.batch).length,
  client: { offline: clientOffline, online: clientOnline },
  server: { offline: serverOffline, online: serverOnline, putsOff: true },
  provider: { offline: providerOffline },
};
