// The server under load, the official client, and frames by hand.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../tests/e2e/package.json", import.meta.url));
export const { io } = require("socket.io-client");
export const { WebSocket } = require("ws");
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Server {
  stderr = "";
  alive = true;
  #idle;
  #env;

  constructor(env = {}) {
    this.#env = env;
  }

  async start() {
    // Heartbeats are frequent; a client on a busy machine has its usual time to answer.
    const env = { ...process.env, PORT: "0", HOST: "127.0.0.1", PING_INTERVAL: "5000", PING_TIMEOUT: "20000", CONNECT_TIMEOUT: "5000", ...this.#env };
    this.child = spawn(process.env.TESTBED, [], { env, stdio: ["ignore", "pipe", "pipe"] });
    this.child.stderr.setEncoding("utf8").on("data", (text) => (this.stderr = (this.stderr + text).slice(-100_000)));
    this.child.once("exit", () => (this.alive = false));
    this.port = await new Promise((resolve, reject) => {
      this.child.stdout.setEncoding("utf8").on("data", (text) => /^listening on .*:(\d+)$/m.test(text) && resolve(Number(RegExp.$1)));
      this.child.once("exit", () => reject(new Error(`the server ended at once\n${this.stderr}`)));
      this.child.once("error", reject);
    });
    this.url = `http://127.0.0.1:${this.port}`;
    // Once its workers and namespaces are there.
    const first = io(`${this.url}/bench`, { transports: ["websocket"], forceNew: true, reconnection: false });
    await new Promise((resolve) => first.once("connect", resolve));
    first.disconnect();
    await this.settled(6);
    this.#idle = this.#read();
    return this;
  }

  #read() {
    const proc = `/proc/${this.child.pid}`;
    return { rss: Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`${proc}/status`, "utf8"))[1]), fds: readdirSync(`${proc}/fd`).length };
  }

  /** Resident memory in KiB and open files, and as they were before the first client. */
  sample() {
    return this.alive ? { ...this.#read(), idle: this.#idle } : { rss: 0, fds: 0, idle: this.#idle };
  }

  /** Waits until the number of open files has not gone down for as long as a dead client lives, a minute at most. */
  async settled(halfSeconds = 56) {
    let least = Infinity;
    for (let quiet = 0, all = 0; quiet < halfSeconds && all < 120 && this.alive; quiet++, all++) {
      const { fds } = this.#read();
      if (fds < least) {
        least = fds;
        quiet = 0;
      }
      await sleep(500);
    }
  }

  async stop() {
    if (!this.alive) return;
    const gone = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGTERM");
    await Promise.race([gone, sleep(5000).then(() => this.child.kill("SIGKILL"))]);
  }
}

export const upgrade = (path) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n\r\n`;

/** A frame as a client sends it. */
export function frame(payload, { opcode = 1, fin = true, mask = true } = {}) {
  const data = Buffer.from(payload);
  const size = data.length;
  let head = Buffer.from([0, size]);
  if (size >= 126) {
    head = Buffer.alloc(size < 65536 ? 4 : 10);
    if (size < 65536) head.writeUInt16BE(size, 2);
    else head.writeBigUInt64BE(BigInt(size), 2);
    head[1] = size < 65536 ? 126 : 127;
  }
  head[0] = (fin ? 0x80 : 0) | opcode;
  if (!mask) return Buffer.concat([head, data]);
  head[1] |= 0x80;
  const key = randomBytes(4);
  return Buffer.concat([head, key, data.map((byte, i) => byte ^ key[i & 3])]);
}
