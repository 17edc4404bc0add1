// One soak: node soak.mjs <minutes>. See README.md.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import net from "node:net";
import { fileURLToPath } from "node:url";
import { io, WebSocket, frame, upgrade, sleep, Server } from "./support.mjs";
import { Ledger } from "./ledger.mjs";
import { Redis } from "../../tests/e2e/cluster.mjs";

const minutes = Number(process.argv[2] ?? 60);
const scale = Number(process.env.SOAK_SCALE ?? 1);
if (!(minutes > 0 && scale > 0)) throw new Error("minutes and SOAK_SCALE are numbers above 0");
const many = (count) => Math.max(1, Math.round(count * scale));

// One server, or two and a Redis between them.
const adapter = process.env.SOAK_ADAPTER ?? "redis";
const redis = adapter === "memory" ? undefined : await new Redis().start();
const servers = [];
for (let n = 0; n < (redis ? 2 : 1); n++) {
  servers.push(await new Server({ ADAPTER: adapter, REDIS_URL: redis?.url, NODE_NAME: `node-${n}` }).start());
}
const alive = () => servers.every((server) => server.alive);
const node = (n) => n % servers.length;
const ledger = new Ledger();
const faults = {};
/** Clients that tell whether the cluster is whole, and how long it took at most until it was, in ms. */
const probes = [];
let slowest = 0;
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
for (let i = 0; i < many(48); i++) steady.push(await join(`steady-${i}`, `room-${Math.floor(i / 2) % ROOMS}`, TRANSPORTS[i % 3], i));
const baselines = servers.map((server) => server.sample());
const began = Date.now();

