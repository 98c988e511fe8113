// The compute of a command: worker threads as --threads says, ended with the command.
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import type { Task } from './task.js';

export async function openCompute(task: Task, threads: number): Promise<Compute> {
  const compute = await createNodeCompute({ threads });
  task.atEnd(() => compute.close());
  return compute;
}
