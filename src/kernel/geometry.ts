// Shapes of convolutions and pools. Tensors are NCHW; a batch is the leading axis and never part of a geometry.

/** A convolution of one image; a fully connected layer is one with 1 × 1 maps. Weights are [outputChannels, inputChannels / groups, kernelHeight, kernelWidth]. */
export interface ConvGeometry {
  readonly inputChannels: number;
  readonly inputHeight: number;
  readonly inputWidth: number;
  readonly outputChannels: number;
  readonly outputHeight: number;
  readonly outputWidth: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly strideY: number;
  readonly strideX: number;
  readonly dilationY: number;
  readonly dilationX: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly groups: number;
}

/** Multiply-adds of a convolution of one image. */
export const multiplyAdds = (g: ConvGeometry): number =>
  (g.outputChannels * g.outputHeight * g.outputWidth * g.kernelHeight * g.kernelWidth * g.inputChannels) / g.groups;

/** A pool of one image. Positions outside the map take no part (a sum counts them as 0, a maximum ignores them). */
export interface PoolGeometry {
  readonly channels: number;
  readonly inputHeight: number;
  readonly inputWidth: number;
  readonly outputHeight: number;
  readonly outputWidth: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly strideY: number;
  readonly strideX: number;
  readonly dilationY: number;
  readonly dilationX: number;
  readonly padTop: number;
  readonly padLeft: number;
}

/** Maxima along one axis: window `candidate` of output `o` is input `source(o, candidate)`, all within one image. */
export interface PoolPass {
  readonly kernel: number;
  readonly inputs: number;
  readonly outputs: number;
  source(output: number, candidate: number): number;
}

/** Where a window hangs over the edge, its nearest position inside stands in: the maximum stays the same. */
function inside(output: number, candidate: number, stride: number, dilation: number, pad: number, size: number): number {
  const at = output * stride - pad + candidate * dilation;
  if (at < 0) return at + Math.ceil(-at / dilation) * dilation;
  return at < size ? at : at - Math.ceil((at - size + 1) / dilation) * dilation;
}

/** A two-dimensional maximum as one along each row, then one along each column; axes with a window of 1 and no stride fall away. */
export function maxPoolPasses(g: PoolGeometry): PoolPass[] {
  const passes: PoolPass[] = [];
  if (g.kernelWidth > 1 || g.outputWidth !== g.inputWidth) {
    passes.push({
      kernel: g.kernelWidth,
      inputs: g.channels * g.inputHeight * g.inputWidth,
      outputs: g.channels * g.inputHeight * g.outputWidth,
      source: (o, candidate) =>
        Math.floor(o / g.outputWidth) * g.inputWidth +
        inside(o % g.outputWidth, candidate, g.strideX, g.dilationX, g.padLeft, g.inputWidth),
    });
  }
  if (g.kernelHeight > 1 || g.outputHeight !== g.inputHeight) {
    const plane = g.outputHeight * g.outputWidth;
    passes.push({
      kernel: g.kernelHeight,
      inputs: g.channels * g.inputHeight * g.outputWidth,
      outputs: g.channels * plane,
      source: (o, candidate) => {
        const row = inside(Math.floor((o % plane) / g.outputWidth), candidate, g.strideY, g.dilationY, g.padTop, g.inputHeight);
        return (Math.floor(o / plane) * g.inputHeight + row) * g.outputWidth + (o % g.outputWidth);
      },
    });
  }
  return passes;
}

/** Comparisons a maximum pool makes on one image. */
export function maxPoolComparisons(geometry: PoolGeometry): number {
  return maxPoolPasses(geometry).reduce((sum, { kernel, outputs }) => sum + (kernel - 1) * outputs, 0);
}
