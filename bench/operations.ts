// tessera bench operations: DReLU, ReLU, block ReLU, MaxPool and convolution between three processes on one machine, over suites, word sizes and
// numbers of elements. Bytes are the step's own, without the masked input and output that any program has; seconds are those of the whole
// inference, both included. With --against, a peer's programs are measured in the same run.
import { suites } from '../src/party/session.js';
import { parseNetwork } from '../src/wire/profiles.js';
import { type Operation, operations, stepBytes } from './_operations.js';
import { type BenchOptions, type BenchRow, benchOptions, commandTask, median, printRows, withParties } from './_parties.js';
import { measurePeers, type PeerCase, type PeerResult } from './_peers.js';

const defaults = { elements: [1e3, 1e4, 1e5, 1e6], rings: [16, 24, 32, 64], suites: ['masked', 'securenn'], runs: 5 };

interface Row extends BenchRow {
  readonly comparisons: number;
  readonly shape?: string;
}

async function measure(operation: Operation, suiteName: string, network: string, options: BenchOptions): Promise<Row> {
  const { program } = operation.model.compiled;
  const suite = suites[suiteName]!;
  const size = program.tensors[0]!.shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: size }, (_, i) => ((i * 7919) % 2001) / 1000 - 1);
  const runs = options.runs ?? defaults.runs;
  const reports = await withParties(operation.model, { ...options, suite: suiteName, network: parseNetwork(network) }, async (session) => {
    const all = [];
    for (let i = 0; i < runs + 1; i++) all.push(await session.infer(values, 1));
    return all.slice(1);
  });
  const wrong = operation.name.startsWith('ReLU') ? wrongShare(reports, values) : 0;
  if (wrong > mostWrong) throw new Error(`${suiteName}, ${operation.name}: ${wrong} of the results are not the plaintext's`);
  const phase = (name: 'offline' | 'online') => ({
    seconds: median(reports.map((r) => r.seconds[name])),
    bytes: stepBytes(operation, suite, name),
    rounds: reports[0]!.rounds[name],
  });
  return {
    case: operation.name,
    suite: suiteName,
    ...(operation.elements === undefined ? { shape: operation.shape ?? '' } : { elements: operation.elements }),
    comparisons: operation.comparisons,
    ringBits: program.ringBits,
    network,
    runs,
    offline: phase('offline'),
    online: phase('online'),
    ...(wrong === 0 ? {} : { note: `${(100 * wrong).toFixed(3)} % wrong` }),
  };
}

/** Local truncation of shares fails for a few values, the more the narrower the ring; more than that is a fault. */
const mostWrong = 0.02;

/** Share of results that are more than a unit of truncation away from the plaintext's. */
function wrongShare(reports: readonly { readonly logits: Float32Array }[], values: Float32Array): number {
  let wrong = 0;
  for (const { logits } of reports) {
    for (const [i, got] of logits.entries()) if (Math.abs(got - Math.max(0, values[i]!)) >= 2) wrong++;
  }
  return wrong / (reports.length * values.length);
}

/** A sign alone is no step of a program: what a ReLU takes more than a block ReLU of 4 × 4, for each comparison it makes more. */
function signs(rows: readonly Row[]): Row[] {
  return rows.flatMap((fine) => {
    if (fine.case !== 'ReLU') return [];
    const same = (row: Row) => row.suite === fine.suite && row.ringBits === fine.ringBits && row.elements === fine.elements;
    const coarse = rows.find((row) => row.case === 'block ReLU 4×4' && row.network === fine.network && same(row));
    if (coarse === undefined) return [];
    const share = fine.comparisons / (fine.comparisons - coarse.comparisons);
    const phase = (name: 'offline' | 'online') => ({
      seconds: Math.max(0, share * (fine[name].seconds - coarse[name].seconds)),
      bytes: Math.round(share * (fine[name].bytes - coarse[name].bytes)),
      rounds: fine[name].rounds,
    });
    return [{ ...fine, case: 'DReLU (from the two ReLUs)', offline: phase('offline'), online: phase('online') }];
  });
}

