import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomBytes } from '../random/seeds.js';
import type { Compute, HeapArray } from './compute.js';
import { createCompute } from './heap.js';
import { type DigitCode, digitCode, drawBytes, makeCode, maskBytes, tilesOf } from './private.js';
import * as plain from './private-plain.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createCompute();
});
afterAll(() => compute.close());

const held: HeapArray[] = [];
const keep = <T extends HeapArray>(array: T): T => {
  held.push(array);
  return array;
};
const release = () => compute.free(...held.splice(0));
const bytesOnHeap = (values: ArrayLike<number>): Uint8Array => {
  const bytes = keep(compute.bytes(values.length));
  bytes.set(values);
  return bytes;
};
const longsOnHeap = (values: readonly bigint[]): BigInt64Array => {
  const longs = keep(compute.longs(values.length));
  for (const [i, value] of values.entries()) longs[i] = BigInt.asIntN(64, value);
  return longs;
};
const wordsOnHeap = (values: ArrayLike<number>): Int32Array => {
  const words = keep(compute.words(values.length));
  words.set(values);
  return words;
};
const unsigned = (longs: BigInt64Array): bigint[] => Array.from(longs, (x) => BigInt.asUintN(64, x));

/** Draws with more rejections than chance would give: a fifth of them are all ones. */
function rough(length: number): Uint8Array {
  const bytes = randomBytes(length);
  for (let i = 0; i + 1 < length; i += 2) if (bytes[i]! % 5 === 0) bytes.fill(255, i, i + 2);
  return bytes;
}

const bitsOf = fc.oneof(fc.integer({ min: 2, max: 64 }), fc.constantFrom(2, 8, 16, 32, 63, 64));
/** A value of `bits` bits, often at an end. */
const wordOf = (bits: number) =>
  fc.oneof(fc.bigInt(0n, (1n << BigInt(bits)) - 1n), fc.constantFrom(0n, 1n, (1n << BigInt(bits)) - 1n, (1n << BigInt(bits)) - 2n));
const cases = bitsOf.chain((bits) =>
  fc.record({
    bits: fc.constant(bits),
    values: fc.array(fc.tuple(wordOf(bits), wordOf(bits), fc.nat(1), wordOf(bits)), { minLength: 1, maxLength: 40 }),
  }),
);
const runs = { numRuns: 60 };

describe('digit codes', () => {
  it('take the smallest prime above n + 1: 67 for 64 bits', () => {
    expect([6, 8, 13, 16, 32, 64].map((n) => digitCode(n).prime)).toEqual([11, 11, 17, 19, 37, 67]);
    for (let n = 2; n <= 64; n++) expect(digitCode(n).prime).toBeGreaterThan(n + 1);
  });

  it('divide every packed word exactly', () => {
    for (let n = 2; n <= 64; n++) {
      const [, prime, perWord, , magic, shift] = digitCode(n).record as [number, number, number, number, number, number];
      const largest = BigInt(prime) ** BigInt(perWord) - 1n;
      const error = BigInt(magic) * BigInt(prime) - (1n << BigInt(32 + shift));
      expect(magic < 2 ** 32 && error >= 0n && error * largest < 1n << BigInt(32 + shift)).toBe(true);
    }
  });

  it('pack 64 digits into 52 bytes and 16 into 10', () => {
    expect(digitCode(64).tileBytes).toBe(16 * 52);
    expect(digitCode(16).tileBytes).toBe(16 * 10);
  });
});

const padded = (values: readonly bigint[]): bigint[] => [
  ...values,
  ...new Array<bigint>(16 * tilesOf(values.length) - values.length).fill(0n),
];
const recordOf = (code: DigitCode): Int32Array => wordsOnHeap(code.record);

