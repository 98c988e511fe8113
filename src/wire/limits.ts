// Hard limits on everything a peer can send, or fail to send.
import { UsageError } from '../errors.js';

/** Limits of one channel. Every one of them ends the channel with a PeerError when the peer goes over it. */
export interface ChannelLimits {
  /** Largest message accepted, label included. Default 1 GiB: a batch of ImageNet-sized layers takes some hundreds of MB. */
  readonly maxFrameBytes: number;
  /** Bytes of messages that have arrived and that nobody has asked for yet. Default 1 GiB. */
  readonly maxQueuedBytes: number;
  /** How long a receive waits for its message. Default 60 s. */
  readonly waitSeconds: number;
}

export const defaultLimits: ChannelLimits = { maxFrameBytes: 2 ** 30, maxQueuedBytes: 2 ** 30, waitSeconds: 60 };

/** Fills in the defaults. Throws UsageError for a limit that is not a positive number. */
export function withDefaults(limits: Partial<ChannelLimits> = {}): ChannelLimits {
  const full = { ...defaultLimits, ...limits };
  for (const [name, value] of Object.entries(full)) {
    if (!(value > 0)) throw new UsageError(`${name} must be above zero, got ${value}`, { code: 'bad-limit', where: name });
  }
  return full;
}
