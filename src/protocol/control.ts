// The few messages that start an inference. They belong to no step and cost the same for every program and suite.
import { labelBytes } from '../wire/channel.js';
import type { MessageSize } from './operation.js';

/** Above what a step may use: steps number their rounds and chunks from 0 up (see roundStride). */
export const controlNames = {
  /** client > server, inference = the client's request number: batch (u32). */
  request: 0xff01,
  /** server > client, same label number: the inference's number (u32), by which all its other messages are labelled. */
  number: 0xff02,
  /** server > provider, request number of the server in this session: inference and batch (u32 each). */
  prepare: 0xff03,
  /** server > client: all material for the inference is in place. */
  ready: 0xff04,
} as const;

export const controlMessages: readonly MessageSize[] = [
  { phase: 'offline', link: 'client>server', name: controlNames.request, bytes: 4 },
  { phase: 'offline', link: 'server>client', name: controlNames.number, bytes: 4 },
  { phase: 'offline', link: 'server>provider', name: controlNames.prepare, bytes: 8 },
  { phase: 'offline', link: 'server>client', name: controlNames.ready, bytes: 0 },
];

/** Depth at which the offline messages of steps start: request and number come before. */
export const offlineStartDepth = 2;

/** What a message takes on the wire: its label and its payload. */
export const onWire = (message: MessageSize): number => labelBytes + message.bytes;
