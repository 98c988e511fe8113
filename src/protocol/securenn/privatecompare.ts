// Private compare: beta xor [x > r] for the provider, who dealt x's bits; r and beta are known to client and server. SecureNN (Wagh, Gupta,
// Chandran, PoPETs 2019), algorithm 3; used by shareconvert.ts and msb.ts.
//
//   c_i = r_i - x_i + 1 + sum over k > i of (x_k xor r_k)     is 0 at one i where x > r, else nowhere      (beta = 0)
//   c_i = x_i - t_i + 1 + sum over k > i of (x_k xor t_k)     is 0 at one i where x <= r, with t = r + 1   (beta = 1)
//   r = 2^n - 1 and beta = 1 (t does not exist, x <= r): c_0 = 0, every other c_i = 1
//
// offline  provider > client, server   shares mod p of x's bits: each draws half of the elements' shares and receives the others'
// online   both > provider             d_i = s_i c_i + u_i and s_i c_i - u_i, in turned order; s_i in [1, p), u_i and the turn are theirs
//
// The smallest p that keeps 0 apart is the smallest prime above n + 1, which c_i reaches. At most one c_i is 0, and every s_i is a one-time
// mask of the others: so a turn by a uniform number of places hides the zero's as well as any permutation. Without u the provider, who knows
// the shares of x it dealt, would see ratios of the two parties' c_i, and in them r.
// Simulator, provider: uniform d_0, and d_1 = v - d_0 with v uniform non-zero but for a 0 at a uniform place where its output is 1.
// Client and server receive shares of bits that are uniform, as they lack the other's.
import type { Words } from '../../kernel/compute.js';
import { type DigitCode, digitCode, drawBytes, maskBytes, tileElements, tilesOf } from '../../kernel/private.js';
import type { MessageSize, StepContext } from '../operation.js';

/** What the comparison needs of a step. */
export type Hands = Pick<StepContext<Words>, 'compute' | 'memory' | 'keep' | 'send' | 'receive' | 'draw' | 'cached'> & {
  branch(after?: boolean): Hands;
};

export type Party = 'client' | 'server';
export const parties = ['client', 'server'] as const;
export const peerOf = (self: Party): Party => (self === 'client' ? 'server' : 'client');

/** The elements whose dealt shares one party draws itself; it receives the others'. */
export interface Half {
  readonly firstTile: number;
  readonly endTile: number;
  readonly first: number;
  readonly count: number;
}

/** How the shares of `count` elements are dealt: client and server draw half each, so that both links carry the same. */
export interface Halves extends Readonly<Record<Party, Half>> {
  readonly count: number;
  readonly tiles: number;
}

export function halvesOf(count: number): Halves {
  const tiles = tilesOf(count);
  const middle = Math.ceil(tiles / 2);
  const split = Math.min(count, middle * tileElements);
  return {
    count,
    tiles,
    client: { firstTile: 0, endTile: middle, first: 0, count: split },
    server: { firstTile: middle, endTile: tiles, first: split, count: count - split },
  };
}

export const tilesIn = ({ firstTile, endTile }: Half): number => endTile - firstTile;

/** Bytes of the digits of some tiles. */
export const digitBytes = (bits: number, tiles: number): number => tiles * digitCode(bits).tileBytes;

const nanosecondsPerDigit = 5;

/** Runs a kernel of assembly/digits.ts over tiles. */
const runTiles = (
  hands: Hands,
  kernel: string,
  code: DigitCode,
  args: readonly (number | Uint8Array | Words)[],
  tiles: number,
): Promise<void> =>
  hands.compute.run(kernel, [recordOf(hands, code), ...args], tiles, { costPerItem: nanosecondsPerDigit * tileElements * code.bits });

function recordOf({ compute, cached }: Hands, code: DigitCode): Int32Array {
  return cached(`digits/${code.bits}`, () => {
    const record = compute.words(code.record.length);
    record.set(code.record);
    return record;
  });
}

/** Words for whole tiles of elements; those beyond `count` are 0. */
export function tileLongs({ memory }: Hands, count: number): BigInt64Array {
  const longs = memory.longs(tilesOf(count) * tileElements);
  return longs.fill(0n, count);
}

/** A byte an element of whole tiles; those beyond `count` are 0. */
export function tileFlags({ memory }: Hands, count: number): Uint8Array {
  const flags = memory.bytes(tilesOf(count) * tileElements);
  return flags.fill(0, count);
}

/** A payload on the heap, where kernels may read 16 bytes past its end. */
export function payloadOnHeap({ memory }: Hands, payload: Uint8Array): Uint8Array {
  const bytes = memory.bytes(payload.length + 16);
  bytes.set(payload.byteOffset % 8 === 0 ? payload : payload.slice());
  return bytes;
}

/** Bits both parties know and the provider does not: a byte an element. */
export async function drawFlips(hands: Hands, self: Party, count: number, part: number): Promise<Uint8Array> {
  const flips = tileFlags(hands, count);
  await hands.draw(peerOf(self), part, flips.subarray(0, count));
  await hands.compute.run('lowestBits', [flips, flips], count, { grain: 128, costPerItem: 0.1 });
  return flips;
}

