// Streams that are not what they should be: a party's own draws held at constants, and the mutants.
import type { StreamAddress } from '../../src/random/streams.js';
import { placesOf, readWord, writeBits } from './items.js';
import { layoutOf, type Part, placeParts } from './layout.js';
import type { Pair, Setting, Tamper } from './parties.js';

/** Any word from a name and a number: the constants a party's own draws are held at. */
function constant(text: string, seed: number): number {
  let hash = 2166136261 ^ seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  hash ^= hash >>> 12;
  return Math.imul(hash, 0x297a2d39) ^ (hash >>> 15);
}

/** Draws by "pair step/part" and part name. */
export interface DrawName {
  readonly pair: Pair;
  /** "step/part" of the layout. */
  readonly draw: string;
  readonly part: string;
}

/** Every named part of every draw of a program. */
export function drawNames(setting: Pick<Setting, 'program'>): DrawName[] {
  const { draws } = layoutOf(setting.program, 1);
  return (['client', 'server'] as const).flatMap((pair) =>
    [...draws[pair]].flatMap(([draw, parts]) => parts.filter((p) => p.count > 0 && p.bits > 0).map((p) => ({ pair, draw, part: p.name }))),
  );
}

/** Draws of one part, with the place of every item. */
function eachItem(parts: readonly Part[], name: string, batch: number, visit: (at: number, part: Part, index: number) => void): void {
  const { starts } = placeParts(parts, 16);
  parts.forEach((part, p) => {
    if (part.name !== name || part.count === 0) return;
    for (let index = 0; index < part.count / batch; index++) {
      const { first, step } = placesOf(part, batch, index);
      for (let image = 0; image < batch; image++) visit(starts[p]! + first + image * step, part, index);
    }
  });
}

/** Repeats a pattern of `bits` bits over `count` places. Byte-aligned; `count` is a multiple of 8. */
function fillPeriodic(target: Uint8Array, bits: number, count: number, write: (bytes: Uint8Array, at: number) => void): void {
  const length = (bits * count) / 8;
  for (let copy = 0; copy < 8; copy++) write(target, copy * bits);
  for (let done = bits; done < length; done *= 2) target.copyWithin(done, 0, Math.min(done, length - done));
}

/** Holds the draws of one pair at constants that differ by item, not by picture. */
export function holding(own: Pair, setting: Pick<Setting, 'program'>, batch: number, seed: number): Tamper {
  const { draws } = layoutOf(setting.program, batch);
  return (pair, { inference, step, tensor }, drawn) => {
    if (pair !== own) return;
    const parts = draws[pair].get(`${step}/${tensor}`);
    if (!parts) throw new Error(`no layout for draw ${step}/${tensor}`);
    const { bytes, starts } = placeParts(parts, 16);
    if (bytes !== Math.ceil(drawn.length / 16) * 16) throw new Error(`draw ${step}/${tensor} has ${drawn.length} bytes, expected ${bytes}`);
    parts.forEach(({ name, count, inner, stride }, p) => {
      for (let first = 0; first < count / batch; first += inner) {
        const from = (starts[p]! + first * batch * stride) / 8;
        fillPeriodic(drawn.subarray(from, from + (batch * inner * stride) / 8), inner * stride, batch, (target, at) => {
          for (let i = 0; i < inner; i++) {
            writeBits(target, at + i * stride, stride, constant(`${inference}/${step}/${tensor}/${name}/${first + i}`, seed));
          }
        });
      }
    });
  };
}

/** Mutant: a mask dropped. */
export function dropping({ pair, draw, part }: DrawName, setting: Pick<Setting, 'program'>, batch: number): Tamper {
  const parts = layoutOf(setting.program, batch).draws[pair].get(draw)!;
  return (drawnBy, { step, tensor }, drawn) => {
    if (drawnBy === pair && draw === `${step}/${tensor}`) eachItem(parts, part, batch, (at, { stride }) => writeBits(drawn, at, stride, 0));
  };
}

/** Mutant: one mask for two purposes. `to` gets the bits of `from`, which is drawn before it (or in the same draw) by the same pair. */
export function reusing(
  from: DrawName,
  to: DrawName,
  setting: Pick<Setting, 'program'>,
  batch: number,
  items: readonly [number, number] = [0, 0],
): Tamper {
  const { draws } = layoutOf(setting.program, batch);
  const kept = new Map<number, number[]>();
  const at = (name: DrawName, address: StreamAddress) => name.draw === `${address.step}/${address.tensor}`;
  return (pair, address, drawn) => {
    if (pair !== from.pair) return;
    if (at(from, address)) {
      const values: number[] = [];
      eachItem(draws[pair].get(from.draw)!, from.part, batch, (place, { stride }, index) => {
        if (index === items[0]) values.push(readWord(drawn, place, stride));
      });
      kept.set(address.inference, values);
    }
    if (at(to, address)) {
      let image = 0;
      eachItem(draws[pair].get(to.draw)!, to.part, batch, (place, { stride }, index) => {
        if (index === items[1]) writeBits(drawn, place, stride, kept.get(address.inference)![image++]!);
      });
    }
  };
}
