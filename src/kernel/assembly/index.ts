// The one WASM module: every export here is a kernel that Compute can run by name.
export * from './words';
export * from './long-words';
export * from './compare';
export { setScratch } from './scratch';
export { convolveFloats, convolveWords, multiplyVectorFloats, multiplyVectorWords, packRows } from './conv';
export { depthwiseFloats, depthwiseWords, maxPoolFloats, sumPoolFloats, sumPoolWords, sumRunsFloats, sumRunsWords } from './depthwise';
export * from './float';
export { ceilingFloats, ceilingWords } from './ceiling';
export { multiplyPackedFloats, multiplyPackedWords } from './gemm';
export { multiplyLongs } from './longs';
export { convolveLongs, sumPoolLongs } from './conv-longs';
export { blockChanges, gateFloats } from './blocks';
export { blockRelu, blockReluGate } from './block-relu';
export * from './moves';
export * from './training';
export { denseWeightGradient, weightGradient } from './weight-gradient';
export { resampleFloats, resampleLongs, resampleWords } from './resample';