/** What a row does, whatever window it compares: peers compare whole words. */
const plainCase = (row: Row): string => row.case.replace(/^ReLU, .*/, 'ReLU');

/** Each case once, as peers may do it. */
function casesOf(rows: readonly Row[]): PeerCase[] {
  const known = new Map(rows.map((row) => [`${plainCase(row)} ${row.elements}`, row]));
  return [...known.values()].map((row) => ({ case: plainCase(row), ...(row.elements === undefined ? {} : { elements: row.elements }) }));
}

const isSame = (row: Row, peer: PeerResult): boolean => plainCase(row) === peer.case && row.elements === peer.elements;

function withPeer(row: Row, peers: readonly PeerResult[]): Row {
  const peer = peers.find((each) => isSame(row, each));
  if (peer === undefined) return row;
  const { name, version, seconds, bytes } = peer;
  return { ...row, peer: { name, version, seconds, bytes }, ratio: seconds / (row.offline.seconds + row.online.seconds) };
}

/** A peer's program that is none of our cases. */
function peerRow({ name, version, seconds, bytes, runs, ...rest }: PeerResult): Row {
  const nothing = { seconds: 0, bytes: 0, rounds: 0 };
  const own = {
    case: rest.case,
    suite: name,
    ringBits: 0,
    network: 'none',
    runs,
    comparisons: 0,
    offline: nothing,
    online: { ...nothing, seconds, bytes },
  };
  return { ...own, peer: { name, version, seconds, bytes } };
}

const options = benchOptions();
const rows: Row[] = [];
for (const ringBits of options.rings ?? defaults.rings) {
  const wanted = (await operations(ringBits, options.elements ?? defaults.elements)).filter(({ name }) =>
    name.includes(options.match ?? ''),
  );
  for (const suite of options.suites ?? defaults.suites) {
    for (const operation of wanted) {
      if (suites[suite]?.refuses(operation.model.compiled.program) !== undefined) continue;
      for (const network of options.networks ?? ['none']) rows.push(await measure(operation, suite, network, options));
    }
  }
}
const measured = [...rows, ...signs(rows)];
const { task, end } = commandTask();
const peers = await measurePeers(options.against ?? [], casesOf(measured), options.runs ?? defaults.runs, task).finally(end);
const beside = measured.map((row) => withPeer(row, peers));
const unmatched = peers.filter((peer) => !measured.some((row) => isSame(row, peer))).map(peerRow);

const perComparison = (row: Row) => (row.comparisons === 0 ? '' : ((row.offline.bytes + row.online.bytes) / row.comparisons).toFixed(1));
printRows<Row>([...beside, ...unmatched], options, {
  case: (row) => row.case,
  suite: (row) => row.suite,
  ring: (row) => (row.ringBits === 0 ? '' : String(row.ringBits)),
  network: (row) => row.network,
  size: (row) => row.elements?.toLocaleString('en') ?? row.shape ?? '',
  'bytes/comparison': perComparison,
  'MB in all': (row) => ((row.offline.bytes + row.online.bytes) / 1e6).toFixed(2),
  'offline s': (row) => row.offline.seconds.toFixed(4),
  'online s': (row) => row.online.seconds.toFixed(4),
  rounds: (row) => (row.online.rounds === 0 ? '' : String(row.online.rounds)),
  runs: (row) => String(row.runs),
  note: (row) => row.note ?? '',
  ...(peers.length === 0
    ? {}
    : {
        peer: (row) => (row.peer === undefined ? '' : `${row.peer.name} ${row.peer.version}`),
        'its s': (row) => row.peer?.seconds.toFixed(3) ?? '',
        'its MB': (row) => (row.peer === undefined ? '' : (row.peer.bytes / 1e6).toFixed(1)),
        'its s / ours': (row) => row.ratio?.toFixed(2) ?? '',
      }),
});
