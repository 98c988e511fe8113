// The networks that come with the package, and what was measured of them.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { DataError } from '../errors.js';
import { formatBytes, formatCount, formatSeconds, formatShare, formatTable } from './format.js';

const folder = fileURLToPath(new URL('../../../models', import.meta.url));

/** Shares of the comparisons that the CIFAR-10 network comes with. */
export const builtInBudgets = ['full', '25%', '12%', '6%'] as const;

export interface BuiltIn {
  readonly name: string;
  /** Of the network that there are several of. */
  readonly budget?: string;
  readonly onnx: string;
  readonly spec?: string;
  /** Preprocessing and classes. */
  readonly preprocess: string;
}

/** Pictures to try and to calibrate with, of CIFAR-10's kind. */
export const builtInPictures = join(folder, 'pictures');

/** All of them, whether their files are there or not. */
export const builtIns: readonly BuiltIn[] = [
  ...builtInBudgets.map((budget): BuiltIn => {
    const full = 'cifar10-resnet20';
    const name = budget === 'full' ? full : `${full}-${Number.parseInt(budget, 10)}`;
    const spec = budget === 'full' ? {} : { spec: join(folder, `${name}.spec.json`) };
    return { name, budget, onnx: join(folder, `${name}.onnx`), ...spec, preprocess: join(folder, `${full}.json`) };
  }),
  { name: 'mnist-digits', onnx: join(folder, 'mnist-digits.onnx'), preprocess: join(folder, 'mnist-digits.json') },
];

export const isThere = ({ onnx, spec }: BuiltIn): boolean => existsSync(onnx) && (spec === undefined || existsSync(spec));

/** The CIFAR-10 network with a share of its comparisons. Throws DataError ("no-such-file") where this copy comes without it. */
export function builtInFor(budget: string): BuiltIn {
  const found = builtIns.find((model) => model.budget === budget);
  if (found === undefined) throw new RangeError(`there is no built-in network with ${budget}`);
  if (isThere(found)) return found;
  throw new DataError(`the built-in network with ${budget} of its comparisons is not here`, {
    code: 'no-such-file',
    where: found.onnx,
    hint: 'Leave --budget out, or make it in a clone of the repository: npm run models.',
  });
}

const phase = v.object({ bytes: v.number(), seconds: v.number() });
const measuredSchema = v.object({
  name: v.string(),
  budget: v.optional(v.string()),
  /** Comparisons of one picture. */
  comparisons: v.number(),
  ringBits: v.number(),
  images: v.number(),
  /** Pictures that share their messages. */
  batch: v.number(),
  /** Shares: right in float (under the spec), right privately, and the same label in both. */
  float: v.number(),
  secure: v.number(),
  agreement: v.number(),
  /** Of one picture. */
  offline: phase,
  online: phase,
  /** Machine and day, and its load average when the last picture was answered. */
  machine: v.string(),
  load: v.number(),
});

/** What `tessera bench built-in` measured of a network, between three processes. */
export type Measured = v.InferOutput<typeof measuredSchema>;

/** What was measured of those that come with the package (models/built-in.json); nothing where that file is not there. */
export async function readMeasured(): Promise<readonly Measured[]> {
  const file = join(folder, 'built-in.json');
  if (!existsSync(file)) return [];
  return v.parse(v.object({ rows: v.array(measuredSchema) }), JSON.parse(await readFile(file, 'utf8'))).rows;
}

/** What each budget costs and keeps, the one that was taken marked. Empty where nothing was measured. */
export function formatBudgets(measured: readonly Measured[], taken: string): string {
  const rows = measured.filter(({ budget }) => budget !== undefined);
  const [first] = rows;
  if (first === undefined) return '';
  const lines = rows.map(({ budget, comparisons, secure, agreement, offline, online }) => [
    `${budget === taken ? '>' : ' '} ${budget}`,
    formatCount(comparisons),
    formatShare(secure),
    formatShare(agreement),
    formatBytes(offline.bytes + online.bytes),
    formatSeconds(offline.seconds + online.seconds),
  ]);
  const head = ['  --budget', 'comparisons', 'right', 'label as in float', 'a picture', 'in all'];
  const on = `measured on ${formatCount(first.images)} test pictures in batches of ${first.batch}, ${first.machine}`;
  return `what a budget buys\n${formatTable([head, ...lines])}\n${on}`;
}
