// The tables of the report, as HTML.
import { formatBytes, formatCount, formatSeconds, formatShare } from '../format.js';
import { type BudgetRow, type Cost, mainScore, type OptimizeReport, type Stage } from './data.js';
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
export function budgetTable({ rows, original, recommendation }: OptimizeReport): string {
  const stages = [...new Set(rows.flatMap((row) => row.stages.map(({ name }) => name)))];
  const withWindows = rows.some(({ fixed }) => fixed !== undefined);
  const scoreAt = (row: BudgetRow, name: Stage['name']): string => {
    const stage = row.stages.find((own) => own.name === name);
    return stage === undefined ? '' : formatShare(mainScore(stage.score));
  };
  const costs = ({ offline, online, seconds }: Cost): string[] => [
    formatBytes(offline.bytes),
    formatBytes(online.bytes),
    seconds.wan === undefined ? '' : formatSeconds(seconds.wan),
  ];
  const head = ['budget', 'DReLUs', 'of all', ...stages, ...(withWindows ? ['with windows'] : []), 'one patch a layer', 'one everywhere'];
  const body = byShare(rows).map((row) => [
    ...[row.name, formatCount(row.solved.drelus), formatShare(row.share)],
    ...stages.map((name) => scoreAt(row, name)),
    ...(withWindows ? [row.fixed === undefined ? '' : formatShare(mainScore(row.fixed))] : []),
    ...[formatShare(mainScore(row.perLayer.score)), formatShare(mainScore(row.uniform.score)), formatShare(row.score.agreement)],
    ...costs(row.costs),
  ]);
  const full = formatShare(mainScore(original.score));
  const blank = new Array<string>(stages.length - 1 + (withWindows ? 1 : 0) + 2).fill('');
  const drelus = formatCount(rows[0]?.solved.drelusFull ?? 0);
  const first = ['every comparison', drelus, '100.0 %', full, ...blank, '', ...costs(original.costs)];
  return table([...head, 'same answers', 'offline', 'online', 'on wan'], [first, ...body], 'budgets', recommendation.budget);
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
