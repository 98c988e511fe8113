// What each party sees of a ReLU of the securenn suite, on a ring of 4 bits: the joint view of every element is compared between two secrets, by
// the tests of statistics.ts. A party's own draws and its share are held at constants, the same for every element; what it receives must not
// depend on the secret. Then each mask is dropped in turn, or serves both elements of a block, and must be missed by somebody.
//
// False alarms: each of fewer than 10^5 tests passes its bound with probability at most e^-40.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import { digitCode, drawBytes, tileElements } from '../../src/kernel/private.js';
import { unpackRows } from '../../src/kernel/private-plain.js';
import { comparisonNames as names } from '../../src/protocol/messages.js';
import { roundStride } from '../../src/protocol/operation.js';
import { comparedBits } from '../../src/protocol/securenn/drelu.js';
import { halvesOf, type Party } from '../../src/protocol/securenn/privatecompare.js';
import * as rectify from '../../src/protocol/securenn/rectify.js';
import { randomBytes } from '../../src/random/seeds.js';
import { createThree, pairOf, type Three } from '../protocol/three.js';
import { readBits } from './items.js';
import { chiSquare, countCells } from './statistics.js';

const ringBits = 4;
const window = { low: 0, high: 3 };
const { bits } = comparedBits(window, ringBits);
/** Blocks of one chunk; each half of them is dealt the other way. */
const count = 16_384;
const half = count / 2;
const exponent = 40;

/** A ReLU in blocks of `per` elements; with a cap, of two signs. */
interface Setting {
  readonly per: 1 | 2;
  readonly cap?: number;
}

const shapeOf = ({ per, cap }: Setting): rectify.Shape => rectify.shapeOf({ ringBits, window, firstChunk: 0, cap }, per * count, count);

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

type Role = 'client' | 'server' | 'provider';
type Mutant = (pair: string, part: number, bytes: Uint8Array) => void;

/** Runs a ReLU whose block i has the secret of labels[i], and zeros behind it. `viewer`'s draws are bytes `held`, and its share too. */
async function runRelu(
  setting: Setting,
  viewer: Role,
  secrets: readonly [number, number],
  labels: Uint8Array,
  held: number,
  mutant: Mutant,
): Promise<Three> {
  const shape = shapeOf(setting);
  const { per } = setting;
  const three = createThree(compute, (pair, part, length) => {
    const bytes = randomBytes(length);
    mutant(pair, part, bytes);
    return pair.split('-').includes(viewer) ? bytes.fill(held) : bytes;
  });
  const holder: Party = viewer === 'server' ? 'server' : 'client';
  const fresh = randomBytes(per * count);
  const shareOf = (self: Party): Int32Array => {
    const words = three[self].memory.words(per * count);
    for (let i = 0; i < per * count; i++) {
      const own = viewer === 'provider' ? fresh[i]! : held;
      const value = i % per === 0 ? secrets[labels[i / per]! as 0 | 1] : 0;
      words[i] = self === holder ? own : value - own;
    }
    return words;
  };
  const blocksOn = (role: Role): rectify.Blocks => {
    const { words } = three[role].memory;
    const blockOf = words(per * count);
    for (let i = 0; i < blockOf.length; i++) blockOf[i] = Math.floor(i / per);
    return { ...(per > 1 && { blockOf }), blockSizes: words(count).fill(per) };
  };
  const party = async (self: Party) => {
    const material = await rectify.partyOffline(three[self], self, shape);
    await rectify.partyOnline(three[self], self, shape, blocksOn(self), shareOf(self), material);
  };
  const provider = async () => {
    const material = await rectify.providerOffline(three.provider, shape);
    await rectify.providerOnline(three.provider, shape, blocksOn('provider'), material);
  };
  await Promise.all([party('client'), party('server'), provider()]);
  return three;
}

interface Field {
  readonly name: string;
  readonly bits: number;
  readonly values: Int32Array;
}

/** A word of every block: number `which` of its `per`. */
function words(name: string, payload: Uint8Array, width: number, from = 0, per = 1, which = 0): Field {
  const values = new Int32Array(half);
  for (let i = 0; i < half; i++) values[i] = readBits(payload, ((from + i) * per + which) * width, width);
  return { name: per > 1 ? `${name} of element ${which}` : name, bits: width, values };
}

