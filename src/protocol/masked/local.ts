// Steps that every party does alone, to the masked value and to the mask alike: sums, concatenation, views, pooling sums. No messages.
import type { Words } from '../../kernel/compute.js';
import type { Step } from '../../model/program.js';
import * as local from '../local.js';
import type { Operation, StepContext } from '../operation.js';
import { isSealed } from './states.js';

/** An operation in which each party applies `apply` to what it holds: the client to masks of hidden tensors only. */
function masked<S extends Step>(apply: (context: StepContext<Words>, step: S) => Promise<Words>): Operation<S, void, void, void, Words> {
  const run = async (context: StepContext<Words>, step: S) => context.give(step.output, await apply(context, step));
  return {
    messages: () => [],
    rounds: () => 0,
    client: { offline: async (context, step) => (isSealed(context, step.output) ? undefined : run(context, step)) },
    server: { offline: async () => undefined, online: run },
    provider: { offline: run },
  };
}

export const add = masked(local.add);
export const concat = masked(local.concat);
export const view = masked(local.view);
export const sumpool = masked(local.sumpool);
export const resample = masked(local.resample);
