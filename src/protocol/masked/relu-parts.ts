// Parts of a ReLU that are the same in one round trip and in two: what is drawn, which words are compared, and the selection by the sign.
import type { HeapArray, Words } from '../../kernel/compute.js';
import type { ReluStep } from '../../model/program.js';
import { callWords, ringWords, runWords, setWords, setZero, wordBytes } from '../../ring/words.js';
import type { StepContext } from '../operation.js';
import { asWords, carve, carvedBytes, planeStride } from '../packing.js';
import type { PatchCounts, PatchLayout } from '../patches.js';
import * as comparison from './comparison.js';
import * as identity from './identity.js';
import type { OpenSign } from './open-sign.js';
import type { Shape } from './relu-shape.js';

/** Draws of the step: with the client (shares, then lambda'), with the server (planes and the opening's mask c). */
const parts = { shares: 0, mask: 1, planes: 2 } as const;

/** Ring words of the step's scope. */
export const words = (context: StepContext, length: number): Words => ringWords(context.memory, context.program.ringBits, length);

/** One party's shares of a mask's truncation, high part and top bit, times a zeta, and of the zeta itself. */
export interface Selector {
  readonly high: Words;
  readonly carry: Words;
  readonly zeta: Words;
}

/** One party's shares of a mask's truncation, and of it times every zeta, by hinge. */
export interface Dealt {
  readonly high: Words;
  readonly carry: Words;
  readonly hinges: readonly (readonly Selector[])[];
}

/** What client and provider draw together, cut into its parts. */
export interface ClientDraw extends Dealt {
  /** All of it, one array. */
  readonly whole: Uint8Array;
  readonly shares: comparison.ComparisonShares;
  readonly identity: readonly Uint8Array[];
}

/** Sizes of what client and provider draw together: what compares, and the shares. */
function clientSizes({ k, plan, hinges }: Shape, { compared, blocks, identity: passed }: PatchCounts) {
  const compare = comparison.clientDrawSizes(plan, blocks, hinges);
  const [each, block] = [wordBytes(k) * compared, wordBytes(k) * blocks];
  const hingeSizes = Array.from({ length: hinges * plan.zetas }, () => [each, each, block]).flat();
  return { compare, shares: [each, each, ...hingeSizes, ...identity.identityDrawSizes(passed, k)] };
}

/** Bytes that the client keeps of a step: what it draws with the provider, and the result's mask. */
export function clientBytes(shape: Shape, counts: PatchCounts): number {
  const { compare, shares } = clientSizes(shape, counts);
  return carvedBytes([...compare, ...shares]) + wordBytes(shape.k) * counts.compared;
}

/** The draw's part for elements that pass, where none do. */
export const nothingPasses = ({ memory }: StepContext): ClientDraw['identity'] => [0, 0, 0].map(() => memory.bytes(0));

export async function drawWithClient(
  context: StepContext,
  shape: Shape,
  layout: PatchLayout,
  peer: 'client' | 'provider',
  again = false,
): Promise<ClientDraw> {
  const { k, plan, hinges } = shape;
  const { blocks } = layout;
  const { compare: compareSizes, shares: shareSizes } = clientSizes(shape, layout);
  const all = [...compareSizes, ...shareSizes];
  const whole = context.memory.bytes(carvedBytes(all));
  await context.draw(peer, parts.shares, whole, again);
  const pieces = carve(whole, all);
  const shares = comparison.clientShares(plan, blocks, hinges, pieces.splice(0, compareSizes.length));
  const take = (number: number) => pieces.splice(0, number).map((part) => asWords(part, k));
  const [high, carry] = take(2);
  const dealt = Array.from({ length: hinges }, () =>
    Array.from({ length: plan.zetas }, () => {
      const [h, c, zeta] = take(3);
      return { high: h!, carry: c!, zeta: zeta! };
    }),
  );
  return { whole, shares, high: high!, carry: carry!, hinges: dealt, identity: pieces };
}

export async function drawWithServer(
  context: StepContext,
  { k, plan, hinges }: Shape,
  layout: PatchLayout,
  step: ReluStep,
  peer: 'server' | 'provider',
) {
  const planeSizes = comparison.serverDrawSizes(plan, layout.blocks, hinges);
  const all = [...planeSizes, wordBytes(k) * context.elements(step.input)];
  const whole = context.memory.bytes(carvedBytes(all));
  await context.draw(peer, parts.planes, whole);
  const pieces = carve(whole, all);
  const openingMask = asWords(pieces.pop()!, k);
  return { planes: pieces, openingMask };
}

/** The input under the opening's own mask, split into compared and identity elements. */
export async function splitInput(context: StepContext, step: ReluStep, layout: PatchLayout, openingMask: Words) {
  const { compute } = context;
  const all = openingMask;
  await runWords(compute, 'add', all, [all, all, context.value(step.input)], all.length);
  if (!layout.comparedAt) return { compared: all, passed: words(context, 0) };
  const compared = words(context, layout.compared);
  const passed = words(context, layout.identity);
  await runWords(compute, 'gather', compared, [compared, all, layout.comparedAt], layout.compared);
  await runWords(compute, 'gather', passed, [passed, all, layout.identityAt!], layout.identity);
  return { compared, passed };
}

/** Puts compared and identity results back in their places; zero channels stay 0. */
export async function joinOutput(
  context: StepContext,
  step: ReluStep,
  layout: PatchLayout,
  compared: Words,
  passed: Words,
): Promise<Words> {
  if (!layout.comparedAt) return compared;
  const out = words(context, context.elements(step.output));
  setZero(out);
  await runWords(context.compute, 'scatter', out, [out, compared, layout.comparedAt], layout.compared);
  await runWords(context.compute, 'scatter', out, [out, passed, layout.identityAt!], layout.identity);
  context.memory.free(compared, passed);
  return out;
}

