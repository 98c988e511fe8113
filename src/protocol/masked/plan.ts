// The planner of comparisons: which digits a window is cut into, and how the digits' results are combined. Not here: any secret.

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

function arrange(bits: number, digitSizes: readonly number[], groupSizes: readonly number[]): ComparisonPlan {
  const starts = groupSizes.map((_, g) => groupSizes.slice(0, g).reduce((a, b) => a + b, 0));
  const groups = groupSizes.map((size, g) => digitSizes.slice(starts[g], starts[g]! + size));
  const many = groups.length > 1;
  return {
    bits,
    groups,
    digits: digitSizes,
    first: groups.map((digits, g) => cachedCombiner(digits.length, many && g < groups.length - 1)),
    second: many ? cachedCombiner(groups.length, false) : undefined,
  };
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
 * The cheapest way to compare a window of `bits` bits (1 to 64): the sign bit is free, the bits - 1 below it are cut into digits of up to
 * five bits, in one group or in up to four of at most four digits. Every arrangement takes the same two round trips: in the second message the client
 * can already answer both levels. 12 bits: 4+4+4, 65 bits of traffic; 31 bits: two levels, about 200.
 */
export function planComparison(bits: number): ComparisonPlan {
  let best = plans.get(bits);
  if (best) return best;
  const low = bits - 1;
  if (low === 0) return { bits, groups: [], digits: [], first: [], second: undefined };
  for (let digits = Math.ceil(low / 5); digits <= Math.min(low, 16); digits++) {
    for (let groups = Math.ceil(digits / 4); groups <= Math.min(4, digits); groups++) {
      const plan = arrange(bits, split(low, digits), split(digits, groups));
      if (!best || comparisonBits(plan) < comparisonBits(best)) best = plan;
    }
  }
  plans.set(bits, best!);
  return best!;
}
