// A Vega specification as SVG text that stands by itself. Not here: what is drawn.
import { createHash } from 'node:crypto';
import type { Spec } from 'vega';

/** What every plot has. The description is read out where the plot cannot be seen: it should say what the plot shows. */
export interface Figure {
  readonly title: string;
  readonly description: string;
  /** Size of the plotted area in pixels, without axes and legend. */
  readonly width?: number;
  readonly height?: number;
}

/** The same figure and parts give the same text. */
export async function draw({ title, description, width = 560, height = 300 }: Figure, parts: Partial<Spec>): Promise<string> {
  // Loaded where it is used: commands that draw nothing need not wait for it.
  const { parse, View } = await import('vega');
  const spec: Spec = { width, height, padding: 5, background: 'white', autosize: 'pad', ...parts };
  const view = new View(parse(spec), { renderer: 'none' });
  try {
    return withText(await view.toSVG(), title, description);
  } finally {
    view.finalize();
  }
}

/** The drawing with a title and a description, and with identifiers that no other plot of a page has. */
function withText(svg: string, title: string, description: string): string {
  const own = createHash('sha256')
    .update(title)
    .update(description)
    .update(svg.replace(/(gradient|clip)_?\d+/g, ''))
    .digest('hex')
    .slice(0, 12);
  const known = new Map<string, string>();
  for (const [, id] of svg.matchAll(/ id="([^"]+)"/g)) known.set(id!, `${own}-${known.size}`);
  const drawn = svg
    .replace(/ id="([^"]+)"/g, (_, id: string) => ` id="p${known.get(id)}"`)
    .replace(/url\(#([^)]+)\)/g, (_, id: string) => `url(#p${known.get(id)})`)
    .replace(' xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1" class="marks"', '');
  const [head, body] = [drawn.slice(0, drawn.indexOf('>')), drawn.slice(drawn.indexOf('>') + 1)];
  const text = `<title id="p${own}-title">${escapeText(title)}</title><desc id="p${own}-desc">${escapeText(description)}</desc>`;
  return `${head} role="img" aria-labelledby="p${own}-title p${own}-desc">${text}${body}`;
}

/** Text as HTML and SVG write it, in content and in attributes. */
export function escapeText(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}
