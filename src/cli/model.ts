// MODEL on the command line: an ONNX file, compiled when it is used, or a folder that was compiled before.
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, extname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Dataset, hashDataset, loadDataset } from '../data/dataset.node.js';
import { createSequence, generatePictures } from '../data/generated.js';
import { readFileOrExplain } from '../data/picture.node.js';
import { plainPreprocessing } from '../data/preprocess.js';
import { kindOf } from '../data/sources.node.js';
import { DataError, UsageError } from '../errors.js';
import type { Compute } from '../kernel/compute.js';
import type { LeftOut } from '../model/calibrate.js';
import { compileGraph } from '../model/compile.js';
import type { ExternalData } from '../model/constant.js';
import { programHash } from '../model/files.js';
import { forward } from '../model/forward.js';
import type { Graph } from '../model/graph.js';
import { type ReadOptions, type ReadResult, readGraph, readModel } from '../model/onnx.js';
import { resizeOutput } from '../model/output.js';
import { applyPatches } from '../model/passes/lower.js';
import { simplify } from '../model/passes/simplify.js';
import { simulate } from '../model/simulate.js';
import { roundingDecides } from '../model/simulate-relu.js';
import { suites } from '../party/session.js';
import { decodeFixed, encodeFixed } from '../ring/fixed.js';
import { classes, rowOf } from './answers.js';
import { recallModel, rememberModel } from './cache.js';
import { type CompiledSummary, isModelFolder, readModelFolder, type StoredModel } from './model-folder.js';
import type { ModelOptions } from './options.js';
import { checkShape, type Pictures } from './pictures.js';
import { chooseRing, mostTrials, picturesToJudge } from './ring.js';
import { activated } from './run-report.js';
import type { CompiledModel, ModelDescription } from './run-types.js';
import { type LoadedSpec, readSpec } from './spec.js';
import type { Task } from './task.js';

/** A model found but not compiled yet. */
export interface ModelSource {
  readonly path: string;
  readonly description: ModelDescription;
  readonly stored?: StoredModel;
  readonly onnx?: OnnxFile;
}

export interface OnnxFile {
  /** SHA-256 of the file. */
  readonly hash: string;
  read(options?: ReadOptions): ReadResult;
  readGraph(options?: ReadOptions): Graph;
  /** SHA-256 over the file and everything that was read beside it so far. */
  fullHash(): string;
}

/** A model ready to use, with a plaintext to compare with. */
export interface OpenModel {
  readonly compiled: CompiledModel;
  readonly summary: CompiledSummary;
  /** What plaintext answers are computed with: the float network (under the spec, where there is one), or (compiled models) its fixed-point simulation. */
  readonly plaintextKind: 'float' | 'fixed';
  /** Outputs after the output activation, `count` × outputs. */
  plaintext(images: Float32Array, count: number): Promise<Float32Array>;
  /** As the parties compute it, in the clear, and how many values left their range. */
  fixedPoint(images: Float32Array, count: number): Promise<{ readonly logits: Float32Array; readonly clipped: number }>;
}

/** Looks at what MODEL names. Throws DataError for what is neither an ONNX file nor a compiled model, UsageError for --spec with the latter. */
export async function findModel(path: string, options: Pick<ModelOptions, 'spec'> = {}): Promise<ModelSource> {
  if (await isModelFolder(path)) {
    if (options.spec !== undefined) {
      const hint = 'A compiled model contains its spec: compile the ONNX file with this one.';
      throw new UsageError('--spec cannot be given for a compiled model', { code: 'spec-with-compiled', where: path, hint });
    }
    const stored = await readModelFolder(path);
    return { path, stored, description: stored.compiled.description };
  }
  if ((await kindOf(path)) === 'folder') {
    throw new DataError(`${path} is a folder without program.bin`, {
      code: 'bad-compiled-model',
      where: path,
      hint: 'Give an ONNX file or what tessera compile wrote.',
    });
  }
  return { path, onnx: await readOnnx(path), description: { name: basename(path, extname(path)) } };
}

/** Opens an ONNX file; its external data is read when it is parsed. */
export async function readOnnx(path: string): Promise<OnnxFile> {
  const bytes = await readFileOrExplain(path);
  const hash = createHash('sha256').update(bytes).digest('hex');
  const all = createHash('sha256').update(bytes);
  const externalData: ExternalData = (location, offset, length) => {
    const data = readBeside(path, location, offset, length);
    all.update(data);
    return data;
  };
  return {
    hash,
    read: (options) => readModel(bytes, { externalData, ...options }),
    readGraph: (options) => readGraph(bytes, { externalData, ...options }),
    fullHash: () => all.copy().digest('hex'),
  };
}

