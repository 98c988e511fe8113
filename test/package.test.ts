// What npm reads: a lock file with which `npm ci` works anywhere, and a binary and sub-paths that exist once built.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
const read = (name: string) => JSON.parse(readFileSync(join(root, name), 'utf8'));

// npm drops entries of optional packages that a registry happens to lack, and `npm ci` then refuses the file everywhere.
it('the lock file has every optional package of every package', () => {
  const { packages } = read('package-lock.json') as { packages: Record<string, { optionalDependencies?: Record<string, string> }> };
  const lacking = Object.entries(packages).flatMap(([name, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (optional) => !(`${name}/node_modules/${optional}` in packages || `node_modules/${optional}` in packages),
    ),
  );
  expect(lacking).toEqual([]);
});

it('the binary and the sub-paths are what the build writes', () => {
  const { bin, exports } = read('package.json') as {
    bin: { tessera: string };
    exports: Record<string, string | { types: string; default: string }>;
  };
  expect(readFileSync(join(root, bin.tessera), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  for (const target of Object.values(exports)) {
    for (const file of typeof target === 'string' ? [target] : [target.types, target.default]) {
      expect(existsSync(join(root, file.replace(/\/\*.*$/, ''))), file).toBe(true);
    }
  }
});
