// What the linear half of the securenn suites shows: the joint view of server and client over a small ring, compared between two secrets,
// and the payload bits of larger runs. The provider receives nothing but the byte that starts an inference.
//
// A party's own draws are held at constants, so that its view is what it receives. False alarms: a chi-square test fires on equal
// distributions with probability at most e^-40, a Walsh coefficient with at most 2 e^-50 (statistics.ts); there are fewer than 10^4 of them.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import type { ConvGeometry } from '../../src/kernel/geometry.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { Program, ProgramWeights, Step } from '../../src/model/program.js';
import { openLocalSession } from '../../src/party/local.js';
import { messageNames } from '../../src/protocol/messages.js';
import type { Role } from '../../src/protocol/operation.js';
import { randomBytes } from '../../src/random/seeds.js';
import { plainWords, setWords } from '../../src/ring/words.js';
import { type Received, recording, smallProgram } from '../protocol/harness.js';
import { readBits } from './items.js';
import { chiSquare, countCells, histogramOf, histogramsOf, walshExcess } from './statistics.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

const names = ['securenn', 'securenn-beaver', 'securenn-exact'] as const;
const field = (block: Uint8Array, at: number, bytes: number): number =>
  block.slice(at, at + bytes).reduce((sum, byte) => sum * 256 + byte, 0);

/** An address as the streams know it: inference (0 for B), step, part. */
interface Address {
  readonly inference: number;
  readonly step: number;
  readonly part: number;
}

/** Fills the draws at some addresses with a constant byte, in every party alike; or draws them elsewhere. */
type Tamper = (address: Address) => { readonly fill: number } | Address | undefined;

function tampered(tamper: Tamper): Compute {
  const wrapped = Object.create(compute) as Compute;
  wrapped.keystream = async (key, block, out) => {
    const change = tamper({ inference: field(block, 0, 6), step: field(block, 6, 3), part: field(block, 9, 3) });
    if (change && 'fill' in change) return void out.fill(change.fill);
    const at = block.slice();
    if (change) {
      const { inference, step, part } = change;
      for (const [from, bytes, value] of [
        [0, 6, inference],
        [6, 3, step],
        [9, 3, part],
      ] as const)
        for (let i = 0; i < bytes; i++) at[from + i] = Math.floor(value / 256 ** (bytes - 1 - i)) % 256;
    }
    return compute.keystream(key, at, out);
  };
  return wrapped;
}

async function trace(
  suite: string,
  { program, weights }: { program: Program; weights: ProgramWeights },
  pictures: readonly Float32Array[],
  tamper: Tamper,
): Promise<Received[]> {
  const messages: Received[] = [];
  const wrap = recording((message) => messages.push(message));
  const local = await openLocalSession({ compute: tampered(tamper), program, weights, suite, wrap });
  for (const picture of pictures) await local.client.infer(picture);
  await local.close();
  return messages.filter((message) => message.phase !== 'setup' && message.label.name < 100);
}

const conv = (channels: number, size: number, kernel: number): ConvGeometry => ({
  inputChannels: channels,
  inputHeight: size,
  inputWidth: size,
  outputChannels: channels,
  outputHeight: size,
  outputWidth: size,
  kernelHeight: kernel,
  kernelWidth: kernel,
  strideY: 1,
  strideX: 1,
  dilationY: 1,
  dilationX: 1,
  padTop: kernel >> 1,
  padLeft: kernel >> 1,
  groups: 1,
});

/** Two layers with a truncation between them, and their sum with the picture. */
function network(
  [channels, size, kernel]: readonly [number, number, number],
  ringBits: number,
  truncateBits: number,
  weight: (i: number) => number,
) {
  const shape = [channels, size, size];
  const steps: Step[] = [
    { kind: 'linear', name: 'one', input: 0, output: 1, geometry: conv(channels, size, kernel), weights: 0 },
    { kind: 'truncate', name: 'cut', input: 1, output: 2, truncateBits },
    { kind: 'linear', name: 'two', input: 2, output: 3, geometry: conv(channels, size, kernel), weights: 1 },
    { kind: 'add', name: 'sum', inputs: [3, 0], factors: [1, 1], output: 4 },
  ];
  const count = channels * channels * kernel * kernel;
  const layer = () => {
    const words = plainWords(ringBits, count);
    setWords(
      words,
      Array.from({ length: count }, (_, i) => weight(i)),
    );
    return { weights: words, bias: plainWords(ringBits, channels) };
  };
  return { program: smallProgram(shape, steps, [shape, shape, shape, shape], ringBits), weights: { layers: [layer(), layer()] } };
}

