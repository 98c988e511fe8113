// How much a server and a provider let a stranger send: no more than a session can need, where the wire's own limits are for any model.
import type { Program } from '../model/program.js';
import { onWire } from '../protocol/control.js';
import { allMessages } from '../protocol/estimate.js';
import type { ChannelLimits } from '../wire/limits.js';
import { suites } from './session.js';
import { maxProgramBytes } from './setup.js';

type SizeLimits = Pick<ChannelLimits, 'maxFrameBytes' | 'maxQueuedBytes'>;

/** Room for greetings, requests and the book-keeping of messages that wait. */
const roomBytes = 1 << 20;

/** Inferences of one client whose messages may wait here; as many as may be prepared by default. */
const waitingInferences = 4;

/** For the links a server accepts: the largest message of a client with the largest batch, and what several such inferences send. */
export function serverLimits(program: Program, maxBatch = 64): SizeLimits {
  let largest = 0;
  let total = 0;
  for (const suite of Object.values(suites)) {
    if (suite.refuses(program) !== undefined) continue;
    // A batch's messages are at most so many times those of one image, of which there may be some 100,000 where a suite cuts layers into pieces.
    const sizes = allMessages(program, suite, 1)
      .filter(({ link }) => link === 'client>server')
      .map((message) => maxBatch * onWire(message));
    largest = sizes.reduce((most, size) => Math.max(most, size), largest);
    total = Math.max(
      total,
      sizes.reduce((sum, size) => sum + size, 0),
    );
  }
  return { maxFrameBytes: largest + roomBytes, maxQueuedBytes: waitingInferences * total + 2 * roomBytes };
}

/** For the links a provider accepts: clients greet it, servers send it their program and short requests. */
export const providerLimits: SizeLimits = { maxFrameBytes: maxProgramBytes + roomBytes, maxQueuedBytes: maxProgramBytes + 2 * roomBytes };
