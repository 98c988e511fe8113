// Which patches a channel may take: generated from the size of its map. Not here: what they cost or spoil.
import type { Patch } from '../model/program.js';
import { seedLists } from './seed-lists.js';

/** ReLU itself: every element has its own comparison. */
export const plainPatch: Patch = [1, 1];
/** The channel passes unchanged. */
export const identityPatch: Patch = [0, 1];
/** The channel becomes zero. */
export const zeroPatch: Patch = [1, 0];

/** Most elements that share a comparison. */
export const mostElements = 256;

/** Where patches come from: all worth trying, those of them as high as wide, or the lists of the paper's own program. */
export const candidateKinds = ['generated', 'square', 'seed'] as const;
export type CandidateKind = (typeof candidateKinds)[number];

export interface CandidateOptions {
  /** Default "generated". */
  readonly kind?: CandidateKind;
  /** Also identity and zero (default true). They come last. */
  readonly constant?: boolean;
}

export const isIdentity = ([height, width]: Patch): boolean => height === 0 && width === 1;
export const isZero = ([height, width]: Patch): boolean => height === 1 && width === 0;

/** How many patches tile a map, cut ones at the lower and right edge included: the comparisons of a channel. None for identity and zero. */
export function blocksOf([patchHeight, patchWidth]: Patch, height: number, width: number): number {
  if (patchHeight === 0 || patchWidth === 0) return 0;
  return Math.ceil(height / patchHeight) * Math.ceil(width / patchWidth);
}

/**
 * The patches to try on a map of `height` × `width`, plain ReLU first, identity and zero last. Those worth trying ("generated") are in order
 * of height and width; a patch is left out when a smaller one cuts both axes into as many parts: that costs the same and compares less
 * evenly. 4 × 4 maps have 9, 8 × 8 25, 16 × 16 49, 32 × 32 116 (identity and zero not counted).
 */
export function candidatePatches(height: number, width: number, options: CandidateOptions = {}): readonly Patch[] {
  const constants = options.constant === false ? [] : [identityPatch, zeroPatch];
  return [...patchesOfKind(height, width, options.kind ?? 'generated'), ...constants];
}

function patchesOfKind(height: number, width: number, kind: CandidateKind): readonly Patch[] {
  if (kind === 'square') return squares(height, width);
  if (kind === 'seed') return distinct(seedPatches(height, width));
  const patches = smallestSizes(height).flatMap((h) => smallestSizes(width).map((w): Patch => [h, w]));
  return patches.filter(([h, w]) => h * w <= mostElements);
}

/**
 * The paper's own list for a map, repeats and all. Maps of a size it has no list for take that of the next larger size (beyond 512 the
 * largest); patches are cut to the map, which changes nothing of what they compare.
 */
export function seedPatches(height: number, width: number): readonly Patch[] {
  const sizes = [...seedLists.keys()];
  const size = sizes.find((own) => own >= Math.max(height, width)) ?? sizes.at(-1)!;
  return seedLists.get(size)!.map(([h, w]): Patch => [Math.min(h, height), Math.min(w, width)]);
}

/** A repeat has the cost and the distortion of its first, and could change no choice. */
function distinct(patches: readonly Patch[]): readonly Patch[] {
  return [...new Map(patches.map((patch) => [patch.join(), patch])).values()];
}

/** For each number of parts an axis can be cut into, the smallest size of a part. */
function smallestSizes(length: number): number[] {
  const sizes: number[] = [];
  for (let size = 1, parts = Number.POSITIVE_INFINITY; size <= length; size++) {
    if (Math.ceil(length / size) < parts) sizes.push(size);
    parts = Math.ceil(length / size);
  }
  return sizes;
}

/** b × b that fit; of those that cut both axes into as many parts the smallest. */
function squares(height: number, width: number): Patch[] {
  const both = new Set([...smallestSizes(height), ...smallestSizes(width)]);
  return [...both]
    .filter((b) => b <= Math.min(height, width) && b * b <= mostElements)
    .sort((a, b) => a - b)
    .map((b): Patch => [b, b]);
}

/** Whether `patch` can lie on a map: identity and zero on any, others where they are no larger than it. */
export function fitsMap(patch: Patch, height: number, width: number): boolean {
  if (isIdentity(patch) || isZero(patch)) return true;
  return patch[0] >= 1 && patch[1] >= 1 && patch[0] <= height && patch[1] <= width;
}

/** The patches of several maps in one list without repeats: plain ReLU first, identity and zero last. */
export function joinCandidates(lists: readonly (readonly Patch[])[]): readonly Patch[] {
  const known = new Map<string, Patch>();
  for (const patch of lists.flat()) known.set(patch.join(), patch);
  const rank = (patch: Patch): number => (isIdentity(patch) ? 1 : isZero(patch) ? 2 : 0);
  return [...known.values()].sort((a, b) => rank(a) - rank(b) || a[0] - b[0] || a[1] - b[1]);
}
