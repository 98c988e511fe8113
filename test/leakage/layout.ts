// What lies where in the messages and random draws of the masked suite: a second, independent description, which the views are cut by and
// which the tests hold the code's own sizes to. An item is one word, table or bit; the items of one picture are told apart by `image`.
import { maxPoolPasses } from '../../src/kernel/geometry.js';
import type { MaxPoolStep, Program, ReluStep } from '../../src/model/program.js';
import { type ComparisonPlan, planOf } from '../../src/protocol/masked/plan.js';
import { sealedTensors } from '../../src/protocol/masked/states.js';
import { messageNames } from '../../src/protocol/messages.js';

/** A run of `count` items of `bits` bits, one every `stride` bits. */
export interface Part {
  readonly name: string;
  readonly count: number;
  readonly bits: number;
  readonly stride: number;
  /** In memory, whether the items are whole words. */
  readonly words?: true;
  /** Items of one picture stand together: `inner` of them, then the next picture's, repeated until `count`. */
  readonly inner: number;
}

/** All messages and draws of a program for one batch size, by "step/name" and "step/part". */
export interface Layout {
  readonly messages: ReadonlyMap<string, readonly Part[]>;
  /** Draws of the stream that client and provider share, and of the one that server and provider share. */
  readonly draws: Readonly<Record<'client' | 'server', ReadonlyMap<string, readonly Part[]>>>;
}

type Parts = Part[];

interface Sink {
  message(name: number, parts: Parts): void;
  draw(pair: 'client' | 'server', part: number, parts: Parts): void;
}

/** Elements of a non-linear step, per picture. */
interface Sizes {
  readonly compared: number;
  readonly blocks: number;
  readonly identity: number;
  readonly all: number;
}

export function layoutOf(program: Program, batch: number): Layout {
  const messages = new Map<string, Part[]>();
  const draws = { client: new Map<string, Part[]>(), server: new Map<string, Part[]>() };
  const sink = (step: number, offset = 0): Sink => ({
    message: (name, parts) => void messages.set(`${step}/${name + offset}`, parts),
    draw: (pair, part, parts) => void draws[pair].set(`${step}/${part + offset}`, parts),
  });
  const size = (tensor: number) => program.tensors[tensor]!.shape.reduce((a, b) => a * b, 1);
  const k = program.ringBits;
  const wire = wireParts(batch);
  const memory = memoryParts(batch);
  program.steps.forEach((step, index) => {
    const to = sink(index);
    if (step.kind === 'linear') {
      to.draw('client', 0, [memory.words('rho', size(step.output), k)]);
      to.message(messageNames.maskedProduct, [wire('c0', size(step.output), k)]);
    } else if (step.kind === 'product') productLayout(to, batch, k, new Set(step.inputs).size, size(step.output));
    else if (step.kind === 'truncate') truncateLayout(to, batch, k, step.truncateBits, size(step.input));
    else if (step.kind === 'relu') reluLayout(to, batch, k, step, reluSizes(step, program));
    else if (step.kind === 'maxpool') {
      poolRounds(step).forEach((pairs, round) => {
        reluLayout(
          sink(index, 16 * round),
          batch,
          k,
          asRelu(step),
          { compared: pairs.all, blocks: pairs.all, identity: 0, all: pairs.all },
          pairs.outputs,
        );
      });
    }
  });
  const [input, output] = [sink(program.steps.length), sink(program.steps.length + 1)];
  input.draw('client', 0, [memory.words('lambda', size(program.input), k)]);
  input.message(messageNames.input, [wire('x', size(program.input), k)]);
  output.message(messageNames.output, [wire('y', size(program.output), k)]);
  if (sealedTensors(program)[program.output]) {
    output.draw('client', 0, [memory.words('target', size(program.output), k)]);
    output.message(messageNames.correlation, [wire('delta', size(program.output), k)]);
  }
  return { messages, draws };
}

