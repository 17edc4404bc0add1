// One socket: identity, handshake, data, events, values that survive the trip (features K1-K5, K10-K17, K24, V1-V6, H15).
import {
  test, assert, describe, useServer, overTransports, client, alsoClient, dial, up, ask, call, next, nextAny, take, Raw, Polling, show, until,
} from "./support.mjs";

const server = useServer();

overTransports("a socket", (transport, name) => {
  test("main namespace and /custom: auth, message-back, message-with-ack", async (t) => {
    for (const nsp of ["/", "/custom"]) {
      const auth = { token: "abc", list: [1, { x: null }], n: -1.5 };
      const socket = await client(t, server, nsp, { ...transport, auth });
      assert.deepEqual(await next(socket, "auth"), [auth]);
      socket.emit("message", 1, "2", { 3: [true] });
      assert.deepEqual(await next(socket, "message-back"), [1, "2", { 3: [true] }]);
      socket.send("sent");
      assert.deepEqual(await next(socket, "message-back"), ["sent"]);
      assert.equal(await call(socket, "message-with-ack", "x"), "x");
      const all = await new Promise((resolve) => socket.emit("message-with-ack", 1, [2], Buffer.from([3]), null, (...args) => resolve(args)));
      assert.deepEqual(all, [1, [2], Buffer.from([3]), null]);
      const none = await new Promise((resolve) => socket.emit("message-with-ack", (...args) => resolve(args)));
      assert.deepEqual(none, []);
      socket.emit("message", "no ack comes", () => assert.fail("acked"));
      assert.deepEqual(await next(socket, "message-back"), ["no ack comes"]);
      socket.emit("message-with-ack", "nobody asks");
      assert.equal(await call(socket, "message-with-ack", 2), 2);
      assert.deepEqual(socket.inbox.items, []);
    }
  });

  test("auth from a function, and none", async (t) => {
    const socket = await client(t, server, "/", { ...transport, auth: (done) => done({ late: true }) });
    assert.deepEqual(await next(socket, "auth"), [{ late: true }]);
    const bare = await client(t, server, "/", transport);
    assert.deepEqual(await next(bare, "auth"), [{}]);
  });

  test("hello is the first event", async (t) => {
    const socket = await client(t, server, "/rc", { ...transport, auth: { hello: true } });
    assert.deepEqual(await nextAny(socket), ["hello", { nsp: "/rc", recovered: false }]);
    const other = await client(t, server, "/rc2", { ...transport, auth: { hello: true } });
    assert.deepEqual(await nextAny(other), ["hello", { nsp: "/rc2", recovered: false }]);
    const quiet = await client(t, server, "/rc", transport);
    await ask(quiet, "info");
    assert.deepEqual(quiet.inbox.items, []);
  });

  test("info", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    assert.match(socket.id, /^[A-Za-z0-9_-]{20}$/);
    assert.notEqual(socket.id, socket.io.engine.id);
    assert.deepEqual(await ask(socket, "info"), {
      id: socket.id, nsp: "/rc", connected: true, recovered: false, transport: name === "polling" ? "polling" : "websocket", protocol: 4,
    });
  });

  test("each namespace of a connection has a socket with an id of its own", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const b = await alsoClient(t, a, "/rc2");
    assert.notEqual(a.id, b.id);
    assert.equal((await ask(b, "info")).id, b.id);
    assert.equal((await ask(b, "info")).nsp, "/rc2");
  });

  test("handshake: query, auth, headers, and the rest", async (t) => {
    const socket = await client(t, server, "/rc", {
      ...transport, query: { a: "1", "with space": "é&=" }, auth: { b: [2] },
      extraHeaders: { "X-Testbed": "here", Origin: "https://example.org", Cookie: "k=v; l=w", "User-Agent": "tester/1" },
    });
    const h = await ask(socket, "handshake");
    assert.equal(h.query.a, "1");
    assert.equal(h.query["with space"], "é&=");
    assert.equal(h.query.EIO, "4");
    assert.equal(h.query.transport, name === "websocket" ? "websocket" : "polling");
    assert.equal(h.query.sid, undefined);
    assert.deepEqual(h.auth, { b: [2] });
    assert.ok(h.url.startsWith("/socket.io/?"), h.url);
    assert.equal(new URL(h.url, server.url).searchParams.get("with space"), "é&=");
    assert.deepEqual([h.secure, h.xdomain, h.address, h.issued, h.time], [false, true, true, true, true]);
    assert.deepEqual(h.headers, { "x-testbed": "here", origin: "https://example.org", cookie: "k=v; l=w", "user-agent": "tester/1" });
  });

  test("handshake without an origin", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    const h = await ask(socket, "handshake");
    assert.equal(h.xdomain, false);
    assert.equal(h.headers.origin, undefined);
    assert.deepEqual(h.auth, {});
  });

  test("data is kept and merged", async (t) => {
    const socket = await client(t, server, "/rc", { ...transport, auth: { data: { from: "auth" } } });
    assert.deepEqual(await ask(socket, "data"), { mw: ["a", "b"], auth: { from: "auth" } });
    assert.deepEqual(await ask(socket, "data", { set: { x: 1, y: [2] } }), { mw: ["a", "b"], auth: { from: "auth" }, x: 1, y: [2] });
    assert.deepEqual(await ask(socket, "data", { set: { x: null, mw: "gone" } }), { mw: "gone", auth: { from: "auth" }, x: null, y: [2] });
    const other = await client(t, server, "/rc", { ...transport, auth: { data: null } });
    assert.deepEqual(await ask(other, "data"), { mw: ["a", "b"], auth: null });
  });

  test("emit and ack keep what was sent", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    for (const value of VALUES) {
      assert.deepEqual(await call(socket, "echo", value), value, show(value));
    }
    socket.emit("echo", ...VALUES.slice(0, 40));
    assert.deepEqual(await next(socket, "echo-back"), VALUES.slice(0, 40));
  });

  test("lone surrogates", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    for (const value of ["\ud800", "a\udfffb", "\udc00\ud800", { "\ud83d": ["\ude00"] }]) assert.deepEqual(await call(socket, "echo", value), value);
  });

  test("the fixture", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    assert.deepEqual(await ask(socket, "fixture"), FIXTURE);
  });

  test("binary, nested, empty, many", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    const A = Buffer.from([0, 1, 0x1e, 255]);
    const E = Buffer.alloc(0);
    for (const value of [A, E, [A, E], { a: { b: [[A]] }, c: E, d: "x" }, [A, A, A, A, A, A, A, A, A, A]]) {
      assert.deepEqual(await call(socket, "echo", value), value);
    }
    assert.deepEqual(await call(socket, "echo", new Uint8Array([1, 2, 3]).buffer), Buffer.from([1, 2, 3]));
    assert.deepEqual(await call(socket, "echo", new Uint8Array([9, 8]).subarray(1)), Buffer.from([8]));
    socket.emit("echo", "x", A, [E], { c: "like a placeholder", _placeholder: "no", num: 7 });
    assert.deepEqual(await next(socket, "echo-back"), ["x", A, [E], { c: "like a placeholder", _placeholder: "no", num: 7 }]);
  });

  test("several arguments, all of them in the ack", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    for (const args of [[], [null], [1, 2, 3], ["a", Buffer.from([1]), { b: Buffer.from([2]) }], Array.from({ length: 50 }, (_, i) => i)]) {
      const back = await new Promise((resolve) => socket.emit("echo", ...args, (...list) => resolve(list)));
      assert.deepEqual(back, args);
    }
  });

  test("no-ack, ack-twice, ack-later", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    await assert.rejects(socket.timeout(100).emitWithAck("no-ack", 1), /timed out/);
    let calls = 0;
    const first = await new Promise((resolve) => socket.emit("ack-twice", "x", (v) => {
      calls++;
      resolve(v);
    }));
    assert.equal(first, "x");
    const order = [];
    await Promise.all([
      call(socket, "ack-later", 120, "late").then((v) => order.push(v)), call(socket, "ack-later", 1, "early").then((v) => order.push(v)),
      call(socket, "echo", "now").then((v) => assert.equal(v, "now")),
    ]);
    assert.deepEqual(order, ["early", "late"], "when the timers of the server are due, whoever asked first");
    assert.equal(calls, 1);
  });

  test("bursts arrive whole, in order, before the ack", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    const got = [];
    socket.on("b", (i) => got.push(i));
    await ask(socket, "burst", { count: 2000 });
    assert.deepEqual(got, Array.from({ length: 2000 }, (_, i) => i));
  });

  test("volatile events may be dropped, never reordered, and hold nothing up", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    for (let round = 0; round < 10; round++) {
      const got = [];
      socket.off("v").on("v", (i) => got.push(i));
      await ask(socket, "volatileBurst", { count: 50 });
      assert.deepEqual(await next(socket, "v-end"), [50]);
      for (let i = 1; i < got.length; i++) assert.ok(got[i] > got[i - 1], show(got));
      if (name !== "polling") assert.equal(got[0], 0, "writable: the first one arrives");
    }
  });

  test("listeners that are added and removed", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    assert.equal(await ask(socket, "listen", { event: "e" }), 1);
    assert.equal(await ask(socket, "listen", { event: "e" }), 2);
    assert.equal(await ask(socket, "listen", { event: "e", once: true }), 3);
    assert.equal(await ask(socket, "listen", { event: "f" }), 4);
    assert.equal(await call(socket, "e", "x", [1]), 1, "the first listener acks");
    assert.deepEqual(await take(socket, "heard", 3), [["e", 1, ["x", [1]]], ["e", 2, ["x", [1]]], ["e", 3, ["x", [1]]]]);
    socket.emit("e");
    assert.deepEqual(await take(socket, "heard", 2), [["e", 1, []], ["e", 2, []]]);
    assert.equal(await call(socket, "f", Buffer.from([1])), 4);
    assert.deepEqual(await next(socket, "heard"), ["f", 4, [Buffer.from([1])]]);
    assert.equal(await ask(socket, "unlisten", { event: "e" }), 2);
    assert.equal(await ask(socket, "unlisten", { event: "e" }), 0);
    assert.equal(await ask(socket, "listen", { event: "e", once: true }), 5);
    assert.equal(await ask(socket, "unlisten", { event: "e" }), 1, "a once listener that was not called yet");
    socket.emit("e", 1);
    socket.emit("f", 2);
    assert.deepEqual(await next(socket, "heard"), ["f", 4, [2]]);
    assert.equal(await ask(socket, "unlisten", { event: "f" }), 1);
    socket.emit("f", 3);
    await ask(socket, "info");
    assert.deepEqual(socket.inbox.items, []);
  });

  test("listeners next to a built-in one", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    await ask(socket, "listen", { event: "echo" });
    assert.equal(await call(socket, "echo", "mine"), "mine", "the older listener acks first");
    assert.deepEqual(await next(socket, "heard"), ["echo", 1, ["mine"]]);
  });

  test("event names", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    const names = ["", " ", "é 👍", "with \"quotes\" \\ and \n", "a".repeat(3000), "toString", "__proto__", "message", "error2", "$x", "null", "0x"];
    for (const name of names) await ask(socket, "listen", { event: name });
    for (const [i, name] of names.entries()) {
      socket.emit(name, i);
      assert.deepEqual(await next(socket, "heard"), [name, i + 1, [i]]);
    }
    socket.emit("7", "x");
    assert.deepEqual(await next(socket, "seven"), ["x"]);
  });

  test("events of one client are handled in their order", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    const got = [];
    socket.on("echo-back", (i) => got.push(i));
    for (let i = 0; i < 1000; i++) socket.emit("echo", i % 7 === 0 ? Buffer.from([i & 255]) : i);
    await ask(socket, "info");
    assert.deepEqual(got, Array.from({ length: 1000 }, (_, i) => (i % 7 === 0 ? Buffer.from([i & 255]) : i)));
  });

  test("two sockets on one connection do not hear each other's events", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const b = await alsoClient(t, a, "/rc2");
    a.emit("echo", "a");
    b.emit("echo", "b");
    assert.deepEqual(await next(a, "echo-back"), ["a"]);
    assert.deepEqual(await next(b, "echo-back"), ["b"]);
    assert.deepEqual([a.inbox.items, b.inbox.items], [[], []]);
  });
});

