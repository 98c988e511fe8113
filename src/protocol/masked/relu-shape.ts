// What a ReLU's messages are, from the public program alone: its plan, their sizes and their order.
import type { ReluStep } from '../../model/program.js';
import { messageNames } from '../messages.js';
import type { CostEnvironment, MessageSize } from '../operation.js';
import { packedBytes } from '../packing.js';
import { patchCounts } from '../patches.js';
import * as comparison from './comparison.js';
import * as identity from './identity.js';
import { type ComparisonPlan, planOf } from './plan.js';

export interface Shape {
  readonly k: number;
  readonly f: number;
  /** Low bits the server leaves out of the opening. */
  readonly dropped: number;
  /** Lowest compared bit in the scale of the opened words. */
  readonly shift: number;
  readonly plan: ComparisonPlan;
  readonly hinges: number;
}

export function shapeOf(step: ReluStep, { program }: CostEnvironment): Shape {
  const f = step.truncateBits;
  const { low } = step.window;
  const dropped = low >= f ? f : 0;
  return {
    k: program.ringBits,
    f,
    dropped,
    shift: low - dropped,
    plan: planOf(step),
    hinges: step.cap === undefined ? 1 : 2,
  };
}

/** Bytes of the step's messages. */
export function sizes(step: ReluStep, environment: CostEnvironment) {
  const { k, f, dropped, plan, hinges } = shapeOf(step, environment);
  const { compared, blocks, identity: passed } = patchCounts(step, environment);
  const planes = comparison.openedBytes(plan, blocks, hinges);
  const pass = identity.identityBytes(passed, k, f);
  const pair = packedBytes(compared, k) + packedBytes(compared, f);
  const selected = hinges * plan.zetas * (pair + packedBytes(blocks, k));
  const shares = packedBytes(compared, k);
  return {
    correlation: comparison.dealtBytes(plan, blocks, hinges) + pair + selected + pass.correlation,
    opening: packedBytes(compared, k - dropped) + planes.first + pass.opening,
    answer: planes.first + planes.second + pass.answer + (plan.direct ? shares : 0),
    signs: planes.second + planes.result,
    result: planes.result + shares,
  };
}

export function messages(step: ReluStep, environment: CostEnvironment): MessageSize[] {
  const size = sizes(step, environment);
  const { compared, identity: passed } = patchCounts(step, environment);
  if (compared + passed === 0) return [];
  const list: MessageSize[] = [
    { phase: 'offline', link: 'provider>server', name: messageNames.correlation, bytes: size.correlation },
    { phase: 'online', link: 'server>client', name: messageNames.opening, bytes: size.opening },
    { phase: 'online', link: 'client>server', name: messageNames.answer, bytes: size.answer },
  ];
  if (compared === 0 || shapeOf(step, environment).plan.direct) return list;
  return [
    ...list,
    { phase: 'online', link: 'server>client', name: messageNames.signs, bytes: size.signs },
    { phase: 'online', link: 'client>server', name: messageNames.result, bytes: size.result },
  ];
}
