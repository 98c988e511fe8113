// Numbers and tables for people.

/** Bytes with a decimal unit: "1.7 MB". */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  // 999.95 and more would be printed as 1000.0.
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** Seconds: "0.8 ms", "120 ms", "1.42 s", "3 min 20 s". */
export function formatSeconds(seconds: number): string {
  if (seconds < 0.01) return `${(1000 * seconds).toFixed(1)} ms`;
  if (seconds < 0.9995) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 99.5) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** A whole number with thousands set apart: "188,416". */
export function formatCount(count: number): string {
  return count.toLocaleString('en-GB', { maximumFractionDigits: 0 });
}

/** A share as a percentage with one decimal: "99.5 %". */
export function formatShare(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Columns lined up with two spaces between; the first is set left, numbers and the rest right. */
export function formatTable(rows: readonly (readonly string[])[], indent = ''): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows
    .map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number))))
    .map((cells) => `${indent}${cells.join('  ').trimEnd()}`)
    .join('\n');
}