/** Maps of one value everywhere: a sample a position, as layers of 1 × 1 keep positions apart. */
const side = 128;
const samples = side * side;
const ringBits = 16;
/** Pieces of a word that are compared: a relation mod 2^16 is one mod 2^4 in the low bits, and truncation opens a high one. */
const pieces = [
  [0, 4],
  [14, 2],
] as const;

const layers = () => network([1, side, 1], ringBits, 1, () => 3);
/** A truncation alone: fewer words between what the server opens and what it was dealt. */
const cut = () => {
  const shape = [1, side, side];
  const step: Step = { kind: 'truncate', name: 'cut', input: 0, output: 1, truncateBits: 1 };
  return { program: smallProgram(shape, [step], [shape], ringBits), weights: { layers: [] } };
};

/** What a party received in steps: fields of up to four bits of every word (or bit) and picture. */
function fieldsOf(messages: readonly Received[], to: Role) {
  return messages
    .filter((message) => message.to === to && message.label.name !== messageNames.input && message.label.name !== messageNames.start)
    .flatMap(({ label, payload }) => {
      const widths = label.name === messageNames.truncation ? [ringBits, 1] : label.name === messageNames.truncationBits ? [1] : [ringBits];
      let start = 0;
      return widths.flatMap((width, i) => {
        const from = start;
        start += width * samples;
        if (start > 8 * payload.length) return [];
        return (width === 1 ? [[0, 1] as const] : pieces).map(([low, bits]) => {
          const values = Int32Array.from({ length: samples }, (_, j) => readBits(payload, from + j * width + low, bits));
          return { name: `${label.step}/${label.name}[${i}]+${low}`, bits, values };
        });
      });
    });
}

/** Compares what `role` receives for two pictures, over single fields, pairs and triples: the strongest deviation. */
async function compare(suite: string, role: 'client' | 'server', fault: Tamper = () => undefined, model = layers()) {
  const own = (role === 'server' ? serverDraws : clientDraws)(model.program.steps.length);
  const inputEnd = model.program.steps.length;
  const runs: ReturnType<typeof fieldsOf>[] = [];
  for (const x of [3001, -3000]) {
    const picture = new Float32Array(samples).fill(x);
    runs.push(fieldsOf(await trace(suite, model, [picture], (at) => fault(at) ?? own(at)), role));
  }
  const [one, two] = runs.map((run) => run.filter((f) => !f.name.startsWith(`${inputEnd + 1}/`)));
  const labels = randomBytes(samples).map((byte) => byte & 1);
  const mixed = one!.map((f, i) => ({ ...f, values: f.values.map((value, j) => (labels[j] ? two![i]!.values[j]! : value)) }));
  let worst = { what: 'nothing', excess: 0 };
  const look = (set: typeof mixed): void => {
    const excess = chiSquare(countCells(labels, set), 40);
    if (excess > worst.excess) worst = { what: set.map((f) => f.name).join(' & '), excess };
  };
  mixed.forEach((a, i) => {
    look([a]);
    mixed.slice(i + 1).forEach((b, j) => {
      look([a, b]);
      for (const c of mixed.slice(i + j + 2)) look([a, b, c]);
    });
  });
  return { worst, fields: mixed.length };
}

/** The server's share of the picture, its part of a truncation's mask, and B. */
const serverDraws =
  (inputEnd: number): Tamper =>
  ({ inference, step, part }) =>
    inference === 0 || (step === inputEnd && part === 0) || part === 203 || part === 2 ? { fill: 0x35 } : undefined;
/** The same share, the masks of linear layers, and the client's part of a truncation's. */
const clientDraws =
  (inputEnd: number): Tamper =>
  ({ inference, step, part }) =>
    inference !== 0 && ((step === inputEnd && part === 0) || part < 2 || (part >= 200 && part < 203)) ? { fill: 0x35 } : undefined;

