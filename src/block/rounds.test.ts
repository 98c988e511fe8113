import { describe, expect, it } from 'vitest';
import type { Graph, ReluNode } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import { distortionOf } from './distort.js';
import { chooseInRounds } from './rounds.js';

const shape = [2, 4, 4];
const relu: ReluNode = { kind: 'relu', name: 'a', inputs: ['x'], output: 'a', shape };
const graph: Graph = { input: { id: 'x', shape }, output: 'a', nodes: [relu], parameters: 0 };
const made = { model: 'ab'.repeat(32), method: 'linear' as const, samples: 1, probes: 1, seed: 1, version: '0' };

describe('choosing in rounds', () => {
  it('measures the plain network first, and then under the last choice', async () => {
    const seen: (readonly Patch[] | undefined)[] = [];
    const choices: Patch[] = [
      [2, 2],
      [0, 1],
      [1, 4],
    ];
    const rounds = await chooseInRounds(
      graph,
      {},
      2,
      async (measurement, round) => {
        seen.push((measurement.graph.nodes[0] as ReluNode).patches);
        const sums = new Float64Array(measurement.rows * measurement.patches.length).fill(round);
        return distortionOf(measurement, { perPicture: 1 }, sums, made);
      },
      (_, round) => ({ patches: [choices[round]!, [1, 1]], cost: round, objective: undefined }),
    );
    expect(seen).toEqual([
      undefined,
      [
        [2, 2],
        [1, 1],
      ],
      [
        [0, 1],
        [1, 1],
      ],
    ]);
    expect(rounds.map(({ selection, distortion }) => [selection.cost, distortion.values[0]])).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
  });
});