describe('private compare', () => {
  it('shares bits as its twin does', () => {
    fc.assert(
      fc.property(cases, ({ bits, values }) => {
        const code = digitCode(bits);
        const words = padded(values.map(([x]) => x));
        const tiles = tilesOf(words.length);
        const stream = rough(drawBytes(bits, tiles));
        const out = keep(compute.bytes(tiles * code.tileBytes + 16));
        compute.call('shareBits', recordOf(code), out, longsOnHeap(words), bytesOnHeap(stream), 0, tiles);
        expect([...out.subarray(0, tiles * code.tileBytes)]).toEqual(plain.shareBits(code, words, stream));
        release();
      }),
      runs,
    );
  });

  it('masks, turns and tests digits as its twin does, drawn and dealt', () => {
    fc.assert(
      fc.property(cases, fc.nat(3), fc.nat(3), fc.boolean(), ({ bits, values }, from, to, second) => {
        const code = digitCode(bits);
        const z = padded(values.map(([x]) => x));
        const beta = z.map((_, i) => values[i % values.length]![2]);
        const tiles = tilesOf(z.length);
        const [first, last] = [Math.min(from, tiles), Math.min(Math.max(from, to), tiles)];
        const stream = rough(drawBytes(bits, last - first));
        const message = Uint8Array.from(
          plain.shareBits(code, z.slice(16 * (last - first)), rough(drawBytes(bits, tiles - (last - first)))),
        );
        const masks = rough(maskBytes(bits, tiles));
        const out = keep(compute.bytes(tiles * code.tileBytes + 16));
        const args = [
          recordOf(code),
          out,
          longsOnHeap(z),
          bytesOnHeap(beta),
          bytesOnHeap(stream),
          bytesOnHeap(message),
          first,
          last,
          bytesOnHeap(masks),
          second ? 1 : 0,
        ];
        compute.call('compareDigits', ...args, 0, tiles);
        const expected = Array.from({ length: tiles }, (_, tile) => {
          const drawn = tile >= first && tile < last;
          const dealt = (tile < first ? tile : tile - (last - first)) * code.tileBytes;
          const each = drawBytes(bits, 1);
          const shares = drawn
            ? plain.sampleRows(stream.subarray((tile - first) * each, (tile - first + 1) * each), bits, code.prime, 0)
            : plain.unpackRows(code, message.subarray(dealt, dealt + code.tileBytes));
          const own = masks.subarray(tile * maskBytes(bits, 1), (tile + 1) * maskBytes(bits, 1));
          const at = 16 * tile;
          return plain.packRows(code, plain.compareTile(code, shares, z.slice(at, at + 16), beta.slice(at, at + 16), own, second));
        }).flat();
        const bytes = tiles * code.tileBytes;
        expect([...out.subarray(0, bytes)]).toEqual(expected);
        const other = Uint8Array.from(plain.shareBits(code, z, rough(drawBytes(bits, tiles))));
        const zeros = keep(compute.bytes(16 * tiles));
        compute.call('findZeros', recordOf(code), zeros, out, bytesOnHeap(other), 0, tiles);
        expect([...zeros]).toEqual(plain.findZeros(code, out.slice(0, bytes), other));
        release();
      }),
      runs,
    );
  });

  it('draws every digit equally often', () => {
    const code = makeCode(64, 67);
    const tiles = 400;
    const stream = randomBytes(drawBytes(64, tiles));
    const counts = new Array<number>(67).fill(0);
    for (let tile = 0; tile < tiles; tile++) {
      const each = drawBytes(64, 1);
      for (const row of plain.sampleRows(stream.subarray(tile * each, (tile + 1) * each), code.bits, 67, 0))
        for (const d of row) counts[d]!++;
    }
    const mean = (1024 * tiles) / 67;
    // 66 degrees of freedom: 200 is beyond 10^-14.
    expect(counts.reduce((sum, n) => sum + (n - mean) ** 2 / mean, 0)).toBeLessThan(200);
  });
});

