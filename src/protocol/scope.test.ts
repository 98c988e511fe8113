import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { createScope } from './scope.js';

const large = 100_000;

describe('memory of an inference', () => {
  let compute: Compute;
  beforeAll(async () => {
    compute = await createNodeCompute({ inline: true });
  });
  afterAll(() => compute.close());

  it("gives a step's large arrays back when the step ends, and all others with the inference", () => {
    const before = compute.memory.usedBytes;
    const memory = createScope(compute);
    const step = memory.part();
    step.words(large);
    step.bytes(large);
    expect(compute.memory.usedBytes - before).toBeGreaterThanOrEqual(5 * large);
    step.end();
    expect(compute.memory.usedBytes).toBe(before);
    const open = memory.part();
    open.longs(large);
    open.words(3);
    memory.end();
    expect(compute.memory.usedBytes).toBe(before);
    expect(() => open.words(large)).toThrow('ended');
    expect(() => open.words(3)).toThrow('ended');
  });

  it('keeps what a step leaves behind, also when it is a part of a larger array', () => {
    const memory = createScope(compute);
    const step = memory.part();
    const whole = step.words(large).fill(7);
    const part = step.words(large).fill(8).subarray(10, 20);
    const small = step.words(5).fill(9);
    const kept = [whole, part, small].map((array) => step.keep(array));
    expect(kept[0]).toBe(whole);
    expect(kept[1]!.byteOffset).not.toBe(part.byteOffset);
    expect(kept[2]).toBe(small);
    step.end();
    compute.words(3 * large).fill(-1);
    expect(kept.map((array) => array.at(-1))).toEqual([7, 8, 9]);
    memory.free(whole);
    expect(() => memory.end()).not.toThrow();
  });
});
