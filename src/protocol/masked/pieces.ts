// A large ReLU in pieces that know nothing of each other: while one piece's message is on its way, or the peer works on it, its party works on
// another. Each piece is a ReLU of its own, with draws, masks and messages of its own; nothing else is shared. Not here: what a ReLU does.
import type { Words } from '../../kernel/compute.js';
import type { ReluStep } from '../../model/program.js';
import { ringWords } from '../../ring/words.js';
import { type CostEnvironment, type MessageSize, numberedFrom, type Operation, type RolePart, type StepContext } from '../operation.js';
import { createTurn, type Turn } from '../turn.js';

/** Draws and messages of a piece are numbered this far from those of the piece before: beyond all rounds of a max pool. */
const pieceStride = 4096;

/** More pieces bring nothing: with four, all but an eighth of either party's work goes on beside the other's. */
const mostPieces = 4;

/**
 * Elements below which a piece is not worth its messages and kernel calls. ResNet-50, three processes on two cores: a piece costs each party
 * 0.2 ms, and an element some 25 ns.
 */
const smallestPiece = 65_536;

/** Kernels begin at multiples of this many items. */
const grain = 128;

/** A stretch [begin, end) of the flattened batch, as a step of its own. */
interface Piece {
  readonly begin: number;
  readonly end: number;
  readonly step: ReluStep;
  readonly environment: CostEnvironment;
}

const shareOf = (index: number, pieces: number, total: number): number => Math.floor((index * total) / pieces);

/** Any stretch will do where every element is compared by itself. */
function flatPiece(step: ReluStep, environment: CostEnvironment, begin: number, end: number): Piece {
  const { program, batch } = environment;
  return { begin, end, step, environment: { program, batch, elements: () => end - begin } };
}

/** Images [from, to) of the batch, or of a batch of one the channels [from, to). */
function patchedPiece(step: ReluStep, { program, batch, elements }: CostEnvironment, from: number, to: number): Piece {
  const { shape } = program.tensors[step.input]!;
  const units = batch > 1 ? batch : shape[0]!;
  const unit = elements(step.input) / units;
  const [begin, end] = [from * unit, to * unit];
  if (batch > 1) return { begin, end, step, environment: { program, batch: to - from, elements: () => end - begin } };
  const part = { ...step, patches: step.patches!.slice(from, to) };
  const tensors = program.tensors.with(step.input, { ...program.tensors[step.input]!, shape: [to - from, ...shape.slice(1)] });
  return { begin, end, step: part, environment: { program: { ...program, tensors }, batch, elements: () => end - begin } };
}

function cut(step: ReluStep, environment: CostEnvironment, smallest: number): readonly Piece[] {
  const all = environment.elements(step.input);
  const wanted = Math.min(mostPieces, Math.floor(all / smallest));
  if (wanted < 2) return [];
  if (!step.patches) {
    const bounds = Array.from({ length: wanted + 1 }, (_, i) => (i === wanted ? all : shareOf(i, wanted, all / grain) * grain));
    return bounds.slice(1).map((end, i) => flatPiece(step, environment, bounds[i]!, end));
  }
  const units = environment.batch > 1 ? environment.batch : environment.program.tensors[step.input]!.shape[0]!;
  const number = Math.min(wanted, units);
  if (number < 2) return [];
  return Array.from({ length: number }, (_, i) =>
    patchedPiece(step, environment, shareOf(i, number, units), shareOf(i + 1, number, units)),
  );
}

/** A piece's own hands. What it gives is copied into `whole()`, the output of all pieces. */
function handsOf(context: StepContext, { begin, end, environment }: Piece, index: number, whole: () => Words, turn?: Turn): StepContext {
  const own = numberedFrom(context, index * pieceStride);
  return {
    ...own,
    ...environment,
    value: (tensor) => context.value(tensor).subarray(begin, end) as Words,
    give: (_, words) => {
      context.compute.call('copyBytes', whole().subarray(begin, end), words, words.byteLength);
      context.memory.free(words);
    },
    ...(turn && { receive: (...message) => turn.whileWaiting(own.receive(...message)) }),
    cached: (key, make) => context.cached(`piece ${index}/${key}`, make),
  };
}

type Pieces = (step: ReluStep, environment: CostEnvironment) => readonly Piece[];

/** The output of all pieces, made when the first of them gives its own. */
function outputOf(context: StepContext, step: ReluStep): { whole(): Words; give(): void } {
  let words: Words | undefined;
  return {
    whole() {
      words ??= ringWords(context.memory, context.program.ringBits, context.elements(step.output));
      return words;
    },
    give() {
      if (words !== undefined) context.give(step.output, words);
    },
  };
}

function partInPieces<M>(part: RolePart<ReluStep, M>, piecesOf: Pieces): RolePart<ReluStep, readonly M[]> {
  const { online } = part;
  return {
    ...(part.putsOff && { putsOff: true }),
    async offline(context, step) {
      const pieces = piecesOf(step, context);
      if (pieces.length === 0) return [await part.offline(context, step)];
      const output = outputOf(context, step);
      const materials: M[] = [];
      for (const [i, piece] of pieces.entries()) materials.push(await part.offline(handsOf(context, piece, i, output.whole), piece.step));
      output.give();
      return materials;
    },
    ...(online && {
      async online(context, step, materials) {
        const pieces = piecesOf(step, context);
        if (pieces.length === 0) return online(context, step, materials[0]!);
        const output = outputOf(context, step);
        const turn = createTurn(context.rest);
        const hands = pieces.map((piece, i) => handsOf(context.branch(true, true), piece, i, output.whole, turn));
        await turn.all(
          pieces.map(
            ({ step }, i) =>
              () =>
                online(hands[i]!, step, materials[i]!),
          ),
        );
        output.give();
      },
    }),
  };
}

/** The messages of all pieces, one kind after the other: within a kind they do not wait for one another. */
function messagesOf(operation: Pick<Operation<ReluStep>, 'messages'>, pieces: readonly Piece[]): MessageSize[] {
  const lists = pieces.map(({ step, environment }) => operation.messages(step, environment));
  const most = Math.max(...lists.map((list) => list.length));
  return Array.from({ length: most }, (_, round) =>
    lists.flatMap((list, index) => {
      const message = list[round];
      return message === undefined ? [] : [{ ...message, name: message.name + index * pieceStride, round }];
    }),
  ).flat();
}

/**
 * The same operation, in pieces where it is large enough. Every piece is a ReLU of its own.
 * @param smallest Elements below which there is no piece.
 */
export function inPieces<C, V>(
  operation: Operation<ReluStep, C, V>,
  smallest = smallestPiece,
): Operation<ReluStep, readonly C[], readonly V[]> {
  const piecesOf: Pieces = (step, environment) => cut(step, environment, smallest);
  return {
    messages(step, environment) {
      const pieces = piecesOf(step, environment);
      return pieces.length === 0 ? operation.messages(step, environment) : messagesOf(operation, pieces);
    },
    rounds(step, environment) {
      const pieces = piecesOf(step, environment);
      if (pieces.length === 0) return operation.rounds(step, environment);
      return Math.max(...pieces.map((piece) => operation.rounds(piece.step, piece.environment)));
    },
    client: partInPieces(operation.client, piecesOf),
    server: partInPieces(operation.server, piecesOf),
    provider: partInPieces(operation.provider, piecesOf),
  };
}
