// The import order, the browser rule and the ban of Math.random, shown to fire: one violating file each, linted with the project's own settings.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'tessera-lint-'));
afterAll(() => rmSync(folder, { recursive: true }));

const importing = (path: string) => `import { value } from '${path}';\n\nexport const other = value;\n`;
const up = 'style/noRestrictedImports';

const cases: readonly (readonly [file: string, content: string, rule: string | undefined])[] = [
  ['src/kernel/a.ts', importing('../model/program.js'), up],
  ['src/kernel/b.ts', importing('./compute.js'), undefined],
  ['src/wire/a.ts', importing('../data/npy.js'), up],
  ['src/wire/b.node.ts', importing('../party/client.js'), up],
  ['src/wire/c.node.ts', importing('node:net'), undefined],
  ['src/model/ops/a.ts', importing('../../data/npy.js'), up],
  ['src/model/ops/b.ts', importing('../../kernel/compute.js'), undefined],
  ['src/model/c.ts', importing('node:fs'), up],
  ['src/model/d.ts', importing('./files.node.js'), up],
  ['src/model/e.ts', "export const late = await import('../party/session.js');\n", up],
  ['src/protocol/masked/a.ts', importing('../../party/session.js'), up],
  ['src/party/a.ts', importing('../cli/output.js'), up],
  ['src/party/b.ts', importing('../protocol/suite.js'), undefined],
  ['src/cli/a.ts', importing('../party/local.node.js'), undefined],
  ['src/errors.ts', importing('./model/program.js'), up],
  ['src/ring/a.ts', 'export const value = Math.random();\n', 'plugin'],
  ['src/ring/b.ts', 'export const value = crypto.getRandomValues(new Uint8Array(1));\n', undefined],
];

const found = new Map<string, string[]>();

beforeAll(() => {
  cpSync(join(root, 'biome.json'), join(folder, 'biome.json'));
  cpSync(join(root, 'scripts/lint'), join(folder, 'scripts/lint'), { recursive: true });
  for (const [file, content] of cases) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), content);
  }
  const biome = join(root, 'node_modules/@biomejs/biome/bin/biome');
  const { stdout } = spawnSync(
    process.execPath,
    [biome, 'lint', '--vcs-enabled=false', '--max-diagnostics=none', '--reporter=json', 'src'],
    {
      cwd: folder,
      encoding: 'utf8',
    },
  );
  type Report = { diagnostics: { category: string; location: { path: string | { file: string } } }[] };
  for (const { category, location } of (JSON.parse(stdout) as Report).diagnostics) {
    const path = typeof location.path === 'string' ? location.path : location.path.file;
    found.set(path, [...(found.get(path) ?? []), category.replace('lint/', '')]);
  }
});

it.each(cases)('%s', (file, _, rule) => {
  expect(found.get(file) ?? []).toEqual(rule === undefined ? [] : [rule]);
});
