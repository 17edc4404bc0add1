// A server with an admin interface, ours or the reference's, and clients that speak as the Admin UI does.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { TARGET, until, within } from "./support.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const testbed = process.env.TESTBED ?? here("../../target/release/examples/testbed");

/** A port that nobody has now. */
async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Starts examples/admin.rs or reference/admin.mjs; it ends with the test. */
export async function startAdmin(t, env = {}, target = TARGET) {
  const port = await freePort();
  const [command, args] =
    target === "reference" ? [process.execPath, [here("reference/admin.mjs")]] : [`${dirname(testbed)}/admin`, []];
  const child = spawn(command, args, {
    env: { ...process.env, HOST: "127.0.0.1", PORT: String(port), SERVER_ID: "test", ...env },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const exited = once(child, "exit");
  const clients = [];
  t.after(async () => {
    for (const client of clients) client.disconnect();
    child.kill("SIGKILL");
    await exited;
  });
  const url = `http://127.0.0.1:${port}`;
  const answers = () => fetch(url).then(() => true, () => false);
  await until(answers, Boolean, "the server answers", 30_000);

  const dial = (namespace, options) => {
    const client = io(url + namespace, { forceNew: true, reconnection: false, ...options });
    clients.push(client);
    return client;
  };
  return { url, dial, admin: (options) => new Admin(dial("/admin", options)), client: (options) => joined(dial("/", options)) };
}

async function joined(client) {
  await within(new Promise((resolve, reject) => client.once("connect", resolve).once("connect_error", reject)), "connect");
  return client;
}

/** What an admin is told. */
class Admin {
  seen = [];

  constructor(socket) {
    this.socket = socket;
    socket.onAny((name, ...args) => this.seen.push({ name, args }));
  }

  async ready() {
    await joined(this.socket);
    return this;
  }

  refused() {
    return within(new Promise((resolve) => this.socket.once("connect_error", (error) => resolve(error.message))), "a refusal");
  }

  /** The first message that this is true of, past or to come. */
  async told(name, wanted = () => true) {
    const find = () => this.seen.find((one) => one.name === name && wanted(...one.args));
    return (await until(find, Boolean, `${name} of ${this.seen.map((one) => one.name).join(" ")}`)).args;
  }

  count(name) {
    return this.seen.filter((one) => one.name === name).length;
  }
}

export const keys = (object) => Object.keys(object).sort();

export function assertTime(text) {
  assert.match(text, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.ok(Math.abs(Date.now() - Date.parse(text)) < 60_000, text);
}
