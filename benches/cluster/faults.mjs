// node faults.mjs [--rounds N] [--seconds N] [--rate N]; see README.md
import { createRequire } from "node:module";
import { ClusterServer, Redis } from "../../tests/e2e/cluster.mjs";

const require = createRequire(new URL("../../tests/e2e/package.json", import.meta.url));
const { io } = require("socket.io-client");

const args = process.argv.slice(2);
const option = (name, fallback) => (args.includes(name) ? Number(args[args.indexOf(name) + 1]) : fallback);
const rounds = option("--rounds", 3);
const seconds = option("--seconds", 3);
const rate = option("--rate", 200);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

const ADAPTERS = { classic: "redis", sharded: "redis-sharded", streams: "redis-streams" };
const KINDS = ["greenroom", "node"];

/** What fails, a second after the first message and, where it says so, for a second. */
const FAULTS = {
  "Redis killed for a second": async ({ redis }) => {
    await redis.stop();
    await sleep(1000);
    await redis.start();
  },
  "connections that listen killed": async ({ redis }) => {
    redis.command("CLIENT", "KILL", "TYPE", "pubsub");
    for (const [, id] of redis.command("CLIENT", "LIST").matchAll(/^id=(\d+) .*cmd=xread/gm)) redis.command("CLIENT", "KILL", "ID", id);
  },
  "receiving server stopped for a second": async ({ two }) => {
    two.child.kill("SIGSTOP");
    await sleep(1000);
    two.child.kill("SIGCONT");
  },
};

async function connect(server) {
  const socket = io(`${server.url}/cluster`, { forceNew: true, reconnection: false, transports: ["websocket"] });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  socket.got = new Map();
  socket.doubled = 0;
  socket.on("n", (n, at) => {
    if (socket.got.has(n)) socket.doubled += 1;
    else socket.got.set(n, performance.now() - at);
  });
  return socket;
}

/** Sends until it arrives, for half a minute at most; whether it has. */
async function passes(from, to) {
  let heard = false;
  to.on("ping", () => (heard = true));
  for (const begin = performance.now(); !heard && performance.now() - begin < 30_000; await sleep(50)) {
    from.emit("emit", { to: "room", event: "ping", args: [] });
  }
  to.off("ping");
  return heard;
}

/** Two servers, a client on each; the first one has the messages sent. */
async function measure(adapter, kind, fault) {
  const redis = await new Redis().start();
  const env = { ADAPTER: ADAPTERS[adapter], PING_INTERVAL: "60000" };
  const [one, two] = [new ClusterServer(kind, "one", redis, env), new ClusterServer(kind, "two", redis, env)];
  const sockets = [];
  try {
    for (const server of [one, two]) sockets.push(await connect(await server.start()));
    const [near, far] = sockets;
    for (const socket of sockets) await socket.timeout(5000).emitWithAck("join", { rooms: ["room"] });
    // Both directions, as a Node.js server reads a stream from its second entry on.
    if (!(await passes(near, far)) || !(await passes(far, near))) throw new Error("the servers do not hear each other");
    const count = seconds * rate;
    const begin = performance.now();
    const failing = sleep(1000).then(() => FAULTS[fault]({ redis, one, two }));
    for (let sent = 0; sent < count; await sleep(1)) {
      const due = Math.min(count, Math.floor(((performance.now() - begin) * rate) / 1000));
      for (; sent < due; sent++) near.emit("emit", { to: "room", event: "n", args: [sent, performance.now()] });
    }
    await failing;
    const back = await passes(near, far);
    const own = await passes(near, near);
    // What is kept somewhere has the time to come.
    await sleep(1000);
    return {
      "missed by clients of the other server": back ? count - far.got.size : count,
      "missed by clients of the same server": own ? count - near.got.size : count,
      "longest delay on the same server, ms": Math.round(Math.max(...near.got.values())),
      repeated: near.doubled + far.doubled,
    };
  } finally {
    for (const socket of sockets) socket.disconnect();
    // Some do not end properly after all that.
    for (const server of [one, two]) if (server.child) await server.kill();
    await redis.stop();
  }
}

const figures = {};
for (let round = 0; round < rounds; round++) {
  for (const fault of Object.keys(FAULTS)) {
    for (const adapter of Object.keys(ADAPTERS)) {
      for (const kind of round % 2 ? [...KINDS].reverse() : KINDS) {
        const figure = await measure(adapter, kind, fault);
        for (const [name, value] of Object.entries(figure)) (((figures[fault] ??= {})[adapter] ??= {})[kind] ??= {})[name] = [...(figures[fault][adapter][kind][name] ?? []), value];
        console.error(fault, adapter, kind, JSON.stringify(figure));
      }
    }
  }
}
console.log(`| of ${seconds * rate} messages at ${rate} per second: greenroom / node | ${Object.keys(ADAPTERS).join(" | ")} |`);
console.log(`| --- |${" --- |".repeat(Object.keys(ADAPTERS).length)}`);
for (const [fault, adapters] of Object.entries(figures)) {
  for (const name of Object.keys(adapters.classic.greenroom)) {
    const cells = Object.values(adapters).map((kinds) => KINDS.map((kind) => median(kinds[kind][name])).join(" / "));
    console.log(`| ${fault}: ${name} | ${cells.join(" | ")} |`);
  }
}
