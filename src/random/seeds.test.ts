import { createHmac, hkdfSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { PeerError } from '../errors.js';
import { createKeyPair, deriveKey, randomBytes, randomEpoch } from './seeds.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

describe('X25519 key agreement', () => {
  it('gives both sides the same 32 bytes, and others different ones', async () => {
    const [a, b, c] = await Promise.all([createKeyPair(), createKeyPair(), createKeyPair()]);
    const shared = await a.agree(b.publicKey);
    expect(shared).toHaveLength(32);
    expect(await b.agree(a.publicKey)).toEqual(shared);
    expect(hex(await a.agree(c.publicKey))).not.toBe(hex(shared));
  });

  it('refuses keys that are too short, too long or of small order', async () => {
    const pair = await createKeyPair();
    for (const wrong of [new Uint8Array(31).fill(9), new Uint8Array(33).fill(9), new Uint8Array(0), new Uint8Array(32)]) {
      await expect(pair.agree(wrong)).rejects.toBeInstanceOf(PeerError);
    }
  });
});

describe('key derivation', () => {
  it('is HKDF-SHA-256 of RFC 5869', async () => {
    const secret = randomBytes(32);
    const epoch = randomEpoch();
    const expected = new Uint8Array(hkdfSync('sha256', secret, epoch, 'tessera/1 masks', 16));
    expect(await deriveKey(secret, 'masks', epoch)).toEqual(expected);
    const extracted = createHmac('sha256', epoch).update(secret).digest();
    const expanded = createHmac('sha256', extracted).update('tessera/1 masks\x01').digest();
    expect(hex(expected)).toBe(expanded.subarray(0, 16).toString('hex'));
  });

  it('differs by secret, purpose and epoch', async () => {
    const [secret, other] = [randomBytes(32), randomBytes(32)];
    const [epoch, later] = [randomEpoch(), randomEpoch()];
    const keys = await Promise.all([
      deriveKey(secret, 'a', epoch),
      deriveKey(other, 'a', epoch),
      deriveKey(secret, 'b', epoch),
      deriveKey(secret, 'a', later),
    ]);
    expect(new Set(keys.map(hex)).size).toBe(4);
  });
});

describe('random bytes', () => {
  it('come in any length, also beyond what the platform gives at once', () => {
    expect(randomBytes(0)).toHaveLength(0);
    const long = randomBytes(200_001);
    expect(long).toHaveLength(200_001);
    expect(long.subarray(-1000).some((byte) => byte !== 0)).toBe(true);
    expect(hex(randomEpoch())).not.toBe(hex(randomEpoch()));
  });
});
