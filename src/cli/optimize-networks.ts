// Networks that `optimize` makes: corrected without labels for every budget, fine-tuned for the one asked for.
import { correct } from '../block/correct.js';
import { writeOnnx } from '../model/onnx-writer.js';
import { applyPatches } from '../model/passes/lower.js';
import { simplify } from '../model/passes/simplify.js';
import { drawForCorrection, type Finetuned, type FinetuneOptions, finetune } from './finetuning.js';
import { inputShapeOf, readOnnx } from './model.js';
import { type NetworkFiles, writeNetwork } from './network-files.js';
import type { BudgetChoice } from './optimize-choice.js';
import { compileFor, costsOf, inFixedPoint, inFloat, scoreAll } from './optimize-scores.js';
import { fileName, specName, type Work } from './optimize-work.js';
import type { BudgetRow, Stage } from './report/data.js';
import { readSpec } from './spec.js';

/** Corrects the network for a budget's patches. */
export function correctFor(work: Work, budget: string, { steps, windows }: BudgetChoice): Promise<NetworkFiles> {
  const { folder, graph, train, compute, task, key, onnx, budgets, options } = work;
  // Fine-tuning corrects for itself, and its network takes the place of what is corrected alone.
  const own = budget !== budgets[0] ? `model-${fileName(budget)}` : options.finetune === undefined ? 'model' : 'work/corrected';
  const make = async (): Promise<NetworkFiles> => {
    const spec = await readSpec(folder.file(specName(work, budget)), onnx.hash);
    const { images, count } = await drawForCorrection(graph, train);
    const progress = task.output.progress('correcting', graph.nodes.filter((node) => node.kind === 'conv').length);
    const watch = { signal: task.signal, progress: (done: number) => progress.update(done) };
    const corrected = await correct(compute, graph, spec.patches, images, count, watch);
    progress.end();
    const made = { ...spec.made, corrected: { from: onnx.hash, pictures: count } };
    return writeNetwork(folder.file(`${own}.onnx`), writeOnnx(corrected), { patches: spec.patches, windows: spec.windows, made });
  };
  return folder.once(`correction ${budget}`, [key, steps.at(-1)!.patches, windows], make, [`${own}.onnx`, `${own}.spec.json`]);
}

/** Fine-tunes the network of the budget asked for, from a checkpoint in the folder where there is one. */
export function finetuneMain({ folder, options, path, task, compute, key, scoredOn }: Work, { steps }: BudgetChoice): Promise<Finetuned> {
  const { json, quiet, threads, seed, data, validate, limit, validateLimit, preprocess } = options;
  const pictures = { validate, limit, validateLimit, preprocess };
  const stated = Object.fromEntries(Object.entries(pictures).filter(([, value]) => value !== undefined));
  const files = ['model.onnx', 'model.spec.json'];
  const settings = (own: string): FinetuneOptions => ({
    ...{ json, quiet, threads, seed, data, ...stated, spec: folder.file('spec.json') },
    ...{ replace: [], distill: true, softStart: 0, stages: 1, keepWindows: true, output: folder.file('model.onnx') },
    ...(typeof options.finetune === 'number' ? { epochs: options.finetune } : {}),
    ...{ checkpoint: folder.file(`work/training-${own.slice(0, 16)}`), checkpointSeconds: 60, resume: true },
  });
  const from = [key, scoredOn, steps.at(-1)!.patches, options.finetune, pictures];
  return folder.once('fine-tuning', from, (own) => finetune(path, settings(own), task, compute), files);
}

/** The row of a budget with a network that was made for it. */
export function withNetwork(work: Work, row: BudgetRow, name: Stage['name'], { file, spec, model }: NetworkFiles): Promise<BudgetRow> {
  if (spec === undefined) throw new RangeError(`${file} has no spec`);
  return work.folder.once(`row ${row.name} ${name}`, [model, work.scoredOn, row], async () => {
    const onnx = await readOnnx(file);
    const graph = simplify(onnx.readGraph(inputShapeOf(onnx, { dataset: work.train })));
    const { patches, windows } = await readSpec(spec, onnx.hash);
    const compiled = await compileFor(work, { path: file, spec });
    const float = inFloat(work, applyPatches(graph, patches));
    const [score, fixed] = await scoreAll(work, windows.size === 0 ? [float] : [float, inFixedPoint(compiled)]);
    const { fixed: _, ...before } = row;
    const stages = [...row.stages, { name, score: score! }];
    return {
      ...before,
      stages,
      score: score!,
      ...(fixed === undefined ? {} : { fixed }),
      costs: await costsOf(work, compiled),
      model: file,
      spec,
    };
  });
}