/** Elements in each block, as ring words. */
function blockSizes(context: StepContext, { blockSizes }: PatchLayout): Words {
  return context.cached('sizes', () => {
    const sizes = ringWords(context.compute, context.program.ringBits, blockSizes.length);
    setWords(sizes, blockSizes);
    return sizes;
  });
}

/** The words that are compared for one hinge: block sums of the opened words, less the cap of every element of the block. */
export async function compareWords(
  context: StepContext,
  step: ReluStep,
  { dropped }: Shape,
  layout: PatchLayout,
  opened: Words,
  hinge: number,
): Promise<Words> {
  const { compute } = context;
  if (!layout.blockOf && hinge === 0) return opened;
  const sums = words(context, layout.blocks);
  if (layout.blockOf) {
    setZero(sums);
    callWords(compute, 'scatterAdd', sums, [sums, opened, layout.blockOf], layout.compared);
  } else setWords(sums, opened);
  if (hinge === 1)
    await runWords(compute, 'addScaled', sums, [sums, blockSizes(context, layout), -step.cap! / 2 ** dropped], layout.blocks);
  return sums;
}

/** A plane of one bit a block as one bit an element. */
export function elementPlane({ compute, memory }: StepContext, layout: PatchLayout, plane: Uint8Array): Uint8Array {
  if (!layout.blockOf) return plane;
  const out = memory.bytes(planeStride(layout.compared));
  compute.call('gatherBits', out, plane, layout.blockOf, 0, layout.compared);
  return out;
}

/** ỹ >> f, from what was opened. */
export async function truncated(context: StepContext, { k, f }: Shape, opened: Words, dropped: number): Promise<Words> {
  if (dropped === f) return opened;
  const v = words(context, opened.length);
  await runWords(context.compute, 'shift', v, [v, opened, k, f], opened.length);
  return v;
}

/**
 * Shares of the differences to the first of each hinge's selectors, in place of all but the first: what sums of zetas are made of. Local, as
 * shares of a difference are the difference of shares.
 */
export async function differ(context: StepContext, hinges: readonly (readonly Selector[])[]): Promise<void> {
  for (const [base, ...others] of hinges) {
    for (const other of others) {
      for (const part of ['high', 'carry', 'zeta'] as const)
        await runWords(context.compute, 'sub', other[part], [other[part], other[part], base![part]], other[part].length);
    }
  }
}

/** One party's share of x, added to `addend`, for every hinge. The opened value is `v` in the scale of the result; `dealt` went through differ. */
export async function select(
  context: StepContext,
  step: ReluStep,
  { k, f }: Shape,
  layout: PatchLayout,
  v: Words,
  signs: readonly OpenSign[],
  dealt: Dealt,
  addend: Words,
  first: 0 | 1,
): Promise<Words> {
  const { compute, memory } = context;
  const out = words(context, layout.compared);
  const ofElements = async ({ zeta }: Selector): Promise<Words> => {
    if (!layout.blockOf) return zeta;
    const each = words(context, layout.compared);
    await runWords(compute, 'gather', each, [each, zeta, layout.blockOf], layout.compared);
    return each;
  };
  const plane = (of: Uint8Array): Uint8Array => elementPlane(context, layout, of);
  const carryOf = (selector: Pick<Selector, 'carry'>): Words | number => (f > 0 ? selector.carry : 0);
  const run = (kernel: 'selectTruncated' | 'addTruncated', args: readonly (number | HeapArray)[]) =>
    runWords(compute, kernel, out, args, layout.compared, { grain: 128, costPerItem: 2 });
  for (const [hinge, [base, ...others]] of dealt.hinges.entries()) {
    const { flip, terms } = signs[hinge]!;
    const scale = [k, f, hinge === 0 ? 0 : step.cap! / 2 ** f, hinge === 0 ? 1 : -1];
    const shares = [dealt.high, carryOf(dealt), base!.high, carryOf(base!), await ofElements(base!)];
    await run('selectTruncated', [out, hinge === 0 ? addend : out, v, plane(flip), ...shares, ...scale, first]);
    if (layout.blockOf) memory.free(shares[4] as Words);
    for (const [i, other] of others.entries()) {
      const { chosen, turn } = terms[i]!;
      const zeta = await ofElements(other);
      await run('addTruncated', [out, v, chosen ? plane(chosen) : 0, plane(turn), other.high, carryOf(other), zeta, ...scale]);
      if (layout.blockOf) memory.free(zeta);
    }
  }
  return out;
}

/** The client's mask of the result once more, for the one use that it did not keep it for. */
export async function maskAgain(context: StepContext, { compared }: PatchLayout): Promise<Words> {
  const mask = words(context, compared);
  await context.draw('provider', parts.mask, mask, true);
  return mask;
}

export async function outputMask(
  context: StepContext,
  step: ReluStep,
  layout: PatchLayout,
  f: number,
  passing: ClientDraw['identity'],
  peer: 'client' | 'provider',
): Promise<Words> {
  const mask = words(context, layout.compared);
  await context.draw(peer, parts.mask, mask);
  const passed = await identity.identityMask(context, layout.identity, f, passing);
  const own = words(context, layout.compared);
  setWords(own, mask);
  context.give(step.output, await joinOutput(context, step, layout, own, passed));
  return mask;
}