const dropped =
  (step: number, part: number): Tamper =>
  (at) =>
    at.inference > 0 && at.step === step && at.part === part ? { fill: 0 } : undefined;
const moved =
  (step: number, part: number, toStep: number, toPart: number): Tamper =>
  (at) =>
    at.inference > 0 && at.step === step && at.part === part ? { inference: at.inference, step: toStep, part: toPart } : undefined;

describe.each(names)('the joint view in %s', (suite) => {
  it('shows the server nothing of the picture', async () => {
    const { worst, fields } = await compare(suite, 'server');
    expect(fields).toBe(suite === 'securenn-exact' ? 13 : 8);
    expect(worst.excess, worst.what).toBeLessThan(1);
  });

  it('shows the provider nothing at all', async () => {
    const messages = await trace(suite, layers(), [new Float32Array(samples)], () => undefined);
    expect(messages.filter(({ to }) => to === 'provider').map(({ label }) => label.name)).toEqual([messageNames.start]);
  });
});

describe('the joint view in securenn-exact', () => {
  it('shows the client nothing of the picture while it is not its result', async () => {
    const { worst, fields } = await compare('securenn-exact', 'client');
    expect(fields).toBe(1);
    expect(worst.excess, worst.what).toBeLessThan(1);
  });
});

describe('a fault in the streams shows in the joint view', () => {
  const faults: [string, string, 'client' | 'server', Tamper][] = [
    ['the mask of a layer’s input dropped', 'securenn', 'server', dropped(0, 0)],
    ['the mask of a layer’s output dropped', 'securenn', 'server', dropped(0, 1)],
    ['one mask for the inputs of two layers', 'securenn-beaver', 'server', moved(2, 0, 0, 0)],
    ['one mask for the input and the output', 'securenn', 'server', moved(0, 1, 0, 0)],
    ['the client’s part of a truncation’s mask dropped', 'securenn-exact', 'server', dropped(1, 200)],
    ['the server’s part of a truncation’s mask dropped', 'securenn-exact', 'client', dropped(1, 203)],
  ];
  it.each(faults)('%s', async (_name, suite, role, fault) => {
    expect((await compare(suite, role, fault)).worst.excess).toBeGreaterThan(1);
  });

  it.each([
    ['the mask’s high bits', 201],
    ['its top bit', 202],
  ])('the pad of %s dropped', async (_name, part) => {
    expect((await compare('securenn-exact', 'server', () => undefined, cut())).worst.excess).toBeLessThan(1);
    expect((await compare('securenn-exact', 'server', dropped(0, part), cut())).worst.excess).toBeGreaterThan(1);
  });
});

/** The strongest deviation among payloads of two inferences, and of every two of one length. */
async function uniformity(suite: string, bits: number, fault: Tamper = () => undefined) {
  const model = network([4, 16, 3], bits, 8, (i) => (i % 7) - 3);
  const picture = new Float32Array(4 * 256);
  const messages = (await trace(suite, model, [picture, picture], fault)).filter(({ payload }) => payload.length >= 128);
  let [excess, histograms] = [0, 0];
  const look = (histogram: Int32Array): void => {
    histograms++;
    excess = Math.max(excess, walshExcess(histogram, 50));
  };
  messages.forEach(({ payload }, i) => {
    look(histogramOf(payload));
    for (const other of messages.slice(i + 1)) {
      if (other.payload.length !== payload.length) continue;
      const { xor, difference } = histogramsOf(payload, other.payload);
      look(xor);
      look(difference);
    }
  });
  return { excess, histograms };
}

describe.each(names)('payload bits in %s', (suite) => {
  it.each([32, 64])('look uniform in %i bits', async (bits) => {
    const { excess, histograms } = await uniformity(suite, bits);
    expect(histograms).toBeGreaterThan(50);
    expect(excess).toBeLessThan(1);
  });

  it('show one mask in two inferences', async () => {
    const again: Tamper = (at) => (at.inference > 0 ? { ...at, inference: 1 } : undefined);
    expect((await uniformity(suite, 64, again)).excess).toBeGreaterThan(1);
  });
});
