// Budgets as people write them: "6%", "12000", "20MB", "300ms". Not here: what they buy.
import { UsageError } from '../errors.js';

export type CostKind = 'drelus' | 'bytes' | 'seconds';

/** A share of the full cost, or an amount in the unit of a cost. */
export type Budget = { readonly share: number } | { readonly amount: number; readonly unit?: CostKind };

const byteUnits: Readonly<Record<string, number>> = { b: 1, kb: 1e3, mb: 1e6, gb: 1e9 };
const timeUnits: Readonly<Record<string, number>> = { us: 1e-6, ms: 1e-3, s: 1 };

/** Reads a budget. Throws UsageError for anything else, and for more than 100 %. */
export function parseBudget(text: string): Budget {
  const match = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*(%|[a-z]*)\s*$/i.exec(text);
  const value = Number(match?.[1] ?? Number.NaN);
  const unit = (match?.[2] ?? '').toLowerCase();
  if (match && unit === '') return { amount: value };
  if (match && unit === '%') return { share: value / 100 };
  if (match && Object.hasOwn(byteUnits, unit)) return { amount: value * byteUnits[unit]!, unit: 'bytes' };
  if (match && Object.hasOwn(timeUnits, unit)) return { amount: value * timeUnits[unit]!, unit: 'seconds' };
  throw new UsageError(`"${text}" is not a budget`, {
    code: 'bad-budget',
    where: '--budget',
    hint: 'Give a share like 6%, a number of DReLUs, bytes like 20MB, or a time like 300ms.',
  });
}

/** What a budget is of: what --cost says, else what the budget's own unit says, else DReLUs. Throws UsageError where they differ. */
export function costKindOf(budget: Budget, stated: CostKind | undefined): CostKind {
  const own = 'unit' in budget ? budget.unit : undefined;
  if (own !== undefined && stated !== undefined && own !== stated) {
    throw new UsageError(`the budget is in ${own}, the cost in ${stated}`, {
      code: 'bad-budget',
      where: '--budget',
      hint: `Leave --cost out, or say --cost ${own}.`,
    });
  }
  return stated ?? own ?? 'drelus';
}

/** The budget in the unit of the cost. Throws UsageError when it is above the full cost: that buys nothing. */
export function amountOf(budget: Budget, full: number, kind: CostKind): number {
  const amount = 'share' in budget ? budget.share * full : budget.amount;
  if (amount <= full) return amount;
  throw new UsageError(`a budget of ${amount} ${kind} is above the full cost of ${full}`, {
    code: 'budget-too-large',
    where: '--budget',
    hint: 'The network as it is costs less: run it without a spec, or give a smaller budget.',
  });
}
