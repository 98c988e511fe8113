import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from './compute.js';
import { createCompute } from './heap.js';
import * as plain from './long-words-plain.js';
import { digitsOf, flipDigit, lookUpDigit, packPlane, unpackPlane } from './words-plain.js';

type Longs = BigInt64Array;

let compute: Compute;
beforeAll(async () => {
  compute = await createCompute();
});
afterAll(() => compute.close());

const onHeap = (values: BigInt64Array): BigInt64Array => {
  const longs = compute.longs(values.length);
  longs.set(values);
  return longs;
};
const indices = (values: readonly number[]): Int32Array => {
  const words = compute.words(values.length);
  words.set(values);
  return words;
};

const sizes = fc.oneof(fc.constantFrom(0, 1, 7, 8, 9, 31, 32, 33, 128, 129), fc.nat(200));
const longs = (count: number) => fc.bigInt64Array({ minLength: count, maxLength: count });
const bits = (count: number) => fc.array(fc.constantFrom(0, 1), { minLength: count, maxLength: count });
const pair = sizes.chain((n) => fc.tuple(longs(n), longs(n)));

describe('packing of 64-bit words', () => {
  it('packs and unpacks any width from 1 to 64 bits as its twin does, also in pieces', () => {
    fc.assert(
      fc.property(sizes.chain(longs), fc.integer({ min: 1, max: 64 }), (values, width) => {
        const source = onHeap(values);
        const expected = plain.packLongs(values, width);
        const packed = compute.bytes(expected.length + 16);
        const cut = Math.floor(values.length / 2 / 32) * 32;
        compute.call('packLongs', packed, source, width, cut, values.length);
        compute.call('packLongs', packed, source, width, 0, cut);
        expect(packed.slice(0, expected.length)).toEqual(expected);
        const back = compute.longs(values.length);
        compute.call('unpackLongs', back, packed, width, 0, values.length);
        expect(back.slice()).toEqual(plain.unpackLongs(expected, width, values.length));
        compute.free(source, packed, back);
      }),
    );
  });
});

describe('64-bit ring words', () => {
  it('add, subtract, scale and shift as their twins do', () => {
    const factors = fc.oneof(fc.integer(), fc.maxSafeInteger());
    fc.assert(
      fc.property(pair, factors, fc.integer({ min: 2, max: 64 }), fc.nat(63), ([a, b], factor, width, by) => {
        const [x, y, out] = [onHeap(a), onHeap(b), compute.longs(a.length)];
        const shift = Math.min(by, width - 1);
        compute.call('addLongs', out, x, y, 0, a.length);
        expect(out.slice()).toEqual(plain.addLongs(a, b));
        compute.call('subLongs', out, x, y, 0, a.length);
        expect(out.slice()).toEqual(plain.subLongs(a, b));
        compute.call('differenceSignedLongs', out, x, y, width, 0, a.length);
        expect(out.slice()).toEqual(plain.differenceSignedLongs(a, b, width));
        compute.call('signExtendLongs', out, x, width, 0, a.length);
        expect(out.slice()).toEqual(plain.signExtendLongs(a, width));
        compute.call('scaleLongs', out, x, factor, 0, a.length);
        expect(out.slice()).toEqual(plain.scaleLongs(a, factor));
        out.set(b);
        compute.call('addScaledLongs', out, x, factor, 0, a.length);
        expect(out.slice()).toEqual(plain.addScaledLongs(b, a, factor));
        compute.call('shiftLongs', out, x, width, shift, 0, a.length);
        expect(out.slice()).toEqual(plain.shiftLongs(a, width, shift));
        compute.free(x, y, out);
      }),
    );
  });

  it('gather and scatter by index, with -1 for zero, and multiply by factors in turn', () => {
    const [source, out] = [onHeap(BigInt64Array.of(1n << 40n, -20n, 30n)), compute.longs(4)];
    compute.call('gatherLongs', out, source, indices([2, -1, 0, 2]), 0, 4);
    expect([...out]).toEqual([30n, 0n, 1n << 40n, 30n]);
    const target = onHeap(BigInt64Array.of(1n, 1n, 1n));
    compute.call('scatterAddLongs', target, onHeap(BigInt64Array.of(5n, 6n, 7n)), indices([0, 2, 0]), 0, 3);
    expect([...target]).toEqual([13n, 1n, 7n]);
    compute.call('scatterLongs', target, onHeap(BigInt64Array.of(5n, 6n)), indices([1, 0]), 0, 2);
    expect([...target]).toEqual([6n, 5n, 7n]);
    fc.assert(
      fc.property(sizes.chain(longs), fc.array(fc.integer(), { minLength: 1, maxLength: 5 }), (values, factors) => {
        const heap = onHeap(values);
        compute.call('multiplyPeriodicLongs', heap, indices(factors), factors.length, 0, values.length);
        expect(heap.slice()).toEqual(plain.multiplyPeriodicLongs(values, Int32Array.from(factors)));
      }),
    );
  });
});

