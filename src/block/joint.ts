// The knapsack with a second level: each layer has options (comparison windows), under which its groups have other costs and values. One
// option a layer, one item a group, least sum of values, sum of costs within a budget.
//
// At a price λ of cost every layer takes the option with the least Σ over its groups of min (value + λ cost), so that
//   L(λ) = Σ over layers min over options Σ over groups min over items (value + λ cost) − λ budget
// bounds every choice from below; the greatest L(λ) is the bound of a set of options. Branch and bound over the options (Land and Doig 1960),
// the sets with the least bound first; where options are settled, the exact knapsack (knapsack.ts) chooses the items.
import { UsageError } from '../errors.js';
import { type Choices, type KnapsackOptions, solveKnapsack } from './knapsack.js';

/** Options of a layer; all have as many groups. */
export type JointLayer = readonly Choices[];

export interface JointOptions extends KnapsackOptions {
  /** Sets of options to look at (default 300); when they are used up, the answer has a gap. */
  readonly nodeLimit?: number;
}

export interface JointSolution {
  /** Option of each layer. */
  readonly options: readonly number[];
  /** Items of all groups, layer after layer, counted from each group's start. */
  readonly choice: Uint32Array;
  readonly cost: number;
  readonly objective: number;
  /** No choice of options and items within the budget has a smaller sum of values. */
  readonly bound: number;
  /** (objective − bound) / |objective|; 0 only where nothing is left to look at. */
  readonly gap: number;
  readonly resolution: number;
  /** Sets of options looked at, and knapsacks solved. */
  readonly nodes: number;
  readonly knapsacks: number;
}

const defaultNodeLimit = 300;
/** Bounds are sums of rounded numbers: what is not better by this share is not better. */
const rounding = 1e-12;

/**
 * Solves the joint problem.
 * @throws UsageError ("budget-too-small") when no choice keeps the budget; RangeError for a layer without options.
 */
export function solveJoint(layers: readonly JointLayer[], budget: number, options: JointOptions = {}): JointSolution {
  if (layers.some((layer) => layer.length === 0)) throw new RangeError('solveJoint: a layer has no option');
  const curves = layers.map((layer) => layer.map(curveOf));
  const least = curves.reduce((sum, layer) => sum + Math.min(...layer.map(({ costs }) => costs.at(-1)!)), 0);
  checkBudget(budget, least);
  const search: Search = { layers, curves, budget, options, solved: new Map(), best: undefined };
  const open: Node[] = [
    nodeOf(
      search,
      curves.map((layer) => layer.map((_, option) => option)),
    ),
  ];
  let nodes = 0;
  for (; open.length > 0 && nodes < (options.nodeLimit ?? defaultNodeLimit); nodes++) {
    const node = takeLeast(open);
    if (isHopeless(search, node.bound)) {
      open.push(node);
      break;
    }
    for (const child of expand(search, node)) if (!isHopeless(search, child.bound)) open.push(child);
  }
  const best = search.best ?? settle(search, cheapest(curves));
  const lower = Math.min(best.objective, ...open.map(({ bound }) => bound), ...[...search.solved.values()].map(({ bound }) => bound));
  const proven =
    [...search.solved.values()].every(({ gap, bound }) => gap === 0 || isHopeless(search, bound)) &&
    open.every(({ bound }) => isHopeless(search, bound));
  const bound = proven ? best.objective : lower;
  const gap = proven ? 0 : (best.objective - lower) / Math.max(Math.abs(best.objective), Number.MIN_VALUE);
  const resolution = best.resolution + rounding * Math.abs(best.objective);
  return {
    options: best.options,
    choice: best.choice,
    cost: best.cost,
    objective: best.objective,
    bound,
    gap,
    resolution,
    nodes,
    knapsacks: search.solved.size,
  };
}

