import { describe, expect, it } from 'vitest';
import { busyIntervals, createRecorder, idleShare, type TimelineSpan } from './timeline.js';

const span = (kind: TimelineSpan['kind'], step: number, start: number, end: number, inference = 1): TimelineSpan => ({
  kind,
  phase: 'online',
  inference,
  step,
  start,
  end,
});

const timeline = (...spans: TimelineSpan[]) => ({ spans, messages: [] });

describe('a timeline', () => {
  it('counts a step as work where it does not wait, and overlapping steps once', () => {
    const own = timeline(span('step', 0, 0, 100), span('wait', 0, 20, 80), span('step', 1, 60, 75), span('wait', 1, 65, 70));
    expect(busyIntervals(own)).toEqual([
      [0, 20],
      [60, 65],
      [70, 75],
      [80, 100],
    ]);
  });

  it('a wait of one step does not hide the work of another, nor that of another inference', () => {
    expect(busyIntervals(timeline(span('step', 0, 0, 10), span('wait', 1, 0, 10)))).toEqual([[0, 10]]);
    expect(busyIntervals(timeline(span('step', 0, 0, 10), span('wait', 0, 0, 10, 2)))).toEqual([[0, 10]]);
  });

  it('is idle for the share of the phases in which nothing is worked at', () => {
    const client = timeline(span('phase', 9, 100, 200), span('phase', 9, 300, 400, 2));
    expect(idleShare(timeline(), client)).toBe(1);
    expect(idleShare(timeline(span('step', 0, 150, 350)), client)).toBe(0.5);
    // Work before and after counts for nothing.
    expect(idleShare(timeline(span('step', 0, 0, 100), span('step', 0, 200, 300, 2)), client)).toBe(1);
    expect(idleShare(timeline(), timeline())).toBe(0);
  });

  it('records the first inferences only', () => {
    const recorder = createRecorder(2);
    for (const inference of [1, 2, 3]) recorder.span(span('step', 0, 0, 1, inference));
    expect(recorder.spans).toHaveLength(2);
  });
});
