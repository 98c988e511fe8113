// What the parties report, as the command line shows it: counters of links by phase, and the outcome of an inference.
import type { InferenceResult } from '../party/client.js';
import type { Traffic } from '../party/session.js';
import { type LinkCounters, linkBytes } from '../party/traffic.js';
import type { Phase } from '../wire/channel.js';
import type { Outcome, SessionTraffic } from './run-types.js';

const nothing = { setup: { bytes: 0, messages: 0 }, offline: { bytes: 0, messages: 0 }, online: { bytes: 0, messages: 0 } };

/** The counters of a link that this process cannot see. */
export const unseen: Traffic = { sent: nothing, received: nothing, framingBytes: 0 };

export function sessionTraffic(counters: LinkCounters): SessionTraffic {
  const bytes = (phase: Phase) => linkBytes(counters, phase);
  const framing = Object.values(counters).reduce((sum, link: Traffic) => sum + link.framingBytes, 0);
  return { setup: bytes('setup'), offline: bytes('offline'), online: bytes('online'), framing };
}

export const outcomeOf = ({ outputs, report }: InferenceResult): Outcome => ({
  logits: joined(outputs),
  seconds: report.seconds,
  rounds: { ...report.rounds },
});

/** One array of all; a single row as it is, which of a map of scores may be 160 MB. */
function joined(rows: readonly Float32Array[]): Float32Array {
  if (rows.length === 1) return rows[0]!;
  const length = rows[0]?.length ?? 0;
  const all = new Float32Array(length * rows.length);
  for (const [index, row] of rows.entries()) all.set(row, index * length);
  return all;
}
