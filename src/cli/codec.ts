// What Node does faster than JavaScript for weights files of hundreds of megabytes.
import { createHash } from 'node:crypto';
import { createInflateRaw, deflateRawSync } from 'node:zlib';
import type { Codec } from '../model/files.js';

/** Weights hardly compress: the fastest level is within some percent of the best. */
const level = 1;
const chunkSize = 1 << 18;

export const nodeCodec: Codec = {
  deflate: (bytes) => deflateRawSync(bytes, { level, chunkSize: 1 << 20 }),
  inflate: (bytes, take) =>
    new Promise((resolve, reject) => {
      const stream = createInflateRaw({ chunkSize });
      stream.on('data', (part: Uint8Array) => {
        try {
          take(part);
        } catch (error) {
          stream.destroy(error as Error);
        }
      });
      stream.on('end', resolve);
      stream.on('error', reject);
      stream.end(bytes);
    }),
  sha256: async (bytes) => createHash('sha256').update(bytes).digest(),
};
