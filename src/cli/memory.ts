// Whether a model fits into this machine's memory, before anything is started.
import { freemem } from 'node:os';
import { DataError } from '../errors.js';
import type { Program } from '../model/program.js';
import { predictMemory } from '../party/memory.js';
import { suites } from '../party/session.js';
import type { Role } from '../protocol/operation.js';
import { formatBytes } from './format.js';

/** What a party's kernels can address, weights and material included. */
const heapBytes = 2 ** 32;

/** Memory that this process may still take: of the machine, or of what its container was given. */
function availableBytes(): number {
  return typeof process.availableMemory === 'function' ? process.availableMemory() : freemem();
}

/**
 * Checks that `roles` fit into this machine together, each in a process of its own or all in one.
 * @throws DataError ("not-enough-memory") that says what is needed, what there is, and what would need less.
 */
export function checkMemory(
  program: Program,
  suite: string,
  batch: number,
  roles: readonly Role[],
  parties: 'memory' | 'processes' = 'processes',
): void {
  const predicted = predictMemory(program, suites[suite]!, batch);
  if (predicted === undefined) return;
  const available = availableBytes();
  const needed = roles.reduce((sum, role) => sum + predicted[role], 0);
  const each = roles.map((role) => `${role} ${formatBytes(predicted[role])}`).join(', ');
  const largest = parties === 'memory' ? needed : Math.max(...roles.map((role) => predicted[role]));
  const hint = remedies(batch, parties, roles);
  if (needed > available)
    throw new DataError(`this takes about ${formatBytes(needed)} of memory (${each}), and ${formatBytes(available)} are available`, {
      code: 'not-enough-memory',
      hint,
    });
  if (largest > heapBytes)
    throw new DataError(`this takes about ${formatBytes(largest)} in one process (${each}), which can use ${formatBytes(heapBytes)}`, {
      code: 'not-enough-memory',
      hint,
    });
}

function remedies(batch: number, parties: string, roles: readonly Role[]): string {
  const less = [
    ...(batch > 1 ? [`a smaller --batch than ${batch}`] : []),
    ...(parties === 'memory' && roles.length > 1 ? ['--parties processes'] : []),
    'smaller pictures ("resize" and "crop" of the descriptor)',
    'fewer comparisons (--spec)',
    'a narrower --ring',
  ];
  return `What needs less: ${less.join(', ')}. tessera estimate says how much.`;
}
