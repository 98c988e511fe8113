// `--ring auto`: the narrowest ring in which fixed point names what float names, by simulation on calibration pictures.
import { DataError } from '../errors.js';
import type { Graph } from '../model/graph.js';
import { macsOf } from '../model/inspect.js';
import type { Program } from '../model/program.js';
import { suites } from '../party/session.js';
import { formatShare, formatTable } from './format.js';
import type { StoredModel } from './model-folder.js';

/** How one ring did. */
export interface RingTrial {
  readonly ringBits: number;
  /** Share of pictures, or of their pixels, with float's label, of as many as it took to tell. */
  readonly agreement: number;
  readonly images: number;
  /** Why the network does not fit the ring at all. */
  readonly refused?: string | undefined;
}

/** How a ring was chosen: it is kept with the compiled model. */
export interface RingChoice {
  /** The share asked for. */
  readonly target: number;
  /** Pictures a ring has to prove itself on. */
  readonly images: number;
  readonly trials: readonly RingTrial[];
}

export interface RingSearch {
  readonly target: number;
  readonly suite: string;
  /** Pictures to judge by. */
  readonly images: number;
  compile(ringBits: number): Promise<StoredModel>;
  /** Labels of pictures from `start` on, one an image, or one a position of a map: float's, and those of fixed point. */
  labels(model: StoredModel, start: number, count: number): Promise<{ readonly float: Int32Array; readonly fixed: Int32Array }>;
  /** Called with every ring before it is tried. */
  trying?(ringBits: number): void;
}

/** Rings that are tried first, from narrow to wide; then the search goes on below the first that does. */
const coarse = [24, 32, 40, 48, 56, 64];
const narrowest = 16;
/** All of those, and three halvings of the eight between two. */
export const mostTrials = coarse.length + 3;
/** Pictures that are simulated at a time. */
const atATime = 16;

/**
 * The model in the narrowest ring that reaches the target, taking it that wider rings do better: a coarse search upwards, then by halves.
 * @throws DataError ("no-ring") when none does.
 */
export async function chooseRing(search: RingSearch): Promise<{ readonly model: StoredModel; readonly choice: RingChoice }> {
  const trials: RingTrial[] = [];
  const models = new Map<number, StoredModel>();
  const does = async (ringBits: number): Promise<boolean> => {
    search.trying?.(ringBits);
    const { trial, model } = await tryRing(search, ringBits);
    trials.push(trial);
    if (model === undefined || trial.agreement < search.target) return false;
    models.set(ringBits, model);
    return true;
  };
  let next = 0;
  while (next < coarse.length && !(await does(coarse[next]!))) next++;
  if (next === coarse.length) throw noRing(search, trials);
  let below = coarse[next - 1] ?? narrowest - 1;
  let enough = coarse[next]!;
  while (enough - below > 1) {
    const middle = (enough + below) >> 1;
    if (await does(middle)) enough = middle;
    else below = middle;
  }
  trials.sort((a, b) => a.ringBits - b.ringBits);
  return { model: models.get(enough)!, choice: { target: search.target, images: search.images, trials } };
}

async function tryRing(search: RingSearch, ringBits: number): Promise<{ readonly trial: RingTrial; readonly model?: StoredModel }> {
  const refusal = (refused: string) => ({ trial: { ringBits, agreement: 0, images: 0, refused } });
  let model: StoredModel;
  try {
    model = await search.compile(ringBits);
  } catch (error) {
    if (error instanceof DataError && (error.code === 'ring-too-narrow' || error.code === 'bad-scale' || error.code === 'bad-spec'))
      return refusal(error.message);
    throw error;
  }
  const reason = suites[search.suite]?.refuses(model.compiled.program);
  if (reason !== undefined) return refusal(`the ${search.suite} suite ${reason}`);
  const agreement = await agreementOf(search, model);
  return { trial: { ringBits, ...agreement }, model };
}

/** Ends early where the pictures that are left cannot make up for those that differ. */
async function agreementOf(search: RingSearch, model: StoredModel): Promise<{ agreement: number; images: number }> {
  let same = 0;
  let images = 0;
  const step = batchOf(model.compiled.program);
  while (images < search.images) {
    const count = Math.min(step, search.images - images);
    const { float, fixed } = await search.labels(model, images, count);
    const equal = fixed.reduce((sum, label, i) => sum + (label === float[i] ? 1 : 0), 0);
    same += (count * equal) / fixed.length;
    images += count;
    if (images - same > (1 - search.target) * search.images + 1e-9) break;
  }
  return { agreement: same / images, images };
}

/** Fewer pictures at a time where they are large: activations of all of them are in memory at once. */
const batchOf = ({ tensors, input }: Program): number =>
  Math.max(1, Math.min(atATime, Math.floor(1e6 / tensors[input]!.shape.reduce((a, b) => a * b, 1))));

/** Multiply-adds that a ring's trial may take: some minutes on two cores. */
const mostMacs = 4e11;

/** How many of `count` pictures to judge rings of this network by. */
export function picturesToJudge({ nodes }: Graph, count: number): number {
  const macs = nodes.reduce((sum, node) => sum + macsOf(node), 0);
  return Math.min(count, Math.max(16, Math.floor(mostMacs / Math.max(1, macs))));
}

function noRing({ target, images }: RingSearch, trials: readonly RingTrial[]): DataError {
  const best = trials.reduce((a, b) => (b.agreement > a.agreement ? b : a));
  const found =
    best.images === 0
      ? `${best.ringBits} bits: ${best.refused}`
      : `${best.ringBits} bits: ${formatShare(best.agreement)} of ${best.images}`;
  return new DataError(
    `no ring of up to 64 bits gives float's label for ${formatShare(target)} of ${images} calibration pictures; the best has ${found}`,
    {
      code: 'no-ring',
      where: '--ring',
      hint: 'Ask for less (--agreement), calibrate on pictures like those that will come, or fine-tune the network with its spec: compressed networks answer by fewer signs, and a wrong one counts for more.',
    },
  );
}

/** What was tried, and what was taken, for people. */
export function describeRing({ target, images, trials }: RingChoice, ringBits: number): string {
  const rows = trials.map((trial) => [
    `${trial.ringBits} bits`,
    trial.refused ?? `${formatShare(trial.agreement)} of ${trial.images}`,
    trial.ringBits === ringBits ? 'taken' : trial.images > 0 && trial.images < images ? 'given up' : '',
  ]);
  return `float's label for at least ${formatShare(target)} of ${images} calibration pictures, in fixed point:\n${formatTable(rows, '  ')}`;
}
