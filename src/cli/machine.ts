// How fast this machine does a party's work: a made-up network run three times in three processes, its steps' times fitted to what they handle,
// and the result kept. What the seconds of `estimate` and of `solve` come from (protocol/timing.ts).
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Program } from '../model/program.js';
import { suites } from '../party/session.js';
import { busyIntervals, type Timeline } from '../party/timeline.js';
import { costEnvironment } from '../protocol/estimate.js';
import type { RunPhase } from '../protocol/operation.js';
import {
  endFeatures,
  type MachineRates,
  predictSeconds,
  type StepFeatures,
  type StepRates,
  stepFeatures,
  type WorkKey,
} from '../protocol/timing.js';
import { cacheFolder } from './cache.js';
import { writeWhole } from './files.js';
import { hashFolder } from './model.js';
import type { Timelines } from './run-types.js';
import { sampleModel } from './sample-model.js';
import { openLocal } from './sessions.js';
import type { Task } from './task.js';

interface MachineOptions {
  readonly suite: string;
  readonly threads: number;
  readonly ringBits: number;
}

/** A measurement as it is kept: with how busy the machine was before it. */
interface Kept {
  readonly rates: MachineRates;
  /** Processes that wanted to run, averaged over a minute. */
  readonly load: number;
}

/** Load above which others take so much of the machine that times tell little of it: all processors busy, and one more process. */
const busyLoad = cpus().length + 1;

/**
 * This machine's rates: those that were measured before with the same program, or measured now, which takes some seconds; what was measured while
 * others kept the machine busy is measured again when they do not. A suite that cannot run every kind of step cannot be measured: its seconds
 * are those of the network alone.
 */
export async function openMachine(options: MachineOptions, task: Task): Promise<MachineRates> {
  const { program } = (await sampleModel(options.ringBits)).compiled;
  if (suites[options.suite]!.refuses(program) !== undefined) return { message: { seconds: 0, secondsPerByte: 0 }, work: {} };
  const folders = ['protocol', 'party', 'kernel', 'wire', 'cli'].map((name) => fileURLToPath(new URL(`../${name}`, import.meta.url)));
  const code = await Promise.all(folders.map(hashFolder));
  const key = createHash('sha256')
    .update(JSON.stringify([code, options, cpus().map((cpu) => cpu.model), process.version]))
    .digest('hex');
  const file = join(cacheFolder('machines'), `${key.slice(0, 32)}.json`);
  const known = await readFile(file, 'utf8').then(
    (text) => JSON.parse(text) as Kept,
    () => undefined,
  );
  const load = loadavg()[0]!;
  if (known !== undefined && (known.load <= busyLoad || load > busyLoad)) return known.rates;
  task.output.note(`Measuring this machine for the ${options.suite} suite, once.`);
  if (load > busyLoad)
    task.output.note(`It is busy (load ${load.toFixed(1)}): predicted seconds are too long, and measured again when it is not.`);
  const rates = await measureMachine(options, task);
  // A cache that cannot be written is no failure: the machine is measured again next time.
  await mkdir(dirname(file), { recursive: true }).then(
    () => writeWhole(file, JSON.stringify({ rates, load } satisfies Kept)),
    () => {},
  );
  return rates;
}

const batches = [1, 3];
const repetitions = 4;

/** Measures now. */
export async function measureMachine({ suite, threads, ringBits }: MachineOptions, task: Task): Promise<MachineRates> {
  const model = await sampleModel(ringBits);
  const { program } = model.compiled;
  const session = await openLocal(model, { suite, threads, parties: 'processes', timelines: true }, task);
  const size = program.tensors[program.input]!.shape.reduce((a, b) => a * b, 1);
  const batchOf: number[] = [];
  for (let run = 0; run < repetitions; run++) {
    for (const batch of batches) {
      await session.infer(new Float32Array(batch * size), batch);
      batchOf.push(batch);
    }
  }
  const timelines = await session.timelines();
  await session.close();
  if (timelines === undefined) throw new Error('a session that was to record its timelines has none');
  const rates = { message: messageRates(timelines), work: workRates(program, suite, timelines, batchOf) };
  return inTune(rates, program, suite, timelines, batchOf);
}

const tuningSteps = 8;

/**
 * Rates with which the sample itself takes as long as it did. Steps' times leave out what happens between steps, and what three parties on one
 * machine take from each other.
 */
function inTune(rates: MachineRates, program: Program, suite: string, timelines: Timelines, batchOf: readonly number[]): MachineRates {
  let tuned = rates;
  for (const phase of ['offline', 'online'] as const) {
    const measured = batches.map((batch) => fastest(phaseSeconds(timelines.client, phase, (n) => isWarm(n) && batchOf[n - 1] === batch)));
    const total = measured.reduce((a, b) => a + b, 0);
    for (let step = 0; step < tuningSteps; step++) {
      const predicted = batches.reduce((sum, batch) => sum + predictSeconds(program, suites[suite]!, batch, undefined, tuned)[phase], 0);
      tuned = { ...tuned, work: scaled(tuned.work, phase, Math.max(0.1, total / predicted)) };
    }
  }
  return tuned;
}

function scaled(work: MachineRates['work'], phase: RunPhase, factor: number): MachineRates['work'] {
  const entries = Object.entries(work).map(([key, rates]) => [key, key.endsWith(phase) ? rates.map((rate) => rate * factor) : rates]);
  return Object.fromEntries(entries);
}

