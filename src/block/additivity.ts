// Do distortions add up? The knapsack minimises their sum over channels; here that sum is set against what all patches do together.
import { createSequence } from '../data/generated.js';
import type { Compute } from '../kernel/compute.js';
import { forward } from '../model/forward.js';
import { applyPatches } from '../model/passes/lower.js';
import { patchesOf } from '../model/spec.js';
import type { Measurement } from './distort.js';
import type { Distortion } from './distortion-file.js';
import { spearman } from './rank.js';
import { dreluCost, fullCost, leastCost, type OptimalSelection, type Selection, selectOptimal, shuffle, toSpec } from './select.js';

/** A choice of patches: the knapsack's, or its patches dealt out at random among the channels of each layer. */
export interface JointPoint {
  readonly kind: 'random' | 'optimal';
  /** Of the comparisons of plain ReLU. */
  readonly share: number;
  /** Sum of the channels' distortions. */
  readonly predicted: number;
  /** Mean over pictures of ‖net with all patches − net‖². */
  readonly measured: number;
}

export interface Additivity {
  readonly points: readonly JointPoint[];
  /** Spearman's, of predicted and measured distortions of the random choices. */
  readonly correlation: number;
  /** Of log measured over log predicted, by least squares over the random choices: 1 where the one is a multiple of the other. */
  readonly slope: number;
  /** Median of measured / predicted. */
  readonly ratio: number;
}

export interface AdditivityOptions {
  /** Random choices, at least 3; each budget also has the knapsack's. */
  readonly choices: number;
  readonly seed: number;
}

/** Budgets lie between these shares of all comparisons, evenly in their logarithms. */
const [leastShare, mostShare] = [0.06, 0.9];

/** Measures random and optimal choices on `count` pictures. `distortion` is one of the measurement's, and neither signed nor partial. */
export async function measureAdditivity(
  compute: Compute,
  measurement: Measurement,
  distortion: Distortion,
  { images, count }: { readonly images: Float32Array; readonly count: number },
  options: AdditivityOptions,
): Promise<Additivity> {
  const plain = await forward(compute, measurement.graph, images, count);
  const points: JointPoint[] = [];
  for (const { kind, share, selection } of drawChoices(distortion, options)) {
    const graph = applyPatches(measurement.graph, patchesOf(toSpec(distortion, selection.patches, {})));
    const changed = await forward(compute, graph, images, count);
    const measured = changed.reduce((sum, value, i) => sum + (value - plain[i]!) ** 2, 0) / count;
    points.push({ kind, share, predicted: selection.objective ?? Number.NaN, measured });
  }
  return summarise(points);
}

interface Choice {
  readonly kind: JointPoint['kind'];
  readonly share: number;
  readonly selection: Selection | OptimalSelection;
}

function drawChoices(distortion: Distortion, { choices, seed }: AdditivityOptions): readonly Choice[] {
  const random = createSequence(seed);
  const full = fullCost(distortion, dreluCost);
  const least = Math.max(leastShare, leastCost(distortion, dreluCost) / full);
  return Array.from({ length: choices }, (): Choice[] => {
    const budget = Math.ceil(full * least * (mostShare / least) ** random());
    const selection = selectOptimal(distortion, dreluCost, budget);
    const share = selection.cost / full;
    return [
      { kind: 'optimal', share, selection },
      { kind: 'random', share, selection: shuffle(distortion, dreluCost, selection, random) },
    ];
  }).flat();
}

/** Points without distortion say nothing of a ratio, and are left out of slope and ratio. */
export function summarise(points: readonly JointPoint[]): Additivity {
  const random = points.filter(({ kind }) => kind === 'random');
  const correlation = spearman(
    random.map(({ predicted }) => predicted),
    random.map(({ measured }) => measured),
  );
  const positive = random.filter(({ predicted, measured }) => predicted > 0 && measured > 0);
  const x = positive.map(({ predicted }) => Math.log(predicted));
  const y = positive.map(({ measured }) => Math.log(measured));
  const [meanX, meanY] = [x, y].map((values) => values.reduce((a, b) => a + b, 0) / values.length) as [number, number];
  const product = x.reduce((sum, value, i) => sum + (value - meanX) * (y[i]! - meanY), 0);
  const slope = product / x.reduce((sum, value) => sum + (value - meanX) ** 2, 0);
  const ratios = positive.map(({ predicted, measured }) => measured / predicted).sort((a, b) => a - b);
  return { points, correlation, slope, ratio: ratios[ratios.length >> 1] ?? Number.NaN };
}