async function join(author, room, transports, n) {
  const socket = io(`${servers[node(n)].url}/bench`, { transports, forceNew: true, reconnection: false });
  const lost = new Promise((_, reject) => socket.on("connect_error", reject));
  await Promise.race([new Promise((resolve) => socket.on("connect", resolve)), lost]);
  const member = ledger.member(author, room, node(n));
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
      const one = await join(`passing-${n}`, `room-${n % ROOMS}`, TRANSPORTS[n % 3], n);
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
let herd = 0;
repeat(8000, async () => {
  const at = node(herd++);
  const doomed = spawn(process.execPath, [child, servers[at].url, String(at), String(many(10)), String(ROOMS)], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => {
    doomed.stdout.once("data", resolve);
    doomed.once("exit", resolve);
  });
  await sleep(1000 * Math.random());
  doomed.kill("SIGKILL");
  fault("client processes killed");
});

// A reader that stops, in a room that is flooded; the others of the room must get all.
const flood = await join("flood", "flooded", ["websocket"], 0);
const watchers = [];
for (const n of servers.keys()) {
  const watcher = await join(`watcher-${n}`, "flooded", ["websocket"], n);
  watcher.socket.on("msg", () => (watcher.got = (watcher.got ?? 0) + 1));
  watchers.push(watcher);
}
/** This process reads for all clients, and must not be slow itself. */
async function read() {
  const counts = watchers.map(({ got }) => got);
  for (let k = 0; k < 30 && watchers.some(({ got }, n) => got === counts[n]); k++) await sleep(10);
}
let stopped = 0;
repeat(5000, async () => {
  const slow = new WebSocket(`${servers[node(stopped++)].url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
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
  for (let k = 0; k < 60; k++) {
    const arrived = read();
    await publish(flood, 200_000).catch((error) => ledger.problem(`flood: ${error.message}`));
    await arrived;
  }
  await sleep(1000);
  slow.resume();
  slow.terminate();
  await closed;
  fault("slow readers");
});

let oversize = 0;
repeat(3000, async () => {
  const socket = io(`${servers[node(oversize++)].url}/bench`, { transports: ["websocket"], forceNew: true, reconnection: false });
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
  const socket = net.connect(servers[node(hostile)].port, "127.0.0.1");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => {}).resume();
  socket.write(hostile % 5 === 0 ? "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX: " : upgrade("/socket.io/?EIO=4&transport=websocket"));
  await sleep(20);
  socket.write(bytes);
  await Promise.race([closed, sleep(500)]);
  socket.destroy();
  fault("hostile connections");
});

// Redis is killed and comes back, without what it knew. Clients of a node go on; those of the other may miss what is sent until
// a message passes again from each to each.
if (redis) {
  for (const n of servers.keys()) {
    const { socket } = await join(`probe-${n}`, "probes", ["websocket"], n);
    const seen = new Set();
    socket.off("msg").on("msg", (message) => seen.add(message.author));
    probes.push({ socket, seen });
  }
  const ask = (n) => probes[n].socket.timeout(20000).emitWithAck("publish", "probes", { author: String(n), n: 0, room: "probes" });
  const whole = () => probes.every(({ seen }) => servers.every((_, n) => seen.has(String(n))));
  let first = true;
  repeat(60000, async () => {
    if (first) return (first = false);
    ledger.apart(true);
    await redis.stop();
    await sleep(3000 * Math.random());
    await redis.start();
    const back = Date.now();
    for (const { seen } of probes) seen.clear();
    while (!whole() && alive() && Date.now() - back < 60000) {
      await Promise.all(probes.map((_, n) => ask(n))).catch((error) => ledger.problem(`probe: ${error.message}`));
      await sleep(100);
    }
    if (!whole()) ledger.problem("the cluster was not whole a minute after Redis was back");
    slowest = Math.max(slowest, Date.now() - back);
    ledger.apart(false);
    fault("restarts of Redis");
  });
}

// ---------------------------------------------------------------- watching

const samples = servers.map(() => []);
const watching = setInterval(() => {
  if (!alive()) return;
  for (const [n, server] of servers.entries()) samples[n].push({ minute: (Date.now() - began) / 60000, ...server.sample() });
  if (samples[0].length % 12 === 0) {
    const now = samples.map((list) => list.at(-1));
    console.log(`${now[0].minute.toFixed(1)} min: ${now.map((s) => `${(s.rss / 1024).toFixed(1)} MiB, ${s.fds} files; `).join("")}${ledger.received} messages received`);
  }
}, 5000);

const until = began + minutes * 60000;
while (Date.now() < until && alive()) await sleep(200);
loading = false;
clearInterval(watching);
await Promise.all(tasks);
// What is on its way arrives.
for (const last = [-1]; last.at(-1) !== ledger.received; await sleep(2000)) last.push(ledger.received);
const stayed = [...steady, flood, ...watchers];
ledger.finish(stayed.map(({ member }) => member));
for (const { socket } of [...stayed, ...probes]) socket.disconnect();
await Promise.all(servers.map((server) => server.settled()));

// ---------------------------------------------------------------- the report

const failures = ledger.failures();
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const mib = (kib) => `${(kib / 1024).toFixed(1)} MiB`;
// Memory that a run needs is taken in its first third; over less than three minutes nothing can be said.
const judged = minutes >= 3;

/** What became of one server: lines for the table. */
function judge(server, samples, baseline) {
  const after = server.sample();
  const third = (from) => samples.slice(Math.floor((samples.length * from) / 3), Math.floor((samples.length * (from + 1)) / 3)).map((s) => s.rss);
  const [, middle, end] = [0, 1, 2].map((n) => median(third(n)) ?? 0);
  if (judged && end - middle > Math.max(8 * 1024, middle / 10)) failures.push(`memory grew from ${middle} to ${end} KiB between the second and the last third`);
  if (after.fds > baseline.idle.fds + 2) failures.push(`${after.fds} files open at the end, ${baseline.idle.fds} before the first client`);
  if (!server.alive) failures.push("the server has died");
  if (/panicked at/.test(server.stderr)) failures.push(`the server panicked:\n${server.stderr.slice(-2000)}`);
  const most = (of) => Math.max(0, ...samples.map(of));
  return `| memory before, second third, last third, peak, after | ${[baseline.idle.rss, middle, end, most((s) => s.rss), after.rss].map(mib).join(", ")}${judged ? "" : " (not judged: too short)"} |
| files before, with the steady clients, peak, after | ${[baseline.idle.fds, baseline.fds, most((s) => s.fds), after.fds].join(", ")} |`;
}

const lines = servers.map((server, n) => judge(server, samples[n], baselines[n]));
await Promise.all(servers.map((server) => server.stop()));
await redis?.stop();

console.log(`
| | |
| --- | --- |
| minutes | ${((Date.now() - began) / 60000).toFixed(1)} |
| messages sent, received | ${ledger.sent}, ${ledger.received} |
| lost, doubled, out of order | ${ledger.lost}, ${ledger.doubled}, ${ledger.disordered} |${redis ? `
| missed by clients of the other node while Redis was away | ${ledger.excused} |
| whole again after Redis was back, at the latest | ${slowest} ms |` : ""}
| publish to ack, median, p99, max | ${ledger.percentiles().map((ms) => `${ms.toFixed(1)} ms`).join(", ")} |
${lines.join("\n")}
${Object.entries(faults).map(([name, count]) => `| ${name} | ${count} |`).join("\n")}
`);
for (const failure of failures) console.error(`FAILED: ${failure}`);
process.exit(failures.length === 0 ? 0 : 1);
