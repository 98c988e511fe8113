// A dry run moves what a real run moves, and nothing of what it says.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { Program, ProgramWeights } from '../../src/model/program.js';
import { openLocalSession } from '../../src/party/local.js';
import { addDrySuites, suites } from '../../src/party/session.js';
import { controlNames } from '../../src/protocol/control.js';
import { dryName } from '../../src/protocol/dry.js';
import { smallNetwork } from '../leakage/networks.js';
import { type Received, recording } from './harness.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 1 });
});
afterAll(() => compute.close());

interface Run {
  readonly messages: readonly Received[];
  readonly rounds: { readonly offline: number; readonly online: number };
}

async function record(program: Program, weights: ProgramWeights, suite: string, batch: number): Promise<Run> {
  const all: Received[] = [];
  const local = await openLocalSession({ compute, program, weights, suite, wrap: recording((message) => all.push(message)) });
  const size = program.tensors[program.input]!.shape.reduce((a, b) => a * b, batch);
  const images = Float32Array.from({ length: size }, (_, i) => ((i * 31) % 19) - 9);
  const { report } = await local.client.infer(images, batch);
  await local.close();
  return { messages: all.filter((message) => message.phase !== 'setup'), rounds: report.rounds };
}

/** Labels and sizes of what goes over each link, in order. */
function transcript({ messages }: Run): Record<string, string[]> {
  const links: Record<string, string[]> = {};
  for (const { from, to, phase, label, payload } of messages) {
    links[`${from}>${to}`] ??= [];
    links[`${from}>${to}`]!.push(`${phase} ${label.inference} ${label.step} ${label.name} ${payload.length}`);
  }
  return links;
}

const { program, weights } = smallNetwork(8, 4);
const able = Object.keys(suites).filter((name) => suites[name]!.refuses(program) === undefined);

describe.each(able)('the dry twin of %s', (name) => {
  it.each([1, 3])('moves the same messages in the same order of dependence, batch %d', async (batch) => {
    addDrySuites();
    const real = await record(program, weights, name, batch);
    const dry = await record(program, weights, dryName(name), batch);
    expect(transcript(dry)).toEqual(transcript(real));
    expect(dry.rounds).toEqual(real.rounds);
    expect(real.messages.length).toBeGreaterThan(20);
  });

  it('sends zeros, but for the numbers that start an inference', async () => {
    addDrySuites();
    const { messages } = await record(program, weights, dryName(name), 1);
    const steps = messages.filter(({ label }) => label.name < controlNames.request);
    expect(steps.length).toBeGreaterThan(20);
    for (const { payload } of steps) expect(payload.every((byte) => byte === 0)).toBe(true);
    expect(messages.length - steps.length).toBe(4);
  });
});
