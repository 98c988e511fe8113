// Three parties' hands in one process, for parts of an operation that are no step of their own: messages by name, draws by pair and part.
import type { Compute, HeapArray } from '../../src/kernel/compute.js';
import type { Role } from '../../src/protocol/operation.js';
import { createScope } from '../../src/protocol/scope.js';
import type { Hands } from '../../src/protocol/securenn/privatecompare.js';
import { randomBytes } from '../../src/random/seeds.js';

export interface Three extends Readonly<Record<Role, Hands>> {
  /** What was sent, as "from>to name", in the order of sending. */
  readonly sent: Map<string, Uint8Array>;
  end(): void;
}

export const pairOf = (a: Role, b: Role): string => [a, b].sort().join('-');

/** Gives the bytes of a draw: those that parts of a test choose, else fresh ones. Both parties of a pair ask once each. */
export type Drawing = (pair: string, part: number, length: number) => Uint8Array | undefined;

export function createThree(compute: Compute, drawing: Drawing = () => undefined): Three {
  const sent = new Map<string, Uint8Array>();
  const waiting = new Map<string, (payload: Uint8Array) => void>();
  const draws = new Map<string, Uint8Array>();
  const scopes = [createScope(compute), createScope(compute), createScope(compute)];
  const cachedOnHeap: HeapArray[] = [];
  const hands = (role: Role, memory: ReturnType<typeof createScope>): Hands => {
    const cache = new Map<string, unknown>();
    const used = new Set<string>();
    const own: Hands = {
      compute,
      memory,
      // One of the two has room for what it draws ahead.
      keep: () => role === 'client',
      send(to, name, payload) {
        const key = `${role}>${to} ${name}`;
        if (sent.has(key)) throw new Error(`${key} was sent twice`);
        sent.set(key, payload.slice());
        waiting.get(key)?.(sent.get(key)!);
      },
      async receive(from, name, bytes) {
        const key = `${from}>${role} ${name}`;
        const payload = sent.get(key) ?? (await new Promise<Uint8Array>((resolve) => waiting.set(key, resolve)));
        if (payload.length !== bytes) throw new Error(`${key} has ${payload.length} bytes, expected ${bytes}`);
        return payload;
      },
      async draw(peer, part, out) {
        const key = `${pairOf(role, peer)} ${part}`;
        if (used.has(key)) throw new Error(`${role} drew ${key} twice`);
        used.add(key);
        const bytes = draws.get(key) ?? drawing(pairOf(role, peer), part, out.byteLength) ?? randomBytes(out.byteLength);
        draws.set(key, bytes);
        new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(bytes.subarray(0, out.byteLength));
      },
      cached<T>(key: string, make: () => T): T {
        if (!cache.has(key)) cachedOnHeap.push(cache.set(key, make()).get(key) as HeapArray);
        return cache.get(key) as T;
      },
      branch: () => own,
    };
    return own;
  };
  return {
    client: hands('client', scopes[0]!),
    server: hands('server', scopes[1]!),
    provider: hands('provider', scopes[2]!),
    sent,
    end() {
      for (const scope of scopes) scope.end();
      compute.free(...cachedOnHeap);
    },
  };
}
