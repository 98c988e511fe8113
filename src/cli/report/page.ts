// The report as one HTML file that needs nothing else: no network, no scripts. Not here: what it finds (optimizing.ts) and plots (figures.ts).
import { formatBytes, formatCount, formatSeconds, formatShare } from '../format.js';
import { mainScore, type OptimizeReport } from './data.js';
import { accuracyPlot, additivityPlot, distortionMap, keptPlot, patchMap } from './figures.js';
import { advice, figure, htmlPage, section } from './html.js';
import { escapeText } from './svg.js';
import { budgetTable, networkTable, table, windowTable } from './tables.js';
import { trainingFigures } from './training.js';

/** The page. Everything that comes from files or flags is escaped. */
export async function writePage(report: OptimizeReport): Promise<string> {
  const sections = await Promise.all([
    budgets(report),
    networks(report),
    layers(report),
    distortion(report),
    windows(report),
    training(report),
    provenance(report),
  ]);
  const title = `${report.name}: which comparisons to keep`;
  return htmlPage(title, [advice(report.recommendation.sentence), tiles(report), ...sections].join('\n'));
}

/** The numbers of the budget asked for, in large. */
function tiles(report: OptimizeReport): string {
  const [main] = report.rows;
  if (main === undefined) return '';
  const { original, metric } = report;
  const both = (costs: OptimizeReport['original']['costs']): number => costs.offline.bytes + costs.online.bytes;
  const score = { top1: 'right answers', miou: 'mean IoU', agreement: 'same answers' }[metric];
  const facts: [string, string, string][] = [
    ['budget', main.name, `${formatCount(report.drelus)} of ${formatCount(report.drelusFull)} DReLUs`],
    [score, formatShare(mainScore(main.fixed ?? main.score)), `${formatShare(mainScore(original.score))} with every comparison`],
    ['bytes an inference', formatBytes(both(main.costs)), `${formatBytes(both(original.costs))} with every comparison`],
    ['seconds on wan', seconds(main.costs.seconds.wan), `${seconds(original.costs.seconds.wan)} with every comparison`],
  ];
  const tile = ([name, value, note]: [string, string, string]): string =>
    `<div><span>${escapeText(name)}</span><strong>${escapeText(value)}</strong><small>${escapeText(note)}</small></div>`;
  return `<div class="tiles">${facts.map(tile).join('')}</div>`;
}

const seconds = (value: number | undefined): string => (value === undefined ? 'unknown' : formatSeconds(value));

async function budgets(report: OptimizeReport): Promise<string> {
  const { images, heldOut, metric } = report;
  const on = heldOut === undefined ? 'validation pictures' : 'training pictures set apart';
  const caption = `On ${formatCount(images)} ${on}, in float unless it says otherwise. A baseline has about as many DReLUs as the choice it stands beside.`;
  const what =
    metric === 'agreement'
      ? '<p>The pictures have no labels: what is counted is how often the answer is that of the network as it was.</p>'
      : '';
  return section('budgets', 'Which budget', `${what}${budgetTable(report)}${figure(await accuracyPlot(report), caption)}`);
}

function networks(report: OptimizeReport): string {
  const text = `Bytes are exact, labels included; seconds are predicted for three machines like the one that made this page, offline and online together.`;
  return section('networks', 'Bytes and seconds', `<p>${escapeText(text)}</p>${networkTable(report)}`);
}

async function layers(report: OptimizeReport): Promise<string> {
  const budget = report.rows[0]?.name ?? '';
  const kept = figure(await keptPlot(report), `Budget ${budget}: share of every layer's DReLUs that are kept.`);
  const patches = figure(
    await patchMap(report),
    'Share of channels that take a patch. Dark on the left: compared finely; on the right: coarsely.',
  );
  return section('layers', 'Where comparisons are kept', kept + patches);
}

async function distortion(report: OptimizeReport): Promise<string> {
  const { additivity } = report;
  const map = figure(
    await distortionMap(report),
    'Expected squared change of the scores for one channel: dark cells are channels not to be touched.',
  );
  const rows = [
    ['rank correlation (Spearman)', additivity.correlation.toFixed(3)],
    ['slope of logarithms', additivity.slope.toFixed(2)],
    ['measured together / sum, median', additivity.ratio.toFixed(2)],
  ];
  const says = `The choice rests on sums over channels. A rank correlation near 1 says that smaller sums are better choices; measured values above the
dashed line, that changes strengthen each other.`;
  const scatter = figure(await additivityPlot(report), says);
  return section('distortion', 'Distortion, and whether it adds up', `${map}${scatter}${table(['random choices', ''], rows)}`);
}

function windows(report: OptimizeReport): string {
  const none = `<p>Every comparison is exact. Windows are chosen for budgets in bytes or seconds.</p>`;
  const chosen = report.layers.some(({ low }) => low !== undefined);
  return section('windows', 'Comparison windows', chosen ? windowTable(report) : none);
}

async function training({ training: run, rows, metric }: OptimizeReport): Promise<string> {
  if (run === undefined) return section('training', 'Fine-tuning', '<p>The network was not trained: add <code>--finetune</code>.</p>');
  const budget = `<p>Budget ${escapeText(rows[0]?.name ?? '')}.</p>`;
  return section('training', 'Fine-tuning', budget + (await trainingFigures(run, metric)));
}

function provenance(report: OptimizeReport): string {
  const { gap, objective, budget, cost, costKind } = report;
  const proof = gap === null ? 'none' : gap === 0 ? 'optimal' : `at most ${formatShare(gap)} above the optimum`;
  const rows = [
    ['model', report.modelHash],
    ['distortion', `${formatCount(report.channels)} channels, ${report.candidates} patches, ${formatCount(report.samples)} pictures`],
    ['budget', `${budget ?? ''} ${costKind}, ${cost} spent`],
    ['sum of distortions', `${objective?.toPrecision(6) ?? ''} (proof: ${proof})`],
    ['files', [report.file, ...report.rows.map(({ spec }) => spec), ...(report.model === undefined ? [] : [report.model])].join(', ')],
    ['made by', `tessera ${report.version}`],
  ];
  return section('made', 'How this was made', table(['', ''], rows, 'facts'));
}
