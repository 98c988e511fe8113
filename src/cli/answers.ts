// From a network's outputs to labels and shares of right ones. Not here: where outputs come from.

/** Index of the greatest value; the first of equals. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** Whether `label` is among the `k` greatest values. */
export function isInTop(values: ArrayLike<number>, label: number, k: number): boolean {
  const value = values[label];
  if (value === undefined) return false;
  let greater = 0;
  for (let i = 0; i < values.length; i++) if ((values[i] as number) > value) greater++;
  return greater < k;
}

/** Largest difference of two equally long lists, in their own unit. */
export function maxAbsDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs((a[i] as number) - (b[i] as number)));
  return most;
}

/** Row `index` of a batch of equally long outputs. */
export function rowOf(outputs: Float32Array, index: number, batch: number): Float32Array {
  const length = outputs.length / batch;
  return outputs.subarray(index * length, (index + 1) * length);
}

/** Class of the greatest score at a pixel of a map with `area` pixels; the first of equals. */
function classAt(scores: ArrayLike<number>, pixel: number, area: number, classes: number): number {
  let best = 0;
  for (let c = 1; c < classes; c++) if ((scores[c * area + pixel] as number) > (scores[best * area + pixel] as number)) best = c;
  return best;
}

/** The class of the greatest score at each of so many positions (1 of a vector of scores). */
export function classes(scores: ArrayLike<number>, positions: number): Int32Array {
  return Int32Array.from({ length: positions }, (_, p) => classAt(scores, p, positions, scores.length / positions));
}

/** Share of positions (1 of a vector of scores, `positions` of a map) where two networks' scores name the same class. */
export function sharedLabels(a: ArrayLike<number>, b: ArrayLike<number>, positions: number): number {
  const classes = a.length / positions;
  let same = 0;
  for (let p = 0; p < positions; p++) same += classAt(a, p, positions, classes) === classAt(b, p, positions, classes) ? 1 : 0;
  return same / positions;
}

/** Counts pixels by true and by predicted class, for the mean intersection over union. */
export interface Confusion {
  add(scores: ArrayLike<number>, truth: Uint8Array, ignore?: number): void;
  /** Mean over the classes that occur; 1 is perfect. */
  meanIou(): number;
}

/** @param classes number of classes scored; planes of the network beyond them are not looked at. */
export function createConfusion(classes: number): Confusion {
  const counts = new Float64Array(classes * classes);
  return {
    add: (scores, truth, ignore) => {
      const area = truth.length;
      for (let pixel = 0; pixel < area; pixel++) {
        const label = truth[pixel] as number;
        if (label === ignore || label >= classes) continue;
        const best = classAt(scores, pixel, area, Math.min(classes, scores.length / area));
        counts[label * classes + best] = (counts[label * classes + best] as number) + 1;
      }
    },
    meanIou: () => {
      const shares: number[] = [];
      for (let c = 0; c < classes; c++) {
        let union = -(counts[c * classes + c] as number);
        for (let other = 0; other < classes; other++)
          union += (counts[c * classes + other] as number) + (counts[other * classes + c] as number);
        if (union > 0) shares.push((counts[c * classes + c] as number) / union);
      }
      return shares.reduce((sum, share) => sum + share, 0) / Math.max(1, shares.length);
    },
  };
}
