// A party's view of many independent pictures, cut into small fields, and the comparison of two secrets over it.
//
// A view is what a party receives, what it draws and what it knows from the start. Its own draws are held at constants, the same for every
// picture of a run, and what it receives is compared given them: equal conditional distributions for every constant are equal joint ones, and
// the samples are spent on what the party does not choose. What it sends is a function of the rest, and is looked at too: a relation between
// many received words is often one between two of them and a sent one.
import type { ProgramWeights } from '../../src/model/program.js';
import type { Role } from '../../src/protocol/operation.js';
import { randomBytes } from '../../src/random/seeds.js';
import { placesOf, readBits } from './items.js';
import { layoutOf, type Part, placeParts } from './layout.js';
import { runTraced, type Setting, type Tamper, type Trace } from './parties.js';
import { chiSquare, countCells, type Finding, twins } from './statistics.js';
import { holding } from './tamper.js';

/** One small piece of every picture's view. */
interface Field {
  readonly name: string;
  readonly bits: number;
  readonly values: Int32Array;
  /** Both halves of a plane, put together. */
  readonly opened?: true;
}

/** Pieces of an item: everything up to 8 bits, bytes of a table, both ends of a longer word. */
function pieces(bits: number): readonly (readonly [start: number, bits: number])[] {
  if (bits <= 8) return [[0, bits]];
  if (bits === 16 || bits === 32) return Array.from({ length: bits / 8 }, (_, i) => [8 * i, 8] as const);
  return [
    [0, 5],
    [bits - 5, 5],
  ];
}

/** Up to 8 bits of item `index` of every picture. */
function readItems(payload: Uint8Array, start: number, part: Part, index: number, bits: number, batch: number): Int32Array {
  const values = new Int32Array(batch);
  const { first, step } = placesOf(part, batch, index);
  for (let image = 0, at = start + first; image < batch; image++, at += step) values[image] = readBits(payload, at, bits);
  return values;
}

/** The fields of what `role` received and sent in all inferences of a run, and of the planes it opened (its half and the peer's). */
export function fieldsOf(traces: readonly Trace[], role: Role, setting: Setting, batch: number): Field[] {
  const layout = layoutOf(setting.program, batch);
  const fields: Field[] = [];
  const halves = new Map<string, Int32Array>();
  for (const { messages } of traces) {
    for (const { to, from, label, payload } of messages) {
      if (to !== role && from !== role) continue;
      const parts = layout.messages.get(`${label.step}/${label.name}`);
      const placed = placeParts(parts ?? [], 1);
      if (placed.bytes !== payload.length)
        throw new Error(`message ${label.step}/${label.name} has ${payload.length} bytes, expected ${placed.bytes}`);
      for (const [p, part] of parts!.entries()) {
        const each = part.count / batch;
        for (let index = 0; index < each; index++) {
          for (const [start, bits] of pieces(part.bits)) {
            if (bits === 0) continue;
            const values = readItems(payload, placed.starts[p]! + start, part, index, bits, batch);
            fields.push({
              name: `${from}>${to} ${label.inference}/${label.step}/${label.name} ${part.name}[${index}]+${start}`,
              bits,
              values,
            });
            if (bits > 1 || part.bits > 1) continue;
            const plane = `${label.inference}/${label.step}/${label.name >> 4} ${part.name}[${index}]`;
            const half = halves.get(plane);
            if (half) fields.push({ name: `opened ${plane}`, bits, values: values.map((value, i) => value ^ half[i]!), opened: true });
            else halves.set(plane, values);
          }
        }
      }
    }
  }
  return [...fields, ...sumsOf(fields.filter(({ opened }) => opened))];
}

/** XORs of two opened planes of one comparison, where it opens up to three: a sign in one round trip is in such sums. */
function sumsOf(opened: readonly Field[]): Field[] {
  const comparisonOf = ({ name }: Field): string => name.split(' ')[1]!;
  return opened.flatMap((a, i) =>
    opened
      .slice(i + 1)
      .filter((b) => comparisonOf(b) === comparisonOf(a) && opened.filter((c) => comparisonOf(c) === comparisonOf(a)).length <= 3)
      .map((b) => ({ name: `${a.name} ^ ${b.name}`, bits: 1, values: a.values.map((bit, j) => bit ^ b.values[j]!), opened: true })),
  );
}

/** One side of a comparison: the pictures of each inference, and the weights. */
export interface Secret {
  /** One encoded picture an inference. */
  readonly pictures: readonly (readonly number[])[];
  readonly weights: ProgramWeights;
}

export interface Comparison {
  readonly setting: Omit<Setting, 'weights'>;
  readonly role: 'client' | 'server';
  readonly secrets: readonly [Secret, Secret];
  readonly batch: number;
  /** Which constants the party's own draws are held at. */
  readonly seed: number;
  readonly mutant?: Tamper;
  /** Looks at the view as a whole alone: for large batches. */
  readonly wholeOnly?: boolean;
  /** The most triples of small fields to look at, with an opened plane and without (default 250 each). */
  readonly triples?: number;
}

/** Exponent of the false-alarm rate of a single test: e^-40. */
export const exponent = 40;

