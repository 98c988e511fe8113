// Networks to imitate: named ones, and the text in which others are given. Not here: how a channel is slowed down (shaper.ts).
import { UsageError } from '../errors.js';

/** One direction carries `bytesPerSecond`; a message and its answer take `roundTripSeconds` beside that. */
export interface NetworkProfile {
  readonly bytesPerSecond: number;
  readonly roundTripSeconds: number;
}

/** The names `--network` knows; `none` leaves channels as they are. */
export const networkProfiles = {
  none: undefined,
  /** One rack: gigabit Ethernet. */
  lan: { bytesPerSecond: 125e6, roundTripSeconds: 0.3e-3 },
  /** Two regions of one continent: 100 Mbit/s. */
  wan: { bytesPerSecond: 12.5e6, roundTripSeconds: 40e-3 },
} as const satisfies Record<string, NetworkProfile | undefined>;

const rateUnits: Readonly<Record<string, number>> = {
  'b/s': 1,
  'kb/s': 1e3,
  'mb/s': 1e6,
  'gb/s': 1e9,
  bit: 1 / 8,
  kbit: 1e3 / 8,
  mbit: 1e6 / 8,
  gbit: 1e9 / 8,
};
const timeUnits: Readonly<Record<string, number>> = { us: 1e-6, ms: 1e-3, s: 1 };

/**
 * Reads a network: `none`, `lan`, `wan`, or RATE,RTT such as `100mbit,20ms` or `12.5MB/s,40ms`. Rates are in bytes (B/s, kB/s, MB/s, GB/s) or
 * bits (bit, kbit, Mbit, Gbit, with or without /s) per second, powers of ten; times in us, ms or s. Returns undefined for `none`.
 * Throws UsageError for anything else.
 */
export function parseNetwork(text: string): NetworkProfile | undefined {
  const name = text.trim().toLowerCase();
  if (Object.hasOwn(networkProfiles, name)) return networkProfiles[name as keyof typeof networkProfiles];
  const parts = name.split(',');
  const bytesPerSecond = quantity(parts[0] ?? '', rateUnits) ?? quantity((parts[0] ?? '').replace(/bit\/s$/, 'bit'), rateUnits);
  const roundTripSeconds = quantity(parts[1] ?? '', timeUnits);
  if (parts.length !== 2 || bytesPerSecond === undefined || bytesPerSecond <= 0 || roundTripSeconds === undefined) {
    throw new UsageError(`"${text}" is not a network`, {
      code: 'bad-network',
      hint: `Give ${Object.keys(networkProfiles).join(', ')}, or RATE,RTT like 100mbit,20ms or 12.5MB/s,40ms.`,
    });
  }
  return { bytesPerSecond, roundTripSeconds };
}

function quantity(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-z/]+)\s*$/.exec(text);
  const unit = match && Object.hasOwn(units, match[2]!) ? units[match[2]!]! : undefined;
  return match && unit !== undefined ? Number(match[1]) * unit : undefined;
}