/** Part of a file in the model's own folder; a location that leads out of it is refused. */
function readBeside(model: string, location: string, offset: number, length: number | undefined): Uint8Array {
  const refuse = (reason: string, cause?: unknown): DataError =>
    new DataError(`${model}: its data file ${location} ${reason}`, {
      code: 'missing-tensor',
      where: location,
      hint: 'Keep the model and its data files together.',
      cause,
    });
  try {
    const folder = realpathSync(dirname(model));
    const path = realpathSync(join(folder, location));
    if (!path.startsWith(folder + sep)) throw refuse('lies outside its folder');
    const size = statSync(path).size;
    const wanted = length ?? size - offset;
    if (offset < 0 || wanted < 0 || offset + wanted > size) throw refuse('is too short');
    const data = new Uint8Array(wanted);
    const file = openSync(path, 'r');
    try {
      for (let done = 0; done < wanted; ) {
        const got = readSync(file, data, done, wanted - done, offset + done);
        if (got === 0) throw refuse('is too short');
        done += got;
      }
    } finally {
      closeSync(file);
    }
    return data;
  } catch (cause) {
    throw cause instanceof DataError ? cause : refuse('cannot be read', cause);
  }
}

/** Calibration pictures of which so many are used at most when they were given for that, */
const calibrationLimit = 256;
/** and so many when they are the pictures to be answered, with more bits of headroom: pictures may come that are brighter. */
const ownPicturesLimit = 64;
const uncertainMarginBits = 2;
const generatedCount = 16;

/** Compiles a model, or takes it from the cache. */
export async function openModel(
  source: ModelSource,
  options: ModelOptions,
  task: Task,
  compute: Compute,
  pictures?: Pictures,
  purpose: 'answer' | 'calibrate' = 'answer',
): Promise<OpenModel> {
  const { onnx, stored } = source;
  if (stored !== undefined) {
    const { program } = stored.compiled;
    if (pictures !== undefined) checkShape(pictures.dataset, program.tensors[program.input]!.shape);
    return withPlaintext(compute, stored, undefined);
  }
  if (onnx === undefined) throw new RangeError('a model source is either stored or an ONNX file');
  const open = inputShapeOf(onnx, pictures);
  const graph = onnx.readGraph(open);
  if (pictures !== undefined) checkShape(pictures.dataset, graph.input.shape);
  const calibration = await chooseCalibration(graph, options, pictures, purpose);
  const spec = options.spec === undefined ? undefined : await readSpec(options.spec, onnx.hash);
  const { hash: calibrationHash, extraMarginBits, count } = calibration;
  const compilerHash = await hashFolder(fileURLToPath(new URL('../model', import.meta.url)));
  const key = createHash('sha256')
    .update(
      JSON.stringify([
        compilerHash,
        onnx.fullHash(),
        graph.input.shape,
        spec?.hash,
        options.ring === 'auto' ? ['auto', options.agreement, options.suite] : ringOf(options.ring, options.suite, spec),
        options.truncateEvery,
        calibrationHash,
        extraMarginBits,
      ]),
    )
    .digest('hex');
  const known = options.cache ? await recallModel(key) : undefined;
  const running = spec === undefined ? graph : applyPatches(simplify(graph), spec.patches);
  const made = known ?? (await compileAnew(graph, running, calibration, options, task, compute, spec));
  if (options.cache && known === undefined) await rememberModel(key, made);
  noteLeftOut(made.summary.leftOut ?? [], task);
  const calibratedOn = { source: calibration.source, images: count, extraMarginBits };
  const compiled = { ...made.compiled, description: describeModel(source, pictures) };
  return withPlaintext(compute, { compiled, summary: { ...made.summary, calibratedOn } }, running);
}

/**
 * The ring to compile to, and how much of it values may use: where the call names none, what the spec asks for, but no less than what the suite
 * prefers (32 bits, all of them, where no suite is named that this version knows).
 */
