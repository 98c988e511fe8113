// Chance applied to training pictures: shifted, mirrored, partly covered, recoloured, and made into the network's input in the same pass.
// Not here: which picture comes when.
import { DataError } from '../errors.js';
import { type Cut, centredCut, type Picture, type Preprocessing, planesOf, planeTable, toScale } from './preprocess.js';

/** What may happen to a training picture; nothing where a field is absent. */
export interface Augmentation {
  /** The cut lies anywhere in the picture with a black border of so many pixels around it (He et al. 2015, section 4.2: 4 for 32 × 32). */
  readonly crop?: number;
  /** Left and right change places, every other time. */
  readonly flip?: boolean;
  /** A square of this side, in pixels, is set to 0 after normalisation, its centre anywhere (DeVries and Taylor 2017). */
  readonly cutout?: number;
  /** Brightness, contrast and saturation are each multiplied by a factor in [1 − colour, 1 + colour]. */
  readonly colour?: number;
}

/** What happens to one picture. */
export interface Draw {
  readonly cut: Cut;
  readonly flip: boolean;
  /** Covered rows and columns of the result, ends excluded. */
  readonly cover?: readonly [top: number, bottom: number, left: number, right: number];
  readonly colour?: readonly [brightness: number, contrast: number, saturation: number];
}

/**
 * Draws for one picture of the given size. Takes as many random numbers whatever they are.
 * @param cut what preprocessing alone would cut out.
 */
function draw(augmentation: Augmentation, cut: Cut, height: number, width: number, random: () => number): Draw {
  const { crop, flip = false, cutout, colour } = augmentation;
  const along = (size: number, length: number): number => Math.floor(random() * (length + 2 * (crop ?? 0) - size + 1)) - (crop ?? 0);
  const moved = crop === undefined ? cut : { ...cut, top: along(cut.height, height), left: along(cut.width, width) };
  const flipped = flip && random() < 0.5;
  let cover: Draw['cover'];
  if (cutout !== undefined) {
    const [y, x] = [Math.floor(random() * cut.height), Math.floor(random() * cut.width)].map((centre) => centre - (cutout >> 1)) as [
      number,
      number,
    ];
    cover = [Math.max(0, y), Math.min(cut.height, y + cutout), Math.max(0, x), Math.min(cut.width, x + cutout)];
  }
  const factor = (): number => 1 + (colour ?? 0) * (2 * random() - 1);
  return {
    cut: moved,
    flip: flipped,
    ...(cover === undefined ? {} : { cover }),
    ...(colour === undefined ? {} : { colour: [factor(), factor(), factor()] as const }),
  };
}

/** One input tensor of floats, planes × height × width. */
interface FloatPlanes {
  readonly shape: readonly [planes: number, height: number, width: number];
  readonly values: Float32Array;
}

/**
 * Makes one augmented input tensor in `out` (planes × height × width) and returns what was drawn, so that an annotation can follow.
 * @param name names the picture in errors.
 * @throws DataError where a picture is smaller than the cut, or floats are to be recoloured.
 */
export function augmentInto(
  item: Picture | FloatPlanes,
  preprocessing: Preprocessing,
  augmentation: Augmentation,
  random: () => number,
  out: Float32Array,
  name: string,
): Draw {
  if ('values' in item) {
    const [planes, height, width] = item.shape;
    if (augmentation.colour !== undefined) {
      const hint = 'Leave colour out of --augment, or give pictures of bytes.';
      throw new DataError(`${name} holds numbers, not colours`, { code: 'bad-data', where: name, hint });
    }
    const drawn = draw(augmentation, { top: 0, left: 0, height, width }, height, width, random);
    for (let plane = 0; plane < planes; plane++) {
      const from = item.values.subarray(plane * height * width);
      fillPlane(out, plane, drawn, { height, width }, 0, (at) => from[at]!);
    }
    return drawn;
  }
  const scaled = toScale(item, preprocessing);
  const drawn = draw(augmentation, centredCut(scaled, preprocessing, name), scaled.height, scaled.width, random);
  if (drawn.colour === undefined) fillFromTable(scaled, preprocessing, drawn, out);
  else fillRecoloured(scaled, preprocessing, drawn, drawn.colour, out);
  return drawn;
}

