// The multiple-choice knapsack, solved exactly: one item of every group, least sum of values, sum of costs within a budget.
// relaxation (hull.ts) → one exchange → reduced-cost fixing → exact search of what is left (core.ts).
import { UsageError } from '../errors.js';
import { type Core, type CoreSolution, searchCore } from './core.js';
import { type Relaxation, relax } from './hull.js';

/** Items of all groups end to end: those of group g from starts[g] up to, not with, starts[g + 1]. */
export interface Choices {
  /** One more than there are groups. */
  readonly starts: Uint32Array;
  readonly costs: Float64Array;
  readonly values: Float64Array;
}

export interface KnapsackOptions {
  /** States the exact search may make (default 2^26, some seconds); when they are used up, the answer has a gap. */
  readonly workLimit?: number;
}

export interface KnapsackSolution {
  /** Item chosen in each group, counted from the group's start. */
  readonly choice: Uint32Array;
  readonly cost: number;
  readonly objective: number;
  /** No choice within the budget has a smaller sum of values. */
  readonly bound: number;
  /** (objective − bound) / |objective|; 0 only where the search is complete, which proves the choice optimal. */
  readonly gap: number;
  /**
   * What rounding may hide: the search adds up whole multiples of a unit, and no choice is better by more than this. 0 where the values are
   * such multiples themselves (whole numbers are, mostly), else near the rounding error of adding the values up.
   */
  readonly resolution: number;
  /** Groups that reduced costs could not fix, and states the search made. */
  readonly coreGroups: number;
  readonly work: number;
}

const defaultWorkLimit = 2 ** 26;
/** A first search over so few groups finds a solution so close to the bound that few groups are left for the second. */
const probeGroups = 40;
const probeWorkLimit = 2 ** 20;
/** Sums of the core are below 2^46 units: then floating-point bounds are within a quarter of a unit (core.ts). */
const unitBits = 46;
/** Of the smallest positive double. */
const leastExponent = -1074;

/**
 * Solves the knapsack. Costs that are not whole numbers are rounded up to multiples of 2^-46 of what the budget
 * leaves after the cheapest choice: a choice that breaks the budget is never taken, one that keeps it to the last bits may be missed.
 *
 * Throws UsageError ("budget-too-small") when no choice keeps the budget; RangeError for an empty group or a number that is not finite.
 */
export function solveKnapsack(choices: Choices, budget: number, options: KnapsackOptions = {}): KnapsackSolution {
  check(choices, budget);
  const whole = wholeCosts(choices, budget);
  const relaxed = relax(whole.choices, whole.budget);
  // With nothing left to spend, or nothing to gain by spending it, the relaxation has no fractions.
  if (relaxed.price * relaxed.slack === 0) {
    const resolution = relaxed.price === 0 ? 0 : slopeRounding(whole.choices, relaxed);
    return describe(choices, relaxed.base, { proven: true, excess: 0, resolution, coreGroups: 0, work: 0 });
  }
  const exchange = bestExchange(whole.choices, relaxed);
  const probe = collect(whole.choices, relaxed, exchange.value, probeGroups);
  const probed = searchCore(probe.core, upperOf(probe, exchange.value), probeWorkLimit);
  const first = better(probe, probed, exchange, whole.choices, relaxed);
  const residual = collect(whole.choices, relaxed, first.value);
  const searched = searchCore(residual.core, upperOf(residual, first.value), options.workLimit ?? defaultWorkLimit);
  const last = better(residual, searched, first, whole.choices, relaxed);
  const base = Uint32Array.from(relaxed.base);
  for (const [group, item] of last.changes) base[group] = item;
  return describe(choices, base, {
    proven: searched.bound >= searched.value,
    excess: Math.max(0, last.value - (searched.bound * residual.unit - residual.rounding)),
    resolution: 2 * residual.rounding,
    coreGroups: residual.groups.length,
    work: probed.work + searched.work,
  });
}

export interface CostRange {
  /** Sum of every group's cheapest item, and of its dearest. */
  readonly least: number;
  readonly most: number;
  /** No sum of costs has a greater absolute value. */
  readonly magnitude: number;
  /** Whether every cost is a whole number. */
  readonly whole: boolean;
}

/** Between which sums of costs the choices lie. */
export function costRange({ starts, costs }: Choices): CostRange {
  let least = 0;
  let most = 0;
  let magnitude = 0;
  let whole = true;
  for (let g = 0; g + 1 < starts.length; g++) {
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (let j = starts[g]!; j < starts[g + 1]!; j++) {
      const cost = costs[j]!;
      if (cost < low) low = cost;
      if (cost > high) high = cost;
      if (Math.floor(cost) !== cost) whole = false;
    }
    least += low;
    most += high;
    magnitude += Math.max(Math.abs(low), Math.abs(high));
  }
  return { least, most, magnitude, whole };
}