describe("large messages", () => {
  const large = useServer({ MAX_HTTP_BUFFER_SIZE: "5000000" });
  overTransports("1 MB each way", (transport) => {
    test("text", async (t) => {
      const socket = await client(t, large, "/rc", transport);
      const text = "é0123456789abcde".repeat(62_500);
      assert.ok((await call(socket, "echo", text)) === text);
      const blob = await ask(socket, "blob", { size: 1_000_000, binary: false });
      const letters = "abcdefghijklmnopqrstuvwxyz0123456789";
      assert.equal(blob.length, 1_000_000);
      for (let i = 0; i < blob.length; i += 997) assert.equal(blob[i], letters[(7 * i) % 36]);
    });
    test("binary", async (t) => {
      const socket = await client(t, large, "/rc", transport);
      const data = Buffer.from(Uint8Array.from({ length: 1_000_000 }, (_, i) => (31 * i + 7) & 255));
      assert.ok(data.equals(await call(socket, "echo", data)));
      assert.ok(data.equals(await ask(socket, "blob", { size: 1_000_000, binary: true })));
    });
    test("many at once", async (t) => {
      const socket = await client(t, large, "/rc", transport);
      await Promise.all(Array.from({ length: 20 }, async (_, i) => {
        const data = Buffer.alloc(150_000 + i, i);
        assert.ok(data.equals(await call(socket, "echo", data)));
      }));
    });
    test("a deep value and a wide one", async (t) => {
      const socket = await client(t, large, "/rc", transport);
      let deep = "bottom";
      for (let i = 0; i < 50; i++) deep = [{ d: deep }];
      assert.deepEqual(await call(socket, "echo", deep), deep);
      const wide = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`key${i}`, [i, { i }]]));
      assert.deepEqual(await call(socket, "echo", wide), wide);
    });
  });
});

