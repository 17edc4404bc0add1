// One soak: node soak.mjs <minutes>. See README.md.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import net from "node:net";
import { fileURLToPath } from "node:url";
import { io, WebSocket, frame, upgrade, sleep, Server } from "./support.mjs";
import { Ledger } from "./ledger.mjs";

const minutes = Number(process.argv[2] ?? 60);
const scale = Number(process.env.SOAK_SCALE ?? 1);
if (!(minutes > 0 && scale > 0)) throw new Error("minutes and SOAK_SCALE are numbers above 0");
const many = (count) => Math.max(1, Math.round(count * scale));

const server = await new Server().start();
const ledger = new Ledger();
const faults = {};
const fault = (name) => (faults[name] = (faults[name] ?? 0) + 1);
let loading = true;
const tasks = [];
/** Runs `body` again and again, with pauses of about `pause` ms. */
const repeat = (pause, body) => {
  tasks.push((async () => {
    while (loading) {
      await body();
      for (let left = pause * (0.5 + Math.random()); left > 0 && loading; left -= 100) await sleep(Math.min(left, 100));
    }
  })());
};

// ---------------------------------------------------------------- clients that stay, and whose every message is counted

const TRANSPORTS = [["websocket"], ["polling", "websocket"], ["polling"]];
const ROOMS = many(8);
const steady = [];
for (let i = 0; i < many(48); i++) steady.push(await join(`steady-${i}`, `room-${i % ROOMS}`, TRANSPORTS[i % 3]));
const baseline = server.sample();
const began = Date.now();

async function join(author, room, transports) {
  const socket = io(`${server.url}/bench`, { transports, forceNew: true, reconnection: false });
  const lost = new Promise((_, reject) => socket.on("connect_error", reject));
  await Promise.race([new Promise((resolve) => socket.on("connect", resolve)), lost]);
  const member = ledger.member(author, room);
  socket.on("msg", (message) => member.got(message));
  socket.on("disconnect", (reason) => member.left(reason));
  await socket.timeout(20000).emitWithAck("join", room);
  return { socket, member, room, author };
}

/** Sends the next message of a member to its room, and waits until the server has taken it. */
async function publish({ socket, member, room }, padding) {
  const message = member.next(padding);
  const from = performance.now();
  await socket.timeout(20000).emitWithAck("publish", room, message);
  ledger.latency(performance.now() - from);
  member.taken(message);
}

for (const one of steady) {
  repeat(500, async () => {
    // A client that is there is answered.
    await publish(one, Math.random() < 0.1 ? 20_000 : 50).catch((error) => ledger.problem(`${one.author}: ${error.message}`));
  });
}

// ---------------------------------------------------------------- faults

// Connections that come, say something and break off, on every transport.
let number = 0;
for (let i = 0; i < many(4); i++) {
  repeat(200, async () => {
    const n = number++;
    try {
      const one = await join(`passing-${n}`, `room-${n % ROOMS}`, TRANSPORTS[n % 3]);
      for (let k = 0; k < n % 4; k++) await publish(one, 50);
      if (n % 2) one.socket.emit("publish", one.room, one.member.next(50));
      if (n % 3 === 0) one.socket.disconnect();
      else one.socket.io.engine.transport.ws?.terminate?.() ?? one.socket.io.engine.close();
      one.member.left("broken off");
      one.socket.io.engine?.close();
      fault("connections broken off");
    } catch (error) {
      ledger.problem(`passing client: ${error.message}`);
    }
  });
}

// A process with clients of its own is killed.
const child = fileURLToPath(new URL("./doomed.mjs", import.meta.url));
repeat(8000, async () => {
  const doomed = spawn(process.execPath, [child, server.url, String(many(10)), String(ROOMS)], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => {
    doomed.stdout.once("data", resolve);
    doomed.once("exit", resolve);
  });
  await sleep(1000 * Math.random());
  doomed.kill("SIGKILL");
  fault("client processes killed");
});

