import { describe, expect, it } from 'vitest';
import { argmax, createConfusion, isInTop, maxAbsDifference, rowOf } from './answers.js';

describe('answers', () => {
  it('finds the greatest value, the first of equals', () => {
    expect([argmax([1, 3, 3]), argmax([-1]), argmax([])]).toEqual([1, 0, 0]);
  });

  it('tells whether a label is among the k best', () => {
    const values = [5, 4, 3, 2];
    expect([isInTop(values, 0, 1), isInTop(values, 2, 2), isInTop(values, 2, 3), isInTop(values, 9, 5)]).toEqual([
      true,
      false,
      true,
      false,
    ]);
  });

  it('takes rows of a batch and their largest difference', () => {
    const outputs = Float32Array.of(1, 2, 3, 4);
    expect([...rowOf(outputs, 1, 2)]).toEqual([3, 4]);
    expect(maxAbsDifference(rowOf(outputs, 0, 2), rowOf(outputs, 1, 2))).toBe(2);
  });

  it('scores segmentation by intersection over union, without the ignored class', () => {
    const confusion = createConfusion(2);
    // Four pixels, three planes (the third, void, is not scored): predicted 0 0 1 1, true 0 1 1 ignored.
    confusion.add([1, 1, 0, 0, 0, 0, 1, 1, 9, 9, 9, 9], Uint8Array.of(0, 1, 1, 2), 2);
    expect(confusion.meanIou()).toBeCloseTo((1 / 2 + 1 / 2) / 2);
  });
});
