// What client and server see of a max pool of the securenn suite, two rounds over windows of four, on a ring of 4 bits: the opened and dealt words
// of both rounds, in pairs, compared between two secrets. Own draws and shares are held at constants. One mask for both rounds must be seen.
//
// False alarms: each of fewer than 10^4 tests passes its bound with probability at most e^-40.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute, Words } from '../../src/kernel/compute.js';
import type { PoolGeometry } from '../../src/kernel/geometry.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { MaxPoolStep, Program } from '../../src/model/program.js';
import { costEnvironment } from '../../src/protocol/estimate.js';
import { comparisonNames as names } from '../../src/protocol/messages.js';
import { type Role, roundStride, type StepContext } from '../../src/protocol/operation.js';
import { comparedBits } from '../../src/protocol/securenn/drelu.js';
import { maxpool } from '../../src/protocol/securenn/maxpool.js';
import type { Party } from '../../src/protocol/securenn/privatecompare.js';
import { randomBytes } from '../../src/random/seeds.js';
import { createThree, pairOf } from '../protocol/three.js';
import { readBits } from './items.js';
import { chiSquare, countCells } from './statistics.js';

const ringBits = 4;
const window = { low: 0, high: 3 };
const { bits } = comparedBits(window, ringBits);
const windows = 16_384;
const half = windows / 2;
const exponent = 40;

const geometry: PoolGeometry = {
  ...{ channels: windows, inputHeight: 1, inputWidth: 4, outputHeight: 1, outputWidth: 1, kernelHeight: 1, kernelWidth: 4 },
  ...{ strideY: 1, strideX: 4, dilationY: 1, dilationX: 1, padTop: 0, padLeft: 0 },
};
const step: MaxPoolStep = { kind: 'maxpool', name: 'pool', input: 0, output: 1, geometry, window };
const program: Program = {
  schema: 'tessera/program@1',
  ringBits,
  tensors: [
    { shape: [windows, 1, 4], scale: 1 },
    { shape: [windows, 1, 1], scale: 1 },
  ],
  input: 0,
  output: 1,
  outputActivation: 'none',
  steps: [step],
};

type Secret = readonly [number, number, number, number];
type Mutant = (pair: string, part: number, bytes: Uint8Array) => void;

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

/** Runs the pool, window i with the secret of labels[i]; returns what was sent. */
async function run(viewer: Party, secrets: readonly [Secret, Secret], labels: Uint8Array, held: number, mutant: Mutant) {
  const three = createThree(compute, (pair, part, length) => {
    const bytes = randomBytes(length);
    mutant(pair, part, bytes);
    return pair.split('-').includes(viewer) ? bytes.fill(held) : bytes;
  });
  const contextOf = (role: Role): StepContext<Words> => {
    const share = three[role].memory.words(4 * windows);
    for (let i = 0; i < share.length; i++) share[i] = role === viewer ? held : secrets[labels[i >> 2]! as 0 | 1][i % 4]! - held;
    const more = { ...costEnvironment(program, 1), value: () => share, give: () => undefined };
    return { ...three[role], ...more } as unknown as StepContext<Words>;
  };
  const party = async (self: Party) => {
    const context = contextOf(self);
    await maxpool[self].online!(context, step, await maxpool[self].offline(context, step));
  };
  const provider = async () => {
    const context = contextOf('provider');
    await maxpool.provider.online!(context, step, await maxpool.provider.offline(context, step));
  };
  await Promise.all([party('client'), party('server'), provider()]);
  return three;
}

interface Field {
  readonly name: string;
  readonly bits: number;
  readonly values: Int32Array;
}

/** Words of both rounds, of the windows from `start`: those whose shares of the second round were dealt to the viewer. */
function viewOf(sent: ReadonlyMap<string, Uint8Array>, viewer: Party, start: number): Field[] {
  const peer = viewer === 'client' ? 'server' : 'client';
  const words = (name: string, from: Role, label: number, width: number, first: number): Field => {
    const payload = sent.get(`${from}>${viewer} ${label}`)!;
    return { name, bits: width, values: Int32Array.from({ length: half }, (_, i) => readBits(payload, (first + i) * width, width)) };
  };
  return [0, 1].flatMap((round) => {
    const [signs, elements] = [2 * round * roundStride, (2 * round + 1) * roundStride];
    const dealtFrom = round === 0 ? start : 0;
    const pairs = round === 0 ? [start, windows + start] : [start];
    return [
      ...pairs.flatMap((first, i) => [
        words(`conversion opening ${round} ${i}`, peer, names.conversionOpening + signs, bits, first),
        words(`sign opening ${round} ${i}`, peer, names.signOpening + signs, bits, first),
        words(`opening ${round} ${i}`, peer, names.selectionOpening + elements, ringBits, first),
      ]),
      words(`eta ${round}`, 'provider', names.conversionShares + signs, bits, dealtFrom),
      words(`g ${round}`, 'provider', names.signShares + signs, ringBits, dealtFrom),
      words(`g m ${round}`, 'provider', names.selectionShares + elements, ringBits, dealtFrom),
    ];
  });
}

async function worstOf(viewer: Party, secrets: readonly [Secret, Secret], held: number, mutant: Mutant = () => {}) {
  const labels = randomBytes(windows).map((byte) => byte & 1);
  const three = await run(viewer, secrets, labels, held, mutant);
  const start = viewer === 'client' ? half : 0;
  const fields = viewOf(three.sent, viewer, start);
  three.end();
  const own = labels.subarray(start, start + half);
  let worst = { what: '', excess: 0 };
  for (const [i, a] of fields.entries()) {
    for (const b of fields.slice(i)) {
      const excess = chiSquare(countCells(own, a === b ? [a] : [a, b]), exponent);
      if (excess > worst.excess) worst = { what: `${a.name}, ${b.name}`, excess };
    }
  }
  return worst;
}

const secrets: readonly (readonly [Secret, Secret])[] = [
  [
    [1, 0, -1, 0],
    [-1, 1, 0, 1],
  ],
  [
    [0, 0, 0, 0],
    [1, -1, 1, -1],
  ],
];

describe('the view of a max pool', () => {
  it.each(['client', 'server'] as const)('of the %s is the same for two secrets, over both rounds', async (viewer) => {
    for (const pair of secrets) {
      for (const held of [0, 0x37]) {
        const worst = await worstOf(viewer, pair, held);
        expect(worst.excess, worst.what).toBeLessThan(1);
      }
    }
  });

  it.each([
    ['client', 'server'],
    ['server', 'client'],
  ] as const)('of the %s betrays a mask of the %s that opens in both rounds', async (viewer, owner) => {
    let kept: Uint8Array | undefined;
    const twice: Mutant = (pair, part, bytes) => {
      if (pair !== pairOf(owner, 'provider')) return;
      if (part === 8 + roundStride) kept = bytes.slice();
      if (part === 8 + 3 * roundStride) bytes.set(kept!.subarray(0, bytes.length));
    };
    let excess = 0;
    for (const pair of secrets) for (const held of [0, 0x37]) excess = Math.max(excess, (await worstOf(viewer, pair, held, twice)).excess);
    expect(excess).toBeGreaterThan(1);
  });
});
