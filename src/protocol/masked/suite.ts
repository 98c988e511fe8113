// The `masked` suite: the default protocol. One line an operation.
import type { Suite } from '../suite.js';
import * as ends from './ends.js';
import { linear } from './linear.js';
import { add, concat, resample, sumpool, view } from './local.js';
import { maxpool } from './maxpool.js';
import { memoryOf } from './memory.js';
import { allPlans, choiceOf } from './plan.js';
import { product } from './product.js';
import { relu } from './relu.js';
import { truncate } from './truncate.js';

export const masked: Suite = {
  name: 'masked',
  operations: { linear, relu, truncate, maxpool, sumpool, resample, product, add, concat, view } as unknown as Suite['operations'],
  ends: ends as unknown as Suite['ends'],
  reusesWeights: true,
  defaultRingBits: 32,
  comparisonWays: ({ low, high }) => allPlans(high - low).map(choiceOf),
  rangeBits: (ringBits) => ringBits,
  refuses: () => undefined,
  memoryOf,
};
