// What a party says of its memory is its own, whoever started it.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';

const resident = pathToFileURL(join(import.meta.dirname, '../dist/src/cli/resident.js')).href;
const say = `import(${JSON.stringify(resident)}).then(({ residentPeakBytes }) => console.log(residentPeakBytes()))`;

it('the most memory of a process is not that of the one that started it', () => {
  const parent = `
    const held = Buffer.alloc(400e6, 1);
    require('node:child_process').spawnSync(process.execPath, ['-e', ${JSON.stringify(say)}], { stdio: 'inherit' });
    ${say};
    held[0]`;
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', parent], { encoding: 'utf8' });
  const [child, own] = stdout.trim().split('\n').map(Number);
  expect(own, stderr).toBeGreaterThan(400e6);
  expect(child).toBeGreaterThan(10e6);
  if (process.platform === 'linux') expect(child).toBeLessThan(200e6);
});
