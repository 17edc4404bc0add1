// Values at the edges, both ways, by both parsers: what the other side gets is what the reference gives (features P2, P6, P8).
import { createRequire } from "node:module";
import {
  test, isReference, assert, describe, useServer, client, alsoClient, alsoDial, dial, refusal, ask, call, next, engineWs, show,
} from "./support.mjs";

const require = createRequire(import.meta.url);
const msgpack = require("socket.io-msgpack-parser");
const notepack = require("notepack.io");
const bytes = (...list) => Buffer.from(list);
const view = (...list) => new Uint8Array(list);
const nested = (depth, inner) => Array.from({ length: depth }).reduce((value, _, i) => (i % 2 ? { n: value } : [value]), inner);
const DATE = new Date(1e12 + 5);

/** [value, what JSON makes of it, what msgpack makes of it]; a value that is not there is the value itself. */
const SAME = Symbol("same");
const VALUES = [
  // numbers
  [0], [-0, 0, 0], [1], [-1], [0.5], [-0.1], [1 / 3], [1e-7], [5e-324], [2 ** 31], [-(2 ** 31) - 1], [2 ** 32], [2 ** 53 - 1], [2 ** 53],
  [-(2 ** 53) + 1], [-(2 ** 53)], [2 ** 53 + 2], [-(2 ** 53) - 2], [2 ** 63], [-(2 ** 63)], [123456789.125], [2 ** 52 + 0.5],
  // the encoder of the msgpack client keeps only the lower 64 bits of such numbers
  [1e21, SAME, 3875820019684212736], [2 ** 64, SAME, 0], [Number.MAX_VALUE, SAME, 0], [-1.5e300, SAME, 0],
  [NaN, null, NaN], [Infinity, null, Infinity], [-Infinity, null, -Infinity], [{ a: [NaN] }, { a: [null] }, SAME],
  // nothing
  [null], [undefined, null, undefined], [[null]], [[undefined], [null], [undefined]], [[undefined, 1, undefined], [null, 1, null], SAME],
  [{ a: undefined }, {}, SAME], [{ a: null }], [{ a: [{ b: undefined }] }, { a: [{}] }, SAME], [new Array(2), [null, null], [undefined, undefined]],
  [true], [false], [[true, false, null]],
  // lists and objects
  [[]], [{}], [[[]]], [[{}]], [{ a: {} }], [{ a: [] }], [[[], {}, [[], {}]]], [nested(100, "x")], [nested(101, null)], [{ "": "" }], [{ a: { "": [{ "": 0 }] } }],
  [{ 10: "x", 2: "y", b: 1, a: 2 }], [{ length: 3, 0: "a" }], [{ constructor: 1, toString: "x", hasOwnProperty: null }],
  [JSON.parse('{"__proto__":1}'), SAME, {}], // the decoder of the msgpack client assigns it
  [{ _placeholder: true, num: 0 }], [[{ _placeholder: true, num: 7 }, "x"]], [{ type: 2, nsp: "/", data: ["x"] }],
  // text
  [""], ["é à ü ñ"], ["👍🏽 👨‍👩‍👧 𝒳"], ["\u2028\u2029"], ["\u0000\u0001\u001e\u001f\u007f\u0080"], ["\ufeffx\ufffe\uffff"], ["\"\\/\b\f\n\r\t"], ["\\u0041 \\x41 %41 &amp;"], ["\u{10ffff}"],
  [{ "é👍": "𝒳", "\u0000": "\u2028" }], ["null"], ["[1]"], ['{"a":1}'], ["42/rc,1[\"x\"]"], ["bAQID"], ["e\u0301"],
  // the encoder of the msgpack client takes half a pair with what follows for a whole one
  ["\ud800", SAME, "\u{10000}"], ["a\udfff\ud800b", SAME, "a\u{10fc00}b"], [["\udc00x"], SAME, ["\u{10078}"]], ["\ud83d\ude00", "😀", "😀"],
  // dates, and objects that say how they are shown
  [DATE, DATE.toJSON(), SAME], [new Date(0), "1970-01-01T00:00:00.000Z", SAME], [new Date(-1), "1969-12-31T23:59:59.999Z", SAME],
  [new Date(8.64e15), "+275760-09-13T00:00:00.000Z", SAME], [new Date(NaN), null, new Date(0)], [{ at: [DATE] }, { at: [DATE.toJSON()] }, SAME],
  [{ toJSON: () => ({ a: 1 }) }, { a: 1 }, { a: 1 }], [new Map([[1, 2]]), {}, {}], [/x/, {}, {}], [{ f: () => 1, a: 1 }, { a: 1 }, { a: 1 }],
];
const BINARY = [
  [bytes()], [bytes(0)], [bytes(0, 30, 52, 98, 255)], [[bytes(1), bytes(), bytes(2)]], [{ a: bytes(1), b: { c: [bytes(2)] }, d: "x" }], [nested(60, bytes(7))],
  [{ "": bytes(1) }], [Array(10).fill(bytes(9))], [{ at: DATE, b: bytes(1) }, { at: DATE.toJSON(), b: bytes(1) }, SAME],
  [[null, undefined, bytes(1)], [null, null, bytes(1)], SAME], [{ a: undefined, n: NaN, b: bytes(3) }, { n: null, b: bytes(3) }, SAME],
  [view(1, 2), bytes(1, 2), view(1, 2).buffer], [view(), bytes(), view().buffer], [view(0), bytes(0), view(0).buffer], 
  [view(9, 8, 7).subarray(1), bytes(8, 7), view(9, 8, 7).buffer], // the encoder of the msgpack client sends all that is behind a view
  [view(3, 4).buffer, bytes(3, 4), SAME], [new Float32Array([1]), bytes(0, 0, 128, 63), view(0, 0, 128, 63).buffer], [{ v: [view(5)] }, { v: [bytes(5)] }, { v: [view(5).buffer] }],
  [[view(1, 2, 3, 4, 5, 6, 7, 8)], [bytes(1, 2, 3, 4, 5, 6, 7, 8)], [view(1, 2, 3, 4, 5, 6, 7, 8).buffer]],
];
/** Lengths at which an encoding changes its form. */
const LENGTHS = [15, 16, 31, 32, 125, 126, 127, 128, 255, 256, 65535, 65536];
const LONG = [
  ...LENGTHS.map((n) => "x".repeat(n)), ...LENGTHS.map((n) => "é".repeat(n)), ...LENGTHS.map((n) => Array(n).fill(0)),
  ...LENGTHS.slice(0, 10).map((n) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, i]))), ...LENGTHS.map((n) => ({ ["k".repeat(n)]: n })),
  ...[127, 128, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32].flatMap((n) => [n, -n, n + 0.5]), ...[-31, -32, -33, -127, -128, -129, -32768, -32769, -(2 ** 31)],
];
const LONG_BINARY = LENGTHS.map((n) => Buffer.alloc(n, 7));

