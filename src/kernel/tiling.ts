// How convolutions and pools are cut up for the kernels of assembly/conv.ts and assembly/depthwise.ts, and the geometry records
// those read. Not here: anything about the type of the elements.
import type { ConvGeometry, PoolGeometry } from './geometry.js';

/** Scratch memory of a thread, less its first 512 bytes, which the kernels keep for themselves. */
export const scratchBytes = 1 << 20;
const panelBytes = scratchBytes - 512;

/** Rows of the packed right operand at a time: a panel of 8 columns then takes 8 KiB and stays in the first-level cache. */
const blockRows = 256;
/** Panels packed at a time: 16 of them take 128 KiB, half of a small second-level cache. */
const mostTiles = 16;
/** Below this many tiles at a time the weights are read from memory too often; where they fit a cache it does not matter. */
const fewestTiles = 4;
const cachedWeightBytes = 262_144;
/** A strip of a map and its outputs stay in the first-level cache, beside what they are copied from and to. */
const stripBytes = 24_576;

/** A convolution as its kernel sees it: 1 x 1 ones as a product of matrices, ones that cover their input as a fully connected layer. */
export function simplify(g: ConvGeometry): ConvGeometry {
  const unpadded = g.padTop === 0 && g.padLeft === 0;
  const map = { inputHeight: 1, outputHeight: 1, kernelHeight: 1, kernelWidth: 1, strideY: 1, strideX: 1, dilationY: 1, dilationX: 1 };
  if (g.kernelHeight === 1 && g.kernelWidth === 1 && unpadded && g.strideY === 1 && g.strideX === 1) {
    if (g.outputHeight === g.inputHeight && g.outputWidth === g.inputWidth) {
      const width = g.inputHeight * g.inputWidth;
      return { ...g, ...map, inputWidth: width, outputWidth: width };
    }
  }
  const whole = g.kernelHeight === g.inputHeight && g.kernelWidth === g.inputWidth && g.dilationY === 1 && g.dilationX === 1;
  if (whole && unpadded && g.outputHeight === 1 && g.outputWidth === 1) {
    return { ...g, ...map, inputChannels: g.inputChannels * g.inputHeight * g.inputWidth, inputWidth: 1, outputWidth: 1 };
  }
  return g;
}

/** Each output channel reads one input channel: worth a kernel of its own. */
export const isDepthwise = (g: ConvGeometry): boolean => g.groups > 1 && g.groups === g.inputChannels;

/** Words of a convolution's weights. Throws RangeError for a geometry no convolution can have. */
export function weightCount(g: ConvGeometry): number {
  if (g.inputChannels % g.groups !== 0 || g.outputChannels % g.groups !== 0) {
    throw new RangeError(`convolve: ${g.groups} groups do not divide ${g.inputChannels} or ${g.outputChannels} channels`);
  }
  return (g.outputChannels * g.inputChannels * g.kernelHeight * g.kernelWidth) / g.groups;
}

/** Input channels packed at a time. */
export const blockChannels = (channels: number, taps: number): number => Math.min(channels, Math.max(1, Math.floor(blockRows / taps)));

/** The record of assembly/conv.ts. */
export function denseRecord(g: ConvGeometry): number[] {
  const taps = g.kernelHeight * g.kernelWidth;
  if (taps * 32 > panelBytes)
    throw new RangeError(`convolve: a kernel of ${g.kernelHeight} x ${g.kernelWidth} is larger than this supports`);
  const channels = g.inputChannels / g.groups;
  return [
    ...[channels, g.inputHeight, g.inputWidth, g.outputChannels / g.groups, g.outputHeight, g.outputWidth, g.kernelHeight, g.kernelWidth],
    ...[g.strideY, g.strideX, g.dilationY, g.dilationX, g.padTop, g.padLeft, g.groups, blockChannels(channels, taps)],
  ];
}

/** What an item of assembly/conv-points.ts holds in scratch memory at a time, 1,152 bytes of its own beside. */
const pointChannels = 64;
const pointTiles = 4;
const pointPanels = 32;

/** A convolution as conv-points.ts takes it: outputs are tiles, of 3 x 3 words or 4 x 4 floats. */
export interface Tiled {
  readonly record: number[];
  /** Tiles of an image. */
  readonly tiles: number;
}

/** 36 multiplications a tile, and a fifth for the way there, against 9 for each output. */
const isCheaper = (tiles: number, outputs: number): boolean => tiles * 36 * 1.2 < outputs * 9;

/**
 * Undefined for anything but 3 x 3 kernels at stride 1, for so few channels that it brings nothing, and for maps whose tiles are mostly
 * empty.
 * @param side of a tile of outputs.
 */
export function tiled(g: ConvGeometry, side: 3 | 4): Tiled | undefined {
  const [channels, rows] = [g.inputChannels / g.groups, g.outputChannels / g.groups];
  if (g.kernelHeight !== 3 || g.kernelWidth !== 3 || g.strideY !== 1 || g.strideX !== 1) return undefined;
  if (g.dilationY !== 1 || g.dilationX !== 1 || channels < 16 || rows < 16) return undefined;
  const [down, across] = [Math.ceil(g.outputHeight / side), Math.ceil(g.outputWidth / side)];
  if (!isCheaper(down * across, g.outputHeight * g.outputWidth)) return undefined;
  const inputs = side + 2;
  const window = [inputs, inputs, side, side, 1, 1, g.padTop, g.padLeft, g.groups];
  const record = [channels, g.inputHeight, g.inputWidth, rows, down, across, ...window, Math.min(pointChannels, channels)];
  return { record, tiles: down * across };
}

