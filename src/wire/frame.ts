// A message on the wire: the payload, then a 12-byte label. The label comes last so that the payload starts on a word boundary: copying it to
// or from shared memory runs at 5 GB/s then, and at 1.3 GB/s from offset 12. Not here: what the labels mean.
import { type Label, labelBytes, type Phase } from './channel.js';
import { garbage } from './failures.js';

const phases: readonly Phase[] = ['setup', 'offline', 'online'];

export interface Frame {
  readonly label: Label;
  readonly depth: number;
  readonly phase: Phase;
  readonly payload: Uint8Array;
}

/**
 * A copy of the payload and the label, as one array; the label is inference u32, step u16, name u16, depth u16, phase u8, zero u8, little endian.
 * Throws RangeError when a field does not fit.
 * @param allocate Where the array comes from; its contents need not be zero.
 */
export function encodeFrame(
  label: Label,
  payload: Uint8Array,
  phase: Phase,
  depth: number,
  allocate = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length),
): Uint8Array<ArrayBuffer> {
  checkField('inference', label.inference, 2 ** 32);
  checkField('step', label.step, 2 ** 16);
  checkField('name', label.name, 2 ** 16);
  checkField('depth', depth, 2 ** 16);
  const frame = allocate(labelBytes + payload.length);
  const header = new DataView(frame.buffer, frame.byteOffset + payload.length, labelBytes);
  header.setUint32(0, label.inference, true);
  header.setUint16(4, label.step, true);
  header.setUint16(6, label.name, true);
  header.setUint16(8, depth, true);
  header.setUint8(10, phases.indexOf(phase));
  header.setUint8(11, 0);
  frame.set(payload);
  return frame;
}

/** Reads what a peer sent; the payload is a view of `bytes`. Throws PeerError when it is not a frame. */
export function decodeFrame(bytes: Uint8Array): Frame {
  if (bytes.length < labelBytes) throw garbage(`a message of ${bytes.length} bytes, shorter than its ${labelBytes}-byte label`);
  const header = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - labelBytes, labelBytes);
  const phase = phases[header.getUint8(10)];
  // The greatest clock is left out, so that an answer's, one later, fits its field.
  const depth = header.getUint16(8, true);
  if (phase === undefined || header.getUint8(11) !== 0 || depth === 0xffff) throw garbage('a message whose label cannot be read');
  return {
    label: { inference: header.getUint32(0, true), step: header.getUint16(4, true), name: header.getUint16(6, true) },
    depth,
    phase,
    payload: bytes.subarray(0, bytes.length - labelBytes),
  };
}

function checkField(field: string, value: number, end: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= end)
    throw new RangeError(`"${field}" expected an integer below ${end}, got ${value}`);
}
