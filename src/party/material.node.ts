// Material of prepared inferences on disk: one file for each, which has lost its name before anything is written to it, so that it goes with the
// process whatever ends that.
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { type FileHandle, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TesseraError } from '../errors.js';
import type { MaterialStore } from './material.js';

const prefix = 'tessera-material-';

/** Opens a file that nobody else can; where the platform does not let go of the name of an open file, it goes when the process ends. */
async function openNameless(folder: string): Promise<{ readonly file: FileHandle; close(): Promise<void> }> {
  const path = join(folder, `${prefix}${process.pid}-${randomBytes(8).toString('hex')}`);
  const file = await open(path, 'wx+', 0o600);
  const gone = await rm(path).then(
    () => true,
    () => false,
  );
  const remove = (): void => rmSync(path, { force: true });
  if (!gone) process.once('exit', remove);
  return {
    file,
    async close() {
      await file.close();
      if (gone) return;
      process.off('exit', remove);
      remove();
    },
  };
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Removes what processes have left that died between making a file and removing its name. */
async function removeLeftovers(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  const left = names.filter((name) => name.startsWith(prefix) && !alive(Number.parseInt(name.slice(prefix.length), 10)));
  await Promise.all(left.map((name) => rm(join(folder, name), { force: true }).catch(() => {})));
}

const cleaned = new Map<string, Promise<void>>();

/** Stores in files of a folder; default: the system's for temporary files (TMPDIR). Opening one takes no time: its file is made when it is needed. */
export function fileStores(folder = tmpdir()): () => MaterialStore {
  if (!cleaned.has(folder)) cleaned.set(folder, removeLeftovers(folder));
  return () => {
    let opened: ReturnType<typeof openNameless> | undefined;
    let end = 0;
    return {
      async put(bytes) {
        const from = end;
        // By itself: what is returned must not hold the bytes.
        const { length } = bytes;
        end += length;
        try {
          opened ??= openNameless(folder);
          await writeAll((await opened).file, bytes, from);
        } catch (cause) {
          throw new TesseraError(`material cannot be kept in ${folder}: ${(cause as Error).message}`, {
            code: 'no-room-for-material',
            where: folder,
            hint: 'Set TMPDIR to a folder on a disk with room for what tessera estimate says is sent offline.',
            cause,
          });
        }
        return async () => readAll((await opened!).file, length, from);
      },
      end: () => void opened?.then(({ close }) => close()).catch(() => {}),
    };
  };
}

async function writeAll(file: FileHandle, bytes: Uint8Array, from: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, from + done)).bytesWritten;
  }
}

async function readAll(file: FileHandle, length: number, from: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, from + done);
    if (bytesRead === 0) throw new Error('material on disk is cut short');
    done += bytesRead;
  }
  return bytes;
}