/** A part of a message: items without gaps. */
const wireParts =
  (batch: number, inner?: number) =>
  (name: string, each: number, bits: number): Part => ({ name, count: each * batch, bits, stride: bits, inner: inner ?? each });

const memoryParts = (batch: number, inner?: number) => ({
  words: (name: string, each: number, bits: number): Part => ({
    name,
    count: each * batch,
    bits,
    stride: 32,
    words: true,
    inner: inner ?? each,
  }),
  packed: (name: string, each: number, bits: number): Part => ({ name, count: each * batch, bits, stride: bits, inner: inner ?? each }),
});

function truncateLayout(to: Sink, batch: number, k: number, f: number, each: number): void {
  const wire = wireParts(batch);
  const { words } = memoryParts(batch);
  to.draw('client', 0, [words('t', each, f), words('lambda0', each, k), words('lambda1', each, f)]);
  to.draw('server', 2, [words('c', each, k)]);
  to.message(messageNames.correlation, [wire('t', each, f), wire('d', each, k)]);
  to.message(messageNames.opening, [wire('b', each, 1)]);
  to.message(messageNames.answer, [wire('e', each, f)]);
}

function productLayout(to: Sink, batch: number, k: number, factors: number, each: number): void {
  const wire = wireParts(batch, each);
  const { words } = memoryParts(batch, each);
  to.draw('server', 0, [words('u', factors * each, k)]);
  to.draw('client', 1, [words('s', each, k)]);
  to.draw('client', 2, [words('t', each, k)]);
  to.message(messageNames.correlation, [wire('c', each, k)]);
  to.message(messageNames.opening, [wire('e', factors * each, k)]);
  to.message(messageNames.result, [wire('x', each, k)]);
}

const asRelu = ({ name, window, comparison }: MaxPoolStep): ReluStep => ({
  kind: 'relu',
  name,
  input: 0,
  output: 1,
  truncateBits: 0,
  window,
  ...(comparison && { comparison }),
});

/** Differences a maximum pool opens in each round: all of a picture, and how many stand together. */
function poolRounds(step: MaxPoolStep): { all: number; outputs: number }[] {
  return maxPoolPasses(step.geometry).flatMap(({ kernel, outputs }) => {
    const rounds = [];
    for (let left = kernel; left > 1; left = Math.ceil(left / 2)) rounds.push({ all: (left >> 1) * outputs, outputs });
    return rounds;
  });
}

function reluSizes(step: ReluStep, program: Program): Sizes {
  const [channels = 1, height = 1, width = 1] = program.tensors[step.input]!.shape;
  const all = channels * height * width;
  if (!step.patches) return { compared: all, blocks: all, identity: 0, all };
  const sizes = { compared: 0, blocks: 0, identity: 0, all };
  for (const [high, wide] of step.patches) {
    if (high === 0) sizes.identity += height * width;
    else if (wide !== 0) {
      sizes.compared += height * width;
      sizes.blocks += Math.ceil(height / high) * Math.ceil(width / wide);
    }
  }
  return sizes;
}

const repeat = <T>(times: number, make: (i: number) => T): T[] => Array.from({ length: times }, (_, i) => make(i));