// A reader that stops, in a room that is flooded; the others of the room must get all.
const flood = await join("flood", "flooded", ["websocket"]);
const watcher = await join("watcher", "flooded", ["websocket"]);
repeat(5000, async () => {
  const slow = new WebSocket(`${server.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
  const closed = new Promise((resolve) => slow.once("close", resolve));
  slow.on("error", () => {});
  const early = closed.then(() => false);
  const answer = (start) => Promise.race([early, new Promise((resolve) => slow.on("message", (data) => String(data).startsWith(start) && resolve(true)))]);
  let ready = await Promise.race([early, new Promise((resolve) => slow.once("open", () => resolve(true)))]);
  for (const [packet, expected] of [["40/bench,", "40/bench,"], ['42/bench,1["join","flooded"]', "43/bench,1"]]) {
    if (!ready) return ledger.problem(`a slow reader was closed before ${expected}`);
    slow.send(packet);
    ready = await answer(expected);
  }
  slow.pause();
  for (let k = 0; k < 60; k++) await publish(flood, 200_000).catch((error) => ledger.problem(`flood: ${error.message}`));
  await sleep(1000);
  slow.resume();
  slow.terminate();
  await closed;
  fault("slow readers");
});

repeat(3000, async () => {
  const socket = io(`${server.url}/bench`, { transports: ["websocket"], forceNew: true, reconnection: false });
  await new Promise((resolve) => socket.once("connect", resolve).once("connect_error", resolve));
  const closed = new Promise((resolve) => socket.once("disconnect", resolve));
  socket.emit("echo", "x".repeat(1_200_000));
  const reason = await Promise.race([closed, sleep(20000).then(() => "nothing")]);
  if (reason === "nothing") ledger.problem("an oversize packet closed nothing");
  socket.disconnect();
  fault("oversize packets");
});

const HOSTILE = [
  () => randomBytes(400),
  () => Buffer.concat(Array.from({ length: 3000 }, () => frame("", { opcode: 0, fin: false }))),
  () => Buffer.concat([frame("x", { fin: false }), ...Array.from({ length: 20_000 }, () => frame("x", { opcode: 0, fin: false }))]),
  () => Buffer.concat([frame("40/bench,"), frame(`42/bench,["echo",${"[".repeat(50_000)}${"]".repeat(50_000)}]`)]),
  () => Buffer.concat([frame("40/bench,"), frame('451-/bench,["echo",{"_placeholder":true,"num":0}]')]),
  () => Buffer.concat([frame("40/bench,"), frame(`459999999-/bench,["echo"]`)]),
  () => Buffer.concat(Array.from({ length: 500 }, (_, i) => frame(`40/nowhere-${i},`))),
  () => Buffer.concat(Array.from({ length: 2000 }, () => frame("ping", { opcode: 9 }))),
  () => Buffer.from([0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
  () => frame(Buffer.from([0x34, 0xff, 0xfe])),
  () => frame("2", { mask: false }),
];
let hostile = 0;
repeat(250, async () => {
  const bytes = HOSTILE[hostile++ % HOSTILE.length]();
  const socket = net.connect(server.port, "127.0.0.1");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => {}).resume();
  socket.write(hostile % 5 === 0 ? "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX: " : upgrade("/socket.io/?EIO=4&transport=websocket"));
  await sleep(20);
  socket.write(bytes);
  await Promise.race([closed, sleep(500)]);
  socket.destroy();
  fault("hostile connections");
});

// ---------------------------------------------------------------- watching

const samples = [];
const watching = setInterval(() => {
  if (!server.alive) return;
  const sample = { minute: (Date.now() - began) / 60000, ...server.sample() };
  samples.push(sample);
  if (samples.length % 12 === 0) {
    console.log(`${sample.minute.toFixed(1)} min: ${(sample.rss / 1024).toFixed(1)} MiB, ${sample.fds} files, ${ledger.received} messages received`);
  }
}, 5000);

const until = began + minutes * 60000;
while (Date.now() < until && server.alive) await sleep(200);
loading = false;
clearInterval(watching);
await Promise.all(tasks);
// What is on its way arrives.
for (const last = [-1]; last.at(-1) !== ledger.received; await sleep(2000)) last.push(ledger.received);
ledger.finish([...steady, flood, watcher].map(({ member }) => member));
for (const { socket } of [...steady, flood, watcher]) socket.disconnect();
await server.settled();

// ---------------------------------------------------------------- the report

const after = server.sample();
const failures = ledger.failures();
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const third = (from) => samples.slice(Math.floor((samples.length * from) / 3), Math.floor((samples.length * (from + 1)) / 3)).map((s) => s.rss);
const [, middle, end] = [0, 1, 2].map((n) => median(third(n)) ?? 0);
const growth = end - middle;
// Memory that a run needs is taken in its first third; over less than three minutes nothing can be said.
const judged = minutes >= 3;
if (judged && growth > Math.max(8 * 1024, middle / 10)) failures.push(`memory grew from ${middle} to ${end} KiB between the second and the last third`);
if (after.fds > baseline.idle.fds + 2) failures.push(`${after.fds} files open at the end, ${baseline.idle.fds} before the first client`);
if (!server.alive) failures.push("the server has died");
if (/panicked at/.test(server.stderr)) failures.push(`the server panicked:\n${server.stderr.slice(-2000)}`);
await server.stop();

console.log(`
| | |
| --- | --- |
| minutes | ${((Date.now() - began) / 60000).toFixed(1)} |
| messages sent, received | ${ledger.sent}, ${ledger.received} |
| lost, doubled, out of order | ${ledger.lost}, ${ledger.doubled}, ${ledger.disordered} |
| publish to ack, median, p99, max | ${ledger.percentiles().map((ms) => `${ms.toFixed(1)} ms`).join(", ")} |
| memory before, second third, last third, peak, after | ${[baseline.idle.rss, middle, end, Math.max(0, ...samples.map((s) => s.rss)), after.rss].map((kib) => `${(kib / 1024).toFixed(1)} MiB`).join(", ")}${judged ? "" : " (not judged: too short)"} |
| files before, with the steady clients, peak, after | ${baseline.idle.fds}, ${baseline.fds}, ${Math.max(0, ...samples.map((s) => s.fds))}, ${after.fds} |
${Object.entries(faults).map(([name, count]) => `| ${name} | ${count} |`).join("\n")}
`);
for (const failure of failures) console.error(`FAILED: ${failure}`);
process.exit(failures.length === 0 ? 0 : 1);
