// Exact search over the few groups that reduced costs could not fix: dynamic programming over states, best groups first.
// Pisinger, "A minimal algorithm for the multiple-choice knapsack problem", EJOR 83 (1995). Not here: how the core is chosen.

/**
 * Alternatives to the base item of each core group, as differences to it: whole numbers below 2^46 in sum, so that sums are exact.
 * Alternatives of group g lie at starts[g] … starts[g + 1] − 1.
 */
export interface Core {
  readonly starts: Uint32Array;
  readonly costs: Float64Array;
  readonly values: Float64Array;
  /** What the base leaves of the budget. */
  readonly slack: number;
  /** Value of a unit of cost, in the unit of the values: any number ≥ 0 gives valid bounds, the relaxation's the best. */
  readonly price: number;
}

export interface CoreSolution {
  /** Sum of the values of the best solution found, at most `upper`. */
  readonly value: number;
  /** No solution has less. */
  readonly bound: number;
  /** Chosen alternative (an index into the core's arrays) of each group, −1 for its base; undefined when none is better than `upper`. */
  readonly choice: Int32Array | undefined;
  /** States made. */
  readonly work: number;
}

/** The bounds' floating-point error is below 2^-3 of a unit for numbers below 2^46; a bound above UB − 1 + margin proves ≥ UB. */
const margin = 0.25;

/** Lower bounds on what is still to come when the first `stage` groups are decided. */
interface Future {
  readonly order: Uint32Array;
  /** Least value + price · cost of the groups from a stage on; 0 or a rounding error below. */
  readonly floor: Float64Array;
  /** Least loss per unit of cost gained (towards the budget), and per unit given back, from a stage on. */
  readonly gain: Float64Array;
  readonly give: Float64Array;
}

/**
 * Finds the least sum of values with the sum of costs at most the slack, or shows that none is below `upper`.
 * @param upper value of a solution that is known.
 * @param workLimit states to make at most; when it is reached `bound` is below `value`.
 */
export function searchCore(core: Core, upper: number, workLimit: number): CoreSolution {
  const future = lookAhead(core);
  const stages: Stage[] = [];
  let states: States = { costs: Float64Array.of(0), values: Float64Array.of(0), count: 1 };
  let best = upper;
  let found: { stage: number; index: number } | undefined;
  if (best > 0) {
    best = 0;
    found = { stage: 0, index: 0 };
  }
  let work = 1;
  for (let i = 0; i < future.order.length && states.count > 0; i++) {
    const g = future.order[i]!;
    const limit = best + core.price * core.slack - (future.floor[0]! - ownFloor(future, i)) - 1 + margin;
    const alternatives = worthwhile(core, g, limit);
    if (alternatives.length === 0) continue;
    const grown = grow(core, states, alternatives, future, i + 1, best);
    work += grown.made;
    states = grown.states;
    stages.push({ ...grown.stage, group: g });
    if (grown.best < best) {
      best = grown.best;
      found = { stage: stages.length, index: grown.bestAt };
    }
    if (work > workLimit && i + 1 < future.order.length) {
      const bound = lowestBound(core, states, future, i + 1);
      return { value: best, bound: Math.min(best, bound), choice: trace(core, stages, found), work };
    }
  }
  return { value: best, bound: best, choice: trace(core, stages, found), work };
}

const ownFloor = ({ floor }: Future, stage: number): number => floor[stage]! - floor[stage + 1]!;

function lookAhead({ starts, costs, values, price }: Core): Future {
  const groups = starts.length - 1;
  const floors = new Float64Array(groups);
  const gains = new Float64Array(groups).fill(Number.POSITIVE_INFINITY);
  const gives = new Float64Array(groups).fill(Number.POSITIVE_INFINITY);
  for (let g = 0; g < groups; g++) {
    for (let j = starts[g]!; j < starts[g + 1]!; j++) floors[g] = Math.min(floors[g]!, values[j]! + price * costs[j]!);
    for (let j = starts[g]!; j < starts[g + 1]!; j++) {
      const loss = (values[j]! + price * costs[j]! - floors[g]!) / Math.abs(costs[j]!);
      if (costs[j]! > 0) gains[g] = Math.min(gains[g]!, loss);
      if (costs[j]! < 0) gives[g] = Math.min(gives[g]!, loss);
    }
  }
  const key = gains.map((gain, g) => Math.min(gain, gives[g]!));
  const order = Uint32Array.from(key.keys()).sort((a, b) => key[a]! - key[b]! || a - b);
  const floor = new Float64Array(groups + 1);
  const gain = new Float64Array(groups + 1).fill(Number.POSITIVE_INFINITY);
  const give = new Float64Array(groups + 1).fill(Number.POSITIVE_INFINITY);
  for (let i = groups - 1; i >= 0; i--) {
    const g = order[i]!;
    floor[i] = floor[i + 1]! + floors[g]!;
    gain[i] = Math.min(gain[i + 1]!, gains[g]!);
    give[i] = Math.min(give[i + 1]!, gives[g]!);
  }
  return { order, floor, gain, give };
}

