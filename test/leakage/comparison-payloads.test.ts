// Payloads of a 64-bit ReLU of the securenn suite on 4,096 zeros: every word and every digit of every message, and the differences of the same
// message in two inferences and of the two parties' messages, is held to uniformity; a draw that serves two inferences must show.
//
// False alarms: a Walsh coefficient of n uniform bytes passes sqrt(100 n) with probability at most 2 e^-50, and so does a count of n
// uniform digits that lies sqrt(25 n) from its mean (Hoeffding); there are fewer than 10^5 of both.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import { digitCode } from '../../src/kernel/private.js';
import { unpackRows } from '../../src/kernel/private-plain.js';
import { comparisonNames as names } from '../../src/protocol/messages.js';
import { roundStride } from '../../src/protocol/operation.js';
import * as rectify from '../../src/protocol/securenn/rectify.js';
import { randomBytes } from '../../src/random/seeds.js';
import { createThree, type Drawing, pairOf } from '../protocol/three.js';
import { histogramOf, histogramsOf, walshExcess } from './statistics.js';

const bits = 64;
const count = 4096;
const exponent = 50;
const code = digitCode(bits);
const shape = rectify.shapeOf({ ringBits: bits, window: { low: 0, high: bits }, firstChunk: 0 }, count, count);

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

async function runOnce(drawing: Drawing): Promise<ReadonlyMap<string, Uint8Array>> {
  const three = createThree(compute, drawing);
  const party = async (self: 'client' | 'server') => {
    const material = await rectify.partyOffline(three[self], self, shape);
    await rectify.partyOnline(three[self], self, shape, {}, three[self].memory.longs(count).fill(0n), material);
  };
  const provider = async () => rectify.providerOnline(three.provider, shape, {}, await rectify.providerOffline(three.provider, shape));
  await Promise.all([party('client'), party('server'), provider()]);
  three.end();
  return three.sent;
}

/** A message's digits (where it has any, they come first) and its words as bytes. */
function partsOf(key: string, payload: Uint8Array): { digits: Uint8Array; words: Uint8Array } {
  const name = Number(key.split(' ')[1]) % roundStride;
  const tiles: Readonly<Record<number, number>> = {
    [names.conversionDeal]: count / 32,
    [names.signDeal]: count / 32,
    [names.conversionDigits]: count / 16,
    [names.signDigits]: count / 16,
  };
  const digitBytes = (tiles[name] ?? 0) * code.tileBytes;
  const rows = Array.from({ length: tiles[name] ?? 0 }, (_, tile) => unpackRows(code, payload.subarray(tile * code.tileBytes)).flat());
  return { digits: Uint8Array.from(rows.flat()), words: payload.subarray(digitBytes) };
}

/** How far the most frequent digit lies from its mean, as a share of the bound. */
function digitExcess(digits: Uint8Array): number {
  const counts = new Int32Array(code.prime);
  for (const digit of digits) counts[digit]!++;
  const mean = digits.length / code.prime;
  return counts.reduce((worst, n) => Math.max(worst, Math.abs(n - mean)), 0) / Math.sqrt((digits.length * exponent) / 2);
}

interface Alarm {
  readonly what: string;
  readonly excess: number;
}

/** What came closest to its bound in two inferences. */
function worstOf(first: ReadonlyMap<string, Uint8Array>, second: ReadonlyMap<string, Uint8Array>): Alarm {
  let worst: Alarm = { what: '', excess: 0 };
  const note = (what: string, excess: number) => {
    if (excess > worst.excess) worst = { what, excess };
  };
  const compare = (what: string, a: ReturnType<typeof partsOf>, b: ReturnType<typeof partsOf>, digitsToo: boolean) => {
    if (a.words.length > 0) {
      const { xor, difference } = histogramsOf(a.words, b.words);
      note(`${what}: words`, Math.max(walshExcess(xor, exponent), walshExcess(difference, exponent)));
    }
    if (digitsToo && a.digits.length > 0)
      note(`${what}: digits`, digitExcess(a.digits.map((d, i) => (d - b.digits[i]! + code.prime) % code.prime)));
  };
  for (const [key, payload] of first) {
    const own = partsOf(key, payload);
    if (own.words.length > 0) note(`${key}: words`, walshExcess(histogramOf(own.words), exponent));
    if (own.digits.length > 0) note(`${key}: digits`, digitExcess(own.digits));
    compare(`${key} in two inferences`, own, partsOf(key, second.get(key)!), true);
    const mirrored = key.replace(/client|server/g, (role) => (role === 'client' ? 'server' : 'client'));
    // The sums of the two parties' masked digits are what the provider is to see: not uniform in 0.
    compare(`${key} and its mirror`, own, partsOf(mirrored, first.get(mirrored)!), false);
  }
  return worst;
}

describe('payloads of a ReLU', () => {
  it('are uniform, in one inference and in the differences of two', async () => {
    const worst = worstOf(await runOnce(() => undefined), await runOnce(() => undefined));
    expect(worst.excess, worst.what).toBeLessThan(1);
  });

  const withClient = pairOf('client', 'provider');
  const withServer = pairOf('server', 'provider');
  // The mask of the sign is not among them: what it hides is a share that conversion has made afresh.
  it.each([
    ['the client’s mask of the conversion', withClient, 0],
    ['the server’s mask of the conversion', withServer, 0],
    ['digits of the conversion', withClient, 1],
    ['alpha', withServer, 2],
    ['eta', withClient, 3],
    ['digits of the sign', withServer, 5],
    ['g', withClient, 6],
    ['the client’s mask of the opening', withClient, 8 + roundStride],
    ['the server’s mask of the opening', withServer, 8 + roundStride],
  ])('%s drawn once for two inferences shows', async (_name, pair, part) => {
    let kept: Uint8Array | undefined;
    const repeating: Drawing = (of, drawn, length) => {
      if (of !== pair || drawn !== part) return undefined;
      kept ??= randomBytes(length);
      return kept;
    };
    expect(worstOf(await runOnce(repeating), await runOnce(repeating)).excess).toBeGreaterThan(1);
  });
});
