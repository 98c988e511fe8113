// What a private run came to: answers beside plaintext ones, traffic and time added up, and whether the estimate was right.
import { applySoftmax } from '../model/forward.js';
import type { Program } from '../model/program.js';
import { idleShare, type Timeline } from '../party/timeline.js';
import type { Estimate } from '../protocol/estimate.js';
import type { Link, Role, RunPhase } from '../protocol/operation.js';
import { argmax, maxAbsDifference, rowOf } from './answers.js';
import { formatBytes, formatSeconds, formatShare, formatTable } from './format.js';
import type { LinkTraffic, Outcome, PeakBytes, PrivateSession, SessionTraffic, Timelines } from './run-types.js';

/** One picture's answer, as `run` prints it. */
export interface Answer {
  readonly image: string;
  readonly label: number;
  readonly class: string;
  readonly probabilities?: readonly number[];
  readonly logits: readonly number[];
  readonly plaintextLabel?: number;
  readonly expected?: number;
}

/** Traffic and time of one phase over all inferences. */
export interface PhaseReport {
  readonly seconds: number;
  readonly bytes: number;
  /** Of the longest inference. */
  readonly rounds: number;
  readonly links: LinkTraffic;
  readonly idle?: Idle;
}

/** Share of the time in which a party neither computed nor sent, of the time of inferences. */
export type Idle = Readonly<Record<Role, number>>;

/** The JSON of `run`, `demo` and `infer`. */
export interface RunReport {
  readonly results: readonly Answer[];
  /** Share of pictures whose private label is the plaintext one. */
  readonly agreement?: number;
  /** Share of pictures with a known class that got it. */
  readonly accuracy?: number;
  /** Largest difference of any output from plaintext. */
  readonly maxAbsError?: number;
  readonly inferences: number;
  readonly offline: PhaseReport;
  readonly online: PhaseReport;
  readonly setup: { readonly seconds: number; readonly bytes: number };
  readonly framing: number;
  /** The most memory that was ever resident. */
  readonly peakBytes: PeakBytes;
  /** Of both phases; where timelines were recorded. */
  readonly idle?: Idle;
  /** Whether every byte of every link this process saw, and the rounds, were as estimated. */
  readonly estimateMatches: boolean;
}

/** A batch that has been answered. */
export interface AnsweredBatch {
  readonly names: readonly string[];
  readonly outcome: Outcome;
  /** Plaintext outputs after the output activation, where there is a plaintext to compare with. */
  readonly plaintext?: Float32Array;
  readonly expected?: readonly (number | undefined)[];
}

/** A batch's outputs after what the client applies to them at the end. */
export function activated(program: Program, logits: Float32Array, batch: number): Float32Array {
  const kind = program.outputActivation;
  if (kind === 'none') return logits;
  const out = new Float32Array(logits.length);
  const length = logits.length / batch;
  for (let i = 0; i < batch; i++) out.set(applySoftmax(kind, rowOf(logits, i, batch)), i * length);
  return out;
}

/** Name of a class, or its number where it has none. */
export function className(classes: readonly string[] | undefined, label: number): string {
  return classes?.[label] ?? String(label);
}

/**
 * Adds everything up.
 * @param estimateOf predicted cost of an inference with a batch of the given size.
 */
export async function reportRun(
  session: PrivateSession,
  batches: readonly AnsweredBatch[],
  classes: readonly string[] | undefined,
  estimateOf: (batch: number) => Estimate,
): Promise<RunReport> {
  const results = batches.flatMap((batch) => answersOf(session.program, batch, classes));
  const compared = results.filter((answer) => answer.plaintextLabel !== undefined);
  const labelled = results.filter((answer) => answer.expected !== undefined);
  const traffic = await session.traffic();
  const timelines = await session.timelines();
  const idle = (phase?: RunPhase) => (timelines === undefined ? {} : { idle: idleOf(timelines, phase) });
  const phase = (name: RunPhase): PhaseReport => ({
    seconds: batches.reduce((sum, { outcome }) => sum + outcome.seconds[name], 0),
    bytes: totalOf(traffic[name]),
    rounds: Math.max(0, ...batches.map(({ outcome }) => outcome.rounds[name])),
    links: traffic[name],
    ...idle(name),
  });
  return {
    results,
    ...(compared.length === 0
      ? {}
      : {
          agreement: share(compared, (answer) => answer.label === answer.plaintextLabel),
          maxAbsError: Math.max(...batches.map((batch) => differenceOf(session.program, batch))),
        }),
    ...(labelled.length === 0 ? {} : { accuracy: share(labelled, (answer) => answer.label === answer.expected) }),
    inferences: batches.length,
    offline: phase('offline'),
    online: phase('online'),
    setup: { seconds: session.setupSeconds, bytes: totalOf(traffic.setup) },
    framing: traffic.framing,
    peakBytes: await session.peakBytes(),
    ...idle(),
    estimateMatches: matchesEstimate(traffic, session.seesAllLinks, batches, estimateOf),
  };
}

function idleOf({ client, server, provider }: Timelines, phase: RunPhase | undefined): Idle {
  const of = (own: Timeline): number => idleShare(own, client, phase);
  return { client: of(client), server: of(server), provider: of(provider) };
}

function share<T>(items: readonly T[], holds: (item: T) => boolean): number {
  return items.filter(holds).length / items.length;
}

