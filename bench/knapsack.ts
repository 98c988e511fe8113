// The knapsack solver on instances of the size of real networks, and on the textbook's random ones. One row a case: seconds are the median of five.
import { parseArgs } from 'node:util';
import { type Choices, costRange, solveKnapsack } from '../src/block/knapsack.js';
import { networkInstance, type RandomKind, randomInstance, resnet50 } from './_choices.js';

const runs = 5;
const { values: flags } = parseArgs({ options: { json: { type: 'boolean', default: false }, threads: { type: 'string' } } });

interface Row {
  readonly case: string;
  readonly groups: number;
  readonly items: number;
  readonly seconds: number;
  readonly runs: number;
  readonly gap: number;
  readonly resolution: number;
  readonly coreGroups: number;
  readonly states: number;
}

function measure(name: string, choices: Choices, share: number): Row {
  const { least, most } = costRange(choices);
  const budget = Math.floor(least + share * (most - least));
  const times: number[] = [];
  let solution = solveKnapsack(choices, budget);
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    solution = solveKnapsack(choices, budget);
    times.push((performance.now() - start) / 1000);
  }
  const { gap, resolution, coreGroups, work } = solution;
  const seconds = times.sort((a, b) => a - b)[runs >> 1]!;
  const size = { groups: choices.starts.length - 1, items: choices.costs.length };
  return { case: name, ...size, seconds, runs, gap, resolution: resolution / Math.abs(solution.objective || 1), coreGroups, states: work };
}

function report(row: Row): void {
  rows.push(row);
  if (flags.json) return;
  const { groups, items, seconds, gap, coreGroups, states } = row;
  const line = `${row.case.padEnd(44)} ${groups} groups, ${items} items: ${seconds.toFixed(3)} s, gap ${gap}, core ${coreGroups}, ${states} states`;
  process.stdout.write(`${line}, resolution ${row.resolution.toExponential(1)}\n`);
}

const rows: Row[] = [];
for (const share of [0.03, 0.06, 0.12, 0.25, 0.5]) {
  report(measure(`ResNet-50, 100 patches, ${100 * share} %`, networkInstance(resnet50, 100, 1), share));
}
for (const share of [0.06, 0.25]) report(measure(`3,904 channels × 80, ${100 * share} %`, networkInstance([[3904, 28]], 80, 2), share));
for (const kind of ['uncorrelated', 'weakly correlated', 'strongly correlated', 'subset sum'] as const satisfies readonly RandomKind[]) {
  report(measure(`random, ${kind}`, randomInstance(kind, 22_720, 100, 10_000, 3), 0.4));
}
if (flags.json) process.stdout.write(JSON.stringify(rows));
