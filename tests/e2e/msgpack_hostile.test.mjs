// PARSER=msgpack: how a connection ends that sends what is no packet, what is reported of it, and that nobody else notices.
import { randomBytes } from "node:crypto";
import {
  test, greenroomOnly, assert, describe, useServer, client, ask, call, farewellReason, refusal, dial, within, Polling, next, up,
} from "./support.mjs";
import { MsgRaw, MsgPolling, msgClient, parser, packetOf, encode, TYPE } from "./msgpack.mjs";
import { beside, MB } from "./beside.mjs";

const server = useServer({ PARSER: "msgpack" });
const hex = (text) => Buffer.from(text.replaceAll(" ", ""), "hex");
const events = (data) => packetOf({ type: TYPE.EVENT, nsp: "/rc", data });
const times = (count, bytes) => Buffer.alloc(hex(bytes).length * count, hex(bytes));
/** An event "echo" with one argument of these bytes. */
const echo = (...parts) => events(Buffer.concat([hex("92 a4 6563686f"), ...parts]));
const good = encode({ type: TYPE.EVENT, nsp: "/rc", data: ["echo", "x"] });

/** The connection must end as a protocol error does; `message`: the text of the error event, null: any. */
async function expectError(t, packets, message, reason = /^forced close$/) {
  const observer = await msgClient(t, server);
  const raw = await MsgRaw.connect(t, server, "/rc");
  const other = await raw.join("/rc2");
  const neighbour = await MsgRaw.connect(t, server, "/rc");
  raw.send(...packets);
  await raw.expectClosed();
  assert.match(await farewellReason(observer, raw.id), reason);
  assert.match(await farewellReason(observer, other, "/rc2"), reason);
  const log = await ask(observer, "errorLog", { id: raw.id });
  assert.equal(log.length, message === undefined ? 0 : 1);
  if (message) assert.equal(log[0].message, message);
  else if (message === null) assert.ok(log[0].message.length > 0);
  await neighbour.expectAlive();
}

describe("bytes that are no msgpack: error event, forced close", { concurrency: 4 }, () => {
  for (const [what, bytes] of [
    ["nothing", Buffer.alloc(0)], ["the byte that is never used", hex("c1")], ["that byte as a value", echo(hex("c1"))],
    ["a packet cut short", good.subarray(0, -3)], ["a packet of its first byte", good.subarray(0, 1)],
    ["a length cut short", hex("dd 00 00")], ["a float cut short", echo(hex("cb 00 00"))], ["an ext cut short", echo(hex("d8 05 00"))],
    ["a byte too many", Buffer.concat([good, hex("c0")])], ["two packets in one message", Buffer.concat([good, good])],
    ["an array of 2^32-1", hex("dd ffffffff")], ["the same as a value", echo(hex("dd ffffffff"))], ["a map of 2^32-1", echo(hex("df ffffffff"))],
    ["a string of 2^32-1 bytes", echo(hex("db ffffffff"))], ["a binary of 2^32-1 bytes", echo(hex("c6 ffffffff"))],
    ["an array of 65,535 in an array of 65,535, and nothing in it", echo(hex("dc ffff dc ffff dc ffff"))],
    ["a map of 2^31 as the packet", hex("df 80000000")],
  ]) test(what, (t) => expectError(t, [bytes], null));

  greenroomOnly("an ext of 2^32-1 bytes", "the reference allocates them", (t) => expectError(t, [echo(hex("c9 ffffffff 00"))], null));
});

