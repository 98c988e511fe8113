// Timelines of the parties as a file for chrome://tracing or https://ui.perfetto.dev. Not here: how they are recorded (party/timeline.ts).
import type { Program } from '../model/program.js';
import type { Timeline, TimelineMessage, TimelineSpan } from '../party/timeline.js';
import type { Role } from '../protocol/operation.js';
import type { Timelines } from './run-types.js';

/**
 * One event of the "Trace Event Format": X a slice with a duration, M a name, s and f the two ends of an arrow. Times in microseconds.
 */
export interface TraceEvent {
  readonly ph: 'X' | 'M' | 's' | 'f';
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: string;
  readonly bp?: 'e';
  readonly args?: Readonly<Record<string, string | number>>;
}

export interface Trace {
  readonly displayTimeUnit: 'ms';
  readonly traceEvents: readonly TraceEvent[];
}

const roles: readonly Role[] = ['client', 'server', 'provider'];

/**
 * Every party is a process of the trace, with the steps that run at a time in lanes below each other: a slice for a step, within it one for
 * each wait; the rest of a step is computing. Short slices are messages that left or arrived, joined by arrows. Times start at the first event.
 */
export function chromeTrace(timelines: Timelines, program: Program): Trace {
  const all = roles.map((role) => timelines[role]);
  const starts = all.flatMap(({ spans, messages }) => [...spans.map((s) => s.start), ...messages.map((m) => m.at)]);
  const origin = starts.reduce((least, at) => Math.min(least, at), Number.POSITIVE_INFINITY);
  const microseconds = (at: number): number => (at - origin) * 1000;
  return {
    displayTimeUnit: 'ms',
    traceEvents: roles.flatMap((role, pid) => partyEvents(role, pid + 1, timelines[role], program, microseconds)),
  };
}

type Micro = (at: number) => number;

function partyEvents(role: Role, pid: number, timeline: Timeline, program: Program, microseconds: Micro): TraceEvent[] {
  const nameOf = (step: number): string => program.steps[step]?.name ?? (step === program.steps.length ? 'input' : 'output');
  const slice = (tid: number, name: string, cat: string, start: number, end: number, args: TraceEvent['args'] = {}): TraceEvent => {
    return { ph: 'X', name, cat, pid, tid, ts: microseconds(start), dur: (end - start) * 1000, args };
  };
  const events: TraceEvent[] = [{ ph: 'M', name: 'process_name', pid, tid: 0, args: { name: role } }];
  const lanes = createLanes();
  const laneOf = new Map<string, number>();
  const steps = timeline.spans.filter((s) => s.kind === 'step').sort((a, b) => a.start - b.start);
  for (const span of steps) {
    const tid = lanes.take(span);
    laneOf.set(keyOf(span), tid);
    events.push(
      slice(tid, nameOf(span.step), `${span.phase} step`, span.start, span.end, { inference: span.inference, phase: span.phase }),
    );
  }
  for (const span of timeline.spans) {
    if (span.kind === 'phase') events.push(slice(0, span.phase, 'phase', span.start, span.end, { inference: span.inference }));
    // A wait at the ends belongs to no slice and gets a lane of its own.
    if (span.kind === 'wait')
      events.push(slice(laneOf.get(keyOf(span)) ?? lanes.take(span), 'wait', `${span.phase} wait`, span.start, span.end));
  }
  for (const message of timeline.messages) events.push(...messageEvents(role, pid, message, microseconds));
  return events;
}

const messageLane = 1_000_000;

function messageEvents(role: Role, pid: number, message: TimelineMessage, microseconds: Micro): TraceEvent[] {
  const { kind, peer, inference, phase, step, name, bytes, at } = message;
  const link = kind === 'sent' ? `${role}>${peer}` : `${peer}>${role}`;
  const tid = messageLane;
  const ts = microseconds(at);
  const id = `${inference}/${phase}/${step}/${name}/${link}`;
  const text = kind === 'sent' ? `send to ${peer}` : `from ${peer}`;
  const slice: TraceEvent = { ph: 'X', name: text, cat: 'message', pid, tid, ts, dur: 1, args: { bytes, step, name } };
  const arrow = { name: link, cat: 'message', pid, tid, ts, id };
  return [slice, kind === 'sent' ? { ...arrow, ph: 's' } : { ...arrow, ph: 'f', bp: 'e' }];
}

const keyOf = ({ inference, phase, step }: TimelineSpan): string => `${inference} ${phase} ${step}`;

/** Lanes, numbered from 1, so that no two slices of a lane overlap; to be asked in the order of starts. */
function createLanes(): { take(span: TimelineSpan): number } {
  const free: number[] = [];
  return {
    take({ start, end }) {
      const found = free.findIndex((until) => until <= start);
      const lane = found < 0 ? free.length : found;
      free[lane] = end;
      return lane + 1;
    },
  };
}
