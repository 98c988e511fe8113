// Activations and pools changed for cheaper ones. The network says something else afterwards: it has to be fine-tuned.
import type { Graph, GraphNode } from '../graph.js';
import { replaced } from './rewrite.js';

/**
 * Every maximum over a window becomes the mean of what lies in it (a comparison for each further value of a window falls away). Pools that
 * run before their ReLU stay there, so that a spec for the network still fits.
 */
export function maxPoolsToMeans(graph: Graph): Graph {
  return replaced(graph, (node): readonly GraphNode[] | undefined => {
    if (node.kind !== 'maxpool') return undefined;
    const { geometry: g } = node;
    const along = (outputs: number, stride: number, dilation: number, kernel: number, pad: number, size: number): number[] =>
      Array.from(
        { length: outputs },
        (_, o) => Array.from({ length: kernel }, (_, k) => o * stride + k * dilation - pad).filter((at) => at >= 0 && at < size).length,
      );
    const rows = along(g.outputHeight, g.strideY, g.dilationY, g.kernelHeight, g.padTop, g.inputHeight);
    const columns = along(g.outputWidth, g.strideX, g.dilationX, g.kernelWidth, g.padLeft, g.inputWidth);
    const alike = [rows, columns].every((counts) => counts.every((n) => n === counts[0]));
    const divisors = alike ? [rows[0]! * columns[0]!] : rows.flatMap((r) => columns.map((c) => r * c));
    return [{ ...node, kind: 'averagepool', divisors }];
  });
}

/** ReLUs lose their cap (ReLU6 has one), and with it their second comparison. */
export function withoutCaps(graph: Graph): Graph {
  return replaced(graph, (node) => {
    if (node.kind !== 'relu' || node.cap === undefined) return undefined;
    const { cap: _, ...plain } = node;
    return [plain];
  });
}

/** Replacements by the name a user gives. */
export const replacements: Readonly<Record<string, (graph: Graph) => Graph>> = {
  'maxpool=averagepool': maxPoolsToMeans,
  'relu6=relu': withoutCaps,
};
