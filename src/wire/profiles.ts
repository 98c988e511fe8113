// Networks to imitate: named ones, and the text in which others are given. Not here: how a channel is slowed down (shaper.ts).
import { UsageError } from '../errors.js';

/** One direction of a link carries `bytesPerSecond`; a message and its answer take `roundTripSeconds` beside that. */
export interface LinkSpeed {
  readonly bytesPerSecond: number;
  readonly roundTripSeconds: number;
}

/** The three links between the parties: the speeds of all of them, but for what is said apart. */
export interface NetworkProfile extends LinkSpeed {
  /** What the client's line carries away from it, where that is less than what it carries to it. */
  readonly uploadBytesPerSecond?: number;
  /** The link between server and provider, where it is another kind of link. */
  readonly between?: LinkSpeed;
}

/** A named network, and where its numbers come from. */
export interface NamedNetwork extends NetworkProfile {
  readonly source: string;
}

type Host = 'client' | 'server' | 'provider';

const megabit = 1e6 / 8;
const gigabit = 1e9 / 8;
/** Two hosts of one region of a cloud. */
const region: LinkSpeed = { bytesPerSecond: 10 * gigabit, roundTripSeconds: 1e-3 };

/** The networks that have a name, with `none`, which leaves channels as they are. */
export const networkProfiles = {
  none: undefined,
  lan: { bytesPerSecond: 10 * gigabit, roundTripSeconds: 0.3e-3, source: 'our choice: one room, 10 Gb Ethernet' },
  datacentre: { bytesPerSecond: 25 * gigabit, roundTripSeconds: 0.1e-3, source: 'our choice: neighbouring racks, 25 Gb Ethernet' },
  wan: {
    bytesPerSecond: 384 * megabit,
    roundTripSeconds: 44e-3,
    source: 'figures quoted as Cheetah’s (USENIX Security 2022); not checked against the paper',
  },
  'wan-cheetah': {
    bytesPerSecond: 400 * megabit,
    roundTripSeconds: 40e-3,
    source: 'scripts/throttle.sh in Cheetah’s repository (Alibaba-Gemini-Lab/OpenCheetah)',
  },
  'wan-320': {
    bytesPerSecond: 320 * megabit,
    roundTripSeconds: 100e-3,
    source: 'a setting of the field; the paper it is from was not found',
  },
  'wan-40': { bytesPerSecond: 40 * megabit, roundTripSeconds: 80e-3, source: 'a setting of the field; the paper it is from was not found' },
  home: {
    bytesPerSecond: 250 * megabit,
    uploadBytesPerSecond: 40 * megabit,
    roundTripSeconds: 20e-3,
    between: region,
    source: 'our choice: the client on a cable line, server and provider in one region of a cloud',
  },
  mobile: {
    bytesPerSecond: 50 * megabit,
    uploadBytesPerSecond: 10 * megabit,
    roundTripSeconds: 50e-3,
    between: region,
    source: 'our choice: the client on a telephone, server and provider in one region of a cloud',
  },
} as const satisfies Record<string, NamedNetwork | undefined>;

/** The networks that slow something down, in the order of tables. */
export const namedNetworks: readonly (readonly [name: string, network: NamedNetwork])[] = Object.entries(
  networkProfiles as Record<string, NamedNetwork | undefined>,
).flatMap(([name, network]) => (network === undefined ? [] : [[name, network] as const]));

/** A network's name, or its rate and round trip as {@link parseNetwork} reads them. */
export function networkName(network: NetworkProfile): string {
  const { bytesPerSecond, roundTripSeconds } = network;
  const found = namedNetworks.find(([, named]) => named === network);
  return found?.[0] ?? `${bytesPerSecond}B/s,${roundTripSeconds}s`;
}

/** Speed of what `from` sends to `to`. */
export function linkSpeed(network: NetworkProfile, from: Host, to: Host): LinkSpeed {
  if (from !== 'client' && to !== 'client') return network.between ?? network;
  if (from !== 'client' || network.uploadBytesPerSecond === undefined) return network;
  return { bytesPerSecond: network.uploadBytesPerSecond, roundTripSeconds: network.roundTripSeconds };
}

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
 * Reads a network: a name of {@link networkProfiles}, or RATE,RTT such as `100mbit,20ms` or `12.5MB/s,40ms`, the same for all links. Rates are
 * in bytes (B/s, kB/s, MB/s, GB/s) or bits (bit, kbit, Mbit, Gbit, with or without /s) per second, powers of ten; times in us, ms or s. Returns
 * undefined for `none`. Throws UsageError for anything else.
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

/** Table of the named networks, for the documentation. */
export function networksMarkdown(): string {
  const rate = (bytesPerSecond: number): string =>
    bytesPerSecond >= gigabit ? `${bytesPerSecond / gigabit} Gb/s` : `${bytesPerSecond / megabit} Mb/s`;
  const speed = ({ bytesPerSecond, roundTripSeconds }: LinkSpeed): string => `${rate(bytesPerSecond)}, ${roundTripSeconds * 1e3} ms`;
  const rows = namedNetworks.map(([name, network]) => {
    const up = linkSpeed(network, 'client', 'server');
    const asymmetric = network.uploadBytesPerSecond === undefined ? '' : ` (${rate(up.bytesPerSecond)} from the client)`;
    return `| \`${name}\` | ${speed(network)}${asymmetric} | ${network.between === undefined ? 'the same' : speed(network.between)} | ${network.source} |`;
  });
  return ['| network | links of the client: rate, round trip | server and provider | source |', '|---|---|---|---|', ...rows].join('\n');
}
