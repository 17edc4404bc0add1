// Clients of a server with PARSER=msgpack: packet by packet over WebSocket and polling, and the official one.
import { createRequire } from "node:module";
import { assert, engineWs, Polling, client, within, show } from "./support.mjs";

const require = createRequire(import.meta.url);
/** What the official client is given as `parser`. */
export const parser = require("socket.io-msgpack-parser");
const notepack = createRequire(require.resolve("socket.io-msgpack-parser"))("notepack.io");

export const encode = notepack.encode;
export const TYPE = { CONNECT: 0, DISCONNECT: 1, EVENT: 2, ACK: 3, CONNECT_ERROR: 4 };

/** A packet as the server wrote it, without what it left undefined; nothing else than the parts of a packet may be in it. */
export function decode(bytes) {
  assert.ok(Buffer.isBuffer(bytes), `a binary message, not ${show(bytes)}`);
  const packet = notepack.decode(bytes);
  for (const key of Object.keys(packet)) {
    assert.ok(["type", "nsp", "data", "id", "options"].includes(key), `${key} in ${show(packet)}`);
    if (packet[key] === undefined || key === "options") delete packet[key];
  }
  if (packet.type === TYPE.CONNECT || packet.type === TYPE.CONNECT_ERROR) {
    for (const key of Object.keys(packet.data)) if (packet.data[key] === undefined) delete packet.data[key];
  }
  return packet;
}

/** One value of the bytes, or an error. */
export const decodeValue = notepack.decode;

/** `{type, nsp, data, id}` written by hand, so that each part may be any bytes. */
export function packetOf(parts) {
  const entries = Object.entries(parts);
  return Buffer.concat([
    Buffer.from([0x80 | entries.length]),
    ...entries.flatMap(([key, value]) => [encode(key), Buffer.isBuffer(value) ? value : encode(value)]),
  ]);
}

/** A Socket.IO connection over WebSocket, packet by packet. */
export class MsgRaw {
  static async connect(t, server, nsp, auth, options = {}) {
    const raw = new MsgRaw();
    raw.ws = await engineWs(t, server, { path: "/socket.io/", ...options });
    raw.ids = {};
    if (nsp) await raw.join(nsp, auth);
    return raw;
  }

  /** Packets, or bytes as they are. */
  send(...packets) {
    for (const packet of packets) this.ws.send(Buffer.isBuffer(packet) || typeof packet === "string" ? packet : encode(packet));
  }

  async next() {
    return decode(await this.ws.next());
  }

  async join(nsp, data) {
    this.send({ type: TYPE.CONNECT, nsp, ...(data !== undefined && { data }) });
    const reply = await this.next();
    assert.deepEqual([reply.type, reply.nsp], [TYPE.CONNECT, nsp], show(reply));
    this.ids[nsp] = reply.data.sid;
    this.id ??= this.ids[nsp];
    return this.ids[nsp];
  }

  /** An operation of the remote control. */
  async ask(operation, params = {}, nsp = "/rc") {
    const id = (this.lastAck = (this.lastAck ?? 700000) + 1);
    this.send({ type: TYPE.EVENT, nsp, id, data: [operation, params] });
    const bytes = await this.ws.inbox.take((m) => {
      const packet = Buffer.isBuffer(m) && decode(m);
      return packet && packet.type === TYPE.ACK && packet.id === id && packet.nsp === nsp;
    }, `ack of ${operation}`);
    const [answer] = decode(bytes).data;
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.ok;
  }

  async expectAlive(nsp = "/rc") {
    assert.deepEqual(await this.ask("rooms", {}, nsp), { self: true, rooms: [] });
  }

  expectClosed() {
    return this.ws.expectClosed();
  }
}

/** The same over polling. */
export class MsgPolling {
  static async connect(server, nsp = "/rc", data) {
    const raw = new MsgPolling();
    raw.session = await Polling.open(server, { path: "/socket.io/" });
    raw.session.waiting = [];
    await raw.send({ type: TYPE.CONNECT, nsp, ...(data !== undefined && { data }) });
    raw.id = (await raw.next()).data.sid;
    return raw;
  }

  send(...packets) {
    return this.session.send(...packets.map((p) => `b${encode(p).toString("base64")}`));
  }

  async next() {
    const { waiting } = this.session;
    while (waiting.length === 0) waiting.push(...(await this.session.poll()).filter((p) => p !== "6" && p !== "2"));
    const packet = waiting.shift();
    assert.equal(packet[0], "b", packet);
    return decode(Buffer.from(packet.slice(1), "base64"));
  }
}

/** The official client with the parser. */
export const msgClient = (t, server, nsp = "/rc", options = {}) => client(t, server, nsp, { parser, ...options });

/** Sends an event that is echoed without an ack, and gives the bytes that come back. */
export async function echoedBytes(raw, value) {
  raw.ws.send(packetOf({ type: TYPE.EVENT, nsp: "/rc", data: Buffer.concat([Buffer.from([0x92]), encode("echo"), value]) }));
  return within(raw.ws.next(), "the echo");
}
