// What every test file shares: the server under test, clients of every kind, and ways to wait for what must happen.
//
// TARGET=greenroom (default) starts $TESTBED (default ../../target/release/examples/testbed);
// TARGET=reference starts reference/reference.mjs. E2E_STDERR=1 shows the stderr of the servers.
import { test as nodeTest, before, after, describe } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import nodeHttp from "node:http";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { WebSocket } from "ws";

export { describe, assert };

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export const TARGET = process.env.TARGET ?? "greenroom";
if (TARGET !== "greenroom" && TARGET !== "reference") throw new Error(`TARGET=${TARGET}?`);
export const isReference = TARGET === "reference";

/** How long anything that must happen may take. */
export const DEADLINE = 8000;
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// ---------------------------------------------------------------- tests

/** A test with a time limit. */
export function test(name, options, fn) {
  if (typeof options === "function") [options, fn] = [{}, options];
  return nodeTest(name, { timeout: 30000, ...options }, fn);
}

/** A deliberate deviation from the reference: skipped there, with the reason (E2E_ALL=1 shows how it fails). */
export function greenroomOnly(name, reason, options, fn) {
  if (typeof options === "function") [options, fn] = [{}, options];
  return test(name, { ...options, skip: isReference && !process.env.E2E_ALL ? `deviation: ${reason}` : false }, fn);
}

/** Waits until `read()` gives a value that `good` accepts; for what the server does on its own time. */
export async function until(read, good, what = "condition", ms = DEADLINE) {
  const begin = Date.now();
  for (;;) {
    const value = await read();
    if (good(value)) return value;
    const took = Date.now() - begin;
    if (took > ms) throw new Error(`${what}: still ${show(value)} after ${ms} ms`);
    await sleep(took < 50 ? 1 : 10);
  }
}

export function show(value, limit = 400) {
  const text = JSON.stringify(value, (_, v) => (v?.type === "Buffer" ? { bytes: v.data.slice(0, 40) } : v)) ?? String(value);
  return text.length > limit ? `${text.slice(0, limit)}…` : text;
}

