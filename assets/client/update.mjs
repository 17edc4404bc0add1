// Takes the browser bundles of the official client from the npm package `socket.io`, and compresses them.
//
//   node assets/client/update.mjs 4.8.4
//
// Needs npm and nothing else. The server serves what is written here; tests/e2e/examples.test.mjs compares it,
// byte by byte, with the package that the tests install.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const version = process.argv[2];
if (!/^\d+\.\d+\.\d+$/.test(version ?? "")) {
  console.error("which version? node assets/client/update.mjs 4.8.4");
  process.exit(2);
}
const here = fileURLToPath(new URL(".", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "socket.io-"));
try {
  const packed = execFileSync("npm", ["pack", "--silent", `socket.io@${version}`], { cwd: scratch, encoding: "utf8" });
  execFileSync("tar", ["-xzf", packed.trim()], { cwd: scratch });
  for (const old of readdirSync(here).filter((name) => /\.(br|gz)$/.test(name))) rmSync(join(here, old));
  const dist = join(scratch, "package", "client-dist");
  for (const name of readdirSync(dist).sort()) {
    const plain = readFileSync(join(dist, name));
    const brotli = brotliCompressSync(plain, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: 11,
        [constants.BROTLI_PARAM_LGWIN]: 22,
        [constants.BROTLI_PARAM_SIZE_HINT]: plain.length,
      },
    });
    writeFileSync(join(here, `${name}.br`), brotli);
    writeFileSync(join(here, `${name}.gz`), gzipSync(plain, { level: 9 }));
    console.log(`${name}: ${plain.length} bytes, br ${brotli.length}`);
  }
  writeFileSync(join(here, "VERSION"), version); // no line end: it is part of a header
} finally {
  rmSync(scratch, { recursive: true });
}
