// Catch-all listeners, in and out (features K18, K19; traps 3.3).
import {
  test, assert, describe, useServer, overTransports, client, clients, alsoClient, ask, call, next, expectNothing, Raw,
  isReference,
} from "./support.mjs";

const server = useServer();
const B = Buffer.from([1, 0, 255]);
const own = ["recorded", [{}, "[ack]"]]; // the question itself is an event that comes in
const recorded = async (socket, params) => (await ask(socket, "recorded", params)).filter((e) => e[2] !== "recorded");

overTransports("incoming", (transport) => {
  test("every event with its name and arguments, an ack that is asked for as the last; known or not", async (t) => {
    const a = await client(t, server, "/rc", transport);
    assert.equal(await ask(a, "record", { dir: "in", tag: "t" }), true);
    a.emit("echo", 1, "two", { three: [3] });
    a.emit("nobody listens");
    a.emit("binary", B, { x: [B] });
    assert.deepEqual(await call(a, "echo", null), null);
    a.emit("unknown with ack", () => {});
    a.emit("", false);
    a.emit("__proto__", "é 👍");
    assert.deepEqual(await ask(a, "recorded"), [
      ["in", "t", "echo", [1, "two", { three: [3] }]], ["in", "t", "nobody listens", []], ["in", "t", "binary", [B, { x: [B] }]],
      ["in", "t", "echo", [null, "[ack]"]], ["in", "t", "unknown with ack", ["[ack]"]], ["in", "t", "", [false]], ["in", "t", "__proto__", ["é 👍"]],
      ["in", "t", ...own],
    ]);
    assert.equal((await ask(a, "recorded")).at(-1)[2], "recorded");
    assert.deepEqual(a.inbox.takeAll(), [["echo-back", 1, "two", { three: [3] }]], "it sends nothing by itself");
  });

  test("the operations are events as well: their parameters, their acks", async (t) => {
    const a = await client(t, server, "/rc", transport);
    await ask(a, "record", { dir: "in", tag: "t" });
    await ask(a, "join", { rooms: ["r"] });
    a.emit("leave", { room: "r" });
    assert.deepEqual(await recorded(a), [["in", "t", "join", [{ rooms: ["r"] }, "[ack]"]], ["in", "t", "leave", [{ room: "r" }]]]);
  });

  test("onAny adds at the end, prependAny at the front; each hears each event, in that order", async (t) => {
    const a = await client(t, server, "/rc", transport);
    for (const [tag, prepend] of [["a"], ["b", true], ["c"], ["d", true], ["e", false]]) await ask(a, "record", { dir: "in", tag, prepend });
    await ask(a, "recordStop", { dir: "in", tag: "none" });
    const before = (await ask(a, "recorded")).length;
    a.emit("x", 1);
    a.emit("y");
    assert.deepEqual((await recorded(a)).slice(before - 5), [
      ...["d", "b", "a", "c", "e"].map((tag) => ["in", tag, "x", [1]]), ...["d", "b", "a", "c", "e"].map((tag) => ["in", tag, "y", []]),
    ]);
  });

  test("a listener that is added in an event hears the next one; one that is removed no longer", async (t) => {
    const a = await client(t, server, "/rc", transport);
    await ask(a, "record", { dir: "in", tag: "a" });
    await ask(a, "record", { dir: "in", tag: "b" });
    assert.equal(await ask(a, "recordStop", { dir: "in", tag: "a" }), 1);
    a.emit("x");
    assert.deepEqual((await recorded(a)).map((e) => `${e[1]} ${e[2]}`), ["a record", "a recordStop", "b recordStop", "b x"]);
  });

  test("it hears before the event's own listeners, and not the events of other sockets", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc", transport);
    const c = await alsoClient(t, a, "/rc2");
    await ask(a, "record", { dir: "in", tag: "t" });
    b.emit("x", "b");
    c.emit("x", "c");
    await ask(b, "emit", { to: a.id, event: "x", args: ["a broadcast is not incoming"] });
    await ask(c, "rooms");
    const first = await ask(a, "recorded");
    assert.deepEqual(first, [["in", "t", ...own]], "its own listener, which answers, comes later");
  });
});