function check({ starts, costs, values }: Choices, budget: number): void {
  if (Number.isNaN(budget)) throw new RangeError('knapsack: the budget is not a number');
  if (costs.length !== values.length || starts[starts.length - 1] !== costs.length) throw new RangeError('knapsack: lengths differ');
  for (let g = 0; g + 1 < starts.length; g++) if (starts[g + 1]! <= starts[g]!) throw new RangeError(`knapsack: group ${g} is empty`);
  for (let j = 0; j < costs.length; j++) {
    if (!Number.isFinite(costs[j]!) || !Number.isFinite(values[j]!)) throw new RangeError(`knapsack: item ${j} is not finite`);
  }
}

/** The same knapsack with whole costs whose sums are exact. */
function wholeCosts(choices: Choices, budget: number): { choices: Choices; budget: number } {
  const { least, most, magnitude, whole } = costRange(choices);
  if (budget < least) {
    throw new UsageError(`a budget of ${budget} is too small: the cheapest choice costs ${least}`, {
      code: 'budget-too-small',
      where: '--budget',
      hint: `Give at least ${least}.`,
    });
  }
  const limit = Math.min(budget, most);
  if (whole && magnitude < 2 ** 52) return { choices, budget: Math.floor(limit) };
  // A budget beyond the dearest choice leaves room for rounding costs up.
  return scaledCosts(choices, Math.min(budget - least, (most - least) * (1 + 2 ** -40)));
}

/** Costs above each group's cheapest item, rounded up to multiples of 2^-46 of the room there is for them. */
function scaledCosts({ starts, costs, values }: Choices, room: number): { choices: Choices; budget: number } {
  const unit = room > 0 ? 2 ** Math.max(leastExponent, Math.ceil(Math.log2(room)) - 46) : 1;
  const budget = Math.floor(room / unit);
  const scaled = new Float64Array(costs.length);
  for (let g = 0; g + 1 < starts.length; g++) {
    let low = Number.POSITIVE_INFINITY;
    for (let j = starts[g]!; j < starts[g + 1]!; j++) low = Math.min(low, costs[j]!);
    // What no choice can afford costs one unit more than there is: larger numbers would only lose their last bits.
    for (let j = starts[g]!; j < starts[g + 1]!; j++) scaled[j] = Math.min(Math.ceil((costs[j]! - low) / unit), budget + 1);
  }
  return { choices: { starts, costs: scaled, values }, budget };
}

/** A solution as what differs from the relaxation's base; `value` is relative to the base's. */
interface Found {
  readonly value: number;
  readonly changes: readonly (readonly [group: number, item: number])[];
}

/** The base with one item exchanged, or as it is. */
function bestExchange({ starts, costs, values }: Choices, { base, slack }: Relaxation): Found {
  let best = 0;
  let group = -1;
  let item = -1;
  for (let g = 0; g < base.length; g++) {
    const most = costs[base[g]!]! + slack;
    const value = values[base[g]!]!;
    for (let j = starts[g]!; j < starts[g + 1]!; j++) {
      if (costs[j]! > most || values[j]! - value >= best) continue;
      best = values[j]! - value;
      group = g;
      item = j;
    }
  }
  return { value: best, changes: group < 0 ? [] : [[group, item]] };
}

interface Residual {
  readonly core: Core;
  readonly groups: Uint32Array;
  /** Item of each alternative of the core. */
  readonly items: Uint32Array;
  /** A value of 1 in the core. */
  readonly unit: number;
  /** How far the sum of the core's values can be from the true one. */
  readonly rounding: number;
}

/**
 * Items that a solution better than `upper` may use: those whose reduced cost does not exceed what the base loses by its slack and
 * `upper` wins back. With `most`, only the groups that move cost at the least loss.
 */
function collect(choices: Choices, relaxed: Relaxation, upper: number, most?: number): Residual {
  const { costs, values } = choices;
  const { base, price, slack } = relaxed;
  const all = unfixed(choices, relaxed, upper);
  const kept = most === undefined ? all : [...all].sort((a, b) => a.loss - b.loss).slice(0, most);
  const starts = new Uint32Array(kept.length + 1);
  kept.forEach(({ items }, i) => {
    starts[i + 1] = starts[i]! + items.length;
  });
  const items = new Uint32Array(starts[kept.length]!);
  const coreCosts = new Float64Array(items.length);
  const coreValues = new Float64Array(items.length);
  kept.forEach((group, i) => {
    const own = base[group.group]!;
    group.items.forEach((item, k) => {
      const at = starts[i]! + k;
      items[at] = item;
      coreCosts[at] = costs[item]! - costs[own]!;
      coreValues[at] = values[item]! - values[own]!;
    });
  });
  const { unit, rounding } = toUnits(coreValues, coreCosts, starts, price);
  const core = { starts, costs: coreCosts, values: coreValues, slack, price: price / unit };
  return { core, groups: Uint32Array.from(kept, ({ group }) => group), items, unit, rounding };
}