/** Whether a batch of words is faster in tiles, which come in whole groups of 8. Floats always take them, so that a picture's numbers do not depend on its batch. */
export const tilesPay = (g: ConvGeometry, tiles: number, batch: number): boolean =>
  isCheaper(Math.ceil((batch * tiles) / 8) * 8, batch * g.outputHeight * g.outputWidth);

/** Cuts a convolution into items of conv-points.ts. */
export function cutTiled(
  g: ConvGeometry,
  tiles: number,
  batch: number,
  threads: number,
): Pick<Cut, 'itemTiles' | 'itemPanels' | 'items' | 'itemMacs'> {
  const panels = Math.ceil(g.outputChannels / g.groups / 4);
  const groups = Math.ceil((batch * tiles) / 8);
  const itemTiles = Math.min(pointTiles, groups);
  const columnBlocks = Math.ceil(groups / itemTiles) * g.groups;
  const wanted = threads > 1 ? threads * 4 : 1;
  const itemPanels = Math.min(pointPanels, Math.ceil(panels / Math.min(panels, Math.ceil(wanted / columnBlocks))));
  const itemMacs = itemTiles * 8 * 36 * itemPanels * 4 * (g.inputChannels / g.groups);
  return { itemTiles, itemPanels, items: columnBlocks * Math.ceil(panels / itemPanels), itemMacs };
}

export interface Cut {
  readonly itemTiles: number;
  readonly itemPanels: number;
  readonly items: number;
  /** Multiply-adds of an item. */
  readonly itemMacs: number;
}

/** Cuts a dense convolution into items: enough for every thread, but large enough that packing and reading weights stay small. */
export function cut(g: ConvGeometry, batch: number, threads: number): Cut {
  const taps = g.kernelHeight * g.kernelWidth;
  const rows = g.outputChannels / g.groups;
  const k = (g.inputChannels / g.groups) * taps;
  const tiles = Math.ceil((batch * g.outputHeight * g.outputWidth) / 8);
  const panels = Math.ceil(rows / 4);
  const fit = Math.max(1, Math.floor(panelBytes / (blockChannels(g.inputChannels / g.groups, taps) * taps * 32)));
  const wanted = threads > 1 ? threads * 4 : 1;
  const least = rows * k * 4 <= cachedWeightBytes ? 1 : fewestTiles;
  const itemTiles = Math.min(fit, mostTiles, Math.max(least, Math.ceil((tiles * g.groups) / wanted)), Math.max(1, tiles));
  const columnBlocks = Math.ceil(tiles / itemTiles) * g.groups;
  const itemPanels = Math.max(1, Math.ceil(panels / Math.max(1, Math.ceil(wanted / Math.max(1, columnBlocks)))));
  return { itemTiles, itemPanels, items: columnBlocks * Math.ceil(panels / itemPanels), itemMacs: itemTiles * 8 * itemPanels * 4 * k };
}

/** The record of assembly/depthwise.ts: strips are as high as fits `stripBytes`, or at least one row as high as fits the scratch memory. */
export function mapRecord(g: Omit<PoolGeometry, 'channels'>, multiplier: number): number[] {
  const planes = g.strideY * g.strideX;
  const reachY = Math.floor(((g.kernelHeight - 1) * g.dilationY) / g.strideY);
  const reachX = Math.floor(((g.kernelWidth - 1) * g.dilationX) / g.strideX);
  const pitch = g.outputWidth + reachX;
  // Inner loops run up to 16 words past the last output, in what they read and in what they write.
  const planeWords = (rows: number): number => Math.ceil(((rows + reachY) * pitch + 16) / 4) * 4;
  const bytes = (rows: number): number => (planes * planeWords(rows) + rows * pitch + 16) * 4;
  let stripRows = Math.max(1, g.outputHeight);
  while (stripRows > 1 && bytes(stripRows) > stripBytes) stripRows = Math.max(1, Math.floor(stripRows * 0.75));
  if (bytes(stripRows) > scratchBytes) {
    throw new RangeError(`a window of ${g.kernelHeight} x ${g.kernelWidth} over rows of ${g.inputWidth} is larger than this supports`);
  }
  const plane = planeWords(stripRows);
  const taps = Array.from({ length: g.kernelHeight * g.kernelWidth }, (_, tap) => {
    const [y, x] = [Math.floor(tap / g.kernelWidth) * g.dilationY, (tap % g.kernelWidth) * g.dilationX];
    const row = (y % g.strideY) * g.strideX * plane + Math.floor(y / g.strideY) * pitch;
    return (row + (x % g.strideX) * plane + Math.floor(x / g.strideX)) * 4;
  });
  return [
    ...[g.inputHeight, g.inputWidth, g.outputHeight, g.outputWidth, g.kernelHeight, g.kernelWidth],
    ...[g.strideY, g.strideX, g.dilationY, g.dilationX, g.padTop, g.padLeft],
    ...[multiplier, stripRows, pitch, plane, planes * plane, ...taps],
  ];
}

/** Whether a pool's one window is the whole map: a plain sum. */
export const isWhole = (g: PoolGeometry): boolean =>
  g.kernelHeight === g.inputHeight &&
  g.kernelWidth === g.inputWidth &&
  g.outputHeight === 1 &&
  g.outputWidth === 1 &&
  g.padTop === 0 &&
  g.padLeft === 0 &&
  g.dilationY === 1 &&
  g.dilationX === 1;

/** Why the kernels cannot run a convolution or a sum over windows; undefined when they can. */
export function kernelLimit(g: ConvGeometry | PoolGeometry): string | undefined {
  try {
    if (!('groups' in g)) isWhole(g) || mapRecord(g, 1);
    else if (isDepthwise(g)) mapRecord(g, g.outputChannels / g.groups);
    else denseRecord(simplify(g));
  } catch (error) {
    return (error as Error).message;
  }
  return undefined;
}