const pairsBits = 12;
const triplesBits = 11;
const mostTriples = 250;

export interface Compared {
  readonly worst: Finding;
  readonly tests: number;
  readonly twins: number;
  /** What came out for either secret, if it was one and the same for every picture. */
  readonly outputs: readonly [string | undefined, string | undefined];
}

/** Runs both secrets and returns the test that came closest to (or went furthest over) its bound; with `stop`, the first alarm. */
export async function compareViews(
  { setting, role, secrets, batch, seed, mutant, wholeOnly = false, triples = mostTriples }: Comparison,
  stop = false,
): Promise<Compared> {
  const hold = holding(role, setting, batch, seed);
  const tamper: Tamper = (pair, address, drawn) => {
    mutant?.(pair, address, drawn);
    hold(pair, address, drawn);
  };
  const sides: { fields: Field[]; output: string | undefined }[] = [];
  for (const { pictures, weights } of secrets) {
    const full = { ...setting, weights, tamper };
    const traces = await runTraced(
      full,
      pictures.map((picture) => spread(picture, batch)),
      batch,
    );
    sides.push({ fields: fieldsOf(traces, role, full, batch), output: oneOutput(traces, batch) });
  }
  const [one, two] = [sides[0]!.fields, sides[1]!.fields];
  if (
    one
      .map((f) => f.name)
      .sort()
      .join() !==
    two
      .map((f) => f.name)
      .sort()
      .join()
  )
    throw new Error('the two secrets led to different messages');
  const labels = randomBytes(batch).map((byte) => byte & 1);
  const byName = new Map(two.map((field) => [field.name, field]));
  const mixed = one.map((field) => {
    const { name, values } = field;
    const others = byName.get(name)!.values;
    return { ...field, values: values.map((value, i) => (labels[i] ? others[i]! : value)) };
  });
  return { ...search(mixed, labels, stop, wholeOnly, triples), outputs: [sides[0]!.output, sides[1]!.output] };
}

const spread = (picture: readonly number[], batch: number): Int32Array =>
  Int32Array.from({ length: picture.length * batch }, (_, i) => picture[i % picture.length]!);

function oneOutput(traces: readonly Trace[], batch: number): string | undefined {
  return traces.every(({ outputs }) => outputs.every((word, i) => word === outputs[i % (outputs.length / batch)]))
    ? traces.map(({ outputs }) => outputs.slice(0, outputs.length / batch).join()).join(';')
    : undefined;
}

/** Tests single fields, pairs, triples and the whole view. */
function search(fields: readonly Field[], labels: Uint8Array, stop: boolean, wholeOnly: boolean, most: number): Omit<Compared, 'outputs'> {
  let worst: Finding = { what: 'nothing', excess: 0 };
  let tests = 0;
  const look = (set: readonly Field[]): boolean => {
    tests++;
    const excess = chiSquare(countCells(labels, set), exponent);
    if (excess > worst.excess) worst = { what: set.map((f) => f.name).join(' & '), excess };
    return stop && worst.excess > 1;
  };
  const whole = wholeViews(fields, labels.length);
  const twin = twins(whole[0], whole[1], labels, exponent);
  tests++;
  if (twin.excess > worst.excess) worst = { what: 'whole view', excess: twin.excess };
  const done = () => ({ worst, tests, twins: twin.pairs });
  if (wholeOnly || (stop && worst.excess > 1)) return done();
  for (const field of fields) if (look([field])) return done();
  for (const [i, a] of fields.entries())
    for (const b of fields.slice(i + 1)) if (a.bits + b.bits <= pairsBits && look([a, b])) return done();
  for (const triple of triplesOf(fields, most)) if (look(triple)) return done();
  return done();
}

/** Triples of small fields: those with an opened plane first, an even choice among them, then one among the rest. */
function* triplesOf(fields: readonly Field[], most: number): Generator<readonly Field[]> {
  const kinds: Field[][][] = [[], []];
  for (let a = 0; a < fields.length; a++) {
    for (let b = a + 1; b < fields.length; b++) {
      for (let c = b + 1; c < fields.length; c++) {
        const triple = [fields[a]!, fields[b]!, fields[c]!];
        if (triple.reduce((sum, f) => sum + f.bits, 0) <= triplesBits) kinds[triple.some((f) => f.opened) ? 0 : 1]!.push(triple);
      }
    }
  }
  for (const triples of kinds) {
    const step = Math.max(1, triples.length / most);
    for (let at = 0; at < triples.length; at += step) yield triples[Math.floor(at)]!;
  }
}

function wholeViews(fields: readonly Field[], count: number): [Int32Array, Int32Array] {
  const [first, second] = [new Int32Array(count).fill(17), new Int32Array(count).fill(-5)];
  for (const { values } of fields) {
    for (let i = 0; i < count; i++) {
      first[i] = Math.imul(first[i]! ^ values[i]!, 0x01000193) ^ (first[i]! >>> 13);
      second[i] = Math.imul(second[i]! + values[i]! + 1, 0x5bd1e995) ^ (second[i]! >>> 15);
    }
  }
  return [first, second];
}
