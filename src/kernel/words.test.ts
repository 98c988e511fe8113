import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from './compute.js';
import { createCompute } from './heap.js';
import * as plain from './words-plain.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createCompute();
});
afterAll(() => compute.close());

const onHeap = (values: ArrayLike<number>): Int32Array => {
  const words = compute.words(values.length);
  words.set(values);
  return words;
};
const bytesOnHeap = (values: Uint8Array): Uint8Array => {
  const bytes = compute.bytes(values.length + 16);
  bytes.fill(0xa5);
  bytes.set(values);
  return bytes;
};
const planeOnHeap = (bits: readonly number[]): Uint8Array => bytesOnHeap(plain.packPlane(bits));

const sizes = fc.oneof(fc.constantFrom(0, 1, 3, 4, 7, 8, 31, 32, 33, 127, 128, 129, 1000), fc.nat(300));
const words = (count: number) => fc.int32Array({ minLength: count, maxLength: count });
const bits = (count: number) => fc.array(fc.constantFrom(0, 1), { minLength: count, maxLength: count });
const ringBits = fc.integer({ min: 2, max: 32 });

describe('packing', () => {
  it('packs and unpacks any width from 1 to 32 bits as its twin does, also in pieces', () => {
    fc.assert(
      fc.property(sizes.chain(words), fc.integer({ min: 1, max: 32 }), (values, width) => {
        const source = onHeap(values);
        const expected = plain.packWords(values, width);
        const packed = compute.bytes(expected.length + 16);
        const cut = Math.floor(values.length / 2 / 32) * 32;
        compute.call('packWords', packed, source, width, cut, values.length);
        compute.call('packWords', packed, source, width, 0, cut);
        expect(packed.slice(0, expected.length)).toEqual(expected);
        const back = compute.words(values.length);
        compute.call('unpackWords', back, packed, width, 0, values.length);
        expect(back.slice()).toEqual(plain.unpackWords(expected, width, values.length));
        compute.free(source, packed, back);
      }),
    );
  });
});

describe('ring words', () => {
  it('add, subtract, scale and shift as their twins do', () => {
    fc.assert(
      fc.property(
        sizes.chain((n) => fc.tuple(words(n), words(n))),
        fc.integer(),
        ringBits,
        fc.nat(31),
        ([a, b], factor, width, by) => {
          const [x, y, out] = [onHeap(a), onHeap(b), compute.words(a.length)];
          const shift = Math.min(by, width - 1);
          compute.call('addWords', out, x, y, 0, a.length);
          expect(out.slice()).toEqual(plain.addWords(a, b));
          compute.call('subWords', out, x, y, 0, a.length);
          expect(out.slice()).toEqual(plain.subWords(a, b));
          compute.call('differenceSignedWords', out, x, y, width, 0, a.length);
          expect(out.slice()).toEqual(plain.differenceSigned(a, b, width));
          compute.call('signExtendWords', out, x, width, 0, a.length);
          expect(out.slice()).toEqual(plain.signExtendWords(a, width));
          compute.call('scaleWords', out, x, factor, 0, a.length);
          expect(out.slice()).toEqual(plain.scaleWords(a, factor));
          out.set(b);
          compute.call('addScaledWords', out, x, factor, 0, a.length);
          expect(out.slice()).toEqual(plain.addScaledWords(b, a, factor));
          compute.call('shiftWords', out, x, width, shift, 0, a.length);
          expect(out.slice()).toEqual(plain.shiftWords(a, width, shift));
          compute.free(x, y, out);
        },
      ),
    );
  });

  it('gather and scatter by index, with -1 for zero', () => {
    const [source, index, out] = [onHeap([10, 20, 30]), onHeap([2, -1, 0, 2]), compute.words(4)];
    compute.call('gatherWords', out, source, index, 0, 4);
    expect([...out]).toEqual([30, 0, 10, 30]);
    const target = onHeap([1, 1, 1]);
    compute.call('scatterAddWords', target, onHeap([5, 6, 7]), onHeap([0, 2, 0]), 0, 3);
    expect([...target]).toEqual([13, 1, 7]);
    compute.call('scatterWords', target, onHeap([5, 6]), onHeap([1, 0]), 0, 2);
    expect([...target]).toEqual([6, 5, 7]);
    const periodic = onHeap([1, 2, 3, 4]);
    compute.call('multiplyPeriodicWords', periodic, onHeap([2, 3]), 2, 0, 4);
    expect([...periodic]).toEqual([2, 6, 6, 12]);
  });
});

