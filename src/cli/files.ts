// Files that commands write: whole or not at all.
import { access, constants, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DataError } from '../errors.js';

/**
 * Writes beside the file and renames: a reader never sees half of it, a failure leaves what was there, and the mode holds from the first byte.
 * @throws DataError ("unwritable-file", "disk-full").
 */
export async function writeWhole(path: string, content: Uint8Array | string, mode = 0o644): Promise<void> {
  const part = `${path}.${process.pid}.part`;
  try {
    await writeFile(part, content, { mode, flag: 'wx' });
    await rename(part, path);
  } catch (cause) {
    await rm(part, { force: true });
    throw unwritable(path, cause as NodeJS.ErrnoException);
  }
}

function unwritable(path: string, cause: NodeJS.ErrnoException): DataError {
  const full = cause.code === 'ENOSPC' || cause.code === 'EDQUOT';
  return new DataError(`${path} cannot be written: ${full ? 'the disk is full' : cause.message}`, {
    code: full ? 'disk-full' : 'unwritable-file',
    where: path,
    hint: full ? 'Make room, or choose another disk.' : 'Choose a folder you may write to.',
    cause,
  });
}

/**
 * Checks that a file can be put where long work will want to write it.
 * @throws DataError ("unwritable-file").
 */
export async function checkWritable(path: string): Promise<void> {
  try {
    await access(dirname(path), constants.W_OK);
  } catch (cause) {
    throw unwritable(path, cause as NodeJS.ErrnoException);
  }
}
