// Compiled models kept between commands, so that an ONNX file is calibrated once. Bounded in size; the least recently used go first.
import { readdir, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { readModelFolder, type StoredModel, writeModelFolder } from './model-folder.js';

/** Most bytes kept: some dozens of small networks, or ten the size of MobileNet. */
const cacheLimitBytes = 500e6;

/** A folder of the cache, which is in $XDG_CACHE_HOME/tessera, else ~/.cache/tessera. */
export function cacheFolder(kind: 'models' | 'machines'): string {
  const base = process.env.XDG_CACHE_HOME;
  return join(base === undefined || base === '' ? join(homedir(), '.cache') : base, 'tessera', kind);
}

/** The compiled model under a key; anything unreadable counts as absent. */
export async function recallModel(key: string): Promise<StoredModel | undefined> {
  const folder = join(cacheFolder('models'), key);
  try {
    const stored = await readModelFolder(folder);
    const now = new Date();
    await utimes(folder, now, now);
    return stored;
  } catch {
    return undefined;
  }
}

/** Keeps a compiled model. A cache that cannot be written is no failure: the model is compiled again next time. */
export async function rememberModel(key: string, model: StoredModel): Promise<void> {
  const folder = cacheFolder('models');
  try {
    await writeModelFolder(join(folder, key), model);
    await evict(folder, key);
  } catch {}
}

async function evict(folder: string, keep: string): Promise<void> {
  const entries = await Promise.all(
    (await readdir(folder)).map(async (name) => {
      const path = join(folder, name);
      const files = await readdir(path);
      const sizes = await Promise.all(files.map(async (file) => (await stat(join(path, file))).size));
      return { name, path, used: (await stat(path)).mtimeMs, bytes: sizes.reduce((sum, size) => sum + size, 0) };
    }),
  );
  entries.sort((a, b) => b.used - a.used);
  let total = 0;
  for (const { name, path, bytes } of entries) {
    total += bytes;
    if (total > cacheLimitBytes && name !== keep) await rm(path, { recursive: true, force: true });
  }
}
