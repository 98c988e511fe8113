// An ONNX operator that Tessera does not have, added from outside:  node examples/add-onnx-op.mjs
// Inside the repository it is the same function in src/model/ops and a line in its table; see docs/extending.md.
import { createNodeCompute } from 'tessera/kernel/pool.node';
import { compileGraph } from 'tessera/model/compile';
import { readGraph } from 'tessera/model/onnx';
import { floatAttribute, variable } from 'tessera/model/ops/context';
import { encodeModel } from 'tessera/model/protobuf';
import { openLocalSession } from 'tessera/party/local';

/**
 * HardSigmoid: min(max(alpha · x + beta, 0), 1), which is an affine map and a ReLU with a cap. Both run privately already.
 * @type {import('tessera/model/ops/context').OpImporter}
 */
function importHardSigmoid(op) {
  const x = variable(op, 0);
  const multiplier = Float32Array.of(floatAttribute(op, 'alpha', 0.2));
  const offset = Float32Array.of(floatAttribute(op, 'beta', 0.5));
  const line = op.emit({ kind: 'affine', shape: x.shape, multiplier, offset }, [x], 'line');
  return [op.emit({ kind: 'relu', shape: x.shape, cap: 1 }, [line])];
}

// A network of that one node, on pictures of 1 × 2 × 3.
const dim = [{ parameter: 'N' }, { value: 1 }, { value: 2 }, { value: 3 }];
const file = encodeModel({
  opsetImport: [{ version: 13 }],
  graph: {
    node: [{ opType: 'HardSigmoid', input: ['x'], output: ['y'], attribute: [] }],
    initializer: [],
    input: [{ name: 'x', type: { tensorType: { elemType: 1, shape: { dim } } } }],
    output: [{ name: 'y', type: { tensorType: { elemType: 1 } } }],
  },
});

const graph = readGraph(file, { ops: new Map([['HardSigmoid', importHardSigmoid]]) });
const images = Float32Array.of(-4, -2.5, -1, 0, 1, 4);
const compute = await createNodeCompute({ threads: 1 });
const { program, weights } = await compileGraph(compute, graph, { images, count: 1 });
const session = await openLocalSession({ compute, program, weights });
const { outputs } = await session.client.infer(images);
console.log([...(outputs[0] ?? [])].map((value) => value.toFixed(2)).join(' '));
await session.close();
await compute.close();
