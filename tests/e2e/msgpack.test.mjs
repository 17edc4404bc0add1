// The parser of socket.io-msgpack-parser (feature P8): each packet is one binary message, a map of type, nsp, data and id.
import {
  test, greenroomOnly, assert, describe, overTransports, useServer, alsoClient, clients, ask, call, next, up, dial, refusal, expectNothing, farewellReason,
  upgradeOf, Ws, TRANSPORTS, within, isReference } from "./support.mjs";
import { MsgRaw, MsgPolling, msgClient, parser, encode, decode, echoedBytes, decodeValue, TYPE } from "./msgpack.mjs";

const server = useServer({ PARSER: "msgpack" });
const hex = (text) => Buffer.from(text.replaceAll(" ", ""), "hex");
const event = (data, more = {}) => ({ type: TYPE.EVENT, nsp: "/rc", data, ...more });

describe("packets on the wire", () => {
  test("CONNECT: the reply holds the id, and what the listener emits comes after it", async (t) => {
    const raw = await MsgRaw.connect(t, server);
    raw.send({ type: TYPE.CONNECT, nsp: "/rc", data: { hello: true } });
    const reply = await raw.next();
    assert.deepEqual([reply.type, reply.nsp, Object.keys(reply.data)], [TYPE.CONNECT, "/rc", ["sid"]]);
    assert.match(reply.data.sid, /^[\w-]{20}$/);
    assert.deepEqual(await raw.next(), event(["hello", { nsp: "/rc", recovered: false }]));
  });

  test("CONNECT: the auth, the main namespace, and no auth", async (t) => {
    const raw = await MsgRaw.connect(t, server);
    await raw.join("/", { a: [1, { c: "é" }], b: null });
    assert.deepEqual(await raw.next(), { type: TYPE.EVENT, nsp: "/", data: ["auth", { a: [1, { c: "é" }], b: null }] });
    await raw.join("/custom");
    assert.deepEqual(await raw.next(), { type: TYPE.EVENT, nsp: "/custom", data: ["auth", {}] });
  });

  test("CONNECT: binary in the auth", async (t) => {
    const raw = await MsgRaw.connect(t, server);
    const key = Buffer.from([2]);
    await raw.join("/", { key });
    // a deviation: the auth is JSON with every parser
    const seen = isReference ? key : key.toJSON();
    assert.deepEqual(await raw.next(), { type: TYPE.EVENT, nsp: "/", data: ["auth", { key: seen }] });
  });

  test("CONNECT_ERROR: message, and data if there is any; the connection stays", async (t) => {
    const raw = await MsgRaw.connect(t, server);
    for (const [nsp, auth, data] of [
      ["/nowhere", {}, { message: "Invalid namespace" }],
      ["/rc", { token: "bad" }, { message: "not authorized", data: { code: 401 } }],
      ["/rc", { token: "bad-nodata" }, { message: "nope" }],
      ["/rc", { token: "bad-string" }, { message: "text data", data: "just text" }],
      ["/rc", { token: "bad-late" }, { message: "late", data: { mw: ["a", "b"] } }],
      ["/rc?x=1", {}, { message: "Invalid namespace" }], ["rc", {}, { message: "Invalid namespace" }], ["", {}, { message: "Invalid namespace" }],
    ]) {
      raw.send({ type: TYPE.CONNECT, nsp, data: auth });
      assert.deepEqual(await raw.next(), { type: TYPE.CONNECT_ERROR, nsp, data });
    }
    await raw.join("/rc");
  });

  test("EVENT and ACK: the id comes back, 0 too; without an id no ack", async (t) => {
    const raw = await MsgRaw.connect(t, server, "/rc");
    for (const id of [0, 1, 127, 128, 65_536, 2 ** 32 + 5, 2 ** 53 - 1]) {
      raw.send(event(["echo", "x", id], { id }));
      assert.deepEqual(await raw.next(), { type: TYPE.ACK, nsp: "/rc", id, data: ["x", id] });
    }
    raw.send(event(["echo", "x"]));
    assert.deepEqual(await raw.next(), event(["echo-back", "x"]));
    raw.send(event([7, "seven?"]));
    assert.deepEqual(await raw.next(), event(["seven", "seven?"]));
  });

  test("the keys may come in any order, with others beside them, and an id that is undefined is none", async (t) => {
    const raw = await MsgRaw.connect(t, server, "/rc");
    raw.send({ options: { compress: true }, id: undefined, data: ["echo", 1], attachments: 3, nsp: "/rc", type: TYPE.EVENT });
    assert.deepEqual(await raw.next(), event(["echo-back", 1]));
  });

  test("the server asks: its id comes with the event, the answer may be binary", async (t) => {
    const raw = await MsgRaw.connect(t, server, "/rc");
    raw.send(event(["emit", { target: "socket", event: "q", args: [1, Buffer.from([9])], ack: true }], { id: 5 }));
    const question = await raw.next();
    assert.deepEqual([question.type, question.data, typeof question.id], [TYPE.EVENT, ["q", 1, Buffer.from([9])], "number"]);
    raw.send({ type: TYPE.ACK, nsp: "/rc", id: question.id, data: ["mine", Buffer.from([1, 2])] });
    assert.deepEqual(await raw.next(), { type: TYPE.ACK, nsp: "/rc", id: 5, data: [{ ok: { err: null, response: ["mine", Buffer.from([1, 2])] } }] });
  });

  test("DISCONNECT: from the client, from the server, and with close", async (t) => {
    const observer = await msgClient(t, server);
    const raw = await MsgRaw.connect(t, server, "/rc");
    await raw.join("/rc2");
    raw.send({ type: TYPE.DISCONNECT, nsp: "/rc" });
    assert.equal(await farewellReason(observer, raw.ids["/rc"]), "client namespace disconnect");
    raw.send({ type: TYPE.EVENT, nsp: "/rc2", data: ["bye", "b"] });
    assert.deepEqual(await raw.next(), { type: TYPE.EVENT, nsp: "/rc2", data: ["bye", "b"] });
    assert.deepEqual(await raw.next(), { type: TYPE.DISCONNECT, nsp: "/rc2" });
    await raw.join("/rc");
    raw.send(event(["bye", "c", true]));
    assert.deepEqual(await raw.next(), event(["bye", "c"]));
    assert.deepEqual(await raw.next(), { type: TYPE.DISCONNECT, nsp: "/rc" });
    await raw.expectClosed();
  });

  test("binary stays in its place: one message, whatever it holds", async (t) => {
    const raw = await MsgRaw.connect(t, server, "/rc");
    const value = { a: Buffer.from([1]), deep: [[{ b: Buffer.alloc(0) }]], like: { _placeholder: true, num: 0 }, big: Buffer.alloc(70_000, 5) };
    raw.send(event(["echo", value, Buffer.from([2])]));
    assert.deepEqual(await raw.next(), event(["echo-back", value, Buffer.from([2])]));
    raw.send(event(["echo", ...Array.from({ length: 50 }, (_, i) => Buffer.from([i]))], { id: 1 }));
    assert.equal((await raw.next()).data.length, 50, "there is no limit of attachments");
  });

  test("over polling each packet is base64", async () => {
    const raw = await MsgPolling.connect(server, "/rc", { hello: true });
    assert.deepEqual(await raw.next(), event(["hello", { nsp: "/rc", recovered: false }]));
    await raw.send(event(["echo", 1, Buffer.from([1])], { id: 1 }), event(["echo", "é"]), event(["echo"], { id: 2 }));
    assert.deepEqual(await raw.next(), { type: TYPE.ACK, nsp: "/rc", id: 1, data: [1, Buffer.from([1])] });
    assert.deepEqual(await raw.next(), event(["echo-back", "é"]));
    assert.deepEqual(await raw.next(), { type: TYPE.ACK, nsp: "/rc", id: 2, data: [] });
  });

  test("from polling to WebSocket in the middle", async (t) => {
    const raw = await MsgPolling.connect(server);
    const ws = await Ws.open(t, server, raw.session.path.replace("polling", "websocket"));
    ws.send("2probe");
    await ws.text("3probe");
    await raw.send(event(["echo", "by polling"]));
    ws.send("5");
    ws.send(encode(event(["echo", "by websocket"])));
    for (const text of ["by polling", "by websocket"]) assert.deepEqual(decode(await ws.next()), event(["echo-back", text]));
  });

  test("a number may have any form: the type as a float, the id as an int 64", async (t) => {
    const raw = await MsgRaw.connect(t, server, "/rc");
    // {type: 2.0 (float 64), nsp: "/rc", data: ["echo", 1], id: 7 (int 64)}
    raw.send(hex("84 a474797065 cb4000000000000000 a36e7370 a32f7263 a464617461 92a46563686f01 a26964 d30000000000000007"));
    assert.deepEqual(await raw.next(), { type: TYPE.ACK, nsp: "/rc", id: 7, data: [1] });
  });
});

