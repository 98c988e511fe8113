// DReLU: XOR shares of the sign of y, from Y = y + mu (client and server) and mu (provider). The window's low bits are compared with one-time
// truth tables (Ishai et al., TCC 2013, section 3), digit by digit. Used by relu.ts and maxpool.ts; not a step of its own.
//
//   DReLU(y) = 1 ^ top(Y) ^ top(M) ^ [low(Y) < low(M)],  Y and M the windows of the opened value and of its mask
//
// Why it is safe: a table share is a one-time pad of the table (server) or the pad (client), and is only read at a place both know, never
// sent. Every opened plane is a shared bit XOR a mask plane of which each side lacks the other half; simulate each with a random plane.
import type { StepContext } from '../operation.js';
import { carve, carvedBytes, type PayloadReader, type PayloadWriter, packedBytes, planeStride } from '../packing.js';
import type { Combiner, ComparisonPlan } from './plan.js';

/** One party's shares for comparing `count` values, `hinges` times each against different public offsets (2 for ReLU6, else 1). */
export interface ComparisonShares {
  readonly count: number;
  readonly tables: readonly Uint8Array[];
  readonly hinges: readonly HingeShares[];
}

interface HingeShares {
  /** Mask planes by combiner, then plane. */
  readonly masks: readonly (readonly Uint8Array[])[];
  readonly products: readonly (readonly Uint8Array[])[];
  /** The party's half of the plane that hides the result. */
  readonly result: Uint8Array;
}

const combinersOf = (plan: ComparisonPlan): Combiner[] => (plan.second ? [...plan.first, plan.second] : [...plan.first]);
const digitsOf = (plan: ComparisonPlan): number[] => plan.groups.flat();
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** Bytes of the tables and products in the provider's message to the server. */
export function dealtBytes(plan: ComparisonPlan, count: number, hinges: number): number {
  const products = sum(combinersOf(plan).map((c) => c.products.length));
  return sum(digitsOf(plan).map((g) => packedBytes(count, 1 << g))) + hinges * products * packedBytes(count, 1);
}

/** Bytes of opened planes: the server's first message, and what both levels add to the client's answer and the server's second. */
export function openedBytes(plan: ComparisonPlan, count: number, hinges: number): { first: number; second: number; result: number } {
  const plane = packedBytes(count, 1) * hinges;
  return { first: plane * sum(plan.first.map((c) => c.masks)), second: plane * (plan.second?.masks ?? 0), result: plane };
}

const tableSizes = (plan: ComparisonPlan, count: number): number[] => digitsOf(plan).map((g) => Math.max(16, planeStride(count) << g));

/** Splits a random block into the planes of one hinge: mask planes, the result's plane and, for the client, its product shares. */
function hingeSizes(plan: ComparisonPlan, count: number, withProducts: boolean): number[] {
  const combiners = combinersOf(plan);
  const planes = sum(combiners.map((c) => c.masks)) + 1 + (withProducts ? sum(combiners.map((c) => c.products.length)) : 0);
  return new Array<number>(planes).fill(planeStride(count));
}

function takeHinge(plan: ComparisonPlan, parts: Uint8Array[], products: boolean): HingeShares {
  const combiners = combinersOf(plan);
  const masks = combiners.map((c) => parts.splice(0, c.masks));
  const result = parts.shift()!;
  return { masks, result, products: products ? combiners.map((c) => parts.splice(0, c.products.length)) : [] };
}

/** Sizes of what the client and the provider draw together (tables, mask planes, product shares) for a comparison. */
export function clientDrawSizes(plan: ComparisonPlan, count: number, hinges: number): number[] {
  return [...tableSizes(plan, count), ...Array.from({ length: hinges }, () => hingeSizes(plan, count, true)).flat()];
}

/** The same for the server and the provider: mask planes alone. */
export function serverDrawSizes(plan: ComparisonPlan, count: number, hinges: number): number[] {
  return Array.from({ length: hinges }, () => hingeSizes(plan, count, false)).flat();
}

/** The client's shares from its draw (parts sized by {@link clientDrawSizes}). */
export function clientShares(plan: ComparisonPlan, count: number, hinges: number, parts: Uint8Array[]): ComparisonShares {
  const rest = [...parts];
  const tables = rest.splice(0, digitsOf(plan).length);
  return { count, tables, hinges: Array.from({ length: hinges }, () => takeHinge(plan, rest, true)) };
}

