// Steps that client and server do alone, each to its share: sums, concatenation, views, pooling sums. No messages; the provider has no part.
import type { Words } from '../../kernel/compute.js';
import type { Step } from '../../model/program.js';
import * as local from '../local.js';
import type { Operation, StepContext } from '../operation.js';

function shared<S extends Step>(apply: (context: StepContext<Words>, step: S) => Promise<Words>): Operation<S, void, void, void, Words> {
  const online = async (context: StepContext<Words>, step: S) => context.give(step.output, await apply(context, step));
  const nothing = async () => undefined;
  return {
    messages: () => [],
    rounds: () => 0,
    depths: (_step, _environment, before) => before,
    client: { offline: nothing, online },
    server: { offline: nothing, online },
    provider: { offline: nothing },
  };
}

export const add = shared(local.add);
export const concat = shared(local.concat);
export const view = shared(local.view);
export const sumpool = shared(local.sumpool);
export const resample = shared(local.resample);
