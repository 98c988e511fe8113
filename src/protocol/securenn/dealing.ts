// Shares of what the provider knows: of each element one party draws its share and the other receives it. And openings between the two.
import type { Words } from '../../kernel/compute.js';
import { ringWords } from '../../ring/words.js';
import type { MessageSize } from '../operation.js';
import { packedBytes, payloadReader, payloadWriter } from '../packing.js';
import { type Half, type Halves, type Hands, type Party, parties, peerOf, tileLongs } from './privatecompare.js';

/** Uniform words mod L - 1 (L = 2^bits), within 2^(bits - 128). */
export async function drawOdd(hands: Hands, bits: number, peer: 'provider' | Party, part: number, out: BigInt64Array): Promise<void> {
  const stream = hands.memory.bytes(16 * out.length);
  await hands.draw(peer, part, stream);
  await hands.compute.run('reduceOdd', [out, stream, bits], out.length, { grain: 32, costPerItem: 20 });
  hands.memory.free(stream);
}

/** A party's shares mod L - 1, of which its own half is drawn and the other still to come. */
export async function drawOwnOdd(hands: Hands, bits: number, halves: Halves, self: Party, part: number): Promise<BigInt64Array> {
  const words = tileLongs(hands, halves.count);
  const { first, count } = halves[self];
  await drawOdd(hands, bits, 'provider', part, words.subarray(first, first + count));
  return words;
}

/** Provider: shares mod L - 1 of `flags`, for the half that `drawer` draws: what the other party gets. */
export async function dealOdd(
  hands: Hands,
  bits: number,
  flags: Uint8Array,
  half: Half,
  drawer: Party,
  part: number,
): Promise<BigInt64Array> {
  const shares = hands.memory.longs(half.count);
  await drawOdd(hands, bits, drawer, part, shares);
  await hands.compute.run('shareOdd', [shares, flags.subarray(half.first), shares, bits], half.count, { grain: 32, costPerItem: 2 });
  return shares;
}

/** Provider, offline: of shares mod L - 1 what the parties draw, element by element whoever draws it. */
export async function drawAllOdd(hands: Hands, bits: number, halves: Halves, part: number): Promise<BigInt64Array> {
  const drawn = hands.memory.longs(halves.count);
  await Promise.all(parties.map((drawer) => drawOdd(hands, bits, drawer, part, halfOf(drawn, halves[drawer]))));
  return drawn;
}

/** Provider, offline: the same of shares in ring words. */
export async function drawAll(hands: Hands, ringBits: number, halves: Halves, part: number): Promise<Words> {
  const drawn = ringWords(hands.memory, ringBits, halves.count);
  await Promise.all(parties.map((drawer) => hands.draw(drawer, part, halfOf(drawn, halves[drawer]))));
  return drawn;
}

export const halfOf = <T extends Words | Uint8Array>(all: T, { first, count }: Half): T => all.subarray(first, first + count) as T;

/** Provider: a message to each party with its shares mod L - 1 of `flags`, from what the other draws. Frees that. */
export async function sendOdd(
  hands: Hands,
  bits: number,
  flags: Uint8Array,
  halves: Halves,
  drawn: BigInt64Array,
  name: number,
): Promise<void> {
  await hands.compute.run('shareOdd', [drawn, flags, drawn, bits], halves.count, { grain: 32, costPerItem: 2 });
  for (const drawer of parties) await sendShares(hands, peerOf(drawer), halfOf(drawn, halves[drawer]), halves[drawer], bits, name);
  hands.memory.free(drawn);
}

/** Sends a party its shares of the other's half, if there are any. */
export async function sendShares(hands: Hands, to: Party, words: Words, half: Half, bits: number, name: number): Promise<void> {
  if (half.count === 0) return;
  const message = payloadWriter(hands, packedBytes(half.count, bits));
  await message.words(words, half.count, bits);
  hands.send(to, name, message.done());
  message.free();
}

/** Receives what {@link sendShares} sent, into the other party's half of `words`. */
export async function receiveShares(hands: Hands, self: Party, words: Words, halves: Halves, bits: number, name: number): Promise<void> {
  const { first, count } = halves[peerOf(self)];
  if (count === 0) return;
  const message = payloadReader(hands, await hands.receive('provider', name, packedBytes(count, bits)));
  await message.words(words.subarray(first, first + count), count, bits);
  message.free();
}

/** The messages of {@link sendShares} to both parties. */
export function shareMessages(name: number, halves: Halves, bits: number, round: number): MessageSize[] {
  return parties.flatMap((to) => {
    const { count } = halves[peerOf(to)];
    return count === 0 ? [] : [{ phase: 'online', link: `provider>${to}` as const, name, bytes: packedBytes(count, bits), round }];
  });
}

/** Sends the peer this party's words, of which the first `count` count, and returns the peer's. */
export async function exchange(hands: Hands, self: Party, words: Words, count: number, bits: number, name: number): Promise<Words> {
  const bytes = packedBytes(count, bits);
  const message = payloadWriter(hands, bytes);
  await message.words(words, count, bits);
  hands.send(peerOf(self), name, message.done());
  message.free();
  const theirs = words instanceof Int32Array ? hands.memory.words(count) : hands.memory.longs(count);
  const answer = payloadReader(hands, await hands.receive(peerOf(self), name, bytes));
  await answer.words(theirs, count, bits);
  answer.free();
  return theirs;
}

export function exchangeMessages(name: number, count: number, bits: number, round: number): MessageSize[] {
  return parties.map((from) => ({
    phase: 'online',
    link: `${from}>${peerOf(from)}` as const,
    name,
    bytes: packedBytes(count, bits),
    round,
  }));
}
