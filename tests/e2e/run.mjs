// Runs the end-to-end tests: node run.mjs [--target=greenroom|reference] [--reporter=spec|dot|tap] [--smoke] [subject…]
//
//   node run.mjs                          every *.test.mjs against $TESTBED (default ../../target/release/examples/testbed)
//   node run.mjs --target=reference       the same against reference/reference.mjs
//   node run.mjs rooms order              only rooms.test.mjs and order.test.mjs
//   node run.mjs --smoke                  the smoke client alone, against a server with default settings
//
// The environment of this program is handed on to the servers: WORKERS=1 node run.mjs (order.test.mjs chooses its own).
// Every test file starts the servers it needs on free ports, and stops them. The exit code is that of the tests.
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const args = process.argv.slice(2);
const option = (name, fallback) => args.find((a) => a.startsWith(`--${name}=`))?.slice(name.length + 3) ?? fallback;
const target = option("target", process.env.TARGET ?? "greenroom");
const names = args.filter((a) => !a.startsWith("-"));
process.env.TARGET = target;

if (target === "greenroom") {
  const binary = process.env.TESTBED ?? `${here}../../target/release/examples/testbed`;
  if (!existsSync(binary)) {
    console.error(`no server at ${binary}: cargo build --release --example testbed, or set TESTBED`);
    process.exit(2);
  }
}
if (!existsSync(`${here}node_modules`)) {
  console.error(`run npm ci in ${here} first`);
  process.exit(2);
}

const child = (command, list, env = {}) =>
  new Promise((resolve) => spawn(command, list, { cwd: here, stdio: "inherit", env: { ...process.env, ...env } }).once("exit", (code) => resolve(code ?? 1)));

if (args.includes("--smoke")) {
  const { Server } = await import("./support.mjs");
  const server = await new Server().start();
  const code = await child(process.execPath, ["smoke.mjs", server.url]);
  await server.stop();
  process.exit(code);
}

// the long ones first, so that both cores are busy until the end
const FIRST = ["order", "lifecycle", "hostile", "engine_upgrade", "engine_websocket"];
const rank = (file) => (FIRST.indexOf(file.replace(".test.mjs", "")) + FIRST.length + 1) % (FIRST.length + 1);
const files = readdirSync(here)
  .filter((f) => f.endsWith(".test.mjs") && (names.length === 0 || names.some((n) => f === n || f === `${n}.test.mjs`)))
  .sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
if (files.length === 0) {
  console.error(`no test file for ${names.join(", ")}`);
  process.exit(2);
}
console.log(`target: ${target}`);
process.exit(await child(process.execPath, ["--test", `--test-reporter=${option("reporter", "spec")}`, "--test-concurrency=2", ...files]));