/** The server's shares: mask planes from its draw, tables and products from the provider's message. */
export function serverShares(
  context: StepContext,
  plan: ComparisonPlan,
  count: number,
  hinges: number,
  drawn: Uint8Array[],
  message: PayloadReader,
): ComparisonShares {
  const rest = [...drawn];
  const combiners = combinersOf(plan);
  const sizes = [
    ...tableSizes(plan, count),
    ...new Array<number>(hinges * sum(combiners.map((c) => c.products.length))).fill(planeStride(count)),
  ];
  const parts = carve(context.memory.bytes(carvedBytes(sizes)), sizes);
  const tables = parts.splice(0, digitsOf(plan).length);
  digitsOf(plan).forEach((g, i) => {
    message.raw(tables[i]!, packedBytes(count, 1 << g));
  });
  const shares = Array.from({ length: hinges }, () => {
    const hinge = takeHinge(plan, rest, false);
    const products = combiners.map((c) => parts.splice(0, c.products.length));
    for (const plane of products.flat()) message.raw(plane, packedBytes(count, 1));
    return { ...hinge, products };
  });
  return { count, tables, hinges: shares };
}

/**
 * The provider's part: writes the server's shares of the tables and products, and returns for each hinge the plane zeta = its result mask
 * XOR the top bit of M, which turns the opened bit into the sign. `words` are the masks' sums, `shift` the window's low end in their scale.
 * `fromClient` and `fromServer` are the two draws; the tables and product planes in `fromClient` are overwritten.
 */
export async function dealComparison(
  context: StepContext,
  plan: ComparisonPlan,
  words: Int32Array,
  shift: number,
  fromClient: ComparisonShares,
  fromServer: readonly Uint8Array[],
  message: PayloadWriter,
): Promise<Uint8Array[]> {
  const { count } = fromClient;
  const { compute } = context;
  const stride = planeStride(count);
  const positions = digitPositions(plan, shift);
  for (const [i, g] of digitsOf(plan).entries()) {
    await compute.run('flipDigit', [fromClient.tables[i]!, words, positions[i]!, g], count, { grain: 128, costPerItem: 2 });
    message.raw(fromClient.tables[i]!, packedBytes(count, 1 << g));
  }
  const rest = [...fromServer];
  const top = context.memory.bytes(stride);
  compute.call('bitPlane', top, words, shift + plan.bits - 1, 0, count);
  for (const hinge of fromClient.hinges) {
    const server = takeHinge(plan, rest, false);
    for (const [c, { products }] of combinersOf(plan).entries()) {
      const masks = hinge.masks[c]!;
      masks.forEach((plane, i) => {
        compute.call('xorBytes', plane, server.masks[c]![i]!, 0, stride);
      });
      dealProducts(context, products, masks, hinge.products[c]!, message, count);
    }
    compute.call('xorBytes', hinge.result, server.result, 0, stride);
    compute.call('xorBytes', hinge.result, top, 0, stride);
  }
  context.memory.free(top);
  return fromClient.hinges.map((hinge) => hinge.result);
}

/** Writes, for each product of mask planes, the plane of products XOR the client's share of it. */
function dealProducts(
  { compute, memory }: StepContext,
  products: readonly number[],
  masks: readonly Uint8Array[],
  clientProducts: readonly Uint8Array[],
  message: PayloadWriter,
  count: number,
): void {
  const stride = planeStride(count);
  const value = memory.bytes(stride);
  products.forEach((set, p) => {
    const planes = masks.filter((_, i) => (set >> i) & 1);
    value.set(planes[0]!);
    for (const plane of planes.slice(1)) compute.call('andBytes', value, plane, 0, stride);
    compute.call('xorBytes', value, clientProducts[p]!, 0, stride);
    message.raw(value, packedBytes(count, 1));
  });
  memory.free(value);
}

/** Position of each digit's lowest bit in the compared words. */
function digitPositions(plan: ComparisonPlan, shift: number): number[] {
  let at = shift + plan.bits - 1;
  return digitsOf(plan).map((g) => (at -= g));
}

/** A set of planes side by side in memory, and their form on the wire. */
export interface Planes {
  readonly planes: readonly Uint8Array[];
  readonly memory: Uint8Array;
}

function allocatePlanes(context: StepContext, number: number, count: number): Planes {
  const sizes = new Array<number>(number).fill(planeStride(count));
  const memory = context.memory.bytes(carvedBytes(sizes));
  return { planes: carve(memory, sizes), memory };
}

export function writePlanes(message: PayloadWriter, { planes }: Planes, count: number): void {
  for (const plane of planes) message.raw(plane, packedBytes(count, 1));
}