describe('words mod L and L - 1', () => {
  it('take windows of 32 and 64 bit words', () => {
    fc.assert(
      fc.property(
        bitsOf,
        fc.integer({ min: -1, max: 31 }),
        fc.array(fc.bigInt(0n, 2n ** 64n - 1n), { minLength: 1 }),
        (bits, low, values) => {
          const out = keep(compute.longs(values.length));
          compute.call('windowLongs', out, longsOnHeap(values), low, bits, 0, values.length);
          expect(unsigned(out)).toEqual(values.map((v) => plain.windowOf(v, low, bits)));
          const short = values.map((v) => Number(v & 0xffffffffn));
          compute.call('windowWords', out, wordsOnHeap(short), low, bits, 0, values.length);
          expect(unsigned(out)).toEqual(short.map((v) => plain.windowOf(BigInt(v), low, bits)));
          release();
        },
      ),
      runs,
    );
  });

  it('reduce draws, share bits and add as their twins do', () => {
    fc.assert(
      fc.property(cases, ({ bits, values }) => {
        const n = values.length;
        const stream = randomBytes(16 * n);
        const view = new DataView(stream.buffer);
        const out = keep(compute.longs(n));
        compute.call('reduceOdd', out, bytesOnHeap(stream), bits, 0, n);
        expect(unsigned(out)).toEqual(
          values.map((_, i) => plain.reduceOdd(view.getBigUint64(16 * i, true), view.getBigUint64(16 * i + 8, true), bits)),
        );
        const flags = values.map(([, , flag]) => flag);
        const [a, b] = [values.map(([x]) => x), values.map(([, y]) => y)];
        compute.call('addOdd', out, longsOnHeap(a), longsOnHeap(b), bits, 0, n);
        expect(unsigned(out)).toEqual(a.map((x, i) => plain.addOdd(x, b[i]!, bits)));
        compute.call('shareOdd', out, bytesOnHeap(flags), longsOnHeap(a), bits, 0, n);
        expect(unsigned(out)).toEqual(a.map((x, i) => plain.shareOdd(flags[i]!, x, bits)));
        const wrapped = keep(compute.bytes(n));
        compute.call('sumMasks', out, wrapped, longsOnHeap(a), longsOnHeap(b), bits, 0, n);
        expect(unsigned(out)).toEqual(a.map((x, i) => BigInt.asUintN(bits, x + b[i]!)));
        expect([...wrapped]).toEqual(a.map((x, i) => Number(plain.wraps(x, b[i]!, bits))));
        release();
      }),
      runs,
    );
  });

  it('open, join and finish a conversion and a sign as their twins do', () => {
    fc.assert(
      fc.property(cases, fc.boolean(), ({ bits, values }, second) => {
        const n = values.length;
        const [a, b, c] = [values.map(([x]) => x), values.map(([, y]) => y), values.map(([, , , w]) => w)];
        const flags = values.map(([, , flag]) => flag);
        const [r, y, z, turn] = [keep(compute.longs(n)), keep(compute.longs(n)), keep(compute.longs(n)), keep(compute.bytes(n))];
        const s = second ? 1 : 0;
        compute.call('openConversion', r, y, longsOnHeap(a), longsOnHeap(b), bits, 0, n);
        const opened = a.map((x, i) => plain.openConversion(x, b[i]!, bits));
        expect([unsigned(r), unsigned(y)]).toEqual([opened.map((o) => o.r), opened.map((o) => o.y)]);
        compute.call('joinConversion', z, y, r, longsOnHeap(c), bytesOnHeap(flags), bits, s, 0, n);
        const joined = opened.map((o, i) => plain.joinConversion(o.y, o.r, c[i]!, flags[i]!, bits, second));
        expect([unsigned(z), unsigned(y)]).toEqual([joined.map((j) => j.z), joined.map((j) => j.y)]);
        compute.call('finishConversion', y, longsOnHeap(a), longsOnHeap(c), bytesOnHeap(flags), bits, s, 0, n);
        const finished = joined.map((j, i) => plain.finishConversion(j.y, a[i]!, c[i]!, flags[i]!, bits, second));
        expect(unsigned(y)).toEqual(finished);
        compute.call('openSign', r, y, longsOnHeap(b), bits, 0, n);
        const signs = finished.map((x, i) => plain.openSign(x, b[i]!, bits));
        expect(unsigned(r)).toEqual(signs);
        compute.call('joinSign', z, turn, r, longsOnHeap(c), bytesOnHeap(flags), bits, 0, n);
        const last = signs.map((x, i) => plain.joinSign(x, c[i]!, flags[i]!, bits));
        expect([unsigned(z), [...turn]]).toEqual([last.map((l) => l.z), last.map((l) => l.turn)]);
        release();
      }),
      runs,
    );
  });
});

describe('selection', () => {
  const word = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n);
  const inputs = fc.array(fc.tuple(fc.nat(1), word, word, word, word), { minLength: 1, maxLength: 40 });

  it('shares and selects words of both widths as its twin does', () => {
    fc.assert(
      fc.property(inputs, fc.maxSafeInteger(), fc.boolean(), fc.boolean(), (rows, offset, first, minus) => {
        const n = rows.length;
        const flags = bytesOnHeap(rows.map(([flag]) => flag));
        const column = (c: 1 | 2 | 3 | 4) => rows.map((row) => row[c]);
        const sign = minus ? -1 : 0;
        const share = rows.map(([flag, , m, drawn]) => (flag ? m : 0n) - drawn);
        const select = rows.map(([turn, o, y, g, m]) => (minus ? -1n : 1n) * plain.selected(turn, o, y, g, m, BigInt(offset), first));
        const f = first ? 1 : 0;
        const longs = ([1, 2, 3, 4] as const).map((c) => longsOnHeap(column(c)));
        const words = ([1, 2, 3, 4] as const).map((c) => wordsOnHeap(column(c).map((v) => Number(BigInt.asIntN(32, v)))));
        const [long, short] = [keep(compute.longs(n)), keep(compute.words(n))];
        compute.call('shareSelectionLongs', long, flags, longs[1]!, longs[2]!, 0, n);
        compute.call('shareSelectionWords', short, flags, words[1]!, words[2]!, 0, n);
        expect([...long]).toEqual(share.map((v) => BigInt.asIntN(64, v)));
        expect([...short]).toEqual(share.map((v) => Number(BigInt.asIntN(32, v))));
        if (sign < 0) {
          long.fill(0n);
          short.fill(0);
        }
        compute.call('selectLongs', long, flags, longs[0]!, longs[1]!, longs[2]!, longs[3]!, offset, f, sign, 0, n);
        compute.call('selectWords', short, flags, words[0]!, words[1]!, words[2]!, words[3]!, offset, f, sign, 0, n);
        expect([...long]).toEqual(select.map((v) => BigInt.asIntN(64, v)));
        expect([...short]).toEqual(select.map((v) => Number(BigInt.asIntN(32, v))));
        release();
      }),
      runs,
    );
  });
});