interface Unfixed {
  readonly group: number;
  readonly items: readonly number[];
  /** Least reduced cost per unit of cost moved. */
  readonly loss: number;
}

/** Groups with items other than the base's that a solution better than `upper` may use. */
function unfixed(choices: Choices, relaxed: Relaxation, upper: number): Unfixed[] {
  const { starts, costs, values } = choices;
  const { base, price, slack } = relaxed;
  const limit = upper + price * slack + slopeRounding(choices, relaxed);
  const groups: Unfixed[] = [];
  for (let g = 0; g < base.length; g++) {
    const cost = costs[base[g]!]!;
    const value = values[base[g]!]!;
    const end = starts[g + 1]!;
    let items: number[] | undefined;
    let loss = Number.POSITIVE_INFINITY;
    for (let j = starts[g]!; j < end; j++) {
      const difference = costs[j]! - cost;
      const reduced = values[j]! - value + price * difference;
      // The last term covers the rounding of this sum.
      if (reduced > limit + 1e-14 * price * Math.abs(difference) || difference === 0) continue;
      items ??= [];
      items.push(j);
      loss = Math.min(loss, reduced / Math.abs(difference));
    }
    if (items !== undefined) groups.push({ group: g, items, loss });
  }
  return groups;
}

/** By how much rounding may keep the base from being the best at its price, summed over groups. */
function slopeRounding({ costs, values }: Choices, { base, price }: Relaxation): number {
  let magnitude = 0;
  for (const item of base) magnitude += Math.abs(values[item]!) + price * Math.abs(costs[item]!);
  return 1e-15 * magnitude;
}

/** Rounds values to whole multiples of a power of two, in place. */
function toUnits(values: Float64Array, costs: Float64Array, starts: Uint32Array, price: number): { unit: number; rounding: number } {
  const sumOfGreatest = (size: (j: number) => number): number => {
    let sum = 0;
    for (let g = 0; g + 1 < starts.length; g++) {
      let most = 0;
      for (let j = starts[g]!; j < starts[g + 1]!; j++) most = Math.max(most, size(j));
      sum += most;
    }
    return sum;
  };
  const magnitude = sumOfGreatest((j) => Math.max(Math.abs(values[j]!), price * Math.abs(costs[j]!)));
  if (magnitude === 0) return { unit: 1, rounding: 0 };
  const unit = 2 ** Math.max(leastExponent, Math.ceil(Math.log2(magnitude)) - unitBits);
  const rounding = unit * sumOfGreatest((j) => Math.abs(values[j]! / unit - Math.round(values[j]! / unit)));
  for (let j = 0; j < values.length; j++) values[j] = Math.round(values[j]! / unit);
  return { unit, rounding };
}

/** A known solution's value in units, rounded up so that it stays a valid upper bound. */
const upperOf = ({ unit, rounding }: Residual, value: number): number => Math.ceil((value + rounding) / unit);

/** What a search found, where it is better than what was known. */
function better({ items, groups }: Residual, { choice }: CoreSolution, known: Found, { values }: Choices, { base }: Relaxation): Found {
  if (choice === undefined) return known;
  const changes: [number, number][] = [];
  let value = 0;
  choice.forEach((alternative, i) => {
    if (alternative < 0) return;
    const group = groups[i]!;
    const item = items[alternative]!;
    changes.push([group, item]);
    value += values[item]! - values[base[group]!]!;
  });
  return value < known.value ? { value, changes } : known;
}

interface Outcome {
  readonly proven: boolean;
  readonly excess: number;
  readonly resolution: number;
  readonly coreGroups: number;
  readonly work: number;
}

function describe({ starts, costs, values }: Choices, chosen: Uint32Array, outcome: Outcome): KnapsackSolution {
  let cost = 0;
  let objective = 0;
  for (const item of chosen) {
    cost += costs[item]!;
    objective += values[item]!;
  }
  const { proven, excess, resolution, coreGroups, work } = outcome;
  const bound = proven ? objective : objective - excess;
  const gap = proven ? 0 : excess / Math.max(Math.abs(objective), Number.MIN_VALUE);
  return { choice: chosen.map((item, g) => item - starts[g]!), cost, objective, bound, gap, resolution, coreGroups, work };
}
