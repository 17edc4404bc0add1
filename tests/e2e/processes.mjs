// Programs that tests start: the examples of this repository, redis-server, load balancers.
import { spawn } from "node:child_process";
import net from "node:net";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { within } from "./support.mjs";

export const testbed = process.env.TESTBED ?? fileURLToPath(new URL("../../target/release/examples/testbed", import.meta.url));

/** The program of an example: they are all in one folder. */
export const example = (name) => `${dirname(testbed)}/${name}`;

/** A port that nobody has now. */
export const freePort = () =>
  new Promise((resolve, reject) => {
    const server = net.createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** Starts a program. `said` and `complained` are what it has printed so far, `exited` tells how it ended, and when. */
export function start(command, args = [], env = {}) {
  const child = spawn(command, args, {
    // Debian has balancers where only root looks. A program is no part of the test run.
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin`, NODE_TEST_CONTEXT: undefined, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const [stream, name] of [[child.stdout, "said"], [child.stderr, "complained"]]) {
    child[name] = "";
    stream.setEncoding("utf8").on("data", (text) => (child[name] = (child[name] + text).slice(-200_000)));
  }
  child.exited = new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal, at: performance.now() }));
    child.once("error", (error) => resolve({ error: error.message, at: performance.now() }));
  });
  return child;
}

export const runs = (child) => child.pid !== undefined && child.exitCode === null && child.signalCode === null;

/** Ends a program; one that does not follow the signal is killed, and that is a failure. */
export async function stop(child, signal = "SIGTERM") {
  child.kill(signal);
  await within(child.exited, `end of ${child.spawnfile}`).finally(() => child.kill("SIGKILL"));
}