function ringOf(
  ring: number | undefined,
  name: string | undefined,
  spec: LoadedSpec | undefined,
): { readonly ringBits: number; readonly rangeBits: number } {
  const suite = suites[name ?? 'masked'];
  const ringBits = ring ?? Math.max(suite?.defaultRingBits ?? 32, spec?.ringBits ?? 0);
  return { ringBits, rangeBits: suite?.rangeBits(ringBits) ?? ringBits };
}

function noteLeftOut(leftOut: readonly LeftOut[], task: Task): void {
  const [first] = [...leftOut].sort((a, b) => b.times - a.times);
  if (first === undefined) return;
  const which = leftOut.length === 1 ? `picture ${first.picture}` : `pictures ${leftOut.map((l) => l.picture).join(', ')}`;
  const much = Number.isFinite(first.times)
    ? `up to ${first.times.toPrecision(2)} times those of the others`
    : 'that are no finite numbers';
  task.output.note(`calibration: left out ${which}, with values ${much} (layer ${first.layer}); answers for such pictures are wrong`);
}

/** Compiles in the ring asked for, or in the narrowest that does. `running` is the graph under its spec. */
async function compileAnew(
  graph: Graph,
  running: Graph,
  calibration: ChosenCalibration,
  options: ModelOptions,
  task: Task,
  compute: Compute,
  spec: LoadedSpec | undefined,
): Promise<StoredModel> {
  const { ring, agreement: target = 0.99, suite = 'masked' } = options;
  if (ring !== 'auto') return compileIn(ring, graph, calibration, options, task, compute, spec);
  const { images, count } = calibration;
  const size = images.length / count;
  const floats = new Map<number, Int32Array>();
  const compile = (ringBits: number) => compileIn(ringBits, graph, calibration, options, task, compute, spec);
  const progress = task.output.progress('trying rings', mostTrials);
  let tried = 0;
  const { model, choice } = await chooseRing({
    target,
    suite,
    images: picturesToJudge(graph, count),
    compile,
    labels: async (model, start, number) => {
      task.signal.throwIfAborted();
      const some = images.subarray(start * size, (start + number) * size);
      const float = floats.get(start) ?? labelsOf(graph, await forward(compute, running, some, number), number);
      floats.set(start, float);
      const { logits } = await withPlaintext(compute, model, undefined).fixedPoint(some, number);
      return { float, fixed: labelsOf(graph, logits, number) };
    },
    trying: (ringBits) => progress.update(tried++, `${ringBits} bits`),
  });
  progress.end();
  return { ...model, summary: { ...model.summary, ring: choice } };
}

/** The class of every picture, or of every position of its map. */
function labelsOf({ nodes, output }: Graph, scores: Float32Array, count: number): Int32Array {
  const [, height = 1, width = 1] = nodes.find((node) => node.output === output)?.shape ?? [];
  const rows = Array.from({ length: count }, (_, i) => classes(rowOf(scores, i, count), height * width));
  return Int32Array.from(rows.flatMap((row) => [...row]));
}

async function compileIn(
  ring: number | undefined,
  graph: Graph,
  { images, count, extraMarginBits, source }: ChosenCalibration,
  options: ModelOptions,
  task: Task,
  compute: Compute,
  spec: LoadedSpec | undefined,
): Promise<StoredModel> {
  const progress = task.output.progress('compiling', 1);
  const settings = {
    ...ringOf(ring, options.suite, spec),
    ...(options.truncateEvery && { truncateEvery: options.truncateEvery }),
    ...(spec === undefined ? {} : { spec: spec.patches, windows: spec.windows }),
  };
  const { program, weights, report } = await compileGraph(compute, graph, { images, count, marginBits: extraMarginBits }, settings);
  progress.end();
  const hash = await programHash(program);
  const { clipped, fractionBits, drelus, comparisons } = report;
  const calibratedOn = { source, images: count, extraMarginBits };
  const leftOut = report.ranges.leftOut.length === 0 ? {} : { leftOut: report.ranges.leftOut };
  return {
    compiled: { program, weights, description: { name: '' }, hash },
    summary: { hash, ringBits: program.ringBits, fractionBits, drelus, comparisons, clipped, ...leftOut, calibratedOn },
  };
}

/** SHA-256 over the programs of a folder: a compiler that was changed must not be given what another one made. */
export async function hashFolder(folder: string): Promise<string> {
  const hash = createHash('sha256');
  const files = (await readdir(folder, { recursive: true })).filter((name) => /\.[jt]s$/.test(name)).sort();
  for (const file of files) hash.update(file).update(await readFile(join(folder, file)));
  return hash.digest('hex');
}

