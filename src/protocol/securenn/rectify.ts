// ReLU of shared values without truncation, in blocks that share a sign; used by relu.ts and maxpool.ts. SecureNN, algorithm 7, with a selection
// by a bit in place of a multiplication.
//
// Of each element y the provider knows a mask m, of which client and server each draw a half with it; the two open y + m. DReLU leaves, for each
// block, z = 1 xor turn xor g with turn known to both and g to the provider, which shares g once a block and g m an element:
//   g y = (y + m) g - g m,     z y = y - g y where turn is 0, g y where it is 1
//   min(relu(y), cap) = relu(y) - relu(y - cap): a second sign under the same opening
//
// online   client <> server            selectionOpening: y_j + m_j, k bits an element; leaves with the comparison's first message
//          provider > client, server   selectionShares: g m, k bits an element (each of those whose shares the other draws), with its last
//
// Simulators. Client, server: the other's opening is padded by its m_j; dealt shares are uniform, as they lack the other's.
// The provider receives DReLU's messages alone.
import type { Words } from '../../kernel/compute.js';
import { isLong, ringWords, runWords } from '../../ring/words.js';
import { comparisonNames as names } from '../messages.js';
import { type MessageSize, roundStride } from '../operation.js';
import { drawAll, exchange, exchangeMessages, halfOf, receiveShares, sendShares, shareMessages } from './dealing.js';
import * as drelu from './drelu.js';
import type { SharedSign } from './msb.js';
import { type Hands, type Party, parties, peerOf } from './privatecompare.js';

/** Draws with the provider: masks of openings, and shares of g m, sign by sign. Those of the comparisons are below 8. */
const parts = { mask: 8, product: 9 } as const;

const grain = { grain: 32, costPerItem: 2 };

/** Which elements are compared together. */
export interface Blocks {
  /** Block of each element; absent where each is one of its own. */
  readonly blockOf?: Int32Array;
  /** Elements of each block, in ring words; needed for a cap. */
  readonly blockSizes?: Words;
}

export interface Shape {
  readonly ringBits: number;
  /** What is subtracted before each comparison: 0, and the cap of a capped ReLU. */
  readonly offsets: readonly number[];
  readonly comparisons: readonly drelu.Comparison[];
  /** Elements go in chunks too, numbered after those of the comparisons. */
  readonly elements: { readonly count: number; readonly firstChunk: number };
}

/** `firstChunk` numbers messages and draws: a max pool has several in a step. */
export function shapeOf(
  setting: Pick<drelu.Comparison, 'ringBits' | 'window' | 'firstChunk'> & { readonly cap?: number | undefined },
  elements: number,
  blocks: number,
): Shape {
  const { ringBits, window, firstChunk, cap } = setting;
  const chunks = Math.ceil(blocks / drelu.chunkElements);
  const offsets = cap === undefined ? [0] : [0, cap];
  const comparisons = offsets.map((_, i) => ({ count: blocks, ringBits, window, firstChunk: firstChunk + i * chunks }));
  return { ringBits, offsets, comparisons, elements: { count: elements, firstChunk: firstChunk + offsets.length * chunks } };
}

/** The first chunk number that a shape leaves free. */
export const nextChunk = ({ elements }: Shape): number => elements.firstChunk + Math.ceil(elements.count / drelu.chunkElements);

/** The messages, round by round; `before` rounds of the step come first. */
export function messages({ ringBits, offsets, comparisons, elements }: Shape, before = 0): MessageSize[] {
  const chunks = drelu.chunksOf(elements);
  const numbered = (number: number, list: readonly MessageSize[]) => list.map((m) => ({ ...m, name: m.name + number * roundStride }));
  const openings = chunks.flatMap(({ halves, number }) =>
    numbered(number, exchangeMessages(names.selectionOpening, halves.count, ringBits, 1)),
  );
  const shares = chunks.flatMap(({ halves, number }) =>
    offsets.flatMap((_, i) => numbered(number, shareMessages(names.selectionShares + i, halves, ringBits, drelu.rounds))),
  );
  return [...openings, ...comparisons.flatMap(drelu.messages), ...shares]
    .sort((a, b) => (a.round ?? 0) - (b.round ?? 0))
    .map((m) => (m.round === undefined ? m : { ...m, round: before + m.round }));
}

export interface DealerMaterial {
  /** Of each comparison. */
  readonly comparisons: readonly (readonly drelu.DealerChunk[])[];
  /** Of each chunk of elements m, and what client and server draw of the shares of g m for each sign. */
  readonly elements: readonly ElementMaterial[];
}

