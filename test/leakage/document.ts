// The tables of docs/protocol.md, from the operations' own formulas.
import type { ConvGeometry, PoolGeometry } from '../../src/kernel/geometry.js';
import { digitCode } from '../../src/kernel/private.js';
import type { Step } from '../../src/model/program.js';
import { costEnvironment } from '../../src/protocol/estimate.js';
import { planComparison } from '../../src/protocol/masked/plan.js';
import { masked } from '../../src/protocol/masked/suite.js';
import type { Link } from '../../src/protocol/operation.js';
import { comparedBits } from '../../src/protocol/securenn/drelu.js';
import { securenn } from '../../src/protocol/securenn/suite.js';
import { operationOf } from '../../src/protocol/suite.js';
import { smallProgram } from '../protocol/harness.js';

/** A map of 4 × 4 in 2 channels: 32 elements, so that bytes of every part are whole. */
const shape = [2, 4, 4];
const elements = 32;

const pointwise: ConvGeometry = {
  inputChannels: 2,
  inputHeight: 4,
  inputWidth: 4,
  outputChannels: 2,
  outputHeight: 4,
  outputWidth: 4,
  kernelHeight: 1,
  kernelWidth: 1,
  strideY: 1,
  strideX: 1,
  dilationY: 1,
  dilationX: 1,
  padTop: 0,
  padLeft: 0,
  groups: 1,
};

/** 3 × 3, stride 2: 8 outputs. */
const pool: PoolGeometry = {
  channels: 2,
  inputHeight: 4,
  inputWidth: 4,
  outputHeight: 2,
  outputWidth: 2,
  kernelHeight: 3,
  kernelWidth: 3,
  strideY: 2,
  strideX: 2,
  dilationY: 1,
  dilationX: 1,
  padTop: 1,
  padLeft: 1,
};

type Case = readonly [name: string, step: Step, per: number];

const relu = (low: number, high: number, more: object = {}): Step => ({
  kind: 'relu',
  name: 'relu',
  input: 0,
  output: 1,
  truncateBits: 12,
  window: { low, high },
  ...more,
});

const cases: readonly Case[] = [
  ['linear layer', { kind: 'linear', name: 'linear', input: 0, output: 1, weights: 0, geometry: pointwise }, elements],
  ['truncation alone, identity channel', { kind: 'truncate', name: 't', input: 0, output: 1, truncateBits: 12 }, elements],
  ['ReLU, 13 bits compared', relu(12, 25), elements],
  ['ReLU, 16 bits compared', relu(12, 28), elements],
  ['ReLU, all 32 bits compared', relu(0, 32), elements],
  ['ReLU, 13 bits compared, in one round trip', relu(12, 25, { comparison: { groups: [[6, 6]], roundTrips: 1 } }), elements],
  ['ReLU, 16 bits compared, in one round trip', relu(12, 28, { comparison: { groups: [[7, 8]], roundTrips: 1 } }), elements],
  [
    'block ReLU 2 × 2, 16 bits compared',
    relu(12, 28, {
      patches: [
        [2, 2],
        [2, 2],
      ],
    }),
    elements,
  ],
  [
    'block ReLU 2 × 2, 16 bits compared, in one round trip',
    relu(12, 28, {
      comparison: { groups: [[7, 8]], roundTrips: 1 },
      patches: [
        [2, 2],
        [2, 2],
      ],
    }),
    elements,
  ],
  ['ReLU6, 13 bits compared', relu(12, 25, { cap: 6 << 12 }), elements],
  [
    'max pool 3 × 3 stride 2, 16 bits compared, per output',
    { kind: 'maxpool', name: 'm', input: 0, output: 1, geometry: pool, window: { low: 0, high: 16 } },
    8,
  ],
];

const offline: readonly Link[] = ['client>server', 'provider>server'];
const online: readonly Link[] = ['server>client', 'client>server'];

