// What a long measurement has so far, beside the file it will write: a killed run goes on from there.
import { readFile } from 'node:fs/promises';
import { writeWhole } from './files.js';

export interface Unfinished {
  /** Pictures measured. */
  readonly done: number;
  readonly sums: Float64Array;
}

/** Reads what was kept beside `file` for the same work (`key` says which, `size` how many sums); a new beginning where there is none. */
export async function readUnfinished(file: string, key: string, size: number): Promise<Unfinished> {
  const fresh = { done: 0, sums: new Float64Array(size) };
  let bytes: Buffer;
  try {
    bytes = await readFile(`${file}.unfinished`);
  } catch {
    return fresh;
  }
  const end = bytes.indexOf('\n');
  if (end < 0 || bytes.length - end - 1 !== size * 8) return fresh;
  try {
    const head = JSON.parse(bytes.toString('utf8', 0, end)) as { key?: unknown; done?: unknown };
    if (head.key !== key || !Number.isSafeInteger(head.done) || (head.done as number) < 0) return fresh;
    return { done: head.done as number, sums: new Float64Array(Uint8Array.from(bytes.subarray(end + 1)).buffer) };
  } catch {
    return fresh;
  }
}

/** Keeps it. Throws DataError ("unwritable-file"). */
export async function writeUnfinished(file: string, key: string, { done, sums }: Unfinished): Promise<void> {
  const head = new TextEncoder().encode(`${JSON.stringify({ key, done })}\n`);
  const content = new Uint8Array(head.length + sums.byteLength);
  content.set(head);
  content.set(new Uint8Array(sums.buffer, sums.byteOffset, sums.byteLength), head.length);
  await writeWhole(`${file}.unfinished`, content);
}
