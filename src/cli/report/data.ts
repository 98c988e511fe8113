// What an optimisation found: the object that `optimize --json` prints, report.json holds and the page shows.
import type { Additivity } from '../../block/additivity.js';
import type { Epoch } from '../../train/checkpoint.js';
import type { CostKind } from '../budget.js';
import type { Solved } from '../choosing.js';
import type { SuiteEstimate } from '../estimating.js';
import type { Refined } from '../refine.js';
import type { Score } from '../scores.js';

/** What the network, or a choice of patches, is scored at after a step of the work. */
export interface Stage {
  readonly name: 'knapsack' | 'measured again' | 'refined' | 'corrected' | 'fine-tuned';
  readonly score: Score;
}

/** A simpler choice with about as many DReLUs. */
export interface Baseline {
  readonly name: string;
  readonly drelus: number;
  readonly score: Score;
}

export interface Cost extends SuiteEstimate {
  readonly suite: string;
}

/** One budget. */
export interface BudgetRow {
  /** As the call states it. */
  readonly name: string;
  readonly solved: Solved;
  /** DReLUs kept, of all. */
  readonly share: number;
  /** In the order they were made; the files of this budget hold the last. */
  readonly stages: readonly Stage[];
  /** Of the last stage. */
  readonly score: Score;
  /** In fixed point with the draws of the protocol, where comparison windows leave bits out: floats do not show what that does. */
  readonly fixed?: Score;
  readonly uniform: Baseline;
  readonly perLayer: Baseline;
  readonly costs: Cost;
  readonly spec: string;
  /** The network that the spec is for, where it is not the one given. */
  readonly model?: string;
}

export interface Training {
  readonly epochs: readonly Epoch[];
  readonly before: number;
  /** Of the corrected weights that training began with, where there were some. */
  readonly corrected?: number;
  readonly after: number;
  readonly bestEpoch: number;
  readonly seconds: number;
  readonly images: number;
}

/** Numbers of one layer under the chosen spec. */
export interface LayerChoice {
  readonly name: string;
  readonly drelus: number;
  readonly kept: number;
  /** Share of its channels by patch ("2×4"). */
  readonly patches: Readonly<Record<string, number>>;
  /** Mean distortion of its channels by patch, as measured without a spec. */
  readonly distortion: Readonly<Record<string, number>>;
  /** Bits below this are left out of its comparisons, in the units of the float network. */
  readonly low?: number;
}

/** `distort`'s, `solve`'s and `evaluate`'s keys are of the budget that was asked for. */
export interface OptimizeReport extends Omit<Solved, 'file' | 'layers' | 'refined'>, Score {
  readonly name: string;
  /** SHA-256 of the ONNX file. */
  readonly modelHash: string;
  readonly version: string;
  readonly channels: number;
  readonly candidates: number;
  readonly samples: number;
  /** The distortion file. */
  readonly file: string;
  readonly spec: string;
  readonly model?: string;
  readonly report: string;
  readonly costKind: CostKind;
  readonly metric: 'top1' | 'miou' | 'agreement';
  /** Pictures that scores are of. */
  readonly images: number;
  /** How many of the training pictures were set apart for them. */
  readonly heldOut?: number;
  /** Of the whole call; what an earlier one had done is not in it. */
  readonly seconds: number;
  readonly original: { readonly score: Score; readonly costs: Cost };
  readonly layers: readonly LayerChoice[];
  readonly rows: readonly BudgetRow[];
  readonly additivity: Additivity;
  readonly refined?: Refined;
  readonly training?: Training;
  readonly recommendation: Recommendation;
}

export interface Recommendation {
  /** Name of the budget; absent where none is worth taking. */
  readonly budget?: string;
  readonly sentence: string;
}

/** The number that a network is judged by. */
export function mainScore({ top1, miou, agreement }: Score): number {
  return miou ?? top1 ?? agreement;
}