function answersOf(program: Program, batch: AnsweredBatch, classes: readonly string[] | undefined): Answer[] {
  const { names, outcome, plaintext } = batch;
  return names.map((image, index) => {
    const logits = rowOf(outcome.logits, index, names.length);
    const label = argmax(logits);
    const expected = batch.expected?.[index];
    return {
      image,
      label,
      class: className(classes, label),
      ...(program.outputActivation === 'softmax' ? { probabilities: [...applySoftmax('softmax', logits)] } : {}),
      logits: [...logits],
      ...(plaintext === undefined ? {} : { plaintextLabel: argmax(rowOf(plaintext, index, names.length)) }),
      ...(expected === undefined ? {} : { expected }),
    };
  });
}

function differenceOf(program: Program, { names, outcome, plaintext }: AnsweredBatch): number {
  return plaintext === undefined ? 0 : maxAbsDifference(activated(program, outcome.logits, names.length), plaintext);
}

function totalOf(links: LinkTraffic): number {
  return Object.values(links).reduce((sum, bytes) => sum + bytes, 0);
}

function matchesEstimate(
  traffic: SessionTraffic,
  seesAllLinks: boolean,
  batches: readonly AnsweredBatch[],
  estimateOf: (batch: number) => Estimate,
): boolean {
  return (['offline', 'online'] as const).every((phase) => {
    const predicted: Partial<Record<Link, number>> = {};
    for (const { names } of batches) {
      for (const [link, bytes] of Object.entries(estimateOf(names.length)[phase].links) as [Link, number][]) {
        predicted[link] = (predicted[link] ?? 0) + bytes;
      }
    }
    const links = Object.keys(seesAllLinks ? { ...predicted, ...traffic[phase] } : traffic[phase]) as Link[];
    const bytesMatch = links.every((link) => (traffic[phase][link] ?? 0) === (predicted[link] ?? 0));
    return bytesMatch && batches.every(({ names, outcome }) => outcome.rounds[phase] === estimateOf(names.length)[phase].rounds);
  });
}

/** Most pictures whose answers are listed one by one. */
const listedPictures = 20;

/** The report for a person: each picture with its private and plaintext answer, then who sent what to whom, and the time it took. */
export function formatRun(report: RunReport, classes: readonly string[] | undefined): string {
  const [first] = report.results;
  const head = [
    'picture',
    'private answer',
    ...(first?.plaintextLabel === undefined ? [] : ['plaintext answer']),
    ...(first?.expected === undefined ? [] : ['true class']),
  ];
  const rows = report.results
    .slice(0, listedPictures)
    .map((answer) => [
      answer.image,
      answer.class,
      ...(answer.plaintextLabel === undefined ? [] : [className(classes, answer.plaintextLabel)]),
      ...(answer.expected === undefined ? [] : [className(classes, answer.expected)]),
    ]);
  const more = report.results.length - rows.length;
  return [
    formatTable([head, ...rows]),
    ...(more > 0 ? [`… and ${more} more`] : []),
    ...formatScores(report),
    '',
    formatTraffic(report),
  ].join('\n');
}

function formatScores({ results, agreement, accuracy, maxAbsError }: RunReport): string[] {
  const several = results.length > 1;
  const scores = [
    ...(agreement !== undefined && several ? [`${formatShare(agreement)} as in plaintext`] : []),
    ...(accuracy !== undefined && several ? [`${formatShare(accuracy)} right`] : []),
    ...(maxAbsError === undefined ? [] : [`outputs within ${maxAbsError.toFixed(4)} of plaintext`]),
  ];
  return scores.length === 0 ? [] : [scores.join(', ')];
}

/** The report of a run that had no pictures. */
export function formatDry(report: RunReport): string {
  return `zeros in place of all messages, and nothing computed\n\n${formatTraffic(report)}`;
}

function formatTraffic({ offline, online, setup, inferences, estimateMatches, peakBytes }: RunReport): string {
  const links = [...new Set([...Object.keys(offline.links), ...Object.keys(online.links)])].sort() as Link[];
  const rows = [
    [inferences > 1 ? `who sent what, ${inferences} inferences` : 'who sent what', 'offline', 'online'],
    ...links.map((link) => [link.replace('>', ' → '), sent(offline.links[link]), sent(online.links[link])]),
    ['in all', formatBytes(offline.bytes), formatBytes(online.bytes)],
    ['messages in a row', String(offline.rounds), String(online.rounds)],
    ['time', formatSeconds(offline.seconds), formatSeconds(online.seconds)],
    ...(['client', 'server', 'provider'] as const).flatMap((role) =>
      offline.idle === undefined || online.idle === undefined
        ? []
        : [[`of it ${role} idle`, formatShare(offline.idle[role]), formatShare(online.idle[role])]],
    ),
  ];
  const once = `once per session: ${formatBytes(setup.bytes)} in ${formatSeconds(setup.seconds)}`;
  const matches = estimateMatches ? 'every byte as estimated' : 'NOT as estimated: please report this';
  return `${formatTable(rows)}\n${once}; ${matches}\nmost memory: ${formatPeaks(peakBytes)}`;
}

/** The most memory of each party, or of all together, in words. */
export function formatPeaks({ together, ...parties }: PeakBytes): string {
  if (together !== undefined) return `${formatBytes(together)}, all parties and this command in one process`;
  return Object.entries(parties)
    .map(([role, bytes]) => `${role} ${formatBytes(bytes)}`)
    .join(', ');
}

function sent(bytes: number | undefined): string {
  return bytes === undefined || bytes === 0 ? '–' : formatBytes(bytes);
}
