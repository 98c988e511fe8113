// ReLUs and max pools in pieces: the same answers, the bytes and rounds that were estimated, and masks that no two pieces share.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { Program, ReluStep } from '../../src/model/program.js';
import { simulate } from '../../src/model/simulate.js';
import { openLocalSession } from '../../src/party/local.js';
import { addSuite, suites } from '../../src/party/session.js';
import { linkBytes } from '../../src/party/traffic.js';
import { dryName, drySuite } from '../../src/protocol/dry.js';
import { estimate } from '../../src/protocol/estimate.js';
import { inPieces } from '../../src/protocol/masked/pieces.js';
import { wholeRelu } from '../../src/protocol/masked/relu.js';
import { masked } from '../../src/protocol/masked/suite.js';
import { messageNames } from '../../src/protocol/messages.js';
import type { Suite } from '../../src/protocol/suite.js';
import { smallNetwork } from '../leakage/networks.js';
import { type Received, recording } from './harness.js';

const name = 'masked in small pieces';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 1 });
  const relu = inPieces(wholeRelu, 128);
  const operations = { ...masked.operations, relu } as unknown as Suite['operations'];
  addSuite({ ...masked, name, operations });
  addSuite(drySuite(suites[name]!));
});
afterAll(() => compute.close());

/** The network with a cap on one ReLU, and with another that is compared in one round trip. */
function varied(): ReturnType<typeof smallNetwork> {
  const network = smallNetwork(16, 8);
  const { program } = network;
  const steps = program.steps.map((step) => {
    if (step.name === 'sharper') return { ...(step as ReluStep), cap: 4096 };
    const comparison = { groups: [[3, 3]], roundTrips: 1 } as const;
    return step.name === 'sharp' ? { ...(step as ReluStep), window: { low: 8, high: 15 }, comparison } : step;
  });
  return { ...network, program: { ...program, steps } };
}

const pictures = ({ tensors, input }: Program, batch: number): Float32Array =>
  Float32Array.from({ length: tensors[input]!.shape.reduce((a, b) => a * b, batch) }, (_, i) => (((i * 31) % 19) - 9) * 100);

async function record(suite: string, { program, weights }: ReturnType<typeof smallNetwork>, batch: number) {
  const messages: Received[] = [];
  const wrap = recording((message) => messages.push(message));
  const local = await openLocalSession({ compute, program, weights, suite, wrap });
  const { outputs, report } = await local.client.infer(pictures(program, batch), batch);
  const bytes = { offline: linkBytes(local.counters, 'offline'), online: linkBytes(local.counters, 'online') };
  await local.close();
  return { outputs, rounds: report.rounds, bytes, messages: messages.filter(({ phase }) => phase !== 'setup') };
}

const openings = (messages: readonly Received[], program: Program, step: string): readonly Received[] => {
  const index = program.steps.findIndex((each) => each.name === step);
  return messages.filter(({ label }) => label.step === index && label.name % 16 === messageNames.opening);
};

describe.each([1, 2, 5])('a suite that cuts its activations, batch %d', (batch) => {
  it('answers as one that does not, but for rounding', async () => {
    const network = varied();
    const [cut, whole] = [await record(name, network, batch), await record('masked', network, batch)];
    for (const [image, logits] of cut.outputs.entries()) {
      const scale = Math.max(...whole.outputs[image]!.map(Math.abs));
      for (const [i, logit] of logits.entries()) expect(Math.abs(logit - whole.outputs[image]![i]!)).toBeLessThan(0.1 * scale);
    }
  });

  it('sends the bytes and takes the rounds that were estimated, and so does its dry twin', async () => {
    const network = varied();
    const expected = estimate(network.program, suites[name]!, batch);
    for (const suite of [name, dryName(name)]) {
      const { rounds, bytes } = await record(suite, network, batch);
      expect(bytes).toEqual({ offline: expected.offline.links, online: expected.online.links });
      expect(rounds).toEqual({ offline: expected.offline.rounds, online: expected.online.rounds });
    }
  });

  it('opens pieces under masks of their own', async () => {
    const network = varied();
    const { messages } = await record(name, network, batch);
    for (const [step, least] of [
      ['sharp', 4],
      ['sharper', 4],
      ['blocks', 2],
    ] as const) {
      const sent = openings(messages, network.program, step);
      expect(sent.length).toBeGreaterThanOrEqual(least);
      const texts = sent.map(({ payload }) => Buffer.from(payload.subarray(0, 24)).toString('hex'));
      expect(new Set(texts).size).toBe(texts.length);
    }
  });
});

describe('a large network in the masked suite', () => {
  it('plays its max pool in pieces, and answers as the simulation', async () => {
    const network = smallNetwork(64, 64);
    const { program, weights } = network;
    const { outputs, rounds, bytes, messages } = await record('masked', network, 1);
    expect(openings(messages, program, 'pool').length).toBeGreaterThan(2);
    const expected = estimate(program, masked, 1);
    expect(bytes).toEqual({ offline: expected.offline.links, online: expected.online.links });
    expect(rounds).toEqual({ offline: expected.offline.rounds, online: expected.online.rounds });
    const { output } = await simulate(compute, program, weights, Int32Array.from(pictures(program, 1)), 1);
    const expectedLogits = [...output].map(Number);
    const scale = Math.max(...expectedLogits.map(Math.abs));
    for (const [i, logit] of expectedLogits.entries()) expect(Math.abs(outputs[0]![i]! - logit)).toBeLessThan(0.1 * scale);
  });
});