interface Size {
  readonly height: number;
  readonly width: number;
}

/** Fills one plane of the result by asking for the position (row · width + column) each value comes from; `border` lies around. */
function fillPlane(
  out: Float32Array,
  plane: number,
  drawn: Draw,
  { height, width }: Size,
  border: number,
  value: (at: number) => number,
): void {
  const { cut, flip, cover } = drawn;
  const start = plane * cut.height * cut.width;
  for (let y = 0; y < cut.height; y++) {
    const row = cut.top + y;
    const to = start + y * cut.width;
    if (row < 0 || row >= height) {
      out.fill(border, to, to + cut.width);
      continue;
    }
    for (let x = 0; x < cut.width; x++) {
      const column = cut.left + (flip ? cut.width - 1 - x : x);
      out[to + x] = column < 0 || column >= width ? border : value(row * width + column);
    }
  }
  if (cover === undefined) return;
  for (let y = cover[0]; y < cover[1]; y++) out.fill(0, start + y * cut.width + cover[2], start + y * cut.width + cover[3]);
}

function fillFromTable(picture: Picture, preprocessing: Preprocessing, drawn: Draw, out: Float32Array): void {
  const { pixels, channels } = picture;
  for (let plane = 0; plane < planesOf(preprocessing); plane++) {
    const table = planeTable(preprocessing, plane);
    const sample = preprocessing.channels === 'bgr' ? 2 - plane : plane;
    fillPlane(out, plane, drawn, picture, table[0]!, (at) => table[pixels[at * channels + sample]!]!);
  }
}

/** ITU-R 601 weights of red, green and blue in grey. */
const greyWeights = [0.299, 0.587, 0.114] as const;

/**
 * Brightness b, contrast c (around the picture's mean grey m) and saturation s (around each pixel's grey) in this order, as one step:
 * x = c b v + (1 − c) b m, then s x + (1 − s) grey(x), kept within 0 … 255.
 */
function fillRecoloured(
  picture: Picture,
  preprocessing: Preprocessing,
  drawn: Draw,
  [brightness, contrast, saturation]: NonNullable<Draw['colour']>,
  out: Float32Array,
): void {
  const { pixels, channels } = picture;
  const greyOf = (at: number): number =>
    channels === 1 ? pixels[at]! : greyWeights.reduce((sum, weight, c) => sum + weight * pixels[3 * at + c]!, 0);
  const area = picture.width * picture.height;
  let total = 0;
  for (let i = 0; i < area; i++) total += greyOf(i);
  const gain = contrast * brightness;
  const offset = ((1 - contrast) * brightness * total) / area;
  for (let plane = 0; plane < planesOf(preprocessing); plane++) {
    const table = planeTable(preprocessing, plane);
    const unit = table[255]! - table[0]!;
    const sample = preprocessing.channels === 'bgr' ? 2 - plane : plane;
    fillPlane(out, plane, drawn, picture, table[0]!, (at) => {
      const own = channels === 1 ? pixels[at]! : pixels[3 * at + sample]!;
      const value = gain * (saturation * own + (1 - saturation) * greyOf(at)) + offset;
      return table[0]! + (unit * Math.min(255, Math.max(0, value))) / 255;
    });
  }
}

/** The classes of an annotation's pixels, cut and mirrored like its picture; `ignore` outside. */
export function augmentLabels(classes: Uint8Array, { height, width }: Size, drawn: Draw, ignore: number, out: Int32Array): void {
  const { cut, flip } = drawn;
  for (let y = 0; y < cut.height; y++) {
    const row = cut.top + y;
    for (let x = 0; x < cut.width; x++) {
      const column = cut.left + (flip ? cut.width - 1 - x : x);
      const outside = row < 0 || row >= height || column < 0 || column >= width;
      out[y * cut.width + x] = outside ? ignore : classes[row * width + column]!;
    }
  }
}
