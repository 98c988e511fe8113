// Plans of comparisons: which digits a window is cut into, how the digits' results are combined, and in how many round trips. Not here: any
// secret; which plan is best on a network (planner.ts).
import type { ComparisonChoice, MaxPoolStep, ReluStep } from '../../model/program.js';

/**
 * Combines d digits' shared bits (eq_i, lt_i; most significant first) into lt = XOR_j lt_j AND_{i<j} eq_i and, where a further level
 * needs it, eq = AND_i eq_i. Mask planes are numbered: alpha_i (for eq_i) first, then beta_j (for lt_j).
 * A term is the product of opened planes `opened` and of the shared product of the mask planes in the bit set `product` (0: none).
 */
export interface Combiner {
  readonly digits: number;
  readonly alphas: number;
  readonly masks: number;
  /** Bit sets of mask planes whose products the provider deals: those of two or more planes. */
  readonly products: readonly number[];
  readonly less: readonly Term[];
  readonly equal: readonly Term[];
}

export interface Term {
  readonly opened: readonly number[];
  readonly product: number;
}

/** How a window of `bits` bits is compared: digit sizes per group, most significant first; a second level combines the groups. */
export interface ComparisonPlan {
  readonly bits: number;
  readonly groups: readonly (readonly number[])[];
  /** The digit sizes of all groups. */
  readonly digits: readonly number[];
  readonly first: readonly Combiner[];
  readonly second: Combiner | undefined;
  /** Whether the client can answer the opening with its share of the result: one round trip instead of two. */
  readonly direct: boolean;
  /** Planes of mask bits whose products with the opened value's mask are dealt: 1, or 4 for two digits in one round trip. */
  readonly zetas: 1 | 4;
}

const bitCount = (set: number): number => {
  let count = 0;
  for (let rest = set; rest; rest &= rest - 1) count++;
  return count;
};

/** Expands a product of factors (opened plane XOR mask plane, by plane number) into its 2^n terms. */
function expand(factors: readonly number[]): Term[] {
  return Array.from({ length: 1 << factors.length }, (_, chosen) => ({
    opened: factors.filter((_, i) => !((chosen >> i) & 1)),
    product: factors.reduce((set, plane, i) => ((chosen >> i) & 1 ? set | (1 << plane) : set), 0),
  }));
}

export function combiner(digits: number, needsEqual: boolean): Combiner {
  const alphas = needsEqual ? digits : digits - 1;
  const prefix = (length: number) => Array.from({ length }, (_, i) => i);
  const less = prefix(digits).flatMap((j) => expand([...prefix(j), alphas + j]));
  const equal = needsEqual ? expand(prefix(digits)) : [];
  const products = [...new Set([...less, ...equal].map((t) => t.product))].filter((set) => bitCount(set) > 1).sort((a, b) => a - b);
  return { digits, alphas, masks: alphas + digits, products, less, equal };
}

const combiners = new Map<string, Combiner>();
function cachedCombiner(digits: number, needsEqual: boolean): Combiner {
  const key = `${digits}/${needsEqual}`;
  const found = combiners.get(key) ?? combiner(digits, needsEqual);
  combiners.set(key, found);
  return found;
}

const split = (total: number, parts: number): number[] => Array.from({ length: parts }, (_, i) => Math.floor((total + i) / parts));

function cut(digitSizes: readonly number[], groupSizes: readonly number[]): (readonly number[])[] {
  const starts = groupSizes.map((_, g) => groupSizes.slice(0, g).reduce((a, b) => a + b, 0));
  return groupSizes.map((size, g) => digitSizes.slice(starts[g], starts[g]! + size));
}

/** A comparison of a window of `bits` bits in two round trips. */
function arrange(bits: number, groups: readonly (readonly number[])[]): ComparisonPlan {
  const many = groups.length > 1;
  return {
    bits,
    groups,
    digits: groups.flat(),
    direct: false,
    zetas: 1,
    first: groups.map((digits, g) => cachedCombiner(digits.length, many && g < groups.length - 1)),
    second: many ? cachedCombiner(groups.length, false) : undefined,
  };
}

