// The declaration that is made of a contract: tsc accepts a client that keeps it, which then works, and refuses others.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import net from "node:net";
import { dirname } from "node:path";
import { after, before, describe } from "node:test";
import { fileURLToPath } from "node:url";
import { TARGET, test, until } from "./support.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const todos = `${dirname(process.env.TESTBED ?? `${here}../../target/release/examples/testbed`)}/todos`;
const clients = `${here}../typescript`;
const skip = TARGET === "reference" ? "contracts are ours" : false;

/** Runs a program to its end: its exit code and what it printed. */
async function run(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  const [code] = await once(child, "close");
  return { code, output };
}

describe("a contract in TypeScript", { skip, timeout: 300_000 }, () => {
  let folder;
  let server;
  let url;

  before(async () => {
    if (skip) return;
    // Inside, so that node_modules is found.
    folder = mkdtempSync(`${clients}/made-`);
    for (const name of ["package.json", "tsconfig.json", "right.ts", "wrong"]) {
      cpSync(`${clients}/${name}`, `${folder}/${name}`, { recursive: true });
    }
    assert.deepEqual(await run(todos, ["--types", `${folder}/contract.d.ts`]), { code: 0, output: "" });
    const free = net.createServer().listen(0, "127.0.0.1");
    await once(free, "listening");
    const { port } = free.address();
    free.close();
    await once(free, "close");
    url = `http://127.0.0.1:${port}`;
    server = spawn(todos, { env: { ...process.env, PORT: String(port) }, stdio: ["ignore", "ignore", "inherit"] });
    await until(() => fetch(url).then(() => true, () => false), Boolean, "todos answers", 30_000);
  });

  after(async () => {
    if (folder) rmSync(folder, { recursive: true });
    if (!server) return;
    server.kill("SIGKILL");
    if (server.exitCode === null && server.signalCode === null) await once(server, "exit");
  });

  const tsc = (...args) => run(process.execPath, [`${clients}/node_modules/typescript/bin/tsc`, ...args], { cwd: folder });

  test("a client that keeps it compiles, and does what it says", { timeout: 240_000 }, async () => {
    const compiled = await tsc("-p", ".");
    assert.equal(compiled.output, "");
    assert.equal(compiled.code, 0);
    const { code, output } = await run(process.execPath, [`${folder}/compiled/right.js`, url]);
    assert.equal(output, "kept\n");
    assert.equal(code, 0);
  });

  test("clients that break it do not compile", { timeout: 240_000 }, async () => {
    const errors = {
      "answer.ts": /answer\.ts\(5,\d+\): error TS2339: .*'id' does not exist on type 'Failure \| Todo'/,
      "argument.ts": /argument\.ts\(3,\d+\): error TS2345: .*'string' is not assignable to parameter of type 'number'/,
      "event.ts": /event\.ts\(3,\d+\): error TS2345: .*'"changed"' is not assignable/,
      "listener.ts": /listener\.ts\(3,\d+\): error TS2345: .*'number' is not assignable to parameter of type 'boolean'/,
    };
    assert.deepEqual(readdirSync(`${clients}/wrong`).sort(), Object.keys(errors));
    const options = ["--noEmit", "--strict", "--module", "NodeNext", "--target", "ES2022", "--types", "node"];
    const { code, output } = await tsc(...options, ...Object.keys(errors).map((name) => `wrong/${name}`));
    assert.notEqual(code, 0);
    for (const error of Object.values(errors)) assert.match(output, error);
    assert.equal(output.match(/^\S.*: error /gm).length, Object.keys(errors).length, output);
  });

  test("the front end of the example has the declaration of now", () => {
    const kept = readFileSync(`${here}../../examples/todos/web/src/contract.d.ts`, "utf8");
    assert.equal(kept, readFileSync(`${folder}/contract.d.ts`, "utf8"));
  });
});
