// The relaxed knapsack: lower convex hull of every group, and the price of cost at which the budget is just spent. Not here: the exact search.
import type { Choices } from './knapsack.js';

/** Where the relaxation (fractions of two items of one group allowed) has its optimum. */
export interface Relaxation {
  /** Value a unit of cost is worth; 0 when the budget binds nobody. */
  readonly price: number;
  /** Item of each group (index into the flat arrays) that is best at this price; together they keep the budget. */
  readonly base: Uint32Array;
  /** What the base leaves of the budget. */
  readonly slack: number;
}

interface Hulls {
  /** Items on the hull, ascending cost and descending value; those of group g from starts[g] on, counts[g] of them. */
  readonly items: Uint32Array;
  readonly counts: Uint32Array;
}

/**
 * Solves the relaxation in linear time (Dyer 1984, Zemel 1984: the median of slopes; here a random-free quickselect).
 * @param budget at least the sum of every group's cheapest item.
 */
export function relax(choices: Choices, budget: number): Relaxation {
  const hulls = buildHulls(choices);
  const { slopes, weights, cheapest } = segments(choices, hulls);
  const price = breakPrice(slopes, weights, budget - cheapest);
  return settle(choices, hulls, price, budget - cheapest);
}

function buildHulls({ starts, costs, values }: Choices): Hulls {
  const groups = starts.length - 1;
  const items = new Uint32Array(costs.length);
  const counts = new Uint32Array(groups);
  let order = new Uint32Array(64);
  let sorted = 0;
  for (let g = 0; g < groups; g++) {
    const from = starts[g]!;
    const count = starts[g + 1]! - from;
    if (count > order.length) order = new Uint32Array(2 * count);
    // The channels of a layer have the same costs, so that most groups need no sorting.
    if (!sameCosts(costs, starts[g - 1] ?? 0, from, count, sorted)) orderByCost(costs, from, order.subarray(0, count));
    sorted = count;
    let top = from - 1;
    for (let k = 0; k < count; k++) {
      const item = from + order[k]!;
      top = push(items, from, top, item, costs, values);
    }
    counts[g] = top + 1 - from;
  }
  return { items, counts };
}

function sameCosts(costs: Float64Array, a: number, b: number, count: number, previous: number): boolean {
  if (count !== previous) return false;
  for (let k = 0; k < count; k++) if (costs[a + k] !== costs[b + k]) return false;
  return true;
}

/** Fills `order` with 0, 1, … by ascending cost. */
function orderByCost(costs: Float64Array, from: number, order: Uint32Array): void {
  const count = order.length;
  for (let k = 0; k < count; k++) order[k] = k;
  if (count > 200) {
    order.sort((a, b) => costs[from + a]! - costs[from + b]!);
    return;
  }
  // Up to about 200 items an insertion sort beats a sort that calls back.
  for (let k = 1; k < count; k++) {
    const cost = costs[from + k]!;
    let at = k;
    for (; at > 0 && costs[from + order[at - 1]!]! > cost; at--) order[at] = order[at - 1]!;
    order[at] = k;
  }
}

/** Adds an item to a hull on the stack items[from … top]; returns the new top. Costs do not decrease from call to call. */
function push(items: Uint32Array, from: number, top: number, item: number, costs: Float64Array, values: Float64Array): number {
  const cost = costs[item]!;
  const value = values[item]!;
  if (top >= from) {
    const last = items[top]!;
    if (value >= values[last]!) return top;
    if (cost === costs[last]!) top--;
  }
  while (top > from) {
    const b = items[top]!;
    const a = items[top - 1]!;
    const steeper = (values[b]! - value) * (costs[b]! - costs[a]!) >= (values[a]! - values[b]!) * (cost - costs[b]!);
    if (!steeper) break;
    top--;
  }
  items[++top] = item;
  return top;
}

const slopeBetween = (a: number, b: number, { costs, values }: Choices): number => (values[a]! - values[b]!) / (costs[b]! - costs[a]!);

function segments(choices: Choices, { items, counts }: Hulls): { slopes: Float64Array; weights: Float64Array; cheapest: number } {
  const { starts, costs } = choices;
  const total = counts.reduce((sum, count) => sum + count - 1, 0);
  const slopes = new Float64Array(total);
  const weights = new Float64Array(total);
  let cheapest = 0;
  let at = 0;
  for (let g = 0; g < counts.length; g++) {
    const from = starts[g]!;
    cheapest += costs[items[from]!]!;
    for (let k = 1; k < counts[g]!; k++, at++) {
      slopes[at] = slopeBetween(items[from + k - 1]!, items[from + k]!, choices);
      weights[at] = costs[items[from + k]!]! - costs[items[from + k - 1]!]!;
    }
  }
  return { slopes, weights, cheapest };
}

/** The slope of the segment with which the room is used up when segments are taken steepest first; 0 when all fit. Reorders its arguments. */
function breakPrice(slopes: Float64Array, weights: Float64Array, room: number): number {
  let low = 0;
  let high = slopes.length;
  const swap = (i: number, j: number): void => {
    const slope = slopes[i]!;
    const weight = weights[i]!;
    slopes[i] = slopes[j]!;
    weights[i] = weights[j]!;
    slopes[j] = slope;
    weights[j] = weight;
  };
  while (low < high) {
    const pivot = middleOf(slopes[low]!, slopes[(low + high) >> 1]!, slopes[high - 1]!);
    let steep = low;
    let flat = high;
    let steepWeight = 0;
    let equalWeight = 0;
    for (let i = low; i < flat; ) {
      const slope = slopes[i]!;
      if (slope > pivot) {
        steepWeight += weights[i]!;
        swap(i++, steep++);
      } else if (slope < pivot) {
        swap(i, --flat);
      } else {
        equalWeight += weights[i++]!;
      }
    }
    if (steepWeight > room) {
      high = steep;
    } else if (steepWeight + equalWeight > room) {
      return pivot;
    } else {
      room -= steepWeight + equalWeight;
      low = flat;
    }
  }
  return 0;
}

const middleOf = (a: number, b: number, c: number): number => Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));

/** Walks every hull down to the price; segments of exactly that slope are taken while they fit. */
function settle(choices: Choices, { items, counts }: Hulls, price: number, room: number): Relaxation {
  const { starts, costs } = choices;
  const base = new Uint32Array(counts.length);
  const equal: number[] = [];
  let slack = room;
  for (let g = 0; g < counts.length; g++) {
    const from = starts[g]!;
    let k = 0;
    while (k + 1 < counts[g]! && slopeBetween(items[from + k]!, items[from + k + 1]!, choices) > price) k++;
    base[g] = items[from + k]!;
    slack -= costs[items[from + k]!]! - costs[items[from]!]!;
    if (k + 1 < counts[g]! && slopeBetween(items[from + k]!, items[from + k + 1]!, choices) === price) equal.push(g, items[from + k + 1]!);
  }
  for (let i = 0; i < equal.length; i += 2) {
    const weight = costs[equal[i + 1]!]! - costs[base[equal[i]!]!]!;
    if (weight > slack) continue;
    base[equal[i]!] = equal[i + 1]!;
    slack -= weight;
  }
  return { price, base, slack };
}
