// A page that needs nothing else: no network, no scripts; and what its parts look like.
import { pageStyle } from './style.js';
import { escapeText } from './svg.js';

/** A whole page; `body` is HTML, the title is text and escaped. */
export const htmlPage = (title: string, body: string): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeText(title)}</title>
<style>${pageStyle}</style>
</head>
<body>
<main>
<h1>${escapeText(title)}</h1>
${body}
</main>
</body>
</html>
`;

/** What the page comes to, in a sentence. */
export const advice = (sentence: string): string => `<p class="advice">${escapeText(sentence)}</p>`;

export const section = (id: string, title: string, body: string): string =>
  `<section id="${id}"><h2>${escapeText(title)}</h2>\n${body}\n</section>`;

export const figure = (svg: string, caption: string): string => `<figure>${svg}<figcaption>${escapeText(caption)}</figcaption></figure>`;