describe("values", () => {
  const FORMATS = {
    "nil": "c0", "false": "c2", "true": "c3", "positive fixint": "7f", "negative fixint": "e0",
    "uint 8": "ccff", "uint 16": "cdffff", "uint 32": "ceffffffff", "uint 64, 2^53-1": "cf001fffffffffffff", "uint 64, 2^63": "cf8000000000000000",
    "int 8": "d080", "int 16": "d18000", "int 32": "d280000000", "int 64, -2^53+1": "d3ffe0000000000001", "int 64, -2^63": "d38000000000000000",
    "a small number in a wide form": "cf0000000000000001",
    "float 32": "ca3fc00000", "float 64": "cb3ff199999999999a", "float 64, 5e-324": "cb0000000000000001",
    "infinity": "cb7ff0000000000000", "NaN": "cb7ff8000000000000",
    "fixstr": "a568656c6c6f", "str 8": `d928${"61".repeat(40)}`, "str 16": `da0100${"62".repeat(256)}`, "str 32": `db00000002c3a9`,
    "text with U+0000, U+2028 and an emoji": "a9 00 e280a8 f09f918d 21",
    "bin 8": "c403010203", "bin 16": `c50100${"07".repeat(256)}`, "bin 32": "c600000002feff", "empty bin": "c400",
    "fixarray": "93010203", "array 16": "dc0002c0c0", "array 32": "dd0000000101", "empty array": "90",
    "fixmap": "82a16101a16290", "map 16": "de0001a16101", "map 32": "df00000001a16101", "empty map": "80", "a map with an empty key": "81a001",
    "ext 0 of one byte: undefined": "d40000", "ext 0 of eight bytes: a date": "d7 00 000001800a0b0c0d", "ext 8 of type 0: an ArrayBuffer": "c7030001fe02",
    "fixext 2 of an own type": "d5050102", "fixext 16 of an own type": `d80a${"0b".repeat(16)}`, "ext 8 of an own type": "c7037f010203",
    "nested 100 deep": `${"91".repeat(100)}90`,
  };
  for (const [name, bytes] of Object.entries(FORMATS)) {
    test(`${name} comes back as it was`, async (t) => {
      const raw = await MsgRaw.connect(t, server, "/rc");
      assert.deepEqual(decode(await echoedBytes(raw, hex(bytes))).data, ["echo-back", decodeValue(hex(bytes))]);
    });
  }

  for (const [name, transport] of Object.entries(TRANSPORTS)) {
    test(`between official clients, ${name}`, async (t) => {
      const by = await msgClient(t, server, "/rc", transport);
      const other = await msgClient(t, server, "/rc", transport);
      const values = [
        null, true, 0, -1, 1.5, 2 ** 53 - 1, -(2 ** 53) + 1, 5e-7, "", "é à ü", "👍🏽 👨‍👩‍👧", "\0\x1e\u2028", [], {}, [[[{ a: [{ b: null }] }]]],
        { 10: "x", 2: "y", b: 1, a: 2 }, Buffer.alloc(0), Buffer.from([0, 255]), { in: [Buffer.from("abc")] }, new Date(1_650_000_000_123), undefined,
        "x".repeat(100_000), Buffer.alloc(100_000, 9),
      ];
      assert.deepEqual(await call(by, "echo", values), values);
      for (const value of values) assert.deepEqual(await call(by, "echo", value), value);
      await ask(by, "emit", { to: other.id, event: "list", args: values });
      assert.deepEqual(await next(other, "list"), values);
    });
  }

  test("an ArrayBuffer stays one", async (t) => {
    const socket = await msgClient(t, server);
    const back = await call(socket, "echo", Uint8Array.from([1, 2, 3]).buffer);
    assert.ok(back instanceof ArrayBuffer);
    assert.deepEqual([...new Uint8Array(back)], [1, 2, 3]);
  });

  test("the fixture", async (t) => {
    const socket = await msgClient(t, server);
    const fixture = await ask(socket, "fixture");
    delete fixture.exp; // see the next test
    assert.deepEqual(fixture, {
      nil: null, yes: true, no: false, zero: 0, neg: -1, half: 0.5, big: 9007199254740991, tiny: 5e-7,
      empty: "", accents: "é à ü", emoji: "👍🏽 👨‍👩‍👧", quote: "\"\\/\b\f\n\r\t", ctl: "\u0000\u001e\u2028",
      list: [], obj: {}, nested: [[[{ a: [{ b: null }] }]]], keys: { 10: "x", 2: "y", b: 1, a: 2 },
    });
  });
});

