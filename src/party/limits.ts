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
    let sum = 0;
    // One by one: a large network cut into pieces has more messages than a call takes arguments.
    for (const message of allMessages(program, suite, maxBatch)) {
      if (message.link !== 'client>server') continue;
      largest = Math.max(largest, onWire(message));
      sum += onWire(message);
    }
    total = Math.max(total, sum);
  }
  return { maxFrameBytes: largest + roomBytes, maxQueuedBytes: waitingInferences * total + 2 * roomBytes };
}

/** For the links a provider accepts: clients greet it, servers send it their program and short requests. */
export const providerLimits: SizeLimits = { maxFrameBytes: maxProgramBytes + roomBytes, maxQueuedBytes: maxProgramBytes + 2 * roomBytes };
