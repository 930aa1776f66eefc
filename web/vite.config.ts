import { defineConfig } from "vite";

// The server sends the files under /assets/ as immutable, so every name carries a hash; no inline script or data address, for the strict CSP.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/medsam/server/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
