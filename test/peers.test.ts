// The harness that measures peers, on stand-ins that print what the real programs print: MP-SPDZ 0.4.2 (Processor/BaseMachine.cpp) and Porthos
// (Porthos/src/tools.cpp, connect.cpp in EzPC).
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { commandTask } from '../bench/_parties.js';
import { measurePeers, readMpSpdz, readPorthos, versionOf } from '../bench/_peers.js';

const root = mkdtempSync(join(tmpdir(), 'tessera-peers-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function script(path: string, lines: readonly string[]): void {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${lines.join('\n')}\n`);
  chmodSync(path, 0o755);
}

async function measure(against: readonly string[], cases = [{ case: 'ReLU', elements: 1000 }]) {
  const { task, end } = commandTask();
  return measurePeers(against, cases, 3, task).finally(end);
}

describe('MP-SPDZ', () => {
  const folder = join(root, 'spdz');
  script(join(folder, 'compile.py'), ['cp "Programs/Source/$3.mpc" "$(dirname "$0")/seen.mpc"', 'test "$1 $2" = "-R 64"']);
  script(join(folder, 'replicated-ring-party.x'), [
    'echo "$@" >> "$(dirname "$0")/calls"',
    'echo 0',
    'echo "The following benchmarks are including preprocessing (offline phase)." >&2',
    'echo "Time = 0.0$2""1 seconds " >&2',
    'echo "Data sent = 0.0312 MB in ~20 rounds (party $2 only; use \'-v\' for more details)" >&2',
    'test "$2" = 0 && echo "Global data sent = 0.0936 MB (all parties)" >&2',
    'exit 0',
  ]);
  mkdirSync(join(folder, 'Player-Data'));
  writeFileSync(join(folder, 'CHANGELOG.md'), 'Notes.\n\n## 0.4.2 (Dec 24, 2025)\n\n- x\n');

  it('runs three parties on a program of its own and reads the slowest time and all bytes', async () => {
    const results = await measure([`mp-spdz=${folder}`]);
    expect(results).toEqual([
      { name: 'mp-spdz', version: '0.4.2 (Dec 24, 2025)', case: 'ReLU', elements: 1000, seconds: 0.021, bytes: 93_600, runs: 3 },
    ]);
    const calls = readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n');
    expect(calls).toHaveLength(9);
    expect(calls[0]).toMatch(/^-p [012] -pn \d+ -h localhost tessera_relu_1000$/);
    expect(readFileSync(join(folder, 'seen.mpc'), 'utf8')).toContain('regint.inc(1000)');
  });

  it('does what of the cases it can', async () => {
    expect(await measure([`mp-spdz=${folder}`], [{ case: 'block ReLU 2×2', elements: 1000 }])).toEqual([]);
  });

  it('says when output has no figures', () => {
    expect(() => readMpSpdz(['Time = 1 seconds', 'nothing'])).toThrow(/no time/);
    expect(() => readMpSpdz(['Time = 1.5e-2 seconds '])).toThrow(/no data sent/);
  });
});

describe('Porthos', () => {
  const folder = join(root, 'porthos');
  const printed = (party: number) =>
    [
      'Syncronized - now starting actual execution at 1700000000000',
      '------------------------------------',
      `Wall Clock time for execution: 0.1${party} sec`,
      ...(party === 0 ? ['Total communication: 511.5MiB (sent) and 511.5MiB (recv)'] : []),
      `Communication for execution, P${party}: 170MiB (sent) 170MiB (recv)`,
    ].join('\n');
  const lines = [
    'test "$2 $3" = "files/addresses files/keys" || exit 3',
    'cat > /dev/null',
    ...[0, 1, 2].map((p) => `test "$1" = ${p} && cat <<END\n${printed(p)}\nEND`),
    'exit 0',
  ];
  script(join(folder, 'src/build/bin/relu_1000'), lines);
  script(join(folder, 'src/build/bin/ResNet50'), lines);
  writeFileSync(join(folder, 'VERSION'), '1.0 built here\n');

  it('runs every program that is built, matched to our case by its name', async () => {
    const results = await measure([`porthos=${folder}`]);
    const common = { name: 'porthos', version: '1.0', seconds: 0.12, bytes: 511.5 * 2 ** 20, runs: 3 };
    expect(results).toEqual([
      { ...common, case: 'ResNet50' },
      { ...common, case: 'ReLU', elements: 1000 },
    ]);
  });

  it('takes the time from start to end where a copy prints none', () => {
    expect(readPorthos(['Total communication: 1MiB (sent) and 1MiB (recv)', '', ''], 4.5)).toEqual({ seconds: 4.5, bytes: 2 ** 20 });
  });

  it('says which program failed, and how', async () => {
    const broken = join(root, 'broken');
    script(join(broken, 'src/build/bin/relu_1000'), ['echo no keys >&2', 'exit 7']);
    await expect(measure([`porthos=${broken}`])).rejects.toMatchObject({
      code: 'peer-program',
      message: expect.stringMatching(/status 7.*no keys/),
    });
  });
});

describe('a folder that is no built copy', () => {
  it.each([
    ['an unknown peer', `other=${root}`],
    ['no folder', 'porthos'],
    ['a folder that is not there', 'porthos=/nowhere/at/all'],
    ['a folder without programs', `porthos=${join(root, 'spdz')}`],
    ['a folder without a party', `mp-spdz=${join(root, 'porthos')}`],
  ])('is refused: %s', async (_, against) => {
    await expect(measure([against])).rejects.toMatchObject({ code: 'no-peer', exitStatus: 2 });
  });

  it('has no version unless something says it', () => {
    expect(versionOf(join(root, 'porthos/src'))).toBe('unknown version');
  });
});
