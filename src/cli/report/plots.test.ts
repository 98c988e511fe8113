// Plots, looked at as a reader's program would: the parsed SVG.
import { describe, expect, it } from 'vitest';
import { barPlot, heatMap, linePlot, scatterPlot } from './plots.js';
import { escapeText } from './svg.js';

const figure = { title: 'Accuracy <against> budget', description: 'More & more' };
const x = { label: 'budget (share of DReLUs)', scale: 'log', format: '.0%' } as const;
const y = { label: 'right answers (share)', format: '.0%' };
const series = [
  {
    name: 'chosen',
    points: [
      [0.06, 0.3],
      [0.25, 0.7],
      [1, 0.91],
    ] as const,
  },
  {
    name: 'uniform',
    points: [
      [0.06, 0.1],
      [0.25, Number.NaN],
      [0, 0.5],
      [1, 0.91],
    ] as const,
    dashed: true,
  },
];

interface Element {
  readonly tag: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly text: string;
}

/** Tags, attributes and text of well-formed XML; throws where tags do not close in order. */
function parse(svg: string): Element[] {
  const elements: (Element & { text: string })[] = [];
  const open: (Element & { text: string })[] = [];
  for (const [, close, tag, attributes, single, text] of svg.matchAll(/<(\/?)([\w:]+)([^<>]*?)(\/?)>([^<]*)/g)) {
    if (close) {
      if (open.pop()?.tag !== tag) throw new Error(`</${tag}> closes nothing`);
      continue;
    }
    const own = Object.fromEntries([...attributes!.matchAll(/([\w:-]+)="([^"]*)"/g)].map(([, name, value]) => [name!, value!]));
    const element = { tag: tag!, attributes: own, text: text! };
    elements.push(element);
    if (!single) open.push(element);
  }
  if (open.length > 0) throw new Error('not all elements are closed');
  return elements;
}

const texts = (elements: Element[]): string[] => elements.filter(({ tag }) => tag === 'text').map(({ text }) => text);
const having = (elements: Element[], role: string): number => elements.findIndex(({ attributes }) => attributes.class?.includes(role));

/** Elements drawn by marks of a kind outside legends and axes. */
const marks = (elements: Element[], kind: string): number => {
  let count = 0;
  elements.forEach(({ attributes }, i) => {
    if (attributes.class !== `mark-${kind} role-mark`) return;
    for (let j = i + 1; (elements[j]?.tag === 'path' || elements[j]?.tag === 'text') && !elements[j]?.attributes.class; j++) count++;
  });
  return count;
};

describe('a line plot', () => {
  it('has a title and a description for who cannot see it, with every character escaped', async () => {
    const elements = parse(await linePlot({ ...figure, x, y, series }));
    const [svg, title, description] = elements as [Element, Element, Element];
    expect(svg.attributes).toMatchObject({
      role: 'img',
      'aria-labelledby': `${title.attributes.id} ${description.attributes.id}`,
    });
    expect([title.text, description.text]).toEqual(['Accuracy &lt;against&gt; budget', 'More &amp; more']);
  });

  it('names its axes and series, and draws a mark for every point that can be drawn', async () => {
    const elements = parse(await linePlot({ ...figure, x, y, series }));
    expect(texts(elements)).toEqual(expect.arrayContaining(['budget (share of DReLUs)', 'right answers (share)', 'chosen', 'uniform']));
    expect(marks(elements, 'symbol')).toBe(5);
    expect(elements.some(({ attributes }) => attributes['stroke-dasharray'] === '5,4')).toBe(true);
  });

  it('needs no legend for one series', async () => {
    const elements = parse(await linePlot({ ...figure, x, y, series: series.slice(0, 1) }));
    expect(having(elements, 'role-legend')).toBe(-1);
    expect(texts(elements)).not.toContain('chosen');
  });

  it('is the same text every time, also when several are drawn at once', async () => {
    const [first, second] = await Promise.all([linePlot({ ...figure, x, y, series }), linePlot({ ...figure, x, y, series })]);
    expect(first).toBe(second);
    expect(await linePlot({ ...figure, x, y, series })).toBe(first);
  });

  it('of nothing is empty, and no error', async () => {
    expect(marks(parse(await linePlot({ ...figure, x, y, series: [] })), 'symbol')).toBe(0);
  });
});

it('a scatter plot has a mark for each point and the line on which both are equal', async () => {
  const points = Array.from({ length: 20 }, (_, i) => [i + 1, i + 2] as const);
  const labels = { x: { label: 'predicted', scale: 'log' }, y: { label: 'measured', scale: 'log' } } as const;
  const plot = parse(await scatterPlot({ ...figure, ...labels, series: [{ name: 'specs', points }], diagonal: true }));
  expect(marks(plot, 'symbol')).toBe(20);
  expect(marks(plot, 'line')).toBe(1);
  const without = parse(await scatterPlot({ ...figure, ...labels, series: [{ name: 'specs', points }] }));
  expect(marks(without, 'line')).toBe(0);
});

it('bars stand for values: as high as they are, on an axis that begins at 0', async () => {
  const own = [
    { name: 'before', values: [2, 4] },
    { name: 'after', values: [1, Number.NaN] },
  ];
  const plot = { ...figure, height: 200, categories: ['first', 'second'], x: { label: 'layer' }, y: { label: 'DReLUs' }, series: own };
  const elements = parse(await barPlot(plot));
  const begin = elements.findIndex(({ attributes }) => attributes.class === 'mark-rect role-mark');
  const heights = elements.slice(begin + 1, begin + 4).map(({ attributes }) => Number(/v(-?[\d.]+)/.exec(attributes.d!)![1]));
  expect(heights).toEqual([100, 200, 50]);
  expect(marks(elements, 'rect')).toBe(3);
});

it('a heat map has a cell with its number for each value, and what the colours mean', async () => {
  const map = { ...figure, rows: ['conv1', 'conv2'], columns: ['1×1', '2×2'], x: { label: 'patch' }, y: { label: 'layer' } };
  const values = [
    [0.25, 0.75],
    [Number.NaN, 1],
  ];
  const elements = parse(await heatMap({ ...map, values, colour: { label: 'share of channels', format: '.0%' } }));
  expect(marks(elements, 'rect')).toBe(3);
  expect(texts(elements)).toEqual(expect.arrayContaining(['25%', '75%', 'conv1', '2×2', 'share of channels']));
  const identifiers = elements.flatMap(({ attributes }) => (attributes.id === undefined ? [] : [attributes.id]));
  for (const { attributes } of elements) {
    const used = /url\(#(.*)\)/.exec(attributes.fill ?? '')?.[1];
    if (used !== undefined) expect(identifiers).toContain(used);
  }
  const other = parse(await heatMap({ ...map, title: 'Another', values, colour: { label: 'share of channels' } }));
  for (const { attributes } of other) expect(identifiers).not.toContain(attributes.id ?? 'none');
});

it('loads nothing', async () => {
  for (const svg of [await linePlot({ ...figure, x, y, series })]) expect(svg).not.toMatch(/href|@import|src=|<script|url\((?!#)/);
});

it('text is escaped for content and for attributes', () => {
  expect(escapeText(`<a b="c" d='e'>&`)).toBe('&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;');
});
