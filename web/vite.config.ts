// Bundles the client role into one ES module, dist/web/client.js. Kernels and workers are inside: a page needs no other file.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  build: {
    outDir: fileURLToPath(new URL('../dist/web', import.meta.url)),
    emptyOutDir: true,
    target: 'es2022',
    lib: { entry: fileURLToPath(new URL('client.ts', import.meta.url)), formats: ['es'], fileName: 'client' },
  },
});
