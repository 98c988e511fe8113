// Payload bits of real-size runs. Every part of every message, without labels and padding, and the
// XOR and the bytewise difference of every two parts of one length, and of the same part in two inferences, is held to uniformity; so is D,
// drawn anew in each run. The pictures are all zero, so that nothing but masks can make the bits look random.
//
// False alarms: a Walsh coefficient of n uniform bytes passes sqrt(100 n) with probability at most 2 e^-50 = 4e-22 (statistics.ts); fewer than
// 10^6 histograms of 255 coefficients each (asserted) come to less than 10^-13.
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import { compileGraph } from '../../src/model/compile.js';
import { readGraph } from '../../src/model/onnx.js';
import type { Program, ProgramWeights } from '../../src/model/program.js';
import { openLocalSession } from '../../src/party/local.js';
import { linearSteps, weightCount } from '../../src/party/weights.js';
import { controlNames } from '../../src/protocol/control.js';
import { values } from '../networks.js';
import { type Received, recording } from '../protocol/harness.js';
import { layoutOf, placeParts } from './layout.js';
import { smallNetwork } from './networks.js';
import { type Readdress, tapped } from './sessions.js';
import { histogramOf, histogramsOf, walshExcess } from './statistics.js';

const exponent = 50;
/** Parts shorter than this cannot pass the bound: a histogram of n equal bytes has coefficients of n. */
const shortest = 200;

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

/** One part of one message: its bytes, but for a last one that is not full. */
interface Unit {
  readonly name: string;
  readonly inference: number;
  readonly bytes: Uint8Array;
}

interface Model {
  readonly program: Program;
  readonly weights: ProgramWeights;
}

/** Two inferences on pictures of zeros: the units of their messages, and D. With `joined`, neighbouring planes make one unit. */
async function run({ program, weights }: Model, readdress?: Readdress, joined = false): Promise<{ units: Unit[]; differences: Unit[] }> {
  const messages: Received[] = [];
  const wrap = recording((message) => messages.push(message));
  const local = await openLocalSession({ compute: tapped(compute, () => undefined, readdress), program, weights, wrap });
  const picture = new Float32Array(program.tensors[program.input]!.shape.reduce((a, b) => a * b, 1));
  await local.client.infer(picture);
  await local.client.infer(picture);
  await local.close();
  const layout = layoutOf(program, 1);
  const units: Unit[] = [];
  const differences: Unit[] = [];
  const cut = (name: string, inference: number, payload: Uint8Array, start: number, bits: number): Unit => ({
    name,
    inference,
    bytes: payload.subarray(start / 8, start / 8 + Math.floor(bits / 8)),
  });
  for (const { label, payload, phase, from, to } of messages) {
    if (phase === 'setup') {
      if (label.name !== 205) continue;
      const { geometry } = linearSteps(program)[label.step]!;
      differences.push(cut(`D ${label.step}`, 0, payload, 0, weightCount(geometry) * program.ringBits));
    } else if (label.name < controlNames.request) {
      const parts = layout.messages.get(`${label.step}/${label.name}`)!;
      const { starts, bytes } = placeParts(parts, 1);
      expect(payload.length).toBe(bytes);
      parts.forEach((part, p) => {
        const planes = joined && part.bits === 1 && part.count % 8 === 0;
        if (planes && p > 0 && parts[p - 1]!.bits === 1) return;
        const next = parts.findIndex((other, i) => i > p && other.bits !== 1);
        const end = planes ? (starts[next] ?? bytes * 8) : starts[p]! + part.count * part.bits;
        const name = `${from}>${to} ${label.step}/${label.name} ${part.name}`;
        units.push(cut(name, label.inference, payload, starts[p]!, end - starts[p]!));
      });
    }
  }
  return { units, differences };
}

interface Alarm {
  readonly what: string;
  readonly excess: number;
}

