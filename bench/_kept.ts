// Results that long benchmarks keep as they are finished, each in a file named by the hash of what it was made from: a bench that was killed
// goes on with what is missing, and one with other settings finds nothing of these.
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeWhole } from '../src/cli/files.js';

/** Where results are kept unless the call names another folder. */
export const keptFolder = fileURLToPath(new URL('../../.cache/bench/finetuning', import.meta.url));

export interface Kept {
  /** A file's path for what was made from `from`; `ending` tells several apart. */
  file(from: unknown, ending: string): string;
  /** The result kept for `from`; undefined where there is none yet. */
  find<T>(from: unknown): Promise<T | undefined>;
  /** The same, made and kept where there is none. It has to be JSON. */
  once<T>(from: unknown, make: () => Promise<T>): Promise<T>;
}

export async function openKept(folder: string): Promise<Kept> {
  await mkdir(folder, { recursive: true });
  const file = (from: unknown, ending: string): string =>
    join(folder, `${createHash('sha256').update(JSON.stringify(from)).digest('hex').slice(0, 24)}${ending}`);
  const find = async <T>(from: unknown): Promise<T | undefined> => {
    const text = await readFile(file(from, '.json'), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as { result: T }).result;
  };
  return {
    file,
    find,
    async once<T>(from: unknown, make: () => Promise<T>): Promise<T> {
      const known = await find<T>(from);
      if (known !== undefined) return known;
      const result = await make();
      await writeWhole(file(from, '.json'), `${JSON.stringify({ from, result }, undefined, 1)}\n`);
      return result;
    },
  };
}
