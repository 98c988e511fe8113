// Plots as SVG text, without a browser and without a network: lines, scatter, bars, heat maps. Not here: what they show.
import type { Legend, LinearScale, LogScale, Mark, Scale, Spec, Axis as VegaAxis } from 'vega';
import { draw, type Figure } from './svg.js';

export interface Axis {
  /** What the numbers are, with their unit. */
  readonly label: string;
  /** Default "linear". Points at or below 0 are left out of a logarithmic axis. */
  readonly scale?: 'linear' | 'log';
  /** A d3 number format, such as ".0%" or "~s". */
  readonly format?: string;
  /** First and last value; by default those of the data, with 0 for bars. */
  readonly domain?: readonly [number, number];
  /** Where numbers stand; by default at round ones. */
  readonly ticks?: readonly number[];
}

export interface Series {
  readonly name: string;
  /** Where a number is not finite there is no point. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Drawn with dashes, such as a baseline. */
  readonly dashed?: boolean;
}

export interface LinePlot extends Figure {
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
}

export interface ScatterPlot extends LinePlot {
  /** Also the line y = x. */
  readonly diagonal?: boolean;
}

export interface BarPlot extends Figure {
  /** Along the horizontal axis, in this order. */
  readonly categories: readonly string[];
  readonly x: Pick<Axis, 'label'>;
  readonly y: Axis;
  /** A bar beside the others in every category; `values` are as many as categories. */
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[];
}

export interface HeatMap extends Figure {
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly x: Pick<Axis, 'label'>;
  readonly y: Pick<Axis, 'label'>;
  /** values[row][column]; a cell whose number is not finite stays empty. */
  readonly values: readonly (readonly number[])[];
  /** What the colours are. */
  readonly colour: Axis;
}

/** Colours that people with any kind of colour vision can tell apart on white (Okabe and Ito 2008), without its yellow. */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#333333'];
const shapes = ['circle', 'square', 'triangle-up', 'diamond', 'cross', 'triangle-down', 'triangle-left'];
const font = 'system-ui, sans-serif';
const ink = '#333';

/** Series as lines with a mark at every point, so that they can be told apart without colours. */
export function linePlot({ x, y, series, ...figure }: LinePlot): Promise<string> {
  const marks: Mark[] = [
    {
      type: 'group',
      from: { facet: { name: 'own', data: 'points', groupby: 'series' } },
      marks: [
        {
          type: 'line',
          from: { data: 'own' },
          encode: {
            enter: { ...position(), stroke: byName('colour'), strokeWidth: { value: 2 }, strokeDash: { scale: 'dash', field: 'series' } },
          },
        },
      ],
    },
    pointMark(48, 1),
  ];
  const { data, scales } = pointData({ x, y, series });
  const dash: Scale = { name: 'dash', type: 'ordinal', domain: names(series), range: series.map((s) => (s.dashed ? [5, 4] : [1, 0])) };
  return draw(figure, { data, scales: [...scales, dash], axes: valueAxes(x, y), legends: legendOf(series, true), marks });
}

/** Points of one or several series, and y = x where asked for. */
export function scatterPlot({ x, y, series, diagonal, ...figure }: ScatterPlot): Promise<string> {
  const { data, scales } = pointData({ x, y, series });
  const values = series.flatMap(({ points }) => points.filter((p) => isDrawn(p, x, y)).flat());
  const ends = [Math.min(...values), Math.max(...values)];
  const line: Mark = {
    type: 'line',
    from: { data: 'diagonal' },
    clip: true,
    encode: { enter: { ...position(), stroke: { value: '#888' }, strokeDash: { value: [4, 4] } } },
  };
  const withLine = diagonal && values.length > 0;
  const diagonalData = { name: 'diagonal', values: ends.map((end) => ({ x: end, y: end })) };
  return draw(figure, {
    data: withLine ? [...data, diagonalData] : data,
    scales,
    axes: valueAxes(x, y),
    legends: legendOf(series, false),
    marks: [...(withLine ? [line] : []), pointMark(30, 0.6)],
  });
}