/** Rejects after `ms` with the text of `what()`. */
export async function within(promise, what, ms = DEADLINE) {
  let timer;
  try {
    return await Promise.race([
      promise,
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${typeof what === "function" ? what() : what}: nothing after ${ms} ms`)), ms);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

/** What arrived and was not taken yet. */
export class Inbox {
  items = [];
  waiters = [];
  ended = null;

  push(item) {
    const i = this.waiters.findIndex((w) => w.match(item));
    if (i < 0) this.items.push(item);
    else this.waiters.splice(i, 1)[0].resolve(item);
  }

  end(error) {
    this.ended ??= error;
    for (const w of this.waiters.splice(0)) w.reject(this.ended);
  }

  /** The first item that matches, now or later; taken out. */
  async take(match = () => true, what = "an item", ms = DEADLINE) {
    const i = this.items.findIndex(match);
    if (i >= 0) return this.items.splice(i, 1)[0];
    if (this.ended) throw new Error(`${what}: ${this.ended.message}; have ${show(this.items)}`);
    let waiter;
    const found = new Promise((resolve, reject) => {
      waiter = { match, resolve, reject };
      this.waiters.push(waiter);
    });
    try {
      return await within(found, () => `${what}; have ${show(this.items)}`, ms);
    } finally {
      const at = this.waiters.indexOf(waiter);
      if (at >= 0) this.waiters.splice(at, 1);
    }
  }

  takeAll() {
    return this.items.splice(0);
  }
}

// ---------------------------------------------------------------- the server

export class Server {
  /** `allowPanics`: the test provokes them. Otherwise a panic on stderr fails `stop()`. `openFiles`: as many as the process may have. */
  constructor(env = {}, { allowPanics = false, openFiles } = {}) {
    this.openFiles = openFiles;
    this.env = env;
    this.allowPanics = allowPanics;
    this.stderr = "";
  }

  /** The program and its arguments. */
  get command() {
    return isReference
      ? [process.execPath, [here("reference/reference.mjs")]]
      : [process.env.TESTBED ?? here("../../target/release/examples/testbed"), []];
  }

  async start() {
    const [command, args] = this.command;
    const env = { ...process.env, RUST_BACKTRACE: "1", PORT: "0", HOST: "127.0.0.1", ...this.env };
    delete env.NODE_TEST_CONTEXT;
    const limited = ["-c", `ulimit -n ${this.openFiles} && exec "$0" "$@"`, command, ...args];
    this.child = spawn(...(this.openFiles ? ["sh", limited] : [command, args]), { env, stdio: ["ignore", "pipe", "pipe"] });
    this.exited = new Promise((resolve) => {
      this.child.once("exit", (code, signal) => resolve({ code, signal }));
      this.child.once("error", (error) => resolve({ error: error.message }));
    });
    this.child.stderr.setEncoding("utf8").on("data", (text) => {
      if (process.env.E2E_STDERR) process.stderr.write(text);
      this.stderr = (this.stderr + text).slice(-200_000);
    });
    let out = "";
    const ready = new Promise((resolve) => {
      this.child.stdout.setEncoding("utf8").on("data", (text) => {
        out += text;
        const match = /^listening on (.+):(\d+)$/m.exec(out);
        if (match) resolve(match);
      });
    });
    const early = this.exited.then((how) => {
      throw new Error(`the server ended at once: ${show(how)}\n${this.stderr}`);
    });
    early.catch(() => {});
    const [, host, port] = await within(Promise.race([ready, early]), "start of the server", 15000);
    this.host = host;
    this.port = Number(port);
    this.url = `http://${host}:${port}`;
    this.wsUrl = `ws://${host}:${port}`;
    return this;
  }

  get alive() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** SIGTERM; must end with status 0 within two seconds. */
  async stop() {
    if (!this.child) return;
    if (!this.alive) throw new Error(`the server had died: ${show(await this.exited)}\n${this.stderr}`);
    const begin = Date.now();
    this.child.kill("SIGTERM");
    try {
      const how = await within(this.exited, "exit after SIGTERM", 4000);
      const took = Date.now() - begin;
      assert.deepEqual(how, { code: 0, signal: null }, `exit status\n${this.stderr.slice(-2000)}`);
      assert.ok(took < 2000, `exit took ${took} ms`);
      if (!this.allowPanics) {
        const panic = /.*panicked at[^]{0,600}/.exec(this.stderr);
        assert.equal(panic?.[0], undefined, "a panic in the server");
      }
    } finally {
      this.child.kill("SIGKILL");
    }
  }
}

/** A server for the tests of the enclosing `describe` (or file). */
export function useServer(env = {}, options = {}) {
  const server = new Server(env, options);
  before(() => server.start(), { timeout: 20000 });
  after(() => server.stop(), { timeout: 20000 });
  return server;
}

/** A server for one test. */
export async function startServer(t, env = {}, options = {}) {
  const server = await new Server(env, options).start();
  t.after(() => server.alive && server.stop());
  return server;
}

// ---------------------------------------------------------------- official client

export const TRANSPORTS = {
  polling: { transports: ["polling"] },
  websocket: { transports: ["websocket"] },
  upgrade: { transports: ["polling", "websocket"] },
};

/** Runs a group of tests once per way of connecting. */
export function overTransports(title, body, options = {}) {
  for (const [name, transport] of Object.entries(TRANSPORTS)) describe(`${title}, ${name}`, options, () => body(transport, name));
}

/** A Socket.IO client that is not awaited. Its events go to `socket.inbox` as `[event, ...args]`. */
export function dial(t, server, nsp = "/", options = {}) {
  const socket = io(server.url + nsp, {
    forceNew: true, reconnection: false, transports: ["websocket"], timeout: DEADLINE, ...options,
  });
  return adopt(t, socket);
}

/** Another namespace on the connection of `socket`. */
export function alsoDial(t, socket, nsp, auth) {
  return adopt(t, socket.io.socket(nsp, { auth }));
}

function adopt(t, socket) {
  socket.inbox = new Inbox();
  socket.onAny((...event) => socket.inbox.push(event));
  socket.gone = new Promise((resolve) => socket.on("disconnect", (reason, details) => resolve({ reason, details })));
  t.after(() => socket.disconnect());
  return socket;
}

/** Waits for the connection; rejects with the connect_error. */
export function up(socket) {
  if (socket.connected) return Promise.resolve(socket);
  return within(
    new Promise((resolve, reject) => {
      socket.once("connect", () => resolve(socket));
      socket.once("connect_error", reject);
    }),
    `connect to ${socket.nsp}`,
  );
}

/** The connect_error of a client that must be refused. */
export async function refusal(socket) {
  const outcome = await up(socket).then(() => null, (error) => error);
  assert.ok(outcome, `${socket.nsp} was not refused`);
  return outcome;
}

/** A connected client; with both transports, one that has finished its upgrade. */
export async function client(t, server, nsp = "/", options = {}) {
  const socket = dial(t, server, nsp, options);
  const upgraded = options.transports?.length === 2 ? upgradeOf(socket) : null;
  upgraded?.catch(() => {});
  await up(socket);
  if (upgraded) await upgraded;
  return socket;
}

export async function clients(t, server, count, nsp, options) {
  return Promise.all(Array.from({ length: count }, () => client(t, server, nsp, options)));
}

export async function alsoClient(t, socket, nsp, auth) {
  return up(alsoDial(t, socket, nsp, auth));
}

export function upgradeOf(socket) {
  const done = new Promise((resolve) => {
    const watch = () => socket.io.engine.once("upgrade", resolve);
    socket.io.engine ? watch() : socket.io.once("open", watch);
  });
  return within(done, "upgrade");
}

/** The arguments of the next event of that name. */
export async function next(socket, name, ms = DEADLINE) {
  const [, ...args] = await socket.inbox.take(([event]) => event === name, `event "${name}"`, ms);
  return args;
}

/** The next event, whatever it is, as `[event, ...args]`. */
export const nextAny = (socket) => socket.inbox.take(() => true, "any event");

export async function take(socket, name, count) {
  const list = [];
  for (let i = 0; i < count; i++) list.push(await next(socket, name));
  return list;
}

/** Asks for an acknowledgement: the first value of it. */
export const call = (socket, event, ...args) => socket.timeout(DEADLINE).emitWithAck(event, ...args);

/** An operation of the remote control: its result, or a rejection with its error. */
export async function ask(socket, operation, params = {}) {
  const answer = await call(socket, operation, params);
  if (answer?.error !== undefined) throw new Error(answer.error);
  assert.ok(answer !== null && typeof answer === "object" && "ok" in answer, `answer of ${operation}: ${show(answer)}`);
  return answer.ok;
}

let fences = 0;
/**
 * Makes sure that whatever the namespace sent to these clients before has arrived, and gives the events each of them
 * has got and nobody took. `by` is a client of the same namespace with the remote control.
 */
export async function fence(by, ...sockets) {
  const n = ++fences;
  await ask(by, "emit", { to: sockets.map((s) => s.id), event: "fence", args: [n] });
  await Promise.all(sockets.map((s) => s.inbox.take(([event, x]) => event === "fence" && x === n, "fence")));
  return sockets.map((s) => s.inbox.takeAll());
}

/** Nothing was sent to these clients that the test did not take. */
export async function expectNothing(by, ...sockets) {
  for (const rest of await fence(by, ...sockets)) assert.deepEqual(rest, []);
}

/** The two entries of the disconnect log of a socket, when they are there. */
export async function farewell(observer, id, nsp) {
  const log = await until(
    () => ask(observer, "disconnectLog", { id, ...(nsp && { nsp }) }), (l) => l.length >= 2, `disconnect of ${id}`,
  );
  assert.deepEqual(log.map((e) => e.event), ["disconnecting", "disconnect"]);
  assert.equal(log[0].reason, log[1].reason);
  assert.deepEqual(log[1].rooms, []);
  return log[0];
}

export const farewellReason = async (observer, id, nsp) => (await farewell(observer, id, nsp)).reason;

// ---------------------------------------------------------------- plain HTTP

/** One request on a connection of its own (or of `agent`). The answer's body as `text` and as `bytes`. */
export function http(server, { method = "GET", path, headers = {}, body, agent = false, onRequest } = {}) {
  const answer = new Promise((resolve, reject) => {
    const request = nodeHttp.request(
      { host: server.host, port: server.port, method, path, headers, agent },
      (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("end", () => {
          const bytes = Buffer.concat(chunks);
          resolve({ status: response.statusCode, headers: response.headers, text: bytes.toString(), bytes });
        });
        response.on("error", reject);
      },
    );
    request.on("error", reject);
    if (onRequest) onRequest(request);
    else request.end(body);
  });
  answer.catch(() => {});
  return within(answer, `${method} ${path}`, 15000);
}

export const SEPARATOR = "\x1e";

/** An Engine.IO session on long-polling, driven by hand. */
export class Polling {
  static async open(server, { path = "/engine.io/", query = "", headers } = {}) {
    const session = new Polling();
    session.server = server;
    const answer = await http(server, { path: `${path}?EIO=4&transport=polling${query}`, headers });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.text[0], "0");
    session.handshake = JSON.parse(answer.text.slice(1));
    session.sid = session.handshake.sid;
    session.base = path;
    session.path = `${path}?EIO=4&transport=polling&sid=${session.sid}`;
    return session;
  }

  get(options = {}) {
    return http(this.server, { path: this.path, ...options });
  }

  post(body, options = {}) {
    return http(this.server, { method: "POST", path: this.path, body, headers: { "content-type": "text/plain;charset=UTF-8" }, ...options });
  }

  /** Posts and expects `ok`. */
  async send(...packets) {
    const answer = await this.post(packets.join(SEPARATOR));
    assert.deepEqual([answer.status, answer.text], [200, "ok"]);
  }

  /** The packets of the next poll. */
  async poll() {
    const answer = await this.get();
    assert.equal(answer.status, 200, answer.text);
    return answer.text.split(SEPARATOR);
  }

  /** Polls until `count` packets other than noops have come. */
  async receive(count) {
    const packets = [];
    while (packets.length < count) packets.push(...(await this.poll()).filter((p) => p !== "6"));
    assert.equal(packets.length, count, show(packets));
    return packets;
  }

  /** A GET that the server holds: gives `{answer}` when the server has it, as far as anyone can tell. */
  async hold() {
    const answer = this.get();
    answer.catch(() => {});
    await sleep(100); // no event tells that a poll has arrived
    return { answer };
  }

  async expectAlive() {
    const probe = `4alive-${randomBytes(4).toString("hex")}`;
    await this.send(probe);
    assert.deepEqual(await this.receive(1), [probe]);
  }

  async expectGone() {
    await until(() => this.get(), (a) => a.text === '{"code":1,"message":"Session ID unknown"}' && a.status === 400, "end of the session");
  }
}

/** Joins a namespace over raw polling; gives the session with `socketId`. */
export async function pollingSocket(server, nsp = "/rc", auth) {
  const session = await Polling.open(server, { path: "/socket.io/" });
  await session.send(`40${nsp === "/" ? "" : `${nsp},`}${auth === undefined ? "" : JSON.stringify(auth)}`);
  const [reply] = await session.receive(1);
  session.socketId = JSON.parse(reply.slice(reply.indexOf("{"))).sid;
  return session;
}

// ---------------------------------------------------------------- WebSocket, driven by hand

/** A WebSocket whose messages wait in `inbox`: strings for text, buffers for binary. */
export class Ws {
  static async open(t, server, path, options = {}) {
    const ws = new Ws(server, path, options);
    t?.after(() => ws.socket.terminate());
    await within(ws.opened, `open of ${path}`);
    return ws;
  }

  constructor(server, path, { headers, protocols, ...rest } = {}) {
    this.inbox = new Inbox();
    this.socket = new WebSocket(server.wsUrl + path, protocols ?? [], { perMessageDeflate: false, headers, ...rest });
    this.opened = new Promise((resolve, reject) => {
      this.socket.once("open", resolve);
      this.socket.once("error", reject);
    });
    this.opened.catch(() => {});
    this.socket.on("error", () => {});
    this.socket.on("message", (data, binary) => this.inbox.push(binary ? data : data.toString()));
    this.closed = new Promise((resolve) => {
      this.socket.once("close", (code, reason) => {
        this.inbox.end(new Error(`the WebSocket closed with ${code}`));
        resolve({ code, reason: reason.toString() });
      });
    });
  }

  send(data, options = {}) {
    this.socket.send(data, options);
  }

  next(ms) {
    return this.inbox.take(() => true, "a message", ms);
  }

  /** The next text that starts so. */
  text(prefix, ms) {
    return this.inbox.take((m) => typeof m === "string" && m.startsWith(prefix), `text ${prefix}…`, ms);
  }

  async closeCode() {
    return (await within(this.closed, () => `close of the WebSocket; have ${show(this.inbox.items)}`)).code;
  }

  /** An orderly close by the server that names no error. */
  async expectClosed() {
    const code = await this.closeCode();
    assert.ok([1000, 1005].includes(code), `closed with ${code}`);
  }
}

/** An Engine.IO session opened by WebSocket. */
export async function engineWs(t, server, { path = "/engine.io/", query = "", ...options } = {}) {
  const ws = await Ws.open(t, server, `${path}?EIO=4&transport=websocket${query}`, options);
  const first = await ws.text("0");
  ws.handshake = JSON.parse(first.slice(1));
  ws.sid = ws.handshake.sid;
  return ws;
}

let echoes = 0;
/** A session of /engine.io/ that answers. */
export async function expectEcho(ws) {
  const probe = `4echo-${++echoes}`;
  ws.send(probe);
  assert.equal(await ws.next(), probe);
}

/** A Socket.IO connection over WebSocket, packet by packet. */
export class Raw {
  static async connect(t, server, nsp, auth, options = {}) {
    const raw = new Raw();
    raw.ws = await engineWs(t, server, { path: "/socket.io/", ...options });
    raw.inbox = raw.ws.inbox;
    raw.ids = {};
    if (nsp) await raw.join(nsp, auth);
    return raw;
  }

  /** Sends a Socket.IO packet (the `4` is added), or an attachment. */
  send(...packets) {
    for (const packet of packets) this.ws.send(typeof packet === "string" ? `4${packet}` : packet);
  }

  next(ms) {
    return this.ws.next(ms);
  }

  async join(nsp, auth) {
    const head = nsp === "/" ? "" : `${nsp},`;
    this.send(`0${head}${auth === undefined ? "" : JSON.stringify(auth)}`);
    const reply = await this.ws.text(`40${head}{"sid"`);
    this.ids[nsp] = JSON.parse(reply.slice(2 + head.length)).sid;
    this.id ??= this.ids[nsp];
    return this.ids[nsp];
  }

  /** An operation of the remote control of that namespace. */
  async ask(nsp, operation, params = {}) {
    const id = (this.lastAck = (this.lastAck ?? 700000) + 1);
    this.send(`2${nsp},${id}${JSON.stringify([operation, params])}`);
    const reply = await this.ws.text(`43${nsp},${id}[`);
    const [answer] = JSON.parse(reply.slice(3 + nsp.length + String(id).length));
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.ok;
  }

  async expectAlive(nsp = "/rc") {
    assert.deepEqual(await this.ask(nsp, "rooms"), { self: true, rooms: [] });
  }

  expectClosed() {
    return this.ws.expectClosed();
  }
}

// ---------------------------------------------------------------- bytes on a TCP connection

export class Tcp {
  // Joined when they are looked at: a message of 16 MiB comes in hundreds.
  #chunks = [];
  #length = 0;

  /** What has come and was not taken out. */
  get received() {
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0];
  }

  set received(bytes) {
    this.#chunks = [bytes];
    this.#length = bytes.length;
  }

  static async connect(t, server) {
    const tcp = new Tcp();
    tcp.server = server;
    tcp.waiting = new Set();
    tcp.socket = net.connect(server.port, server.host);
    tcp.socket.setNoDelay(true);
    tcp.socket.on("error", () => {});
    tcp.socket.on("data", (chunk) => {
      tcp.#chunks.push(chunk);
      tcp.#length += chunk.length;
      for (const wake of tcp.waiting) wake();
    });
    tcp.closed = new Promise((resolve) => tcp.socket.once("close", resolve));
    tcp.ended = new Promise((resolve) => {
      tcp.socket.once("end", resolve);
      tcp.socket.once("close", resolve);
    });
    tcp.ended.then(() => {
      tcp.done = true;
      for (const wake of tcp.waiting) wake();
    });
    t?.after(() => tcp.socket.destroy());
    await once(tcp.socket, "connect");
    return tcp;
  }

  write(data) {
    this.socket.write(data);
  }

  /** Waits until `read(received)` gives something else than undefined; it is not asked before there are `least()` bytes. */
  async read(read, what = "bytes", ms = DEADLINE, least = () => 0) {
    let value = read(this.received);
    if (value !== undefined) return value;
    let wake;
    const found = new Promise((resolve, reject) => {
      wake = () => {
        value = this.#length < least() ? undefined : read(this.received);
        if (value !== undefined) resolve(value);
        else if (this.done) reject(new Error(`${what}: the connection ended after ${show(this.received.toString("latin1"))}`));
      };
    });
    this.waiting.add(wake);
    wake();
    try {
      return await within(found, () => `${what}; have ${show(this.received.toString("latin1"))}`, ms);
    } finally {
      this.waiting.delete(wake);
    }
  }

  /** Reads the head of an HTTP response (taken out of `received`): `{status, headers}`. */
  async head() {
    return this.read((bytes) => {
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) return undefined;
      const [line, ...rest] = bytes.subarray(0, end).toString("latin1").split("\r\n");
      this.received = bytes.subarray(end + 4);
      const headers = {};
      for (const header of rest) {
        const colon = header.indexOf(":");
        headers[header.slice(0, colon).toLowerCase()] = header.slice(colon + 1).trim();
      }
      return { line, status: Number(line.split(" ")[1]), headers };
    }, "HTTP response");
  }

  /** A WebSocket handshake by hand. */
  async upgrade(path, headers = {}) {
    const key = randomBytes(16).toString("base64");
    this.write(upgradeRequest(this.server, path, { "Sec-WebSocket-Key": key, ...headers }));
    const head = await this.head();
    if (head.status === 101) {
      const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      assert.equal(head.headers["sec-websocket-accept"], accept);
    }
    return head;
  }

  /** The next frame of the server: `{fin, rsv, opcode, payload}`. */
  async frame(ms) {
    let size = 0;
    const parse = (bytes) => {
      const found = parseFrame(bytes);
      size = found.size;
      if (!found.payload) return undefined;
      this.received = bytes.subarray(size);
      return found;
    };
    return this.read(parse, "a WebSocket frame", ms, () => size);
  }

  /** The code of the close frame, other frames being skipped; null if the connection ends without. */
  async closeCode() {
    for (;;) {
      let found;
      try {
        found = await this.frame();
      } catch (error) {
        if (this.done) return null;
        throw error;
      }
      if (found.opcode === 8) return found.payload.length < 2 ? 1005 : found.payload.readUInt16BE(0);
    }
  }
}

