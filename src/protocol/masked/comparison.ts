// DReLU: XOR shares of the sign of y, from Y = y + mu (client and server) and mu (provider). The window's low bits are compared with one-time
// truth tables (Ishai et al., TCC 2013, section 3), digit by digit. Used by relu.ts and maxpool.ts; not a step of its own.
//
//   DReLU(y) = 1 ^ top(Y) ^ top(M) ^ [low(Y) < low(M)],  Y and M the windows of the opened value and of its mask
//
// Why it is safe: a table share is a one-time pad of the table (server) or the pad (client), and is only read at a place both know, never
// sent. Every opened plane is a shared bit XOR a mask plane of which each side lacks the other half; simulate each with a random plane.
import type { Words } from '../../kernel/compute.js';
import { callWords, runWords } from '../../ring/words.js';
import type { StepContext } from '../operation.js';
import { carve, carvedBytes, type PayloadReader, type PayloadWriter, packedBytes, planeStride } from '../packing.js';
import { zetasOf } from './open-sign.js';
import type { Combiner, ComparisonPlan } from './plan.js';
import { allocatePlanes, evaluate, type Planes } from './planes.js';

/** One party's shares for comparing `count` values, `hinges` times each against different public offsets (2 for ReLU6, else 1). */
export interface ComparisonShares {
  readonly count: number;
  readonly tables: readonly Uint8Array[];
  readonly hinges: readonly HingeShares[];
}

/** Planes side by side, in the order of the plan's combiners. */
interface HingeShares {
  /** Mask planes; in two round trips the last plane is the party's half of what hides the result. */
  readonly masks: Uint8Array;
  readonly products: Uint8Array;
}

const combinersOf = (plan: ComparisonPlan): Combiner[] => (plan.second ? [...plan.first, plan.second] : [...plan.first]);
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const masksOf = (combiners: readonly Combiner[]): number => sum(combiners.map((c) => c.masks));
const productsOf = (plan: ComparisonPlan): number => sum(combinersOf(plan).map((c) => c.products.length));

/** Bytes of the tables and products in the provider's message to the server. */
export function dealtBytes(plan: ComparisonPlan, count: number, hinges: number): number {
  return sum(plan.digits.map((g) => packedBytes(count, 1 << g))) + hinges * productsOf(plan) * packedBytes(count, 1);
}

/** Bytes of opened planes: the server's first message, and what both levels add to the client's answer and the server's second. A sign that
 * is had in one round trip is never opened. */
export function openedBytes(plan: ComparisonPlan, count: number, hinges: number): { first: number; second: number; result: number } {
  const plane = packedBytes(count, 1) * hinges;
  return { first: plane * masksOf(plan.first), second: plane * (plan.second?.masks ?? 0), result: plan.direct ? 0 : plane };
}

const tableSizes = (plan: ComparisonPlan, count: number): number[] => plan.digits.map((g) => Math.max(16, planeStride(count) << g));
const maskSize = (plan: ComparisonPlan, count: number): number => (masksOf(combinersOf(plan)) + (plan.direct ? 0 : 1)) * planeStride(count);
const productSize = (plan: ComparisonPlan, count: number): number => productsOf(plan) * planeStride(count);

/** Sizes of what the client and the provider draw together (tables, mask planes, product shares) for a comparison. */
export function clientDrawSizes(plan: ComparisonPlan, count: number, hinges: number): number[] {
  return [...tableSizes(plan, count), ...Array.from({ length: hinges }, () => [maskSize(plan, count), productSize(plan, count)]).flat()];
}

/** The same for the server and the provider: mask planes alone. */
export function serverDrawSizes(plan: ComparisonPlan, count: number, hinges: number): number[] {
  return new Array<number>(hinges).fill(maskSize(plan, count));
}

/** The client's shares from its draw (parts sized by {@link clientDrawSizes}). */
export function clientShares(plan: ComparisonPlan, count: number, hinges: number, parts: readonly Uint8Array[]): ComparisonShares {
  const tables = parts.slice(0, plan.digits.length);
  const rest = parts.slice(tables.length);
  return { count, tables, hinges: Array.from({ length: hinges }, (_, h) => ({ masks: rest[2 * h]!, products: rest[2 * h + 1]! })) };
}

