// Comparison windows: which bits of a value are compared. Chosen from calibrated ranges, or as a spec says.
import { DataError } from '../errors.js';
import type { Graph } from './graph.js';
import type { ReluStep, Window } from './program.js';
import type { LayerWindows, SpecWindow } from './spec.js';

export interface WindowOptions {
  readonly ringBits: number;
  /** Bits of headroom over the greatest value seen. */
  readonly marginBits: number;
  readonly windows: LayerWindows;
}

/** Windows are of activations. Throws DataError for other names. */
export function checkWindowNames(graph: Graph, windows: LayerWindows): void {
  const names = new Set(graph.nodes.filter(({ kind }) => kind === 'relu' || kind === 'prelu').map(({ name }) => name));
  for (const name of windows.keys()) {
    if (!names.has(name))
      throw badWindow(name, 'it has no activation in this model', 'Make the spec from this model; max pools compare all bits.');
  }
}

function badWindow(name: string, reason: string, hint: string): DataError {
  return new DataError(`the comparison window of layer ${name}: ${reason}`, { code: 'bad-spec', where: name, hint });
}

/** The lowest bit compared where values below `low` (real, at a scale) may pass: those that truncation drops are never compared. */
export function lowBits({ truncateBits }: Pick<ReluStep, 'truncateBits'>, scale: number, low: number | undefined): number {
  return low === undefined ? truncateBits : Math.max(truncateBits, Math.floor(Math.log2(low * scale)));
}

/** The window from bit `low` on that holds `needed`: high is the least h with needed < 2^(h − 1), at most the ring. */
export function windowFrom(low: number, needed: number, ringBits: number): Window {
  let high = low + 2;
  while (high < ringBits && needed >= 2 ** (high - 1)) high++;
  return { low, high: Math.min(high, ringBits) };
}

/**
 * The window of an activation whose sums reach `greatest` (at the value's scale), over patches of up to `elements`. Low bits that truncation
 * drops are left out, which costs nothing, and more where the spec says so. High is the least h with
 * greatest · 2^margin < 2^(h − 1) − 2^low − elements · 2^truncateBits (docs/protocol.md, comparisons).
 */
export function reluWindow(
  name: string,
  { truncateBits, scale, greatest, elements }: { truncateBits: number; scale: number; greatest: number; elements: number },
  { ringBits, marginBits, windows }: WindowOptions,
): Window {
  const own: SpecWindow = windows.get(name) ?? {};
  const low = lowBits({ truncateBits }, scale, own.low);
  if (low + 2 > ringBits) throw badWindow(name, `low ${own.low} leaves no bits to compare in a ring of ${ringBits}`, 'Give a smaller low.');
  const needed = (reach: number): number => Math.ceil(reach) + 1 + 2 ** low + elements * 2 ** truncateBits;
  // A reach beyond the ring compares all bits there are: nothing in the ring is outside.
  return windowFrom(low, needed(own.high === undefined ? greatest * 2 ** marginBits : own.high * scale), ringBits);
}
