// Truncation without a comparison, on lists of elements: used by truncate.ts for whole layers and by relu.ts for identity channels.
// Slack-bit truncation (Escudero et al., Crypto 2020, section 5): y + 2^(k-2) has its top bit clear, so one bit b of the opened value and
// the mask's top bit tell whether the masked sum wrapped.
//
//   u = ỹ + 2^(k-2);  A = (u >> f) - 2^(k-2-f);  b = 1 - msb(u);  trunc(y) = A - (mu >> f) + b 2^(k-f) msb(mu)
//
// Offline: t = msb(mu) shared (client's half t_c drawn), d = (mu >> f) - lambda0 sent. Online: the server sends b, the client answers
// e = b t_c + lambda1 (f bits). x̃ = A - d + 2^(k-f)(b t_s + e) under the mask lambda0 + 2^(k-f) lambda1.
// Simulators: the client sees b, a bit of a value under a mask it lacks (c of the opening): a fresh uniform ỹ gives it.
// The server sees d (one-time pad lambda0), t_s (pad t_c) and e (pad lambda1): three uniform words.
import type { Words } from '../../kernel/compute.js';
import { callWords, ringWords, runWords, setWords, wordBytes } from '../../ring/words.js';
import type { StepContext } from '../operation.js';
import { asWords, type PayloadReader, type PayloadWriter, packedBytes, planeStride } from '../packing.js';

/** Bytes of the words the client and the provider draw for `count` elements: t_c, lambda0, lambda1. */
export const identityDrawSizes = (count: number, ringBits: number): number[] => new Array<number>(3).fill(wordBytes(ringBits) * count);

export const identityBytes = (count: number, ringBits: number, truncateBits: number) => ({
  correlation: packedBytes(count, truncateBits) + packedBytes(count, ringBits),
  opening: packedBytes(count, 1),
  answer: packedBytes(count, truncateBits),
});

/** Mask of the result, lambda0 + 2^(k-f) lambda1, from the draw's parts. The client's and the provider's. */
export async function identityMask(
  context: StepContext,
  count: number,
  truncateBits: number,
  drawn: readonly Uint8Array[],
): Promise<Words> {
  const { ringBits } = context.program;
  const mask = ringWords(context.memory, ringBits, count);
  if (truncateBits === 0) setWords(mask, asWords(drawn[1]!, ringBits));
  else await runWords(context.compute, 'addShifted', mask, [mask, drawn[1]!, drawn[2]!, ringBits - truncateBits], count);
  return mask;
}

/** Provider: turns its copies of t_c and lambda0 into the server's t_s and d, and writes them. `mu` are the masks of the elements. */
export async function dealIdentity(
  context: StepContext,
  mu: Words,
  count: number,
  truncateBits: number,
  drawn: readonly Uint8Array[],
  message: PayloadWriter,
): Promise<void> {
  const { ringBits } = context.program;
  const [carry, high] = [drawn[0]!, drawn[1]!];
  const carryPointer = truncateBits === 0 ? 0 : carry;
  await runWords(context.compute, 'shareTruncation', mu, [mu, 0, high, carryPointer, ringBits, truncateBits], count);
  await message.words(asWords(carry, ringBits), count, truncateBits);
  await message.words(asWords(high, ringBits), count, ringBits);
}

/** The server's half: t_s and d. */
export interface IdentityShares {
  readonly carry: Words;
  readonly high: Words;
}

export async function readIdentity(
  context: StepContext,
  count: number,
  truncateBits: number,
  message: PayloadReader,
): Promise<IdentityShares> {
  const { ringBits } = context.program;
  const shares = { carry: ringWords(context.memory, ringBits, count), high: ringWords(context.memory, ringBits, count) };
  await message.words(shares.carry, count, truncateBits);
  await message.words(shares.high, count, ringBits);
  return shares;
}

/** Server, first message: v = ỹ >> f of the elements and the plane of bits b. */
export async function identityOpening(
  context: StepContext,
  opened: Words,
  count: number,
  truncateBits: number,
): Promise<{ v: Words; plane: Uint8Array }> {
  const { ringBits } = context.program;
  const v = ringWords(context.memory, ringBits, count);
  const plane = context.memory.bytes(planeStride(count));
  await runWords(context.compute, 'shift', v, [v, opened, ringBits, truncateBits], count);
  callWords(context.compute, 'slackPlane', v, [plane, v, ringBits - truncateBits], count);
  return { v, plane };
}

/** Client, answer: e = b t_c + lambda1. */
export async function identityAnswer(context: StepContext, plane: Uint8Array, count: number, drawn: readonly Uint8Array[]): Promise<Words> {
  const answer = ringWords(context.memory, context.program.ringBits, count);
  await runWords(context.compute, 'addWhereBit', answer, [answer, drawn[2]!, drawn[0]!, plane], count, { grain: 128 });
  return answer;
}

/** Server, last: x̃ = A - d + 2^(k-f)(b t_s + e). Reuses the answer's words. */
export async function identityResult(
  context: StepContext,
  { v, plane }: { v: Words; plane: Uint8Array },
  shares: IdentityShares,
  answer: Words,
  count: number,
  truncateBits: number,
): Promise<Words> {
  const { ringBits } = context.program;
  const width = ringBits - truncateBits;
  const out = ringWords(context.memory, ringBits, count);
  await runWords(context.compute, 'addWhereBit', answer, [answer, answer, shares.carry, plane], count, { grain: 128 });
  await runWords(context.compute, 'subQuarter', out, [out, v, shares.high, width], count);
  if (truncateBits > 0) await runWords(context.compute, 'addShifted', out, [out, out, answer, width], count);
  return out;
}