greenroomOnly("numbers beyond 64 bits stay numbers", "the encoder of the reference cuts them to 64 bits", async (t) => {
  const raw = await MsgRaw.connect(t, server, "/rc");
  for (const bytes of ["cb444b1ae4d6e2ef50", "cbc44b1ae4d6e2ef50", "cb7fefffffffffffff", "cb43f0000000000000"]) { // 1e21, -1e21, the largest, 2^64
    assert.deepEqual(decode(await echoedBytes(raw, hex(bytes))).data, ["echo-back", decodeValue(hex(bytes))]);
  }
  assert.equal((await raw.ask("fixture")).exp, 1e21);
});

overTransports("official clients", (transport) => {
  const join = (t, nsp, options) => msgClient(t, server, nsp, { ...transport, ...options });

  test("blobs of 500 kB, text and binary, down and up", async (t) => {
    const socket = await join(t);
    for (const binary of [false, true]) {
      const blob = await ask(socket, "blob", { size: 500_000, binary });
      assert.equal(blob.length, 500_000);
      assert.equal(Buffer.isBuffer(blob), binary);
      assert.deepEqual(await call(socket, "echo", blob), blob);
    }
  });

  test("acks both ways, timeouts, and an ack that is called twice", async (t) => {
    const socket = await join(t);
    socket.on("q", (x, ack) => ack(x, Buffer.from([x])));
    assert.deepEqual(await ask(socket, "emit", { target: "socket", event: "q", args: [4], ack: true }), { err: null, response: [4, Buffer.from([4])] });
    assert.deepEqual(await ask(socket, "emit", { target: "socket", event: "silent", ack: true, flags: { timeout: 100 } }),
      { err: "operation has timed out", response: [] });
    assert.equal(await call(socket, "ack-twice", "once"), "once");
    await assert.rejects(socket.timeout(200).emitWithAck("no-ack", 1), /timed out/);
  });

  test("broadcasts, rooms, and broadcast acks", async (t) => {
    const list = await Promise.all(Array.from({ length: 4 }, (_, i) => join(t, "/rc", { auth: { room: i < 3 ? "in" : "out" } })));
    const [a, b, c, d] = list;
    await ask(a, "emit", { to: "in", except: c.id, event: "e", args: [{ x: Buffer.from([1]) }] });
    for (const socket of [a, b]) assert.deepEqual(await next(socket, "e"), [{ x: Buffer.from([1]) }]);
    await expectNothing(a, c, d);
    for (const [i, socket] of list.entries()) socket.on("q", (x, ack) => ack(Buffer.from([i, x])));
    const { err, responses } = await ask(a, "emit", { to: "in", event: "q", args: [9], ack: true, flags: { timeout: 4000 } });
    assert.equal(err, null);
    assert.deepEqual(responses.map((r) => [...r]).sort(), [[0, 9], [1, 9], [2, 9]]);
  });

  test("namespaces on one connection, dynamic ones too; refusals with their data", async (t) => {
    const socket = await join(t, "/rc2");
    const other = await alsoClient(t, socket, "/custom", { who: "me" });
    assert.deepEqual(await next(other, "auth"), [{ who: "me" }]);
    const dynamic = await alsoClient(t, socket, "/dyn-77");
    assert.deepEqual(await next(dynamic, "welcome"), [{ nsp: "/dyn-77" }]);
    const refused = await refusal(dial(t, server, "/rc", { parser, ...transport, auth: { token: "bad" } }));
    assert.deepEqual([refused.message, refused.data], ["not authorized", { code: 401 }]);
    const unknown = await refusal(dial(t, server, "/nowhere", { parser, ...transport }));
    assert.equal(unknown.message, "Invalid namespace");
    assert.equal(await call(socket, "echo", 1), 1);
  });

  test("refused events, volatile ones, disconnections", async (t) => {
    const socket = await join(t, "/rc");
    socket.emit("forbidden-x", 1);
    assert.deepEqual(await next(socket, "rejected"), [{ message: "forbidden event", data: { event: "forbidden-x" } }]);
    await ask(socket, "burst", { count: 100 });
    for (let i = 0; i < 100; i++) assert.deepEqual(await next(socket, "b"), [i]);
    const observer = await join(t, "/rc");
    const { id } = socket;
    assert.equal(await ask(observer, "disconnectOther", { id }), true);
    assert.equal((await within(socket.gone, "disconnect")).reason, "io server disconnect");
    assert.equal(await farewellReason(observer, id), "server namespace disconnect");
  });
});

test("an upgrade in the middle of a burst loses nothing", async (t) => {
  for (let round = 0; round < 5; round++) {
    const socket = dial(t, server, "/rc", { parser, ...TRANSPORTS.upgrade });
    const upgraded = upgradeOf(socket);
    await up(socket);
    socket.emit("burst", { count: 200 });
    for (let i = 0; i < 200; i++) assert.deepEqual(await next(socket, "b"), [i]);
    await upgraded;
    assert.equal(await call(socket, "echo", round), round);
    socket.disconnect();
  }
});

test("many clients at once", async (t) => {
  const list = await clients(t, server, 30, "/rc", { parser });
  assert.deepEqual(await Promise.all(list.map((s, i) => call(s, "echo", i))), list.map((_, i) => i));
});
