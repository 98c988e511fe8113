// Results that long benchmarks keep as they are finished, by all that they depend on: a bench that was killed goes on with what is missing, and
// one with other settings finds nothing of these. Small ones are lines of a file in the repository, large ones files in a folder beside it.
import { createHash } from 'node:crypto';
import { appendFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

export interface Kept {
  /** Path of a large file that was made from `from`; `ending` tells several apart. */
  file(from: unknown, ending: string): string;
  /** The result recorded for `from`; undefined where there is none yet. */
  find<T>(from: unknown): T | undefined;
  /** The same, made and recorded where there is none. It has to be JSON. */
  once<T>(from: unknown, make: () => Promise<T>): Promise<T>;
}

/** What is kept under each name: fine-tunings, which take hours, in the repository; times of this machine and these programs outside it. */
const defaultFolders = {
  finetuning: 'bench',
  models: '.cache/bench',
  growth: '.cache/bench',
  segmentation: '.cache/bench',
  pictures: '.cache/bench',
  agreement: '.cache/bench',
};

/** Opens what is kept as `name`.jsonl: in one folder, or by default in that of its name, and large files in .cache/bench/`name`. */
export async function openKept(folder: string | undefined, name: keyof typeof defaultFolders = 'finetuning'): Promise<Kept> {
  const files = folder ?? join(root, '.cache/bench', name);
  const records = join(folder ?? join(root, defaultFolders[name]), `${name}.jsonl`);
  await mkdir(files, { recursive: true });
  const before = await readFile(records, 'utf8').catch(() => '');
  const results = readRecords(before);
  // What was cut off stays a line of its own.
  if (before !== '' && !before.endsWith('\n')) await appendFile(records, '\n');
  return {
    file: (from, ending) => join(files, `${createHash('sha256').update(JSON.stringify(from)).digest('hex').slice(0, 24)}${ending}`),
    find: <T>(from: unknown) => results.get(JSON.stringify(from)) as T | undefined,
    async once<T>(from: unknown, make: () => Promise<T>): Promise<T> {
      const key = JSON.stringify(from);
      if (results.has(key)) return results.get(key) as T;
      const result = await make();
      results.set(key, result);
      await appendFile(records, `${JSON.stringify({ from, result })}\n`);
      return result;
    },
  };
}

/** Results by the JSON of what they were made from. A line that was cut off by a kill is left out. */
function readRecords(text: string): Map<string, unknown> {
  const results = new Map<string, unknown>();
  for (const line of text.split('\n')) {
    try {
      const { from, result } = JSON.parse(line);
      results.set(JSON.stringify(from), result);
    } catch {}
  }
  return results;
}