/** How to read an ONNX file whose input takes the shape of the pictures. Throws DataError ("wrong-picture-shape") where it does not take it. */
export function inputShapeOf(onnx: OnnxFile, pictures: Pictures | undefined): ReadOptions {
  if (pictures === undefined) return {};
  const { shape: given, names } = pictures.dataset;
  try {
    return onnx.read({ inputShape: given }).input.shape.length === 3 ? { inputShape: given } : {};
  } catch (cause) {
    if (!(cause instanceof DataError && cause.code === 'open-shape')) throw cause;
    throw new DataError(`the pictures are ${given.join(' × ')}, but the network's ${cause.message}`, {
      code: 'wrong-picture-shape',
      where: names[0] ?? 'pictures',
      hint: 'Set "channels", "resize" and "crop" in a descriptor and give it with --preprocess; arrays have to have that shape.',
      cause,
    });
  }
}

function describeModel({ description }: ModelSource, pictures: Pictures | undefined): ModelDescription {
  const classes = description.classes ?? pictures?.classes;
  const preprocess = description.preprocess ?? (pictures?.dataset.preprocessingStated ? pictures.dataset.preprocessing : undefined);
  return { name: description.name, ...(classes === undefined ? {} : { classes }), ...(preprocess === undefined ? {} : { preprocess }) };
}

interface ChosenCalibration {
  readonly images: Float32Array;
  readonly count: number;
  readonly extraMarginBits: number;
  readonly source: string;
  readonly hash: string;
}

async function chooseCalibration(
  graph: Graph,
  options: ModelOptions,
  pictures: Pictures | undefined,
  purpose: 'answer' | 'calibrate',
): Promise<ChosenCalibration> {
  const shared = pictures?.dataset.preprocessingStated ? { preprocessing: pictures.dataset.preprocessing } : {};
  if (options.calibrate !== undefined) {
    const dataset = await loadDataset(options.calibrate, { limit: calibrationLimit, ...shared });
    return fromDataset(dataset, graph, calibrationLimit, 0, basename(options.calibrate));
  }
  if (pictures !== undefined) {
    const given = purpose === 'calibrate';
    const source = options.data === undefined ? 'the pictures given' : basename(options.data);
    return fromDataset(pictures.dataset, graph, given ? calibrationLimit : ownPicturesLimit, given ? 0 : uncertainMarginBits, source);
  }
  const { shape } = graph.input;
  const images = generatePictures(shape, plainPreprocessing(shape[0] ?? 1), generatedCount, options.seed);
  return {
    images,
    count: generatedCount,
    extraMarginBits: uncertainMarginBits,
    source: 'generated pictures',
    hash: `generated ${options.seed}`,
  };
}

async function fromDataset(
  dataset: Dataset,
  graph: Graph,
  limit: number,
  extraMarginBits: number,
  source: string,
): Promise<ChosenCalibration> {
  checkShape(dataset, graph.input.shape);
  const count = Math.min(limit, dataset.count);
  const used = { ...dataset, count };
  return { images: await dataset.read(0, count), count, extraMarginBits, source, hash: await hashDataset(used) };
}

function withPlaintext(compute: Compute, stored: StoredModel, graph: Graph | undefined): OpenModel {
  const { program, weights } = stored.compiled;
  // Where rounding decides signs, it is drawn as the protocol draws it: the same for every call.
  const settings = roundingDecides(program) ? { random: createSequence(1) } : {};
  const fixedPoint: OpenModel['fixedPoint'] = async (images, count) => {
    const input = encodeFixed(images, program.tensors[program.input]!.scale, program.ringBits);
    const { output, overflow } = await simulate(compute, program, weights, input, count, settings);
    const clipped = overflow.reduce((sum, step) => sum + step.range + step.window, 0);
    return { logits: resizeOutput(program, decodeFixed(output, program.tensors[program.output]!.scale)), clipped };
  };
  const plaintext: OpenModel['plaintext'] =
    graph === undefined
      ? async (images, count) => activated(program, (await fixedPoint(images, count)).logits, count)
      : (images, count) => forward(compute, graph, images, count);
  return { ...stored, plaintextKind: graph === undefined ? 'fixed' : 'float', plaintext, fixedPoint };
}
