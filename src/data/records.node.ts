// Fixed-size records of a label and pixels, as CIFAR has them: held in memory, or read from a file that is too large for that.
import { closeSync, openSync, read } from 'node:fs';
import { stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { badData, interleave, numberedNames, readUnpacked, type Source } from './sources.node.js';

interface RecordLayout {
  readonly labelBytes: number;
  readonly channels: 1 | 3;
  readonly side: number;
}

/** Record formats by name. The label is the last label byte: CIFAR-100's own files have coarse and fine, the fine one counts. */
const recordLayouts = {
  cifar10: { labelBytes: 1, channels: 3, side: 32 },
  cifar100: { labelBytes: 2, channels: 3, side: 32 },
  digits: { labelBytes: 1, channels: 1, side: 28 },
} as const satisfies Record<string, RecordLayout>;

const readAt = promisify(read);

/** Records beyond so many bytes stay on the disk, and are read when they are needed. */
const recordsInMemoryBytes = 2 ** 28;

/**
 * Fixed-size records: label byte(s), then planes row by row. CIFAR's (3,073 or 3,074 bytes) and 28 × 28 grey ones (785 bytes).
 * @param format as the descriptor says, or undefined to tell it from the length.
 * @param memoryBytes largest file that is held in memory; one that has to be unpacked always is.
 */
export async function recordSource(
  path: string,
  format?: 'cifar10' | 'cifar100',
  memoryBytes: number = recordsInMemoryBytes,
): Promise<Source> {
  const bytes = (await bytesOnDisk(path, memoryBytes)) ?? inMemory(await readUnpacked(path));
  const candidates = format === undefined ? Object.values(recordLayouts) : [recordLayouts[format]];
  const layout = candidates.find((candidate) => bytes.length > 0 && bytes.length % recordBytes(candidate) === 0);
  if (layout === undefined) {
    const sizes = candidates.map(recordBytes).join(' or ');
    throw badData(
      path,
      `its ${bytes.length} bytes are not records of ${sizes} bytes`,
      'CIFAR binary records are label byte(s) and 3 × 32 × 32 bytes.',
    );
  }
  const size = recordBytes(layout);
  const count = bytes.length / size;
  return {
    count,
    names: numberedNames(path, count),
    labels: await recordLabels(bytes, size, layout.labelBytes),
    item: async (index) => {
      const start = index * size + layout.labelBytes;
      return interleave(await bytes.slice(start, start + size - layout.labelBytes), layout.side, layout.side, layout.channels);
    },
  };
}

/** Bytes that are read by place. */
interface Bytes {
  readonly length: number;
  slice(start: number, end: number): Promise<Uint8Array>;
}

const inMemory = (bytes: Uint8Array): Bytes => ({ length: bytes.length, slice: async (start, end) => bytes.subarray(start, end) });

/** A file that is larger than `memoryBytes` and not compressed, open for as long as the process lives. */
async function bytesOnDisk(path: string, memoryBytes: number): Promise<Bytes | undefined> {
  const length = await stat(path).then(
    (found) => (found.isFile() ? found.size : 0),
    () => 0,
  );
  if (length <= memoryBytes) return undefined;
  // A plain descriptor: a FileHandle would be closed, with a warning, when nobody holds it any more.
  const file = openSync(path, 'r');
  const slice = async (start: number, end: number): Promise<Uint8Array> => {
    const { bytesRead, buffer } = await readAt(file, new Uint8Array(end - start), 0, end - start, start);
    if (bytesRead < end - start) throw badData(path, 'it has become shorter', 'Leave data alone while it is used.');
    return buffer;
  };
  const head = await slice(0, 2);
  if (head[0] !== 0x1f || head[1] !== 0x8b) return { length, slice };
  closeSync(file);
  return undefined;
}

/** The last label byte of each record. */
async function recordLabels(bytes: Bytes, size: number, labelBytes: number): Promise<number[]> {
  const labels: number[] = [];
  const atOnce = Math.max(1, Math.floor(2 ** 22 / size)) * size;
  for (let start = 0; start < bytes.length; start += atOnce) {
    const part = await bytes.slice(start, Math.min(bytes.length, start + atOnce));
    for (let at = labelBytes - 1; at < part.length; at += size) labels.push(part[at] as number);
  }
  return labels;
}

function recordBytes({ labelBytes, channels, side }: RecordLayout): number {
  return labelBytes + channels * side * side;
}
