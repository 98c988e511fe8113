// tessera bench pictures: do three parties name what onnxruntime-node names, on real pictures of the size networks are used at? The ImageNet networks
// of ../shared/data on its photographs, calibrated on those of the other half, and ESPNet on CamVid, calibrated on training pictures. All pictures in
// fixed point with the draws of the protocol; --runs n of them (default 4 a network) in three processes. Cells are kept in .cache/bench
// (--kept FOLDER) as they are finished. Says so where the shared data is absent.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { InferenceSession } from 'onnxruntime-node';
import { argmax, createConfusion, sharedLabels } from '../src/cli/answers.js';
import { formatBytes, formatCount, formatSeconds, formatShare } from '../src/cli/format.js';
import { readOnnx } from '../src/cli/model.js';
import type { StoredModel } from '../src/cli/model-folder.js';
import { estimator } from '../src/cli/private-run.js';
import { type Dataset, loadDataset } from '../src/data/dataset.node.js';
import { createSequence } from '../src/data/generated.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import type { Graph } from '../src/model/graph.js';
import { resizeOutput } from '../src/model/output.js';
import { simulate } from '../src/model/simulate.js';
import { decodeFixed, encodeFixed } from '../src/ring/fixed.js';
import { openKept } from './_kept.js';
import { benchOptions, printRows, withParties } from './_parties.js';
import { buildKey, compileModel } from './_private.js';

const shared = fileURLToPath(new URL('../../../shared/data', import.meta.url));
const defaultAnswered = 4;

interface Case {
  readonly network: string;
  readonly path: string;
  /** Pictures to calibrate on; the other half of the tested ones without. */
  readonly calibration?: string;
  readonly rings: readonly number[];
}

const cases: readonly Case[] = [
  { network: 'MobileNetV1 0.75', path: 'imagenet/mobilenetv1-075', rings: [32, 28] },
  { network: 'SqueezeNet 1.1', path: 'imagenet/squeezenet11', rings: [32, 28] },
  { network: 'ESPNet', path: 'camvid/espnet', calibration: 'camvid/espnet.train', rings: [32, 36] },
];

