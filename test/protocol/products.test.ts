// Products against plain arithmetic, in every suite and ring, with the messages their formulas announce.
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { Step } from '../../src/model/program.js';
import { suites } from '../../src/party/session.js';
import { onWire } from '../../src/protocol/control.js';
import { allMessages } from '../../src/protocol/estimate.js';
import { noWeights, type Received, runSmall, smallProgram } from './harness.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 1 });
});
afterAll(() => compute.close());

const factor = fc.integer({ min: -100, max: 100 });
const settings = fc.oneof(
  fc.record({ suite: fc.constant('masked'), ringBits: fc.integer({ min: 16, max: 32 }) }),
  fc.record({ suite: fc.constant('securenn'), ringBits: fc.constantFrom(16, 20, 32, 64) }),
);

/** Views of the two halves of the input, their product, the square of the second, and both results side by side. */
function halvesMultiplied(size: number, ringBits: number) {
  const halves = [0, 1].map(
    (half): Step => ({
      kind: 'view',
      name: `half${half}`,
      input: 0,
      output: 1 + half,
      inputShape: [2, size],
      axes: [
        { axis: 0, start: half, step: 1, size: 1 },
        { axis: 1, start: 0, step: 1, size },
      ],
    }),
  );
  const steps: Step[] = [
    ...halves,
    { kind: 'product', name: 'both', inputs: [1, 2], output: 3 },
    { kind: 'product', name: 'square', inputs: [2, 2], output: 4 },
    { kind: 'concat', name: 'results', inputs: [3, 4], axis: 0, output: 5 },
  ];
  const half = [1, size];
  return smallProgram([2, size], steps, [half, half, half, half, [2, size]], ringBits);
}

it('multiply two tensors, and a tensor with itself', () =>
  fc.assert(
    fc.asyncProperty(
      settings,
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.tuple(factor, factor), { minLength: 1, maxLength: 70 }),
      async ({ suite, ringBits }, batch, pairs) => {
        const program = halvesMultiplied(pairs.length, ringBits);
        const pictures = Array.from({ length: batch }, (_, n) => pairs.map(([a, b]) => [a + n, b - n] as const));
        const input = pictures.flatMap((p) => [...p.map(([a]) => a), ...p.map(([, b]) => b)]);
        const ideal = pictures.flatMap((p) => [...p.map(([a, b]) => a * b + 0), ...p.map(([, b]) => b * b + 0)]);
        const sent: Received[] = [];
        expect(await runSmall(compute, program, noWeights, input, batch, (message) => sent.push(message), suite)).toEqual(ideal);
        const list = (all: readonly (readonly [string, string, number])[]) => all.map((entry) => entry.join(' ')).sort();
        const counted = sent.filter((m) => m.phase !== 'setup').map((m) => [m.phase, `${m.from}>${m.to}`, m.payload.length + 12] as const);
        const predicted = allMessages(program, suites[suite]!, batch).map((m) => [m.phase, m.link, onWire(m)] as const);
        expect(list(counted)).toEqual(list(predicted));
      },
    ),
    { numRuns: 60 },
  ));
