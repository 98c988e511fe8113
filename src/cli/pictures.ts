// Which pictures a command works on: positional arguments or --data, with the preprocessing that the model or --preprocess states.
import { type Dataset, loadDataset, loadPictures, readPreprocessing } from '../data/dataset.node.js';
import { isPictureName } from '../data/picture.node.js';
import type { Preprocessing } from '../data/preprocess.js';
import { DataError, UsageError } from '../errors.js';
import type { Output } from './output.js';
import type { ModelDescription } from './run-types.js';

export interface PictureOptions {
  readonly data?: string;
  readonly limit?: number;
  readonly preprocess?: string;
}

/** Pictures with what is known of their classes. */
export interface Pictures {
  readonly dataset: Dataset;
  readonly classes?: readonly string[];
}

/**
 * Opens the pictures that a call names.
 * @param model states preprocessing and classes for pictures that do not.
 * @throws UsageError when none or two ways of naming pictures are used; DataError for what cannot be read.
 */
export async function openPictures(
  paths: readonly string[],
  options: PictureOptions,
  output: Output,
  model: Partial<ModelDescription> = {},
): Promise<Pictures> {
  if (paths.length > 0 && options.data !== undefined)
    throw usage('pictures are named twice', 'Give them as arguments or with --data, not both.');
  if (paths.length === 0 && options.data === undefined) throw usage('no pictures are named', 'Give picture files, or --data PATH.');
  const stated = options.preprocess === undefined ? undefined : await readPreprocessing(options.preprocess);
  const preprocessing: Preprocessing | undefined = stated?.preprocessing ?? model.preprocess;
  const settings = {
    ...(options.limit === undefined ? {} : { limit: options.limit }),
    ...(preprocessing === undefined ? {} : { preprocessing }),
  };
  const dataset = await openPaths(paths, options.data, settings);
  if (!dataset.preprocessingStated)
    output.note('No preprocessing is stated: the network is fed pixel / 255. Give --preprocess to change that.');
  const classes = model.classes ?? stated?.classes ?? dataset.classes;
  return { dataset, ...(classes === undefined ? {} : { classes }) };
}

function openPaths(paths: readonly string[], data: string | undefined, settings: object): Promise<Dataset> {
  if (data !== undefined) return loadDataset(data, settings);
  const [first] = paths;
  if (paths.length === 1 && first !== undefined && !isPictureName(first)) return loadDataset(first, settings);
  return loadPictures(paths, settings);
}

function usage(message: string, hint: string): UsageError {
  return new UsageError(message, { code: 'usage', hint });
}

/** How to get pictures of a shape. */
export const shapeHint = (shape: readonly number[]): string =>
  `Set "channels", "resize" and "crop" in a descriptor and give it with --preprocess; arrays have to be [N, ${shape.join(', ')}].`;

/**
 * Checks that pictures have the shape a network reads.
 * @throws DataError ("wrong-picture-shape") that says both shapes.
 */
export function checkShape(dataset: Dataset, shape: readonly number[]): void {
  const size = shape.reduce((product, length) => product * length, 1);
  const given = dataset.shape.reduce((product, length) => product * length, 1);
  const fits = shape.length === 3 ? shape.every((length, axis) => length === dataset.shape[axis]) : size === given;
  if (fits) return;
  throw new DataError(`the pictures are ${dataset.shape.join(' × ')}, the network reads ${shape.join(' × ')}`, {
    code: 'wrong-picture-shape',
    where: dataset.names[0] ?? 'pictures',
    hint: shapeHint(shape),
  });
}
