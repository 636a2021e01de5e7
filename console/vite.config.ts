// How the console is built: one entry, the terminal in a piece of its own, nothing inlined (the policy forbids it),
// names by content so that they can be kept for ever. Where to start: src/main.tsx.
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2023",
    assetsInlineLimit: 0,
    cssCodeSplit: true,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/[name]-[hash].js",
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: "assets/[name]-[hash][extname]",
      },
    },
  },
  test: { include: ["test/*.test.ts"], environment: "node" },
} as Parameters<typeof defineConfig>[0]);