/** Bars side by side for each category. */
export function barPlot({ categories, x, y, series, ...figure }: BarPlot): Promise<string> {
  const values = series.flatMap((s) =>
    categories
      .map((category, i) => ({ category, series: s.name, value: s.values[i] ?? Number.NaN }))
      .filter((v) => Number.isFinite(v.value)),
  );
  const scales: Scale[] = [
    { name: 'x', type: 'band', domain: [...categories], range: 'width', padding: 0.2 },
    { name: 'inner', type: 'band', domain: names(series), range: [0, { signal: "bandwidth('x')" }] },
    valueScale(
      'y',
      y,
      'height',
      values.map(({ value }) => value),
      { fromZero: true },
    ),
    colourScale(series),
  ];
  const bar: Mark = {
    type: 'rect',
    from: { data: 'bars' },
    encode: {
      enter: {
        x: { scale: 'x', field: 'category', offset: { scale: 'inner', field: 'series' } },
        width: { scale: 'inner', band: 1 },
        y: { scale: 'y', field: 'value' },
        y2: y.scale === 'log' ? { signal: 'height' } : { scale: 'y', value: 0 },
        fill: byName('colour'),
      },
    },
  };
  return draw(figure, {
    data: [{ name: 'bars', values }],
    scales,
    axes: [categoryAxis('bottom', x.label, categories), valueAxis('y', 'left', y)],
    legends: series.length > 1 ? [{ ...legendStyle, fill: 'colour', symbolType: 'square' }] : [],
    marks: [bar],
  });
}

/** Colours of a table of numbers: the darker the more, with the number in every cell where there is room. */
export function heatMap({ rows, columns, x, y, values, colour, ...figure }: HeatMap): Promise<string> {
  const isCell = (value: number): boolean => Number.isFinite(value) && (colour.scale !== 'log' || value > 0);
  const cells = rows.flatMap((row, r) =>
    columns.map((column, c) => ({ row, column, value: values[r]?.[c] ?? Number.NaN })).filter(({ value }) => isCell(value)),
  );
  const width = figure.width ?? Math.min(900, Math.max(240, 44 * columns.length));
  const height = figure.height ?? Math.max(80, 22 * rows.length);
  const place = { x: { scale: 'x', field: 'column' }, y: { scale: 'y', field: 'row' } };
  const tile: Mark = {
    type: 'rect',
    from: { data: 'cells' },
    encode: {
      enter: { ...place, width: { scale: 'x', band: 1 }, height: { scale: 'y', band: 1 }, fill: { scale: 'heat', field: 'value' } },
    },
  };
  const numbers = cells.map(({ value }) => value);
  const greatest = colour.domain?.[1] ?? Math.max(...numbers);
  const digits: Mark = {
    type: 'text',
    from: { data: 'cells' },
    encode: {
      enter: {
        x: { ...place.x, band: 0.5 },
        y: { ...place.y, band: 0.5 },
        text: { signal: `format(datum.value, ${JSON.stringify(colour.format ?? '.2~g')})` },
        fill: { signal: `datum.value > ${0.55 * greatest} ? 'white' : '${ink}'` },
        align: { value: 'center' },
        baseline: { value: 'middle' },
        fontSize: { value: 10 },
        font: { value: font },
      },
    },
  };
  const roomy = colour.scale !== 'log' && width / columns.length >= 34 && height / rows.length >= 14;
  const scales: Scale[] = [
    { name: 'x', type: 'band', domain: [...columns], range: 'width' },
    { name: 'y', type: 'band', domain: [...rows], range: 'height' },
    valueScale('heat', colour, { scheme: 'blues' }, numbers, { fromZero: true, nice: false }),
  ];
  const legend: Legend = { ...legendStyle, orient: 'right', direction: 'vertical', fill: 'heat', title: colour.label };
  return draw(
    { ...figure, width, height },
    {
      data: [{ name: 'cells', values: cells }],
      scales,
      axes: [categoryAxis('bottom', x.label, columns), categoryAxis('left', y.label, rows)],
      legends: [{ ...legend, ...(colour.format === undefined ? {} : { format: colour.format }) }],
      marks: roomy ? [tile, digits] : [tile],
    },
  );
}

const names = (series: readonly { readonly name: string }[]): string[] => series.map(({ name }) => name);
const position = () => ({ x: { scale: 'x', field: 'x' }, y: { scale: 'y', field: 'y' } });
const byName = (scale: string) => ({ scale, field: 'series' });

