// From pixels to the numbers a network is fed: resize, centre crop, (pixel / 255 − mean) / std. Not here: files and formats.
import { DataError } from '../errors.js';

/** A decoded picture: 8-bit samples, row by row, `channels` samples a pixel (1 grey, 3 red-green-blue). */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly pixels: Uint8Array;
}

/** What turns a picture into a network's input. */
export interface Preprocessing {
  /** Length of the shorter side after resizing, in pixels; the picture keeps its size when absent. */
  readonly resize?: number;
  /** Side of the centred square that is cut out after resizing; nothing is cut when absent. */
  readonly crop?: number;
  /** One number a plane (or one for all), in units of pixel / 255, in the order of `channels`. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly channels: 'rgb' | 'bgr' | 'gray';
}

/** The value pixel / 255, planes red, green, blue or a single grey one. */
export function plainPreprocessing(planes: number): Preprocessing {
  return { mean: [0], std: [1], channels: planes === 1 ? 'gray' : 'rgb' };
}

/** Number of planes of the tensor that `preprocess` makes. */
export function planesOf(preprocessing: Preprocessing): 1 | 3 {
  return preprocessing.channels === 'gray' ? 1 : 3;
}

/** Height and width after resizing and cropping a picture of the given size. */
export function sizeAfter(preprocessing: Preprocessing, height: number, width: number): readonly [height: number, width: number] {
  if (preprocessing.crop !== undefined) return [preprocessing.crop, preprocessing.crop];
  return preprocessing.resize === undefined ? [height, width] : resizedSize(height, width, preprocessing.resize);
}

/**
 * The input tensor of one picture: planes × height × width, planes in the order of `preprocessing.channels`.
 * @throws DataError ("picture-too-small") when the crop does not fit in the resized picture.
 */
export function preprocess(picture: Picture, preprocessing: Preprocessing, name = 'picture'): Float32Array {
  const scaled = toScale(picture, preprocessing);
  const cut = centredCut(scaled, preprocessing, name);
  return normalise(scaled.pixels, scaled, cut, preprocessing);
}

/** The picture with the channels the network reads, its shorter side resized: what is cut and normalised afterwards. */
export function toScale(picture: Picture, preprocessing: Preprocessing): Picture {
  const coloured = preprocessing.channels === 'gray' ? toGrey(picture) : toColour(picture);
  if (preprocessing.resize === undefined) return coloured;
  const [height, width] = resizedSize(coloured.height, coloured.width, preprocessing.resize);
  return resizeBilinear(coloured, width, height);
}

/** A rectangle of a picture, in pixels. */
export interface Cut {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/**
 * The square in the middle that preprocessing cuts out, or the whole picture.
 * @throws DataError ("picture-too-small") when it does not fit.
 */
export function centredCut({ width, height }: Picture, preprocessing: Preprocessing, name: string): Cut {
  const cropHeight = preprocessing.crop ?? height;
  const cropWidth = preprocessing.crop ?? width;
  if (cropHeight > height || cropWidth > width) {
    throw new DataError(`${name} is ${width} × ${height} pixels, too small to cut ${cropWidth} × ${cropHeight} out of it`, {
      code: 'picture-too-small',
      where: name,
      hint: 'Set "resize" in the preprocessing, or use a larger picture.',
    });
  }
  // Pillow's and torchvision's centre: half pixels go to the even side, as Python's round() does.
  const top = roundHalfEven((height - cropHeight) / 2);
  const left = roundHalfEven((width - cropWidth) / 2);
  return { top, left, height: cropHeight, width: cropWidth };
}

/** The value each of a plane's 256 samples is fed as: (sample / 255 − mean) / std. */
export function planeTable(preprocessing: Preprocessing, plane: number): Float32Array {
  const mean = preprocessing.mean[preprocessing.mean.length === 1 ? 0 : plane] ?? 0;
  const std = preprocessing.std[preprocessing.std.length === 1 ? 0 : plane] ?? 1;
  return Float32Array.from({ length: 256 }, (_, value) => (value / 255 - mean) / std);
}

function normalise(
  pixels: Uint8Array,
  picture: { readonly width: number; readonly channels: 1 | 3 },
  cut: Cut,
  preprocessing: Preprocessing,
): Float32Array {
  const planes = planesOf(preprocessing);
  const area = cut.height * cut.width;
  const out = new Float32Array(planes * area);
  for (let plane = 0; plane < planes; plane++) {
    const table = planeTable(preprocessing, plane);
    const sample = preprocessing.channels === 'bgr' ? 2 - plane : plane;
    let to = plane * area;
    for (let y = 0; y < cut.height; y++) {
      let from = ((cut.top + y) * picture.width + cut.left) * picture.channels + sample;
      for (let x = 0; x < cut.width; x++, from += picture.channels) out[to++] = table[pixels[from] as number] as number;
    }
  }
  return out;
}

function resizedSize(height: number, width: number, shorter: number): readonly [height: number, width: number] {
  return width <= height
    ? [Math.max(1, Math.floor((shorter * height) / width)), shorter]
    : [shorter, Math.max(1, Math.floor((shorter * width) / height))];
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

/** Grey as Pillow converts it: ITU-R 601 weights in 16-bit fixed point. */
function toGrey(picture: Picture): Picture {
  if (picture.channels === 1) return picture;
  const { width, height, pixels } = picture;
  const grey = new Uint8Array(width * height);
  for (let i = 0, from = 0; i < grey.length; i++, from += 3) {
    const [red, green, blue] = [pixels[from] as number, pixels[from + 1] as number, pixels[from + 2] as number];
    grey[i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
  }
  return { width, height, channels: 1, pixels: grey };
}

function toColour(picture: Picture): Picture {
  if (picture.channels === 3) return picture;
  const { width, height, pixels } = picture;
  const colour = new Uint8Array(3 * width * height);
  for (let i = 0; i < pixels.length; i++) colour.fill(pixels[i] as number, 3 * i, 3 * i + 3);
  return { width, height, channels: 3, pixels: colour };
}

/**
 * Bilinear resizing with a triangle filter that widens when it shrinks (so that it does not alias), in two passes with 8 bits between
 * them: the result equals Pillow's `resize(BILINEAR)` to the last bit, which the trained networks' preprocessing used.
 */
export function resizeBilinear(picture: Picture, width: number, height: number): Picture {
  const across = picture.width === width ? picture : resizeAxis(picture, width, 'x');
  return across.height === height ? across : resizeAxis(across, height, 'y');
}

/** Bits of the fixed-point filter weights: 8-bit samples and a sum of weights near 1 leave 32 − 8 − 2. */
const filterBits = 22;

function resizeAxis(picture: Picture, size: number, axis: 'x' | 'y'): Picture {
  const { channels, pixels } = picture;
  const width = axis === 'x' ? size : picture.width;
  const height = axis === 'y' ? size : picture.height;
  const out = new Uint8Array(width * height * channels);
  const taps = filterTaps(axis === 'x' ? picture.width : picture.height, size);
  const stride = axis === 'x' ? channels : picture.width * channels;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = taps[axis === 'x' ? x : y] as FilterTap;
      const from = axis === 'x' ? (y * picture.width + first) * channels : (first * picture.width + x) * channels;
      for (let c = 0; c < channels; c++) {
        let sum = 1 << (filterBits - 1);
        for (let t = 0, at = from + c; t < weights.length; t++, at += stride) sum += (pixels[at] as number) * (weights[t] as number);
        out[(y * width + x) * channels + c] = Math.min(255, Math.max(0, sum >> filterBits));
      }
    }
  }
  return { width, height, channels, pixels: out };
}

interface FilterTap {
  readonly first: number;
  readonly weights: Int32Array;
}

function filterTaps(inputSize: number, outputSize: number): FilterTap[] {
  const scale = inputSize / outputSize;
  const support = Math.max(scale, 1);
  return Array.from({ length: outputSize }, (_, position) => {
    const centre = (position + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(inputSize, Math.trunc(centre + support + 0.5));
    const triangle = Array.from({ length: end - first }, (_, t) => Math.max(0, 1 - Math.abs((t + first - centre + 0.5) / support)));
    const total = triangle.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: Int32Array.from(triangle, (weight) => Math.trunc((weight / total) * (1 << filterBits) + 0.5)) };
  });
}
