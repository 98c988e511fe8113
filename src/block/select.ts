// From distortions and costs to one patch a channel: the knapsack's choice, and the simpler ways it is compared with.
import { DataError } from '../errors.js';
import type { Patch } from '../model/program.js';
import type { Spec } from '../model/spec.js';
import { blocksOf, plainPatch } from './candidates.js';
import { type ChannelRow, channelRows, type Distortion } from './distortion-file.js';
import { type Choices, type KnapsackOptions, type KnapsackSolution, solveKnapsack } from './knapsack.js';

/** Cost of a patch on one channel of a layer, in the unit of the budget; the sum over channels is the cost of a network. */
export type CostOf = (row: Pick<ChannelRow, 'layer' | 'height' | 'width'>, patch: Patch) => number;

/** The paper's cost: comparisons. */
export const dreluCost: CostOf = ({ height, width }, patch) => blocksOf(patch, height, width);

/** A patch for every row of a distortion, with what it comes to. */
export interface Selection {
  readonly patches: readonly Patch[];
  /** Comparison windows that are not exact, by layer name. */
  readonly windows?: Spec['windows'];
  readonly cost: number;
  /** Sum of distortions; undefined where a patch was not measured. */
  readonly objective: number | undefined;
}

export interface OptimalSelection extends Selection {
  readonly objective: number;
  readonly solution: Pick<KnapsackSolution, 'bound' | 'gap' | 'resolution' | 'coreGroups' | 'work'>;
}

/** Sum of the costs when every channel has its own comparison for each element: what budgets in per cent are of. */
export function fullCost(distortion: Distortion, costOf: CostOf): number {
  return channelRows(distortion.meta).reduce((sum, row) => sum + costOf(row, plainPatch), 0);
}

/** Sum of the costs of each channel's cheapest candidate: no budget below it can be kept. */
export function leastCost({ meta, patches, values }: Distortion, costOf: CostOf): number {
  const costs = meta.shapes.map(([, height, width], layer) => patches.map((patch) => costOf({ layer, height, width }, patch)));
  return channelRows(meta).reduce((sum, { layer }, r) => {
    const own = costs[layer]!.filter((_, k) => !Number.isNaN(values[r * patches.length + k]!));
    return sum + Math.min(...own);
  }, 0);
}

/** Least distortion within the budget. Throws UsageError ("budget-too-small"). */
export function selectOptimal(distortion: Distortion, costOf: CostOf, budget: number, options: KnapsackOptions = {}): OptimalSelection {
  const { choices, columns } = choicesOf(distortion, costOf);
  const { choice, cost, objective, ...solution } = solveKnapsack(choices, budget, options);
  const patches = Array.from(choice, (item, row) => distortion.patches[columns[choices.starts[row]! + item]!]!);
  return { patches, cost, objective, solution };
}

/** As {@link selectOptimal}, with the same patch for all channels of a layer. */
export function selectByLayer(distortion: Distortion, costOf: CostOf, budget: number): OptimalSelection {
  const rows = channelRows(distortion.meta);
  const candidates = distortion.patches.length;
  const layers = distortion.meta.layers.length;
  const values = new Float64Array(layers * candidates);
  const costs = new Float64Array(layers * candidates);
  rows.forEach((row, r) => {
    distortion.patches.forEach((patch, k) => {
      const at = row.layer * candidates + k;
      values[at]! += distortion.values[r * candidates + k]!;
      if (!Number.isNaN(values[at]!)) costs[at]! += costOf(row, patch);
    });
  });
  const { choices, columns } = withoutGaps(layers, candidates, values, (g, k) => costs[g * candidates + k]!);
  const { choice, cost, objective, ...solution } = solveKnapsack(choices, budget);
  const patches = rows.map(({ layer }) => distortion.patches[columns[choices.starts[layer]! + choice[layer]!]!]!);
  return { patches, cost, objective, solution };
}

/** The distortion without the candidates that leave a channel as it is or make it zero. */
export function withoutConstants(distortion: Distortion): Distortion {
  const { patches, values } = distortion;
  const constant = patches.map(([height, width]) => height === 0 || width === 0);
  return { ...distortion, values: values.map((value, i) => (constant[i % patches.length] ? Number.NaN : value)) };
}

