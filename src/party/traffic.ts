// Who sent how much to whom: the counters of the three links, put into one table.
import type { PhaseCost } from '../protocol/estimate.js';
import type { Link } from '../protocol/operation.js';
import type { Phase } from '../wire/channel.js';
import type { Traffic } from './session.js';

/** The three links, each as one of its ends counts it. */
export interface LinkCounters {
  readonly clientServer: Traffic;
  readonly clientProvider: Traffic;
  readonly serverProvider: Traffic;
}

/** Bytes by link for one phase; links that carried nothing are left out. */
export function linkBytes(counters: LinkCounters, phase: Phase): Partial<Record<Link, number>> {
  const all: Record<string, number> = {
    'client>server': counters.clientServer.sent[phase].bytes,
    'server>client': counters.clientServer.received[phase].bytes,
    'client>provider': counters.clientProvider.sent[phase].bytes,
    'provider>client': counters.clientProvider.received[phase].bytes,
    'server>provider': counters.serverProvider.sent[phase].bytes,
    'provider>server': counters.serverProvider.received[phase].bytes,
  };
  return Object.fromEntries(Object.entries(all).filter(([, bytes]) => bytes > 0));
}

export const totalBytes = (links: Partial<Record<Link, number>>): number => Object.values(links).reduce((a, b) => a + b, 0);

/** Whether what was counted is what the estimate said, link by link. */
export function sameLinks(counted: PhaseCost['links'], predicted: PhaseCost['links']): boolean {
  const links = new Set([...Object.keys(counted), ...Object.keys(predicted)]) as Set<Link>;
  return [...links].every((link) => (counted[link] ?? 0) === (predicted[link] ?? 0));
}
