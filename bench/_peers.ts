// Other systems beside ours: programs that a user has built in a folder are started as three local parties, and what they print is read. Nothing
// of a peer is here, nor how to build one; its folder stays as it is.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Task } from '../src/cli/task.js';
import { TesseraError, UsageError } from '../src/errors.js';

/** A peer's figures for one case. */
export interface PeerResult {
  readonly name: string;
  /** Git revision of the folder, or what its own files say. */
  readonly version: string;
  /** Our name of the case, or the peer's of its program. */
  readonly case: string;
  readonly elements?: number;
  /** Medians over `runs` runs, preprocessing included. */
  readonly seconds: number;
  /** Sent by all parties. */
  readonly bytes: number;
  readonly runs: number;
}

/** A case of ours that a peer may do too. */
export interface PeerCase {
  readonly case: string;
  readonly elements?: number;
}

interface PeerRun {
  readonly seconds: number;
  readonly bytes: number;
}

interface PeerProgram {
  readonly case: string;
  readonly elements?: number;
  run(): Promise<PeerRun>;
}

interface Peer {
  /** What of the cases it can do, ready to run. Throws UsageError where the folder has not what it takes. */
  prepare(folder: string, cases: readonly PeerCase[], task: Task): Promise<readonly PeerProgram[]>;
}

/** The longest that a peer's program may run. */
const limitSeconds = 900;

/**
 * Measures what `--against` names, as NAME=DIR.
 * @throws UsageError for an unknown peer, or a folder that is not a built copy; TesseraError when its programs fail or print something else.
 */
export async function measurePeers(
  against: readonly string[],
  cases: readonly PeerCase[],
  runs: number,
  task: Task,
): Promise<PeerResult[]> {
  const results: PeerResult[] = [];
  for (const text of against) {
    const [name = '', folder] = splitOnce(text);
    const peer = Object.hasOwn(peers, name) ? peers[name] : undefined;
    if (peer === undefined || folder === undefined) {
      throw refused(`"${text}" names no peer`, `Give NAME=DIR with one of ${Object.keys(peers).join(', ')}.`);
    }
    const path = resolve(folder);
    if (!existsSync(path)) throw refused(`${folder} is not there`, `Give the folder in which ${name} was built.`);
    const version = versionOf(path);
    for (const program of await peer.prepare(path, cases, task)) {
      const all: PeerRun[] = [];
      for (let run = 0; run < runs; run++) all.push(await program.run());
      const middle = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!;
      const { elements } = program;
      const figures = { seconds: middle(all.map((r) => r.seconds)), bytes: middle(all.map((r) => r.bytes)), runs };
      results.push({ name, version, case: program.case, ...(elements === undefined ? {} : { elements }), ...figures });
    }
  }
  return results;
}

function splitOnce(text: string): [string, string | undefined] {
  const at = text.indexOf('=');
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1) || undefined];
}

const refused = (message: string, hint: string): UsageError => new UsageError(message, { code: 'no-peer', where: '--against', hint });

/** What a folder says of its version: git's description, the first version in a change log, or a file VERSION. */
export function versionOf(folder: string): string {
  const git = spawnSync('git', ['-C', folder, 'describe', '--always', '--dirty', '--tags'], { encoding: 'utf8' });
  if (git.status === 0) return git.stdout.trim();
  const read = (name: string) => (existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : '');
  return /^\S+/.exec(read('VERSION'))?.[0] ?? /^##\s*(.+)$/m.exec(read('CHANGELOG.md'))?.[1]?.trim() ?? 'unknown version';
}

interface Party {
  readonly program: string;
  readonly arguments: readonly string[];
  readonly stdin?: string;
}

