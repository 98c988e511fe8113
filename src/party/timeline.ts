// What a party did when: its steps, what it waited for, what it sent. Names of steps, sizes and times, nothing of what was computed. Not here:
// files (src/cli/trace.ts).
import type { Role, RunPhase } from '../protocol/operation.js';

/** A stretch of a party's time, in milliseconds since 1970, to fractions: the clocks of processes on one machine agree to some ten microseconds. */
export interface TimelineSpan {
  /** A step's work, waiting included; a wait for a message of a step, or for a slow link; a whole phase, as the client sees it. */
  readonly kind: 'step' | 'wait' | 'phase';
  readonly phase: RunPhase;
  readonly inference: number;
  /** Index of the step, or the number of steps for the input and one more for the output. */
  readonly step: number;
  readonly start: number;
  readonly end: number;
}

/** A message that left or arrived. */
export interface TimelineMessage {
  readonly kind: 'sent' | 'received';
  readonly phase: RunPhase;
  readonly inference: number;
  readonly step: number;
  readonly name: number;
  readonly peer: Role;
  readonly bytes: number;
  readonly at: number;
}

export interface Timeline {
  readonly spans: readonly TimelineSpan[];
  readonly messages: readonly TimelineMessage[];
}

/** A timeline that is being written. */
export interface Recorder extends Timeline {
  span(span: TimelineSpan): void;
  message(message: TimelineMessage): void;
}

/** Milliseconds since 1970 by the clock of timelines. */
export const timelineNow = (): number => performance.timeOrigin + performance.now();

/** @param inferences Only the first so many are recorded: about 20 kB each for ResNet-20. */
export function createRecorder(inferences = 100): Recorder {
  const spans: TimelineSpan[] = [];
  const messages: TimelineMessage[] = [];
  return {
    spans,
    messages,
    span(span) {
      if (span.inference <= inferences) spans.push(span);
    },
    message(message) {
      if (message.inference <= inferences) messages.push(message);
    },
  };
}

type Interval = readonly [start: number, end: number];

/** Sorted intervals without overlaps that cover the same. */
function union(intervals: readonly Interval[]): Interval[] {
  const joined: [number, number][] = [];
  for (const [start, end] of [...intervals].sort((a, b) => a[0] - b[0])) {
    const last = joined.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
    else joined.push([start, end]);
  }
  return joined;
}

/** What of an interval is not covered by sorted intervals without overlaps. */
function without([start, end]: Interval, holes: readonly Interval[]): Interval[] {
  const rest: Interval[] = [];
  let at = start;
  for (const [from, to] of holes) {
    if (to <= at || from >= end) continue;
    if (from > at) rest.push([at, from]);
    at = Math.max(at, to);
  }
  if (at < end) rest.push([at, end]);
  return rest;
}

const length = (intervals: readonly Interval[]): number => intervals.reduce((sum, [start, end]) => sum + end - start, 0);
const interval = ({ start, end }: TimelineSpan): Interval => [start, end];

/** When a party was at work: in a step, and not waiting in it. Sorted, without overlaps, in milliseconds since 1970. */
export function busyIntervals({ spans }: Timeline, phase?: RunPhase): readonly Interval[] {
  const own = phase === undefined ? spans : spans.filter((span) => span.phase === phase);
  const key = ({ inference, phase, step }: TimelineSpan): string => `${inference} ${phase} ${step}`;
  const waits = new Map<string, Interval[]>();
  for (const span of own) {
    if (span.kind !== 'wait') continue;
    const list = waits.get(key(span)) ?? [];
    list.push(interval(span));
    waits.set(key(span), list);
  }
  const steps = own.filter((span) => span.kind === 'step');
  return union(steps.flatMap((span) => without(interval(span), union(waits.get(key(span)) ?? []))));
}

/** Share of the time of inferences in which a party was not at work; `client` is whose timeline has the phases. 0 for no time at all. */
export function idleShare(own: Timeline, client: Timeline, phase?: RunPhase): number {
  const phases = union(client.spans.filter((s) => s.kind === 'phase' && (phase === undefined || s.phase === phase)).map(interval));
  const total = length(phases);
  const busy = busyIntervals(own, phase);
  const idle = phases.reduce((sum, each) => sum + length(without(each, busy)), 0);
  return total === 0 ? 0 : idle / total;
}
