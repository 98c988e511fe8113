// What a step takes of a party's memory, from the public program alone: for predictions of the most that is resident (party/memory.ts). Words in
// memory are 4 or 8 bytes wide where messages are packed to the ring's bits. Not here: values between steps, and weights.
import type { MaxPoolStep, ReluStep, Step } from '../../model/program.js';
import { wordBytes } from '../../ring/words.js';
import type { CostEnvironment } from '../operation.js';
import { carvedBytes, packedBytes } from '../packing.js';
import { patchCounts } from '../patches.js';
import type { StepMemory } from '../suite.js';
import * as comparison from './comparison.js';
import { roundsAsRelu } from './maxpool.js';
import { clientBytes } from './relu-parts.js';
import { shapeOf, sizes } from './relu-shape.js';

/** A ReLU's bytes: what each party keeps from offline to online, expanded, and what else it works on. */
function reluMemory(step: ReluStep, environment: CostEnvironment): StepMemory {
  const shape = shapeOf(step, environment);
  const counts = patchCounts(step, environment);
  const size = sizes(step, environment);
  const word = wordBytes(shape.k);
  const all = word * environment.elements(step.input);
  const compared = word * counts.compared;
  const client = clientBytes(shape, counts);
  const planes = carvedBytes(comparison.serverDrawSizes(shape.plan, counts.blocks, shape.hinges));
  const lists = step.patches ? 4 * (2 * counts.compared + counts.blocks + counts.identity) : 0;
  const exchanged = size.opening + size.answer + size.signs + size.result;
  return {
    kept: { client, server: client - compared + planes + all, provider: 0 },
    shared: lists,
    working: {
      // The output's mask; then the shares, which are dealt in place, the opening's mask, the compared words and the message.
      offline: { client: compared, server: size.correlation, provider: client + planes + all + 2 * compared + size.correlation },
      // The opened words, those selected, the other's share, and the messages.
      online: { client: 3 * compared + exchanged, server: 4 * compared + exchanged, provider: 0 },
    },
  };
}

function poolMemory(step: MaxPoolStep, environment: CostEnvironment): StepMemory {
  const rounds = roundsAsRelu(step, environment).map((round) => reluMemory(round.step, round.environment));
  const sum = (of: (memory: StepMemory) => number): number => rounds.reduce((total, memory) => total + of(memory), 0);
  const most = (of: (memory: StepMemory) => number): number => rounds.reduce((total, memory) => Math.max(total, of(memory)), 0);
  const gathered = 2 * wordBytes(environment.program.ringBits) * environment.elements(step.input);
  return {
    kept: { client: sum((m) => m.kept.client), server: sum((m) => m.kept.server), provider: 0 },
    shared: gathered,
    working: {
      offline: {
        client: sum((m) => m.working.offline.client) + gathered,
        server: most((m) => m.working.offline.server),
        provider: sum((m) => m.working.offline.provider) + gathered,
      },
      online: { client: sum((m) => m.working.online.client), server: sum((m) => m.working.online.server) + gathered, provider: 0 },
    },
  };
}

/** Bytes of a step, expanded. */
export function memoryOf(step: Step, environment: CostEnvironment): StepMemory {
  const { ringBits, batch } = { ...environment.program, batch: environment.batch };
  const word = wordBytes(ringBits);
  const output = environment.elements(step.output);
  const packed = packedBytes(output, ringBits);
  const none = { client: 0, server: 0, provider: 0 };
  switch (step.kind) {
    case 'relu':
      return reluMemory(step, environment);
    case 'maxpool':
      return poolMemory(step, environment);
    case 'linear':
      return {
        kept: { ...none, server: word * output },
        shared: 0,
        working: { offline: { client: 2 * word * output + packed, server: packed, provider: word * output }, online: none },
      };
    case 'truncate':
    case 'product': {
      const each = word * output;
      return {
        kept: { client: 3 * each, server: 3 * each, provider: 0 },
        shared: 0,
        working: {
          offline: { client: each, server: 2 * packed, provider: 4 * each + 2 * packed },
          online: { client: each + packed, server: 3 * each + packed, provider: 0 },
        },
      };
    }
    case 'view':
      return { kept: none, shared: (4 * output) / batch, working: { offline: none, online: none } };
    default:
      return { kept: none, shared: 0, working: { offline: none, online: none } };
  }
}
