// A strided view as ONNX nodes: what it cuts, fills with zeros, repeats, reorders and reshapes.
import type { ValueId, ViewNode } from './graph.js';
import type { Writer } from './onnx-writer.js';

/** Where Slice ends that runs backwards to the first element: any number below minus the axis' length. */
const beforeFirst = -(2 ** 31);

interface Step {
  readonly op: string;
  readonly inputs: (id: ValueId, name: string) => readonly string[];
  readonly shape: readonly number[];
  readonly attributes?: Readonly<Record<string, number | readonly number[]>>;
}

/** Writes a view; the last node has its name and output. Throws RangeError where one axis of the input is read by two of the output. */
export function writeView(writer: Writer, node: ViewNode): void {
  const steps = [...planView(writer, node)];
  let id = node.inputs[0]!;
  if (steps.length === 0) steps.push({ op: 'Identity', inputs: (from) => [from], shape: node.shape });
  steps.forEach((step, i) => {
    const last = i === steps.length - 1;
    const name = last ? node.name : `${node.name}/${step.op.toLowerCase()}${i}`;
    const output = last ? { output: node.output } : {};
    id = writer.add(step.op, step.inputs(id, name), { name, shape: step.shape, attributes: step.attributes ?? {}, ...output });
  });
}

function* planView(writer: Writer, node: ViewNode): Generator<Step> {
  const { axes, inputShape } = node;
  if (new Set(axes.map((a) => a.axis)).size !== axes.length) throw new RangeError(`view ${node.name} reads an axis twice`);
  const reshape = (shape: readonly number[]): Step => ({
    op: 'Reshape',
    inputs: (id, name) => [id, writer.integers(`${name}.shape`, [0, ...shape])],
    shape,
  });
  if (writer.shape(node.inputs[0]!).join() !== inputShape.join()) yield reshape(inputShape);
  const sizes = [...inputShape];
  for (const [axis, length] of inputShape.entries()) {
    const read = axes.find((a) => a.axis === axis) ?? { axis, start: 0, step: 1, size: 1 };
    for (const step of planAxis(writer, sizes, read, length)) yield step;
  }
  const order = [...axes.map((a) => a.axis), ...sizes.keys()].filter((axis, i, all) => all.indexOf(axis) === i);
  const turned = order.map((axis) => sizes[axis]!);
  if (order.some((axis, i) => axis !== i)) {
    yield { op: 'Transpose', inputs: (id) => [id], shape: turned, attributes: { perm: [0, ...order.map((axis) => axis + 1)] } };
  }
  if (turned.join() !== node.shape.join()) yield reshape(node.shape);
}

/** The part of an axis that lies in the map, cut out; zeros around it; or one position repeated. Keeps `sizes` up to date. */
function* planAxis(writer: Writer, sizes: number[], read: ViewNode['axes'][number], length: number): Generator<Step> {
  const { axis, start, step, size } = read;
  const inside = Array.from({ length: size }, (_, o) => o).filter((o) => start + step * o >= 0 && start + step * o < length);
  const repeats = step === 0 && size > 1 && inside.length > 0;
  const low = inside[0] ?? 0;
  const kept = repeats || inside.length === 0 ? Math.min(1, size) : inside.length;
  const from = inside.length === 0 ? 0 : start + step * low;
  const by = inside.length === 0 || step === 0 ? 1 : step;
  if (from !== 0 || by !== 1 || kept !== length) {
    sizes[axis] = kept;
    yield sliceStep(writer, sizes, axis, from, by, kept);
  }
  if (inside.length === 0 && size > 0) {
    yield {
      op: 'Mul',
      inputs: (id, name) => [id, writer.floats(`${name}.zero`, [], Float32Array.of(0))],
      shape: [...sizes],
    };
  }
  const copies = repeats ? size : 1;
  if (copies > 1) {
    sizes[axis] = copies;
    yield { op: 'Concat', inputs: (id) => new Array<string>(copies).fill(id), shape: [...sizes], attributes: { axis: axis + 1 } };
  }
  const before = repeats ? 0 : low;
  const after = size - before - kept * copies;
  if (before === 0 && after <= 0) return;
  sizes[axis] = size;
  const pads = [...sizes, 0, ...sizes, 0].map(() => 0);
  pads[axis + 1] = before;
  pads[sizes.length + 1 + axis + 1] = after;
  yield { op: 'Pad', inputs: (id, name) => [id, writer.integers(`${name}.pads`, pads)], shape: [...sizes] };
}

function sliceStep(writer: Writer, sizes: readonly number[], axis: number, from: number, by: number, kept: number): Step {
  const end = from + by * kept;
  const parts = { starts: [from], ends: [end < 0 ? beforeFirst : end], axes: [axis + 1], steps: [by] };
  return {
    op: 'Slice',
    inputs: (id, name) => [id, ...Object.entries(parts).map(([part, values]) => writer.integers(`${name}.${part}`, values))],
    shape: [...sizes],
  };
}
