// The servers under measurement, as processes: start, look at, stop.
import { spawn } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const reference = fileURLToPath(new URL("../../tests/e2e/reference/reference.mjs", import.meta.url));

export const KINDS = {
  greenroom: [process.env.TESTBED, []],
  node: [process.execPath, [reference]],
};

export class Server {
  /** Lines of its log that name a slow client that was closed, and when they came. */
  closed = [];
  /** When clients came above their bounds. */
  slow = [];
  log = "";

  static async start(kind, env = {}) {
    const server = new Server();
    const [program, args] = KINDS[kind];
    server.child = spawn(program, args, {
      env: { ...process.env, PORT: "0", WORKERS: "1", RUST_LOG: "warn", NO_COLOR: "1", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    process.once("exit", () => server.child.kill("SIGKILL"));
    server.child.stderr.setEncoding("utf8").on("data", (text) => {
      server.log = (server.log + text).slice(-20_000);
      for (const line of text.split("\n")) {
        if (/slow client closed/.test(line)) server.closed.push(performance.now());
        if (/pace has changed.*slow=true/.test(line)) server.slow.push(performance.now());
      }
    });
    server.port = await new Promise((resolve, reject) => {
      let out = "";
      server.child.stdout.setEncoding("utf8").on("data", (text) => {
        const ready = /listening on .+:(\d+)/.exec((out += text));
        if (ready) resolve(Number(ready[1]));
      });
      server.child.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${server.log}`)));
    });
    server.child.removeAllListeners("exit");
    return server;
  }

  /** Resident memory in KiB. */
  get memory() {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.child.pid}/status`, "utf8"))[1]);
  }

  /** Open files. */
  get files() {
    return readdirSync(`/proc/${this.child.pid}/fd`).length;
  }

  /** Looks at the memory every few ms until told to stop: then the most that was seen. */
  watch() {
    let most = this.memory;
    const timer = setInterval(() => (most = Math.max(most, this.memory)), 20);
    return () => {
      clearInterval(timer);
      return Math.max(most, this.memory);
    };
  }

  async stop() {
    const exited = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await exited;
  }
}