/** Every digit of the elements whose first tile is `from`, a field a digit. */
function digits(name: string, payload: Uint8Array, from: number): Field[] {
  const code = digitCode(bits);
  const fields = Array.from({ length: bits }, (_, i) => ({ name: `${name} digit ${i}`, bits: 3, values: new Int32Array(half) }));
  for (let tile = 0; tile < half / tileElements; tile++) {
    const at = (from + tile) * code.tileBytes;
    const rows = unpackRows(code, payload.subarray(at, at + code.tileBytes));
    for (const [i, row] of rows.entries()) fields[i]!.values.set(row, tile * tileElements);
  }
  return fields;
}

/** What a party received of each block of the half whose shares it was dealt (or, the provider, of the first half). */
function viewOf(three: Three, viewer: Role, { per, cap }: Setting): Field[] {
  const got = (from: Role, name: number, chunk: number) => three.sent.get(`${from}>${viewer} ${name + roundStride * chunk}`)!;
  const signs = cap === undefined ? [0] : [0, 1];
  if (viewer === 'provider') {
    const digitNames = [names.conversionDigits, names.signDigits];
    return signs.flatMap((chunk) =>
      (['client', 'server'] as const).flatMap((from) =>
        digitNames.flatMap((name) => digits(`${from} ${name} ${chunk}`, got(from, name, chunk), 0)),
      ),
    );
  }
  const peer = viewer === 'client' ? 'server' : 'client';
  const first = halvesOf(count)[peer].first;
  const alphaAt = (half / tileElements) * digitCode(bits).tileBytes;
  const comparison = (chunk: number): Field[] => {
    const deal = got('provider', names.conversionDeal, chunk);
    return [
      ...digits(`conversion ${chunk}`, deal, 0),
      words(`alpha ${chunk}`, deal.subarray(alphaAt), bits),
      words(`conversion opening ${chunk}`, got(peer, names.conversionOpening, chunk), bits, first),
      words(`eta ${chunk}`, got('provider', names.conversionShares, chunk), bits),
      ...digits(`sign ${chunk}`, got('provider', names.signDeal, chunk), 0),
      words(`sign opening ${chunk}`, got(peer, names.signOpening, chunk), bits, first),
      words(`g ${chunk}`, got('provider', names.signShares, chunk), ringBits),
    ];
  };
  const element = (which: number): Field[] => [
    words('opening', got(peer, names.selectionOpening, signs.length), ringBits, first, per, which),
    ...signs.map((i) => words(`g m ${i}`, got('provider', names.selectionShares + i, signs.length), ringBits, 0, per, which)),
  ];
  return [...signs.flatMap(comparison), ...Array.from({ length: per }, (_, which) => element(which)).flat()];
}

/** The test that came closest to its bound, or went furthest beyond: over fields alone, in pairs and in triples. */
async function worstOf(setting: Setting, viewer: Role, secrets: readonly [number, number], held: number, mutant: Mutant = () => {}) {
  const labels = randomBytes(count).map((byte) => byte & 1);
  const three = await runRelu(setting, viewer, secrets, labels, held, mutant);
  const fields = viewOf(three, viewer, setting);
  three.end();
  const start = viewer === 'client' ? halvesOf(count).server.first : 0;
  const own = labels.subarray(start, start + half);
  let worst = { what: '', excess: 0 };
  const look = (...some: Field[]) => {
    const excess = chiSquare(countCells(own, some), exponent);
    if (excess > worst.excess) worst = { what: some.map((field) => field.name).join(', '), excess };
  };
  for (const [i, a] of fields.entries()) {
    look(a);
    for (const [j, b] of fields.slice(i + 1).entries()) {
      look(a, b);
      for (const c of fields.slice(i + j + 2)) look(a, b, c);
    }
  }
  return worst;
}

const viewers: readonly Role[] = ['client', 'server', 'provider'];
/** What own draws are made of: zeros, and bytes of which no mask comes out 0. */
const constants = [0, 0x37];
/** Values whose signs differ, and whose signs agree. */
const pairs: readonly (readonly [number, number])[] = [
  [3, -3],
  [1, 3],
  [-1, 0],
];

const plain: Setting = { per: 1 };
const settings: readonly (readonly [string, Setting])[] = [
  ['ReLU', plain],
  ['block ReLU', { per: 2 }],
  ['capped ReLU', { per: 1, cap: 2 }],
];

describe.each(settings)('the view of a %s', (_, setting) => {
  it.each(viewers.flatMap((viewer) => pairs.map((secrets) => [viewer, ...secrets] as const)))(
    'of the %s is the same for %i and %i',
    async (viewer, a, b) => {
      for (const held of constants) {
        const worst = await worstOf(setting, viewer, [a, b], held);
        expect(worst.excess, worst.what).toBeLessThan(1);
      }
    },
  );
});