for (const parser of ["default", "msgpack"]) describe(parser, () => {
  const server = useServer({ PARSER: parser, MAX_HTTP_BUFFER_SIZE: "8000000" });
  const column = parser === "default" ? 1 : 2;
  const expected = (row) => (row.length === 1 || row[column] === SAME ? row[0] : row[column]);
  for (const transport of ["polling", "websocket"]) {
    const options = { transports: [transport], ...(parser === "msgpack" && { parser: msgpack }) };
    const connect = (t, nsp = "/rc", auth) => client(t, server, nsp, { ...options, ...(auth && { auth }) });

    describe(`over ${transport}`, () => {
      for (const [kind, rows] of [["values", VALUES], ["binary values", BINARY]]) {
        test(`${kind} in an event and back in its ack`, async (t) => {
          const a = await connect(t);
          const got = await Promise.all(rows.map(([value]) => call(a, "echo", value)));
          for (const [i, row] of rows.entries()) assert.deepEqual(got[i], expected(row), `${i}: ${show(row[0])}`);
        });

        test(`${kind} in an event and back in an event`, async (t) => {
          const a = await connect(t);
          for (const [value] of rows) a.emit("echo", value);
          for (const [i, row] of rows.entries()) assert.deepEqual(await next(a, "echo-back"), [expected(row)], `${i}: ${show(row[0])}`);
        });

        test(`${kind} in a broadcast, to each receiver`, async (t) => {
          const [a, b] = [await connect(t), await connect(t)];
          for (const [value] of rows) a.emit("emit", { to: [a.id, b.id], event: "e", args: [value] });
          for (const socket of [a, b]) {
            for (const [i, row] of rows.entries()) assert.deepEqual(await next(socket, "e"), [expected(row)], `${i}: ${show(row[0])}`);
          }
        });

        test(`${kind} asked for by emitWithAck, of one and of many`, async (t) => {
          const a = await connect(t);
          a.on("q", (value, done) => done(value));
          const one = await Promise.all(rows.map(([value]) => ask(a, "emitWithAck", { target: "socket", event: "q", args: [value] })));
          const many = await Promise.all(rows.map(([value]) => ask(a, "emitWithAck", { to: a.id, event: "q", args: [value], flags: { timeout: 6000 } })));
          for (const [i, row] of rows.entries()) {
            const answer = expected(row) ?? null;
            assert.deepEqual(one[i], { err: null, response: [answer] }, `${i}: ${show(row[0])}`);
            assert.deepEqual(many[i], { err: null, responses: [answer] }, `${i}: ${show(row[0])}`);
          }
        });
      }

      test("all of them as arguments of one event, and of one ack", async (t) => {
        const a = await connect(t);
        const args = VALUES.map(([value]) => value);
        a.emit("echo", ...args);
        assert.deepEqual(await next(a, "echo-back"), VALUES.map(expected));
        assert.deepEqual(await new Promise((resolve) => a.emit("echo", ...args, (...list) => resolve(list))), VALUES.map(expected));
        const few = BINARY.slice(0, 6);
        a.emit("echo", ...few.map(([value]) => value));
        assert.deepEqual(await next(a, "echo-back"), few.map(expected));
        assert.deepEqual(await new Promise((resolve) => a.emit("echo", (...list) => resolve(list))), []);
      });

      test("lengths at which the encoding changes, both ways", async (t) => {
        const a = await connect(t);
        for (const value of [...LONG, ...LONG_BINARY]) assert.deepEqual(await call(a, "echo", value), value, show(value, 60));
        const args = Array.from({ length: 5000 }, (_, i) => i);
        assert.deepEqual(await new Promise((resolve) => a.emit("echo", ...args, (...list) => resolve(list))), args);
      });

      test("a megabyte of text and of bytes, both ways, and to a room", async (t) => {
        const [a, b] = [await connect(t), await connect(t)];
        const data = Buffer.alloc(1_000_000, (i) => i % 251);
        for (const text of ["0123456789".repeat(100_000), "é👍\u2028".repeat(125_000)]) {
          assert.ok((await call(a, "echo", text)) === text);
          a.emit("echo", [{ text }], 1);
          assert.deepEqual(await next(a, "echo-back"), [[{ text }], 1]);
        }
        assert.ok(data.equals(await call(a, "echo", data)));
        a.emit("echo", { deep: [data] }, data);
        const [one, two] = await next(a, "echo-back");
        assert.ok(data.equals(one.deep[0]) && data.equals(two));
        await ask(a, "emit", { to: [a.id, b.id], event: "e", args: [data, "x".repeat(1_000_000)] });
        for (const socket of [a, b]) {
          const [binary, text] = await next(socket, "e");
          assert.ok(data.equals(binary) && text === "x".repeat(1_000_000));
        }
      });

      test("a megabyte that the server makes", async (t) => {
        const a = await connect(t);
        const text = await ask(a, "blob", { size: 1_000_000 });
        assert.equal(text.length, 1_000_000);
        for (const i of [0, 1, 35, 36, 999_999]) assert.equal(text[i], "abcdefghijklmnopqrstuvwxyz0123456789"[(7 * i) % 36]);
        const data = await ask(a, "blob", { size: 1_000_000, binary: true });
        assert.ok(Buffer.isBuffer(data) && data.equals(Buffer.from(Uint8Array.from({ length: 1_000_000 }, (_, i) => 31 * i + 7))));
        assert.deepEqual(await ask(a, "blob", { size: 0, binary: true }), bytes());
        assert.equal(await ask(a, "blob", { size: 0 }), "");
      });

      test("the fixture, which the server makes", async (t) => {
        const { exp, ...rest } = await ask(await connect(t), "fixture");
        assert.deepEqual(rest, {
          nil: null, yes: true, no: false, zero: 0, neg: -1, half: 0.5, big: 9007199254740991, tiny: 5e-7, empty: "", accents: "é à ü", emoji: "👍🏽 👨‍👩‍👧",
          quote: "\"\\/\b\f\n\r\t", ctl: "\u0000\u001e\u2028", list: [], obj: {}, nested: [[[{ a: [{ b: null }] }]]], keys: { 10: "x", 2: "y", b: 1, a: 2 },
        });
        // the reference's msgpack encoder keeps only the lower 64 bits of 1e21
        assert.equal(exp, isReference && parser === "msgpack" ? 3875820019684212736 : 1e21);
      });

      test("auth, data, errors and the names of rooms and events carry values as well", async (t) => {
        const data = { e: "é👍\u2028", list: [null, 0.5, []], n: 2 ** 53 - 1 };
        const a = await connect(t, "/rc", { data, room: "ré\u2028👍" });
        assert.deepEqual((await ask(a, "data")).auth, data);
        assert.deepEqual((await ask(a, "handshake")).auth, { data, room: "ré\u2028👍" });
        assert.deepEqual(await ask(a, "rooms"), { self: true, rooms: ["ré\u2028👍"] });
        await ask(a, "emit", { to: "ré\u2028👍", event: "ev\u2028👍", args: [data] });
        assert.deepEqual(await next(a, "ev\u2028👍"), [data]);
        const refused = [[{ token: "bad" }, "not authorized", { code: 401 }], [{ token: "bad-nodata" }, "nope", undefined], [{ token: "bad-string" }, "text data", "just text"]];
        for (const [auth, message, detail] of refused) {
          const err = await refusal(dial(t, server, "/rc2", { ...options, auth }));
          assert.deepEqual([err.message, err.data], [message, detail]);
        }
        const b = await alsoClient(t, a, "/rc2", { hello: true });
        assert.deepEqual(await next(b, "hello"), [{ nsp: "/rc2", recovered: false }]);
        assert.equal((await refusal(alsoDial(t, a, "/é👍"))).message, "Invalid namespace");
      });
    });
  }
});

