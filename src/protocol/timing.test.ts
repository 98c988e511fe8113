import { describe, expect, it } from 'vitest';
import { smallNetwork } from '../../test/leakage/networks.js';
import { suites } from '../party/session.js';
import type { LinkSpeed } from '../wire/profiles.js';
import { estimate } from './estimate.js';
import type { Link } from './operation.js';
import { type MachineRates, predictSeconds, type StepRates } from './timing.js';

const { program } = smallNetwork(8, 4);
const idle: MachineRates = { message: { seconds: 0, secondsPerByte: 0 }, work: {} };
const endless: LinkSpeed = { bytesPerSecond: Number.POSITIVE_INFINITY, roundTripSeconds: 0 };
const once: StepRates = [1, 0, 0, 0];

const able = Object.entries(suites).filter(([, suite]) => suite.refuses(program) === undefined);

describe.each(able)('predicted seconds of %s', (_, suite) => {
  it('are half a round trip for each message in the longest chain, where nothing else takes time', () => {
    const { offline, online } = estimate(program, suite, 2);
    const predicted = predictSeconds(program, suite, 2, { ...endless, roundTripSeconds: 2 }, idle);
    expect(predicted.online).toBe(online.rounds);
    // The clocks of messages let the server start with the others; it may, as the one that numbers the inference, start one message earlier.
    expect([offline.rounds - 1, offline.rounds]).toContain(predicted.offline);
    const own = predictSeconds(program, suite, 2, undefined, { ...idle, message: { seconds: 1, secondsPerByte: 0 } });
    expect(own).toEqual(predicted);
  });

  it('are at least what the busiest direction of a link takes, and at most what all of them take in turn', () => {
    const predicted = predictSeconds(program, suite, 1, { bytesPerSecond: 1, roundTripSeconds: 0 }, idle);
    const costs = estimate(program, suite);
    for (const phase of ['offline', 'online'] as const) {
      const bytes = Object.values(costs[phase].links);
      expect(predicted[phase]).toBeGreaterThanOrEqual(Math.max(...bytes));
      expect(predicted[phase]).toBeLessThanOrEqual(bytes.reduce((a, b) => a + b, 0));
    }
  });

  it('a slow way up counts for what the client sends alone', () => {
    const slow = predictSeconds(program, suite, 1, { ...endless, uploadBytesPerSecond: 1 }, idle);
    const { online } = estimate(program, suite);
    const up = (Object.entries(online.links) as [Link, number][]).filter(([link]) => link.startsWith('client>'));
    expect(slow.online).toBeGreaterThanOrEqual(Math.max(...up.map(([, bytes]) => bytes)));
    expect(slow.online).toBeLessThanOrEqual(up.reduce((sum, [, bytes]) => sum + bytes, 0));
  });
});

describe('work', () => {
  const suite = suites.masked!;

  it('of one party adds up, that of two at the same time does not', () => {
    const linears = program.steps.filter((step) => step.kind === 'linear').length;
    const server = predictSeconds(program, suite, 1, undefined, { ...idle, work: { 'linear server online': once } });
    expect(server.online).toBeCloseTo(linears, 9);
    expect(server.offline).toBe(0);
    const two = { 'linear client offline': once, 'linear provider offline': once } as const;
    expect(predictSeconds(program, suite, 1, undefined, { ...idle, work: two }).offline).toBeCloseTo(linears, 9);
  });

  it('is reckoned from elements, bytes of messages and multiply-adds', () => {
    const macs = program.steps.reduce((sum, step) => {
      if (step.kind !== 'linear') return sum;
      const { outputChannels, outputHeight, outputWidth, inputChannels, kernelHeight, kernelWidth } = step.geometry;
      return sum + outputChannels * outputHeight * outputWidth * inputChannels * kernelHeight * kernelWidth;
    }, 0);
    const each = predictSeconds(program, suite, 3, undefined, { ...idle, work: { 'linear server online': [0, 0, 0, 1] } });
    expect(each.online).toBeCloseTo(3 * macs, 3);
  });

  it('goes on while a message is on its way', () => {
    const work = { 'linear provider offline': once } as const;
    const network = { ...endless, roundTripSeconds: 2 };
    const alone = predictSeconds(program, suite, 1, undefined, { ...idle, work }).offline;
    const both = predictSeconds(program, suite, 1, network, { ...idle, work }).offline;
    expect(both).toBeLessThan(alone + predictSeconds(program, suite, 1, network, idle).offline + 1e-9);
    expect(both).toBeGreaterThanOrEqual(alone);
  });
});