describe("facts of the handshake", () => {
  test("of a query parameter that occurs twice, the last wins", async (t) => {
    const raw = await Raw.connect(t, server, "/rc", undefined, { query: "&a=1&b=x&a=2&c&d=%20%2B+&%C3%A9=%e2%82%ac" });
    const { query } = await raw.ask("/rc", "handshake");
    assert.deepEqual(query, { EIO: "4", transport: "websocket", a: "2", b: "x", c: "", d: " + ", é: "€" });
  });
  test("url is the raw request target", async (t) => {
    const raw = await Raw.connect(t, server, "/rc", undefined, { query: "&x=%41&&y=a/b?c" });
    assert.equal((await raw.ask("/rc", "handshake")).url, "/socket.io/?EIO=4&transport=websocket&x=%41&&y=a/b?c");
  });
  test("they are those of the request that opened the connection, for every namespace", async (t) => {
    const session = await Polling.open(server, { path: "/socket.io/", query: "&opened=1", headers: { "x-testbed": "first" } });
    await session.post("40/rc2,", { headers: { "x-testbed": "second" } });
    await session.receive(1);
    await session.post('42/rc2,1["handshake"]', { headers: { "x-testbed": "third" } });
    const [packet] = await session.receive(1);
    const { ok } = JSON.parse(packet.slice("43/rc2,1".length))[0];
    assert.equal(ok.url, "/socket.io/?EIO=4&transport=polling&opened=1");
    assert.deepEqual(ok.query, { EIO: "4", transport: "polling", opened: "1" });
    assert.deepEqual(ok.headers, { "x-testbed": "first" });
    await session.send("1");
  });
  test("after an upgrade, still those of the polling request", async (t) => {
    const socket = await client(t, server, "/rc", { transports: ["polling", "websocket"] });
    assert.equal((await ask(socket, "handshake")).query.transport, "polling");
    const later = await alsoClient(t, socket, "/rc2", { x: 1 });
    const h = await ask(later, "handshake");
    assert.equal(h.query.transport, "polling");
    assert.deepEqual(h.auth, { x: 1 });
  });
  test("forwarded headers do not change the address", async (t) => {
    const raw = await Raw.connect(t, server, "/rc", undefined, { headers: { "x-forwarded-for": "1.2.3.4", forwarded: "for=1.2.3.4" } });
    assert.equal((await raw.ask("/rc", "handshake")).address, true);
  });
});