describe('truncation of 64-bit words', () => {
  const widths = fc.tuple(fc.integer({ min: 4, max: 64 }), fc.nat(63)).map(([k, f]) => ({ k, f: Math.min(f, k - 2) }));

  it('shares a mask and adds as its twins do', () => {
    const inputs = sizes.chain((n) => fc.tuple(longs(n), longs(n), longs(n), bits(n)));
    fc.assert(
      fc.property(inputs, widths, fc.boolean(), ([mask, high, carry, plane], { k, f }, gated) => {
        const n = mask.length;
        const [m, h, c, out] = [onHeap(mask), onHeap(high), onHeap(carry), compute.longs(n)];
        const bytes = compute.bytes((n >> 3) + 32);
        compute.call('slackPlaneLongs', bytes, m, k - f, 0, n);
        expect(unpackPlane(bytes, n)).toEqual(plain.slackPlaneLongs(mask, k - f));
        compute.call('subQuarterLongs', out, m, h, k - f, 0, n);
        expect(out.slice()).toEqual(plain.subQuarterLongs(mask, high, k - f));
        compute.call('addShiftedLongs', out, m, h, Math.min(63, k - f), 0, n);
        expect(out.slice()).toEqual(plain.addShiftedLongs(mask, high, Math.min(63, k - f)));
        bytes.set(packPlane(plane));
        compute.call('addWhereBitLongs', out, m, h, bytes, 0, n);
        expect(out.slice()).toEqual(plain.addWhereBitLongs(mask, high, plane));
        compute.call('shareTruncationLongs', m, gated ? bytes : 0, h, c, k, f, 0, n);
        const expected = plain.shareTruncationLongs(mask, gated ? plane : undefined, high, carry, k, f);
        expect({ high: h.slice(), carry: c.slice() }).toEqual(expected);
        compute.call('bitMinusLongs', m, bytes, 0, n);
        expect(m.slice()).toEqual(plain.bitMinusLongs(mask, plane));
        compute.free(m, h, c, out, bytes);
      }),
    );
  });

  it('selects and adds as its twin does', () => {
    const inputs = sizes.chain((n) => fc.tuple(bits(n), fc.array(longs(n), { minLength: 7, maxLength: 7 })));
    fc.assert(
      fc.property(inputs, widths, fc.maxSafeNat(), fc.boolean(), fc.boolean(), ([z, arrays], { k, f }, cap, minus, first) => {
        const n = z.length;
        const [addend, raw, h1, c1, h2, c2, s5] = arrays as [Longs, Longs, Longs, Longs, Longs, Longs, Longs];
        const v = plain.shiftLongs(raw, k, f);
        const shares = [h1, f > 0 ? c1 : undefined, h2, f > 0 ? c2 : undefined, s5] as const;
        const settings = { bits: k, f, offset: cap % 2 ** Math.min(52, k - f - 2), sign: minus ? -1 : 1, first };
        const heap = [addend, v, h1, c1, h2, c2, s5].map(onHeap);
        const [hAddend, hv, ...hShares] = heap;
        const args = hShares.map((share, i) => (shares[i] ? share : 0));
        const plane = compute.bytes((n >> 3) + 32);
        plane.set(packPlane(z));
        const out = compute.longs(n);
        const numbers = [k, f, settings.offset, settings.sign, first ? 1 : 0];
        compute.call('selectTruncatedLongs', out, hAddend!, hv!, plane, ...args, ...numbers, 0, n);
        expect(out.slice()).toEqual(plain.selectTruncatedLongs(addend, v, z, shares, settings));
        const turned = [...z].reverse();
        const turn = compute.bytes((n >> 3) + 32);
        turn.set(packPlane(turned));
        for (const chosen of [undefined, z]) {
          const used = [hv!, chosen ? plane : 0, turn, args[0]!, args[1]!, args[4]!, ...numbers.slice(0, 4)];
          compute.call('addTruncatedLongs', hAddend!, ...used, 0, n);
          const added = plain.addTruncatedLongs(addend, v, chosen, turned, [h1, shares[1], s5], settings);
          expect(hAddend!.slice()).toEqual(added);
          hAddend!.set(addend);
        }
        compute.free(turn);
        compute.free(...heap, plane, out);
      }),
    );
  });
});

describe('comparison of 64-bit words', () => {
  const cases = fc.tuple(fc.oneof(fc.constantFrom(0, 1, 8, 9), fc.nat(140)), fc.integer({ min: 1, max: 8 })).chain(([n, g]) =>
    fc.record({
      n: fc.constant(n),
      g: fc.constant(g),
      values: longs(n),
      table: fc.array(bits(2 ** g), { minLength: n, maxLength: n }),
      position: fc.nat(64 - g),
    }),
  );

  it('looks tables up, flips them at a digit, and takes bits as its twins do', () => {
    fc.assert(
      fc.property(cases, ({ n, g, values, table, position }) => {
        const source = onHeap(values);
        const digits = digitsOf(values, position, g);
        const packed = compute.bytes(((n << g) >> 3) + 32);
        packed.set(packPlane(table.flat()));
        const [equal, above] = [compute.bytes((n >> 3) + 16), compute.bytes((n >> 3) + 16)];
        compute.call('lookUpDigitLongs', equal, above, packed, source, position, g, 0, n);
        const expected = lookUpDigit(table, digits);
        expect(unpackPlane(equal, n)).toEqual(expected.equal);
        expect(unpackPlane(above, n)).toEqual(expected.above);
        compute.call('flipDigitLongs', packed, source, position, g, 0, n);
        expect(unpackPlane(packed, n << g)).toEqual(flipDigit(table, digits).flat());
        compute.call('bitPlaneLongs', equal, source, position, 0, n);
        expect(unpackPlane(equal, n)).toEqual(plain.bitPlaneLongs(values, position));
        compute.free(source, packed, equal, above);
      }),
    );
  });

  it('are doubles and back, exactly below 2^53', () => {
    fc.assert(
      fc.property(fc.array(fc.maxSafeInteger()), (values) => {
        const source = onHeap(BigInt64Array.from(values, BigInt));
        const out = compute.longs(values.length);
        compute.call('longsToDoubles', out, source, 0, values.length);
        expect([...new Float64Array(out.buffer, out.byteOffset, out.length)]).toEqual(values.map((v) => v + 0));
        compute.call('doublesToLongs', out, out, 0, values.length);
        expect(out.slice()).toEqual(BigInt64Array.from(values, BigInt));
        compute.free(source, out);
      }),
    );
  });
});
