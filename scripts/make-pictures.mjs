// node scripts/make-pictures.mjs [FOLDER]
// Makes models/pictures/ from photographs that scikit-image ships (Debian: python3-skimage); models/README.md credits each.
// Cuts a square out of each, or sets it on white where it is cut wider than it is, and scales it to CIFAR's 32 × 32. Run it after npm run build.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PNG } from 'pngjs';
import { readPicture } from '../dist/src/data/picture.node.js';
import { resizeBilinear } from '../dist/src/data/preprocess.js';

const from = process.argv[2] ?? '/usr/lib/python3/dist-packages/skimage/data';
const to = fileURLToPath(new URL('../models/pictures', import.meta.url));
const side = 32;

/** File, then left, top and side of the square in its pixels. */
const pictures = {
  cat: ['chelsea.png', 40, 0, 300],
  horse: ['horse.png', 0, -36, 400],
  rocket: ['rocket.jpg', 214, 60, 240],
  coffee: ['coffee.png', 80, 0, 400],
};

/** The square's pixels as red, green, blue; white outside the picture. */
function cut(picture, left, top, size) {
  const pixels = new Uint8Array(3 * size * size).fill(255);
  for (let y = Math.max(0, -top); y < Math.min(size, picture.height - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(size, picture.width - left); x++) {
      const at = picture.channels * ((top + y) * picture.width + left + x);
      for (let c = 0; c < 3; c++) pixels[3 * (y * size + x) + c] = picture.pixels[at + (picture.channels === 3 ? c : 0)];
    }
  }
  return { width: size, height: size, channels: 3, pixels };
}

mkdirSync(to, { recursive: true });
for (const [name, [file, left, top, size]] of Object.entries(pictures)) {
  const small = resizeBilinear(cut(await readPicture(join(from, file)), left, top, size), side, side);
  const png = new PNG({ width: side, height: side });
  for (let i = 0; i < side * side; i++) png.data.set([...small.pixels.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  writeFileSync(join(to, `${name}.png`), PNG.sync.write(png, { colorType: 2 }));
  console.log(`${name}.png from ${file}`);
}
