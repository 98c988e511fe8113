// The tables of the report, as HTML.
import { formatBytes, formatCount, formatSeconds, formatShare } from '../format.js';
import type { Score } from '../scores.js';
import { type BudgetRow, type Cost, mainScore, type OptimizeReport } from './data.js';
import { escapeText } from './svg.js';

/** A table whose first column names the rows. Cells are text, and escaped. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], kind = '', marked?: string): string {
  const cells = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? `<th scope="row">${escapeText(cell)}</th>` : `<td>${escapeText(cell)}</td>`)).join('');
  const titles = head.some((title) => title !== '')
    ? `<thead><tr>${head.map((title) => `<th scope="col">${escapeText(title)}</th>`).join('')}</tr></thead>`
    : '';
  const body = rows.map((row) => `<tr${row[0] === marked ? ' class="marked"' : ''}>${cells(row)}</tr>`).join('\n');
  return `<div class="wide"><table class="${kind}">${titles}<tbody>\n${body}\n</tbody></table></div>`;
}

/** The largest budgets first, below the network as it is. */
const byShare = (rows: readonly BudgetRow[]): BudgetRow[] => [...rows].sort((a, b) => b.share - a.share);

/** Everything a person decides from, a row for each budget. */
export function budgetTable({ rows, original, drelusFull, recommendation }: OptimizeReport): string {
  const stages = [...new Set(rows.flatMap((row) => row.stages.map(({ name }) => name)))];
  const withWindows = rows.some(({ fixed }) => fixed !== undefined);
  const shown = (score: Score | undefined): string => (score === undefined ? '' : formatShare(mainScore(score)));
  const line = (row: BudgetRow): string[] => [
    ...[row.name, `${formatCount(row.solved.drelus)} (${formatShare(row.share)})`],
    ...stages.map((name) => shown(row.stages.find((own) => own.name === name)?.score)),
    ...(withWindows ? [shown(row.fixed)] : []),
    ...[shown(row.perLayer.score), shown(row.uniform.score), formatShare(row.score.agreement), ...priceOf(row.costs)],
  ];
  const windows = withWindows ? ['with windows'] : [];
  const head = ['budget', 'DReLUs', ...stages, ...windows, 'one patch a layer', 'one patch everywhere', 'same answers', 'bytes', 'on wan'];
  const blank = new Array<string>(stages.length - 1 + windows.length + 3).fill('');
  const first = ['every comparison', formatCount(drelusFull), shown(original.score), ...blank, ...priceOf(original.costs)];
  return table(head, [first, ...byShare(rows).map(line)], 'budgets', recommendation.budget);
}

/** Bytes of both phases, and seconds on a network that is slow but usual. */
function priceOf({ offline, online, seconds }: Cost): string[] {
  return [formatBytes(offline.bytes + online.bytes), seconds.wan === undefined ? '' : formatSeconds(seconds.wan)];
}

/** Bytes by phase and seconds by network, a column for each budget. */
export function networkTable({ rows, original }: OptimizeReport): string {
  const sorted = byShare(rows);
  const all = [original.costs, ...sorted.map(({ costs }) => costs)];
  const body = [
    ['bytes before the picture exists', ...all.map(({ offline }) => formatBytes(offline.bytes))],
    ['bytes with it', ...all.map(({ online }) => formatBytes(online.bytes))],
    ['messages in a row, online', ...all.map(({ online }) => String(online.rounds))],
    ...Object.keys(original.costs.seconds).map((network) => [
      network === 'none' ? 'time without a network' : `time on ${network}`,
      ...all.map(({ seconds }) => formatSeconds(seconds[network]!)),
    ]),
  ];
  return table(['', 'every comparison', ...sorted.map(({ name }) => name)], body);
}

/** Bits left out, by layer. */
export function windowTable({ layers }: OptimizeReport): string {
  const rows = layers.map(({ name, low }) => [name, low === undefined ? 'all bits' : `bits below ${low} left out`]);
  return table(['layer', 'compared'], rows);
}
