// Processes that a test starts, and that end with it.

import { AssertionError } from "node:assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/** A port that nobody has now. */
export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Until `check` gives something that holds, or asserts what does not; with the last thing that was wrong if it never does. */
export async function until(check, what, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  let last;
  while (Date.now() < end) {
    try {
      const found = await check();
      if (found) return found;
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      last = error;
    }
    await pause(50);
  }
  throw new Error(`${what}: not within ${seconds} s${last ? `: ${last.message}` : ""}`);
}

const running = new Set();
process.on("exit", () => running.forEach((one) => one.signal("SIGKILL")));

/** A process with all it starts, whose output is kept in `log`. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], detached: true, ...options });
  const one = { child, log: "" };
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => (one.log += data));
  one.ended = new Promise((resolve) => {
    child.on("error", (error) => {
      one.log += `${error}\n`;
      running.delete(one);
      resolve(-1);
    });
    child.on("close", (code) => {
      running.delete(one);
      resolve(code);
    });
  });
  one.signal = (signal) => {
    try {
      process.kill(-child.pid, signal);
    } catch {
      // it has ended
    }
  };
  one.stop = async (signal = "SIGTERM") => {
    one.signal(signal);
    const killer = setTimeout(() => one.signal("SIGKILL"), 20_000);
    await one.ended;
    clearTimeout(killer);
  };
  running.add(one);
  return one;
}

/** Runs a command to its end; its output. */
export async function run(command, args, options) {
  const one = start(command, args, options);
  const code = await one.ended;
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}:\n${one.log}`);
  return one.log;
}
