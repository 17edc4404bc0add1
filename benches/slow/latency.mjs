// What one client that does not read costs the others in latency.
import { Server } from "./server.mjs";
import { websocket } from "./client.mjs";
import { FIGURES, expect } from "./figures.mjs";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const FAST = 20;
const PER_SECOND = 300;
const SECONDS = 8;
const PAYLOAD = "x".repeat(4000);

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

/** Delays from the emit to each of the fast clients, in ms, sorted. */
async function delays(kind, stalled, env) {
  const server = await Server.start(kind, env);
  const all = [];
  let seen = 0;
  const onEvent = (text) => {
    seen += 1;
    all.push(performance.now() - Number(/"t":([\d.]+)/.exec(text)[1]));
  };
  const fast = await Promise.all(Array.from({ length: FAST }, () => websocket(server.port, { onEvent })));
  const publisher = await websocket(server.port);
  const slow = stalled ? await websocket(server.port) : null;
  const total = PER_SECOND * SECONDS;
  const warm = PER_SECOND;
  slow?.stall();
  const begin = performance.now();
  for (let n = 0; n < total + warm; n++) {
    const due = begin + (n * 1000) / PER_SECOND;
    const wait = due - performance.now();
    if (wait > 0) await sleep(wait);
    publisher.emit("publish-all", { t: performance.now(), payload: PAYLOAD });
  }
  for (const end = performance.now(); seen < (total + warm) * FAST && performance.now() - end < 10_000; ) await sleep(5);
  const lost = (total + warm) * FAST - seen;
  for (const client of [...fast, publisher, ...(slow ? [slow] : [])]) client.end();
  const closed = server.closed.length;
  await server.stop();
  return { delays: all.slice(warm * FAST).sort((a, b) => a - b), lost, closed };
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

export async function latency(kinds, rounds, policies) {
  console.log(
    `\n## Latency of the others\n\n${FAST} clients that read, ${PER_SECOND} events of ${PAYLOAD.length} bytes each second, ${SECONDS} s; median of ${rounds} rounds\n`,
  );
  console.log("| server | policy | p50 without, ms | p50 with one stalled | p99 without | p99 with one stalled | p99 with / without | closed | lost |");
  console.log("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
  for (const kind of kinds) {
    for (const policy of kind === "node" ? ["none"] : policies) {
      const env = policy === "none" ? {} : { WHEN_FULL: policy };
      const runs = { false: [], true: [] };
      for (let round = 0; round < rounds; round++) {
        // In turns, so that the machine's mood hits both.
        for (const stalled of round % 2 ? [true, false] : [false, true]) runs[stalled].push(await delays(kind, stalled, env));
      }
      const figure = (stalled, q) => median(runs[stalled].map((run) => quantile(run.delays, q)));
      const [p50, p50s, p99, p99s] = [figure(false, 0.5), figure(true, 0.5), figure(false, 0.99), figure(true, 0.99)];
      const row = `latency, ${policy}`;
      expect(kind, row, p99s / p99 <= FIGURES.latency, `p99 is ${(p99s / p99).toFixed(2)} times as long`);
      const sum = (name) => [...runs.true, ...runs.false].reduce((total, run) => total + run[name], 0);
      expect(kind, row, sum("lost") === 0, `${sum("lost")} lost`);
      console.log(
        `| ${kind} | ${policy} | ${p50.toFixed(2)} | ${p50s.toFixed(2)} | ${p99.toFixed(2)} | ${p99s.toFixed(2)} | ` +
          `${(p99s / p99).toFixed(2)} | ${sum("closed")} of ${rounds} | ${sum("lost")} |`,
      );
    }
  }
}
