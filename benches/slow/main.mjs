// node main.mjs [memory|latency|input]... [--rounds N] [--load WORD] [--node]; see README.md
import { Server } from "./server.mjs";
import { websocket, stalledPoller } from "./client.mjs";
import { latency } from "./latency.mjs";
import { input } from "./input.mjs";
import { FIGURES, expect, missed } from "./figures.mjs";

const args = process.argv.slice(2);
const option = (name, fallback) => (args.includes(name) ? args[args.indexOf(name) + 1] : fallback);
const rounds = Number(option("--rounds", 3));
const loads = option("--load", "");
const policies = option("--policy", null)?.split(",") ?? ["close", "drop-oldest", "drop-newest", "keep-latest"];
const kinds = args.includes("--node") ? ["greenroom", "node"] : ["greenroom"];
const subjects = args.filter((arg, i) => !arg.startsWith("--") && !["--rounds", "--load", "--policy"].includes(args[i - 1]));
const wanted = (subject) => subjects.length === 0 || subjects.includes(subject);

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const MIB = 1024;
/** 32 MB for each client, and what most small events make of less. */
const EVERYBODY = { title: "to all, 2,000 bytes", events: 16_000, bytes: 2000 };
const OWN = [
  { title: "its own, 2,000 bytes", events: 8000, bytes: 2000, own: true },
  { title: "its own, 20 bytes", events: 100_000, bytes: 20, own: true },
];
const STALLED = 10;
const FAST = 5;

/** Sends numbered events to everybody, some in flight; each fast client checks that it gets every number. */
async function flood(publisher, fast, { events, bytes, own = false }, stalled = 0) {
  const payload = "x".repeat(bytes);
  const inFlight = new Set();
  const first = fast[0].next;
  const send = async (...event) => {
    const sent = publisher.ask(...event).then(() => inFlight.delete(sent));
    inFlight.add(sent);
    if (inFlight.size >= 32) await Promise.race(inFlight);
  };
  for (let n = 0; n < events; n++) {
    // An event of its own shares no memory with those of others. Those that read get few of them.
    if (own) for (let i = 0; i < stalled; i++) await send("publish", `own-${i}`, { n, payload });
    if (!own || n % 100 === 0) await send("publish-all", { n: first + (own ? n / 100 : n), payload });
  }
  await Promise.all(inFlight);
  const last = first + (own ? Math.ceil(events / 100) : events);
  for (const begin = performance.now(); performance.now() - begin < 20_000; await sleep(5)) {
    if (fast.every((client) => client.next === last)) return 0;
  }
  return fast.filter((client) => client.next !== last).length;
}

async function reader(port) {
  const client = { next: 0, lost: 0 };
  Object.assign(client, await websocket(port, {
    onEvent: (text) => {
      const n = Number(/"n":(\d+)/.exec(text)[1]);
      if (n !== client.next) client.lost += 1;
      client.next = n + 1;
    },
  }).then(({ next, ...rest }) => rest));
  return client;
}

const STALLS = {
  websocket: async (port, room) => {
    const client = await websocket(port);
    await client.ask("join", room);
    client.stall();
    return client;
  },
  "polling, none asked": (port, room) => stalledPoller(port, room),
  "polling, answer unread": (port, room) => stalledPoller(port, room, { hanging: true }),
};

/** The most memory during a flood, over that before it, in KiB. */
async function memoryOf(kind, name, count, load, env) {
  const server = await Server.start(kind, env);
  const fast = await Promise.all(Array.from({ length: FAST }, () => reader(server.port)));
  const publisher = await websocket(server.port);
  // What a first flood leaves in the allocator is no cost of those that stall.
  await flood(publisher, fast, { events: 500, bytes: 2000 });
  const stalled = [];
  for (let i = 0; i < count; i++) stalled.push(await STALLS[name](server.port, `own-${i}`));
  await sleep(300);
  const before = server.memory;
  const most = server.watch();
  const begin = performance.now();
  let lost = await flood(publisher, fast, load, count || STALLED);
  const took = (performance.now() - begin) / 1000;
  await sleep(5000);
  const run = { peak: most() - before, after: server.memory - before, took, closed: server.closed.length };
  // How long each was above its bound.
  run.longest = Math.max(0, ...server.closed.map((at, i) => at - (server.slow[i] ?? begin))) / 1000;
  const seen = new Set();
  if (name === "websocket") {
    for (const client of stalled) client.resume();
    await Promise.race([Promise.all(stalled.map((client) => client.gone)), sleep(kind === "node" || env.WHEN_FULL !== "close" ? 2000 : 15_000)]);
    for (const client of stalled) seen.add(client.code === null ? "open" : `close ${client.code}`);
  } else if (name === "polling, none asked") {
    await Promise.all(stalled.map((client) => client.ask()));
    for (const { answer } of stalled) seen.add(answer.error ?? `status ${answer.status}`);
  }
  for (const client of fast) lost += client.lost;
  for (const client of [...fast, publisher, ...stalled]) client.end();
  await server.stop();
  return { ...run, lost, seen: [...seen].join(", ") || "-" };
}

async function memory() {
  console.log(`\n## Memory\n\n${STALLED} clients that stop reading, ${FAST} that read\n`);
  console.log("| server | stalled | policy | events | MiB each, most | MiB each, after 5 s | closed | longest above its bound, s | took, s | they see | lost by those that read |");
  console.log("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
  for (const kind of kinds) {
    for (const policy of kind === "node" ? ["none"] : policies) {
      const env = { WHEN_FULL: policy, RUST_LOG: "warn,greenroom::engine::link=debug" };
      for (const load of [EVERYBODY, ...OWN].filter(({ title }) => title.includes(loads))) {
        const floor = await memoryOf(kind, "websocket", 0, load, env);
        for (const name of Object.keys(STALLS)) {
          const run = await memoryOf(kind, name, STALLED, load, env);
          const each = (figure) => ((run[figure] - floor[figure]) / STALLED / MIB).toFixed(2);
          const row = `memory, ${name}, ${policy}, ${load.title}`;
          expect(kind, row, each("peak") <= FIGURES.stalled, `${each("peak")} MiB each`);
          expect(kind, row, run.lost + floor.lost === 0, `${run.lost + floor.lost} lost by those that read`);
          if (policy === "close") {
            expect(kind, row, run.closed === STALLED, `${run.closed} of ${STALLED} closed`);
            expect(kind, row, run.longest <= FIGURES.dropped, `${run.longest.toFixed(1)} s above the bound`);
          }
          console.log(
            `| ${kind} | ${name} | ${policy} | ${load.title} | ${each("peak")} | ${each("after")} | ${run.closed} of ${STALLED} | ` +
              `${run.closed ? run.longest.toFixed(1) : "-"} | ${run.took.toFixed(1)} | ${run.seen} | ${run.lost + floor.lost} |`,
          );
        }
      }
    }
  }
}

process.setMaxListeners(0);
if (wanted("memory")) await memory();
if (wanted("latency")) await latency(kinds, rounds, policies);
if (wanted("input")) await input(kinds);
for (const line of missed) console.error(`missed: ${line}`);
process.exit(missed.length > 0 ? 1 : 0);
