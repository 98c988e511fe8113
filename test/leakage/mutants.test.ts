// Proof that the joint tests can fail: every mask of every scenario dropped in turn, masks used for two messages, masks used in two
// inferences. The faults are put into the streams by the test; each must raise an alarm in the view of the party it was to protect from.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { Tamper } from './parties.js';
import { differenceOf, direct, longWindow, relu6Edges, type Scenario, scenarios, smallestRelu, twice } from './scenarios.js';
import { type DrawName, drawNames, dropping, reusing } from './tamper.js';
import { compareViews } from './views.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

const batch = 2 ** 14;

/** Whom a pair's common draws protect from. */
const victim = (pair: DrawName['pair']) => (pair === 'client' ? ('server' as const) : ('client' as const));

/** Whether a mutant is seen, with the party's own draws held at one set of constants or another. */
async function expectAlarm(
  scenario: Scenario,
  role: 'client' | 'server',
  mutant: Tamper | undefined,
  what: string,
  drawnAs?: () => number,
) {
  let excess = 0;
  for (let seed = 1; seed <= 8 && excess <= 1; seed++) {
    const setting = { compute, program: scenario.program, difference: differenceOf(scenario), ...(drawnAs ? { drawnAs } : {}) };
    // A sign in one round trip is in its opened planes, the value and a zeta together, and in no two of them.
    const triples = direct.includes(scenario) ? { triples: 4000 } : {};
    const compared = { setting, role, secrets: scenario[role]!, batch, seed, ...triples, ...(mutant ? { mutant } : {}) };
    excess = Math.max(excess, (await compareViews(compared, true)).worst.excess);
  }
  expect.soft(excess, `${scenario.name}: ${what}`).toBeGreaterThan(1);
}

const named = (name: string): Scenario => [...scenarios, relu6Edges].find((scenario) => scenario.name === name)!;

describe('a mask dropped', () => {
  it.each([...scenarios, ...direct])('$name: each of its draws', async (scenario) => {
    for (const name of drawNames(scenario)) {
      await expectAlarm(scenario, victim(name.pair), dropping(name, scenario, batch), `${name.pair} ${name.draw} ${name.part}`);
    }
  });

  it('two levels of digits: the second level, and what the first passes on', async () => {
    for (const name of drawNames(longWindow).filter(({ part }) => /^(mask0\.2|mask0\.10|product)/.test(part))) {
      await expectAlarm(longWindow, victim(name.pair), dropping(name, longWindow, batch), `${name.pair} ${name.draw} ${name.part}`);
    }
  });

  it.each(['high', 'high0', 'zeta0', 'mask0.10.0', 'result0', 'table0'])('the whole view at once: %s', async (part) => {
    const large = 2 ** 16;
    const mutant = dropping({ pair: 'client', draw: '0/0', part }, smallestRelu, large);
    const setting = { compute, program: smallestRelu.program, difference: [] };
    const compared = { setting, role: 'server' as const, secrets: smallestRelu.server, batch: large, seed: 1, mutant, wholeOnly: true };
    expect((await compareViews(compared)).worst.excess).toBeGreaterThan(1);
  });
});

const client = (draw: string, part: string): DrawName => ({ pair: 'client', draw, part });
const server = (draw: string, part: string): DrawName => ({ pair: 'server', draw, part });

describe('one mask for two messages', () => {
  const cases: [string, DrawName, DrawName, [number, number]?][] = [
    ['relu, sealed', client('2/0', 'lambda'), client('0/0', 'rho')],
    ['relu, sealed', client('2/0', 'lambda'), client('1/1', 'lambda')],
    ['relu, sealed', client('1/0', 'high'), client('1/0', 'high0')],
    ['relu, two digits', client('1/0', 'table0'), client('1/0', 'table1')],
    ['relu, two digits', client('1/0', 'mask0.10.1'), client('1/0', 'mask0.10.2')],
    ['relu, two digits', server('1/2', 'mask0.10.0'), server('1/2', 'mask0.10.1')],
    ['relu6', client('1/0', 'mask0.10.0'), client('1/0', 'mask1.10.0')],
    ['relu6 at its edges', client('1/0', 'result0'), client('1/0', 'result1')],
    ['relu6 at its edges', server('1/2', 'result0'), server('1/2', 'result1')],
    ['block relu', client('1/1', 'lambda'), client('1/1', 'lambda'), [0, 1]],
    ['block relu', server('1/2', 'c'), server('1/2', 'c'), [0, 1]],
    ['max pool with windows that overlap, sealed', server('1/2', 'c'), server('1/2', 'c'), [0, 1]],
    ['max pool of three candidates, hidden', server('2/2', 'c'), server('2/18', 'c')],
    ['truncate, hidden', client('1/0', 'lambda0'), client('2/0', 'lambda0')],
  ];
  it.each(cases)('%s: %o also as %o', async (name, from, to, items) => {
    const scenario = named(name);
    await expectAlarm(
      scenario,
      victim(from.pair),
      reusing(from, to, scenario, batch, items),
      `${from.draw} ${from.part} as ${to.draw} ${to.part}`,
    );
  });
});

it('overlapping windows without a mask of their own: the second round opens under what covered their common difference in the first', async () => {
  const scenario = named('max pool with windows that overlap, sealed');
  // Windows (a, b, d) and (b, d, e): were masks those of the elements, b - d and max(a, b) - d would have one.
  const mutant = reusing(server('1/2', 'c'), server('1/18', 'c'), scenario, batch, [1, 0]);
  await expectAlarm(scenario, 'client', mutant, 'c');
});

describe('one mask in two inferences', () => {
  it('of the client: the server sees the pictures differ', () => expectAlarm(twice, 'server', undefined, 'server', () => 1));
  it('of the server: the client sees the activations differ', () => expectAlarm(twice, 'client', undefined, 'client', () => 1));
});