describe('a mask that is dropped', () => {
  const clientServer = pairOf('client', 'server');
  const zero =
    (of: string, which: number): Mutant =>
    (pair, part, bytes) => {
      if (pair === of && part === which) bytes.fill(0);
    };
  /** Zeros in one part of the masks of a private compare: of each tile s, u, then the turn. */
  const within =
    (which: number, part: 's' | 'u' | 'turn'): Mutant =>
    (pair, drawn, bytes) => {
      if (pair !== clientServer || drawn !== which) return;
      const rows = drawBytes(bits, 1);
      const each = 2 * rows + drawBytes(1, 1);
      const [from, to] = { s: [0, rows], u: [rows, 2 * rows], turn: [2 * rows, each] }[part] as [number, number];
      for (let at = 0; at < bytes.length; at += each) bytes.fill(0, at + from, at + to);
    };
  /** Messages and draws of the elements' chunk follow those of the comparison's, one for each sign. */
  const elements = roundStride;
  const cappedElements = 2 * roundStride;
  const withClient = pairOf('client', 'provider');
  const withServer = pairOf('server', 'provider');
  /** Both elements of a block under the mask of the first. */
  const shared =
    (of: string, which: number): Mutant =>
    (pair, part, bytes) => {
      if (pair !== of || part !== which) return;
      for (let at = 0; at < bytes.length; at += 8) bytes.copyWithin(at + 4, at, at + 4);
    };
  const cases: readonly (readonly [string, Role, Mutant])[] = [
    ['s of the conversion', 'provider', within(1, 's')],
    ['u of the conversion', 'provider', within(1, 'u')],
    ['the turn of the conversion', 'provider', within(1, 'turn')],
    ['u of the sign', 'provider', within(5, 'u')],
    ['s of the sign', 'provider', within(5, 's')],
    ['the turn of the sign', 'provider', within(5, 'turn')],
    ['the flip of the sign', 'provider', zero(clientServer, 4)],
    ['the server’s mask of the conversion', 'client', zero(withServer, 0)],
    ['the client’s mask of the conversion', 'server', zero(withClient, 0)],
    ['the server’s mask of the sign', 'client', zero(withServer, 4)],
    ['the client’s mask of the sign', 'server', zero(withClient, 4)],
    ['the server’s mask of the opening', 'client', zero(withServer, 8 + elements)],
    ['the client’s mask of the opening', 'server', zero(withClient, 8 + elements)],
    ['the server’s share of g m', 'client', zero(withServer, 9 + elements)],
  ];

  const blockCases: readonly (readonly [string, Role, Mutant])[] = [
    ['the client’s mask of the opening', 'server', zero(withClient, 8 + elements)],
    ['the server’s mask of the opening', 'client', zero(withServer, 8 + elements)],
    ['the client’s mask, one for both elements,', 'server', shared(withClient, 8 + elements)],
    ['the server’s mask, one for both elements,', 'client', shared(withServer, 8 + elements)],
    ['the server’s share of g m', 'client', zero(withServer, 9 + elements)],
    ['the flip of the sign', 'provider', zero(clientServer, 4)],
  ];
  const cappedCases: readonly (readonly [string, Role, Mutant])[] = [
    ['the client’s mask of the opening', 'server', zero(withClient, 8 + cappedElements)],
    ['the server’s mask of the opening', 'client', zero(withServer, 8 + cappedElements)],
    ['the server’s share of the first g m', 'client', zero(withServer, 9 + cappedElements)],
    ['the server’s share of the second g m', 'client', zero(withServer, 10 + cappedElements)],
    ['u of the second sign', 'provider', within(5 + elements, 'u')],
    ['the flip of the second sign', 'provider', zero(clientServer, 4 + elements)],
    ['the client’s mask of the second conversion', 'server', zero(withClient, elements)],
  ];

  async function expectMissed(setting: Setting, viewer: Role, mutant: Mutant): Promise<void> {
    let excess = 0;
    for (const secrets of pairs) {
      for (const held of constants)
        if (excess <= 1) excess = Math.max(excess, (await worstOf(setting, viewer, secrets, held, mutant)).excess);
    }
    expect(excess).toBeGreaterThan(1);
  }

  it.each(cases)('%s is missed by the %s', (_name, viewer, mutant) => expectMissed(plain, viewer, mutant));
  it.each(blockCases)('in a block %s is missed by the %s', (_name, viewer, mutant) => expectMissed({ per: 2 }, viewer, mutant));
  it.each(cappedCases)('under a cap %s is missed by the %s', (_name, viewer, mutant) => expectMissed({ per: 1, cap: 2 }, viewer, mutant));
});