function reluLayout(to: Sink, batch: number, k: number, step: ReluStep, sizes: Sizes, inner?: number): void {
  const f = step.truncateBits;
  const { compared, blocks, identity, all } = sizes;
  const dropped = step.window.low >= f ? f : 0;
  const hinges = step.cap === undefined ? 1 : 2;
  const plan = planOf(step);
  const wire = wireParts(batch, inner);
  const { words, packed } = memoryParts(batch, inner);
  const digits = plan.groups.flat();
  const masks = (make: typeof packed, hinge: number, levels = combiners(plan)) =>
    levels.flatMap((c, i) => repeat(c.masks, (m) => make(`mask${hinge}.${c.level}${c.level === 1 ? i : ''}.${m}`, blocks, 1)));
  const products = (make: typeof packed, hinge: number) =>
    combiners(plan).flatMap((c, i) => repeat(c.products, (p) => make(`product${hinge}.${i}.${p}`, blocks, 1)));
  const shares = (make: typeof packed, hinge: string) => [make(`high${hinge}`, compared, k), make(`carry${hinge}`, compared, f)];
  const first = combiners(plan).filter((c) => c.level === 1);
  const second = combiners(plan).filter((c) => c.level === 2);
  const tables = (make: typeof packed) => digits.map((g, i) => make(`table${i}`, blocks, 1 << g));
  const eachHinge = <T>(make: (hinge: number) => T[]): T[] => repeat(hinges, make).flat();
  const result = (make: typeof packed, hinge: number) => (plan.direct ? [] : [make(`result${hinge}`, blocks, 1)]);
  // Two digits in one round trip have four zetas, numbered from 0.
  const selectors = (make: typeof packed, hinge: number) =>
    repeat(plan.zetas, (i) => (i === 0 ? `${hinge}` : `${hinge}.${i}`)).flatMap((of) => [
      ...shares(make, of),
      make(`zeta${of}`, blocks, k),
    ]);

  to.draw('client', 0, [
    ...tables(packed),
    ...eachHinge((h) => [...masks(packed, h), ...result(packed, h), ...products(packed, h)]),
    ...shares(words, ''),
    ...eachHinge((h) => selectors(words, h)),
    words('t', identity, f),
    words('lambda0', identity, k),
    words('lambda1', identity, f),
  ]);
  to.draw('client', 1, [words('lambda', compared, k)]);
  to.draw('server', 2, [...eachHinge((h) => [...masks(packed, h), ...result(packed, h)]), words('c', all, k)]);
  if (compared + identity === 0) return;
  to.message(messageNames.correlation, [
    ...tables(wire),
    ...eachHinge((h) => products(wire, h)),
    ...shares(wire, ''),
    ...eachHinge((h) => selectors(wire, h)),
    wire('t', identity, f),
    wire('d', identity, k),
  ]);
  to.message(messageNames.opening, [wire('y', compared, k - dropped), ...eachHinge((h) => masks(wire, h, first)), wire('b', identity, 1)]);
  const share = wire('x', compared, k);
  to.message(messageNames.answer, [
    ...eachHinge((h) => [...masks(wire, h, first), ...masks(wire, h, second)]),
    wire('e', identity, f),
    ...(plan.direct ? [share] : []),
  ]);
  if (compared === 0 || plan.direct) return;
  to.message(
    messageNames.signs,
    eachHinge((h) => [...masks(wire, h, second), wire(`result${h}`, blocks, 1)]),
  );
  to.message(messageNames.result, [...eachHinge((h) => [wire(`result${h}`, blocks, 1)]), share]);
}

function combiners(plan: ComparisonPlan): { masks: number; products: number; level: 1 | 2 }[] {
  const of = (level: 1 | 2) => (c: ComparisonPlan['first'][number]) => ({ masks: c.masks, products: c.products.length, level });
  return [...plan.first.map(of(1)), ...(plan.second ? [of(2)(plan.second)] : [])];
}

/** First bit of every part, and the bytes of the whole: parts start on a byte in a message, on 16 bytes in a draw. */
export function placeParts(parts: readonly Part[], align: 1 | 16): { starts: number[]; bytes: number } {
  let at = 0;
  const starts = parts.map((part) => {
    const start = at;
    at += spanBytes(part, align);
    return start * 8;
  });
  return { starts, bytes: at };
}

/** In memory a plane fills whole 16-byte pieces of 128 items, and a table as many as its items' planes would. */
function spanBytes({ count, stride, words }: Part, align: 1 | 16): number {
  if (align === 1) return Math.ceil((count * stride) / 8);
  if (words) return Math.ceil((count * 4) / 16) * 16;
  return Math.max(Math.ceil(count / 128) * 16 * stride, stride > 1 ? 16 : 0);
}
