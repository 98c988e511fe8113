// The folder that `optimize` writes: results of finished steps, each with what it was made from, so that a killed call goes on.
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { readDistortion } from '../block/distortion-file.js';
import { DataError } from '../errors.js';
import { parseSpec } from '../model/spec.js';
import { checkWritable, writeWhole } from './files.js';

const stateSchema = v.object({
  schema: v.literal('tessera/optimize@1'),
  /** SHA-256 of the ONNX file. */
  model: v.string(),
  /** By name of the step: SHA-256 of what it was made from, its result, and the SHA-256 of files it wrote. */
  results: v.record(v.string(), v.object({ key: v.string(), value: v.unknown(), files: v.array(v.nullable(v.string())) })),
});

type State = v.InferOutput<typeof stateSchema>;

export interface OptimizeFolder {
  file(name: string): string;
  /**
   * The result of a step, which has to be JSON: the one that was kept for the same `from` where the `files` it wrote are as it left them, else what
   * `make` gives, which is kept.
   */
  once<T>(name: string, from: unknown, make: (key: string) => Promise<T>, files?: readonly string[]): Promise<T>;
}

/**
 * Opens a folder for a model, or makes it.
 * @throws DataError ("wrong-folder") where something in it is of another model, ("bad-distortion", "bad-spec", "bad-state") for what cannot be
 * read, ("unwritable-file").
 */
export async function openFolder(path: string, model: string): Promise<OptimizeFolder> {
  try {
    await mkdir(join(path, 'work'), { recursive: true });
  } catch (cause) {
    const { message } = cause as Error;
    const hint = 'Choose a folder you may write to.';
    throw new DataError(`the folder ${path} cannot be made: ${message}`, { code: 'unwritable-file', where: path, hint, cause });
  }
  const file = (name: string): string => join(path, name);
  await checkWritable(file('report.html'));
  await checkContents(file, model);
  const state = (await readState(file('work/state.json'), model)) ?? { schema: 'tessera/optimize@1', model, results: {} };
  const hashes = (files: readonly string[]): Promise<(string | null)[]> =>
    Promise.all(files.map(async (name) => contentOf(file(name)).then((content) => (content === undefined ? null : sha256(content)))));
  return {
    file,
    async once<T>(name: string, from: unknown, make: (key: string) => Promise<T>, files: readonly string[] = []): Promise<T> {
      const key = sha256(JSON.stringify(from));
      const known = state.results[name];
      if (known?.key === key && String(known.files) === String(await hashes(files))) return known.value as T;
      const value = await make(key);
      state.results[name] = { key, value, files: await hashes(files) };
      await writeWhole(file('work/state.json'), JSON.stringify(state));
      return value;
    },
  };
}

const sha256 = (content: Uint8Array | string): string => createHash('sha256').update(content).digest('hex');

async function contentOf(path: string): Promise<Buffer | undefined> {
  return readFile(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    const hint = 'Give another folder.';
    throw new DataError(`${path} cannot be read: ${cause.message}`, { code: 'unreadable-file', where: path, hint, cause });
  });
}

/** Nobody's work is written over: what lies in the folder has to be of this model. */
async function checkContents(file: (name: string) => string, model: string): Promise<void> {
  const distortion = await contentOf(file('distortion.npz'));
  if (distortion !== undefined) checkModel(readDistortion(distortion, file('distortion.npz')).meta.model, model, file('distortion.npz'));
  const spec = await contentOf(file('spec.json'));
  if (spec !== undefined) checkModel(parseSpec(spec.toString(), file('spec.json')).model, model, file('spec.json'));
}

function checkModel(found: string, model: string, where: string): void {
  if (found === model) return;
  throw new DataError(`${where} is of another model (${found.slice(0, 16)}…)`, {
    code: 'wrong-folder',
    where,
    hint: 'Give another folder, or remove this one.',
  });
}

async function readState(path: string, model: string): Promise<State | undefined> {
  const bytes = await contentOf(path);
  if (bytes === undefined) return undefined;
  let state: State;
  try {
    state = v.parse(stateSchema, JSON.parse(bytes.toString()));
  } catch (cause) {
    const hint = 'Remove it: what it knows is then made anew.';
    throw new DataError(`${path} is not what optimize keeps there`, { code: 'bad-state', where: path, hint, cause });
  }
  checkModel(state.model, model, path);
  return state;
}
