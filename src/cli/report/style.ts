// How the report looks, on a screen and on paper.

export const pageStyle = `
:root { color-scheme: light; --ink: #1f2933; --soft: #52606d; --line: #d9e2ec; --tint: #f5f8fb; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { max-width: 44rem; margin: .5rem 0 1rem; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
.advice { max-width: none; background: #eef6fc; border-left: 4px solid var(--accent); padding: .9rem 1.1rem; font-size: 1.06rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.tiles div { background: var(--tint); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; }
.tiles span, .tiles small { display: block; color: var(--soft); font-size: .85rem; }
.tiles strong { display: block; font-size: 1.55rem; font-weight: 600; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; min-width: 4.2rem; max-width: 7rem; border-bottom: 2px solid var(--line); }
th:first-child { text-align: left; font-weight: 600; min-width: 7rem; }
tr.marked th, tr.marked td { background: #eef6fc; }
tr.marked th::after { content: " ←"; color: var(--accent); }
table.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
figure { margin: 1.2rem 0 1.8rem; }
figure svg { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .88rem; max-width: 44rem; margin-top: .4rem; }
@media print {
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h2 { break-after: avoid; }
  figure, table, .tiles, .advice { break-inside: avoid; }
  table { font-size: 8pt; }
  th, td { padding: .25rem .4rem; }
  .wide { overflow: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
`;
