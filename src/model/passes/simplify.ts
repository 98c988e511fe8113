// The passes every use of a model shares: what inspect lists, the optimiser measures and the compiler lowers.
import type { Graph } from '../graph.js';
import { foldAffine } from './affine.js';
import { completeSquares } from './quadratic.js';
import { maxPoolBeforeRelu, mergeViews, padsIntoConvolutions, skipReshapes } from './reorder.js';

/** The graph as it will run: constants folded into linear layers, MaxPool before ReLU, moves joined. */
export function simplify(graph: Graph): Graph {
  return maxPoolBeforeRelu(padsIntoConvolutions(skipReshapes(foldAffine(completeSquares(mergeViews(graph))))));
}
