// A recipe: everything that `tessera train` needs beside the pictures. Its settings are those fine-tuning takes from flags.
import * as v from 'valibot';
import type { Augmentation } from '../data/augment.js';
import { DataError } from '../errors.js';
import type { Schedule } from './schedule.js';

const whole = (least: number, most = 1e6) => v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most));
const between = (low: number, high: number) => v.pipe(v.number(), v.minValue(low), v.maxValue(high));

const augmentationSchema = v.strictObject({
  crop: v.optional(whole(0, 1024)),
  flip: v.optional(v.boolean()),
  cutout: v.optional(whole(1, 1024)),
  colour: v.optional(between(0, 1)),
});

const scheduleSchema = v.strictObject({
  kind: v.picklist(['cosine', 'step', 'constant']),
  warmUp: v.optional(between(0, 1e4), 0),
  milestones: v.optional(v.array(between(0, 1)), [0.5, 0.75]),
  factor: v.optional(between(1e-6, 1), 0.1),
});

const recipeSchema = v.strictObject({
  schema: v.literal('tessera/recipe@1'),
  note: v.optional(v.string()),
  architecture: v.string(),
  classes: v.optional(whole(2, 65536)),
  /** Training and validation pictures, relative to the recipe; --data and --validate come first. */
  data: v.optional(v.string()),
  validate: v.optional(v.string()),
  epochs: whole(1),
  batchSize: whole(1, 65536),
  learningRate: between(1e-9, 1e3),
  schedule: v.optional(scheduleSchema, { kind: 'cosine' }),
  momentum: v.optional(between(0, 0.9999), 0.9),
  nesterov: v.optional(v.boolean(), false),
  weightDecay: v.optional(between(0, 10), 0),
  labelSmoothing: v.optional(between(0, 0.99), 0),
  clipNorm: v.optional(between(1e-6, 1e9)),
  patience: v.optional(whole(1)),
  augmentation: v.optional(augmentationSchema, {}),
  seed: v.optional(whole(0, 2 ** 32 - 1), 1),
});

export type Recipe = v.InferOutput<typeof recipeSchema>;

/** How to train, whatever is trained. */
export interface TrainingSettings {
  readonly epochs: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly schedule: Schedule;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
  readonly labelSmoothing: number;
  readonly clipNorm?: number | undefined;
  readonly patience?: number | undefined;
  readonly augmentation: Augmentation;
  readonly seed: number;
}

/**
 * Reads a recipe's JSON text; `where` names the file in errors.
 * @throws DataError ("bad-recipe") that names the key.
 */
export function parseRecipe(text: string, where: string): Recipe {
  let reason = 'it is not JSON';
  try {
    const result = v.safeParse(recipeSchema, JSON.parse(text));
    if (result.success) return result.output;
    reason = `${v.getDotPath(result.issues[0]) ?? ''}: ${result.issues[0].message}`;
  } catch {}
  throw new DataError(`${where} is not a recipe: ${reason}`, { code: 'bad-recipe', where, hint: 'Its keys are in docs/training.md.' });
}

/**
 * Reads an augmentation as flags give it: "crop=4,flip,cutout=8,colour=0.2", or "none".
 * @throws RangeError that says what is wrong.
 */
export function parseAugmentation(text: string): Augmentation {
  if (text === 'none') return {};
  const entries = text.split(',').map((part): [string, unknown] => {
    const [name = '', value] = part.trim().split('=');
    return [name, value === undefined ? true : Number(value)];
  });
  const result = v.safeParse(augmentationSchema, Object.fromEntries(entries));
  if (!result.success) throw new RangeError(`${v.getDotPath(result.issues[0]) ?? 'it'}: ${result.issues[0].message}`);
  return result.output as Augmentation;
}
