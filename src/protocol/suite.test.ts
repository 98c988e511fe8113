import { describe, expect, it } from 'vitest';
import type { Program } from '../model/program.js';
import { masked } from './masked/suite.js';
import { securenn, securennExact } from './securenn/suite.js';
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
