// How the learning rate goes over a training run, step by step.

export interface Schedule {
  /** Half a cosine down to 0 (Loshchilov and Hutter 2016, without restarts), steps by `factor` at `milestones`, or the same all along. */
  readonly kind: 'cosine' | 'step' | 'constant';
  /** Epochs over which the rate rises in a straight line from 0. */
  readonly warmUp: number;
  /** Shares of the run, in [0, 1], after which the rate is multiplied by `factor`; for 'step'. */
  readonly milestones: readonly number[];
  readonly factor: number;
}

export const defaultSchedule: Schedule = { kind: 'cosine', warmUp: 0, milestones: [0.5, 0.75], factor: 0.1 };

/**
 * The learning rate of a step.
 * @param step counts from 0 over all epochs; @param total steps of the whole run; @param warmUpSteps steps of the rise.
 */
export function learningRateAt(schedule: Schedule, base: number, step: number, total: number, warmUpSteps: number): number {
  if (step < warmUpSteps) return (base * (step + 1)) / (warmUpSteps + 1);
  if (schedule.kind === 'constant') return base;
  if (schedule.kind === 'step') return base * schedule.factor ** schedule.milestones.filter((share) => step >= share * total).length;
  const done = (step - warmUpSteps) / Math.max(1, total - warmUpSteps);
  return (base / 2) * (1 + Math.cos(Math.PI * done));
}

/** Soft start: the share of plain ReLU that is left at a step, from 1 in a straight line to 0 after `steps`. */
export function softStartAlpha(step: number, steps: number): number {
  return steps <= 0 ? 0 : Math.max(0, 1 - step / steps);
}
