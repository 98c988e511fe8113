// The loop around a network, with a network of one layer in plain numbers: what it does is checked by what it reaches.
import { describe, expect, it } from 'vitest';
import { createSequence } from '../data/generated.js';
import { createLoader, type Examples } from '../data/loader.js';
import type { Patch } from '../model/program.js';
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint } from './checkpoint.js';
import { type FitRun, type FitSettings, fitNetwork } from './fit.js';
import { defaultSchedule } from './schedule.js';
import type { Sgd } from './sgd.js';
import { patchesOfStage, stageOf } from './stages.js';
import type { Trainable } from './trainable.js';

const inputs = 4;
const pictures = 48;

/** Two classes told apart by which half of the picture is brighter. */
function examples(): Examples {
  const random = createSequence(1);
  const items = Array.from({ length: pictures }, () => {
    const values = Float32Array.from({ length: inputs }, () => 2 * random() - 1);
    return { values, label: values[0]! + values[1]! > values[2]! + values[3]! ? 1 : 0 };
  });
  return {
    count: pictures,
    shape: [1, 2, 2],
    names: items.map((_, i) => `p${i}`),
    labels: items.map(({ label }) => label),
    preprocessing: { mean: [0], std: [1], channels: 'gray' },
    item: async (index) => ({ shape: [1, 2, 2], values: items[index]!.values }),
  };
}

interface Model extends Trainable {
  readonly alphas: number[];
  readonly patched: [string, readonly Patch[] | undefined][];
  readonly losses: number[];
}

/** Logistic regression, with one state that counts steps. */
function createModel(): Model {
  const [values, gradient] = [new Float32Array(inputs), new Float32Array(inputs)];
  const state = new Float32Array(1);
  const score = (image: Float32Array): number => 1 / (1 + Math.exp(-image.reduce((sum, x, i) => sum + x * values[i]!, 0)));
  const model = { alphas: [] as number[], patched: [] as Model['patched'], losses: [] as number[] };
  return {
    ...model,
    parameters: [{ name: 'w', values, gradient, decays: true }],
    states: [{ name: 'seen', values: state }],
    learn: async (images, count, { labels }) => {
      gradient.fill(0);
      state[0]! += 1;
      let [loss, correct] = [0, 0];
      for (let n = 0; n < count; n++) {
        const image = images.subarray(n * inputs, (n + 1) * inputs);
        const [p, label] = [score(image), labels![n]!];
        loss -= Math.log(label === 1 ? p : 1 - p) / count;
        correct += Math.round(p) === label ? 1 : 0;
        for (let i = 0; i < inputs; i++) gradient[i]! += ((p - label) * image[i]!) / count;
      }
      model.losses.push(loss);
      return { loss, correct, counted: count };
    },
    predict: async (images, count) =>
      Float32Array.from({ length: 2 * count }, (_, i) => {
        const p = score(images.subarray((i >> 1) * inputs, ((i >> 1) + 1) * inputs));
        return i % 2 === 1 ? p : 1 - p;
      }),
    setPatches: (layer, patches) => void model.patched.push([layer, patches]),
    setAlpha: (alpha) => void model.alphas.push(alpha),
    toGraph: () => ({ input: { id: 'x', shape: [1, 2, 2] }, output: 'x', nodes: [], parameters: 0 }),
    close: () => {},
  };
}

function createMomentum(model: Model): Sgd {
  const { values, gradient } = model.parameters[0]!;
  const velocity = new Float32Array(values.length);
  return {
    state: [{ name: 'w', values: velocity }],
    step: async (learningRate) => {
      for (let i = 0; i < values.length; i++) {
        velocity[i] = 0.9 * velocity[i]! + gradient[i]!;
        values[i]! -= learningRate * velocity[i]!;
      }
      return { gradientNorm: 0 };
    },
    close: () => {},
  };
}

const settings: FitSettings = { epochs: 4, learningRate: 0.1, schedule: defaultSchedule, loss: {}, softStart: 0, stages: 1, seed: 3 };

function runOf(model: Model, overrides: Partial<FitRun> = {}, changed: Partial<FitSettings> = {}): FitRun {
  return {
    trainable: model,
    sgd: createMomentum(model),
    loader: createLoader(examples(), { batchSize: 8, augmentation: { flip: true }, seed: 3, classes: 2 }),
    settings: { ...settings, ...changed },
    classes: 2,
    key: 'a run',
    ...overrides,
  };
}

