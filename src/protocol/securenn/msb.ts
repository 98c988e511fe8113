// Most significant bit of y, shared mod L - 1 = 2^n - 1, as a bit that is half public: msb(y) = turn xor g, turn known to client and server and g
// to the provider. SecureNN, algorithm 5: in a ring of odd size msb(y) is the lowest bit of 2 y.
//
//   x_0, x_1 mod L - 1 are drawn with the provider, who knows x = x_0 + x_1;  r = 2 y + x is opened
//   msb(y) = r[0] xor x[0] xor [x > r]:   turn = r[0] xor beta,  g = x[0] xor beta',  beta' = beta xor [x > r] from private compare
//
// SecureNN shares x[0] and beta' and multiplies; the provider knows both, so it shares their XOR, and no product is needed.
//
// offline  provider > client, server   bits of x mod p (each of the elements whose shares the other draws)
// online   client <> server            signOpening: r_j, n bits
//          both > provider             signDigits: private compare of x with r, under a common flip beta
//          provider > both             signShares: g mod 2^k
//
// Simulators: those of shareconvert.ts. r < L - 1, so that private compare's corner case cannot come up here.
import type { Words } from '../../kernel/compute.js';
import { isLong, ringWords } from '../../ring/words.js';
import { comparisonNames as names } from '../messages.js';
import type { MessageSize } from '../operation.js';
import { drawAll, drawOdd, exchange, exchangeMessages, halfOf, receiveShares, sendShares, shareMessages } from './dealing.js';
import {
  type CommonDraws,
  type DigitShares,
  dealDigits,
  digitBytes,
  digitMessages,
  drawAhead,
  drawDigits,
  findZeros,
  type Halves,
  type Hands,
  masksOf,
  type Party,
  parties,
  payloadOnHeap,
  peerOf,
  sendDigits,
  tileFlags,
  tileLongs,
  tilesIn,
} from './privatecompare.js';

/** Draws with the provider (mask, digits, g) and between client and server (flip, masks); those of shareconvert.ts are below 4. */
const parts = { mask: 4, digits: 5, g: 6, flip: 4, masks: 5 } as const;

const grain = { grain: 32, costPerItem: 2 };

/** Messages for `bits`-bit words, with shares of the result in `ringBits`. */
export function messages(bits: number, halves: Halves, ringBits: number): MessageSize[] {
  const deals = parties.map((to) => ({ link: `provider>${to}` as const, bytes: digitBytes(bits, tilesIn(halves[peerOf(to)])) }));
  return [
    ...deals.filter(({ bytes }) => bytes > 0).map((deal) => ({ phase: 'offline' as const, name: names.signDeal, ...deal })),
    ...exchangeMessages(names.signOpening, halves.count, bits, 4),
    ...digitMessages(names.signDigits, bits, halves, 5),
    ...shareMessages(names.signShares, halves, ringBits, 6),
  ];
}

/** What the provider keeps: x[0], a byte an element, and what client and server draw of the shares of g. */
export interface DealerSign {
  readonly lowest: Uint8Array;
  readonly drawn: Words;
}

/** Provider, offline: deals x's bits. */
export async function providerOffline(hands: Hands, bits: number, halves: Halves, ringBits: number): Promise<DealerSign> {
  const { compute, memory } = hands;
  const [a, b] = [memory.longs(halves.count), memory.longs(halves.count)];
  await Promise.all([drawOdd(hands, bits, 'client', parts.mask, a), drawOdd(hands, bits, 'server', parts.mask, b)]);
  const x = tileLongs(hands, halves.count);
  await compute.run('addOdd', [x, a, b, bits], halves.count, grain);
  const digits = await dealDigits(hands, bits, x, halves, parts.digits);
  for (const to of parties) {
    const bytes = digitBytes(bits, tilesIn(halves[peerOf(to)]));
    if (bytes > 0) hands.send(to, names.signDeal, digits[to].subarray(0, bytes));
  }
  const lowest = tileFlags(hands, halves.count).fill(0);
  await compute.run('flipLowest', [lowest, x], halves.count, grain);
  memory.free(a, b, x, digits.client, digits.server);
  return { lowest, drawn: await drawAll(hands, ringBits, halves, parts.g) };
}

/** Provider, online: finds g, deals it mod 2^ringBits, and returns it, a byte an element. */
export async function providerOnline(
  hands: Hands,
  bits: number,
  halves: Halves,
  ringBits: number,
  { lowest, drawn }: DealerSign,
): Promise<Uint8Array> {
  const { compute, memory } = hands;
  const g = await findZeros(hands, bits, halves.tiles, names.signDigits);
  compute.call('xorBytes', g, lowest, 0, g.length);
  const kernel = isLong(ringBits) ? 'shareSelectionLongs' : 'shareSelectionWords';
  await compute.run(kernel, [drawn, g, 0, drawn], halves.count, grain);
  for (const drawer of parties) {
    await sendShares(hands, peerOf(drawer), halfOf(drawn, halves[drawer]), halves[drawer], ringBits, names.signShares);
  }
  memory.free(lowest, drawn);
  return g;
}

export interface SignMaterial {
  readonly mask: BigInt64Array;
  readonly digits: DigitShares;
  /** Shares of g, of which the party's own half is drawn. */
  readonly g: Words;
  readonly common: CommonDraws;
}

/** Client and server, offline. */
export async function partyOffline(hands: Hands, self: Party, bits: number, halves: Halves, ringBits: number): Promise<SignMaterial> {
  const { memory } = hands;
  const common = drawAhead(hands, self, bits, halves, parts);
  common.catch(() => {});
  const mask = memory.longs(halves.count);
  await drawOdd(hands, bits, 'provider', parts.mask, mask);
  const drawn = await drawDigits(hands, bits, halves[self], 'provider', parts.digits);
  const g = ringWords(memory, ringBits, halves.count);
  const { first, count } = halves[self];
  await hands.draw('provider', parts.g, g.subarray(first, first + count));
  const bytes = digitBytes(bits, tilesIn(halves[peerOf(self)]));
  const dealt = payloadOnHeap(hands, bytes > 0 ? await hands.receive('provider', names.signDeal, bytes) : new Uint8Array(0));
  return { mask, digits: { bits, halves, drawn, dealt }, g, common: await common };
}

/** What a comparison leaves with client and server: msb = turn xor g, with `turn` known to both (a byte an element) and g shared mod 2^k. */
export interface SharedSign {
  readonly turn: Uint8Array;
  readonly g: Words;
}

/** Client and server, online: the sign of what `y` shares mod L - 1. Frees y and the material. */
export async function partyOnline(
  hands: Hands,
  self: Party,
  y: BigInt64Array,
  { mask, digits, g, common }: SignMaterial,
  ringBits: number,
): Promise<SharedSign> {
  const { compute, memory } = hands;
  const { bits, halves } = digits;
  const { count } = halves;
  const { flips } = common;
  const masks = masksOf(hands, self, digits, common, parts.masks);
  const [r, z] = [memory.longs(count), tileLongs(hands, count)];
  await compute.run('openSign', [r, y, mask, bits], count, grain);
  const theirs = await exchange(hands, self, r, count, bits, names.signOpening);
  const turn = memory.bytes(count);
  await compute.run('joinSign', [z, turn, r, theirs, flips, bits], count, grain);
  await sendDigits(hands, self, digits, z, flips, await masks, names.signDigits);
  await receiveShares(hands, self, g, halves, ringBits, names.signShares);
  memory.free(y, mask, r, z, theirs, flips);
  return { turn, g };
}
