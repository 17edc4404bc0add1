// See README.md. Prints one Markdown table; the exit status says whether the limits were kept.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Server, sleep } from "../../tests/e2e/support.mjs";
import { memory, MB } from "../../tests/e2e/beside.mjs";
import { ATTACKS } from "../../tests/e2e/attacks.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const list = process.argv.slice(2);
const servers = [];
let only = "";
let workers = "1";
let rounds = 1;
while (list.length > 0) {
  const option = list.shift();
  if (option === "--node") servers.push(["node", null]);
  else if (option === "--only") only = list.shift();
  else if (option === "--workers") workers = list.shift();
  else if (option === "--rounds") rounds = Number(list.shift());
  else if (option === "--server") {
    const value = list.shift();
    servers.unshift([value.slice(0, value.indexOf("=")), value.slice(value.indexOf("=") + 1)]);
  } else throw new Error(`${option}? see run --help`);
}

/** One attack on a fresh server. */
async function measure([, command], { env = {}, run }) {
  process.env.TESTBED = command ?? process.execPath;
  const server = new Server({ WORKERS: workers, ...env });
  if (command === null) {
    // The reference: support.mjs decides by TARGET, which is fixed when it is loaded.
    server.start = () => startNode(server, { WORKERS: workers, ...env });
  }
  await server.start();
  const probe = fork(here("probe.mjs"), [server.url, env.PARSER ?? "", server.child.pid]);
  let broken = null;
  probe.on("message", (m) => (broken ??= m.broken ?? null));
  const waits = async () => {
    probe.send("end");
    for (;;) {
      const [message] = await once(probe, "message");
      if (message.waits) return message.waits;
    }
  };
  await once(probe, "message");
  await sleep(300);
  const before = memory(server);
  let peak = before;
  const watch = setInterval(() => {
    try {
      peak = Math.max(peak, memory(server));
    } catch {
      // It has just died.
    }
  }, 10);
  const cleanups = [];
  const t = { after: (fn) => cleanups.push(fn) };
  probe.send("begin");
  const begin = performance.now();
  let outcome = "";
  await Promise.race([run(t, server), server.exited.then(() => { throw new Error("the server died"); })])
    .catch((error) => (outcome = error.message.split("\n")[0].slice(0, 60)));
  const took = performance.now() - begin;
  await sleep(50);
  const died = !server.alive;
  const measured = died ? [] : await waits();
  clearInterval(watch);
  for (const fn of cleanups) fn();
  let after = null;
  if (!died) {
    await sleep(1000);
    after = memory(server);
  }
  probe.removeAllListeners("message");
  probe.kill();
  server.child.kill("SIGKILL");
  await server.exited;
  measured.sort((a, b) => a.ms - b.ms);
  const wait = (share) => measured[Math.min(measured.length - 1, Math.floor(measured.length * share))];
  const at = (share) => wait(share)?.ms;
  const ms = (x) => (x === undefined ? "–" : x.toFixed(1));
  // An attack of milliseconds may be over before the first answer.
  const failure = died ? "the server died" : (broken ?? outcome) || null;
  const cells = [
    `${(took / 1000).toFixed(1)} s`, String(measured.length), ms(at(0.5)), ms(at(0.99)), ms(at(1)), ms(wait(1)?.starved), died ? "–" : `${((peak - before) / MB).toFixed(0)}`,
    after === null ? "–" : `${((after - before) / MB).toFixed(0)}`,
  ];
  return { cells, worst: at(1) ?? 0, failure };
}

async function startNode(server, env) {
  const { spawn } = await import("node:child_process");
  const all = { ...process.env, PORT: "0", HOST: "127.0.0.1", ...env };
  server.child = spawn(process.execPath, [here("../../tests/e2e/reference/reference.mjs")], { env: all, stdio: ["ignore", "pipe", "ignore"] });
  server.exited = new Promise((resolve) => server.child.once("exit", resolve));
  const port = await new Promise((resolve) => {
    let out = "";
    server.child.stdout.setEncoding("utf8").on("data", (text) => {
      out += text;
      const match = /^listening on .+:(\d+)$/m.exec(out);
      if (match) resolve(Number(match[1]));
    });
  });
  Object.assign(server, { host: "127.0.0.1", port, url: `http://127.0.0.1:${port}`, wsUrl: `ws://127.0.0.1:${port}` });
}

const nothing = { name: "nothing, for 3 s", run: () => sleep(3000) };
console.log("| attack | server | took | answers | p50 ms | p99 ms | worst ms | of that without a core | memory, peak MB | 1 s later MB | median of the rounds' worst, ms | |");
console.log("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
/** The longest wait of a healthy client that the issue allows, in ms: for an attack, for a flood. */
const LIMITS = { attack: 100, flood: 250 };
const missed = [];
for (const attack of [nothing, ...ATTACKS].filter(({ name }) => name.includes(only))) {
  for (const server of servers) {
    const limit = attack.flood ? LIMITS.flood : LIMITS.attack;
    const results = [];
    for (let round = 0; round < rounds; round++) results.push(await measure(server, attack));
    results.sort((a, b) => a.worst - b.worst);
    const [median, longest] = [results[(rounds - 1) >> 1], results[rounds - 1]];
    const failure = results.find((result) => result.failure)?.failure;
    // Any answer, in any round.
    const slow = longest.worst > limit ? `over ${limit} ms` : null;
    const verdict = failure ?? slow ?? "";
    console.log(`| ${attack.name} | ${server[0]} | ${longest.cells.join(" | ")} | ${median.worst.toFixed(1)} | ${verdict} |`);
    // The reference is there for comparison.
    if (verdict && server[1] !== null) missed.push(`${server[0]}, ${attack.name}: ${verdict}`);
  }
}
for (const line of missed) console.error(`missed: ${line}`);
process.exit(missed.length > 0 ? 1 : 0);
