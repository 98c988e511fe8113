import { describe, expect, it } from 'vitest';
import type { Program } from '../model/program.js';
import { masked } from './masked/suite.js';
import { securenn, securennExact } from './securenn/suite.js';
import { localFailures } from './securenn/truncate.js';
import { checkSuite } from './suite.js';

const program = (ringBits: number, rangeBits?: number): Program => ({
  schema: 'tessera/program@1',
  ringBits,
  ...(rangeBits !== undefined && { rangeBits }),
  tensors: [{ shape: [1], scale: 1 }],
  input: 0,
  output: 0,
  outputActivation: 'none',
  steps: [],
});

describe('rings', () => {
  it('of 16 to 64 bits are what masked computes in, with all of their bits', () => {
    for (let ringBits = 16; ringBits <= 64; ringBits++) {
      expect(masked.refuses(program(ringBits))).toBeUndefined();
      expect(masked.rangeBits(ringBits)).toBe(ringBits);
    }
  });

  it('are those of 32-bit words and of 64 bits for securenn, with headroom where it truncates shares', () => {
    for (const ringBits of [16, 32]) expect(securenn.refuses(program(ringBits))).toBeUndefined();
    for (const ringBits of [33, 48, 63]) expect(() => checkSuite(securennExact, program(ringBits))).toThrow('16 to 32 bits and of 64');
    expect(securenn.refuses(program(64, securenn.rangeBits(64)))).toBeUndefined();
    expect(() => checkSuite(securenn, program(64, 54))).toThrow('up to 36 of 64 bits');
    expect(securennExact.refuses(program(64, 54))).toBeUndefined();
  });
});

describe('local truncation', () => {
  const truncating = (ringBits: number, rangeBits: number | undefined, high: number, count: number): Program => {
    const step = { kind: 'relu', name: 'r', input: 0, output: 1, truncateBits: 4, window: { low: 4, high } } as const;
    const tensors = [1, 1 / 16].map((scale) => ({ shape: [count], scale }));
    return { ...program(ringBits, rangeBits), tensors, output: 1, steps: [step] };
  };

  it('fails as often as values are large and many, by the bound of the window', () => {
    expect(localFailures(truncating(64, 36, 34, 1000))).toBe(1000 * 2 ** -31);
    expect(localFailures(truncating(32, undefined, 30, 1000))).toBe(125);
    expect(localFailures({ ...truncating(32, undefined, 30, 1000), steps: [] })).toBe(0);
  });

  it('is doubted where it fails for one picture in ten, and only in the suites that truncate so', () => {
    expect(securenn.doubts?.(truncating(32, undefined, 30, 1000))).toContain('up to 125 values');
    expect(securenn.doubts?.(truncating(64, 36, 34, 1000))).toBeUndefined();
    expect(securennExact.doubts?.(truncating(32, undefined, 30, 1000))).toBeUndefined();
    expect(masked.doubts?.(truncating(32, undefined, 30, 1000))).toBeUndefined();
  });
});