export function readPlanes(context: StepContext, message: PayloadReader, number: number, count: number): Planes {
  const read = allocatePlanes(context, number, count);
  for (const plane of read.planes) {
    plane.fill(0, plane.length - 16);
    message.raw(plane, packedBytes(count, 1));
  }
  return read;
}

/** First level, one hinge: this party's half of every eq XOR alpha and lt XOR beta, by table look-up at the digits of `words`. */
export async function lookUp(
  context: StepContext,
  plan: ComparisonPlan,
  shares: ComparisonShares,
  hinge: number,
  words: Int32Array,
  shift: number,
): Promise<Planes> {
  const { count } = shares;
  const out = allocatePlanes(context, sum(plan.first.map((c) => c.masks)), count);
  const positions = digitPositions(plan, shift);
  let digit = 0;
  let base = 0;
  for (const [g, { alphas, masks, digits }] of plan.first.entries()) {
    for (let i = 0; i < digits; i++, digit++) {
      const equal = i < alphas ? out.planes[base + i]! : 0;
      const above = out.planes[base + alphas + i]!;
      const size = digitsOf(plan)[digit]!;
      await context.compute.run('lookUpDigit', [equal, above, shares.tables[digit]!, words, positions[digit]!, size], count, {
        grain: 128,
        costPerItem: 2,
      });
    }
    for (let i = 0; i < masks; i++) {
      context.compute.call('xorBytes', out.planes[base + i]!, shares.hinges[hinge]!.masks[g]![i]!, 0, planeStride(count));
    }
    base += masks;
  }
  return out;
}

/** What both sides opened: XOR of the two halves, in place in `mine`. */
export function open(context: StepContext, mine: Planes, theirs: Planes): void {
  context.compute.call('xorBytes', mine.memory, theirs.memory, 0, mine.memory.length);
  context.memory.free(theirs.memory);
}

/** This party's half of a polynomial in opened planes with shared products of masks; `first` adds the public term. */
function evaluate(
  { compute, memory }: StepContext,
  terms: readonly Term[],
  { products }: Combiner,
  opened: readonly Uint8Array[],
  masks: readonly Uint8Array[],
  productShares: readonly Uint8Array[],
  first: boolean,
  out: Uint8Array,
): void {
  const stride = out.length;
  const value = memory.bytes(stride);
  out.fill(0);
  for (const { opened: factors, product } of terms) {
    if (product === 0 && !first) continue;
    const single = (product & (product - 1)) === 0;
    const share = product === 0 ? undefined : single ? masks[31 - Math.clz32(product)]! : productShares[products.indexOf(product)]!;
    const all = [...factors.map((i) => opened[i]!), ...(share ? [share] : [])];
    if (all.length === 1) compute.call('xorBytes', out, all[0]!, 0, stride);
    else if (all.length === 2) compute.call('xorAndBytes', out, all[0]!, all[1]!, 0, stride);
    else {
      value.set(all[0]!);
      for (const plane of all.slice(1, -1)) compute.call('andBytes', value, plane, 0, stride);
      compute.call('xorAndBytes', out, value, all.at(-1)!, 0, stride);
    }
  }
  memory.free(value);
}

type Term = Combiner['less'][number];

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
  let base = 0;
  plan.first.forEach((combiner, g) => {
    const planes = opened.planes.slice(base, base + combiner.masks);
    base += combiner.masks;
    if (g < second.alphas) evaluate(context, combiner.equal, combiner, planes, masks[g]!, products[g]!, first, out.planes[g]!);
    evaluate(context, combiner.less, combiner, planes, masks[g]!, products[g]!, first, out.planes[second.alphas + g]!);
  });
  const last = masks.length - 1;
  out.planes.forEach((plane, i) => {
    context.compute.call('xorBytes', plane, masks[last]![i]!, 0, plane.length);
  });
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
  words: Int32Array,
  shift: number,
): Planes {
  const out = allocatePlanes(context, 1, shares.count);
  const plane = out.planes[0]!;
  const { masks, products, result } = shares.hinges[hinge]!;
  const top = plan.second ?? plan.first[0];
  if (top) evaluate(context, top.less, top, opened.planes, masks.at(-1)!, products.at(-1)!, first, plane);
  else plane.fill(0);
  context.compute.call('xorBytes', plane, result, 0, plane.length);
  if (first) {
    const sign = context.memory.bytes(plane.length);
    sign.fill(0);
    context.compute.call('bitPlane', sign, words, shift + plan.bits - 1, 0, shares.count);
    context.compute.call('xorBytes', plane, sign, 0, plane.length);
    context.compute.call('invertBytes', plane, 0, plane.length);
    context.memory.free(sign);
  }
  return out;
}
