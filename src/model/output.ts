// What the client does to its own decoded output: public resizing, in floating point, of what is then never sent at its full size.
import type { OutputResample, Program } from './program.js';

/** Shape of one picture's output after the client's resizing. */
export function resizedShape(program: Pick<Program, 'tensors' | 'output' | 'outputResamples'>): readonly number[] {
  const shape = [...program.tensors[program.output]!.shape];
  for (const { axis, taps, positions } of program.outputResamples ?? []) shape[axis] = positions.length / taps;
  return shape;
}

/** The decoded output of any number of pictures, one after the other, resized as the program says. */
export function resizeOutput(program: Pick<Program, 'tensors' | 'output' | 'outputResamples'>, decoded: Float32Array): Float32Array {
  const shape = [...program.tensors[program.output]!.shape];
  return (program.outputResamples ?? []).reduce((values, step) => {
    const inner = shape.slice(step.axis + 1).reduce((a, b) => a * b, 1);
    const resized = resample(values, step, shape[step.axis]!, inner);
    shape[step.axis] = step.positions.length / step.taps;
    return resized;
  }, decoded);
}

/** output[a, o, b] = Σ over taps of weights[o, t] · values[a, positions[o, t], b], with `inputs` positions and `inner` values each. */
function resample(values: Float32Array, { taps, positions, weights }: OutputResample, inputs: number, inner: number): Float32Array {
  const outputs = positions.length / taps;
  const outer = values.length / (inputs * inner);
  const out = new Float32Array(outer * outputs * inner);
  for (let a = 0; a < outer; a++) {
    for (let o = 0; o < outputs; o++) {
      const to = (a * outputs + o) * inner;
      for (let t = o * taps; t < (o + 1) * taps; t++) {
        const from = (a * inputs + positions[t]!) * inner;
        for (let b = 0; b < inner; b++) out[to + b]! += weights[t]! * values[from + b]!;
      }
    }
  }
  return out;
}
