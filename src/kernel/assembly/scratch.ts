// What a thread needs beside its arguments.

/** Byte offset of this thread's scratch buffer (1 MiB); every instance of the module has its own. */
export let scratch: usize = 0;

/** Tells an instance where its scratch buffer lies. */
export function setScratch(offset: usize): void {
  scratch = offset;
}