interface Row {
  readonly network: string;
  readonly ring: number;
  readonly pictures: number;
  /** Top-1 of labels, or the mean IoU of maps; in onnxruntime and in fixed point. */
  readonly metric: 'top-1' | 'mean IoU';
  readonly float: number;
  readonly fixed: number;
  readonly same: number;
  /** In three processes. */
  readonly answered: number;
  readonly sameAnswered: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** Judges answers picture by picture: by labels, or by pixels and the classes that occur. */
function createJudge(data: Dataset) {
  const classes = data.classes?.length ?? 0;
  const maps = { float: createConfusion(classes), fixed: createConfusion(classes) };
  const right = { float: 0, fixed: 0 };
  let same = 0;
  let seen = 0;
  return {
    add: async (picture: number, float: Float32Array, fixed: Float32Array) => {
      const truth = await data.annotation?.(picture);
      const positions = truth?.length ?? 1;
      // Planes beyond the classes, such as ESPNet's for what is not scored, are not looked at.
      const [a, b] = [float, fixed].map((scores) => (truth === undefined ? scores : scores.subarray(0, classes * positions)));
      seen++;
      same += sharedLabels(a!, b!, positions);
      if (truth !== undefined) {
        maps.float.add(a!, truth, data.ignore);
        maps.fixed.add(b!, truth, data.ignore);
      } else {
        right.float += argmax(float) === data.labels?.[picture] ? 1 : 0;
        right.fixed += argmax(fixed) === data.labels?.[picture] ? 1 : 0;
      }
    },
    result: () => {
      const of = (which: 'float' | 'fixed') => (data.annotation === undefined ? right[which] / seen : maps[which].meanIou());
      return { pictures: seen, float: of('float'), fixed: of('fixed'), same: same / seen };
    },
  };
}

/** Pictures of a set that are calibrated on, and those that are then answered. */
interface Fold {
  readonly calibration: Float32Array;
  readonly count: number;
  readonly tested: readonly number[];
}

/** Most pictures that are calibrated on. */
const mostCalibrated = 30;

async function folds({ calibration }: Case, data: Dataset): Promise<readonly Fold[]> {
  if (calibration !== undefined) {
    const set = await loadDataset(join(shared, `${calibration}.json`), { limit: mostCalibrated });
    return [{ calibration: await set.read(0, set.count), count: set.count, tested: [...new Array(data.count).keys()] }];
  }
  const half = data.count >> 1;
  const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
  const [first, second] = [range(0, half), range(half, data.count)];
  const fold = async (own: readonly number[], tested: readonly number[]): Promise<Fold> => {
    const count = Math.min(mostCalibrated, own.length);
    return { calibration: await data.read(own[0]!, count), count, tested };
  };
  return [await fold(second, first), await fold(first, second)];
}

/** Outputs in the clear as the parties compute them. */
async function fixedPoint(compute: Compute, { compiled }: StoredModel, image: Float32Array, random: () => number): Promise<Float32Array> {
  const { program, weights } = compiled;
  const input = encodeFixed(image, program.tensors[program.input]!.scale, program.ringBits);
  const { output } = await simulate(compute, program, weights, input, 1, { random });
  return resizeOutput(program, decodeFixed(output, program.tensors[program.output]!.scale));
}

type Runtime = (image: Float32Array) => Promise<Float32Array>;

async function openRuntime(path: string, shape: readonly number[], threads: number): Promise<{ run: Runtime; close(): Promise<void> }> {
  const { InferenceSession: sessions, Tensor } = await import('onnxruntime-node');
  const session: InferenceSession = await sessions.create(new Uint8Array(readFileSync(path)), { intraOpNumThreads: threads });
  const [input, output] = [session.inputNames[0]!, session.outputNames[0]!];
  return {
    run: async (image) => {
      const answer = await session.run({ [input]: new Tensor('float32', image, [1, ...shape]) });
      return answer[output]!.data as Float32Array;
    },
    close: () => session.release(),
  };
}

async function measure(compute: Compute, each: Case, ring: number, answered: number, threads: number): Promise<Row> {
  const path = join(shared, `${each.path}.onnx`);
  const data = await loadDataset(join(shared, `${each.path}.test.json`));
  const graph: Graph = (await readOnnx(path)).readGraph({ inputShape: data.shape });
  const runtime = await openRuntime(path, data.shape, threads);
  const judge = createJudge(data);
  const random = createSequence(1);
  const secure = { same: 0, count: 0, bytes: 0, seconds: 0 };
  for (const { calibration, count, tested } of await folds(each, data)) {
    const model = await compileModel(compute, each.network, graph, { images: calibration, count }, { ringBits: ring });
    for (const picture of tested) {
      const image = await data.read(picture, 1);
      await judge.add(picture, await runtime.run(image), await fixedPoint(compute, model, image, random));
    }
    // Those of the first fold.
    if (secure.count > 0) continue;
    const own = createJudge(data);
    await withParties(model, { threads }, async (session) => {
      const cost = estimator(session, 'masked')(1);
      secure.bytes = cost.offline.bytes + cost.online.bytes;
      for (const picture of tested.slice(0, answered)) {
        const image = await data.read(picture, 1);
        const { logits, seconds } = await session.infer(image, 1);
        secure.seconds += seconds.offline + seconds.online;
        await own.add(picture, await runtime.run(image), logits);
        secure.count++;
      }
    });
    secure.same = own.result().same;
  }
  await runtime.close();
  const metric = data.annotation === undefined ? 'top-1' : 'mean IoU';
  const privately = { answered: secure.count, sameAnswered: secure.same, bytes: secure.bytes, seconds: secure.seconds / secure.count };
  return { network: each.network, ring, metric, ...judge.result(), ...privately };
}

const options = benchOptions();
const { threads, runs: answered = defaultAnswered } = options;
const rows: Row[] = [];
if (!existsSync(shared)) process.stderr.write('the shared networks are not here: nothing measured\n');
else {
  const kept = await openKept(options.kept, 'pictures');
  const build = await buildKey();
  for (const each of cases.filter(({ network }) => network.includes(options.match ?? ''))) {
    for (const ring of options.rings ?? each.rings) {
      rows.push(
        await kept.once(['pictures', build, each, ring, answered, threads], async () => {
          const compute = await createNodeCompute({ threads });
          const row = await measure(compute, each, ring, answered, threads);
          await compute.close();
          return row;
        }),
      );
    }
  }
}

printRows(rows, options, {
  network: (row) => row.network,
  ring: (row) => `${row.ring} bits`,
  pictures: (row) => formatCount(row.pictures),
  'in float': (row) => `${formatShare(row.float)} ${row.metric}`,
  'in the ring': (row) => formatShare(row.fixed),
  'labels or pixels as in onnxruntime': (row) => formatShare(row.same),
  'privately answered': (row) => formatCount(row.answered),
  'of them as in onnxruntime': (row) => formatShare(row.sameAnswered),
  'bytes a picture': (row) => formatBytes(row.bytes),
  'seconds a picture': (row) => formatSeconds(row.seconds),
});
