// Instructions of a server in user mode, per operation: what can be compared on a busy machine. The kernel's part is not in it.
//
//   node benches/instructions.mjs [ROW...] --server NAME='[VARIABLE=VALUE...] PROGRAM' [--server ...]
//
// Each row runs each server twice under `valgrind --tool=callgrind`, with few and with many operations; the difference, divided
// by the operations between, is printed. Without --server it is target/release/examples/testbed. Needs the packages of tests/e2e
// (`tests/run --list` names the step that fetches them) and valgrind.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const root = new URL("../", import.meta.url).pathname;
const { io } = createRequire(`${root}tests/e2e/`)("socket.io-client");

const PAYLOAD = "x".repeat(128);
const LIMIT_MS = 10 * 60_000;

/** Each connection sends its share of the events, so many at a time, and waits for their acks. */
async function echo(sockets, count, inFlight) {
  const each = count / sockets.length;
  await Promise.all(
    sockets.map(async (socket) => {
      for (let sent = 0; sent < each; sent += inFlight) {
        await Promise.all(Array.from({ length: inFlight }, () => socket.emitWithAck("echo", PAYLOAD)));
      }
    }),
  );
}

/** The first one publishes to all, so many at a time, and waits until all have them. */
async function broadcast(sockets, count, inFlight) {
  let missing = 0;
  let arrived = () => {};
  for (const socket of sockets) {
    socket.on("msg", () => {
      missing -= 1;
      if (missing === 0) arrived();
    });
  }
  for (let sent = 0; sent < count / sockets.length; sent += inFlight) {
    missing = inFlight * sockets.length;
    const all = new Promise((done) => (arrived = done));
    for (let n = 0; n < inFlight; n += 1) sockets[0].emit("publish-all", PAYLOAD);
    await all;
  }
}

const ROWS = {
  "echo-8": { what: "echo with ack, 20 × 8", sockets: 20, few: 1_600, many: 8_000, run: (all, count) => echo(all, count, 8) },
  "echo-1": { what: "echo with ack, 20 × 1", sockets: 20, few: 1_000, many: 5_000, run: (all, count) => echo(all, count, 1) },
  "broadcast-1": { what: "delivery, 200 receivers, one broadcast at a time", sockets: 200, few: 3_200, many: 16_000, run: (all, count) => broadcast(all, count, 1) },
  "broadcast-16": { what: "delivery, 200 receivers, 16 broadcasts at once", sockets: 200, few: 6_400, many: 32_000, run: (all, count) => broadcast(all, count, 16) },
};

function connect(url) {
  const socket = io(`${url}/bench`, { forceNew: true, transports: ["websocket"], reconnection: false, timeout: LIMIT_MS });
  socket.once("disconnect", (reason) => reason !== "io client disconnect" && fail(`a client was disconnected: ${reason}`));
  return new Promise((done, refused) => {
    socket.once("connect", () => done(socket));
    socket.once("connect_error", refused);
  });
}

const children = new Set();
function fail(why) {
  console.error(why);
  for (const child of children) child.kill("SIGKILL");
  process.exit(1);
}
setTimeout(() => fail("it takes too long"), 6 * LIMIT_MS).unref();

/** All instructions of one run of the server. */
async function instructions(command, row, count) {
  const words = command.split(/\s+/);
  const isVariable = (word) => /^\w+=/.test(word);
  const variables = Object.fromEntries(words.filter(isVariable).map((word) => word.split(/=(.*)/s, 2)));
  const program = words.filter((word) => !isVariable(word));
  const folder = mkdtempSync(join(tmpdir(), "greenroom-callgrind-"));
  const log = join(folder, "log");
  const child = spawn("valgrind", ["--tool=callgrind", `--callgrind-out-file=${folder}/out`, `--log-file=${log}`, ...program], {
    cwd: root,
    // No heartbeat while it runs, and no timeout because it is slow.
    env: { PORT: "0", WORKERS: "1", PING_INTERVAL: "1000000", PING_TIMEOUT: "1000000", ...process.env, ...variables },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.add(child);
  const ended = once(child, "exit");
  try {
    const listening = once(createInterface({ input: child.stdout }), "line");
    const [line] = await Promise.race([listening, ended]);
    if (typeof line !== "string") fail(`${command} ended`);
    const url = `http://${/listening on (?:http:\/\/)?(\S+)/.exec(line)[1]}`;
    const sockets = [];
    for (let n = 0; n < row.sockets; n += 1) sockets.push(await connect(url));
    await row.run(sockets, count);
    for (const socket of sockets) socket.disconnect();
    await sleep(2_000); // until the server has seen it: its end costs the same in both runs
    child.kill("SIGTERM");
    await ended;
    return Number(/Collected\s*:\s*(\d+)/.exec(readFileSync(log, "utf8"))[1]);
  } finally {
    child.kill("SIGKILL");
    children.delete(child);
    rmSync(folder, { recursive: true, force: true });
  }
}

const [names, servers] = [[], []];
const words = process.argv.slice(2);
while (words.length > 0) {
  const word = words.shift();
  if (word === "--server") servers.push(/^([^=]+)=(.*)$/.exec(words.shift() ?? "")?.slice(1) ?? fail("--server NAME=COMMAND"));
  else if (word in ROWS) names.push(word);
  else fail(`no row ${word}; there are: ${Object.keys(ROWS).join(" ")}`);
}
if (servers.length === 0) servers.push(["greenroom", "target/release/examples/testbed"]);

console.log(`| instructions per operation | ${servers.map(([name]) => name).join(" | ")} |`);
console.log(`| --- |${" --- |".repeat(servers.length)}`);
for (const name of names.length > 0 ? names : Object.keys(ROWS)) {
  const row = ROWS[name];
  const cells = [];
  for (const [, command] of servers) {
    const few = await instructions(command, row, row.few);
    const many = await instructions(command, row, row.many);
    cells.push(Math.round((many - few) / (row.many - row.few)).toLocaleString("en"));
  }
  console.log(`| ${row.what} | ${cells.join(" | ")} |`);
}
process.exit(0);
