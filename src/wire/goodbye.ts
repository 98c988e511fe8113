// How a link ends over WebSocket: RFC 6455 close codes and a short text, both ways. Shared by Node and the browser.
import type { PeerError } from '../errors.js';
import type { Farewell } from './endpoint.js';
import { failed, left } from './failures.js';

/** Normal closure: done, nothing failed. */
const doneCode = 1000;
/** Ours, from the range for private use: the text says what failed. */
const failedCode = 4000;
/** The peer's WebSocket library found our message too large. */
const tooLargeCode = 1009;
/** Sent by browsers for a page that is left, and by servers that stop; 1005 and 1006 mean that no code came at all. */
const silentCodes = new Set([1001, 1005, 1006]);

/** Longest text of a close frame, in UTF-8 bytes. */
const longestText = 123;

/** Code and text for `WebSocket.close`. */
export function toClose(farewell: Farewell): { code: number; text: string } {
  return farewell.kind === 'done' ? { code: doneCode, text: '' } : { code: failedCode, text: shorten(farewell.text) };
}

/** What a close event means: a farewell, or an error when the connection did not end as ours do. */
export function fromClose(code: number, text: string): Farewell | PeerError {
  if (code === doneCode) return { kind: 'done', text: '' };
  if (silentCodes.has(code)) return left();
  if (code === tooLargeCode) return failed('a message was larger than it accepts (its maxFrameBytes)');
  return { kind: 'failed', text: text === '' ? `WebSocket close code ${code}` : text };
}

/** Cuts at a character's boundary. */
function shorten(text: string): string {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= longestText) return text;
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(longestText - 3));
  return `${text.slice(0, read)}…`;
}

/** Bytes of WebSocket header before a frame of `length` bytes (RFC 6455 section 5.2); clients add a 4-byte mask. */
export function headerBytes(length: number, masked: boolean): number {
  return 2 + (length < 126 ? 0 : length < 65_536 ? 2 : 8) + (masked ? 4 : 0);
}

/** The largest message a WebSocket library is asked to accept: our limit, as far as its 32-bit options reach. */
export function payloadLimit(maxFrameBytes: number): number {
  return Math.min(maxFrameBytes, 2 ** 31 - 1);
}