/** A chunk's m or share of it, and of g m for each sign (of which a party's own half is drawn; for the provider all that is). */
interface ElementMaterial {
  readonly mask: Words;
  readonly products: readonly Words[];
}

/** Provider, offline. */
export async function providerOffline(hands: Hands, shape: Shape): Promise<DealerMaterial> {
  const { ringBits, comparisons, elements } = shape;
  const kept: drelu.DealerChunk[][] = [];
  for (const comparison of comparisons) kept.push(await drelu.providerOffline(hands, comparison));
  const masks = await Promise.all(
    drelu.overChunks(hands, elements, async (own, { halves }) => {
      const { count } = halves;
      const [a, b] = [ringWords(hands.memory, ringBits, count), ringWords(hands.memory, ringBits, count)];
      await Promise.all([own.draw('client', parts.mask, a), own.draw('server', parts.mask, b)]);
      await runWords(hands.compute, 'add', a, [a, a, b], count);
      hands.memory.free(b);
      return { mask: a, products: await Promise.all(comparisons.map((_, i) => drawAll(own, ringBits, halves, parts.product + i))) };
    }),
  );
  return { comparisons: kept, elements: masks };
}

/** Chunks of the blocks' values in a row. A chunk of flags may be padded: only the last one is. */
function joinChunks<T extends Words | Uint8Array>(chunks: readonly T[], out: T): T {
  let at = 0;
  for (const chunk of chunks) {
    (out as { set(source: unknown, at: number): void }).set(chunk, at);
    at += chunk.length;
  }
  return out;
}

/** What elements' chunks wait for, from what their blocks' chunks give: the same where an element is a block. */
function spread<T>(
  chunks: readonly Promise<T>[],
  { blockOf }: Blocks,
  elements: Shape['elements'],
  join: (chunks: readonly T[]) => T,
  gather: (all: T, index: Int32Array) => Promise<T>,
): Promise<T>[] {
  if (!blockOf) return [...chunks];
  const all = Promise.all(chunks).then(join);
  const results = drelu
    .chunksOf(elements)
    .map(({ first, halves }) => all.then((joined) => gather(joined, blockOf.subarray(first, first + halves.count))));
  for (const result of results) result.catch(() => {});
  return results;
}

const joinFlags =
  ({ memory }: Hands) =>
  (chunks: readonly Uint8Array[]): Uint8Array =>
    joinChunks(chunks, memory.bytes(chunks.reduce((sum, flags) => sum + flags.length, 0)));

async function gatherFlags({ compute, memory }: Hands, all: Uint8Array, index: Int32Array): Promise<Uint8Array> {
  const out = memory.bytes(index.length);
  await compute.run('gatherBytes', [out, all, index], index.length, { grain: 32 });
  return out;
}

const joinSigns =
  (hands: Hands, ringBits: number) =>
  (chunks: readonly SharedSign[]): SharedSign => {
    const shares = chunks.map(({ g }) => g);
    const g = ringWords(
      hands.memory,
      ringBits,
      shares.reduce((sum, { length }) => sum + length, 0),
    );
    return { turn: joinFlags(hands)(chunks.map(({ turn }) => turn)), g: joinChunks(shares, g) };
  };

async function gatherSigns(hands: Hands, ringBits: number, all: SharedSign, index: Int32Array): Promise<SharedSign> {
  const g = ringWords(hands.memory, ringBits, index.length);
  await runWords(hands.compute, 'gather', g, [g, all.g, index], index.length);
  return { turn: await gatherFlags(hands, all.turn, index), g };
}

/** Provider, online: finds the signs and deals g m for every element. */
export async function providerOnline(hands: Hands, shape: Shape, blocks: Blocks, material: DealerMaterial): Promise<void> {
  const { ringBits, comparisons, elements } = shape;
  const signs = comparisons.map((comparison, i) => {
    const found = drelu.providerOnline(hands, comparison, material.comparisons[i]!);
    return spread(found, blocks, elements, joinFlags(hands), (all, index) => gatherFlags(hands, all, index));
  });
  const kernel = isLong(ringBits) ? 'shareSelectionLongs' : 'shareSelectionWords';
  const dealt = drelu.overChunks(hands, elements, async (_, { halves, number }, index) => {
    const { mask, products } = material.elements[index]!;
    for (const [i, flags] of signs.entries()) {
      const g = await flags[index]!;
      const own = drelu.numbered(hands.branch(true), number);
      const shares = products[i]!;
      await hands.compute.run(kernel, [shares, g, mask, shares], halves.count, grain);
      for (const drawer of parties) {
        await sendShares(own, peerOf(drawer), halfOf(shares, halves[drawer]), halves[drawer], ringBits, names.selectionShares + i);
      }
      hands.memory.free(g, shares);
    }
    hands.memory.free(mask);
  });
  await Promise.all(dealt);
}

