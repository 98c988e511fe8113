// Random streams by address: AES-128-CTR under a key two parties share, every address at most once. Not here: where keys come from.
import type { Compute, HeapArray } from '../kernel/compute.js';

/** Where in a stream: purpose and epoch are in the key. */
export interface StreamAddress {
  /** Below 2^48. */
  readonly inference: number;
  /** Below 2^24. */
  readonly step: number;
  /** Below 2^24. */
  readonly tensor: number;
}

/** The random stream one pair of parties shares for one purpose and epoch. */
export interface Streams {
  /**
   * Fills `out` (bytes, or little-endian words) from the address. Throws an Error when the address was drawn before, or its inference is
   * finished, and RangeError when the address does not fit or `out` is longer than 64 GiB. With `again`, the bytes of an address that was drawn
   * once, one more time: a mask serves one use, but whoever has no room to keep it may make it anew for that.
   */
  draw(address: StreamAddress, out: HeapArray, again?: boolean): Promise<void>;
  /** Ends an inference: from now on every draw at it throws, and what was kept about it is forgotten. */
  finish(inference: number): void;
}

/** The last four bytes of the counter block count blocks of 16 bytes within an address. */
const longestDraw = 2 ** 36;

/** Finished inferences that are kept by number; beyond that, everything at or below the smallest that goes counts as finished. */
const rememberedInferences = 4096;

/** @param key 16 bytes, from seeds.ts. */
export function createStreams(compute: Compute, key: Uint8Array): Streams {
  if (key.length !== 16) throw new RangeError(`"key" expected 16 bytes, got ${key.length}`);
  const ownKey = key.slice();
  const open = new Map<number, Set<number>>();
  const finished = new Set<number>();
  let floor = 0;

  const claimAgain = ({ inference, step, tensor }: StreamAddress): void => {
    const place = step * 2 ** 24 + tensor;
    const used = open.get(inference);
    if (!used?.has(place) || used.has(-1 - place)) throw usedTwice(`inference ${inference}, step ${step}, tensor ${tensor}, again`);
    used.add(-1 - place);
  };
  const claim = ({ inference, step, tensor }: StreamAddress): void => {
    let used = open.get(inference);
    if (used === undefined) {
      if (inference < floor || finished.has(inference)) throw usedTwice(`inference ${inference} has ended`);
      used = new Set();
      open.set(inference, used);
    }
    const place = step * 2 ** 24 + tensor;
    if (used.has(place)) throw usedTwice(`inference ${inference}, step ${step}, tensor ${tensor}`);
    used.add(place);
  };

  return {
    async draw(address, out, again = false) {
      if (out.byteLength > longestDraw) throw new RangeError(`"out" expected at most ${longestDraw} bytes, got ${out.byteLength}`);
      const block = counterBlock(address);
      (again ? claimAgain : claim)(address);
      if (out.byteLength > 0) await compute.keystream(ownKey, block, new Uint8Array(out.buffer, out.byteOffset, out.byteLength));
    },
    finish(inference) {
      open.delete(inference);
      if (inference >= floor) finished.add(inference);
      if (finished.size > rememberedInferences) {
        const smallest = [...finished].sort((a, b) => a - b).slice(0, rememberedInferences / 2);
        for (const old of smallest) finished.delete(old);
        floor = smallest[smallest.length - 1]! + 1;
      }
    },
  };
}

/** The first counter block of an address: inference u48, step u24, tensor u24, block u32, big endian as CTR mode counts. */
export function counterBlock({ inference, step, tensor }: StreamAddress): Uint8Array {
  checkField('inference', inference, 2 ** 48);
  checkField('step', step, 2 ** 24);
  checkField('tensor', tensor, 2 ** 24);
  const block = new Uint8Array(16);
  const view = new DataView(block.buffer);
  view.setUint16(0, Math.floor(inference / 2 ** 32));
  view.setUint32(2, inference % 2 ** 32);
  view.setUint16(6, step >>> 8);
  view.setUint8(8, step & 0xff);
  view.setUint16(9, tensor >>> 8);
  view.setUint8(11, tensor & 0xff);
  return block;
}

function checkField(field: string, value: number, end: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= end)
    throw new RangeError(`"${field}" expected an integer below ${end}, got ${value}`);
}

function usedTwice(where: string): Error {
  return new Error(`stream address used twice: ${where}`);
}
