// a x² + b x + c as one square between two affine layers: a (x + b / 2a)² + c − b² / 4a. The affine layers go into their neighbours.
import { DataError } from '../../errors.js';
import type { AddNode, AffineNode, Graph, GraphNode, ProductNode, ValueId } from '../graph.js';
import { everywhere, type Links } from './rewrite.js';

/** A term of the sum: constants by run of elements, and what they multiply. */
interface Term {
  readonly multiplier: readonly number[];
  readonly offset: readonly number[];
  readonly of: ValueId;
}

/** Input `index` of a sum as m · value + o, the affine layer it comes from taken apart where nothing else reads it. */
function termOf(sum: AddNode, index: number, links: Links): Term {
  const id = sum.inputs[index]!;
  const factor = sum.factors[index]!;
  const maker = links.maker(id);
  if (maker?.kind !== 'affine' || links.onlyReader(id) !== sum) return { multiplier: [factor], offset: [0], of: id };
  return {
    multiplier: Array.from(maker.multiplier, (m) => m * factor),
    offset: Array.from(maker.offset, (o) => o * factor),
    of: maker.inputs[0]!,
  };
}

function squareOf(id: ValueId, links: Links): ProductNode | undefined {
  const maker = links.maker(id);
  const isSquare = maker?.kind === 'product' && maker.inputs[0] === maker.inputs[1] && links.readers(id).length === 1;
  return isSquare ? maker : undefined;
}

/** Runs of constants stretched to `length`. */
const stretched = (values: readonly number[], length: number): readonly number[] =>
  Array.from({ length }, (_, i) => values[Math.floor((i * values.length) / length)]!);

function completed(sum: AddNode, square: ProductNode, quadratic: Term, linear: Term): readonly GraphNode[] {
  const length = Math.max(quadratic.multiplier.length, linear.multiplier.length);
  const [a, c, b, d] = [quadratic.multiplier, quadratic.offset, linear.multiplier, linear.offset].map((v) => stretched(v, length)) as [
    readonly number[],
    readonly number[],
    readonly number[],
    readonly number[],
  ];
  if (a.some((v) => !(Math.abs(v) > 1e-6))) {
    throw new DataError(`node ${square.name}: a square is multiplied by 0`, {
      code: 'bad-square',
      where: square.name,
      hint: 'leave the square out of the model',
    });
  }
  const shape = sum.shape;
  const shift: AffineNode = {
    kind: 'affine',
    name: `${square.name}/shift`,
    inputs: [square.inputs[0]!],
    output: `${square.output}/shift`,
    shape,
    multiplier: new Float32Array(length).fill(1),
    offset: Float32Array.from(a, (v, i) => b[i]! / (2 * v)),
  };
  const rest: AffineNode = {
    kind: 'affine',
    name: sum.name,
    inputs: [square.output],
    output: sum.output,
    shape,
    multiplier: Float32Array.from(a),
    offset: Float32Array.from(a, (v, i) => c[i]! + d[i]! - b[i]! ** 2 / (4 * v)),
  };
  return [shift, { ...square, inputs: [shift.output, shift.output] }, rest];
}

/**
 * Completes squares: a sum of a square and of what was squared. Throws DataError for a square that is multiplied by 0: whether one is cannot
 * be left to decide what runs, constants being the server's secret.
 */
export function completeSquares(graph: Graph): Graph {
  return everywhere(graph, (node, links, g) => {
    if (node.kind !== 'add' || node.inputs.length !== 2) return undefined;
    for (const [q, l] of [
      [0, 1],
      [1, 0],
    ] as const) {
      const [quadratic, linear] = [termOf(node, q, links), termOf(node, l, links)];
      const square = squareOf(quadratic.of, links);
      if (square === undefined || linear.of !== square.inputs[0]) continue;
      const parts = completed(node, square, quadratic, linear);
      return { ...g, nodes: g.nodes.flatMap((n) => (n === square ? [] : n === node ? parts : [n])) };
    }
    return undefined;
  });
}
