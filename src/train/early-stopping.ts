// Which epoch was best on validation, and when waiting for a better one is over.

/** The best epoch so far; −1 and −∞ before the first. */
export interface Best {
  readonly epoch: number;
  /** Accuracy or mean IoU: more is better. */
  readonly score: number;
}

export const noneYet: Best = { epoch: -1, score: Number.NEGATIVE_INFINITY };

/** Of equals the later epoch: it has seen more. */
export function isBetter(score: number, best: Best): boolean {
  return score >= best.score;
}

/** Whether `patience` epochs have gone by since the best one; never without a patience. */
export function isOver(epoch: number, best: Best, patience: number | undefined): boolean {
  return patience !== undefined && epoch - best.epoch >= patience;
}