/** The strongest deviation among single units, pairs of one inference, and twins of two. */
function search({ units, differences }: Awaited<ReturnType<typeof run>>): { alarm: Alarm; histograms: number } {
  let alarm: Alarm = { what: 'nothing', excess: 0 };
  let histograms = 0;
  const look = (what: () => string, histogram: Int32Array): void => {
    histograms++;
    const excess = walshExcess(histogram, exponent);
    if (excess > alarm.excess) alarm = { what: what(), excess };
  };
  const long = (list: readonly Unit[]) => list.filter(({ bytes }) => bytes.length >= shortest);
  for (const { name, bytes } of [...long(units), ...long(differences)]) look(() => name, histogramOf(bytes));
  const byLength = new Map<number, Unit[]>();
  for (const unit of long(units)) byLength.set(unit.bytes.length, [...(byLength.get(unit.bytes.length) ?? []), unit]);
  for (const same of byLength.values()) {
    for (const [i, a] of same.entries()) {
      for (const b of same.slice(i + 1)) {
        if (a.inference !== b.inference && a.name !== b.name) continue;
        const pair = () => `${a.inference}: ${a.name} and ${b.inference}: ${b.name}`;
        const { xor, difference } = histogramsOf(a.bytes, b.bytes);
        look(() => `XOR of ${pair()}`, xor);
        look(() => `difference of ${pair()}`, difference);
      }
    }
  }
  return { alarm, histograms };
}

const small = (ringBits = 32) => smallNetwork(16, 12, ringBits);
const stepOf = ({ program }: Model, name: string) => program.steps.findIndex((step) => step.name === name);

/** Reads and changes an address: inference u48 (0 for B), step u24, tensor u24. */
const field = (block: Uint8Array, at: number, bytes: number): number =>
  block.slice(at, at + bytes).reduce((sum, byte) => sum * 256 + byte, 0);
const at = (block: Uint8Array, step: number, part: number): boolean =>
  field(block, 0, 6) > 0 && field(block, 6, 3) === step && field(block, 9, 3) === part;
const setStep = (block: Uint8Array, step: number): Uint8Array => {
  block.set([step >> 16, (step >> 8) & 255, step & 255], 6);
  return block;
};
const zeros = new Uint8Array(0);

describe('payload bits', () => {
  it.each([32, 40])('of a small network with max pool, blocks and a skip connection look uniform, mod 2^%d', async (ringBits) => {
    const { alarm, histograms } = search(await run(small(ringBits)));
    expect(histograms).toBeGreaterThan(500);
    expect(histograms).toBeLessThan(5e5);
    expect(alarm.excess, alarm.what).toBeLessThan(1);
  });

  const folder = '../shared/data/cifar10';
  const present = existsSync(`${folder}/resnet20.onnx`);
  if (!present) process.stdout.write(`uniform.test.ts: ResNet-20 skipped, ${folder} is not there\n`);
  it.skipIf(!present)('of ResNet-20 look uniform', async () => {
    const model = await compileGraph(compute, readGraph(readFileSync(`${folder}/resnet20.onnx`)), {
      images: values(3072 * 8, 1),
      count: 8,
      marginBits: 2,
    });
    const { alarm, histograms } = search(await run(model, undefined, true));
    expect(histograms).toBeGreaterThan(20_000);
    expect(histograms).toBeLessThan(5e5);
    expect(alarm.excess, alarm.what).toBeLessThan(1);
  });
});

describe('a fault in the streams shows in payload bits', () => {
  const cases: [string, (model: Model) => Readdress][] = [
    [
      'a mask dropped: of the input',
      ({ program }) =>
        (b) =>
          at(b, program.steps.length, 0) ? zeros : b,
    ],
    ['a mask dropped: of what is dealt for a ReLU', (model) => (b) => (at(b, stepOf(model, 'sharp'), 0) ? zeros : b)],
    [
      'one mask for two messages: the shares of two ReLUs',
      (model) => (b) => (at(b, stepOf(model, 'sharper'), 0) ? setStep(b, stepOf(model, 'sharp')) : b),
    ],
    ['one mask in two inferences', () => (b) => b.fill(0, 0, 6)],
    ['B dropped', () => (b) => (field(b, 0, 6) === 0 ? zeros : b)],
  ];
  it.each(cases)('%s', async (_name, fault) => {
    const model = small();
    const { alarm } = search(await run(model, fault(model)));
    expect(alarm.excess).toBeGreaterThan(1);
  });
});
