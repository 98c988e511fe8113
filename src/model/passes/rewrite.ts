// Helpers of the passes: each returns a new graph.
import { consumersOf, type Graph, type GraphNode, type ValueId, withoutDeadNodes } from '../graph.js';

/** The graph with `id` read as `by` everywhere, the graph's output included. */
export function renamed(graph: Graph, id: ValueId, by: ValueId): Graph {
  const name = (v: ValueId): ValueId => (v === id ? by : v);
  return {
    ...graph,
    output: name(graph.output),
    nodes: graph.nodes.map((n) => (n.inputs.includes(id) ? { ...n, inputs: n.inputs.map(name) } : n)),
  };
}

/** The graph with each node replaced by the nodes `replace` gives for it (itself where undefined), without what is dead then. */
export function replaced(graph: Graph, replace: (node: GraphNode) => readonly GraphNode[] | undefined): Graph {
  return withoutDeadNodes({ ...graph, nodes: graph.nodes.flatMap((n) => replace(n) ?? [n]) });
}

export interface Links {
  /** The node that makes a value. */
  maker(id: ValueId): GraphNode | undefined;
  readers(id: ValueId): readonly GraphNode[];
  /** The one node that reads a value that is not the graph's output, if there is exactly one. */
  onlyReader(id: ValueId): GraphNode | undefined;
}

/** Looks up makers and readers of a graph's values. */
export function linksOf(graph: Graph): Links {
  const makers = new Map(graph.nodes.map((n) => [n.output, n]));
  const consumers = consumersOf(graph);
  return {
    maker: (id) => makers.get(id),
    readers: (id) => consumers.get(id) ?? [],
    onlyReader: (id) => {
      const readers = consumers.get(id) ?? [];
      return readers.length === 1 && graph.output !== id ? readers[0] : undefined;
    },
  };
}

/** Applies `step` until it returns undefined. Each application must make the graph smaller or move a node one way only. */
function untilStable(graph: Graph, step: (graph: Graph) => Graph | undefined): Graph {
  for (;;) {
    const next = step(graph);
    if (next === undefined) return graph;
    graph = next;
  }
}

/** Applies `rewrite` to the first node for which it gives a graph, again and again. */
export function everywhere(graph: Graph, rewrite: (node: GraphNode, links: Links, graph: Graph) => Graph | undefined): Graph {
  return untilStable(graph, (g) => {
    const links = linksOf(g);
    for (const node of g.nodes) {
      const next = rewrite(node, links, g);
      if (next !== undefined) return withoutDeadNodes(next);
    }
    return undefined;
  });
}
