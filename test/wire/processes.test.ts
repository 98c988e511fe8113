// Channels between two processes: what a socket inside one process cannot show.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import type { Channel } from '../../src/wire/channel.js';
import type { ChannelLimits } from '../../src/wire/limits.js';
import { listen } from '../../src/wire/websocket.node.js';

const built = existsSync(fileURLToPath(new URL('../../dist/src/wire/websocket.node.js', import.meta.url)));
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

async function withEcho(limits: Partial<ChannelLimits>, act: (channel: Channel, child: ChildProcess) => Promise<void>): Promise<void> {
  let connected: (channel: Channel) => void = () => undefined;
  const arrival = new Promise<Channel>((resolve) => {
    connected = resolve;
  });
  const listener = await listen({ host: '127.0.0.1', port: 0, limits, onConnection: (channel) => connected(channel) });
  const child = spawn(process.execPath, [fileURLToPath(new URL('echo.mjs', import.meta.url)), listener.url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  try {
    await act(await arrival, child);
  } finally {
    await listener.close();
  }
}

describe.skipIf(!built)('a channel between two processes (after npm run build)', () => {
  it('brings back every byte, in whatever order it is asked for, and ends cleanly', async () => {
    await withEcho({}, async (channel, child) => {
      const payloads = [0, 1, 100_000, 12_345_678].map((size) => new Uint8Array(randomBytes(size)));
      payloads.forEach((payload, inference) => {
        channel.send({ inference, step: 0, name: 0 }, payload, 'online', inference);
      });
      for (const inference of [3, 0, 2, 1]) {
        const { payload, depth } = await channel.receive({ inference, step: 0, name: 1 });
        expect(Buffer.compare(payload, payloads[inference]!)).toBe(0);
        expect(depth).toBe(inference + 1);
      }
      expect(channel.received.online).toEqual(channel.sent.online);
      const output = new Promise<string>((resolve) => child.stdout!.once('data', (data) => resolve(String(data))));
      const status = new Promise((resolve) => child.once('exit', resolve));
      channel.close();
      expect(await output).toBe('done\n');
      expect(await status).toBe(0);
    });
  });

  it('notices at once when the other process is killed', async () => {
    await withEcho({}, async (channel, child) => {
      const waiting = channel.receive({ inference: 9, step: 0, name: 1 });
      child.kill('SIGKILL');
      await expect(waiting).rejects.toMatchObject({ code: 'peer-left', exitStatus: 4 });
    });
  });

  it('notices within its waiting limit when the other process hangs', async () => {
    await withEcho({ waitSeconds: 1 }, async (channel, child) => {
      child.kill('SIGSTOP');
      expect(await channel.ended).toMatchObject({ code: 'peer-silent', exitStatus: 4 });
    });
  });
});
