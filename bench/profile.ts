// tessera bench profile: where the seconds of one operation go, by kernel and party. The three parties run in this process without worker threads,
// so that a kernel's time is its own and nobody waits; their seconds are of one thread. What is no kernel (messages, copies, promises) cannot be
// told apart by party, and is one row. Beside it the same operation between three processes.
import { formatCount } from '../src/cli/format.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { openLocalSession } from '../src/party/local.js';
import type { Role, RunPhase } from '../src/protocol/operation.js';
import { type Operation, operations } from './_operations.js';
import { type BenchOptions, benchOptions, median, printRows, withParties } from './_parties.js';

const defaults = { elements: 1e6, ring: 64, suite: 'securenn', match: 'ReLU, every bit', runs: 3 };
const roles: readonly Role[] = ['client', 'server', 'provider'];

/** Kernels that take less than this share of a phase's seconds are one row. */
const smallShare = 0.01;

type Seconds = Record<Role, Record<RunPhase, number>>;

interface Row {
  readonly case: string;
  readonly what: string;
  readonly seconds: Partial<Seconds>;
  /** Seconds of all parties together, where they cannot be told apart. */
  readonly together?: Readonly<Record<RunPhase, number>>;
}

const nothing = (): Seconds => ({
  client: { offline: 0, online: 0 },
  server: { offline: 0, online: 0 },
  provider: { offline: 0, online: 0 },
});

const total = (seconds: Partial<Seconds>, phase: RunPhase): number => Object.values(seconds).reduce((sum, own) => sum + own[phase], 0);

/** Seconds by kernel, as parties spend them. */
interface Ledger {
  phase: RunPhase;
  readonly kernels: Map<string, Seconds>;
}

/** A compute without workers that writes down what `role` spends. */
function metered(compute: Compute, role: Role, ledger: Ledger): Compute {
  const timed = <T>(kernel: string, work: () => T): T => {
    const start = performance.now();
    try {
      return work();
    } finally {
      const own = ledger.kernels.get(kernel) ?? nothing();
      own[role][ledger.phase] += (performance.now() - start) / 1e3;
      ledger.kernels.set(kernel, own);
    }
  };
  return {
    ...compute,
    get memory() {
      return compute.memory;
    },
    run: (kernel, args, count, options) => timed(kernel, () => compute.run(kernel, args, count, options)),
    call: (kernel, ...args) => timed(kernel, () => compute.call(kernel, ...args)),
    keystream: (key, counter, out) => timed('key streams', () => compute.keystream(key, counter, out)),
  };
}

const valuesOf = ({ model }: Operation): Float32Array => {
  const size = model.compiled.program.tensors[0]!.shape.reduce((a, b) => a * b, 1);
  return Float32Array.from({ length: size }, (_, i) => ((i * 7919) % 2001) / 1000 - 1);
};

/** One inference, after one that is not counted. */
async function profile(operation: Operation, suite: string): Promise<Row[]> {
  const compute = await createNodeCompute({ inline: true });
  const ledger: Ledger = { phase: 'offline', kernels: new Map() };
  const local = await openLocalSession({
    compute,
    ...operation.model.compiled,
    suite,
    meter: (own, role) => metered(own, role, ledger),
  });
  const values = valuesOf(operation);
  await local.client.infer(values);
  ledger.kernels.clear();
  const start = performance.now();
  const prepared = await local.client.prepare();
  const between = performance.now();
  ledger.phase = 'online';
  await prepared.infer(values);
  const elapsed = { offline: (between - start) / 1e3, online: (performance.now() - between) / 1e3 };
  await local.close();
  await compute.close();
  return rowsOf(operation.name, ledger, elapsed);
}

function rowsOf(name: string, { kernels }: Ledger, elapsed: Readonly<Record<RunPhase, number>>): Row[] {
  const small = nothing();
  const all = nothing();
  const rows: Row[] = [];
  for (const [kernel, seconds] of kernels) {
    const counts = (['offline', 'online'] as const).some((phase) => total(seconds, phase) > smallShare * elapsed[phase]);
    if (counts) rows.push({ case: name, what: kernel, seconds });
    for (const role of roles) {
      for (const phase of ['offline', 'online'] as const) {
        all[role][phase] += seconds[role][phase];
        if (!counts) small[role][phase] += seconds[role][phase];
      }
    }
  }
  const weight = ({ seconds }: Row): number => total(seconds, 'offline') + total(seconds, 'online');
  const rest = { offline: elapsed.offline - total(all, 'offline'), online: elapsed.online - total(all, 'online') };
  return [
    ...rows.sort((a, b) => weight(b) - weight(a)),
    { case: name, what: 'other kernels', seconds: small },
    { case: name, what: 'all kernels', seconds: all },
    { case: name, what: 'messages, copies, promises', seconds: {}, together: rest },
    { case: name, what: 'in all, one thread', seconds: {}, together: elapsed },
  ];
}

/** The same operation between three processes. */
async function between(operation: Operation, suite: string, options: BenchOptions): Promise<Row> {
  const values = valuesOf(operation);
  const runs = options.runs ?? defaults.runs;
  const reports = await withParties(operation.model, { ...options, suite }, async (session) => {
    const all = [];
    for (let i = 0; i < runs + 1; i++) all.push(await session.infer(values, 1));
    return all.slice(1);
  });
  const phase = (which: RunPhase): number => median(reports.map(({ seconds }) => seconds[which]));
  const what = `three processes of ${options.threads} threads, median of ${runs}`;
  return { case: operation.name, what, seconds: {}, together: { offline: phase('offline'), online: phase('online') } };
}

const options = benchOptions();
const suite = options.suites?.[0] ?? defaults.suite;
const elements = options.elements?.[0] ?? defaults.elements;
const rows: Row[] = [];
for (const operation of await operations(options.rings?.[0] ?? defaults.ring, [elements])) {
  if (operation.name !== (options.match ?? defaults.match)) continue;
  rows.push(...(await profile(operation, suite)), await between(operation, suite, options));
}

const cell = (role: Role, phase: RunPhase) => (row: Row) => row.seconds[role]?.[phase].toFixed(3) ?? '';
printRows(rows, options, {
  [`${options.match ?? defaults.match}, ${formatCount(elements)}, ${suite}: seconds in`]: (row) => row.what,
  ...Object.fromEntries(
    (['offline', 'online'] as const).flatMap((phase) => [
      ...roles.map((role) => [`${phase}: ${role}`, cell(role, phase)] as const),
      [`${phase}: all`, (row: Row) => (row.together?.[phase] ?? total(row.seconds, phase)).toFixed(3)] as const,
    ]),
  ),
});
