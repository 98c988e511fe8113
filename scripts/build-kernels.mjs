// Compiles src/kernel/assembly into src/kernel/module.generated.ts: the WASM module in base64, ready for Node and browsers.
// One build serves shared and unshared memories: they differ in one flag of the memory import, whose place is recorded.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const sourceFolder = join(root, 'src/kernel/assembly');
const target = join(root, 'src/kernel/module.generated.ts');

const flags = [
  ['--runtime', 'stub'],
  ['--enable', 'simd'],
  ['--enable', 'threads'],
  ['--enable', 'bulk-memory'],
  ['--optimizeLevel', '3'],
  ['--shrinkLevel', '0'],
  ['--converge'],
  ['--importMemory'],
  ['--sharedMemory'],
  ['--initialMemory', '1'],
  ['--maximumMemory', '65536'],
  ['--use', 'abort='],
].flat();

function sourceHash() {
  const hash = createHash('sha256');
  for (const name of readdirSync(sourceFolder).sort()) {
    hash
      .update(name)
      .update('\0')
      .update(readFileSync(join(sourceFolder, name)))
      .update('\0');
  }
  hash.update(readFileSync(fileURLToPath(import.meta.url)));
  hash.update(readFileSync(join(root, 'node_modules/assemblyscript/package.json')));
  return hash.digest('hex');
}

async function compile() {
  const { default: asc } = await import('assemblyscript/asc');
  let binary;
  const messages = [];
  const { error } = await asc.main(['index.ts', '--outFile', 'kernels.wasm', ...flags], {
    readFile: (name, base) => {
      const path = join(base === '.' ? sourceFolder : join(sourceFolder, base), name);
      return existsSync(path) ? readFileSync(path, 'utf8') : null;
    },
    writeFile: (_name, contents) => {
      if (typeof contents !== 'string') binary = contents;
    },
    listFiles: () => [],
    stdout: { write: () => {} },
    stderr: { write: (text) => messages.push(text) },
  });
  if (error || !binary) throw new Error(`kernels do not compile\n${messages.join('')}${error?.message ?? ''}`);
  return binary;
}

/** Where the flags byte of the memory import stands: 3 is shared with a maximum, 1 unshared with a maximum. */
function memoryFlagOffset(binary) {
  const needle = Buffer.concat([Buffer.from([3]), Buffer.from('env'), Buffer.from([6]), Buffer.from('memory'), Buffer.from([2, 3])]);
  const at = Buffer.from(binary).indexOf(needle);
  if (at < 0) throw new Error('the module does not import a shared memory env.memory');
  return at + needle.length - 1;
}

const hash = sourceHash();
const stamp = `// Made by scripts/build-kernels.mjs from ${hash}`;
if (!existsSync(target) || readFileSync(target, 'utf8').split('\n', 1)[0] !== stamp) {
  const binary = await compile();
  const text = [
    stamp,
    `export const memoryFlagOffset = ${memoryFlagOffset(binary)};`,
    `export const moduleBase64 =\n  '${Buffer.from(binary).toString('base64')}';`,
    '',
  ].join('\n');
  mkdirSync(dirname(target), { recursive: true });
  const part = `${target}.${process.pid}`;
  writeFileSync(part, text);
  renameSync(part, target);
  process.stdout.write(`kernels: ${binary.length} bytes of WASM\n`);
}
