// MaxPool as a tournament of max(a, b) = b + relu(a - b) on shares, columns first and rows after, log2 of each side in rounds of comparisons: as
// masked/maxpool.ts, whose rounds these are. Each is a rectification (rectify.ts: its messages, roles and simulators) with masks of its own.
import type { Words } from '../../kernel/compute.js';
import { maxPoolPasses, type PoolPass } from '../../kernel/geometry.js';
import type { MaxPoolStep } from '../../model/program.js';
import { ringWords, runWords } from '../../ring/words.js';
import type { CostEnvironment, Operation, StepContext } from '../operation.js';
import { rounds } from './drelu.js';
import type { Hands, Party } from './privatecompare.js';
import * as rectify from './rectify.js';

type Context = StepContext<Words>;

/** One round: how many differences are compared at once. */
interface Round {
  readonly pass: number;
  /** Candidates a window has before the round; pairs of them play, an odd last one waits. */
  readonly candidates: number;
  readonly outputs: number;
  readonly shape: rectify.Shape;
}

const pairs = ({ candidates, outputs }: Pick<Round, 'candidates' | 'outputs'>): number => (candidates >> 1) * outputs;

function roundsOf(step: MaxPoolStep, { batch, program: { ringBits } }: CostEnvironment): Round[] {
  const list: Round[] = [];
  let firstChunk = 0;
  for (const [pass, { kernel, outputs: each }] of maxPoolPasses(step.geometry).entries()) {
    const outputs = each * batch;
    for (let candidates = kernel; candidates > 1; candidates = Math.ceil(candidates / 2)) {
      const count = pairs({ candidates, outputs });
      const shape = rectify.shapeOf({ ringBits, window: step.window, firstChunk }, count, count);
      firstChunk = rectify.nextChunk(shape);
      list.push({ pass, candidates, outputs, shape });
    }
  }
  return list;
}

/** Candidates of every window side by side: [candidate][batch, outputs of the pass]. */
async function gather(context: Context, pass: PoolPass, number: number, source: Words): Promise<Words> {
  const { compute, memory, batch, program } = context;
  const index = context.cached(`pass${number}`, () => {
    const list = compute.words(pass.kernel * pass.outputs * batch);
    for (let at = 0, candidate = 0; candidate < pass.kernel; candidate++) {
      for (let image = 0; image < batch; image++) {
        for (let o = 0; o < pass.outputs; o++) list[at++] = image * pass.inputs + pass.source(o, candidate);
      }
    }
    return list;
  });
  const out = ringWords(memory, program.ringBits, index.length);
  await runWords(compute, 'gather', out, [out, source, index], index.length);
  return out;
}

/** One round: b + relu(a - b) of all pairs, the odd candidate behind them. */
async function play(context: Context, self: Party, round: Round, values: Words, material: rectify.PartyMaterial): Promise<Words> {
  const { compute, memory, program } = context;
  const half = pairs(round);
  const [a, b] = [values.subarray(0, half), values.subarray(half, 2 * half)];
  const difference = ringWords(memory, program.ringBits, half);
  await runWords(compute, 'sub', difference, [difference, a, b], half);
  const won = await rectify.partyOnline(context.branch(true), self, round.shape, {}, difference, material);
  const next = ringWords(memory, program.ringBits, values.length - half);
  await runWords(compute, 'add', next, [next, b, won], half);
  const rest = next.subarray(half);
  await runWords(compute, 'scale', next, [rest, values.subarray(2 * half), 1], rest.length);
  memory.free(difference, won, values);
  return next;
}

async function partyOnline(self: Party, context: Context, step: MaxPoolStep, materials: readonly rectify.PartyMaterial[]): Promise<void> {
  const { compute, memory, program } = context;
  const list = roundsOf(step, context);
  const input = context.value(step.input);
  let values = input;
  for (const [number, pass] of maxPoolPasses(step.geometry).entries()) {
    const candidates = await gather(context, pass, number, values);
    if (number > 0) memory.free(values);
    values = candidates;
    for (const [index, round] of list.entries())
      if (round.pass === number) values = await play(context, self, round, values, materials[index]!);
  }
  if (values === input) {
    values = ringWords(memory, program.ringBits, input.length);
    await runWords(compute, 'scale', values, [values, input, 1], input.length);
  }
  context.give(step.output, values);
}

/** Runs `prepare` for every round. */
async function overRounds<T>(
  context: Context,
  step: MaxPoolStep,
  prepare: (hands: Hands, shape: rectify.Shape) => Promise<T>,
): Promise<T[]> {
  const materials: T[] = [];
  for (const { shape } of roundsOf(step, context)) materials.push(await prepare(context, shape));
  return materials;
}

const part = (self: Party) => ({
  offline: (context: Context, step: MaxPoolStep) => overRounds(context, step, (hands, shape) => rectify.partyOffline(hands, self, shape)),
  online: (context: Context, step: MaxPoolStep, materials: rectify.PartyMaterial[]) => partyOnline(self, context, step, materials),
});

export const maxpool: Operation<MaxPoolStep, rectify.PartyMaterial[], rectify.PartyMaterial[], rectify.DealerMaterial[], Words> = {
  messages: (step, environment) => roundsOf(step, environment).flatMap(({ shape }, index) => rectify.messages(shape, rounds * index)),
  rounds: (step, environment) => rounds * roundsOf(step, environment).length,
  client: part('client'),
  server: part('server'),
  provider: {
    offline: (context, step) => overRounds(context, step, rectify.providerOffline),
    async online(context, step, materials) {
      for (const [index, { shape }] of roundsOf(step, context).entries())
        await rectify.providerOnline(context.branch(true), shape, {}, materials[index]!);
    },
  },
};
