import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { comparisonTable, costTable, planTable } from './document.js';

it.each([
  ['costs', costTable],
  ['plans', planTable],
  ['comparisons', comparisonTable],
])('docs/protocol.md: the table of %s is what the operations say', (_name, make) => {
  expect(readFileSync('docs/protocol.md', 'utf8')).toContain(make());
});