/** The server's shares: mask planes from its draw, tables and products from the provider's message. */
export function serverShares(
  context: StepContext,
  plan: ComparisonPlan,
  count: number,
  drawn: readonly Uint8Array[],
  message: PayloadReader,
): ComparisonShares {
  const digits = plan.digits;
  const sizes = [...tableSizes(plan, count), ...drawn.map(() => productSize(plan, count))];
  const parts = carve(context.memory.bytes(carvedBytes(sizes)), sizes);
  const tables = parts.slice(0, digits.length);
  for (const [i, g] of digits.entries()) message.raw(tables[i]!, packedBytes(count, 1 << g));
  const hinges = drawn.map((masks, h) => {
    const products = parts[digits.length + h]!;
    message.planes(products, productsOf(plan), count);
    return { masks, products };
  });
  return { count, tables, hinges };
}

/**
 * The provider's part: writes the server's shares of the tables and products, and returns for each hinge the planes zeta that the sign is
 * selected by (zetasOf). `words` are the masks' sums, `shift` the window's low end in their scale. `fromClient` and `fromServer` are the two
 * draws; what is in them is overwritten.
 */
export async function dealComparison(
  context: StepContext,
  plan: ComparisonPlan,
  words: Words,
  shift: number,
  fromClient: ComparisonShares,
  fromServer: readonly Uint8Array[],
  message: PayloadWriter,
): Promise<readonly (readonly Uint8Array[])[]> {
  const { count } = fromClient;
  const { compute } = context;
  const stride = planeStride(count);
  const positions = digitPositions(plan, shift);
  for (const [i, g] of plan.digits.entries()) {
    const args = [fromClient.tables[i]!, words, positions[i]!, g];
    await runWords(compute, 'flipDigit', words, args, count, { grain: 128, costPerItem: 2 });
    message.raw(fromClient.tables[i]!, packedBytes(count, 1 << g));
  }
  const top = context.memory.bytes(stride);
  callWords(compute, 'bitPlane', words, [top, words, shift + plan.bits - 1], count);
  const zetas = fromClient.hinges.map(({ masks, products }, h) => {
    compute.call('xorBytes', masks, fromServer[h]!, 0, masks.length);
    dealProducts(context, plan, masks, products, stride);
    message.planes(products, productsOf(plan), count);
    return zetasOf(context, plan, masks, top);
  });
  context.memory.free(top);
  return zetas;
}

/** Turns the client's shares of the products of mask planes into the server's: each is XORed with its product. */
function dealProducts(context: StepContext, plan: ComparisonPlan, masks: Uint8Array, products: Uint8Array, stride: number): void {
  let firstMask = masks.byteOffset;
  let share = products.byteOffset;
  for (const combiner of combinersOf(plan)) {
    for (const set of combiner.products) {
      const planes = Array.from({ length: combiner.masks }, (_, i) => i).filter((i) => (set >> i) & 1);
      evaluate(context, [[share], planes.map((i) => firstMask + i * stride)], share, stride);
      share += stride;
    }
    firstMask += combiner.masks * stride;
  }
}

/** Position of each digit's lowest bit in the compared words. */
function digitPositions(plan: ComparisonPlan, shift: number): number[] {
  let at = shift + plan.bits - 1;
  return plan.digits.map((g) => {
    at -= g;
    return at;
  });
}

/** First level, one hinge: this party's half of every eq XOR alpha and lt XOR beta, by table look-up at the digits of `words`. */
export async function lookUp(
  context: StepContext,
  plan: ComparisonPlan,
  shares: ComparisonShares,
  hinge: number,
  words: Words,
  shift: number,
): Promise<Planes> {
  const { count } = shares;
  const stride = planeStride(count);
  const out = allocatePlanes(context, masksOf(plan.first), count);
  const positions = digitPositions(plan, shift);
  let digit = 0;
  let base = out.block.byteOffset;
  for (const { alphas, masks, digits } of plan.first) {
    for (let i = 0; i < digits; i++, digit++) {
      const equal = i < alphas ? base + i * stride : 0;
      const above = base + (alphas + i) * stride;
      const table = shares.tables[digit]!;
      const args = [equal, above, table, words, positions[digit]!, plan.digits[digit]!];
      await runWords(context.compute, 'lookUpDigit', words, args, count, { grain: 128 });
    }
    base += masks * stride;
  }
  context.compute.call('xorBytes', out.block, shares.hinges[hinge]!.masks, 0, out.block.length);
  return out;
}

