// Weights as each party holds them: the server's W, the dealer's B from its seed, and the client's D = W - B. B lives as long as the weights
// file is loaded: its id and seed are drawn then, so that no two D ever share a B (their difference would be W1 - W2).
import { DataError, PeerError } from '../errors.js';
import type { Compute, Words } from '../kernel/compute.js';
import type { ConvGeometry } from '../kernel/geometry.js';
import { convolve, freeWeights, packWeights } from '../kernel/linear.js';
import type { LinearStep, Program, ProgramWeights } from '../model/program.js';
import type { LinearWeights } from '../protocol/operation.js';
import { packedBytes } from '../protocol/packing.js';
import { randomBytes } from '../random/seeds.js';
import { createStreams } from '../random/streams.js';
import { ringWords, runWords, setWords } from '../ring/words.js';

/** A model's packed weights on the heap, and how to give them back. */
export interface WeightTable {
  layer(index: number): LinearWeights;
  free(): void;
}

export const linearSteps = (program: Program): LinearStep[] => program.steps.filter((step): step is LinearStep => step.kind === 'linear');

export const weightCount = (g: ConvGeometry): number => g.outputChannels * (g.inputChannels / g.groups) * g.kernelHeight * g.kernelWidth;

/** Bytes of a layer's D on the wire. */
export const differenceBytes = (step: LinearStep, ringBits: number): number => packedBytes(weightCount(step.geometry), ringBits);

/** A layer's words, which come with a bias where they are the server's; else they lie on the heap and go once they are packed. */
interface LayerWords {
  readonly words: Words;
  readonly bias?: Words;
}

/** Packs one word array a layer, in the order of {@link linearSteps}. */
async function table(
  compute: Compute,
  program: Program,
  next: (step: LinearStep, position: number) => Promise<LayerWords>,
): Promise<WeightTable> {
  const layers = new Map<number, LinearWeights>();
  const frees: (() => void)[] = [];
  const free = () => {
    for (const each of frees) each();
  };
  try {
    for (const [position, step] of linearSteps(program).entries()) {
      const { words, bias } = await next(step, position);
      const packed = await packWeights(compute, step.geometry, words, program.ringBits).finally(() => !bias && compute.free(words));
      frees.push(() => freeWeights(compute, packed));
      const heapBias = bias ? ringWords(compute, program.ringBits, bias.length) : undefined;
      if (heapBias) setWords(heapBias, bias!);
      if (heapBias) frees.push(() => compute.free(heapBias));
      layers.set(step.weights, {
        // Only the server's words, which come with a bias, outlive the packing.
        ...(bias ? { words } : {}),
        convolve: (input, batch, output, addend) =>
          convolve(compute, packed, input, batch, output, { ...(heapBias ? { bias: heapBias } : {}), ...(addend ? { addend } : {}) }),
      });
    }
  } catch (error) {
    free();
    throw error;
  }
  return {
    layer(index) {
      const found = layers.get(index);
      if (!found) throw new RangeError(`no weights for layer ${index}`);
      return found;
    },
    free,
  };
}

/** Which B a session uses: its id (public) and the seed it is expanded from (server and provider only). */
export interface Dealer {
  readonly id: Uint8Array;
  readonly seed: Uint8Array;
}

export const newDealer = (): Dealer => ({ id: randomBytes(16), seed: randomBytes(16) });

/** A layer's B, drawn from the dealer's stream: every layer once. */
function dealerWords(compute: Compute, ringBits: number, dealer: Dealer): (step: LinearStep, position: number) => Promise<Words> {
  const streams = createStreams(compute, dealer.seed);
  return async (step, position) => {
    const words = ringWords(compute, ringBits, weightCount(step.geometry));
    await streams.draw({ inference: 0, step: position, tensor: 0 }, words);
    return words;
  };
}

/** The provider's B. */
export async function dealerTable(compute: Compute, program: Program, dealer: Dealer): Promise<WeightTable> {
  const draw = dealerWords(compute, program.ringBits, dealer);
  return table(compute, program, async (step, position) => ({ words: await draw(step, position) }));
}

/** The server's W with its biases. Throws DataError when the weights do not fit the program. */
export function serverTable(compute: Compute, program: Program, weights: ProgramWeights): Promise<WeightTable> {
  return table(compute, program, async (step) => {
    const layer = weights.layers[step.weights];
    if (layer?.weights.length !== weightCount(step.geometry) || layer.bias.length !== step.geometry.outputChannels) {
      throw new DataError(`the weights do not fit the program at layer "${step.name}"`, {
        code: 'weights-mismatch',
        where: step.name,
        hint: 'compile the model again: program.bin and weights.bin must come from one run',
      });
    }
    return { words: layer.weights, bias: layer.bias };
  });
}

/** D = W - B of every layer, packed for the wire and made when it is sent: all of them are as large as the weights. */
export async function* differences(
  compute: Compute,
  program: Program,
  weights: ProgramWeights,
  dealer: Dealer,
): AsyncGenerator<Uint8Array, void> {
  const draw = dealerWords(compute, program.ringBits, dealer);
  for (const [position, step] of linearSteps(program).entries()) {
    const b = await draw(step, position);
    const w = ringWords(compute, program.ringBits, b.length);
    setWords(w, weights.layers[step.weights]!.weights);
    await runWords(compute, 'sub', w, [w, w, b], b.length);
    const bytes = differenceBytes(step, program.ringBits);
    const packed = compute.bytes(bytes + 16);
    await runWords(compute, 'pack', w, [packed, w, program.ringBits], b.length, { grain: 128, costPerItem: 2 });
    compute.free(b, w);
    try {
      yield packed.subarray(0, bytes);
    } finally {
      compute.free(packed);
    }
  }
}

/** The client's D from the server's messages, in the order of the layers. Rejects with PeerError when one has not the size it must have. */
export async function differenceTable(
  compute: Compute,
  program: Program,
  receive: (step: LinearStep, position: number) => Promise<Uint8Array>,
): Promise<WeightTable> {
  return table(compute, program, async (step, position) => {
    const message = await receive(step, position);
    const expected = differenceBytes(step, program.ringBits);
    if (message.length !== expected) {
      throw new PeerError(`the server sent ${message.length} bytes of weight differences where ${expected} were agreed`, {
        code: 'wrong-size',
        where: step.name,
        hint: 'both sides must run the same version of Tessera',
      });
    }
    const packed = compute.bytes(message.length + 16);
    packed.set(message);
    const heap = ringWords(compute, program.ringBits, weightCount(step.geometry));
    await runWords(compute, 'unpack', heap, [heap, packed, program.ringBits], heap.length, { grain: 128, costPerItem: 2 });
    compute.free(packed);
    return { words: heap };
  });
}
