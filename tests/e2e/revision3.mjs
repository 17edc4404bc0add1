// Clients of Engine.IO 3 and Socket.IO 2: by hand, and the official ones.
import nodeHttp from "node:http";
import io from "socket.io-client-v2";
import { assert, within, until, show, Inbox, Ws, DEADLINE, sleep } from "./support.mjs";

/** One request on a connection of its own; the answer's body is a buffer. */
export function request(server, { method = "GET", path, headers = {}, body }) {
  const answer = new Promise((resolve, reject) => {
    const sent = nodeHttp.request({ host: server.host, port: server.port, method, path, headers, agent: false }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => {
        const bytes = Buffer.concat(chunks);
        resolve({ status: response.statusCode, headers: response.headers, bytes, text: bytes.toString() });
      });
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
  answer.catch(() => {});
  return within(answer, `${method} ${path}`, 15000);
}

/** A text body: the length of each packet in UTF-16 code units, a colon, the packet. */
export const payload = (...packets) => packets.map((packet) => `${packet.length}:${packet}`).join("");

export function packets(text) {
  const list = [];
  for (let rest = text; rest !== "";) {
    const colon = rest.indexOf(":");
    const length = Number(rest.slice(0, colon));
    assert.match(rest.slice(0, colon), /^\d+$/, show(text));
    assert.ok(rest.length >= colon + 1 + length, show(text));
    list.push(rest.slice(colon + 1, colon + 1 + length));
    rest = rest.slice(colon + 1 + length);
  }
  return list;
}

/** A body of octets, from strings and buffers (the type is before the data, as a byte). */
export function octets(...list) {
  return Buffer.concat(list.map((packet) => {
    const data = Buffer.from(packet);
    const digits = [...String(data.length)].map(Number);
    return Buffer.concat([Buffer.from([typeof packet === "string" ? 0 : 1, ...digits, 255]), data]);
  }));
}

/** A session on long-polling, driven by hand. */
export class Polling3 {
  static async open(server, { path = "/engine.io/", query = "&b64=1" } = {}) {
    const session = new Polling3();
    const answer = await request(server, { path: `${path}?EIO=3&transport=polling${query}` });
    assert.equal(answer.status, 200, answer.text);
    const [open, ...rest] = packets(answer.text);
    assert.equal(open[0], "0");
    session.server = server;
    session.opening = answer;
    session.early = rest;
    session.handshake = JSON.parse(open.slice(1));
    session.sid = session.handshake.sid;
    session.path = `${path}?EIO=3&transport=polling&sid=${session.sid}`;
    return session;
  }

  get() {
    return request(this.server, { path: this.path });
  }

  post(body, type = "text/plain;charset=UTF-8") {
    return request(this.server, { method: "POST", path: this.path, body, headers: { "content-type": type } });
  }

  async send(...list) {
    const answer = await this.post(payload(...list));
    assert.deepEqual([answer.status, answer.text], [200, "ok"]);
  }

  async poll() {
    const answer = await this.get();
    assert.equal(answer.status, 200, answer.text);
    return packets(answer.text);
  }

  /** Polls until `count` packets other than noops have come. */
  async receive(count) {
    const list = this.early.splice(0);
    while (list.length < count) list.push(...(await this.poll()).filter((p) => p !== "6"));
    assert.equal(list.length, count, show(list));
    return list;
  }

  async hold() {
    const answer = this.get();
    answer.catch(() => {});
    await sleep(100); // no event tells that a poll has arrived
    return { answer };
  }

  async expectAlive() {
    await this.send("4alive");
    assert.deepEqual(await this.receive(1), ["4alive"]);
  }

  async expectGone() {
    const gone = '{"code":1,"message":"Session ID unknown"}';
    await until(() => this.get(), (a) => a.status === 400 && a.text === gone, "end of the session");
  }
}

/** A session opened by WebSocket, driven by hand. */
export async function ws3(t, server, { path = "/engine.io/", query = "" } = {}) {
  const ws = await Ws.open(t, server, `${path}?EIO=3&transport=websocket${query}`);
  ws.handshake = JSON.parse((await ws.text("0")).slice(1));
  ws.sid = ws.handshake.sid;
  return ws;
}

/** A client of Socket.IO 2 that is not awaited. Its events go to `socket.inbox` as `[event, ...args]`. */
export function dial2(t, server, nsp = "/", options = {}) {
  const socket = io(server.url + nsp, { forceNew: true, reconnection: false, transports: ["websocket"], timeout: DEADLINE, ...options });
  return adopt(t, socket);
}

/** Another namespace on the connection of `socket`. */
export const also2 = (t, socket, nsp, query) => adopt(t, socket.io.socket(nsp, query && { query }));

function adopt(t, socket) {
  socket.inbox = new Inbox();
  const deliver = socket.onevent;
  socket.onevent = function (packet) {
    this.inbox.push([...packet.data]);
    deliver.call(this, packet);
  };
  socket.gone = new Promise((resolve) => socket.on("disconnect", (reason) => resolve(reason)));
  t.after(() => socket.close());
  return socket;
}

/** Waits for the connection; rejects with what the `error` event of Socket.IO 2 carries. */
export function up2(socket) {
  if (socket.connected) return Promise.resolve(socket);
  return within(new Promise((resolve, reject) => {
    const refuse = (kind) => (data) => reject(Object.assign(new Error(`${kind}: ${data?.message ?? show(data)}`), { kind, data }));
    socket.once("connect", () => resolve(socket));
    socket.once("error", refuse("error"));
    socket.once("connect_error", refuse("connect_error"));
  }), `connect to ${socket.nsp}`);
}

export async function client2(t, server, nsp, options = {}) {
  const socket = dial2(t, server, nsp, options);
  const upgraded = options.transports?.length === 2
    ? within(new Promise((resolve) => socket.io.engine.once("upgrade", resolve)), "upgrade") : null;
  upgraded?.catch(() => {});
  await up2(socket);
  await upgraded;
  return socket;
}

/** What the server refused a client with. */
export async function refusal2(socket) {
  const outcome = await up2(socket).then(() => null, (error) => error);
  assert.ok(outcome, `${socket.nsp} was not refused`);
  return outcome;
}

/** All arguments of the acknowledgement. */
export const call2 = (socket, event, ...args) =>
  within(new Promise((resolve) => socket.emit(event, ...args, (...answer) => resolve(answer))), `ack of ${event}`);

/** An operation of the remote control. */
export async function ask2(socket, operation, params = {}) {
  const [answer] = await call2(socket, operation, params);
  if (answer?.error !== undefined) throw new Error(answer.error);
  return answer.ok;
}

/** The arguments of the next event of that name. */
export async function next2(socket, name) {
  const [, ...args] = await socket.inbox.take(([event]) => event === name, `event "${name}"`);
  return args;
}
