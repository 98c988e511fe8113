// Measuring and choosing in turn. Distortions of single channels are those of small changes; under a small budget the channels' changes are
// large together, and what a patch spoils depends on what the others have left. Each round measures at the network under the last choice.
import type { Graph } from '../model/graph.js';
import { patchesOf } from '../model/spec.js';
import { type Measurement, type MeasurementOptions, planMeasurement } from './distort.js';
import type { Distortion } from './distortion-file.js';
import { type Selection, toSpec } from './select.js';

export interface Round<Chosen extends Selection> {
  readonly distortion: Distortion;
  readonly selection: Chosen;
}

/**
 * The choices of 1 + `again` rounds, the first from the network as it is. They do not get better without end: the choice to use is for the
 * caller, by what it knows of each.
 */
export async function chooseInRounds<Chosen extends Selection>(
  graph: Graph,
  options: MeasurementOptions,
  again: number,
  measure: (measurement: Measurement, round: number) => Promise<Distortion>,
  choose: (distortion: Distortion, round: number) => Chosen | Promise<Chosen>,
): Promise<readonly Round<Chosen>[]> {
  const rounds: Round<Chosen>[] = [];
  for (let round = 0; round <= again; round++) {
    const last = rounds.at(-1);
    const under = last === undefined ? {} : { under: patchesOf(toSpec(last.distortion, last.selection.patches, {})) };
    const distortion = await measure(planMeasurement(graph, { ...options, ...under }), round);
    rounds.push({ distortion, selection: await choose(distortion, round) });
  }
  return rounds;
}
