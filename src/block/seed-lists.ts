// The patch lists of the program that the paper's numbers come from (arXiv 2304.10442, github.com/yg320/secure_inference), for runs that are
// to be compared with them. They were made by hand: patches repeat (14x8 on 56 × 56 maps), or stand without their transpose (12x4, but not
// 4x12, on 16 × 16 maps). Not here: which of them a map can take.
import type { Patch } from '../model/program.js';

const parse = (text: string): readonly Patch[] => Array.from(text.matchAll(/(\d+)x(\d+)/g), ([, h, w]): Patch => [Number(h), Number(w)]);

/** The list with lengths replaced. */
const scaled = (patches: readonly Patch[], lengths: Readonly<Record<number, number>>): readonly Patch[] =>
  patches.map(([h, w]): Patch => [lengths[h] ?? h, lengths[w] ?? w]);

const of8 = parse('1x1 1x2 2x1 1x3 3x1 1x4 2x2 4x1 2x3 3x2 1x8 2x4 4x2 8x1 3x3 3x4 4x3 2x8 4x4 8x2 4x8 8x4 8x8');

const of16 = parse(`
  1x1 1x2 2x1 1x3 3x1 1x4 2x2 4x1 1x5 5x1 1x6 2x3 3x2 6x1 1x8 2x4 4x2 8x1 3x3 2x5 5x2 2x6 3x4 4x3 6x2 3x5 5x3 2x8 4x4 8x2 3x6 6x3 4x5
  5x4 3x8 4x6 6x4 8x3 5x5 3x9 9x3 5x6 6x5 4x8 8x4 3x12 6x6 6x8 8x6 12x4 7x7 5x10 10x5 4x15 5x12 6x10 10x6 12x5 4x16 8x8 16x4 6x12 12x6
  5x16 8x10 10x8 16x5 6x16 8x12 12x8 16x6 10x10 8x16 16x8 12x12 16x16`);

const of32: readonly Patch[] = [...of16, [24, 24], [32, 32]];

const of56 = parse(`
  1x1 1x2 2x1 1x3 3x1 1x4 2x2 4x1 1x5 5x1 1x7 2x3 3x2 7x1 2x4 4x2 3x3 2x5 5x2 2x7 3x4 4x3 7x2 3x5 5x3 2x8 4x4 8x2 3x7 7x3 4x5 5x4 2x12
  3x8 4x7 7x4 8x3 12x2 5x5 3x9 9x3 5x7 7x5 2x14 4x8 8x4 14x2 3x12 6x6 12x3 5x8 8x5 4x12 7x8 8x7 12x4 7x7 5x10 10x5 7x9 9x7 5x12 7x10
  10x7 12x5 4x14 8x8 14x4 7x12 12x7 5x15 15x5 8x10 10x8 9x9 7x14 8x12 12x8 14x7 10x10 9x12 12x9 8x14 14x8 11x11 8x14 14x8 12x12 10x14
  14x10 12x14 14x12 13x13 12x14 14x12 14x14 28x28 56x56`);

const of64 = parse(`
  1x1 1x2 2x1 1x3 3x1 1x4 2x2 4x1 1x5 5x1 1x6 2x3 3x2 6x1 2x4 4x2 3x3 2x5 5x2 2x6 3x4 4x3 6x2 3x5 5x3 2x8 4x4 8x2 3x6 6x3 4x5 5x4 2x12
  3x8 4x6 6x4 8x3 12x2 5x5 3x9 9x3 5x6 6x5 2x16 4x8 8x4 16x2 3x12 6x6 12x3 5x8 8x5 4x12 6x8 8x6 12x4 7x7 5x10 10x5 6x9 9x6 5x12 6x10
  10x6 12x5 4x16 8x8 16x4 6x12 12x6 5x15 15x5 8x10 10x8 9x9 6x16 8x12 12x8 16x6 10x10 9x12 12x9 8x14 14x8 11x11 8x16 16x8 12x12 10x16
  16x10 12x14 14x12 13x13 12x16 16x12 14x14 16x16 32x32 64x64`);

/** A list for square maps of each of these sizes, in the order they are written there, identity and zero not among them. */
export const seedLists: ReadonlyMap<number, readonly Patch[]> = new Map([
  [1, parse('1x1')],
  [2, parse('1x1 1x2 2x1 2x2')],
  [4, parse('1x1 1x2 2x1 2x2 2x4 4x2 4x4')],
  [7, scaled(of8, { 8: 7 })],
  [8, of8],
  [14, scaled(of16, { 8: 7, 16: 14 }).filter((patch) => !['6,7', '7,6', '12,12'].includes(patch.join()))],
  [16, of16],
  [28, scaled(of32, { 8: 7, 16: 14, 24: 21, 32: 28 })],
  [32, of32],
  [56, of56],
  [64, of64],
  [112, [...of56, [112, 112]]],
  [128, [...of64, [128, 128]]],
  [256, [...of64, [128, 128], [256, 256]]],
  [512, [...of64, [128, 128], [256, 256], [512, 512]]],
]);
