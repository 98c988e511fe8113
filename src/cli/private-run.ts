// Answers a set of pictures privately, batch after batch.
import type { Dataset } from '../data/dataset.node.js';
import { suites } from '../party/session.js';
import { type Estimate, estimate } from '../protocol/estimate.js';
import type { Suite } from '../protocol/suite.js';
import type { OpenModel } from './model.js';
import type { StoredModel } from './model-folder.js';
import type { Pictures } from './pictures.js';
import { type AnsweredBatch, type RunReport, reportRun } from './run-report.js';
import type { LocalRunOptions, Outcome, PrivateSession } from './run-types.js';
import { openLocal } from './sessions.js';
import type { Task } from './task.js';

/** How a stream of pictures is cut into inferences. */
export interface Pace {
  /** Pictures that share their messages. */
  readonly batch: number;
  /** Inferences under way at a time: 1 to time each on its own, 2 to prepare one while the one before is online. */
  readonly ahead: number;
}

/** Calls `work` with every batch of pictures and its answer, and reports progress. */
export async function eachAnswer(
  session: PrivateSession,
  dataset: Dataset,
  { batch, ahead }: Pace,
  task: Task,
  work: (start: number, count: number, images: Float32Array, outcome: Outcome) => Promise<void> | void,
): Promise<void> {
  const progress = task.output.progress('private inference', dataset.count);
  const running: Promise<void>[] = [];
  let done = 0;
  const answer = async (start: number, count: number): Promise<void> => {
    const images = await dataset.read(start, count);
    const outcome = await session.infer(images, count);
    await work(start, count, images, outcome);
    done += count;
    progress.update(done);
  };
  try {
    for (let start = 0; start < dataset.count; start += batch) {
      if (running.length >= ahead) await running.shift();
      task.signal.throwIfAborted();
      const next = answer(start, Math.min(batch, dataset.count - start));
      // Awaited in turn; a failure of a later one must not count as unhandled until then.
      next.catch(() => {});
      running.push(next);
    }
    await Promise.all(running);
  } finally {
    progress.end();
  }
}

/** Predicted cost by batch size, worked out once a size. */
export function estimator(session: Pick<PrivateSession, 'program'>, suite: string): (batch: number) => Estimate {
  const known = new Map<number, Estimate>();
  return (batch) => {
    const found = known.get(batch) ?? estimate(session.program, suites[suite] as Suite, batch);
    known.set(batch, found);
    return found;
  };
}

/** How the parties run, and what is to be done before they end. */
export interface LocalPace extends LocalRunOptions {
  readonly batch: number;
  onEnd?(session: PrivateSession): Promise<void>;
}

/** Private inference on this machine, every picture compared with plaintext. */
export async function runPrivately(
  task: Task,
  model: OpenModel,
  { dataset, classes = model.compiled.description.classes }: Pictures,
  options: LocalPace,
): Promise<RunReport> {
  const session = await openLocal(model, { ...options, batch: Math.min(options.batch, dataset.count) }, task);
  return answerAll(task, session, dataset, classes, options, model.plaintext);
}

/** Moves the messages of `count` pictures and nothing else: no picture, no weights, no computing. Its report has no results. */
export async function runDry(task: Task, model: StoredModel, count: number, options: LocalPace): Promise<RunReport> {
  const session = await openLocal(model, { ...options, dry: true }, task);
  const size = session.program.tensors[session.program.input]!.shape.reduce((a, b) => a * b, 1);
  const answered: AnsweredBatch[] = [];
  for (let done = 0; done < count; done += options.batch) {
    task.signal.throwIfAborted();
    const batch = Math.min(options.batch, count - done);
    const outcome = await session.infer(new Float32Array(batch * size), batch);
    answered.push({ names: new Array<string>(batch).fill(''), outcome });
  }
  const report = await reportRun(session, answered, undefined, estimator(session, options.suite));
  await options.onEnd?.(session);
  await session.close();
  return { ...report, results: [] };
}

/** Answers every picture in a session that is open, and reports. */
export async function answerAll(
  task: Task,
  session: PrivateSession,
  dataset: Dataset,
  classes: readonly string[] | undefined,
  options: { readonly batch: number; readonly suite: string; onEnd?(session: PrivateSession): Promise<void> },
  plaintext?: OpenModel['plaintext'],
): Promise<RunReport> {
  const answered: AnsweredBatch[] = [];
  await eachAnswer(session, dataset, { batch: options.batch, ahead: 1 }, task, async (start, count, images, outcome) => {
    answered.push({
      names: dataset.names.slice(start, start + count),
      outcome,
      ...(plaintext === undefined ? {} : { plaintext: await plaintext(images, count) }),
      ...(dataset.labels === undefined ? {} : { expected: dataset.labels.slice(start, start + count) }),
    });
  });
  const report = await reportRun(session, answered, classes, estimator(session, options.suite));
  await options.onEnd?.(session);
  await session.close();
  return report;
}
