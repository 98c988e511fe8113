// The ways a link can fail, each with its code. One place, so that the command line and the tests name them alike.
import { PeerError } from '../errors.js';
import type { Label } from './channel.js';

/** How a label reads in an error: inference/step/name. */
export function labelText(label: Label): string {
  return `message ${label.inference}/${label.step}/${label.name}`;
}

/** What the peer sent cannot be read. */
export function garbage(what: string): PeerError {
  return new PeerError(`the peer sent ${what}`, {
    code: 'peer-garbage',
    hint: 'Check that the other side is Tessera of the same version, and that nothing between the two rewrites the connection.',
  });
}

/** @param bytes How many they were, where that is known. */
export function oversized(bytes: number | undefined, limit: number, where?: string): PeerError {
  return new PeerError(`the peer sent ${bytes ?? 'more'} bytes where at most ${limit} are allowed`, {
    code: 'peer-oversized',
    hint: 'Check that both sides run the same program; raise maxFrameBytes if the model is really that large.',
    ...(where === undefined ? {} : { where }),
  });
}

export function repeated(label: Label): PeerError {
  return new PeerError('the peer sent the same label twice', { code: 'peer-repeated', where: labelText(label) });
}

export function flooded(bytes: number, limit: number): PeerError {
  return new PeerError(`${bytes} bytes have arrived that nobody asked for; the limit is ${limit}`, {
    code: 'peer-flood',
    hint: 'Raise maxQueuedBytes, or send less ahead of time.',
  });
}

export function silent(label: Label, seconds: number): PeerError {
  return new PeerError(`nothing came within ${seconds} s`, {
    code: 'peer-silent',
    where: labelText(label),
    hint: 'The peer is stuck, overloaded or cut off; look at its log, or raise waitSeconds.',
  });
}

/** The peer said why it ended the link. */
export function failed(reason: string): PeerError {
  return new PeerError(`the peer ended the connection: ${reason}`, {
    code: 'peer-failed',
    hint: 'Its own log says more; connect again when that is mended.',
  });
}

/** The connection ended, and nobody said why. */
export function left(cause?: unknown): PeerError {
  return new PeerError('the peer left', {
    code: 'peer-left',
    hint: 'Look at its log; it was stopped, or the network between failed.',
    cause,
  });
}

/** This side ended the link, and something still waits for it. */
export function closedHere(reason?: string): PeerError {
  return new PeerError(`the connection was closed on this side${reason === undefined ? '' : `: ${reason}`}`, { code: 'peer-closed' });
}
