// The `securenn` suite: additive shares between client and server, with a provider that also takes part online (SecureNN, Wagh et al. 2019,
// with the savings of Porthos, Kumar et al. 2020). One line an operation.
import type { OperationTable, Suite } from '../suite.js';
import * as ends from './ends.js';
import { linear, type WeightMasks } from './linear.js';
import { add, concat, resample, sumpool, view } from './local.js';
import { maxpool } from './maxpool.js';
import { product } from './product.js';
import { relu } from './relu.js';
import { exactTruncation, localTruncation, type Truncation, truncate } from './truncate.js';

function operations(masks: WeightMasks, truncation: Truncation): OperationTable {
  return {
    linear: linear(masks),
    relu: relu(truncation),
    truncate: truncate(truncation),
    maxpool,
    sumpool,
    resample,
    product,
    add,
    concat,
    view,
  } as unknown as OperationTable;
}

function suite(name: string, masks: WeightMasks, truncation: Truncation): Suite {
  return {
    name,
    operations: operations(masks, truncation),
    ends,
    reusesWeights: masks === 'reusable',
    defaultRingBits: 64,
    refuses: () => undefined,
  };
}

export const securenn = suite('securenn', 'reusable', localTruncation);

/** The same with linear layers whose weights are masked anew for every inference. */
export const securennBeaver = suite('securenn-beaver', 'beaver', localTruncation);

/** The same with truncation that is never off by more than a unit. */
export const securennExact = suite('securenn-exact', 'reusable', exactTruncation);