describe("msgpack that is no packet", { concurrency: 4 }, () => {
  const CASES = [
    ["nil", hex("c0"), null], ["undefined", hex("d40000"), null], ["a number", hex("07"), "invalid packet type"],
    ["a list", hex("93 02 01 03"), "invalid packet type"], ["a text", encode("hello"), "invalid packet type"], ["an empty map", hex("80"), "invalid packet type"],
    ...["2", 5, 6, 9, -1, 2.5, null, undefined, [2], true, 2 ** 40].map((type) =>
      [`the type ${typeof type === "string" ? `"${type}"` : JSON.stringify(type)}`, packetOf({ type, nsp: "/rc", data: ["echo", 1] }), "invalid packet type"]),
    ...[undefined, null, 1, ["/rc"], {}, Buffer.from("/rc")].map((nsp) =>
      [`the namespace ${JSON.stringify(nsp)}`, packetOf({ type: TYPE.EVENT, nsp: encode(nsp), data: ["echo", 1] }), "invalid namespace"]),
    ["no namespace", packetOf({ type: TYPE.EVENT, data: ["echo", 1] }), "invalid namespace"],
    ...[null, "1", 1.5, [1], true, NaN, {}].map((id) =>
      [`the id ${JSON.stringify(id)}`, packetOf({ type: TYPE.EVENT, nsp: "/rc", data: ["echo", 1], id }), "invalid packet id"]),
    ...[["CONNECT", "/dyn-1", [null, "x", [], 1, true, new Date(0), Buffer.from("x")]],
      ["DISCONNECT", "/rc", [null, "x", [], {}, 1]],
      ["EVENT", "/rc", [undefined, null, "echo", { 0: "echo" }, 1]],
      ["ACK", "/rc", [undefined, null, "x", {}, 1]],
      ["CONNECT_ERROR", "/rc", [undefined, null, 1, []]]].flatMap(([type, nsp, list]) => list.map((data) =>
      [`${type} with ${JSON.stringify(data)}`, packetOf({ type: TYPE[type], nsp, data: encode(data) }), "invalid payload"])),
    ["an EVENT without data", packetOf({ type: TYPE.EVENT, nsp: "/rc" }), "invalid payload"],
  ];
  for (const [what, bytes, message] of CASES) test(`${what}: ${message ?? "an error"}`, (t) => expectError(t, [bytes], message));

  for (const name of ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]) {
    greenroomOnly(`the reserved event name ${name}: invalid payload`, "this parser of the reference does not look at names", (t) =>
      expectError(t, [events(encode([name, "x"]))], "invalid payload"));
  }
  for (const data of [[], [null], [true], [{}], [["echo"]], [Buffer.from("echo")], [undefined]]) {
    greenroomOnly(`the event name ${JSON.stringify(data[0])}: invalid payload`, "this parser of the reference does not look at names", (t) =>
      expectError(t, [events(encode(data))], "invalid payload"));
  }
});

describe("packets at the wrong time close the connection, without an error event", { concurrency: 4 }, () => {
  for (const [what, packet] of [
    ["CONNECT to a namespace that was joined", { type: TYPE.CONNECT, nsp: "/rc" }],
    ["an event of a namespace that was not joined", { type: TYPE.EVENT, nsp: "/custom", data: ["message", 1] }],
    ["an event of an unknown namespace", { type: TYPE.EVENT, nsp: "/nowhere", data: ["message", 1] }],
    ["a CONNECT_ERROR", { type: TYPE.CONNECT_ERROR, nsp: "/rc", data: { message: "no" } }],
    ["a CONNECT_ERROR with a text", { type: TYPE.CONNECT_ERROR, nsp: "/rc", data: "no" }],
  ]) test(what, (t) => expectError(t, [encode(packet)], undefined, /^forced (server )?close$/));
});

describe("text", { concurrency: 4 }, () => {
  for (const packet of ['42/rc,["echo",1]', "40/rc2,", "41/rc,", "451-/rc,[]", "4", "4x"]) {
    test(`the packet ${packet} of the default parser: an error`, (t) => expectError(t, [packet], null));
  }

  test("a base64 packet in a text frame is binary", async (t) => {
    const raw = await MsgRaw.connect(t, server, "/rc");
    raw.send(`b${good.toString("base64")}`);
    assert.deepEqual((await raw.next()).data, ["echo-back", "x"]);
  });

  test("a client with the default parser gets no connection, over either transport", async (t) => {
    for (const transports of [["polling"], ["websocket"]]) {
      const socket = dial(t, server, "/rc", { transports });
      const closed = new Promise((resolve) => socket.io.once("close", resolve));
      socket.once("connect", () => assert.fail("connected"));
      await within(closed, "the end of the connection");
      assert.equal(socket.connected, false);
    }
  });

  test("over polling", async (t) => {
    const observer = await msgClient(t, server);
    const raw = await MsgPolling.connect(server);
    await raw.session.send('42/rc,["echo",1]');
    await raw.session.expectGone();
    assert.equal(await farewellReason(observer, raw.id), "forced close");
    assert.equal((await ask(observer, "errorLog", { id: raw.id })).length, 1);
  });

  test("packets before the bad one are answered, none after it", async (t) => {
    const raw = await MsgRaw.connect(t, server, "/rc");
    raw.send(good, good);
    for (let i = 0; i < 2; i++) assert.deepEqual((await raw.next()).data, ["echo-back", "x"]);
    raw.send(hex("c1"), good);
    await raw.expectClosed();
    assert.deepEqual(raw.ws.inbox.takeAll(), []);
  });
});