function checkBudget(budget: number, least: number): void {
  if (budget >= least * (1 - 1e-12)) return;
  throw new UsageError(`a budget of ${budget} is too small: the cheapest choice costs ${least}`, {
    code: 'budget-too-small',
    where: '--budget',
    hint: `Give at least ${least}.`,
  });
}

/** The sum of the groups' lower hulls: from the dearest (best) choice to the cheapest; segment i has slope `slopes[i]`, ascending. */
interface Curve {
  /** Value lost for a unit of cost saved. */
  readonly slopes: Float64Array;
  /** Sums of values and costs after so many segments. */
  readonly values: Float64Array;
  readonly costs: Float64Array;
}

function curveOf({ starts, costs, values }: Choices): Curve {
  const steps: { slope: number; value: number; cost: number }[] = [];
  let value = 0;
  let cost = 0;
  for (let g = 0; g + 1 < starts.length; g++) {
    const hull = hullOf(starts[g]!, starts[g + 1]!, costs, values);
    value += values[hull[0]!]!;
    cost += costs[hull[0]!]!;
    for (let k = 1; k < hull.length; k++) {
      const [a, b] = [hull[k - 1]!, hull[k]!];
      const step = { value: values[b]! - values[a]!, cost: costs[b]! - costs[a]! };
      steps.push({ ...step, slope: step.value / -step.cost });
    }
  }
  steps.sort((a, b) => a.slope - b.slope);
  const curve = {
    slopes: new Float64Array(steps.length),
    values: new Float64Array(steps.length + 1),
    costs: new Float64Array(steps.length + 1),
  };
  curve.values[0] = value;
  curve.costs[0] = cost;
  steps.forEach((step, i) => {
    curve.slopes[i] = step.slope;
    curve.values[i + 1] = curve.values[i]! + step.value;
    curve.costs[i + 1] = curve.costs[i]! + step.cost;
  });
  return curve;
}

/** Items on the lower hull, from the least value to the least cost. */
function hullOf(from: number, to: number, costs: Float64Array, values: Float64Array): number[] {
  const order = Array.from({ length: to - from }, (_, i) => from + i).sort((a, b) => values[a]! - values[b]! || costs[a]! - costs[b]!);
  const hull: number[] = [];
  for (const item of order) {
    if (hull.length > 0 && costs[item]! >= costs[hull.at(-1)!]!) continue;
    while (hull.length > 1) {
      const [a, b] = [hull.at(-2)!, hull.at(-1)!];
      const flatter = (values[item]! - values[b]!) * (costs[a]! - costs[b]!) <= (values[b]! - values[a]!) * (costs[b]! - costs[item]!);
      if (!flatter) break;
      hull.pop();
    }
    hull.push(item);
  }
  return hull;
}

/** How many segments a price takes: those whose slope is below it, or also those equal to it. */
function segmentsAt({ slopes }: Curve, price: number, orEqual: boolean): number {
  let [low, high] = [0, slopes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (slopes[middle]! < price || (orEqual && slopes[middle]! === price)) low = middle + 1;
    else high = middle;
  }
  return low;
}

interface AtPrice {
  readonly value: number;
  readonly cost: number;
  readonly options: readonly number[];
}

/** The least value + price · cost, with the dearest or the cheapest of equally good choices. */
function atPrice({ curves }: Search, sets: Sets, price: number, cheap: boolean): AtPrice {
  let [value, cost] = [0, 0];
  const options = sets.map((set, layer) => {
    let best = { option: -1, value: 0, cost: 0, total: Number.POSITIVE_INFINITY };
    for (const option of set) {
      const curve = curves[layer]![option]!;
      const at = segmentsAt(curve, price, cheap);
      const own = { option, value: curve.values[at]!, cost: curve.costs[at]!, total: curve.values[at]! + price * curve.costs[at]! };
      const tie = own.total === best.total && own.cost < best.cost === cheap;
      if (own.total < best.total || tie) best = own;
    }
    value += best.value;
    cost += best.cost;
    return best.option;
  });
  return { value, cost, options };
}

/** Options still allowed, by layer. */
type Sets = readonly (readonly number[])[];

