// The knapsack's choice where comparison windows are part of it: one window a layer, one patch a channel.
import type { SpecWindow } from '../model/spec.js';
import type { WindowCostOf } from './cost.js';
import { channelRows, type Distortion, type FlipDistortion } from './distortion-file.js';
import { type JointLayer, type JointOptions, type JointSolution, solveJoint } from './joint.js';
import type { Choices } from './knapsack.js';
import type { OptimalSelection } from './select.js';

export interface WindowSelection extends OptimalSelection {
  /** Of the layers whose window is not the exact one, by name. */
  readonly windows: Readonly<Record<string, SpecWindow>>;
  /** Sets of windows that the search looked at. */
  readonly nodes: number;
}

/** A window that a layer may have: bits below `low` are left out; the exact one without. */
interface Option {
  readonly low: number | undefined;
  readonly level: number;
  readonly choices: Choices;
  /** Candidate of each item. */
  readonly columns: Uint16Array;
}

/**
 * Least distortion of patches and wrong signs within the budget.
 * @param distortion with `flips` (`distort --windows`).
 * @throws RangeError without flips; UsageError ("budget-too-small").
 */
export function selectWithWindows(
  distortion: Distortion,
  costOf: WindowCostOf,
  budget: number,
  options: JointOptions = {},
): WindowSelection {
  const { flips, meta } = distortion;
  if (flips === undefined) throw new RangeError('selectWithWindows: the effects of wrong signs were not measured');
  const layers = meta.layers.map((_, layer) => optionsOf(distortion, flips, layer, costOf));
  const solution = solveJoint(
    layers.map((own): JointLayer => own.map(({ choices }) => choices)),
    budget,
    options,
  );
  const chosen = layers.map((own, layer) => own[solution.options[layer]!]!);
  const windows = Object.fromEntries(chosen.flatMap(({ low }, layer) => (low === undefined ? [] : [[meta.layers[layer]!, { low }]])));
  const { cost, objective, nodes } = solution;
  return { patches: patchesOfSolution(distortion, chosen, solution), cost, objective, windows, nodes, solution: proofOf(solution) };
}

const proofOf = ({ bound, gap, resolution, knapsacks }: JointSolution): OptimalSelection['solution'] => ({
  bound,
  gap,
  resolution,
  coreGroups: 0,
  work: knapsacks,
});

function patchesOfSolution(distortion: Distortion, chosen: readonly Option[], { choice }: JointSolution) {
  let group = 0;
  return chosen.flatMap(({ choices: { starts }, columns }) =>
    Array.from({ length: starts.length - 1 }, (_, g) => distortion.patches[columns[starts[g]! + choice[group++]!]!]!),
  );
}

/** The exact window of a layer, and those that ignore more: only such as cost less than the one before. */
function optionsOf(distortion: Distortion, flips: FlipDistortion, layer: number, costOf: WindowCostOf): Option[] {
  const [, height, width] = distortion.meta.shapes[layer]!;
  const costsAt = (low: number | undefined): number[] => distortion.patches.map((patch) => costOf({ layer, height, width }, patch, low));
  const options = [optionOf(distortion, flips, layer, -1, undefined, costsAt(undefined))];
  let last = costsAt(undefined)[0]!;
  for (let level = 0; level < flips.levels; level++) {
    const low = 2 ** (flips.exponents[layer]! + level);
    const costs = costsAt(low);
    // Patches come with plain ReLU first, which has the most comparisons. NaN: no bits are left.
    if (!(costs[0]! < last)) continue;
    last = costs[0]!;
    options.push(optionOf(distortion, flips, layer, level, low, costs));
  }
  return options;
}

function optionOf(
  distortion: Distortion,
  flips: FlipDistortion,
  layer: number,
  level: number,
  low: number | undefined,
  costs: readonly number[],
): Option {
  const { patches, values, meta } = distortion;
  const starts = [0];
  const items: { cost: number; value: number; column: number }[] = [];
  channelRows(meta).forEach((row, r) => {
    if (row.layer !== layer) return;
    patches.forEach((_, column) => {
      const at = r * patches.length + column;
      if (Number.isNaN(values[at]!)) return;
      items.push({ cost: costs[column]!, value: values[at]! + flipAt(flips, layer, level, at), column });
    });
    starts.push(items.length);
  });
  const choices = {
    starts: Uint32Array.from(starts),
    costs: Float64Array.from(items, ({ cost }) => cost),
    values: Float64Array.from(items, ({ value }) => value),
  };
  return { low, level, choices, columns: Uint16Array.from(items, ({ column }) => column) };
}

/** What wrong signs add to the distortion of a channel's patch, with its share of what the layer's channels do together. */
function flipAt({ levels, values, joint }: FlipDistortion, layer: number, level: number, at: number): number {
  return level < 0 ? 0 : values[at * levels + level]! * joint[layer * levels + level]!;
}
