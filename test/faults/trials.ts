// One trial of a fault: a session in which something goes wrong at one message, and then a client that must be served as if nothing had been.
import { PeerError } from '../../src/errors.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { Calibration } from '../../src/model/calibrate.js';
import { compileGraph } from '../../src/model/compile.js';
import { readGraph } from '../../src/model/onnx.js';
import { suites } from '../../src/party/session.js';
import { twoLayers, values } from '../networks.js';
import { expected, tolerance } from '../processes/parties.js';
import { type Fault, type Network, type NetworkOptions, openNetwork, type Place, placeText } from './network.js';

export interface Trials {
  readonly network: Network;
  /** One client's session: its answer, or what ended it. */
  session(): Promise<Float32Array | Error>;
  /** Throws when an answer is not the one there should be. */
  check(answer: Float32Array | Error): void;
  /** Every message of a session at both its ends, in the order of one run. */
  places(): Promise<readonly Place[]>;
  /** Does `fault` at a place, once. */
  attempt(place: Place, fault: Fault): Promise<Outcome>;
  /** Bytes on the three heaps. */
  used(): readonly number[];
}

export interface Outcome {
  /** How the client's session ended; undefined when it got its answer. */
  readonly client: Error | undefined;
  /** How the links that server and provider served ended. */
  readonly others: readonly (Error | undefined)[];
  /** What is not as it should be after any fault: an error without a type, a wrong answer, a next client that is not served. */
  readonly wrong: readonly string[];
}

export interface Served {
  readonly onnx: Uint8Array;
  /** Values of the picture that is asked about. */
  readonly picture: Float32Array;
  readonly calibration: Calibration;
  /** The most an output may be off; by default what its truncations can do at worst. */
  readonly slack?: number;
  /** Protocol suite of the sessions; default masked. */
  readonly suite?: string;
}

/** Convolution, ReLU, fully connected. */
export const small: Served = {
  onnx: twoLayers(),
  picture: values(32, 3),
  calibration: { images: values(32 * 16, 1), count: 16, marginBits: 1 },
};

/** The ring a suite prefers. */
function settingsOf(name: string): { ringBits: number; rangeBits: number } {
  const suite = suites[name]!;
  return { ringBits: suite.defaultRingBits, rangeBits: suite.rangeBits(suite.defaultRingBits) };
}

/** Opens a network of parties that serves a model. */
export async function openTrials(options: NetworkOptions = {}, served: Served = small): Promise<Trials> {
  const { onnx, picture, calibration, suite = 'masked' } = served;
  const compute = await createNodeCompute({ inline: true, maxBytes: 2 ** 28 });
  const model = await compileGraph(compute, readGraph(onnx), calibration, settingsOf(suite));
  const plain = await expected(compute, model, picture, 1);
  const slack = served.slack ?? tolerance(model) * plain.unit;
  await compute.close();
  const network = await openNetwork(model, options);

  const session = async (): Promise<Float32Array | Error> => {
    try {
      const client = await network.openClient({ suite });
      try {
        return (await client.infer(picture)).outputs[0]!;
      } finally {
        await client.close();
      }
    } catch (error) {
      return error as Error;
    }
  };
  const check = (answer: Float32Array | Error): void => {
    if (answer instanceof Error) throw answer;
    const off = answer.findIndex((value, i) => !(Math.abs(value - plain.outputs[i]!) <= slack));
    if (off >= 0 || answer.length !== plain.outputs.length) throw new Error(`the answer is ${answer}, and should be ${plain.outputs}`);
  };
  const complaint = (what: string, work: () => void): string[] => {
    try {
      work();
      return [];
    } catch (error) {
      return [`${what}: ${(error as Error).message}`];
    }
  };

  return {
    network,
    session,
    check,
    used: () => Object.values(network.compute).map((each) => each.memory.usedBytes),
    async places() {
      const seen: Place[] = [];
      network.inject(({ place }) => {
        seen.push(place);
        return undefined;
      });
      check(await session());
      network.inject(undefined);
      await network.ends();
      return seen;
    },
    async attempt(place, fault) {
      let done = false;
      const name = placeText(place);
      network.inject((message, on) => {
        if (done || placeText(message.place) !== name) return undefined;
        done = true;
        return fault(message, on);
      });
      const answer = await withoutHang(session(), `the client (${name})`);
      network.inject(undefined);
      const others = await withoutHang(network.ends(), `server or provider (${name})`);
      const wrong = done ? [] : ['the fault never came'];
      if (!(answer instanceof Error)) wrong.push(...complaint('wrong answer', () => check(answer)));
      for (const end of [answer, ...others]) if (end instanceof Error && !(end instanceof PeerError)) wrong.push(`not typed: ${end.stack}`);
      const next = await withoutHang(session(), `the next client (${name})`);
      await withoutHang(network.ends(), `the next session (${name})`);
      wrong.push(...complaint('next client', () => check(next)));
      return { client: answer instanceof Error ? answer : undefined, others, wrong: wrong.map((text) => `${name}: ${text}`) };
    },
  };
}

/** Rejects when `work` takes longer than any limit in these tests: a hang. */
export function withoutHang<T>(work: Promise<T>, what: string, seconds = 30): Promise<T> {
  let timer: NodeJS.Timeout;
  const hang = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} hangs`)), seconds * 1000);
  });
  return Promise.race([work, hang]).finally(() => clearTimeout(timer));
}
