import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noiseArray } from '../../test/model/onnx.js';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { forward } from '../model/forward.js';
import type { ConvNode, Graph } from '../model/graph.js';
import { pointwiseGeometry } from '../model/ops/linear.js';
import { applyPatches } from '../model/passes/lower.js';
import { simplify } from '../model/passes/simplify.js';
import { measureMoments, withBatchNorm } from './normalise.js';
import { openTrainable } from './trainable.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

const shape = [5, 6, 6];
function conv(name: string, input: string, from: number, to: number): ConvNode {
  const geometry = { ...pointwiseGeometry(from, to, 6, 6, 1), kernelHeight: 3, kernelWidth: 3, padTop: 1, padLeft: 1 };
  const weights = noiseArray(from * to * 9, from + to);
  // A channel that is the same everywhere: nothing to normalise by.
  weights.fill(0, 0, from * 9);
  return { kind: 'conv', name, inputs: [input], output: name, shape: [to, 6, 6], geometry, weights, bias: noiseArray(to, 7) };
}

const dense = {
  ...conv('last', 'second', 5, 3),
  geometry: pointwiseGeometry(180, 3, 1, 1, 1),
  weights: noiseArray(540, 3),
  bias: noiseArray(3, 4),
};
const graph: Graph = {
  input: { id: 'x', shape: [2, 6, 6] },
  output: 'last',
  nodes: [
    conv('first', 'x', 2, 5),
    { kind: 'relu', name: 'relu', inputs: ['first'], output: 'relu', shape },
    conv('second', 'relu', 5, 5),
    { ...dense, shape: [3] },
  ],
  parameters: 0,
};
const count = 8;
const images = noiseArray(count * 72, 11);

const far = (a: Float32Array, b: Float32Array): number => a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i]!)), 0);

describe('batch norm put back', () => {
  it('changes nothing by itself, and folds away again', async () => {
    const moments = await measureMoments(compute, graph, images, count);
    const network = withBatchNorm(graph, moments, moments);
    expect(network.nodes.map(({ name }) => name)).toEqual(['first', 'first/norm', 'relu', 'second', 'second/norm', 'last']);
    const trainable = await openTrainable(compute, network);
    const expected = await forward(compute, graph, images, count);
    expect(far(await trainable.predict(images, count), expected)).toBeLessThan(1e-3);
    const folded = simplify(trainable.toGraph());
    expect(folded.nodes.map(({ name }) => name)).toEqual(['first', 'relu', 'second', 'last']);
    expect(far(await forward(compute, folded, images, count), expected)).toBeLessThan(1e-3);
    trainable.close();
  });

  it('brings channels under a spec back to the moments they had', async () => {
    const under = applyPatches(graph, new Map([['relu', [1, 2, 3, 6, 2].map((side) => [side, side] as const)]]));
    const wanted = await measureMoments(compute, graph, images, count);
    const now = await measureMoments(compute, under, images, count);
    expect(now.get('second')).not.toEqual(wanted.get('second'));
    const network = withBatchNorm(under, wanted, now);
    const trainable = await openTrainable(compute, network);
    const found = await measureMoments(compute, simplify(trainable.toGraph()), images, count);
    trainable.close();
    for (let c = 1; c < 5; c++) {
      expect(found.get('second')!.mean[c]).toBeCloseTo(wanted.get('second')!.mean[c]!, 3);
      expect(found.get('second')!.variance[c]).toBeCloseTo(wanted.get('second')!.variance[c]!, 2);
    }
  });
});
