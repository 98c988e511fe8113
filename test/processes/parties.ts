// The tessera command as child processes, and clients in the test's own process that connect to them.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeModelFolder } from '../../src/cli/model-folder.js';
import type { Compute } from '../../src/kernel/compute.js';
import { type Compiled, type CompileOptions, compileGraph } from '../../src/model/compile.js';
import { programHash } from '../../src/model/files.js';
import { readGraph } from '../../src/model/onnx.js';
import { resizeOutput } from '../../src/model/output.js';
import type { LayerPatches } from '../../src/model/passes/lower.js';
import type { Program } from '../../src/model/program.js';
import { simulate } from '../../src/model/simulate.js';
import { type ClientOptions, type ClientSession, openClientSession } from '../../src/party/client.js';
import { decodeFixed, encodeFixed } from '../../src/ring/fixed.js';
import { type ConnectOptions, connect } from '../../src/wire/websocket.node.js';
import { values } from '../networks.js';

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

/** Whether there is a command to run (after npm run build). */
export const built = existsSync(main);

/** Files and children of one test file; `end` removes and kills what is left of them. */
export interface Bench {
  readonly folder: string;
  start(args: readonly string[], options?: StartOptions): Party;
  /** Starts a provider or a server on a free port of this host, and waits until it listens. */
  listening(args: readonly string[], options?: StartOptions): Promise<Party & { readonly url: string }>;
  end(): void;
}

export interface StartOptions {
  /** Flags for Node itself. */
  readonly node?: readonly string[];
  /** In a process group of its own, as a terminal gives one to every command. */
  readonly group?: boolean;
}

export interface Party {
  readonly child: ChildProcess;
  /** Resolves when the process has ended; `signal` when one ended it. */
  readonly exit: Promise<Exit>;
  readonly output: () => string;
  readonly log: () => string;
}

export interface Exit {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly log: string;
}

