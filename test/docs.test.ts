// What the documents say of the code is what the code says.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { operatorsMarkdown } from '../src/model/ops/table.js';
import { networksMarkdown } from '../src/wire/profiles.js';

const root = join(import.meta.dirname, '..');
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'models/README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** Anchors as GitHub makes them from headings. */
function anchors(page: string): string[] {
  const headings = [...readFileSync(page, 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading as string);
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} -]/gu, '')
      .replaceAll(' ', '-'),
  );
}

describe('documents', () => {
  it('docs/operators.md is made from the table of ops (npm run docs:operators)', () => {
    expect(readFileSync(join(root, 'docs/operators.md'), 'utf8')).toBe(operatorsMarkdown());
  });

  it('docs/benchmarks.md has the table of networks as they are imitated (npm run docs:benchmarks networks)', () => {
    expect(readFileSync(join(root, 'docs/benchmarks.md'), 'utf8')).toContain(networksMarkdown());
  });

  it.each(pages)('%s links to what exists', (page) => {
    const text = readFileSync(join(root, page), 'utf8');
    for (const [, target] of text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path = '', anchor] = (target as string).split('#');
      const file = path === '' ? join(root, page) : join(root, dirname(page), path);
      expect(existsSync(file), `${page}: ${target}`).toBe(true);
      if (anchor !== undefined) expect(anchors(file), `${page}: ${target}`).toContain(anchor);
    }
  });

  it('every dependency has its line in docs/decisions.md', () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const text = readFileSync(join(root, 'docs/decisions.md'), 'utf8');
    for (const name of Object.keys({ ...dependencies, ...devDependencies })) expect(text).toContain(`| ${name} |`);
  });
});