interface Node {
  readonly sets: Sets;
  readonly bound: number;
  readonly price: number;
  /** L at that price, at most the bound. */
  readonly atPrice: number;
  /** Options at that price, which keep the budget. */
  readonly thrifty: readonly number[];
}

interface Settled {
  readonly options: readonly number[];
  readonly choice: Uint32Array;
  readonly cost: number;
  readonly objective: number;
  readonly bound: number;
  readonly gap: number;
  readonly resolution: number;
}

interface Search {
  readonly layers: readonly JointLayer[];
  readonly curves: readonly (readonly Curve[])[];
  readonly budget: number;
  readonly options: JointOptions;
  readonly solved: Map<string, Settled>;
  best: Settled | undefined;
}

const isHopeless = ({ best }: Search, bound: number): boolean =>
  best !== undefined && bound >= best.objective - rounding * Math.abs(best.objective);

const cheapest = (curves: Search['curves']): number[] =>
  curves.map((layer) => layer.reduce((best, { costs }, option) => (costs.at(-1)! < layer[best]!.costs.at(-1)! ? option : best), 0));

/** The greatest L(λ) of some sets of options, by halving the interval that holds its price. */
function nodeOf(search: Search, sets: Sets): Node {
  const { budget } = search;
  const bounded = ({ value, cost }: AtPrice, price: number): number => value + price * (cost - budget);
  const free = atPrice(search, sets, 0, true);
  if (free.cost <= budget) return { sets, bound: free.value, price: 0, atPrice: free.value, thrifty: free.options };
  let low = 0;
  let high = 1e-9;
  let over = free;
  let under = atPrice(search, sets, high, true);
  while (under.cost > budget && high < 1e300) {
    [low, over] = [high, under];
    high *= 16;
    under = atPrice(search, sets, high, true);
  }
  // No price makes these options keep the budget.
  if (under.cost > budget)
    return { sets, bound: Number.POSITIVE_INFINITY, price: high, atPrice: Number.POSITIVE_INFINITY, thrifty: under.options };
  let bound = Math.max(bounded(over, low), bounded(under, high));
  for (let i = 0; i < 200; i++) {
    // Where the lines of the two ends meet: the price of the bound when nothing lies between them.
    const meeting = (over.value - under.value) / (under.cost - over.cost);
    const price = i % 3 === 2 || !(meeting > low && meeting < high) ? (low + high) / 2 : meeting;
    if (price <= low || price >= high) break;
    const at = atPrice(search, sets, price, true);
    const own = bounded(at, price);
    const settled = own <= bound * (1 + Math.sign(bound) * 1e-15) && price === meeting;
    bound = Math.max(bound, own);
    if (at.cost > budget) [low, over] = [price, at];
    else [high, under] = [price, at];
    if (settled || high - low < 1e-15 * high) break;
  }
  return { sets, bound, price: high, atPrice: bounded(under, high), thrifty: under.options };
}

function takeLeast(open: Node[]): Node {
  const at = open.reduce((best, { bound }, i) => (bound < open[best]!.bound ? i : best), 0);
  return open.splice(at, 1)[0]!;
}

/** Tries the options of a node, leaves out those that cannot better the best known choice, and splits what is left in two. */
function expand(search: Search, node: Node): Node[] {
  if (node.bound === Number.POSITIVE_INFINITY) return [];
  improve(search, node.thrifty);
  const losses = node.sets.map((set, layer) => lossesOf(search, node, set, layer));
  const sets = node.sets.map((set, layer) =>
    set.filter((option, i) => option === node.thrifty[layer] || !isHopeless(search, node.atPrice + losses[layer]![i]!)),
  );
  const open = sets.flatMap((set, layer) => (set.length > 1 ? [layer] : []));
  if (open.length === 0) return [];
  // The layer in doubt: one that the price leaves undecided, else the one whose second choice costs least.
  const second = (layer: number): number =>
    Math.min(...node.sets[layer]!.map((option, i) => (option === node.thrifty[layer] ? Number.POSITIVE_INFINITY : losses[layer]![i]!)));
  const layer = open.reduce((best, own) => (second(own) < second(best) ? own : best));
  const chosen = node.thrifty[layer]!;
  const others = sets[layer]!.filter((option) => option !== chosen);
  return [[chosen], others].map((set) =>
    nodeOf(
      search,
      sets.map((own, l) => (l === layer ? set : own)),
    ),
  );
}

