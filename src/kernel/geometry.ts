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
