// Counting: messages and bytes by phase. Bytes are label and payload, what a party hands to the channel.
import { labelBytes, type Phase } from './channel.js';

export type Meter = Record<Phase, { bytes: number; messages: number }>;

export function emptyMeter(): Meter {
  return { setup: { bytes: 0, messages: 0 }, offline: { bytes: 0, messages: 0 }, online: { bytes: 0, messages: 0 } };
}

/** Counts a message and returns its size with the label. */
export function count(meter: Meter, phase: Phase, payloadBytes: number): number {
  const bytes = labelBytes + payloadBytes;
  meter[phase].bytes += bytes;
  meter[phase].messages += 1;
  return bytes;
}