describe('bit planes', () => {
  it('combine byte-wise', () => {
    fc.assert(
      fc.property(
        sizes.chain((n) => fc.tuple(bits(n), bits(n), bits(n))),
        ([a, b, c]) => {
          const [x, y, out] = [planeOnHeap(a), planeOnHeap(b), planeOnHeap(c)];
          const bytes = Math.ceil(a.length / 8);
          compute.call('xorAndBytes', out, x, y, 0, bytes);
          expect(plain.unpackPlane(out, a.length)).toEqual(c.map((bit, i) => bit ^ (a[i]! & b[i]!)));
          compute.call('xorBytes', x, y, 0, bytes);
          expect(plain.unpackPlane(x, a.length)).toEqual(a.map((bit, i) => bit ^ b[i]!));
          compute.call('andBytes', out, y, 0, bytes);
          expect(plain.unpackPlane(out, a.length)).toEqual(c.map((bit, i) => (bit ^ (a[i]! & b[i]!)) & b[i]!));
          compute.call('invertBytes', y, 0, bytes);
          expect(plain.unpackPlane(y, a.length)).toEqual(b.map((bit) => 1 - bit));
          compute.free(x, y, out);
        },
      ),
    );
  });

  it('take a bit of every word, and the slack bit of truncation', () => {
    fc.assert(
      fc.property(sizes.chain(words), fc.nat(31), ringBits, (values, bit, width) => {
        const source = onHeap(values);
        const out = compute.bytes((values.length >> 3) + 32);
        compute.call('bitPlaneWords', out, source, bit, 0, values.length);
        expect(plain.unpackPlane(out, values.length)).toEqual(plain.bitPlane(values, bit));
        compute.call('slackPlaneWords', out, source, width, 0, values.length);
        expect(plain.unpackPlane(out, values.length)).toEqual(plain.slackPlane(values, width));
        compute.free(source, out);
      }),
    );
  });

  it('gather bits by index', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 1), { minLength: 1, maxLength: 300 }),
        fc.array(fc.nat(), { maxLength: 300 }),
        (plane, picks) => {
          const index = picks.map((p) => p % plane.length);
          const out = compute.bytes((index.length >> 3) + 16);
          compute.call('gatherBits', out, planeOnHeap(plane), onHeap(index), 0, index.length);
          expect(plain.unpackPlane(out, index.length)).toEqual(index.map((i) => plane[i]));
        },
      ),
    );
  });
});

describe('truth tables', () => {
  const tables = (n: number, g: number) => fc.array(bits(2 ** g), { minLength: n, maxLength: n });
  const cases = fc
    .tuple(fc.oneof(fc.constantFrom(0, 1, 8, 9), fc.nat(140)), fc.integer({ min: 1, max: 8 }))
    .chain(([n, g]) =>
      fc.record({ n: fc.constant(n), g: fc.constant(g), values: words(n), table: tables(n, g), position: fc.nat(31 - g) }),
    );

  it('are looked up and flipped at a digit as their twins do, for every digit size', () => {
    fc.assert(
      fc.property(cases, ({ n, g, values, table, position }) => {
        const source = onHeap(values);
        const digits = plain.digitsOf(values, position, g);
        const packed = planeOnHeap(table.flat());
        const [equal, above] = [compute.bytes((n >> 3) + 16), compute.bytes((n >> 3) + 16)];
        compute.call('lookUpDigitWords', equal, above, packed, source, position, g, 0, n);
        const expected = plain.lookUpDigit(table, digits);
        expect(plain.unpackPlane(equal, n)).toEqual(expected.equal);
        expect(plain.unpackPlane(above, n)).toEqual(expected.above);
        compute.call('flipDigitWords', packed, source, position, g, 0, n);
        expect(plain.unpackPlane(packed, n << g)).toEqual(plain.flipDigit(table, digits).flat());
        compute.free(source, packed, equal, above);
      }),
    );
  });
});

