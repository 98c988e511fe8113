// Runs small programs between three parties in memory, and records what each of them receives.
import { PeerError } from '../../src/errors.js';
import type { Compute } from '../../src/kernel/compute.js';
import type { Program, ProgramWeights, Step } from '../../src/model/program.js';
import { openLocalSession } from '../../src/party/local.js';
import type { Role } from '../../src/protocol/operation.js';
import type { Channel, Label, Phase } from '../../src/wire/channel.js';

/** A message as its receiver sees it. */
export interface Received {
  readonly to: Role;
  readonly from: Role;
  readonly label: Label;
  readonly phase: Phase;
  readonly payload: Uint8Array;
}

/** A program that runs `steps` on an input of `shape`; shapes of the steps' outputs are given in order. All scales are 1. */
export function smallProgram(
  shape: readonly number[],
  steps: readonly Step[],
  shapes: readonly (readonly number[])[],
  ringBits = 32,
): Program {
  return {
    schema: 'tessera/program@1',
    ringBits,
    tensors: [shape, ...shapes].map((s) => ({ shape: s, scale: 1 })),
    input: 0,
    output: steps.length === 0 ? 0 : steps.at(-1)!.output,
    outputActivation: 'none',
    steps,
  };
}

/** A channel that reports what its owner's peer sent it. */
export function recording(record: (message: Received) => void) {
  return (channel: Channel, own: Role, peer: Role): Channel => ({
    ...channel,
    send: (label, payload, phase, depth) => {
      record({ to: peer, from: own, label, phase, payload: payload.slice() });
      channel.send(label, payload, phase, depth);
    },
    get sent() {
      return channel.sent;
    },
    get received() {
      return channel.received;
    },
    get framingBytes() {
      return channel.framingBytes;
    },
  });
}

export const noWeights: ProgramWeights = { layers: [] };

/** One inference of `batch` inputs; returns the outputs as integers. */
export async function runSmall(
  compute: Compute,
  program: Program,
  weights: ProgramWeights,
  input: readonly number[],
  batch = 1,
  record: (message: Received) => void = () => {},
  suite = 'masked',
): Promise<number[]> {
  const local = await openLocalSession({ compute, program, weights, suite, wrap: recording(record) });
  try {
    const { outputs } = await local.client.infer(Float32Array.from(input), batch);
    return outputs.flatMap((values) => [...values]);
  } catch (error) {
    const own = (await local.ended).find((end) => end.status === 'rejected' && !(end.reason instanceof PeerError)) as
      | PromiseRejectedResult
      | undefined;
    throw own?.reason ?? error;
  } finally {
    await local.close();
  }
}
