// Share conversion: from shares of a mod L = 2^n to shares of a mod L - 1, which is a itself but for a = L - 1, which becomes 0. SecureNN,
// algorithm 4, with the mask chosen by the provider beforehand instead of by client and server, so that its bits are dealt offline.
//
//   x_0, x_1 mod L are drawn with the provider, who knows x = x_0 + x_1 and alpha = [it wraps]; r_j = a_j + x_j, beta_j = [it wraps]
//   opened r = r_0 + r_1, delta = [it wraps];  a = r - x + L [x > r], so a_0 + a_1 wraps as often as
//   theta = beta_0 + beta_1 + delta - alpha - [x > r],  and  y_j = a_j - theta_j mod L - 1   (L is 1 there)
//
// offline  provider > client, server   bits of x mod p, alpha mod L - 1 (each of the elements whose shares the other draws)
// online   client <> server            conversionOpening: r_j, n bits
//          both > provider             conversionDigits: private compare of x with r, under a common flip eta''
//          provider > both             conversionShares: eta' = eta'' xor [x > r] mod L - 1;  [x > r] = eta'' + (1 - 2 eta'') eta'
//
// Simulators. Client, server: the other's r_j is uniform, padded by its x_j; dealt shares are uniform, as they lack the other's.
// Provider: that of private compare, with a fair coin for its output, as eta'' is one.
import { comparisonNames as names } from '../messages.js';
import type { MessageSize } from '../operation.js';
import { packedBytes, payloadReader, payloadWriter } from '../packing.js';
import { dealOdd, drawAllOdd, drawOwnOdd, exchange, exchangeMessages, receiveShares, sendOdd, shareMessages } from './dealing.js';
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
  peerOf,
  sendDigits,
  tileFlags,
  tileLongs,
  tilesIn,
} from './privatecompare.js';

/** Draws with the provider (mask, digits, alpha, eta) and between client and server (flip, masks). */
const parts = { mask: 0, digits: 1, alpha: 2, eta: 3, flip: 0, masks: 1 } as const;

const grain = { grain: 32, costPerItem: 2 };

const dealtBytes = (bits: number, halves: Halves, to: Party): number =>
  digitBytes(bits, tilesIn(halves[peerOf(to)])) + packedBytes(halves[peerOf(to)].count, bits);

/** Messages of the conversion of shares of `bits` bits. */
export function messages(bits: number, halves: Halves): MessageSize[] {
  const deals = parties.map((to) => ({ link: `provider>${to}` as const, bytes: dealtBytes(bits, halves, to) }));
  return [
    ...deals.filter(({ bytes }) => bytes > 0).map((deal) => ({ phase: 'offline' as const, name: names.conversionDeal, ...deal })),
    ...exchangeMessages(names.conversionOpening, halves.count, bits, 1),
    ...digitMessages(names.conversionDigits, bits, halves, 2),
    ...shareMessages(names.conversionShares, halves, bits, 3),
  ];
}

/** Provider, offline: deals x's bits and alpha; returns what client and server draw of the shares of eta'. */
export async function providerOffline(hands: Hands, bits: number, halves: Halves): Promise<BigInt64Array> {
  const { compute, memory } = hands;
  const [a, b] = [memory.longs(halves.count), memory.longs(halves.count)];
  await Promise.all([hands.draw('client', parts.mask, a), hands.draw('server', parts.mask, b)]);
  const x = tileLongs(hands, halves.count);
  const alpha = tileFlags(hands, halves.count);
  await compute.run('sumMasks', [x, alpha, a, b, bits], halves.count, grain);
  const digits = await dealDigits(hands, bits, x, halves, parts.digits);
  for (const to of parties) {
    const half = halves[peerOf(to)];
    if (half.count === 0) continue;
    const shares = await dealOdd(hands, bits, alpha, half, peerOf(to), parts.alpha);
    const message = payloadWriter(hands, dealtBytes(bits, halves, to));
    message.raw(digits[to], digitBytes(bits, tilesIn(half)));
    await message.words(shares, half.count, bits);
    hands.send(to, names.conversionDeal, message.done());
    message.free();
    memory.free(shares);
  }
  memory.free(a, b, x, alpha, digits.client, digits.server);
  return drawAllOdd(hands, bits, halves, parts.eta);
}

/** Provider, online: finds eta' and deals it. */
export async function providerOnline(hands: Hands, bits: number, halves: Halves, drawn: BigInt64Array): Promise<void> {
  const eta = await findZeros(hands, bits, halves.tiles, names.conversionDigits);
  await sendOdd(hands, bits, eta, halves, drawn, names.conversionShares);
  hands.memory.free(eta);
}

export interface ConversionMaterial {
  readonly mask: BigInt64Array;
  readonly digits: DigitShares;
  readonly alpha: BigInt64Array;
  readonly eta: BigInt64Array;
  readonly common: CommonDraws;
}

/** Client and server, offline. */
export async function partyOffline(hands: Hands, self: Party, bits: number, halves: Halves): Promise<ConversionMaterial> {
  const { memory } = hands;
  const common = drawAhead(hands, self, bits, halves, parts);
  common.catch(() => {});
  const mask = memory.longs(halves.count);
  await hands.draw('provider', parts.mask, mask);
  const drawn = await drawDigits(hands, bits, halves[self], 'provider', parts.digits);
  const alpha = await drawOwnOdd(hands, bits, halves, self, parts.alpha);
  const eta = await drawOwnOdd(hands, bits, halves, self, parts.eta);
  const other = halves[peerOf(self)];
  const dealt = memory.bytes(digitBytes(bits, tilesIn(other)) + 16);
  if (other.count > 0) {
    const message = payloadReader(hands, await hands.receive('provider', names.conversionDeal, dealtBytes(bits, halves, self)));
    message.raw(dealt, digitBytes(bits, tilesIn(other)));
    await message.words(alpha.subarray(other.first, other.first + other.count), other.count, bits);
    message.free();
  }
  return { mask, digits: { bits, halves, drawn, dealt }, alpha, eta, common: await common };
}

/** Client and server, online: shares mod L - 1 of what `a` (below 2^bits, `count` of them) shares mod L. Frees the material. */
export async function partyOnline(hands: Hands, self: Party, a: BigInt64Array, material: ConversionMaterial): Promise<BigInt64Array> {
  const { compute, memory } = hands;
  const { mask, digits, alpha, eta, common } = material;
  const { bits, halves } = digits;
  const { count } = halves;
  const second = self === 'server' ? 1 : 0;
  const { flips } = common;
  const masks = masksOf(hands, self, digits, common, parts.masks);
  const [r, y, z] = [memory.longs(count), memory.longs(count), tileLongs(hands, count)];
  await compute.run('openConversion', [r, y, a, mask, bits], count, grain);
  const theirs = await exchange(hands, self, r, count, bits, names.conversionOpening);
  await compute.run('joinConversion', [z, y, r, theirs, flips, bits, second], count, grain);
  await sendDigits(hands, self, digits, z, flips, await masks, names.conversionDigits);
  await receiveShares(hands, self, eta, halves, bits, names.conversionShares);
  await compute.run('finishConversion', [y, alpha, eta, flips, bits, second], count, grain);
  memory.free(mask, r, z, theirs, flips, alpha, eta);
  return y;
}