/** Parts of the draws of a comparison between client and server. */
export interface CommonParts {
  readonly flip: number;
  readonly masks: number;
}

/** A party's draw of its half of the digits. */
export async function drawDigits(hands: Hands, bits: number, half: Half, peer: 'provider' | Party, part: number): Promise<Uint8Array> {
  const stream = hands.memory.bytes(drawBytes(bits, tilesIn(half)));
  await hands.draw(peer, part, stream);
  return stream;
}

/** Provider, offline: shares of the bits of `x` (whole tiles); what it returns for a party covers the tiles of the other's half. */
export async function dealDigits(
  hands: Hands,
  bits: number,
  x: BigInt64Array,
  halves: Halves,
  part: number,
): Promise<Readonly<Record<Party, Uint8Array>>> {
  const code = digitCode(bits);
  const deal = async (drawer: Party): Promise<Uint8Array> => {
    const half = halves[drawer];
    const stream = await drawDigits(hands, bits, half, drawer, part);
    const out = hands.memory.bytes(digitBytes(bits, tilesIn(half)) + 16);
    const words = x.subarray(half.firstTile * tileElements);
    await runTiles(hands, 'shareBits', code, [out, words, stream], tilesIn(half));
    hands.memory.free(stream);
    return out;
  };
  return { client: await deal('server'), server: await deal('client') };
}

/** A party's shares of x's bits. */
export interface DigitShares {
  readonly bits: number;
  readonly halves: Halves;
  readonly drawn: Uint8Array;
  readonly dealt: Uint8Array;
}

/** Client and server, online: sends the masked digits of z (r, or r + 1 where `beta` is 1) to the provider. Frees the shares and the masks. */
export async function sendDigits(
  hands: Hands,
  self: Party,
  { bits, halves, drawn, dealt }: DigitShares,
  z: BigInt64Array,
  beta: Uint8Array,
  masks: Uint8Array,
  name: number,
): Promise<void> {
  const { memory } = hands;
  const own = halves[self];
  const bytes = digitBytes(bits, halves.tiles);
  const out = memory.bytes(bytes + 16);
  const second = self === 'server' ? 1 : 0;
  const args = [out, z, beta, drawn, dealt, own.firstTile, own.endTile, masks, second];
  await runTiles(hands, 'compareDigits', digitCode(bits), args, halves.tiles);
  hands.send('provider', name, out.subarray(0, bytes));
  memory.free(out, masks, drawn, dealt);
}

/** The masks of a comparison: s, u and the turns, from the stream the provider lacks. */
export async function drawMasks(hands: Hands, self: Party, bits: number, tiles: number, part: number): Promise<Uint8Array> {
  const masks = hands.memory.bytes(maskBytes(bits, tiles));
  await hands.draw(peerOf(self), part, masks);
  return masks;
}

/**
 * What client and server draw together for a comparison: its flips, and its masks unless they are yet to be drawn. Masks are the most of what
 * is drawn, some 260 bytes an element of 64 bits: offline where the session has room to keep them, else when they are used.
 */
export interface CommonDraws {
  readonly flips: Uint8Array;
  readonly masks: Uint8Array | undefined;
}

/** The same, offline: begun at once, while the provider deals. */
export async function drawAhead(hands: Hands, self: Party, bits: number, halves: Halves, parts: CommonParts): Promise<CommonDraws> {
  const fits = hands.keep(maskBytes(bits, halves.tiles));
  const masks = fits ? drawMasks(hands, self, bits, halves.tiles, parts.masks) : undefined;
  const [flips, drawn] = await Promise.all([drawFlips(hands, self, halves.count, parts.flip), masks]);
  return { flips, masks: drawn };
}

/** The masks that {@link drawAhead} drew, or else those of now. */
export function masksOf(
  hands: Hands,
  self: Party,
  { bits, halves }: DigitShares,
  { masks }: CommonDraws,
  part: number,
): Promise<Uint8Array> {
  const drawn = masks === undefined ? drawMasks(hands, self, bits, halves.tiles, part) : Promise.resolve(masks);
  drawn.catch(() => {});
  return drawn;
}

/** Provider, online: beta xor [x > r], a byte an element. */
export async function findZeros(hands: Hands, bits: number, tiles: number, name: number): Promise<Uint8Array> {
  const { memory } = hands;
  const bytes = digitBytes(bits, tiles);
  const payloads = await Promise.all([hands.receive('client', name, bytes), hands.receive('server', name, bytes)]);
  const [a, b] = payloads.map((payload) => payloadOnHeap(hands, payload));
  const found = memory.bytes(tiles * tileElements);
  await runTiles(hands, 'findZeros', digitCode(bits), [found, a!, b!], tiles);
  memory.free(a!, b!);
  return found;
}

/** The two messages of masked digits. */
export function digitMessages(name: number, bits: number, halves: Halves, round: number): MessageSize[] {
  const bytes = digitBytes(bits, halves.tiles);
  return parties.map((from) => ({ phase: 'online', link: `${from}>provider`, name, bytes, round }));
}
