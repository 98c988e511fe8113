// The same training step in PyTorch, where a python3 has it: a process that is told how many threads and steps, and answers with seconds.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { torchResnet } from './_torch-network.js';

/** ResNet-20 for CIFAR with shortcuts without weights, cross-entropy and SGD with momentum on made-up pictures. */
const program = `
import sys, time, torch
import torch.nn as nn, torch.nn.functional as F
${torchResnet}net = resnet(20, 10)
optimiser = torch.optim.SGD(net.parameters(), 0.02, 0.9, weight_decay=1e-4)
print(torch.__version__, flush=True)
for line in sys.stdin:
    threads, batch, steps = map(int, line.split())
    torch.set_num_threads(threads)
    x, y = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        optimiser.zero_grad(); F.cross_entropy(net(x), y).backward(); optimiser.step()
        times.append(time.perf_counter() - start)
    print(' '.join(map(str, times)), flush=True)
`;

export interface TorchPeer {
  readonly version: string;
  /** Seconds of each of some steps. */
  seconds(threads: number, batch: number, steps: number): Promise<number[]>;
  close(): void;
}

/** Starts PyTorch, or says that there is none. */
export async function startTorch(): Promise<TorchPeer | undefined> {
  for (const python of ['python3', '/usr/bin/python3']) {
    const child = spawn(python, ['-u', '-c', program], { stdio: ['pipe', 'pipe', 'ignore'] }) as unknown as ChildProcessWithoutNullStreams;
    child.on('error', () => {});
    const lines = createInterface({ input: child.stdout });
    const version = await Promise.race([once(lines, 'line').then(([line]) => String(line)), once(child, 'close').then(() => undefined)]);
    if (version === undefined) continue;
    return {
      version,
      async seconds(threads, batch, steps) {
        child.stdin.write(`${threads} ${batch} ${steps}\n`);
        const [line] = (await once(lines, 'line')) as [string];
        return line.split(' ').map(Number);
      },
      close: () => void child.kill(),
    };
  }
  process.stderr.write('no python3 here has PyTorch: left out\n');
  return undefined;
}