/** Alternatives of a group that a better solution may use: value + price · cost below the limit, and not worse in both than another. */
function worthwhile({ starts, costs, values, price }: Core, g: number, limit: number): number[] {
  const kept: number[] = [];
  for (let j = starts[g]!; j < starts[g + 1]!; j++) {
    const cost = costs[j]!;
    const value = values[j]!;
    if (value + price * cost > limit || (cost >= 0 && value >= 0)) continue;
    if (kept.some((k) => costs[k]! <= cost && values[k]! <= value)) continue;
    kept.push(j);
  }
  return kept;
}

/** Partial solutions, ascending cost and descending value. */
interface States {
  readonly costs: Float64Array;
  readonly values: Float64Array;
  readonly count: number;
}

/** How each state of a stage came about: from which state before it, by which alternative (0: the base). */
interface Stage {
  readonly group: number;
  readonly parents: Uint32Array;
  readonly steps: Uint8Array | Uint32Array;
  readonly alternatives: readonly number[];
}

interface Grown {
  readonly states: States;
  readonly stage: Omit<Stage, 'group'>;
  readonly best: number;
  readonly bestAt: number;
  readonly made: number;
}

/** Every state with the base and with each alternative: merged by cost, without dominated states and those whose bound is no better than `best`. */
function grow(core: Core, from: States, alternatives: readonly number[], future: Future, stage: number, best: number): Grown {
  const ways = alternatives.length + 1;
  const costs = new Float64Array(from.count * ways);
  const values = new Float64Array(from.count * ways);
  const parents = new Uint32Array(from.count * ways);
  const steps = ways <= 256 ? new Uint8Array(from.count * ways) : new Uint32Array(from.count * ways);
  const addCost = Float64Array.from({ length: ways }, (_, k) => (k === 0 ? 0 : core.costs[alternatives[k - 1]!]!));
  const addValue = Float64Array.from({ length: ways }, (_, k) => (k === 0 ? 0 : core.values[alternatives[k - 1]!]!));
  const next = new Uint32Array(ways);
  const { slack, price } = core;
  const perUnit = Math.min(price, future.gain[stage]!);
  const give = future.give[stage]!;
  const offset = future.floor[stage]! - price * slack;
  let count = 0;
  let made = 0;
  let bestAt = -1;
  let last = Number.POSITIVE_INFINITY;
  for (;;) {
    let way = -1;
    let cost = Number.POSITIVE_INFINITY;
    let value = Number.POSITIVE_INFINITY;
    for (let k = 0; k < ways; k++) {
      if (next[k]! >= from.count) continue;
      const c = from.costs[next[k]!]! + addCost[k]!;
      if (c > cost) continue;
      const v = from.values[next[k]!]! + addValue[k]!;
      if (c === cost && v >= value) continue;
      way = k;
      cost = c;
      value = v;
    }
    if (way < 0) break;
    const parent = next[way]!++;
    made++;
    if (value >= last) continue;
    const room = slack - cost;
    if (room >= 0 && value < best) {
      best = value;
      bestAt = count;
    }
    const loss = room >= 0 ? room * perUnit : -room * give;
    const promising = offset + value + price * cost + loss <= best - 1 + margin;
    if (!promising && bestAt !== count) continue;
    last = value;
    costs[count] = cost;
    values[count] = value;
    parents[count] = parent;
    steps[count] = way;
    count++;
  }
  const states = { costs: costs.subarray(0, count), values: values.subarray(0, count), count };
  return { states, stage: { parents: parents.slice(0, count), steps: steps.slice(0, count), alternatives }, best, bestAt, made };
}

/** The least value a solution that continues any of the states can have, in whole units. */
function lowestBound(core: Core, { costs, values, count }: States, future: Future, stage: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    const room = core.slack - costs[i]!;
    const loss = room >= 0 ? room * Math.min(core.price, future.gain[stage]!) : -room * future.give[stage]!;
    least = Math.min(least, future.floor[stage]! + values[i]! - core.price * room + loss);
  }
  return Math.ceil(least - margin);
}

/** Follows a state back to the start. */
function trace(core: Core, stages: readonly Stage[], found: { stage: number; index: number } | undefined): Int32Array | undefined {
  if (found === undefined) return undefined;
  const choice = new Int32Array(core.starts.length - 1).fill(-1);
  let index = found.index;
  for (let i = found.stage - 1; i >= 0; i--) {
    const { group, parents, steps, alternatives } = stages[i]!;
    if (steps[index]! > 0) choice[group] = alternatives[steps[index]! - 1]!;
    index = parents[index]!;
  }
  return choice;
}
