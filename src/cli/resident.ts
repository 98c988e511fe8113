// The most memory of this process that was ever resident.
import { readFileSync } from 'node:fs';

/**
 * In bytes. Not `resourceUsage().maxRSS` where there is another way: on Linux a process that is started begins with what its parent held (a child
 * of 40 MB said 785 MB, started by a process of 785).
 */
export function residentPeakBytes(): number {
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(processStatus())?.[1];
  return 1024 * (kilobytes === undefined ? process.resourceUsage().maxRSS : Number(kilobytes));
}

/** What Linux says of this process; nothing elsewhere. */
function processStatus(): string {
  try {
    return readFileSync('/proc/self/status', 'utf8');
  } catch {
    return '';
  }
}
