// The joint view of each party over small rings, compared between two secrets. The provider's
// view is in sessions.test.ts: it receives nothing an inference's data could touch.
//
// False alarms. A test here fires on equal distributions with probability at most 2 e^-40 = 9e-18 (statistics.ts). All scenarios together
// make fewer than 10^5 tests (asserted below), so the whole of this file fires falsely with probability below 10^-12.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import { differenceOf, direct, directWide, longWindow, scenarios, smallestPool, smallestRelu, twice } from './scenarios.js';
import { type Compared, compareViews } from './views.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

const batch = 2 ** 14;
let tests = 0;

function expectQuiet(result: Compared): void {
  tests += result.tests;
  expect(result.worst.excess, result.worst.what).toBeLessThan(1);
  expect(tests).toBeLessThan(1e5);
}

describe.each([...scenarios, ...direct, ...directWide, longWindow, twice])('$name', (scenario) => {
  const setting = () => ({ compute, program: scenario.program, difference: differenceOf(scenario) });

  it('shows the server nothing of the picture', async () => {
    expectQuiet(await compareViews({ setting: setting(), role: 'server', secrets: scenario.server, batch, seed: 1 }));
  });

  it.runIf(scenario.client)('shows the client nothing of the weights beyond its result', async () => {
    for (const seed of [1, 2]) {
      const result = await compareViews({ setting: setting(), role: 'client', secrets: scenario.client!, batch, seed });
      expect(result.outputs[0]).toBeDefined();
      expect(result.outputs[1]).toBe(result.outputs[0]);
      expectQuiet(result);
    }
  });
});

describe.each([smallestRelu, smallestPool])('the whole view at once: $name', (scenario) => {
  it('shows the server nothing of the picture', async () => {
    const setting = { compute, program: scenario.program, difference: [] };
    const result = await compareViews({ setting, role: 'server', secrets: scenario.server, batch: 2 ** 16, seed: 1, wholeOnly: true });
    // Enough equal views to tell: were all twins of one secret, the excess would be sqrt(pairs / 80) = 2 at 320 pairs.
    expect(result.twins).toBeGreaterThan(320);
    expectQuiet(result);
  });
});
