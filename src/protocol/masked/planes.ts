// Bit planes side by side: reading, opening, and polynomials of them.
import type { StepContext } from '../operation.js';
import { type PayloadReader, planeStride } from '../packing.js';

/** Bit planes side by side. */
export interface Planes {
  readonly block: Uint8Array;
  readonly number: number;
}

export function allocatePlanes(context: StepContext, number: number, count: number): Planes {
  return { block: context.memory.bytes(number * planeStride(count)), number };
}

export function readPlanes(context: StepContext, message: PayloadReader, number: number, count: number): Planes {
  const read = allocatePlanes(context, number, count);
  message.planes(read.block, number, count);
  return read;
}

/** What both sides opened: XOR of the two halves, in place in `mine`. */
export function open(context: StepContext, mine: Planes, theirs: Planes): void {
  context.compute.call('xorBytes', mine.block, theirs.block, 0, mine.block.length);
  context.memory.free(theirs.block);
}

/** Writes at `out` the XOR over terms of the AND of the planes at the terms' byte offsets. */
export function evaluate({ compute, memory }: StepContext, terms: readonly (readonly number[])[], out: number, stride: number): void {
  const list = memory.words(terms.reduce((length, term) => length + 1 + term.length, 0));
  let at = 0;
  for (const term of terms) {
    list[at++] = term.length;
    for (const plane of term) list[at++] = plane;
  }
  compute.call('evaluateTerms', out, list, terms.length, 0, stride);
  memory.free(list);
}
