// What the benchmark programs share: three parties on this machine, medians, and the rows they print.
import { availableParallelism, cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { formatTable } from '../src/cli/format.js';
import type { StoredModel } from '../src/cli/model-folder.js';
import { createOutput } from '../src/cli/output.js';
import type { PrivateSession } from '../src/cli/run-types.js';
import { openLocal } from '../src/cli/sessions.js';
import type { Task } from '../src/cli/task.js';
import type { NetworkProfile } from '../src/wire/profiles.js';

/** One row of `tessera bench`. Times are medians over `runs` runs; a phase's seconds are those of its slowest party. */
export interface BenchRow {
  readonly case: string;
  readonly suite: string;
  readonly elements?: number;
  readonly ringBits: number;
  readonly network: string;
  readonly runs: number;
  readonly offline: PhaseRow;
  readonly online: PhaseRow;
  readonly note?: string;
  /** Another system's figures for the same, measured in the same run, and its seconds over ours. */
  readonly peer?: { readonly name: string; readonly version: string; readonly seconds: number; readonly bytes: number };
  readonly ratio?: number;
}

export interface PhaseRow {
  readonly seconds: number;
  readonly bytes: number;
  readonly rounds: number;
}

export interface BenchOptions {
  readonly threads: number;
  readonly json: boolean;
  /** What bounds a benchmark that takes long; each by its own defaults. */
  readonly runs?: number;
  readonly elements?: readonly number[];
  readonly rings?: readonly number[];
  readonly suites?: readonly string[];
  readonly networks?: readonly string[];
  /** Part of the names of cases. */
  readonly match?: string;
  /** Of pictures, for networks of any size. */
  readonly size?: 'small' | 'full';
  /** Folder to write plots to. */
  readonly plots?: string;
  /** Folder of results that are kept from run to run, minutes after which none is begun, and what each takes: for those that take hours. */
  readonly kept?: string;
  readonly minutes?: number;
  readonly pictures?: number;
  readonly epochs?: number;
  readonly budgets?: readonly number[];
  /** Peers to measure, NAME=DIR. */
  readonly against?: readonly string[];
}

export function benchOptions(): BenchOptions {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      threads: text,
      runs: text,
      elements: text,
      ring: text,
      suite: text,
      network: text,
      case: text,
      size: text,
      plots: text,
      kept: text,
      minutes: text,
      pictures: text,
      epochs: text,
      budgets: text,
      json: { type: 'boolean', default: false },
      against: { type: 'string', multiple: true },
    },
  });
  const list = (value: string | undefined) => value?.split(',');
  const numbers = (value: string | undefined) => list(value)?.map(Number);
  const number = (value: string | undefined) => (value === undefined ? undefined : Number(value));
  const given = {
    runs: number(values.runs),
    kept: values.kept,
    minutes: number(values.minutes),
    pictures: number(values.pictures),
    epochs: number(values.epochs),
    budgets: list(values.budgets)?.map((share) => Number.parseFloat(share) / 100),
    elements: numbers(values.elements),
    rings: numbers(values.ring),
    suites: list(values.suite),
    // A rate and a round trip have a comma between them: several networks are set apart by blanks.
    networks: values.network?.trim().split(/\s+/),
    match: values.case,
    size: values.size,
    plots: values.plots,
    against: values.against,
  };
  const kept = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return { threads: Number(values.threads ?? availableParallelism()), json: values.json, ...kept };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** How the parties of a benchmark run. */
export interface PartiesOptions {
  readonly threads: number;
  /** Default "masked". */
  readonly suite?: string;
  readonly network?: NetworkProfile | undefined;
}

/** Opens a session between three processes on this machine, runs `work`, and ends everything. */
export async function withParties<T>(
  model: StoredModel,
  options: PartiesOptions,
  work: (session: PrivateSession) => Promise<T>,
): Promise<T> {
  const { task, end } = commandTask();
  try {
    const { threads, suite = 'masked', network } = options;
    return await work(
      await openLocal(model, { suite, parties: 'processes', threads, ...(network === undefined ? {} : { network }) }, task),
    );
  } finally {
    await end();
  }
}

/** A quiet command's task, and what ends all that was started under it. */
export function commandTask(): { readonly task: Task; end(): Promise<void> } {
  const ends: (() => Promise<void> | void)[] = [];
  const task: Task = {
    output: createOutput({ json: false, quiet: true }),
    signal: new AbortController().signal,
    atEnd: (end) => void ends.push(end),
  };
  return {
    task,
    end: async () => {
      for (const end of ends.reverse()) await end();
    },
  };
}

/** Prints JSON with --json, else a line about the machine and a table. */
export function printRows<T extends object>(
  rows: readonly T[],
  { json }: BenchOptions,
  columns: Readonly<Record<string, (row: T) => string>>,
): void {
  if (json) {
    process.stdout.write(JSON.stringify(rows));
    return;
  }
  const names = Object.keys(columns);
  const body = rows.map((row) => names.map((name) => columns[name]!(row)));
  process.stdout.write(`${machine()}\n${formatTable([names, ...body])}\n`);
}

/** The machine, the day, and how busy the machine was, as every table states them. */
export function machine({ load = true } = {}): string {
  const [first] = cpus();
  const processors = `${cpus().length} × ${first?.model.trim() ?? 'unknown processor'}`;
  const about = `${processors}, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}`;
  return load ? `${about}, load average ${loadavg()[0]!.toFixed(1)}` : about;
}
