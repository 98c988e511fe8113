// The compute of a command: worker threads as --threads says, ended with the command.
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import type { Task } from './task.js';

/** @param joined whether this process has nothing else to do, so that its own thread computes too. */
export async function openCompute(task: Task, threads: number, { joined = false } = {}): Promise<Compute> {
  const compute = await createNodeCompute({ threads, joined });
  task.atEnd(() => compute.close());
  return compute;
}