describe("a server with the default parser", () => {
  const plain = useServer();
  test("a msgpack client gets no connection, and its packet is an error", async (t) => {
    const raw = await MsgRaw.connect(t, plain);
    raw.send({ type: TYPE.CONNECT, nsp: "/rc" });
    await raw.expectClosed();
    const socket = dial(t, plain, "/rc", { parser });
    const closed = new Promise((resolve) => socket.io.once("close", resolve));
    await within(closed, "the end of the connection");
    assert.equal(await call(await client(t, plain, "/rc"), "echo", 1), 1);
  });

  test("the Engine.IO endpoint of a msgpack server echoes whatever comes", async () => {
    const session = await Polling.open(server);
    await session.expectAlive();
    await session.send(`b${hex("c1").toString("base64")}`, "4text");
    assert.deepEqual(await session.receive(2), ["bwQ==", "4text"]);
  });
});

describe("attacks", () => {
  const attack = (t, body, options) => beside(t, server, body, { options: { parser }, ...options });
  /** The answer or the end of the connection: either will do. */
  const settled = (raw) => within(Promise.race([raw.ws.closed, raw.ws.next().catch(() => {})]), "an answer or the end");

  test("nesting 10,000 and 900,000 deep, of arrays and of maps: the end of that connection at most", (t) => attack(t, async () => {
    for (const bytes of [
      echo(Buffer.alloc(10_000, 0x91), hex("c0")), echo(Buffer.alloc(900_000, 0x91), hex("c0")),
      echo(times(10_000, "81 a161"), hex("c0")), echo(times(250_000, "81 a161"), hex("c0")),
      Buffer.alloc(900_000, 0x91), Buffer.alloc(900_000, 0x81), echo(times(100_000, "dd 00000001"), hex("c0")),
    ]) {
      const raw = await MsgRaw.connect(t, server, "/rc");
      raw.send(bytes);
      await settled(raw);
    }
  }));

  greenroomOnly("huge lengths nested in huge lengths", "the reference allocates what is claimed", (t) => attack(t, async () => {
    for (const head of ["dd ffffffff", "df 7fffffff a161", "dd 00ffffff", "dc ffff"]) {
      const raw = await MsgRaw.connect(t, server, "/rc");
      raw.send(echo(times(5000, head)));
      await raw.expectClosed();
    }
  }));

  // one byte of input must not become hundreds of bytes of memory for long
  test("900,000 elements of one byte each, ten clients", { timeout: 60000 }, (t) => attack(t, async () => {
    for (const element of ["c0", "90", "80", "a0"]) {
      for (let i = 0; i < 10; i++) {
        const raw = await MsgRaw.connect(t, server, "/rc");
        raw.send(events(Buffer.concat([hex("92"), encode("no-ack"), hex("dd 000dbba0"), Buffer.alloc(900_000, hex(element))])));
        await raw.expectAlive();
        raw.ws.socket.terminate();
      }
    }
  }, { growth: 400 * MB }));

  test("maps with the same key again and again, with keys of every kind, and with names of prototypes", (t) => attack(t, async () => {
    for (const bytes of [
      echo(hex("df 00030d40"), times(200_000, "a161 01")), echo(hex("81 01 a162")), echo(hex("81 c0 01")), echo(hex("81 9101 02")),
      echo(hex("81 80 01")), echo(hex("81"), encode("__proto__"), hex("81 a161 01")), echo(hex("81"), encode("constructor"), hex("01")),
      echo(hex("81 c4026162 01")), echo(hex("82 a161 01 a161 02")),
      Buffer.concat([hex("84"), encode("__proto__"), encode({ type: 2 }), encode("type"), hex("02"), encode("nsp"), encode("/rc"), encode("data"), encode(["echo"])]),
    ]) {
      const raw = await MsgRaw.connect(t, server, "/rc");
      raw.send(bytes);
      await settled(raw);
    }
    const after = await MsgRaw.connect(t, server, "/rc");
    assert.deepEqual(await after.ask("data"), { mw: ["a", "b"] });
  }));

  test("text that is no UTF-8, odd ids, odd extensions, the types twice", (t) => attack(t, async () => {
    for (const bytes of [
      echo(hex("a2 fffe")), echo(hex("a1 ed")), echo(hex("a3 eda080")), packetOf({ type: TYPE.EVENT, nsp: hex("a2 fffe"), data: ["x"] }),
      packetOf({ type: TYPE.EVENT, nsp: "/rc", id: -1, data: ["echo"] }), packetOf({ type: TYPE.EVENT, nsp: "/rc", id: hex("cf ffffffffffffffff"), data: ["echo"] }),
      packetOf({ type: TYPE.ACK, nsp: "/rc", data: [1] }), packetOf({ type: TYPE.ACK, nsp: "/rc", id: -5, data: [1] }),
      echo(hex("d7 00 ffffffffffffffff")), echo(hex("d7 00 7fffffffffffffff")), echo(hex("c7 00 05")), echo(hex("c8 0000 ff")), echo(hex("d6 ff 00000000")),
      Buffer.concat([hex("84"), encode("type"), hex("09"), encode("type"), hex("02"), encode("nsp"), encode("/rc"), encode("data"), encode(["echo"])]),
    ]) {
      const raw = await MsgRaw.connect(t, server, "/rc");
      raw.send(bytes);
      raw.send(events(encode(["bye", 1, true]))); // ends it, if nothing did
      await within(raw.ws.closed, "the end");
    }
  }));

  test("random bytes, 300 clients, and packets with one byte changed, 300 more", (t) => attack(t, async () => {
    const packet = encode({ type: TYPE.EVENT, nsp: "/rc", data: ["echo", { a: [1, "x", Buffer.from([1]), -5, 1.5, null, true] }], id: 12 });
    for (let i = 0; i < 300; i += 10) {
      await Promise.all(Array.from({ length: 10 }, async (_, j) => {
        const raw = await MsgRaw.connect(t, server, "/rc");
        raw.send(randomBytes(1 + ((i + j) * 7) % 400));
        raw.ws.socket.terminate();
        const changed = Buffer.from(packet);
        changed[(i + j) % changed.length] = (i * 31 + j * 101) & 255;
        const other = await MsgRaw.connect(t, server, "/rc");
        other.send(changed);
        other.ws.socket.terminate();
      }));
    }
  }));

  test("50,000 events and acks that mean nothing", (t) => attack(t, async () => {
    const raw = await MsgRaw.connect(t, server, "/rc");
    const nothing = encode({ type: TYPE.EVENT, nsp: "/rc", data: ["nobody-listens"] });
    const answer = encode({ type: TYPE.ACK, nsp: "/rc", id: 4_000_000, data: [1] });
    for (let i = 0; i < 25_000; i++) raw.send(nothing, answer);
    await raw.expectAlive();
  }));
});

test("a refusal, an error and an event named error, with the official client", async (t) => {
  const observer = await msgClient(t, server);
  const refused = await refusal(dial(t, server, "/rc", { parser, auth: { token: "bad-string" } }));
  assert.deepEqual([refused.message, refused.data], ["text data", "just text"]);
  const socket = dial(t, server, "/", { parser });
  await up(socket);
  socket.emit("error", 1);
  socket.emit("message", 2);
  assert.deepEqual(await next(socket, "message-back"), [2]);
  assert.equal(await call(observer, "echo", 3), 3);
});