test("60 clients at once, each with its own answers", async (t) => {
  await Promise.all(Array.from({ length: 60 }, async (_, i) => {
    const transport = [["polling"], ["websocket"], ["polling", "websocket"]][i % 3];
    const socket = await client(t, server, "/rc", { transports: transport, auth: { data: i } });
    assert.equal((await ask(socket, "data")).auth, i);
    for (let k = 0; k < 10; k++) assert.deepEqual(await call(socket, "echo", `${i}:${k}`), `${i}:${k}`);
  }));
});

test("100 connections one after the other leave nothing behind", async (t) => {
  const observer = await client(t, server, "/rc");
  const alone = () => until(() => ask(observer, "counts"), (c) => c.nsp === 1 && c.engine === 1, "counts");
  await alone();
  for (let i = 0; i < 100; i++) {
    const socket = dial(t, server, "/rc", { transports: i % 2 ? ["polling"] : ["websocket"] });
    await up(socket);
    socket.disconnect();
  }
  await alone();
});

const FIXTURE = {
  nil: null, yes: true, no: false, zero: 0, neg: -1, half: 0.5, big: 9007199254740991, exp: 1e21, tiny: 5e-7,
  empty: "", accents: "é à ü", emoji: "👍🏽 👨‍👩‍👧", quote: "\"\\/\b\f\n\r\t", ctl: "\u0000\u001e\u2028",
  list: [], obj: {}, nested: [[[{ a: [{ b: null }] }]]], keys: { 10: "x", 2: "y", b: 1, a: 2 },
};