describe("removing", () => {
  test("by tag, all of that tag at once; without tag, all of that direction; the rest is counted", async (t) => {
    const a = await client(t, server, "/rc");
    const stop = (dir, tag) => ask(a, "recordStop", { dir, ...(tag && { tag }) });
    assert.deepEqual([await stop("in"), await stop("out"), await stop("in", "a")], [0, 0, 0], "nothing there");
    for (const dir of ["in", "out"]) for (const tag of ["a", "b", "a", "c"]) await ask(a, "record", { dir, tag });
    assert.equal(await stop("in", "a"), 2);
    assert.equal(await stop("in", "a"), 2, "again: nothing changes");
    assert.equal(await stop("in", "none"), 2);
    assert.equal(await stop("out", "b"), 3, "the other direction was not touched");
    assert.equal(await stop("out"), 0);
    assert.equal(await stop("in", "c"), 1);
    await ask(a, "record", { dir: "in", tag: "c", prepend: true });
    await ask(a, "record", { dir: "out", tag: "o" });
    assert.equal(await stop("in"), 0);
    assert.equal(await stop("out", "o"), 0);
    const before = await ask(a, "recorded");
    a.emit("echo", 1);
    await next(a, "echo-back");
    assert.deepEqual(await ask(a, "recorded"), before, "what was recorded stays, nothing comes to it");
    await ask(a, "record", { dir: "in", tag: "again" });
    a.emit("x");
    assert.deepEqual((await recorded(a)).slice(before.filter((e) => e[2] !== "recorded").length), [["in", "again", "x", []]]);
  });

  test("those of other sockets stay, also on the same connection", async (t) => {
    const a = await client(t, server, "/rc");
    const b = await alsoClient(t, a, "/rc2");
    for (const socket of [a, b]) await ask(socket, "record", { dir: "in", tag: "t" });
    assert.equal(await ask(a, "recordStop", { dir: "in" }), 0);
    b.emit("x");
    assert.deepEqual(await recorded(b), [["in", "t", "x", []]]);
  });
});

overTransports("outgoing", (transport, name) => {
  test("what the socket emits: replies, bursts, rejections; never acks", async (t) => {
    const a = await client(t, server, "/rc", transport);
    assert.equal(await ask(a, "record", { dir: "out", tag: "o" }), true);
    a.emit("echo", 1, B, [null]);
    assert.deepEqual(await call(a, "echo", "acked"), "acked");
    a.emit("forbidden-out");
    a.emit("fast", 5);
    await ask(a, "burst", { count: 3 });
    await ask(a, "emit", { target: "socket", event: "e", args: ["x"] });
    await ask(a, "emit", { target: "socket", event: "v", args: [], flags: { volatile: true, compress: false } });
    assert.deepEqual(await ask(a, "recorded"), [
      ["out", "o", "echo-back", [1, B, [null]]], ["out", "o", "rejected", [{ message: "forbidden event", data: { event: "forbidden-out" } }]],
      ["out", "o", "done", ["fast", 5]], ["out", "o", "b", [0]], ["out", "o", "b", [1]], ["out", "o", "b", [2]], ["out", "o", "e", ["x"]], ["out", "o", "v", []],
    ]);
  });

  test("an emit with ack, by the socket or as a broadcast: the arguments without the ack", async (t) => {
    const a = await client(t, server, "/rc", transport);
    a.on("q", (...args) => args.at(-1)("answer"));
    await ask(a, "record", { dir: "out", tag: "o" });
    const flags = { timeout: 4000 };
    await ask(a, "emit", { target: "socket", event: "q", args: [1], ack: true });
    await ask(a, "emitWithAck", { target: "socket", event: "q", args: [2, B], flags });
    await ask(a, "emit", { to: a.id, event: "q", args: [3], ack: true, flags });
    await ask(a, "emitWithAck", { to: a.id, event: "q", args: [], flags });
    await ask(a, "ackFetched", { in: a.id, event: "q", args: ["fetched"], flags });
    assert.deepEqual((await ask(a, "recorded")).map((e) => e.slice(2)), [["q", [1]], ["q", [2, B]], ["q", [3]], ["q", []], ["q", ["fetched"]]]);
  });

  test("broadcasts that reach the socket, whoever sends them; none that do not", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc", transport);
    const main = await client(t, server, "/", transport);
    const room = `r-${name}`;
    await ask(a, "join", { rooms: [room, `${room}2`] });
    await ask(b, "join", { rooms: [room] });
    await ask(a, "record", { dir: "out", tag: "o" });
    const emit = (by, params, x) => ask(by, "emit", { event: "news", args: [x], ...params });
    await emit(b, {}, "namespace");
    await emit(a, {}, "own namespace");
    await emit(b, { to: room }, "room");
    await emit(b, { to: [room, `${room}2`, a.id] }, "three of its rooms: once");
    await emit(b, { target: "socket", to: room }, "another socket's");
    await emit(b, { target: "socket.broadcast" }, "everybody but the other");
    await emit(b, { except: b.id, flags: { volatile: true, compress: false, local: true } }, "flags");
    await ask(b, "emitFetched", { in: room, event: "news", args: ["fetched"] });
    const reached = ["namespace", "own namespace", "room", "three of its rooms: once", "another socket's", "everybody but the other", "flags", "fetched"];
    await emit(b, { to: b.id }, "not to it");
    await emit(b, { to: "nobody" }, "to nobody");
    await emit(b, { except: room }, "excluded by room");
    await emit(b, { to: room, except: a.id }, "excluded by id");
    await emit(b, { target: "io" }, "another namespace");
    await emit(a, { target: "socket.broadcast" }, "its own broadcast");
    await emit(a, { target: "socket", to: room }, "its own to a room");
    await emit(b, { target: "socket" }, "another's own");
    assert.deepEqual(await next(main, "news"), ["another namespace"]);
    assert.deepEqual((await ask(a, "recorded")).map((e) => [e[2], ...e[3]]), reached.map((x) => ["news", x]));
    assert.deepEqual((await ask(b, "recorded")), [], "it is the listener of one socket");
  });

  test("through a parent namespace", async (t) => {
    const a = await client(t, server, `/dyn-${name.length}`, transport);
    const f = await client(t, server, `/fn-${name}`, { ...transport, auth: { ok: true } });
    for (const socket of [a, f]) await ask(socket, "record", { dir: "out", tag: "o" });
    await ask(a, "emit", { target: "dyn", event: "d", args: [B] });
    await ask(a, "emit", { target: "dyn", to: [a.id], event: "d", args: [2] });
    await ask(a, "emit", { target: "dyn", except: a.id, event: "d", args: [3] });
    await ask(a, "emit", { target: "fn", event: "f", args: [] });
    assert.deepEqual(await next(f, "f"), []);
    assert.deepEqual(await ask(a, "recorded"), [["out", "o", "d", [B]], ["out", "o", "d", [2]]]);
    assert.deepEqual(await ask(f, "recorded"), [["out", "o", "f", []]]);
  });

  test("the order of the listeners: the prepended ones first; and that of the events", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc", transport);
    for (const [tag, prepend] of [["a"], ["b", true], ["c"], ["d", true]]) await ask(a, "record", { dir: "out", tag, prepend });
    await ask(b, "emit", { to: a.id, event: "one" });
    assert.deepEqual(await next(a, "one"), []); // what another socket does is in no order with what its own listeners send
    a.emit("echo", 2);
    assert.equal(await ask(a, "recordStop", { dir: "out", tag: "b" }), 3);
    a.emit("echo", 3);
    assert.deepEqual((await ask(a, "recorded")).map((e) => [e[1], e[2], ...e[3]].join(" ")), [
      "d one", "b one", "a one", "c one", "d echo-back 2", "b echo-back 2", "a echo-back 2", "c echo-back 2", "d echo-back 3", "a echo-back 3", "c echo-back 3",
    ]);
    assert.deepEqual(a.inbox.takeAll(), [["echo-back", 2], ["echo-back", 3]], "each is sent once");
  });

  test("volatile events are heard, dropped or not", async (t) => {
    const a = await client(t, server, "/rc", transport);
    await ask(a, "record", { dir: "out", tag: "o" });
    await ask(a, "volatileBurst", { count: 10 });
    assert.deepEqual((await ask(a, "recorded")).map((e) => [e[2], ...e[3]]), [...Array.from({ length: 10 }, (_, i) => ["v", i]), ["v-end", 10]]);
    assert.ok(a.inbox.items.length <= 11);
  });
});

