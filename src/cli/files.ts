// Files that commands write: whole or not at all.
import { rename, rm, writeFile } from 'node:fs/promises';
import { DataError } from '../errors.js';

/**
 * Writes beside the file and renames: a reader never sees half of it, a failure leaves what was there, and the mode holds from the first byte.
 * @throws DataError ("unwritable-file").
 */
export async function writeWhole(path: string, content: Uint8Array | string, mode = 0o644): Promise<void> {
  const part = `${path}.${process.pid}.part`;
  try {
    await writeFile(part, content, { mode, flag: 'wx' });
    await rename(part, path);
  } catch (cause) {
    await rm(part, { force: true });
    throw new DataError(`${path} cannot be written: ${(cause as Error).message}`, {
      code: 'unwritable-file',
      where: path,
      hint: 'Choose a folder you may write to.',
      cause,
    });
  }
}
