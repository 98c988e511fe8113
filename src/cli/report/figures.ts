// The plots of the report. Not here: how plots are drawn, and the page around them.
import { type BudgetRow, type LayerChoice, mainScore, type OptimizeReport, type Stage } from './data.js';
import { barPlot, heatMap, linePlot, type Series, scatterPlot } from './plots.js';
import { metricWords } from './recommend.js';

/** Shares are drawn on an axis of doublings. */
const doublings = [1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1];

const stageNames: Readonly<Record<Stage['name'], string>> = {
  knapsack: 'knapsack',
  'measured again': 'knapsack, measured again',
  refined: 'refined by annealing',
  corrected: 'corrected without labels',
  'fine-tuned': 'fine-tuned',
};

/** Scores against DReLUs, for every way to choose. */
export function accuracyPlot({ rows, original, metric, images }: OptimizeReport): Promise<string> {
  const sorted = [...rows].sort((a, b) => a.share - b.share);
  const full: [number, number] = [1, mainScore(original.score)];
  const stages = (Object.keys(stageNames) as Stage['name'][]).flatMap((name): Series[] => {
    const points = sorted.flatMap((row): [number, number][] => {
      const stage = row.stages.find((own) => own.name === name);
      return stage === undefined ? [] : [[row.share, mainScore(stage.score)]];
    });
    return points.length === 0 ? [] : [{ name: stageNames[name], points: points.length > 1 ? [...points, full] : points }];
  });
  const windowed = sorted.filter((row) => row.fixed !== undefined).map((row): [number, number] => [row.share, mainScore(row.fixed!)]);
  const baseline = (name: string, of: (row: BudgetRow) => BudgetRow['uniform']): Series => ({
    name,
    points: [...sorted.map((row): [number, number] => [of(row).drelus / row.solved.drelusFull, mainScore(of(row).score)]), full],
    dashed: true,
  });
  const least = Math.min(...sorted.map((row) => Math.min(row.share, row.uniform.drelus / row.solved.drelusFull)));
  return linePlot({
    title: 'Accuracy against budget',
    description: `Share of ${metricWords[metric]} on ${images} pictures against the share of DReLUs kept, for choices and baselines.`,
    width: 640,
    height: 340,
    x: {
      label: 'DReLUs kept',
      scale: 'log',
      format: '.3~p',
      domain: [0.9 * least, 1],
      ticks: doublings.filter((share) => share >= 0.9 * least),
    },
    y: { label: metricWords[metric], format: '.0%' },
    series: [
      ...stages,
      ...(windowed.length === 0 ? [] : [{ name: 'with windows, fixed point', points: windowed }]),
      baseline('one patch a layer', (row) => row.perLayer),
      baseline('one patch everywhere', (row) => row.uniform),
    ],
  });
}

/** Layers in the order they run, by number and the end of their names. */
const names = (layers: readonly LayerChoice[]): string[] =>
  layers.map(({ name }, i) => `${i + 1} ${name.length > 26 ? `…${name.slice(-25)}` : name}`);

export function keptPlot({ layers, budget }: OptimizeReport): Promise<string> {
  return barPlot({
    title: 'DReLUs kept by layer',
    description: `For every layer the share of its DReLUs that the spec for a budget of ${budget} keeps.`,
    width: 760,
    height: 220,
    categories: names(layers),
    x: { label: 'layer' },
    y: { label: 'DReLUs kept', format: '.0%', domain: [0, 1] },
    series: [{ name: 'kept', values: layers.map(({ kept, drelus }) => kept / drelus) }],
  });
}

/** Columns that a heat map has room for. */
const mostColumns = 20;

/** Elements that share a comparison, then height: identity and zero are last. */
function byArea(a: string, b: string): number {
  const sides = (name: string): [number, number] => name.split('×').map(Number) as [number, number];
  const area = (name: string): number => sides(name)[0] * sides(name)[1] || Number.POSITIVE_INFINITY;
  return area(a) === area(b) ? sides(a)[0] - sides(b)[0] : area(a) - area(b);
}

/** Shares of channels by patch: the patches taken most, and all others together. */
export function patchMap({ layers }: OptimizeReport): Promise<string> {
  const totals = new Map<string, number>();
  for (const { patches } of layers) for (const [name, share] of Object.entries(patches)) totals.set(name, (totals.get(name) ?? 0) + share);
  const most = [...totals]
    .sort((a, b) => b[1] - a[1])
    .slice(0, mostColumns)
    .map(([name]) => name);
  const columns = most.sort(byArea);
  const rest = totals.size > columns.length;
  const values = layers.map(({ patches }) => {
    const own = columns.map((name) => patches[name] ?? Number.NaN);
    const others = 1 - own.reduce((sum, share) => sum + (Number.isNaN(share) ? 0 : share), 0);
    return rest ? [...own, others > 1e-9 ? others : Number.NaN] : own;
  });
  return heatMap({
    title: 'Chosen patches',
    description: 'For every layer the share of its channels that takes a patch (height × width).',
    rows: names(layers),
    columns: rest ? [...columns, 'others'] : columns,
    x: { label: 'patch (height × width), from few elements to many' },
    y: { label: 'layer' },
    values,
    colour: { label: 'channels', format: '.0%' },
  });
}

/** Mean distortions of a channel by patch, for patches with sides that are powers of two. */
export function distortionMap({ layers }: Pick<OptimizeReport, 'layers'>): Promise<string> {
  const isDoubling = (name: string): boolean => name.split('×').every((side) => [1, 2, 4, 8].includes(Number(side)));
  const known = new Set(layers.flatMap(({ distortion }) => Object.keys(distortion)));
  const columns = [...known].filter((name) => isDoubling(name) && name !== '1×1').sort(byArea);
  return heatMap({
    title: 'Distortion by layer and patch',
    description: 'Mean over the channels of a layer of the expected squared change of the scores when one channel takes a patch.',
    rows: names(layers),
    columns,
    x: { label: 'patch (height × width)' },
    y: { label: 'layer' },
    values: layers.map(({ distortion }) => columns.map((name) => distortion[name] ?? Number.NaN)),
    colour: { label: 'distortion', scale: 'log', format: '.0e' },
  });
}

export function additivityPlot({ additivity: { points } }: Pick<OptimizeReport, 'additivity'>): Promise<string> {
  const of = (kind: 'random' | 'optimal'): [number, number][] =>
    points.filter((point) => point.kind === kind).map(({ predicted, measured }) => [predicted, measured]);
  return scatterPlot({
    title: 'Do distortions add up?',
    description: 'Measured change of the scores against the sum of the distortions of single channels, for random and optimal choices.',
    width: 440,
    height: 320,
    x: { label: 'sum of distortions', scale: 'log', format: '~s' },
    y: { label: 'measured together', scale: 'log', format: '~s' },
    diagonal: true,
    series: [
      { name: 'patches dealt out at random', points: of('random') },
      { name: "the knapsack's choices", points: of('optimal') },
    ],
  });
}
