// node main.mjs [--rounds N] [--seconds N] [--rate N]; see README.md
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { ClusterServer, Redis } from "../../tests/e2e/cluster.mjs";

const require = createRequire(new URL("../../tests/e2e/package.json", import.meta.url));
const { Emitter } = require("@socket.io/redis-emitter");
const { createClient } = require("redis");
const { WebSocket } = require("ws");

const args = process.argv.slice(2);
const option = (name, fallback) => (args.includes(name) ? Number(args[args.indexOf(name) + 1]) : fallback);
const rounds = option("--rounds", 3);
const seconds = option("--seconds", 3);
const rate = option("--rate", 2000);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What is done: messages per second, to the members of a room on the receiving node. */
const MANY = 100;
const ROWS = [
  { name: "to one member", members: 1, rate },
  { name: `to ${MANY} members`, members: MANY, rate: Math.min(rate / 10, 200) },
  { name: "to a room that has no member there", members: 0, rate },
];

/** Nanoseconds that all threads of a process have run. */
function cpu(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.reduce((sum, id) => sum + Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ")[0]), 0);
}

/** A connection that has joined `/cluster` and counts what it gets of `/cluster`; as cheap as can be. */
async function receiver(server, room) {
  const ws = new WebSocket(`${server.wsUrl}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false });
  const client = { received: 0, wrong: 0, ws };
  const joined = new Promise((resolve, reject) => {
    ws.once("error", reject);
    ws.on("message", (data) => {
      const text = data.toString();
      if (text.startsWith("42/cluster,[\"e\",")) {
        const n = Number(text.slice(21, text.indexOf(",", 21)));
        if (n !== client.received) client.wrong += 1;
        client.received += 1;
      } else if (text[0] === "0") ws.send("40/cluster,");
      else if (text === "2") ws.send("3");
      else if (text.startsWith("40")) ws.send(`42/cluster,0${JSON.stringify(["join", { rooms: [room] }])}`);
      else if (text.startsWith("43")) resolve();
    });
  });
  await joined;
  return client;
}

/** Microseconds of the server's CPU per message, with what it uses when nothing is sent taken off. */
async function measure(kind, { members, rate }) {
  const redis = await new Redis().start();
  const server = await new ClusterServer(kind, "receiver", redis, { WORKERS: "1", PING_INTERVAL: "60000" }).start();
  const redisClient = await createClient({ url: redis.url }).connect();
  const clients = [];
  try {
    // The room exists where somebody may be; the message is for one that nobody is in.
    for (let n = 0; n < Math.max(members, 1); n++) clients.push(await receiver(server, members ? "room" : "other"));
    const emitter = new Emitter(redisClient).of("/cluster").to("room");
    const payload = "x".repeat(128);
    let sent = 0;
    const send = async (count) => {
      const interval = 10;
      const begin = performance.now();
      for (let due = 0, last = 0; last < count; ) {
        due = Math.min(count, Math.floor(((performance.now() - begin + interval) * rate) / 1000));
        for (; last < due; last++) emitter.emit("e", { n: sent++, payload });
        await sleep(interval);
      }
      const arrived = () => clients.every((client) => client.received === (members ? sent : 0));
      for (const begin = performance.now(); !arrived(); await sleep(1)) {
        if (performance.now() - begin > 10_000) throw new Error(`lost: ${clients.map((c) => c.received)} of ${sent}`);
      }
    };
    await send(rate);
    await sleep(300);
    const quiet = cpu(server.child.pid);
    await sleep(1000);
    const perSecond = cpu(server.child.pid) - quiet;
    const [before, begin] = [cpu(server.child.pid), performance.now()];
    await send(rate * seconds);
    await sleep(50);
    const used = cpu(server.child.pid) - before - (perSecond * (performance.now() - begin)) / 1000;
    if (clients.some((client) => client.wrong)) throw new Error("messages were lost, doubled or out of order");
    return used / (rate * seconds) / 1000;
  } finally {
    for (const { ws } of clients) ws.terminate();
    await redisClient.close();
    await server.stop();
    await redis.stop();
  }
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const figures = {};
for (let round = 0; round < rounds; round++) {
  for (const row of ROWS) {
    for (const kind of round % 2 ? ["node", "greenroom"] : ["greenroom", "node"]) {
      ((figures[row.name] ??= {})[kind] ??= []).push(await measure(kind, row));
    }
  }
}
const of = (row, kind) => median(figures[row.name][kind]);
const [one, many] = ROWS;
const delivery = (kind) => (of(many, kind) - of(one, kind)) / (MANY - 1);
const lines = ROWS.map((row) => [`a message ${row.name}`, (kind) => of(row, kind)]);
lines.push(["of it, each delivery", delivery], ["of it, the message", (kind) => of(one, kind) - delivery(kind)]);
console.log("| µs of CPU of the receiving node | greenroom | node | ratio |\n| --- | --- | --- | --- |");
for (const [name, value] of lines) {
  const [ours, theirs] = [value("greenroom"), value("node")];
  console.log(`| ${name} | ${ours.toFixed(1)} | ${theirs.toFixed(1)} | ${(ours / theirs).toFixed(2)} |`);
}