function isDrawn([x, y]: readonly [number, number], xAxis: Axis, yAxis: Axis): boolean {
  const fits = (value: number, axis: Axis): boolean => Number.isFinite(value) && (axis.scale !== 'log' || value > 0);
  return fits(x, xAxis) && fits(y, yAxis);
}

function pointData({ x, y, series }: Pick<LinePlot, 'x' | 'y' | 'series'>): { data: NonNullable<Spec['data']>; scales: Scale[] } {
  const values = series.flatMap((s) => s.points.filter((p) => isDrawn(p, x, y)).map((p) => ({ series: s.name, x: p[0], y: p[1] })));
  const along = (axis: 'x' | 'y'): number[] => values.map((point) => point[axis]);
  return {
    data: [{ name: 'points', values }],
    scales: [
      valueScale('x', x, 'width', along('x')),
      valueScale('y', y, 'height', along('y')),
      colourScale(series),
      { name: 'shape', type: 'ordinal', domain: names(series), range: series.map((_, i) => shapes[i % shapes.length]!) },
    ],
  };
}

function pointMark(area: number, opacity: number): Mark {
  return {
    type: 'symbol',
    from: { data: 'points' },
    encode: {
      enter: { ...position(), fill: byName('colour'), shape: byName('shape'), size: { value: area }, opacity: { value: opacity } },
    },
  };
}

/** A scale of numbers over what the axis states, else over the values, with 0 where they are lengths. */
function valueScale(
  name: string,
  axis: Axis,
  range: 'width' | 'height' | { readonly scheme: string },
  values: readonly number[],
  { fromZero = false, nice = true } = {},
): LinearScale | LogScale {
  const whole = fromZero && axis.scale !== 'log' ? [0, ...values] : values;
  const domain = axis.domain ?? (whole.length === 0 ? [0, 1] : [Math.min(...whole), Math.max(...whole)]);
  return { name, type: axis.scale ?? 'linear', domain: [...domain], range, nice: nice && axis.domain === undefined, zero: false };
}

function colourScale(series: readonly { readonly name: string }[]): Scale {
  return { name: 'colour', type: 'ordinal', domain: names(series), range: series.map((_, i) => colours[i % colours.length]!) };
}

const legendStyle: Legend = {
  orient: 'top',
  direction: 'horizontal',
  columns: 3,
  labelFont: font,
  labelFontSize: 12,
  labelLimit: 300,
  aria: false,
};

function legendOf(series: LinePlot['series'], lines: boolean): Legend[] {
  if (series.length < 2) return [];
  const own: Legend = lines ? { stroke: 'colour', strokeDash: 'dash', fill: 'colour', shape: 'shape' } : { fill: 'colour', shape: 'shape' };
  return [{ ...legendStyle, ...own } as Legend];
}

const axisStyle = { labelFont: font, labelFontSize: 11, titleFont: font, titleFontSize: 12, labelColor: ink, titleColor: ink, aria: false };

function valueAxis(scale: 'x' | 'y', orient: 'bottom' | 'left', { label, format, scale: kind, ticks }: Axis): VegaAxis {
  const own = {
    scale,
    orient,
    title: label,
    grid: true,
    gridColor: '#e5e5e5',
    tickCount: kind === 'log' ? 4 : 6,
    labelOverlap: true,
  } as const;
  return { ...axisStyle, ...own, ...(format === undefined ? {} : { format }), ...(ticks === undefined ? {} : { values: [...ticks] }) };
}

const valueAxes = (x: Axis, y: Axis): VegaAxis[] => [valueAxis('x', 'bottom', x), valueAxis('y', 'left', y)];

function categoryAxis(orient: 'bottom' | 'left', label: string, categories: readonly string[]): VegaAxis {
  const crowded = orient === 'bottom' && (categories.length > 12 || categories.some((name) => name.length > 8));
  const turned = crowded ? ({ labelAngle: -45, labelAlign: 'right', labelBaseline: 'middle' } as const) : {};
  return { ...axisStyle, scale: orient === 'bottom' ? 'x' : 'y', orient, title: label, ticks: false, labelLimit: 260, ...turned };
}
