// Attacks that must cost only their client.
import { readFileSync } from "node:fs";
import { assert, client, call, sleep } from "./support.mjs";

export const MB = 1 << 20;

/** Resident memory of the server in bytes. */
export const memory = (s) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${s.child.pid}/status`, "utf8"))[1]) * 1024;

/** Runs `attack` beside a healthy client that must be answered all along. */
export async function beside(t, server, attack, { growth = 120 * MB, options = {} } = {}) {
  if (!server.alive) await server.start(); // the test before has killed it
  const healthy = await client(t, server, "/rc", options);
  await call(healthy, "echo", "before");
  const before = memory(server);
  let over = false;
  let peak = before;
  const watching = (async () => {
    for (let i = 0; !over; i++) {
      const begin = Date.now();
      assert.equal(await call(healthy, "echo", i), i);
      assert.ok(Date.now() - begin < 3000, `an answer took ${Date.now() - begin} ms`);
      peak = Math.max(peak, memory(server));
      await sleep(20);
    }
  })();
  watching.catch(() => {});
  try {
    await Promise.race([attack(healthy), watching.then(() => new Promise(() => {}))]);
  } catch (error) {
    await sleep(50);
    throw server.alive ? error : new Error(`the server has died\n${server.stderr.slice(-1500)}`, { cause: error });
  } finally {
    over = true;
  }
  await watching;
  assert.ok(peak - before < growth, `memory grew by ${Math.round((peak - before) / MB)} MB`);
  assert.equal(await call(healthy, "echo", "after"), "after");
  assert.ok(server.alive);
}