/** The same patch everywhere, cut to the map where that is smaller. */
export function selectUniform(distortion: Distortion, costOf: CostOf, patch: Patch): Selection {
  const isConstant = patch[0] === 0 || patch[1] === 0;
  const cut = ({ height, width }: ChannelRow): Patch => (isConstant ? patch : [Math.min(patch[0], height), Math.min(patch[1], width)]);
  return measured(distortion, costOf, channelRows(distortion.meta).map(cut));
}

/** A selection's patches, dealt out anew among the channels of each layer: as much cost, without the knowledge of which channel matters. */
export function shuffle(distortion: Distortion, costOf: CostOf, { patches }: Selection, random: () => number): Selection {
  const shuffled = [...patches];
  let from = 0;
  for (const [channels] of distortion.meta.shapes) {
    for (let i = channels - 1; i > 0; i--) {
      const j = from + Math.floor(random() * (i + 1));
      [shuffled[from + i], shuffled[j]] = [shuffled[j]!, shuffled[from + i]!];
    }
    from += channels;
  }
  return measured(distortion, costOf, shuffled);
}

/** A choice of patches with what it costs and comes to. */
export function measured(distortion: Distortion, costOf: CostOf, patches: readonly Patch[]): Selection {
  const columns = new Map(distortion.patches.map((patch, k) => [patch.join(), k]));
  let cost = 0;
  let objective = 0;
  channelRows(distortion.meta).forEach((row, r) => {
    const patch = patches[r]!;
    const column = columns.get(patch.join());
    cost += costOf(row, patch);
    objective += column === undefined ? Number.NaN : distortion.values[r * distortion.patches.length + column]!;
  });
  return { patches, cost, objective: Number.isNaN(objective) ? undefined : objective };
}

/** The knapsack's groups are the rows; `columns` gives each item's candidate. */
function choicesOf(distortion: Distortion, costOf: CostOf): { choices: Choices; columns: Uint16Array } {
  const { meta, patches, values } = distortion;
  const costs = meta.shapes.map(([, height, width], layer) => patches.map((patch) => costOf({ layer, height, width }, patch)));
  const rows = channelRows(meta);
  return withoutGaps(rows.length, patches.length, values, (g, k) => costs[rows[g]!.layer]![k]!);
}

function withoutGaps(
  groups: number,
  candidates: number,
  values: Float64Array,
  costAt: (group: number, candidate: number) => number,
): { choices: Choices; columns: Uint16Array } {
  const count = values.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : 1), 0);
  const starts = new Uint32Array(groups + 1);
  const kept = { costs: new Float64Array(count), values: new Float64Array(count) };
  const columns = new Uint16Array(count);
  let item = 0;
  for (let g = 0; g < groups; g++) {
    for (let k = 0; k < candidates; k++) {
      const value = values[g * candidates + k]!;
      if (Number.isNaN(value)) continue;
      kept.values[item] = value;
      kept.costs[item] = costAt(g, k);
      columns[item++] = k;
    }
    starts[g + 1] = item;
  }
  return { choices: { starts, ...kept }, columns };
}

/** How many comparisons each layer keeps, of how many. */
export function keptByLayer({ meta }: Distortion, patches: readonly Patch[]): { name: string; kept: number; drelus: number }[] {
  const layers = meta.layers.map((name, i) => ({ name, kept: 0, drelus: meta.shapes[i]!.reduce((a, b) => a * b, 1) }));
  channelRows(meta).forEach(({ layer, height, width }, r) => {
    layers[layer]!.kept += blocksOf(patches[r]!, height, width);
  });
  return layers;
}

/** The spec file of a selection. */
export function toSpec(
  { meta }: Pick<Distortion, 'meta'>,
  patches: readonly Patch[],
  made: Readonly<Record<string, unknown>>,
  windows: NonNullable<Spec['windows']> = {},
): Spec {
  const layers: Record<string, [number, number][]> = Object.fromEntries(meta.layers.map((name) => [name, []]));
  channelRows(meta).forEach(({ layer }, r) => {
    layers[meta.layers[layer]!]!.push([...patches[r]!]);
  });
  const chosen = Object.keys(windows).length === 0 ? {} : { windows };
  return { schema: 'tessera/spec@1', model: meta.model, made, layers, ...chosen };
}

/** Refuses a distortion without channels: there would be nothing to choose. */
export function checkNotEmpty(distortion: Distortion, where: string): void {
  if (channelRows(distortion.meta).length > 0) return;
  throw new DataError(`${where} has no channels: its model has no activation`, {
    code: 'no-activations',
    where,
    hint: 'A model without ReLUs needs no spec.',
  });
}