/** Runs three parties and returns what each printed, on either stream. */
async function runParties(name: string, parties: readonly Party[], cwd: string, task: Task): Promise<string[]> {
  const children: ChildProcess[] = [];
  const stop = () => {
    for (const child of children) child.kill('SIGKILL');
  };
  task.atEnd(stop);
  const timer = setTimeout(stop, limitSeconds * 1000);
  try {
    return await Promise.all(parties.map((party) => output(name, party, cwd, (child) => children.push(child))));
  } catch (error) {
    stop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function output(
  name: string,
  { program, arguments: own, stdin }: Party,
  cwd: string,
  started: (child: ChildProcess) => void,
): Promise<string> {
  const child = spawn(program, own, { cwd, stdio: ['pipe', 'pipe', 'pipe'] });
  started(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
  }
  // A program that reads nothing closes its end early.
  child.stdin.on('error', () => {});
  child.stdin.end(stdin === undefined ? undefined : readFileSync(stdin));
  return new Promise((resolve, reject) => {
    child.on('error', (cause) => reject(failed(name, `${program} cannot be started`, cause.message)));
    child.on('close', (status) => {
      if (status === 0) resolve(text);
      else reject(failed(name, `${program} ended with status ${status}`, text.trim().split('\n').slice(-3).join(' / ')));
    });
  });
}

const failed = (name: string, what: string, why: string): TesseraError =>
  new TesseraError(`${name}: ${what}: ${why}`, { code: 'peer-program', where: name, hint: 'Try its own examples in that folder first.' });

/** A number that a peer prints, by a pattern with one group. */
function figure(name: string, text: string, pattern: RegExp, what: string): number {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw failed(name, `no ${what} in its output`, text.trim().split('\n').slice(-3).join(' / '));
  return Number(found);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What MP-SPDZ's parties print at their end ("Time = 0.31 seconds", "Global data sent = 93.1 MB (all parties)"). */
export function readMpSpdz(texts: readonly string[]): PeerRun {
  const seconds = Math.max(...texts.map((text) => figure('mp-spdz', text, /^Time = ([\d.e+-]+) seconds/m, 'time')));
  return { seconds, bytes: 1e6 * figure('mp-spdz', texts.join('\n'), /^Global data sent = ([\d.e+-]+) MB/m, 'data sent') };
}

/** ReLUs of numbers on both sides of zero, in MP-SPDZ's language; with local share conversion, without which its comparisons send 30 times the bytes. */
const reluSource = (elements: number): string => `program.use_split(3)
values = sint(regint.inc(${elements}) - ${elements >> 1})
result = (values > 0).if_else(values, 0)
print_ln('%s', result[0].reveal())
`;

const mpSpdz: Peer = {
  async prepare(folder, cases, task) {
    const binary = join(folder, 'replicated-ring-party.x');
    for (const file of [binary, join(folder, 'compile.py'), join(folder, 'Player-Data')]) {
      if (!existsSync(file))
        throw refused(
          `${file} is not there`,
          'Build replicated-ring-party.x in that folder and run an example: its parties keep certificates.',
        );
    }
    const work = mkdtempSync(join(tmpdir(), 'tessera-peer-'));
    task.atEnd(() => rmSync(work, { recursive: true, force: true }));
    mkdirSync(join(work, 'Programs/Source'), { recursive: true });
    // Compiler and parties write into the folder they run in, and look there for the parties' certificates.
    symlinkSync(join(folder, 'Player-Data'), join(work, 'Player-Data'));
    return cases
      .filter((each) => each.case === 'ReLU' && each.elements !== undefined)
      .map(({ elements = 0, ...rest }): PeerProgram => {
        const program = `tessera_relu_${elements}`;
        writeFileSync(join(work, 'Programs/Source', `${program}.mpc`), reluSource(elements));
        const compiled = spawnSync(join(folder, 'compile.py'), ['-R', '64', program], { cwd: work, encoding: 'utf8' });
        if (compiled.status !== 0) throw failed('mp-spdz', 'compile.py failed', (compiled.stderr || compiled.error?.message) ?? '');
        return {
          ...rest,
          elements,
          run: async () => readMpSpdz(await runParties('mp-spdz', await spdzParties(binary, program), work, task)),
        };
      });
  },
};

async function spdzParties(binary: string, program: string): Promise<Party[]> {
  const port = String(await freePort());
  return [0, 1, 2].map((party) => ({ program: binary, arguments: ['-p', `${party}`, '-pn', port, '-h', 'localhost', program] }));
}

const mebibyte = 2 ** 20;

/**
 * What Porthos' parties print: "Wall Clock time for execution: 2.9 sec" where they were built to, and party 0 "Total communication: 511MiB (sent)".
 * @param elapsed seconds from start to end, for copies that print no time.
 */
export function readPorthos(texts: readonly string[], elapsed: number): PeerRun {
  const times = texts.map((text) => /Wall Clock time for execution: ([\d.e+-]+) sec/.exec(text)?.[1]);
  const seconds = times.every((time) => time !== undefined) ? Math.max(...times.map(Number)) : elapsed;
  return {
    seconds,
    bytes: mebibyte * figure('porthos', texts.join('\n'), /Total communication: ([\d.e+-]+) ?MiB \(sent\)/, 'communication'),
  };
}

const porthos: Peer = {
  async prepare(folder, cases, task) {
    const programs = join(folder, 'src/build/bin');
    const isProgram = (name: string) => statSync(join(programs, name)).isFile() && (statSync(join(programs, name)).mode & 0o111) !== 0;
    const names = existsSync(programs) ? readdirSync(programs).filter(isProgram) : [];
    if (names.length === 0) throw refused(`${programs} has no programs`, 'Build Porthos in that folder; every program in it is measured.');
    return names.sort().map((name): PeerProgram => {
      const inputOf = (party: number) => join(folder, 'files', `${name}.${party}.inp`);
      const parties = [0, 1, 2].map((party) => ({
        program: join(programs, name),
        arguments: [`${party}`, 'files/addresses', 'files/keys'],
        ...(existsSync(inputOf(party)) ? { stdin: inputOf(party) } : {}),
      }));
      return {
        ...(cases.find(
          (each) => each.case.toLowerCase() === name.toLowerCase().replace(/_.*/, '') && name.endsWith(`_${each.elements}`),
        ) ?? {
          case: name,
        }),
        run: async () => {
          const start = performance.now();
          const texts = await runParties('porthos', parties, folder, task);
          return readPorthos(texts, (performance.now() - start) / 1000);
        },
      };
    });
  },
};

/** The peers that `--against` knows. */
export const peers: Readonly<Record<string, Peer>> = { 'mp-spdz': mpSpdz, porthos };
