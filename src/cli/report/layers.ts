// A choice of patches layer by layer, as the report and the plots of the documentation show it.
import { channelRows, type Distortion } from '../../block/distortion-file.js';
import { keptByLayer, type Selection } from '../../block/select.js';
import type { Patch } from '../../model/program.js';
import type { LayerChoice } from './data.js';

const nameOf = ([height, width]: Patch): string => `${height}×${width}`;

/** Kept DReLUs, shares of patches and mean distortions of every layer. */
export function describeLayers(distortion: Distortion, chosen: readonly Patch[], windows?: Selection['windows']): readonly LayerChoice[] {
  const { meta, patches, values } = distortion;
  const rows = channelRows(meta).map(({ layer }, r) => ({ layer, r }));
  return keptByLayer(distortion, chosen).map(({ name, kept, drelus }, layer) => {
    const own = rows.filter((row) => row.layer === layer).map(({ r }) => r);
    const shares: Record<string, number> = {};
    for (const r of own) shares[nameOf(chosen[r]!)] = (shares[nameOf(chosen[r]!)] ?? 0) + 1 / own.length;
    const means = patches.map((patch, k): [string, number] => [
      nameOf(patch),
      own.reduce((sum, r) => sum + values[r * patches.length + k]!, 0) / own.length,
    ]);
    const low = windows?.[name]?.low;
    const measured = Object.fromEntries(means.filter(([, mean]) => !Number.isNaN(mean)));
    return { name, kept, drelus, patches: shares, distortion: measured, ...(low === undefined ? {} : { low }) };
  });
}