export function openBench(): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'tessera-test-'));
  const children = new Set<ChildProcess>();
  const start: Bench['start'] = (args, { node = [], group = false } = {}) => {
    const child = spawn(process.execPath, [...node, main, ...args, '--threads', '1'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: group,
      env: { ...process.env, XDG_CACHE_HOME: join(folder, 'cache'), TMPDIR: folder },
    });
    children.add(child);
    let output = '';
    let log = '';
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      log += data.toString();
    });
    const exit = new Promise<Exit>((resolve) => {
      child.once('close', (status, signal) => {
        children.delete(child);
        resolve({ status, signal, output, log });
      });
    });
    return { child, exit, output: () => output, log: () => log };
  };
  return {
    folder,
    start,
    async listening(args, options) {
      const party = start([...args, '--listen', '127.0.0.1:0', '--json'], options);
      const found = () => /"listening":"([^"]+)"/.exec(party.output())?.[1];
      await new Promise<void>((resolve, reject) => {
        party.child.stdout?.on('data', () => found() !== undefined && resolve());
        void party.exit.then((end) => reject(new Error(`${args.join(' ')} ended with ${end.status}: ${end.output}${end.log}`)));
      });
      return { ...party, url: found()! };
    },
    end() {
      for (const child of children) child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A compiled network with pictures to try it on. */
export interface Prepared extends Compiled {
  readonly folder: string;
  readonly hash: string;
  /** Values of a picture. */
  readonly size: number;
  images(count: number, seed?: number): Float32Array;
}

/** Compiles a network, calibrated on noise between -1 and 1, and writes it as a folder. */
export async function prepare(
  compute: Compute,
  folder: string,
  onnx: Uint8Array,
  spec?: LayerPatches,
  ring: Pick<CompileOptions, 'ringBits' | 'rangeBits'> = {},
  plan: (program: Program) => Program = (program) => program,
): Promise<Prepared> {
  const graph = readGraph(onnx);
  const size = graph.input.shape.reduce((a, b) => a * b, 1);
  const images = (count: number, seed = 1) => values(count * size, seed);
  const calibration = { images: images(32, 7), count: 32, marginBits: 1 };
  const made = await compileGraph(compute, graph, calibration, { ...ring, ...(spec ? { spec } : {}) });
  const compiled = { ...made, program: plan(made.program) };
  const hash = await programHash(compiled.program);
  const { drelus, comparisons, clipped, fractionBits } = compiled.report;
  const calibratedOn = { source: 'noise', images: 32, extraMarginBits: 1 };
  await writeModelFolder(folder, {
    compiled: { program: compiled.program, weights: compiled.weights, description: { name: 'test' }, hash },
    summary: { hash, ringBits: compiled.program.ringBits, fractionBits, drelus, comparisons, clipped, calibratedOn },
  });
  return { ...compiled, folder, hash, size, images };
}

/** What the parties should answer, in the clear: decoded outputs of all pictures, the value of one unit in them, and how
 * many patches may go either way. */
export async function expected(
  compute: Compute,
  { program, weights }: Compiled,
  images: Float32Array,
  count: number,
): Promise<{ outputs: Float32Array; unit: number; close: number }> {
  const input = encodeFixed(images, program.tensors[program.input]!.scale, program.ringBits);
  const { output, overflow } = await simulate(compute, program, weights, input, count);
  const { scale } = program.tensors[program.output]!;
  return {
    outputs: resizeOutput(program, decodeFixed(output, scale)),
    unit: 1 / scale,
    close: overflow.reduce((sum, step) => sum + step.close, 0),
  };
}

/**
 * The most an output may differ from the simulation, in units of the output: every truncation on the way may be one unit high, and a linear
 * layer spreads a unit by the sum of its weights' sizes. A difference that leaves a ReLU or a maximum is no larger than the one that came.
 */
export function tolerance({ program, weights }: Compiled): number {
  const error = program.tensors.map(() => 0);
  const of = (id: number) => error[id]!;
  for (const step of program.steps) {
    if (step.kind === 'linear') {
      const { weights: words, bias } = weights.layers[step.weights]!;
      const each = words.length / bias.length;
      let most = 0;
      for (let row = 0; row < bias.length; row++)
        most = Math.max(
          most,
          Array.from(words.subarray(row * each, (row + 1) * each), Number).reduce((sum, w) => sum + Math.abs(w), 0),
        );
      error[step.output] = of(step.input) * most;
    } else if (step.kind === 'relu' || step.kind === 'truncate') {
      const units = step.kind === 'relu' && step.cap !== undefined ? 2 : 1;
      error[step.output] = Math.ceil(of(step.input) / 2 ** step.truncateBits) + (step.truncateBits === 0 ? 0 : units);
    } else if (step.kind === 'sumpool') {
      const window = step.geometry.kernelHeight * step.geometry.kernelWidth;
      error[step.output] = of(step.input) * window * Math.max(1, ...(step.multipliers ?? []));
    } else if (step.kind === 'product') {
      // Values at a truncated scale stay below 2^16 here.
      error[step.output] = step.inputs.reduce((sum, id) => sum + of(id) * 2 ** 16, 0);
    } else if (step.kind === 'resample') {
      const rows = Array.from({ length: step.weights.length / step.taps }, (_, o) =>
        step.weights.slice(o * step.taps, (o + 1) * step.taps),
      );
      error[step.output] = of(step.input) * Math.max(...rows.map((row) => row.reduce((sum, w) => sum + Math.abs(w), 0)));
    } else if (step.kind === 'add') {
      error[step.output] = step.inputs.reduce((sum, id, i) => sum + of(id) * Math.abs(step.factors[i]!), 0);
    } else if (step.kind === 'concat') error[step.output] = Math.max(...step.inputs.map(of));
    else error[step.output] = of(step.input);
  }
  return error[program.output]!;
}

export interface Addresses {
  readonly server: string;
  readonly provider: string;
}

/** A client in this process, over real sockets. */
export async function openClient(
  compute: Compute,
  addresses: Addresses,
  options: Partial<ClientOptions> = {},
  wire: ConnectOptions = {},
): Promise<ClientSession> {
  const server = await connect(addresses.server, wire);
  const provider = await connect(addresses.provider, wire);
  return openClientSession({ compute, server, provider, ...options });
}

export const kinds = (program: Program): string[] => program.steps.map((step) => step.kind);

/** Writes a picture as .npy (float32, [1, ...shape]): the pictures of `infer` that need no decoding. */
export function writeArray(path: string, shape: readonly number[], data: Float32Array): void {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')},), }`;
  const header = Buffer.from(`${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`, 'latin1');
  const length = Buffer.alloc(2);
  length.writeUInt16LE(header.length);
  const start = Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), length, header]);
  writeFileSync(path, Buffer.concat([start, Buffer.from(data.buffer, data.byteOffset, data.byteLength)]));
}
