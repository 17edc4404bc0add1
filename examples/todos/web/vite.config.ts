import { defineConfig } from "vite";

export default defineConfig({
  server: {
    // While one works on the page: Vite serves it, the server of the example does the rest.
    proxy: { "/socket.io": { target: process.env.SERVER ?? "http://127.0.0.1:3000", ws: true } },
  },
});