export interface PartyMaterial {
  readonly comparisons: readonly (readonly drelu.ChunkMaterial[])[];
  readonly elements: readonly ElementMaterial[];
}

/** Client and server, offline. */
export async function partyOffline(hands: Hands, self: Party, shape: Shape): Promise<PartyMaterial> {
  const { ringBits, comparisons, elements } = shape;
  const materials: drelu.ChunkMaterial[][] = [];
  for (const comparison of comparisons) materials.push(await drelu.partyOffline(hands, self, comparison));
  const own = drelu.overChunks(hands, elements, async (numbered, { halves }) => {
    const { first, count } = halves[self];
    const mask = ringWords(hands.memory, ringBits, halves.count);
    await numbered.draw('provider', parts.mask, mask);
    const products: Words[] = [];
    for (const [i] of comparisons.entries()) {
      const product = ringWords(hands.memory, ringBits, halves.count);
      await numbered.draw('provider', parts.product + i, product.subarray(first, first + count));
      products.push(product);
    }
    return { mask, products };
  });
  return { comparisons: materials, elements: await Promise.all(own) };
}

/** What is compared for each sign: sums of the blocks' shares, less the offset of every element (the server's share alone). */
async function comparedWords(hands: Hands, self: Party, shape: Shape, blocks: Blocks, y: Words): Promise<Words[]> {
  const { compute, memory } = hands;
  const { ringBits, offsets, comparisons } = shape;
  const all: Words[] = [];
  for (const [i, offset] of offsets.entries()) {
    const takesOff = offset !== 0 && self === 'server';
    if (!blocks.blockOf && !takesOff) {
      all.push(y);
      continue;
    }
    const sums = ringWords(memory, ringBits, comparisons[i]!.count);
    if (blocks.blockOf) {
      compute.call(isLong(ringBits) ? 'scaleLongs' : 'scaleWords', sums, sums, 0, 0, sums.length);
      compute.call(isLong(ringBits) ? 'scatterAddLongs' : 'scatterAddWords', sums, y, blocks.blockOf, 0, y.length);
    } else await runWords(compute, 'scale', sums, [sums, y, 1], sums.length);
    if (takesOff) await runWords(compute, 'addScaled', sums, [sums, blocks.blockSizes!, -offset], sums.length);
    all.push(sums);
  }
  return all;
}

/** Client and server, online: shares of relu of what `y` shares. Frees the material. */
export async function partyOnline(
  hands: Hands,
  self: Party,
  shape: Shape,
  blocks: Blocks,
  y: Words,
  material: PartyMaterial,
): Promise<Words> {
  const { compute, memory } = hands;
  const { ringBits, offsets, comparisons, elements } = shape;
  const compared = await comparedWords(hands, self, shape, blocks, y);
  const signs = comparisons.map((comparison, i) => {
    const found = drelu.partyOnline(hands, self, comparison, compared[i]!, material.comparisons[i]!);
    return spread(found, blocks, elements, joinSigns(hands, ringBits), (all, index) => gatherSigns(hands, ringBits, all, index));
  });
  const out = ringWords(memory, ringBits, y.length);
  const kernel = isLong(ringBits) ? 'selectLongs' : 'selectWords';
  const server = self === 'server' ? 1 : 0;
  const selected = drelu.overChunks(hands, elements, async (own, { first, halves }, index) => {
    const { mask, products } = material.elements[index]!;
    const { count } = halves;
    const [from, to] = [y.subarray(first, first + count), out.subarray(first, first + count)];
    await runWords(compute, 'add', mask, [mask, mask, from], count);
    const opened = await exchange(own, self, mask, count, ringBits, names.selectionOpening);
    await runWords(compute, 'add', opened, [opened, opened, mask], count);
    for (const [i, offset] of offsets.entries()) {
      await receiveShares(own, self, products[i]!, halves, ringBits, names.selectionShares + i);
      const { turn, g } = await signs[i]![index]!;
      const sign = i === 0 ? 0 : -1;
      await compute.run(kernel, [to, turn, opened, from, g, products[i]!, offset, server, sign], count, { grain: 32, costPerItem: 3 });
      memory.free(turn, g, products[i]!);
    }
    memory.free(mask, opened);
  });
  await Promise.all(selected);
  for (const words of compared) if (words !== y) memory.free(words);
  return out;
}
