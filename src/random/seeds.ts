// Where keys come from: the platform's generator, X25519 between two parties, HKDF-SHA-256 to tell purposes and epochs apart.
import { PeerError, UsageError } from '../errors.js';

/** One party's half of a key agreement. The private key never leaves the platform's own crypto. */
export interface KeyPair {
  /** 32 bytes, to be sent to the peer. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  /** The 32 bytes both sides share (RFC 7748). Throws PeerError when what the peer sent is no usable key. */
  agree(peerPublicKey: Uint8Array): Promise<Uint8Array<ArrayBuffer>>;
}

/** getRandomValues gives at most this many bytes a call. */
const largestDraw = 65_536;

/** `length` bytes from the platform's cryptographic generator. */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let start = 0; start < length; start += largestDraw) crypto.getRandomValues(bytes.subarray(start, start + largestDraw));
  return bytes;
}

/** A random 128-bit epoch or session id, new at every process start and every session. */
export function randomEpoch(): Uint8Array<ArrayBuffer> {
  return randomBytes(16);
}

/** A fresh X25519 key pair. Throws UsageError where the platform has no WebCrypto (a page that is not served over https or localhost). */
export async function createKeyPair(): Promise<KeyPair> {
  const keys = (await subtle().generateKey({ name: 'X25519' }, false, ['deriveBits'])) as CryptoKeyPair;
  const publicKey = new Uint8Array(await subtle().exportKey('raw', keys.publicKey));
  return {
    publicKey,
    async agree(peerPublicKey) {
      try {
        const peer = await subtle().importKey('raw', peerPublicKey.slice(), { name: 'X25519' }, false, []);
        return new Uint8Array(await subtle().deriveBits({ name: 'X25519', public: peer }, keys.privateKey, 256));
      } catch (cause) {
        throw new PeerError('the peer sent a public key that cannot be used', { code: 'peer-bad-key', cause });
      }
    },
  };
}

/**
 * A 16-byte AES key: HKDF-SHA-256 (RFC 5869) of `secret`, with `epoch` as salt and the purpose as info.
 * @param purpose What the stream is for, e.g. "masks"; two purposes never share a key.
 * @param epoch Random bytes both sides know; a new epoch is a new key.
 */
export async function deriveKey(secret: Uint8Array, purpose: string, epoch: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const base = await subtle().importKey('raw', secret.slice(), 'HKDF', false, ['deriveBits']);
  const info = new TextEncoder().encode(`tessera/1 ${purpose}`);
  return new Uint8Array(await subtle().deriveBits({ name: 'HKDF', hash: 'SHA-256', salt: epoch.slice(), info }, base, 128));
}

function subtle(): SubtleCrypto {
  const found = (globalThis.crypto as Crypto | undefined)?.subtle as SubtleCrypto | undefined;
  if (found !== undefined) return found;
  throw new UsageError('this page has no WebCrypto', {
    code: 'no-webcrypto',
    hint: 'Serve the page over https, or from localhost: browsers hide crypto.subtle from other pages.',
  });
}
