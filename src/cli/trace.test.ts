import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { smallNetwork } from '../../test/leakage/networks.js';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { openLocalSession } from '../party/local.js';
import { createRecorder } from '../party/timeline.js';
import { chromeTrace, type TraceEvent } from './trace.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 1 });
});
afterAll(() => compute.close());

async function traced(): Promise<readonly TraceEvent[]> {
  const { program, weights, inputs } = smallNetwork(8, 4);
  const recorders = { client: createRecorder(), server: createRecorder(), provider: createRecorder() };
  const local = await openLocalSession({ compute, program, weights, recorders });
  for (let i = 0; i < 2; i++) await local.client.infer(new Float32Array(inputs).fill(i));
  await local.close();
  return (JSON.parse(JSON.stringify(chromeTrace(recorders, program))) as { traceEvents: TraceEvent[] }).traceEvents;
}

describe('a trace', () => {
  it('is in the Trace Event Format: named processes, slices that nest, arrows with both ends', async () => {
    const events = await traced();
    const names = events.filter((e) => e.ph === 'M').map((e) => e.args?.name);
    expect(names).toEqual(['client', 'server', 'provider']);
    const slices = events.filter((e) => e.ph === 'X');
    for (const { ts, dur } of slices) {
      expect(ts).toBeGreaterThanOrEqual(0);
      expect(dur).toBeGreaterThanOrEqual(0);
    }
    for (const key of new Set(slices.filter((e) => e.cat !== 'message').map((e) => `${e.pid} ${e.tid}`))) {
      const lane = slices.filter((e) => `${e.pid} ${e.tid}` === key).sort((a, b) => a.ts! - b.ts! || b.dur! - a.dur!);
      const open: number[] = [];
      for (const { ts, dur } of lane) {
        while (open.length > 0 && open.at(-1)! <= ts! + 1e-3) open.pop();
        if (open.length > 0) expect(ts! + dur!).toBeLessThanOrEqual(open.at(-1)! + 1e-3);
        open.push(ts! + dur!);
      }
    }
    const ends = (ph: string) => events.filter((e) => e.ph === ph).map((e) => e.id);
    expect(ends('f').sort()).toEqual(ends('s').sort());
    expect(ends('s').length).toBe(new Set(ends('s')).size);
    expect(ends('s').length).toBeGreaterThan(40);
  });

  it('says of a run its steps, their times and sizes, and of a picture nothing', async () => {
    const events = await traced();
    const steps = new Set(events.filter((e) => e.cat?.endsWith('step')).map((e) => e.name));
    for (const name of ['first', 'pool', 'sharp', 'blocks', 'last', 'input', 'output']) expect(steps).toContain(name);
    const keys = new Set(events.flatMap((e) => [...Object.keys(e), ...Object.keys(e.args ?? {})]));
    expect([...keys].sort()).toEqual(
      ['args', 'bp', 'bytes', 'cat', 'dur', 'id', 'inference', 'name', 'ph', 'phase', 'pid', 'step', 'tid', 'ts'].sort(),
    );
  });
});