/** Bits an element on every link, k = 32, f = 12. */
export function costTable(): string {
  const rows = cases.map(([name, step, per]) => {
    const out = step.kind === 'maxpool' ? [2, 2, 2] : shape;
    const program = smallProgram(shape, [step], [out], 32);
    const environment = costEnvironment(program, 1);
    const operation = operationOf(masked, step);
    const messages = operation.messages(step, environment);
    const bits = (phase: string, link: Link) =>
      messages.filter((m) => m.phase === phase && m.link === link).reduce((sum, m) => sum + (8 * m.bytes) / per, 0);
    const cells = [...offline.map((link) => bits('offline', link)), ...online.map((link) => bits('online', link))];
    return `| ${[name, ...cells, operation.rounds(step, environment)].join(' | ')} |`;
  });
  return [
    '| step | client → server, offline | provider → server, offline | server → client, online | client → server, online | online messages in a row |',
    '|---|--:|--:|--:|--:|--:|',
    ...rows,
  ].join('\n');
}

/** How windows are cut into digits, and what a comparison costs. */
export function planTable(): string {
  const rows = [2, 5, 8, 11, 12, 13, 16, 20, 24, 32].map((bits) => {
    const plan = planComparison(bits);
    const combiners = [...plan.first, ...(plan.second ? [plan.second] : [])];
    const tables = plan.groups.flat().reduce((sum, g) => sum + 2 ** g, 0);
    const products = combiners.reduce((sum, c) => sum + c.products.length, 0);
    const opened = combiners.reduce((sum, c) => sum + c.masks, 1);
    const digits = plan.groups.map((group) => (plan.second ? `(${group.join(' ')})` : group.join(' '))).join(' ');
    return `| ${bits} | ${digits} | ${tables} | ${products} | ${opened} |`;
  });
  return ['| window | digits | table bits | products | bits each way |', '|--:|---|--:|--:|--:|', ...rows].join('\n');
}

/** ReLUs of the securenn suite: 64 rows of 64, so that tiles of elements and of blocks are whole. */
const comparisons: readonly (readonly [name: string, ringBits: number, low: number, high: number, more?: object])[] = [
  ['ReLU, every bit', 64, 0, 64],
  ['ReLU, 16 bits', 64, 12, 28],
  ['ReLU, every bit', 32, 0, 32],
  ['ReLU, 16 bits', 32, 12, 28],
  ['ReLU, 13 bits', 32, 12, 25],
  ['block ReLU 2 × 2, every bit', 64, 0, 64, { patches: [[2, 2]] }],
  ['block ReLU 4 × 4, every bit', 64, 0, 64, { patches: [[4, 4]] }],
  ['ReLU6, 16 bits', 64, 12, 28, { cap: 6 << 12 }],
];

/** Bytes an element on the links of client and server alike, local truncation. */
export function comparisonTable(): string {
  const rows = comparisons.map(([name, ringBits, low, high, more = {}]) => {
    const step = relu(low, high, more);
    const environment = costEnvironment(smallProgram([1, 64, 64], [step], [[1, 64, 64]], ringBits), 1);
    const operation = operationOf(securenn, step);
    const messages = operation.messages(step, environment);
    const bytes = (phase: string, from: string, to: string) =>
      messages.filter((m) => m.phase === phase && m.link === `${from}>${to}`).reduce((sum, m) => sum + m.bytes / 4096, 0);
    const own = [bytes('offline', 'provider', 'client'), bytes('online', 'client', 'server'), bytes('online', 'client', 'provider')];
    const all = messages.reduce((sum, m) => sum + m.bytes / 4096, 0);
    const { prime } = digitCode(comparedBits({ low, high }, ringBits).bits);
    return `| ${[name, ringBits, prime, ...own, bytes('online', 'provider', 'client'), all, operation.rounds(step, environment)].join(' | ')} |`;
  });
  return [
    '| step | k | p | provider → each, offline | client ↔ server, each way | each → provider | provider → each | in all | online messages in a row |',
    '|---|--:|--:|--:|--:|--:|--:|--:|--:|',
    ...rows,
  ].join('\n');
}
