// Runs a list of tasks over named values on the compute heap, and gives each value's memory back after its last reader.
import type { Compute, HeapArray, Words } from '../kernel/compute.js';

export interface Task<Id> {
  readonly inputs: readonly Id[];
  readonly output: Id;
  /** Elements of the output. */
  readonly size: number;
}

export interface Execution<Id, Values extends HeapArray> {
  allocate(size: number): Values;
  /** Fills `output`, whose contents are undefined before. */
  run(task: number, inputs: readonly Values[], output: Values): Promise<void>;
  /** Sees every value once it is there. */
  seen?(id: Id, values: Values, task: number | undefined): void;
}

/** How many pictures to run at a time: as many as keep the largest value within 2^22 elements (16 MiB), at least one. */
export function picturesAtOnce(largest: number, count: number): number {
  return Math.max(1, Math.min(count, Math.floor(2 ** 22 / Math.max(1, largest))));
}

/**
 * Runs all tasks on an input (copied to the heap) and hands the value `wanted` to `take` while it lives. Nothing stays allocated,
 * also when a task throws.
 */
export async function execute<Id, Values extends Float32Array | Words>(
  compute: Compute,
  tasks: readonly Task<Id>[],
  input: { readonly id: Id; readonly values: Values },
  wanted: Id,
  execution: Execution<Id, Values>,
  take: (values: Values) => void,
): Promise<void> {
  const lastUse = new Map<Id, number>();
  tasks.forEach((task, i) => {
    for (const id of task.inputs) lastUse.set(id, i);
  });
  const values = new Map<Id, Values>();
  const drop = (id: Id): void => {
    const array = values.get(id);
    if (array !== undefined) compute.free(array);
    values.delete(id);
  };
  try {
    const first = execution.allocate(input.values.length);
    values.set(input.id, first);
    (first as Int32Array).set(input.values as Int32Array);
    execution.seen?.(input.id, first, undefined);
    for (const [i, task] of tasks.entries()) {
      const output = execution.allocate(task.size);
      values.set(task.output, output);
      await execution.run(
        i,
        task.inputs.map((id) => values.get(id)!),
        output,
      );
      execution.seen?.(task.output, output, i);
      for (const id of new Set([...task.inputs, task.output])) if (id !== wanted && (lastUse.get(id) ?? i) <= i) drop(id);
    }
    take(values.get(wanted)!);
  } finally {
    for (const id of [...values.keys()]) drop(id);
  }
}
