// The one WASM module: every export of these files is a kernel that Compute can run by name.
export * from './words';
export * from './compare';
export { setScratch } from './pool';