describe('training', () => {
  it('lowers the loss and tells a curve', async () => {
    const model = createModel();
    const { curve, bestEpoch } = await fitNetwork(runOf(model, { validate: async () => model.states[0]!.values[0]! / 100 }));
    expect(curve.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4]);
    expect(curve[3]!.loss).toBeLessThan(curve[0]!.loss);
    expect(curve[3]!.accuracy).toBeGreaterThan(0.7);
    expect(curve[3]!.validation).toBeCloseTo(0.24);
    expect(bestEpoch).toBe(3);
  });

  it('goes on from any checkpoint to the same weights, bit for bit', async () => {
    const scores = [0.5, 0.7, 0.6, 0.65];
    const scored =
      (model: Model): FitRun['validate'] =>
      async () =>
        scores[model.states[0]!.values[0]! / 6 - 1]!;
    const kept: Uint8Array[] = [];
    const whole = createModel();
    await fitNetwork(
      runOf(whole, { validate: scored(whole), keepSeconds: 0, keep: async (checkpoint) => void kept.push(encodeCheckpoint(checkpoint)) }),
    );
    // One after each of 24 steps, and one after each of 4 epochs.
    expect(kept.length).toBe(28);
    for (const bytes of kept) {
      const model = createModel();
      const { bestEpoch, curve } = await fitNetwork(runOf(model, { validate: scored(model), resume: decodeCheckpoint(bytes, 'kept') }));
      expect(model.parameters[0]!.values).toEqual(whole.parameters[0]!.values);
      expect(model.states[0]!.values).toEqual(whole.states[0]!.values);
      expect([bestEpoch, curve.length]).toEqual([1, 4]);
    }
  });

  it('ends with the weights of the best epoch, and early when none comes for a while', async () => {
    const scores = [0.2, 0.9, 0.3, 0.4, 0.5, 0.6];
    const model = createModel();
    let epoch = 0;
    let best: Float32Array | undefined;
    const validate = async (): Promise<number> => {
      if (epoch === 1) best = model.parameters[0]!.values.slice();
      return scores[epoch++]!;
    };
    const result = await fitNetwork(runOf(model, { validate }, { epochs: 6, patience: 2 }));
    expect([result.bestEpoch, result.stoppedEarly, result.curve.length]).toEqual([1, true, 4]);
    expect(model.parameters[0]!.values).toEqual(best);
    expect(model.states[0]!.values[0]).toBe(12);
  });

  it('stops with advice when the loss is no number or grows', async () => {
    const failing = (loss: (step: number) => number): Model => {
      const model = createModel();
      let step = 0;
      return { ...model, learn: async (...args) => ({ ...(await model.learn(...args)), loss: loss(step++) }) };
    };
    const nan = fitNetwork(runOf(failing((step) => (step === 5 ? Number.NaN : 1))));
    await expect(nan).rejects.toMatchObject({ code: 'diverged', where: 'step 6', hint: expect.stringContaining('--learning-rate 0.02') });
    const growing = fitNetwork(
      runOf(
        failing((step) => 0.5 * 1.3 ** step),
        {},
        { epochs: 20 },
      ),
    );
    await expect(growing).rejects.toMatchObject({ code: 'diverged', exitStatus: 1 });
    // Noise around the beginning is none.
    await fitNetwork(
      runOf(
        failing((step) => 1 + (step % 2)),
        {},
        { epochs: 20 },
      ),
    );
  });

  it('keeps a checkpoint when it is aborted, after the step under way', async () => {
    const abort = new AbortController();
    const model = createModel();
    let kept: Checkpoint | undefined;
    const aborted = fitNetwork(
      runOf(model, {
        signal: abort.signal,
        keep: async (checkpoint) => {
          kept = decodeCheckpoint(encodeCheckpoint(checkpoint), 'kept');
        },
        onStep: ({ epoch, step }) => {
          if (epoch === 1 && step === 3) abort.abort(new Error('enough'));
        },
      }),
    );
    await expect(aborted).rejects.toThrow('enough');
    expect([kept?.epoch, kept?.step]).toEqual([1, 3]);
  });

  it('refuses a checkpoint of another run, and one that is cut short', async () => {
    let bytes = new Uint8Array();
    const keep = async (checkpoint: Checkpoint): Promise<void> => {
      bytes = Uint8Array.from(encodeCheckpoint(checkpoint));
    };
    await fitNetwork(runOf(createModel(), { keep }));
    const resume = decodeCheckpoint(bytes, 'kept');
    await expect(fitNetwork(runOf(createModel(), { key: 'another', resume }))).rejects.toMatchObject({ code: 'bad-checkpoint' });
    for (const length of [0, 10, bytes.length - 1]) {
      expect(() => decodeCheckpoint(bytes.subarray(0, length), 'kept')).toThrow(/kept is not a checkpoint/);
    }
  });

  it('lets plain ReLU fade over the soft start', async () => {
    const model = createModel();
    await fitNetwork(runOf(model, {}, { softStart: 2 }));
    expect(model.alphas.slice(0, 3)).toEqual([1, 11 / 12, 10 / 12].map((alpha) => expect.closeTo(alpha, 6)));
    expect(model.alphas.slice(12)).toEqual(new Array(12).fill(0));
  });

  it('brings a spec in over stages, and takes the best epoch from the last one', async () => {
    const patches = new Map<string, Patch[]>([
      [
        'a',
        [
          [2, 2],
          [1, 1],
          [0, 1],
        ],
      ],
      [
        'b',
        [
          [4, 4],
          [1, 2],
          [2, 1],
        ],
      ],
    ]);
    const model = createModel();
    const scores = [1, 0.9, 0.2, 0.1];
    let epoch = 0;
    const { bestEpoch } = await fitNetwork(runOf(model, { patches, validate: async () => scores[epoch++]! }, { stages: 2 }));
    expect(model.patched.map(([layer]) => layer)).toEqual(['a', 'b', 'a', 'b']);
    const changed = (from: number): number =>
      model.patched.slice(from, from + 2).reduce((sum, [, list]) => sum + list!.filter(([h, w]) => h !== 1 || w !== 1).length, 0);
    expect([changed(0), changed(2)]).toEqual([3, 5]);
    expect(bestEpoch).toBe(2);
    expect(patchesOfStage(patches, 1, 2, 1)).toBe(patches);
    expect(Array.from({ length: 7 }, (_, e) => stageOf(e, 7, 3))).toEqual([0, 0, 1, 1, 2, 2, 2]);
  });
});
