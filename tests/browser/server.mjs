// The chat server under test: one that runs already (CHAT_URL), or one that is started here (CHAT_COMMAND).
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const ROOT = new URL("../../", import.meta.url).pathname;
const COMMAND = process.env.CHAT_COMMAND ?? "target/release/examples/chat";
const STOP_MS = 10_000;
const START_MS = Number(process.env.CHAT_START_MS ?? 30_000);

/** A server that somebody else runs. */
const running = (url) => ({ url, owned: false, stop: async () => {} });

export async function startServer(port = 0) {
  if (process.env.CHAT_URL) return running(process.env.CHAT_URL);
  const child = spawn(`exec ${COMMAND}`, {
    cwd: ROOT,
    shell: true,
    detached: true, // its own process group, so that everything it starts ends with it
    env: { ...process.env, HOST: "127.0.0.1", PORT: String(port) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const signal = (name) => {
    try {
      process.kill(-child.pid, name);
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
  };
  const lastResort = () => signal("SIGKILL");
  const interrupted = () => process.exit(1); // runs what is registered for "exit", here and in playwright
  process.once("exit", lastResort);
  process.once("SIGTERM", interrupted);
  process.once("SIGINT", interrupted);
  try {
    return { url: `http://${await addressOf(child)}`, owned: true, stop };
  } catch (error) {
    await stop("SIGKILL");
    throw error;
  }

  async function stop(name = "SIGTERM") {
    signal(name);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      signal("SIGKILL");
    }, STOP_MS);
    await exited;
    clearTimeout(timer);
    signal("SIGKILL"); // what it may have left behind
    process.off("exit", lastResort);
    process.off("SIGTERM", interrupted);
    process.off("SIGINT", interrupted);
    if (late) throw new Error(`${COMMAND} did not stop within ${STOP_MS} ms of ${name}`);
  }
}

/** Reads `listening on HOST:PORT` from the server's stdout. */
function addressOf(child) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${COMMAND} did not say where it listens`)), START_MS);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${COMMAND} exited with ${code}`)));
    child.once("exit", () => clearTimeout(timer));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const [, address] = /^listening on (\S+:\d+)$/.exec(line) ?? [];
      if (!address) return;
      clearTimeout(timer);
      resolve(address);
    });
  });
}
