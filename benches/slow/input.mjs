// Clients that send and do not read: what the server takes of them, and what it keeps.
import net from "node:net";
import { randomBytes } from "node:crypto";
import { Server } from "./server.mjs";
import { websocket } from "./client.mjs";
import { FIGURES, expect } from "./figures.mjs";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** What each of them sends at most. */
const MOST = 256 << 20;
const SECONDS = 6;

function frame(opcode, text) {
  const payload = Buffer.from(text);
  const head = payload.length < 126 ? Buffer.from([0x80 | opcode, 0x80 | payload.length]) : Buffer.from([0x80 | opcode, 0x80 | 126, payload.length >> 8, payload.length & 255]);
  // A mask of zeros leaves the payload as it is.
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

const INPUTS = {
  "echoes of 16 KB": () => frame(1, `42/bench,1["echo","${"x".repeat(16_000)}"]`),
  "echoes of 10 bytes": () => Buffer.concat(Array.from({ length: 500 }, () => frame(1, `42/bench,1["echo","${"x".repeat(10)}"]`))),
  "refused namespaces": () => Buffer.concat(Array.from({ length: 500 }, () => frame(1, `40/${randomBytes(8).toString("hex")},`))),
  "WebSocket pings": () => Buffer.concat(Array.from({ length: 500 }, () => frame(9, "x".repeat(120)))),
};

/** A WebSocket in /bench, written to by hand; it reads nothing after its handshake. */
async function sender(port) {
  const socket = net.connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n\r\n`,
  );
  await new Promise((resolve) => socket.once("data", resolve));
  socket.write(frame(1, "40/bench,"));
  let text = "";
  await new Promise((resolve) => socket.on("data", (data) => (text += data.toString("latin1")).includes("40/bench,") && resolve()));
  socket.removeAllListeners("data");
  socket.pause();
  return socket;
}

async function one(kind, make) {
  const server = await Server.start(kind);
  const healthy = await websocket(server.port);
  for (let i = 0; i < 200; i++) await healthy.ask("echo", "x".repeat(1000));
  await sleep(200);
  const before = server.memory;
  const most = server.watch();
  const socket = await sender(server.port);
  let ended = false;
  socket.on("close", () => (ended = true));
  let worst = 0;
  const begin = performance.now();
  const probe = (async () => {
    while (performance.now() - begin < SECONDS * 1000) {
      const asked = performance.now();
      await healthy.ask("echo", 1);
      worst = Math.max(worst, performance.now() - asked);
      await sleep(10);
    }
  })();
  const chunk = make();
  let sent = 0;
  while (performance.now() - begin < SECONDS * 1000 && sent < MOST && !ended) {
    if (socket.writableLength < 1 << 20) sent += socket.write(chunk) || true ? chunk.length : 0;
    else await sleep(5);
    if (sent % (16 * chunk.length) === 0) await new Promise(setImmediate);
  }
  const taken = sent - socket.writableLength;
  await probe;
  const grown = most() - before;
  const end = server.closed.length ? "closed as slow" : ended ? "closed" : taken >= MOST - chunk.length ? "read to the end" : "reading stopped";
  socket.destroy();
  healthy.end();
  await server.stop();
  return { taken, grown, end, worst };
}

export async function input(kinds) {
  console.log(`\n## Clients that send and do not read\n\nup to ${MOST >> 20} MiB each, ${SECONDS} s\n`);
  console.log("| server | sends | MB taken | MiB of memory | then | slowest answer to another, ms |");
  console.log("| --- | --- | --- | --- | --- | --- |");
  for (const kind of kinds) {
    for (const [name, make] of Object.entries(INPUTS)) {
      const { taken, grown, end, worst } = await one(kind, make);
      expect(kind, `input, ${name}`, grown / 1024 <= FIGURES.input, `${(grown / 1024).toFixed(1)} MiB of memory`);
      console.log(`| ${kind} | ${name} | ${(taken / 1e6).toFixed(1)} | ${(grown / 1024).toFixed(1)} | ${end} | ${worst.toFixed(0)} |`);
    }
  }
}
