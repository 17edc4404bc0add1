// A Redis of one's own, and servers of both kinds beside each other on it.
import { spawn, spawnSync } from "node:child_process";
import net from "node:net";
import { fileURLToPath } from "node:url";
import { Server, until, within } from "./support.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const freePort = () =>
  new Promise((resolve, reject) => {
    const server = net.createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

export const hasRedis = spawnSync("redis-server", ["--version"]).status === 0;

/** A redis-server on a free port. */
export class Redis {
  /** `more`: arguments besides those that keep nothing on disk. */
  constructor(more = []) {
    this.more = more;
  }

  async start() {
    this.port ??= await freePort();
    const args = ["--port", String(this.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", ...this.more];
    this.child = spawn("redis-server", args, { stdio: "ignore" });
    this.exited = new Promise((resolve) => this.child.once("exit", resolve).once("error", resolve));
    await until(() => this.command("PING"), (answer) => answer.includes("PONG"), "redis-server answers");
    return this;
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  command(...args) {
    return spawnSync("redis-cli", ["-p", String(this.port), ...args], { encoding: "utf8" }).stdout ?? "";
  }

  async stop() {
    this.child.kill("SIGKILL");
    await within(this.exited, "end of redis-server");
  }
}

/** A server of the cluster: `kind` is "greenroom" or "node", whatever TARGET says. */
export class ClusterServer extends Server {
  constructor(kind, name, redis, env = {}) {
    super({ ADAPTER: "redis", REDIS_URL: redis.url, NODE_NAME: name, ...env });
    this.kind = kind;
  }

  get command() {
    return this.kind === "node"
      ? [process.execPath, [here("reference/reference.mjs")]]
      : [process.env.TESTBED ?? here("../../target/release/examples/testbed"), []];
  }
}
