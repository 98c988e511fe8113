// The one WASM module: every export here is a kernel that Compute can run by name.
export * from './words';
export * from './compare';
export { setScratch } from './scratch';
export { convolveFloats, convolveWords, multiplyVectorFloats, multiplyVectorWords, packRows } from './conv';
export { depthwiseFloats, depthwiseWords, maxPoolFloats, sumPoolFloats, sumPoolWords, sumRunsFloats, sumRunsWords } from './depthwise';
export * from './float';
export { ceilingFloats, ceilingWords } from './ceiling';
export { multiplyPackedFloats, multiplyPackedWords } from './gemm';
export { multiplyLongs } from './longs';
export { blockChanges, gateFloats } from './blocks';
export { resampleFloats, resampleWords } from './resample';
export * from './training';
export { denseWeightGradient, weightGradient } from './weight-gradient';
