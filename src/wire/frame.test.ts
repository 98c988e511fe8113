import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PeerError } from '../errors.js';
import { labelBytes } from './channel.js';
import { decodeFrame, encodeFrame } from './frame.js';

const field = (bits: number) => fc.oneof(fc.integer({ min: 0, max: 2 ** bits - 1 }), fc.constantFrom(0, 2 ** bits - 1));

describe('frames', () => {
  it('come back as they were, at any offset in memory', () => {
    fc.assert(
      fc.property(
        fc.record({ inference: field(32), step: field(16), name: field(16) }),
        fc.uint8Array({ maxLength: 100 }),
        fc.constantFrom('setup' as const, 'offline' as const, 'online' as const),
        fc.nat(2 ** 16 - 2),
        fc.nat(7),
        (label, payload, phase, depth, offset) => {
          const frame = encodeFrame(label, payload, phase, depth);
          expect(frame).toHaveLength(labelBytes + payload.length);
          const elsewhere = new Uint8Array(offset + frame.length);
          elsewhere.set(frame, offset);
          expect(decodeFrame(elsewhere.subarray(offset))).toEqual({ label, payload, phase, depth });
        },
      ),
    );
  });

  it('of any bytes are read or refused with a PeerError, and what is read encodes to the same bytes', () => {
    const nearly = fc.uint8Array({ minLength: 12, maxLength: 40 }).map((bytes) => {
      bytes[bytes.length - 2]! %= 4;
      bytes[bytes.length - 1]! &= bytes[bytes.length - 1]! >> 7;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 40 }), nearly), (bytes) => {
        let frame: ReturnType<typeof decodeFrame>;
        try {
          frame = decodeFrame(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(PeerError);
          expect((error as PeerError).code).toBe('peer-garbage');
          return;
        }
        expect(encodeFrame(frame.label, frame.payload, frame.phase, frame.depth)).toEqual(bytes);
      }),
      { numRuns: 2000 },
    );
  });
});