function phaseSeconds({ spans }: Timeline, phase: RunPhase, chosen: (inference: number) => boolean): number[] {
  return spans.filter((s) => s.kind === 'phase' && s.phase === phase && chosen(s.inference)).map((s) => (s.end - s.start) / 1000);
}

/** The first inference of each batch size also makes index lists and fills caches. */
const isWarm = (inference: number): boolean => inference > batches.length;

/** Messages this small show what a message takes, and messages this large what their bytes take. */
const smallBytes = 2000;
const largeBytes = 50_000;

function messageRates(timelines: Timelines): MachineRates['message'] {
  const latencies: { readonly bytes: number; readonly seconds: number }[] = [];
  for (const to of ['client', 'server', 'provider'] as const) {
    for (const message of timelines[to].messages) {
      if (message.kind !== 'received' || !isWarm(message.inference)) continue;
      const { peer, name, bytes, at } = message;
      const sent = timelines[peer].messages.find((m) => m.kind === 'sent' && m.peer === to && m.name === name && samePlace(m, message));
      const wait = timelines[to].spans.find((s) => s.kind === 'wait' && samePlace(s, message) && Math.abs(s.end - at) < 0.05);
      // Only where somebody was waiting already is the time from one to the other the message's own.
      if (sent !== undefined && wait !== undefined && wait.start <= sent.at) latencies.push({ bytes, seconds: (at - sent.at) / 1000 });
    }
  }
  const seconds = medianOf(latencies.filter((l) => l.bytes < smallBytes).map((l) => l.seconds));
  const perByte = latencies.filter((l) => l.bytes > largeBytes).map((l) => (l.seconds - seconds) / l.bytes);
  return { seconds: Math.max(0, seconds), secondsPerByte: Math.max(0, medianOf(perByte)) };
}

interface Place {
  readonly phase: RunPhase;
  readonly inference: number;
  readonly step: number;
}

const samePlace = (a: Place, b: Place): boolean => a.phase === b.phase && a.inference === b.inference && a.step === b.step;

/** What else the machine does only adds to a time. */
const fastest = (times: readonly number[]): number => Math.min(...times);

/** 0 of nothing. */
const medianOf = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

function workRates(program: Program, suiteName: string, timelines: Timelines, batchOf: readonly number[]): MachineRates['work'] {
  const suite = suites[suiteName]!;
  const groups = new Map<WorkKey, Sample<StepFeatures>[]>();
  for (const batch of batches) {
    const environment = costEnvironment(program, batch);
    const ends = endFeatures(suite, environment);
    const inferences = batchOf.map((b, i) => [b, i + 1] as const).filter(([b, number]) => b === batch && isWarm(number));
    for (const role of ['client', 'server', 'provider'] as const) {
      for (const phase of ['offline', 'online'] as const) {
        const parts = [
          ...program.steps.map((step) => ({ kind: step.kind, features: stepFeatures(step, suite, environment, phase) })),
          { kind: 'input' as const, features: ends.input },
          { kind: 'output' as const, features: ends.output },
        ];
        for (const [index, { kind, features }] of parts.entries()) {
          const times = inferences.map(([, number]) => workSeconds(timelines[role], phase, number, index));
          const key: WorkKey = `${kind} ${role} ${phase}`;
          const list = groups.get(key) ?? [];
          list.push({ features, seconds: fastest(times) });
          groups.set(key, list);
        }
      }
    }
  }
  return Object.fromEntries([...groups].map(([key, samples]) => [key, fitRates(samples, 4) as unknown as StepRates]));
}

/** Time that a party was at work in one step of one inference. */
function workSeconds({ spans }: Timeline, phase: RunPhase, inference: number, step: number): number {
  const own = spans.filter((s) => s.kind !== 'phase' && s.phase === phase && s.inference === inference && s.step === step);
  return busyIntervals({ spans: own, messages: [] }).reduce((sum, [start, end]) => sum + end - start, 0) / 1000;
}

interface Sample<F extends readonly number[]> {
  readonly features: F;
  readonly seconds: number;
}

/**
 * Rates of at least 0 whose sums come closest to the samples, long and short ones weighed by the square root of their length: least squares by
 * going from coordinate to coordinate.
 */
export function fitRates(samples: readonly Sample<readonly number[]>[], count: number): number[] {
  const rates = new Array<number>(count).fill(0);
  const weights = samples.map(({ seconds }) => 1 / (seconds + 1e-4));
  const scale = rates.map((_, i) => Math.max(...samples.map(({ features }) => features[i]!), 1e-30));
  for (let sweep = 0; sweep < 2000; sweep++) {
    for (let i = 0; i < count; i++) {
      let above = 0;
      let below = 0;
      for (const [s, { features, seconds }] of samples.entries()) {
        const others = rates.reduce((sum, rate, j) => (j === i ? sum : sum + (rate * features[j]!) / scale[j]!), 0);
        const own = features[i]! / scale[i]!;
        above += weights[s]! * own * (seconds - others);
        below += weights[s]! * own * own;
      }
      rates[i] = below === 0 ? 0 : Math.max(0, above / below);
    }
  }
  return rates.map((rate, i) => rate / scale[i]!);
}