/** A comparison in one round trip, of one or two digits, or of the top bit alone. */
function arrangeDirect(bits: number, digits: readonly number[]): ComparisonPlan {
  const first = digits.length === 0 ? [] : [{ ...cachedCombiner(digits.length, false), products: [] }];
  return { bits, groups: [digits], digits, direct: true, zetas: digits.length > 1 ? 4 : 1, first, second: undefined };
}

/** Bits a comparison costs on the wire, both phases and directions, without the opened value: what the planner minimises. */
export function comparisonBits(plan: ComparisonPlan): number {
  const all = plan.second ? [...plan.first, plan.second] : plan.first;
  const tables = plan.digits.reduce((sum, g) => sum + (1 << g), 0);
  const products = all.reduce((sum, c) => sum + c.products.length, 0);
  const opened = all.reduce((sum, c) => sum + c.masks, 0);
  return tables + products + 2 * (opened + 1);
}

const plans = new Map<number, ComparisonPlan>();

/**
 * The cheapest way to compare a window of `bits` bits (1 to 64) in two round trips: the sign bit is free, the bits - 1 below it are cut into
 * digits of up to five bits, in one group or in up to four of at most four digits. Every arrangement takes the same two round trips: in the
 * second message the client can already answer both levels. 12 bits: 4+4+4, 65 bits of traffic; 31 bits: two levels, about 200.
 */
export function planComparison(bits: number): ComparisonPlan {
  const found = plans.get(bits);
  if (found) return found;
  const best = twoRoundTrips(bits, 5).reduce((best, plan) => (comparisonBits(plan) < comparisonBits(best) ? plan : best));
  plans.set(bits, best);
  return best;
}

/** Every arrangement in two round trips with digits of one size or two neighbouring ones, up to `longest` bits. */
function twoRoundTrips(bits: number, longest: number): ComparisonPlan[] {
  const low = bits - 1;
  if (low === 0) return [arrange(bits, [])];
  const all: ComparisonPlan[] = [];
  for (let digits = Math.ceil(low / longest); digits <= Math.min(low, 16); digits++) {
    for (let groups = Math.ceil(digits / 4); groups <= Math.min(4, digits); groups++)
      all.push(arrange(bits, cut(split(low, digits), split(digits, groups))));
  }
  return all;
}

/** The longest digit: tables of it have 2^10 bits a comparison. */
const longestDigit = 10;

/** All plans worth a look for a window: every arrangement in two round trips, and the two in one (none for windows above 21 bits). */
export function allPlans(bits: number): ComparisonPlan[] {
  const low = bits - 1;
  const direct = [1, 2]
    .filter((digits) => digits <= low && low <= digits * longestDigit)
    .map((digits) => arrangeDirect(bits, split(low, digits)));
  return [...twoRoundTrips(bits, longestDigit), ...direct];
}

const chosen = new Map<string, ComparisonPlan>();

/** How a step compares: as its program says, else in the way of fewest bytes. */
export function planOf({ window, comparison }: Pick<ReluStep | MaxPoolStep, 'window' | 'comparison'>): ComparisonPlan {
  const bits = window.high - window.low;
  if (comparison === undefined) return planComparison(bits);
  const key = JSON.stringify([bits, comparison]);
  const { groups, roundTrips } = comparison;
  const plan = chosen.get(key) ?? (roundTrips === 1 ? arrangeDirect(bits, groups[0] ?? []) : arrange(bits, groups));
  chosen.set(key, plan);
  return plan;
}

/** What a program says to have a plan. */
export const choiceOf = ({ groups, direct }: ComparisonPlan): ComparisonChoice => ({ groups, roundTrips: direct ? 1 : 2 });
