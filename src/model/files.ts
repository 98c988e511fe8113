import type { Program } from './program.js';
export async function encodeProgram(program: Program): Promise<Uint8Array> {
  return new TextEncoder().encode(JSON.stringify(program));
}
export async function decodeProgram(bytes: Uint8Array): Promise<Program> {
  return JSON.parse(new TextDecoder().decode(bytes));
}
export async function programHash(program: Program): Promise<string> {
  const d = new Uint8Array(await crypto.subtle.digest('SHA-256', (await encodeProgram(program)).slice()));
  return Array.from(d, (b) => b.toString(16).padStart(2, '0')).join('');
}
