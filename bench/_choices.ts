// Knapsack instances: the shapes of real networks with made-up distortions, and the textbook's random ones.
import { blocksOf, candidatePatches } from '../src/block/candidates.js';
import type { Choices } from '../src/block/knapsack.js';

/** Layers of one kind: channels, and height and width of their maps. */
type LayerShape = readonly [channels: number, size: number];

/** Activations of a ResNet-50 at 224 × 224: 22,720 channels. */
export const resnet50: readonly LayerShape[] = [
  [64, 112],
  ...bottlenecks(3, 64, 56, 56),
  ...bottlenecks(4, 128, 28, 56),
  ...bottlenecks(6, 256, 14, 28),
  ...bottlenecks(3, 512, 7, 14),
];

/** Blocks of two narrow activations and one four times as wide; the first block's first one is still on the larger map. */
function bottlenecks(blocks: number, channels: number, size: number, before: number): LayerShape[] {
  return Array.from({ length: blocks }, (_, block): LayerShape[] => [
    [channels, block === 0 ? before : size],
    [channels, size],
    [4 * channels, size],
  ]).flat();
}

/** Numbers in [0, 1) from a seed (Mulberry32): instances are the same everywhere. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

function choicesFrom(groups: number, items: (g: number) => { costs: readonly number[]; values: readonly number[] }): Choices {
  const starts = new Uint32Array(groups + 1);
  const costs: number[] = [];
  const values: number[] = [];
  for (let g = 0; g < groups; g++) {
    const group = items(g);
    for (const cost of group.costs) costs.push(cost);
    for (const value of group.values) values.push(value);
    starts[g + 1] = costs.length;
  }
  return { starts, costs: Float64Array.from(costs), values: Float64Array.from(values) };
}

/**
 * One group a channel with the candidates of its map; distortion grows with the patch, by a scale of the channel's own (log-normal)
 * and with noise of a fifth, as measured on trained networks.
 */
export function networkInstance(layers: readonly LayerShape[], mostPatches: number, seed: number): Choices {
  const random = createRandom(seed);
  const channels = layers.flatMap(([count, size]) => new Array<number>(count).fill(size));
  const known = new Map<number, { patches: readonly (readonly [number, number])[]; costs: number[] }>();
  const candidatesOf = (size: number) => {
    const found = known.get(size);
    if (found !== undefined) return found;
    const patches = candidatePatches(size, size).slice(-mostPatches);
    const made = { patches, costs: patches.map((p) => blocksOf(p, size, size)) };
    known.set(size, made);
    return made;
  };
  return choicesFrom(channels.length, (g) => {
    const { patches, costs } = candidatesOf(channels[g]!);
    const scale = Math.exp(1.5 * normal(random));
    const values = patches.map(([h, w]) => {
      const spread = h * w === 0 ? 2 * 256 : h * w - 1;
      return scale * spread ** 0.7 * Math.exp(0.2 * normal(random));
    });
    return { costs, values };
  });
}

export type RandomKind = 'uncorrelated' | 'weakly correlated' | 'strongly correlated' | 'subset sum';

/** Random instances in the manner of Kellerer, Pferschy and Pisinger, "Knapsack Problems" (2004), section 11.8: values fall as costs rise. */
export function randomInstance(kind: RandomKind, groups: number, items: number, range: number, seed: number): Choices {
  const random = createRandom(seed);
  const whole = (most: number): number => 1 + Math.floor(random() * most);
  return choicesFrom(groups, () => {
    const costs = Array.from({ length: items }, () => whole(range)).sort((a, b) => a - b);
    const fresh = Array.from({ length: items }, () => whole(range)).sort((a, b) => b - a);
    const values = costs.map((cost, j) => {
      if (kind === 'uncorrelated') return fresh[j]!;
      if (kind === 'weakly correlated') return range - cost + whole(range / 5);
      return kind === 'strongly correlated' ? range - cost + 10 * (j % 2) : range - cost;
    });
    return { costs, values };
  });
}
