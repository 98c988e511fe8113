// The thread that decodes pictures (decoder.node.ts): one after another, so that a long queue does not fill the memory.
import { parentPort } from 'node:worker_threads';
import { DataError } from '../errors.js';
import type { DecodeReply, DecodeRequest } from './decoder.node.js';
import { readAnnotation, readPicture } from './picture.node.js';

async function answer({ id, path, kind }: DecodeRequest): Promise<DecodeReply> {
  try {
    return { id, picture: await (kind === 'picture' ? readPicture(path) : readAnnotation(path)) };
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    const { message, code, hint = '', where = path } = error;
    return { id, error: { message, code, hint, where } };
  }
}

let last: Promise<void> = Promise.resolve();
parentPort?.on('message', (request: DecodeRequest) => {
  last = last.then(async () => {
    const reply = await answer(request);
    const pixels = 'picture' in reply ? reply.picture.pixels : undefined;
    // A picture that fills its buffer is handed over, not copied.
    const own = pixels !== undefined && pixels.byteLength === pixels.buffer.byteLength ? [pixels.buffer as ArrayBuffer] : [];
    parentPort?.postMessage(reply, own);
  });
});