export function upgradeRequest(server, path, headers = {}, method = "GET") {
  const all = {
    Host: `${server.host}:${server.port}`, Connection: "Upgrade", Upgrade: "websocket",
    "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", ...headers,
  };
  const lines = Object.entries(all).filter(([, v]) => v !== undefined).map(([k, v]) => `${k}: ${v}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** A raw connection with an open Engine.IO session; its open packet is read. */
export async function tcpSession(t, server, path = "/engine.io/") {
  const tcp = await Tcp.connect(t, server);
  const head = await tcp.upgrade(`${path}?EIO=4&transport=websocket`);
  assert.equal(head.status, 101);
  const open = await tcp.frame();
  tcp.handshake = JSON.parse(open.payload.toString().slice(1));
  return tcp;
}

export const OP = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

/** A WebSocket frame as a client sends it; every field can be wrong on purpose. */
export function wsFrame(payload, { opcode = OP.text, fin = true, rsv = 0, mask = true, length } = {}) {
  const data = Buffer.from(payload);
  const size = length ?? data.length;
  let head;
  if (size < 126) head = Buffer.from([0, size]);
  else if (size < 65536) {
    head = Buffer.alloc(4);
    head[1] = 126;
    head.writeUInt16BE(size, 2);
  } else {
    head = Buffer.alloc(10);
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(size), 2);
  }
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  if (!mask) return Buffer.concat([head, data]);
  head[1] |= 0x80;
  const key = randomBytes(4);
  const masked = Buffer.from(data);
  for (let i = 0; i < masked.length; i++) masked[i] ^= key[i & 3];
  return Buffer.concat([head, key, masked]);
}

export function closePayload(code, reason = "") {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(code);
  return Buffer.concat([head, Buffer.from(reason)]);
}

/** The frame at the beginning, or no more than the least size that it has. */
function parseFrame(bytes) {
  if (bytes.length < 2) return { size: 2 };
  let size = bytes[1] & 0x7f;
  let at = 2;
  if (size === 126) {
    if (bytes.length < 4) return { size: 4 };
    size = bytes.readUInt16BE(2);
    at = 4;
  } else if (size === 127) {
    if (bytes.length < 10) return { size: 10 };
    size = Number(bytes.readBigUInt64BE(2));
    at = 10;
  }
  if (bytes.length < at + size) return { size: at + size };
  return {
    fin: (bytes[0] & 0x80) !== 0, rsv: (bytes[0] >> 4) & 7, opcode: bytes[0] & 15, masked: (bytes[1] & 0x80) !== 0,
    payload: Buffer.from(bytes.subarray(at, at + size)), size: at + size,
  };
}
