// A Redis of one's own, and servers of both kinds beside each other on it.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Server, show, until } from "./support.mjs";
import { freePort, runs, start, stop, testbed } from "./processes.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export const hasRedis = spawnSync("redis-server", ["--version"]).status === 0;

/** A redis-server on a free port; `settings` are arguments of it. */
export class Redis {
  constructor(...settings) {
    this.settings = settings;
  }

  /** Starts it, or starts it again. */
  async start() {
    const chosen = this.port !== undefined;
    for (let tries = 0; ; tries++) {
      if (!chosen) this.port = await freePort();
      const args = ["--port", String(this.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", ...this.settings];
      this.child = start("redis-server", args);
      const answers = () => !runs(this.child) || this.command("PING").includes("PONG");
      await until(answers, Boolean, "redis-server answers", 20000);
      if (runs(this.child)) return this;
      // Somebody else has taken the port.
      if (chosen || tries === 10) throw new Error(`redis-server: ${show(await this.child.exited)}\n${this.child.said}`);
    }
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  command(...args) {
    return spawnSync("redis-cli", ["-p", String(this.port), ...args], { encoding: "utf8" }).stdout ?? "";
  }

  async stop() {
    await stop(this.child, "SIGKILL");
  }
}

/** What the servers of a Redis Cluster keep, also while they are stopped. */
const folders = [];
process.once("exit", () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** A Redis Cluster of three masters. Its address is those of all of them, with commas. */
export class RedisCluster {
  /** Starts it, or starts it again. */
  async start() {
    if (this.masters) await Promise.all(this.masters.map((master) => master.start()));
    else await this.create();
    const know = (master) => /cluster_state:ok[^]*cluster_known_nodes:3/.test(master.command("CLUSTER", "INFO"));
    await until(() => this.masters.every(know), Boolean, "the masters know each other", 30000);
    return this;
  }

  async create() {
    const folder = mkdtempSync(join(tmpdir(), "greenroom-cluster-"));
    folders.push(folder);
    this.masters = [];
    for (let n = 0; n < 3; n++) {
      const bus = String(await freePort());
      const file = join(folder, `${n}.conf`);
      this.masters.push(await new Redis("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-config-file", file).start());
    }
    for (const [n, master] of this.masters.entries()) {
      const range = [n * 16384, (n + 1) * 16384].map((slots) => Math.floor(slots / 3));
      master.command("CLUSTER", "ADDSLOTSRANGE", String(range[0]), String(range[1] - 1));
      master.command("CLUSTER", "SET-CONFIG-EPOCH", String(n + 1));
    }
    const [first, ...others] = this.masters;
    const bus = first.settings[first.settings.indexOf("--cluster-port") + 1];
    for (const other of others) other.command("CLUSTER", "MEET", "127.0.0.1", String(first.port), bus);
  }

  get url() {
    return this.masters.map((master) => master.url).join(",");
  }

  /** What each of them says. */
  command(...args) {
    return this.masters.map((master) => master.command(...args)).join("\n");
  }

  async stop() {
    for (const master of this.masters) await master.stop();
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
      ? [process.execPath, ["--require", here("cluster_node.cjs"), here("reference/reference.mjs")]]
      : [testbed, []];
  }

  /** Ends it at once, as a machine that loses its power. */
  async kill() {
    await stop(this.child, "SIGKILL");
  }
}
