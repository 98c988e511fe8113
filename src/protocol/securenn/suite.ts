// The `securenn` suite: additive shares between client and server, with a provider that also takes part online (SecureNN, Wagh et al. 2019,
// with the savings of Porthos, Kumar et al. 2020). One line an operation.
import type { OperationTable, Suite } from '../suite.js';
import * as ends from './ends.js';
import { linear, type WeightMasks } from './linear.js';
import { add, concat, resample, sumpool, view } from './local.js';
import { maxpool } from './maxpool.js';
import { product } from './product.js';
import { relu } from './relu.js';
import { exactTruncation, localFailures, localTruncation, type Truncation, truncate } from './truncate.js';

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

/**
 * Truncation of shares fails with probability |x| / 2^64 an element, which is what the wide ring is for: below 2^-30 with so many bits.
 * ResNet-20: 14 fractional bits for activations and as many for weights.
 */
const localRangeBits = 36;

/** Failures a picture, at most, above which a user is told. */
const doubtfulFailures = 0.1;

function suite(name: string, masks: WeightMasks, truncation: Truncation): Suite {
  return {
    name,
    operations: operations(masks, truncation),
    ends,
    reusesWeights: masks === 'reusable',
    defaultRingBits: 64,
    rangeBits: (ringBits) => (truncation === localTruncation && ringBits === 64 ? localRangeBits : ringBits),
    refuses: ({ ringBits, rangeBits }) => {
      if (ringBits > 32 && ringBits < 64) return `computes in rings of 16 to 32 bits and of 64, and this program's has ${ringBits}`;
      if (truncation === localTruncation && (rangeBits ?? 0) > localRangeBits)
        return `truncates values of up to ${localRangeBits} of 64 bits, and this program's have ${rangeBits}`;
      return undefined;
    },
    doubts: (program) => {
      const failures = truncation === localTruncation ? localFailures(program) : 0;
      if (failures <= doubtfulFailures) return undefined;
      const most = failures < 1 ? failures.toPrecision(1) : Math.round(failures).toLocaleString('en');
      return `truncates shares where they are, which fails for up to ${most} values a picture in this program; securenn-exact has no such failures`;
    },
  };
}

export const securenn = suite('securenn', 'reusable', localTruncation);

/** The same with linear layers whose weights are masked anew for every inference. */
export const securennBeaver = suite('securenn-beaver', 'beaver', localTruncation);

/** The same with truncation that is never off by more than a unit. */
export const securennExact = suite('securenn-exact', 'reusable', exactTruncation);
