// What permessage-deflate costs in memory: resident memory per connection, by what was agreed on and what was sent.
//
//   node deflate_memory.mjs [clients]                      greenroom, 1,000 connections; build the testbed with --release before
//   TARGET=reference node deflate_memory.mjs [clients]     the same against reference/reference.mjs
//
// Engine.IO echo, one worker. Messages of 4,000 bytes. "sent" are messages of the server alone: the client's are not compressed.
import { readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { WebSocket } from "ws";
import { Server, sleep, until } from "./support.mjs";

const clients = Number(process.argv[2] ?? 1000);
const resets = { serverNoContextTakeover: true, clientNoContextTakeover: true };
// Words in an order of chance: compresses about as well as JSON.
const words = ["room", "user", "message", "time", "seen", "name", "text"];
const message = Array.from(randomBytes(700), (byte) => words[byte % words.length]).join(" ").slice(0, 4000).padStart(4001, "4");

const kib = (pid) => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
const ticks = (pid) => readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").pop().split(" ").slice(11, 13).map(Number).reduce((a, b) => a + b);

/** Resident memory once the server has used no CPU for a second. */
async function idle(server) {
  const { pid } = server.child;
  let used = -1;
  await until(async () => {
    const before = used;
    used = ticks(pid);
    await sleep(1000);
    return ticks(pid) === used && before !== -2;
  }, Boolean, "a quiet server", 60000);
  return kib(pid);
}

function open(server, perMessageDeflate) {
  const socket = new WebSocket(`${server.wsUrl}/engine.io/?EIO=4&transport=websocket`, { perMessageDeflate });
  return new Promise((resolve, reject) => socket.once("message", () => resolve(socket)).once("error", reject));
}

/** One message to the server and back on every connection. */
async function echo(sockets, compress) {
  await Promise.all(sockets.map((socket) => new Promise((resolve) => {
    socket.on("message", function listener(data) {
      if (data.length < 4000) return; // a heartbeat
      socket.off("message", listener);
      resolve();
    });
    socket.send(message, { compress });
  })));
}

async function measure(about, env, perMessageDeflate) {
  const server = await new Server({ WORKERS: "1", PING_INTERVAL: "600000", ...env }).start();
  try {
    // What the first ones cost the server once is not counted.
    await echo([await open(server, perMessageDeflate)], true);
    const before = await idle(server);
    const sockets = [];
    for (let i = 0; i < clients; i += 50) {
      sockets.push(...(await Promise.all(Array.from({ length: Math.min(50, clients - i) }, () => open(server, perMessageDeflate)))));
    }
    const each = async () => ((await idle(server)) - before) / clients;
    const figures = { opened: await each() };
    await echo(sockets, false);
    figures.sent = await each();
    await echo(sockets, true);
    figures["sent and received"] = await each();
    console.log(`| ${about} | ${Object.values(figures).map((value) => value.toFixed(1)).join(" | ")} |`);
    for (const socket of sockets) socket.terminate();
  } finally {
    server.child.kill("SIGKILL");
  }
}

console.log(`KiB of resident memory per connection, ${clients} of them\n`);
console.log("| | opened | sent | sent and received |\n| --- | --- | --- | --- |");
await measure("the server does not offer it", {}, {});
const on = { PER_MESSAGE_DEFLATE: "1" };
await measure("no client asks for it", on, false);
await measure("both keep their context (the default)", on, {});
await measure("the server resets", on, { serverNoContextTakeover: true });
await measure("the client resets", on, { clientNoContextTakeover: true });
await measure("both reset", on, resets);
process.exit(0);