describe('truncation', () => {
  const widths = fc.tuple(fc.integer({ min: 4, max: 32 }), fc.nat(31)).map(([k, f]) => ({ k, f: Math.min(f, k - 2) }));

  it('shares a mask as its twin does', () => {
    fc.assert(
      fc.property(
        sizes.chain((n) => fc.tuple(words(n), words(n), words(n), bits(n))),
        widths,
        fc.boolean(),
        ([mask, high, carry, plane], { k, f }, gated) => {
          const [m, h, c, p] = [onHeap(mask), onHeap(high), onHeap(carry), planeOnHeap(plane)];
          compute.call('shareTruncationWords', m, gated ? p : 0, h, c, k, f, 0, mask.length);
          const expected = plain.shareTruncation(mask, gated ? plane : undefined, high, carry, k, f);
          expect(h.slice()).toEqual(expected.high);
          expect(c.slice()).toEqual(expected.carry);
          compute.call('bitMinusWords', m, p, 0, mask.length);
          expect(m.slice()).toEqual(plain.bitMinusWords(mask, plane));
          compute.free(m, h, c, p);
        },
      ),
    );
  });

  it('selects and adds as its twin does', () => {
    const inputs = sizes.chain((n) => fc.tuple(bits(n), fc.array(words(n), { minLength: 7, maxLength: 7 })));
    fc.assert(
      fc.property(inputs, widths, fc.nat(1000), fc.boolean(), fc.boolean(), ([z, arrays], { k, f }, cap, minus, first) => {
        const [addend, raw, h1, c1, h2, c2, s5] = arrays as [
          Int32Array,
          Int32Array,
          Int32Array,
          Int32Array,
          Int32Array,
          Int32Array,
          Int32Array,
        ];
        const n = z.length;
        const v = plain.shiftWords(raw, k, f);
        const heap = [addend, v, h1, c1, h2, c2, s5].map(onHeap) as Int32Array[];
        const plane = planeOnHeap(z);
        const out = compute.words(n);
        const offset = f === 0 ? 0 : cap % 2 ** Math.min(20, k - f - 2);
        const [hAddend, hv, ...shares] = heap;
        const carries = f > 0;
        compute.call(
          'selectTruncatedWords',
          out,
          hAddend!,
          hv!,
          plane,
          shares[0]!,
          carries ? shares[1]! : 0,
          shares[2]!,
          carries ? shares[3]! : 0,
          shares[4]!,
          k,
          f,
          offset,
          minus ? -1 : 1,
          first ? 1 : 0,
          0,
          n,
        );
        const expected = plain.selectTruncated(addend, v, z, [h1, carries ? c1 : undefined, h2, carries ? c2 : undefined, s5], {
          bits: k,
          f,
          offset,
          sign: minus ? -1 : 1,
          first,
        });
        expect(out.slice()).toEqual(expected);
        const turned = [...z].reverse();
        const turn = planeOnHeap(turned);
        for (const chosen of [undefined, z]) {
          const args = [hv!, chosen ? plane : 0, turn, shares[0]!, carries ? shares[1]! : 0, shares[4]!, k, f, offset, minus ? -1 : 1];
          compute.call('addTruncatedWords', hAddend!, ...args, 0, n);
          const settings = { bits: k, f, offset, sign: minus ? -1 : 1 };
          const added = plain.addTruncated(addend, v, chosen, turned, [h1, carries ? c1 : undefined, s5], settings);
          expect(hAddend!.slice()).toEqual(added);
          hAddend!.set(addend);
        }
        compute.free(turn);
        compute.call('subQuarterWords', out, hv!, shares[0]!, k - f, 0, n);
        expect(out.slice()).toEqual(plain.subQuarter(v, h1, k - f));
        compute.call('addWhereBitWords', out, hAddend!, shares[0]!, plane, 0, n);
        expect(out.slice()).toEqual(plain.addWhereBit(addend, h1, z));
        compute.call('addShiftedWords', out, hAddend!, shares[0]!, Math.min(31, k - f), 0, n);
        expect(out.slice()).toEqual(plain.addShifted(addend, h1, Math.min(31, k - f)));
        compute.free(...heap, plane, out);
      }),
    );
  });
});