describe("both directions", () => {
  test("in one record, as things happened", async (t) => {
    const a = await client(t, server, "/rc");
    await ask(a, "record", { dir: "in", tag: "i" });
    await ask(a, "record", { dir: "out", tag: "o" });
    a.emit("echo", 1);
    a.emit("slow", 2);
    a.emit("fast", 3);
    assert.deepEqual(await next(a, "echo-back"), [1]);
    await next(a, "done");
    assert.deepEqual(await next(a, "done"), ["slow", 2]);
    const list = (await ask(a, "recorded")).map((e) => [e[0], e[2], ...e[3].filter((x) => typeof x !== "object")].join(" "));
    const at = (line) => {
      assert.equal(list.filter((l) => l === line).length, 1, line);
      return list.indexOf(line);
    };
    assert.equal(at("in record [ack]"), 0);
    assert.ok(at("in echo 1") < at("out echo-back 1") && at("in slow 2") < at("in fast 3"));
    assert.ok(at("in fast 3") < at("out done fast 3") && at("out done fast 3") < at("out done slow 2"));
    assert.equal(list.length, 8);
  });

  // a deviation: in Greenroom the name is the text that JavaScript makes of the number
  test(`a number as the name of an event ${isReference ? "stays one" : "is its text"}`, async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    await raw.ask("/rc", "record", { dir: "in", tag: "t" });
    raw.send('2/rc,[7,"x"]', '2/rc,["7","y"]', '2/rc,8[1.5]');
    assert.equal(await raw.next(), '42/rc,["seven","x"]');
    assert.equal(await raw.next(), '42/rc,["seven","y"]');
    const name = (number) => (isReference ? number : String(number));
    assert.deepEqual((await raw.ask("/rc", "recorded")).slice(0, 3), [["in", "t", name(7), ["x"]], ["in", "t", "7", ["y"]], ["in", "t", name(1.5), ["[ack]"]]]);
  });

  test("a socket that is told to go: what comes after is not heard, and nobody else suffers", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc");
    for (const dir of ["in", "out"]) for (const socket of [a, b]) await ask(socket, "record", { dir, tag: dir });
    a.emit("bye", 1);
    assert.equal((await a.gone).reason, "io server disconnect");
    assert.deepEqual(await ask(b, "emit", { event: "x" }), true);
    assert.deepEqual((await recorded(b)).map((e) => e.slice(1, 3).join(" ")).slice(-2), ["in emit", "out x"]);
    await next(b, "x");
    a.connect();
    await new Promise((resolve) => a.once("connect", resolve));
    assert.deepEqual(await ask(a, "recorded"), [], "a new socket has no listeners");
    await expectNothing(b, b);
  });
});