/** Where a combiner's planes lie: its opened planes, its mask planes and its product shares, as byte offsets. */
interface Place {
  readonly opened: number;
  readonly masks: number;
  readonly products: number;
  readonly stride: number;
}

/** The terms of a polynomial in opened planes with shared products of masks, as planes to multiply; the public one is the `first` party's. */
function termsAt(terms: Combiner['less'], { products }: Combiner, place: Place, first: boolean): number[][] {
  const { stride } = place;
  return terms
    .filter(({ product }) => product !== 0 || first)
    .map(({ opened, product }) => {
      const planes = opened.map((i) => place.opened + i * stride);
      if (product === 0) return planes;
      const single = (product & (product - 1)) === 0;
      const share = single ? place.masks + (31 - Math.clz32(product)) * stride : place.products + products.indexOf(product) * stride;
      return [...planes, share];
    });
}

/** After the first level is opened: this party's half of the second level's planes, or none when there is one group. */
export function secondLevel(
  context: StepContext,
  plan: ComparisonPlan,
  shares: ComparisonShares,
  hinge: number,
  opened: Planes,
  first: boolean,
): Planes {
  const { second } = plan;
  const { masks, products } = shares.hinges[hinge]!;
  const out = allocatePlanes(context, second?.masks ?? 0, shares.count);
  if (!second) return out;
  const stride = planeStride(shares.count);
  const plane = (i: number) => out.block.byteOffset + i * stride;
  let place: Place = { opened: opened.block.byteOffset, masks: masks.byteOffset, products: products.byteOffset, stride };
  plan.first.forEach((combiner, g) => {
    if (g < second.alphas) evaluate(context, termsAt(combiner.equal, combiner, place, first), plane(g), stride);
    evaluate(context, termsAt(combiner.less, combiner, place, first), plane(second.alphas + g), stride);
    place = {
      opened: place.opened + combiner.masks * stride,
      masks: place.masks + combiner.masks * stride,
      products: place.products + combiner.products.length * stride,
      stride,
    };
  });
  context.compute.call('xorBytes', out.block, place.masks, 0, out.block.length);
  return out;
}

/** After all levels are opened: this party's half of the result plane, hidden by its half of zeta'. The client (`first`) adds 1 and top(Y). */
export function resultPlane(
  context: StepContext,
  plan: ComparisonPlan,
  shares: ComparisonShares,
  hinge: number,
  opened: Planes,
  first: boolean,
  words: Words,
  shift: number,
): Planes {
  const { compute, memory } = context;
  const stride = planeStride(shares.count);
  const out = allocatePlanes(context, 1, shares.count);
  const { masks, products } = shares.hinges[hinge]!;
  const last = plan.second ?? plan.first[0];
  const before = plan.second ? plan.first : [];
  const place: Place = {
    opened: opened.block.byteOffset,
    masks: masks.byteOffset + masksOf(before) * stride,
    products: products.byteOffset + sum(before.map((c) => c.products.length)) * stride,
    stride,
  };
  const terms = last ? termsAt(last.less, last, place, first) : [];
  const hiding = [masks.byteOffset + masks.length - stride];
  if (!first) {
    evaluate(context, [...terms, hiding], out.block.byteOffset, stride);
    return out;
  }
  const sign = memory.bytes(stride);
  sign.fill(0);
  callWords(compute, 'bitPlane', words, [sign, words, shift + plan.bits - 1], shares.count);
  evaluate(context, [...terms, hiding, [sign.byteOffset], []], out.block.byteOffset, stride);
  memory.free(sign);
  return out;
}
