// Which budget to take, as a sentence. A rule for people in a hurry; the table has what it was made from.
import { formatBytes, formatSeconds, formatShare } from '../format.js';
import { type BudgetRow, mainScore, type OptimizeReport, type Recommendation } from './data.js';

/** A choice that loses no more than this is as good as the network. */
const tolerated = 0.01;

type Found = Pick<OptimizeReport, 'metric' | 'images' | 'original' | 'rows'>;

/** What a score says, in a sentence. */
export const metricWords = { top1: 'right answers', miou: 'mean IoU', agreement: 'answers as without patches' } as const;

/** Standard error of a share that was counted on so many pictures: what differs by less than twice that may be chance. */
export const standardError = (share: number, images: number): number => Math.sqrt((share * (1 - share)) / images);

const bytesOf = ({ costs: { offline, online } }: Pick<BudgetRow, 'costs'>): number => offline.bytes + online.bytes;

/** The budget with the fewest bytes an inference of those that lose at most a point; none where all lose more. */
export function recommend({ metric, images, original, rows }: Found): Recommendation {
  const full = mainScore(original.score);
  const lost = (row: BudgetRow): number => full - mainScore(row.fixed ?? row.score);
  const good = rows.filter((row) => lost(row) <= tolerated).sort((a, b) => bytesOf(a) - bytesOf(b));
  const error = metric === 'miou' ? '' : ` On ${images} pictures a share is known to ± ${formatShare(standardError(full, images))}.`;
  const [best] = good;
  if (best === undefined) {
    const least = [...rows].sort((a, b) => lost(a) - lost(b))[0]!;
    const sentence = `No budget keeps the network within a point of its ${formatShare(full)} ${metricWords[metric]}: ${least.name} comes nearest, with ${formatShare(mainScore(least.fixed ?? least.score))}. Fine-tune it (--finetune) or give a larger budget.`;
    return { sentence: sentence + error };
  }
  const change = lost(best) > 0 ? `loses ${(100 * lost(best)).toFixed(1)} points of` : 'loses none of';
  const sentence = `Take ${best.name}: it keeps ${formatShare(best.share)} of the comparisons, ${change} ${formatShare(full)} ${metricWords[metric]}, and an inference takes ${formatBytes(bytesOf(best))} instead of ${formatBytes(bytesOf(original))} and ${secondsOf(best)} instead of ${secondsOf(original)} on a wide-area network.`;
  return { budget: best.name, sentence: sentence + error };
}

const secondsOf = ({ costs }: Pick<BudgetRow, 'costs'>): string => formatSeconds(costs.seconds.wan ?? Number.NaN);
