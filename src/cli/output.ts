// Everything the command line writes: one JSON object or readable lines on standard output; progress, notes and errors on standard error.
import { Presets, SingleBar } from 'cli-progress';
import { TesseraError } from '../errors.js';
import { formatSeconds } from './format.js';

export interface OutputOptions {
  /** One JSON object on standard output, nothing else there. */
  readonly json: boolean;
  /** No progress and no notes. */
  readonly quiet: boolean;
}

export interface Output extends OutputOptions {
  /** The command's result: printed as JSON with --json, else as the lines of `text`. */
  result(value: object, text: () => string): void;
  /** A remark for a person, on standard error. */
  note(text: string): void;
  /** Follows a long piece of work: a bar with an estimate on a terminal, a line every few seconds elsewhere. */
  progress(title: string, total: number): Progress;
}

export interface Progress {
  /** @param detail what else there is to say at this point. */
  update(done: number, detail?: string): void;
  end(): void;
}

/** Seconds between two plain lines of progress. */
const plainIntervalSeconds = 5;

export function createOutput(options: OutputOptions): Output {
  return {
    ...options,
    result: (value, text) => {
      process.stdout.write(`${options.json ? JSON.stringify(value) : text().trimEnd()}\n`);
    },
    note: (text) => {
      if (!options.quiet) process.stderr.write(`${text}\n`);
    },
    progress: (title, total) => {
      if (options.quiet) return { update: () => {}, end: () => {} };
      return process.stderr.isTTY ? bar(title, total) : plainLines(title, total);
    },
  };
}

function bar(title: string, total: number): Progress {
  const display = new SingleBar(
    {
      format: `${title} {bar} {value}/{total} · {eta_formatted} left{detail}`,
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
    },
    Presets.shades_classic,
  );
  display.start(total, 0, { detail: '' });
  const after = (detail: string | undefined): string => (detail === undefined ? '' : ` · ${detail}`);
  return { update: (done, detail) => display.update(done, { detail: after(detail) }), end: () => display.stop() };
}

function plainLines(title: string, total: number): Progress {
  let last = performance.now();
  // Work that goes on from an earlier run begins in the middle, and comes in steps: only what was done since the first one says how fast it goes.
  let begun: { readonly done: number; readonly at: number } | undefined;
  return {
    update: (done, detail) => {
      const now = performance.now();
      begun ??= { done, at: now };
      if (now - last < plainIntervalSeconds * 1000 || done === begun.done) return;
      last = now;
      const left = ((now - begun.at) / 1000 / (done - begun.done)) * (total - done);
      process.stderr.write(
        `${title}: ${done} of ${total}, about ${formatSeconds(left)} left${detail === undefined ? '' : ` · ${detail}`}\n`,
      );
    },
    end: () => {},
  };
}

/** The exit status an error stands for: what its class says, 1 for anything unforeseen. */
export function exitStatusOf(error: unknown): number {
  return error instanceof TesseraError ? error.exitStatus : 1;
}

/** Writes an error as one line that says what, where and what to do, or with --json as one object on standard output. */
export function writeError(error: unknown, json: boolean): void {
  const known = error instanceof TesseraError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  if (json) {
    const hint = known === undefined ? 'This is a fault of Tessera: please report it with the command you gave.' : known.hint;
    process.stdout.write(`${JSON.stringify({ error: { code: known?.code ?? 'internal', message, hint, where: known?.where } })}\n`);
    return;
  }
  if (known === undefined) {
    process.stderr.write(`tessera: internal error: ${error instanceof Error ? (error.stack ?? message) : message}\n`);
    return;
  }
  const where = known.where === undefined || message.includes(known.where) ? '' : ` (${known.where})`;
  process.stderr.write(`tessera: ${message}${where}${known.hint === undefined ? '' : `. ${known.hint}`}\n`);
}
