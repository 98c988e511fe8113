// The ideal functionality of an activation: signs from a window of bits, shared by a block, and truncation. Numbers are whole and exact below
// 2^53, whatever the words' width.
//
// Opening y under a mask mu compares  floor(y / 2^q) + carry  in h − q bits, where the carry out of the low q bits is 1 with the probability
// (y mod 2^q) / 2^q, over mu's low bits; truncation gives  floor(y / 2^f) + carry  out of the low f bits of the same mu. So for q <= f a sign
// is wrong only where what is truncated is 0 anyway, and for q > f a y in [−2^q, 0) passes with probability 1 − |y| / 2^q. A value outside
// [−2^(h − 1), 2^(h − 1)) wraps round. For a block the terms are truncated first (q >= f) or last, as relu.ts of the masked suite does.
import { eachPatch } from './layout.js';
import { type Patch, type Program, type ReluStep, sharesSigns } from './program.js';

/** Words as numbers, indexed. */
export interface Whole {
  readonly length: number;
  [index: number]: number;
}

export interface ReluCounters {
  window: number;
  close: number;
}

/**
 * Whether signs depend on rounding by more than a truncated unit: where windows ignore bits, and where a patch shares a sign. Then a
 * simulation needs `random`: rounding down always, at 12 % of its comparisons and 48 bits,
 * ResNet-20 has the float label for 99.0 % of 200 pictures so, and for 99.5 % rounding as the protocol does.
 */
export function roundingDecides({ steps }: Pick<Program, 'steps'>): boolean {
  return steps.some((step) => step.kind === 'relu' && (step.window.low > step.truncateBits || sharesSigns(step.patches)));
}

/** floor(value / 2^bits), or by `random` one more with the probability of the fraction dropped. */
export function truncate(value: number, bits: number, random: (() => number) | undefined): number {
  const unit = 2 ** bits;
  const floor = Math.floor(value / unit);
  if (random === undefined || bits === 0) return floor;
  return random() * unit < value - floor * unit ? floor + 1 : floor;
}

/** floor(value / 2^bits) + the carry of adding `mask` (whole) in the low bits. */
function shifted(value: number, bits: number, mask: number): number {
  const unit = 2 ** bits;
  return Math.floor((value + (mask % unit)) / unit);
}

/** Whether `value` mod 2^bits is at least 0 in two's complement. */
function isPositive(value: number, bits: number): boolean {
  const half = 2 ** (bits - 1);
  if (value >= -half && value < half) return value >= 0;
  const wrapped = value - Math.floor(value / (2 * half)) * 2 * half;
  return wrapped < half;
}

/** Sums over `elements` values from this size on can be misjudged. */
function windowLimit(elements: number, { window, truncateBits }: ReluStep): number {
  return 2 ** (window.high - 1) - 2 ** window.low - slackOf(elements, truncateBits);
}

/** What the truncation of a block's terms may add up to. */
const slackOf = (elements: number, truncateBits: number): number => (elements === 1 ? 0 : elements * 2 ** truncateBits);

/** Whether the protocol may take the sign of a sum either way. */
function isClose(sum: number, elements: number, { window, truncateBits }: ReluStep): boolean {
  const slack = slackOf(elements, truncateBits);
  const below = window.low > truncateBits ? 2 ** window.low : 0;
  return sum < slack && sum > -slack - below && (sum < 0 || elements > 1);
}

interface Settings {
  readonly step: ReluStep;
  readonly random: (() => number) | undefined;
  readonly counters: ReluCounters;
}

function count({ step, counters }: Settings, sum: number, elements: number): void {
  const limit = windowLimit(elements, step);
  const capped = step.cap === undefined ? sum : sum - elements * step.cap;
  if (Math.abs(sum) >= limit || Math.abs(capped) >= limit) counters.window++;
  if (isClose(sum, elements, step) || isClose(capped, elements, step)) counters.close++;
}

/** An activation of the values from `first` up to `end`, each with a sign of its own. */
export function plainRelu(settings: Settings, input: Whole, output: Whole, first = 0, end = input.length): void {
  const { step, random } = settings;
  const { truncateBits, window, cap } = step;
  const bits = window.high - window.low;
  const masks = 2 ** Math.max(truncateBits, window.low);
  for (let i = first; i < end; i++) {
    const y = input[i]!;
    count(settings, y, 1);
    const mask = random === undefined ? 0 : Math.floor(random() * masks);
    const truncated = shifted(y, truncateBits, mask);
    const positive = (value: number): boolean => isPositive(shifted(value, window.low, mask), bits);
    output[i] = positive(y) ? truncated : 0;
    if (cap !== undefined && positive(y - cap)) output[i]! -= truncated - cap / 2 ** truncateBits;
  }
}

/** An activation of `pictures` maps of `shape`, whose signs are shared by patches. */
export function blockRelu(
  settings: Settings,
  patches: readonly Patch[],
  shape: readonly number[],
  pictures: number,
  input: Whole,
  output: Whole,
): void {
  const { truncateBits } = settings.step;
  const [channels, height = 1, width = 1] = shape as [number, number?, number?];
  for (let n = 0; n < pictures; n++) {
    patches.forEach((patch, c) => {
      const base = (n * channels + c) * height * width;
      if (patch[0] === 0 || patch[1] === 0) {
        for (let i = base; i < base + height * width; i++)
          output[i] = patch[0] === 0 ? truncate(input[i]!, truncateBits, settings.random) : 0;
        return;
      }
      if (patch[0] * patch[1] === 1) {
        plainRelu(settings, input, output, base, base + height * width);
        return;
      }
      eachPatch(height, width, patch, (top, bottom, left, right) => {
        const at: number[] = [];
        for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) at.push(base + y * width + x);
        block(settings, at, input, output);
      });
    });
  }
}

/** The elements `at` of one block. */
function block(settings: Settings, at: readonly number[], input: Whole, output: Whole): void {
  const { step, random } = settings;
  const { truncateBits, window, cap } = step;
  const elements = at.length;
  const unit = 2 ** truncateBits;
  let sum = 0;
  let truncatedSum = 0;
  let maskSum = 0;
  for (const i of at) {
    const mask = random === undefined ? 0 : Math.floor(random() * unit);
    sum += input[i]!;
    output[i] = shifted(input[i]!, truncateBits, mask);
    truncatedSum += output[i]!;
    maskSum += mask;
  }
  count(settings, sum, elements);
  // Without rounding at random, signs are those of the exact sums.
  const terms = random !== undefined && window.low >= truncateBits;
  const low = terms ? window.low - truncateBits : window.low;
  const mask = terms ? Math.floor(random() * 2 ** low) : maskSum;
  const positive = (value: number): boolean => isPositive(shifted(value, low, mask), window.high - window.low);
  const compared = terms ? truncatedSum : sum;
  const capOf = terms ? (cap ?? 0) / unit : (cap ?? 0);
  const passes = positive(compared);
  const full = cap !== undefined && positive(compared - elements * capOf);
  for (const i of at) output[i] = (passes ? output[i]! : 0) - (full ? output[i]! - (cap ?? 0) / unit : 0);
}