/** Settles options where their relaxation says that they may be better than what is known. */
function tryOptions(search: Search, options: readonly number[]): void {
  const { bound } = nodeOf(
    search,
    options.map((option) => [option]),
  );
  if (bound < Number.POSITIVE_INFINITY && !isHopeless(search, bound)) settle(search, options);
}

/** Settles options, and the first time also where changing those of one layer after another leads, by the relaxations alone. */
function improve(search: Search, options: readonly number[]): void {
  const first = search.best === undefined;
  tryOptions(search, options);
  if (first && search.best !== undefined) tryOptions(search, descend(search, options));
}

/** Options that no change of one layer to a next option, or of two layers to next ones at once, betters in the relaxation. */
function descend(search: Search, options: readonly number[]): readonly number[] {
  const relaxedValue = (own: readonly number[]): number =>
    nodeOf(
      search,
      own.map((option) => [option]),
    ).bound;
  const near = (own: readonly number[]): number[][] =>
    own.flatMap((option, layer) =>
      [option - 1, option + 1].filter((next) => search.layers[layer]![next] !== undefined).map((next) => own.with(layer, next)),
    );
  let best = { options, value: relaxedValue(options) };
  for (let found = true; found; ) {
    found = false;
    for (const reach of [near, (own: readonly number[]) => near(own).flatMap(near)]) {
      const better = reach(best.options)
        .map((own) => ({ options: own, value: relaxedValue(own) }))
        .reduce((a, b) => (b.value < a.value ? b : a), best);
      // A step has to be worth more than rounding, or this might not end.
      if (!(better.value < best.value - 1e-9 * Math.abs(best.value))) continue;
      best = better;
      found = true;
      break;
    }
  }
  return best.options;
}

/** By how much each option of a layer raises L at the node's price. */
function lossesOf({ curves }: Search, { price }: Node, set: readonly number[], layer: number): number[] {
  const totals = set.map((option) => {
    const curve = curves[layer]![option]!;
    const at = segmentsAt(curve, price, true);
    return curve.values[at]! + price * curve.costs[at]!;
  });
  const least = Math.min(...totals);
  return totals.map((total) => total - least);
}

/** The exact knapsack for settled options; remembered, and the best one kept. */
function settle(search: Search, options: readonly number[]): Settled {
  const key = options.join();
  const known = search.solved.get(key);
  if (known !== undefined) return known;
  const chosen = search.layers.map((layer, i) => layer[options[i]!]!);
  const { choice, cost, objective, bound, gap, resolution } = solveKnapsack(joined(chosen), search.budget, search.options);
  const settled = { options, choice, cost, objective, bound, gap, resolution };
  search.solved.set(key, settled);
  if (search.best === undefined || objective < search.best.objective) search.best = settled;
  return settled;
}

function joined(parts: readonly Choices[]): Choices {
  const items = parts.reduce((sum, { costs }) => sum + costs.length, 0);
  const groups = parts.reduce((sum, { starts }) => sum + starts.length - 1, 0);
  const all = { starts: new Uint32Array(groups + 1), costs: new Float64Array(items), values: new Float64Array(items) };
  let [group, item] = [0, 0];
  for (const { starts, costs, values } of parts) {
    all.costs.set(costs, item);
    all.values.set(values, item);
    for (let g = 1; g < starts.length; g++) all.starts[group + g] = item + starts[g]!;
    group += starts.length - 1;
    item += costs.length;
  }
  return all;
}