describe("msgpack on the wire", () => {
  const server = useServer({ PARSER: "msgpack" });
  const MARK = Buffer.concat([bytes(0xa4), Buffer.from("MARK")]);
  const hex = (text) => Buffer.from(text.replaceAll(" ", ""), "hex");
  /** A packet in whose data a value stands as these bytes. */
  const packetWith = (packet, value) => {
    const whole = notepack.encode(packet);
    const at = whole.indexOf(MARK);
    return Buffer.concat([whole.subarray(0, at), value, whole.subarray(at + MARK.length)]);
  };
  async function connected(t) {
    const ws = await engineWs(t, server, { path: "/socket.io/" });
    ws.send(notepack.encode({ type: 0, nsp: "/rc" }));
    const reply = notepack.decode(await ws.next());
    assert.deepEqual([reply.type, reply.nsp, typeof reply.data.sid], [0, "/rc", "string"]);
    return ws;
  }

  test("numbers, texts and lists in forms that no JavaScript encoder chooses", async (t) => {
    const ws = await connected(t);
    const forms = [
      ["ca 3f800000", 1], ["ca 3dcccccd", Math.fround(0.1)], ["cb 3ff0000000000000", 1], ["cb 8000000000000000", -0], ["cc 05", 5], ["cd 0005", 5], ["ce 00000005", 5],
      ["cf 0000000000000005", 5], ["d0 05", 5], ["d1 fffb", -5], ["d2 fffffffb", -5], ["d3 fffffffffffffffb", -5], ["cf 0020000000000001", 2 ** 53], ["d3 ffdfffffffffffff", -(2 ** 53)],
      ["d9 01 61", "a"], ["da 0001 61", "a"], ["db 00000001 61", "a"], ["dc 0001 01", [1]], ["dd 00000001 01", [1]], ["de 0001 a161 01", { a: 1 }], ["df 00000001 a161 01", { a: 1 }],
      ["c5 0001 07", bytes(7)], ["c6 00000001 07", bytes(7)], ["d9 00", ""], ["dc 0000", []], ["de 0000", {}],
    ];
    for (const [i, [form, value]] of forms.entries()) {
      ws.send(packetWith({ type: 2, nsp: "/rc", data: ["echo", "MARK"], id: i }, hex(form)));
      const reply = notepack.decode(await ws.next());
      assert.deepEqual([reply.type, reply.nsp, reply.id, reply.data], [3, "/rc", i, [value === 0 ? reply.data[0] : value]], form);
      assert.ok(value !== 0 || reply.data[0] === 0, form);
    }
  });

  test("the keys of a packet in any order, and keys that nobody knows", async (t) => {
    const ws = await connected(t);
    for (const packet of [
      { id: 1, data: ["echo", "x"], nsp: "/rc", type: 2 }, { options: { compress: true }, type: 2, data: ["echo", "x"], id: 1, nsp: "/rc" },
      { more: [null, { type: 9 }], type: 2, nsp: "/rc", id: 1, data: ["echo", "x"] },
    ]) {
      ws.send(notepack.encode(packet));
      const { type, nsp, id, data } = notepack.decode(await ws.next());
      assert.deepEqual({ type, nsp, id, data }, { type: 3, nsp: "/rc", id: 1, data: ["x"] });
    }
  });

  // [what, packet]: the reference closes the connection
  const BAD = [
    ["an unknown type", { type: 5, nsp: "/rc", data: ["x"] }], ["a negative type", { type: -1, nsp: "/rc" }], ["a type that is text", { type: "2", nsp: "/rc", data: ["x"] }],
    ["no type", { nsp: "/rc", data: ["x"] }], ["no namespace", { type: 2, data: ["x"] }], ["a namespace that is a number", { type: 2, nsp: 1, data: ["x"] }],
    ["an event without data", { type: 2, nsp: "/rc" }], ["an event whose data is an object", { type: 2, nsp: "/rc", data: { 0: "x" } }],
    ["an ack whose data is text", { type: 3, nsp: "/rc", id: 1, data: "x" }], ["an id that is text", { type: 2, nsp: "/rc", data: ["x"], id: "1" }],
    ["an id with a fraction", { type: 2, nsp: "/rc", data: ["x"], id: 1.5 }], ["CONNECT with a list", { type: 0, nsp: "/rc2", data: [] }],
    ["CONNECT with text", { type: 0, nsp: "/rc2", data: "x" }], ["DISCONNECT with data", { type: 1, nsp: "/rc", data: {} }], ["a CONNECT_ERROR", { type: 4, nsp: "/rc", data: { message: "x" } }],
    ["a list", [2, "/rc"]], ["a number", 7], ["bytes that are no msgpack", null],
  ];
  for (const [what, packet] of BAD) {
    test(`${what}: the connection is closed, nobody else notices`, async (t) => {
      const other = await client(t, server, "/rc", { parser: msgpack });
      const ws = await connected(t);
      ws.send(packet === null ? hex("c1 dd ff ff") : notepack.encode(packet));
      await ws.expectClosed();
      assert.equal(await call(other, "echo", 1), 1);
    });
  }

  test("text where msgpack is expected, a packet that is cut short, one that announces more than there is", async (t) => {
    const other = await client(t, server, "/rc", { parser: msgpack });
    const whole = notepack.encode({ type: 2, nsp: "/rc", data: ["echo", "x"], id: 1 });
    for (const data of ['42/rc,1["echo","x"]', whole.subarray(0, -4), packetWith({ type: 2, nsp: "/rc", data: ["echo", "MARK"], id: 1 }, hex("dd ffffffff"))]) {
      const ws = await connected(t);
      ws.send(data);
      await ws.expectClosed();
      assert.equal(await call(other, "echo", 1), 1, show(data));
    }
  });
});
