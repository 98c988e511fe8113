// The sign of a comparison as ReLU selects by it: planes that the provider knows (zeta), and in one round trip planes that client and server
// open, of which the sign is a sum with the zetas. Not here: how planes are opened (comparison.ts).
import type { Words } from '../../kernel/compute.js';
import { callWords } from '../../ring/words.js';
import type { StepContext } from '../operation.js';
import type { ComparisonPlan } from './plan.js';
import { evaluate, type Planes } from './planes.js';

/**
 * The planes by which a sign is selected, from whole mask planes and the top bit of M. In two round trips, zeta = the result's mask XOR top, which
 * turns the opened bit into the sign. In one, with the planes alpha, beta_1, beta_2 of two digits (beta_1 alone of one):
 *   zeta_0 = beta_1 ^ top,   zeta_1 = zeta_0 ^ alpha,   zeta_2 = zeta_0 ^ beta_2,   zeta_3 = zeta_0 ^ alpha beta_2
 */
export function zetasOf(context: StepContext, plan: ComparisonPlan, masks: Uint8Array, top: Uint8Array): Uint8Array[] {
  const stride = top.length;
  const plane = (i: number): number => masks.byteOffset + i * stride;
  const base = [[plan.zetas === 4 ? plane(1) : masks.byteOffset + masks.length - stride], [top.byteOffset]];
  const own = plan.zetas === 4 ? [[], [[plane(0)]], [[plane(2)]], [[plane(0), plane(2)]]] : [[]];
  return own.map((terms) => {
    const zeta = context.memory.bytes(stride);
    evaluate(context, [...base, ...terms], zeta.byteOffset, stride);
    return zeta;
  });
}

/** The sign of a comparison in one round trip, in planes that both sides know: z = flip ^ zeta_0 + Σ ± (zeta_j − zeta_0). */
export interface OpenSign {
  readonly flip: Uint8Array;
  /** For zeta_1, zeta_2, …: where it counts (everywhere when absent), and where it counts negatively. */
  readonly terms: readonly { readonly chosen?: Uint8Array; readonly turn: Uint8Array }[];
}

/**
 * The sign in one round trip, after its planes are open. With E = eq ^ alpha, L_1, L_2 opened and Z = 1 ^ top(Y) ^ L_1: as eq excludes lt_1,
 *   z = (Z ^ zeta_0) ^ eq lt_2 = (Z ^ zeta_0) + (1 - 2 (Z ^ zeta_0)) (E ^ alpha) (L_2 ^ beta_2)
 * which multiplied out, with sigma = 1 - 2 zeta_0 and sigma alpha = zeta_1 - zeta_0 and so on, is
 *   z = (Z ^ E L_2 ^ zeta_0) ± L_2 (zeta_1 - zeta_0) ± E (zeta_2 - zeta_0) ± (zeta_3 - zeta_0),   negative where Z ^ E, Z ^ L_2, Z ^ E ^ L_2
 */
export function openSign(context: StepContext, plan: ComparisonPlan, opened: Planes, words: Words, shift: number): OpenSign {
  const { compute, memory } = context;
  const stride = opened.block.length / opened.number;
  const count = stride * 8;
  const part = (i: number): number => opened.block.byteOffset + i * stride;
  const top = memory.bytes(stride);
  top.fill(0);
  callWords(compute, 'bitPlane', words, [top, words, shift + plan.bits - 1], Math.min(count, words.length));
  const xor = (...terms: number[][]): Uint8Array => {
    const out = memory.bytes(stride);
    evaluate(context, [[], [top.byteOffset], ...terms], out.byteOffset, stride);
    return out;
  };
  if (plan.zetas === 1) return { flip: xor([part(0)]), terms: [] };
  const [e, l1, l2] = [part(0), part(1), part(2)];
  const plane = (i: number): Uint8Array => opened.block.subarray(i * stride, (i + 1) * stride);
  const terms = [{ chosen: plane(2), turn: xor([l1], [e]) }, { chosen: plane(0), turn: xor([l1], [l2]) }, { turn: xor([l1], [e], [l2]) }];
  return { flip: xor([l1], [e, l2]), terms };
}