function nested(depth) {
  let value = [];
  for (let i = 1; i < depth; i++) value = i % 2 ? { in: value } : [value];
  return value;
}

// small fixed generator: the same doubles in every run
function doubles(count) {
  let state = 0x9e3779b97f4a7c15n;
  const list = [];
  const view = new DataView(new ArrayBuffer(8));
  while (list.length < count) {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    view.setBigUint64(0, state);
    const x = view.getFloat64(0);
    if (Number.isFinite(x)) list.push(x);
  }
  return list;
}

const VALUES = [
  null, true, false, 0, 1, -1, 0.5, -0.25, 0.1 + 0.2, 1 / 3, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, 123456789.123456789, 1e300, -1e-300,
  2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2, -(2 ** 53) - 2, 2 ** 63, 2 ** 64, 4.35, 100, 1e3, 0.1, 1e20, 123456789012345680000,
  "", "a", " ", "é à ü", "👍🏽 👨‍👩‍👧", "漢字かな", "\"\\/\b\f\n\r\t", "\u0000", "\u0000\u001e\u2028\u2029\u007f\u0085", "\ufeff\ufffe\uffff", "</script>", "\\u0041", "b", "4", "0{}",
  [], {}, [[]], [{}], { a: [] }, [null], [[[{ a: [{ b: null }] }]]], { "": 1 }, { "a b": { "\n": "\u0000" } }, { 10: "x", 2: "y", b: 1, a: 2 },
  { toString: 1, constructor: null, length: 5 }, { _placeholder: false, num: 0 }, { toJSON: "x" }, nested(100), doubles(300),
  Array.from({ length: 500 }, (_, i) => i - 250), "x".repeat(10_000), { ok: 1 }, { error: "text" },
];
