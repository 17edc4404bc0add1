// Who hears a broadcast (features K14-K16, N4, P11, R1-R5, R8, R11, R13, V2, V12; traps 3.3).
import {
  test, assert, describe, useServer, overTransports, client, clients, alsoClient, dial, up, ask, call, next, take, fence,
  expectNothing, until, farewellReason, TRANSPORTS,
} from "./support.mjs";

const server = useServer();

/** Six sockets: a in nothing, b in 1, c in 2, d in 1 and 2, e in 3, f in nothing. The room names belong to this test. */
let tests = 0;
async function six(t, nsp = "/rc", transport) {
  const tag = `t${++tests}-`;
  const [a, b, c, d, e, f] = await clients(t, server, 6, nsp, transport);
  const rooms = { 1: `${tag}1`, 2: `${tag}2`, 3: `${tag}3`, none: `${tag}none` };
  await ask(b, "join", { rooms: rooms[1] });
  await ask(c, "join", { rooms: rooms[2] });
  await ask(d, "join", { rooms: [rooms[1], rooms[2]] });
  await ask(e, "join", { rooms: rooms[3] });
  const everyone = { a, b, c, d, e, f };
  /** Emits from `by` and gives the names of those who got it (each at most once). */
  const heard = async (by, params) => {
    assert.equal(await ask(everyone[by], "emit", { event: "news", args: [1, { x: Buffer.from([2]) }], ...params }), true);
    const seen = await fence(a, ...Object.values(everyone));
    const names = [];
    for (const [i, name] of Object.keys(everyone).entries()) {
      if (seen[i].length === 0) continue;
      assert.deepEqual(seen[i], [["news", 1, { x: Buffer.from([2]) }]], name);
      names.push(name);
    }
    return names.join("");
  };
  return { ...everyone, rooms, heard };
}

overTransports("selection", (transport) => {
  test("by the namespace", async (t) => {
    const { rooms: r, heard } = await six(t, "/rc2", transport);
    for (const [params, expected] of [
      [{}, "abcdef"], [{ to: r[1] }, "bd"], [{ in: r[1] }, "bd"], [{ to: [r[1], r[2]] }, "bcd"], [{ to: r[1], in: r[2] }, "bcd"], [{ in: [r[2], r[3]] }, "cde"],
      [{ except: r[1] }, "acef"], [{ except: [r[1], r[3]] }, "acf"], [{ to: r[1], except: r[2] }, "b"], [{ to: [r[1], r[3]], except: [r[2], r.none] }, "be"],
      [{ to: r[1], except: r[1] }, ""], [{ to: r.none }, ""], [{ to: [r.none, r[3]] }, "e"], [{ to: [] }, "abcdef"], [{ except: r.none }, "abcdef"],
      [{ to: r[1], flags: { local: true } }, "bd"], [{ flags: { compress: false } }, "abcdef"], [{ to: r[2], flags: { compress: true } }, "cd"],
    ]) assert.equal(await heard("a", params), expected, JSON.stringify(params));
  });

  test("by a socket: the sender is left out", async (t) => {
    const { rooms: r, heard } = await six(t, "/rc2", transport);
    for (const [by, params, expected] of [
      ["a", { target: "socket.broadcast" }, "bcdef"], ["b", { target: "socket.broadcast" }, "acdef"], ["b", { target: "socket.broadcast", to: r[1] }, "d"],
      ["d", { target: "socket", to: r[1] }, "b"], ["d", { target: "socket", in: r[1] }, "b"], ["d", { target: "socket", to: [r[1], r[2]] }, "bc"],
      ["d", { target: "socket", to: r[1], in: r[2] }, "bc"], ["a", { target: "socket", to: r[1] }, "bd"], ["d", { target: "socket", except: r[1] }, "acef"],
      ["d", { target: "socket.broadcast", except: [r[2], r[3]] }, "abf"], ["a", { target: "socket", except: r[1] }, "cef"], ["e", { target: "socket", to: r[3] }, ""],
      ["e", { target: "socket", flags: { local: true } }, "abcdf"], ["a", { target: "socket" }, "a"], ["d", { target: "socket", flags: { compress: false } }, "d"],
      ["a", { target: "socket.broadcast", flags: { compress: true, local: true } }, "bcdef"],
    ]) assert.equal(await heard(by, params), expected, `${by} ${JSON.stringify(params)}`);
  });

  test("ids are rooms, to send to and to leave out", async (t) => {
    const { a, b, c, d, rooms: r, heard } = await six(t, "/rc2", transport);
    assert.equal(await heard("a", { to: b.id }), "b");
    assert.equal(await heard("a", { to: [b.id, c.id, r[1]] }), "bcd");
    assert.equal(await heard("a", { to: r[1], except: d.id }), "b");
    assert.equal(await heard("a", { except: [a.id, b.id] }), "cdef");
    assert.equal(await heard("a", { target: "socket", to: a.id }), "", "never oneself");
    assert.equal(await heard("a", { target: "socket", to: b.id }), "b");
    assert.equal(await heard("a", { to: a.id }), "a");
  });

  test("io is the main namespace", async (t) => {
    const { a, heard } = await six(t, "/rc2", transport);
    const main = await client(t, server, "/", transport);
    assert.equal(await heard("a", { target: "io", to: main.id }), "");
    assert.deepEqual(await next(main, "news"), [1, { x: Buffer.from([2]) }]);
    assert.equal(await heard("a", { target: "io", except: main.id }), "");
    await ask(a, "emit", { target: "io", event: "last" });
    await next(main, "last");
    assert.deepEqual(main.inbox.items, [["auth", {}]]);
  });
});

describe("what is sent", () => {
  test("every kind of arguments, and none", async (t) => {
    const list = await Promise.all(Object.values(TRANSPORTS).map((transport) => client(t, server, "/rc", { ...transport, auth: { room: "args" } })));
    for (const args of [[], [null], [1, "é", { a: [] }], [Buffer.from([1, 2]), { b: [Buffer.alloc(0)] }], ["x".repeat(20_000)], [Buffer.alloc(20_000, 5)]]) {
      await ask(list[0], "emit", { to: "args", event: "e", args });
      for (const socket of list) assert.deepEqual(await next(socket, "e"), args);
    }
    await ask(list[0], "emit", { to: "args", event: "default" });
    for (const socket of list) assert.deepEqual(await next(socket, "default"), []);
  });

  test("200 kB to 20 clients on mixed transports", async (t) => {
    const kinds = Object.values(TRANSPORTS);
    const list = await Promise.all(Array.from({ length: 20 }, (_, i) => client(t, server, "/rc", { ...kinds[i % 3], auth: { room: "large" } })));
    const text = "0123456789".repeat(20_000);
    const data = Buffer.alloc(200_000, 9);
    await ask(list[0], "emit", { to: "large", event: "e", args: [text] });
    await ask(list[1], "emit", { to: "large", event: "e", args: [data] });
    for (const socket of list) {
      const events = await take(socket, "e", 2);
      assert.ok(events[0][0] === text);
      assert.ok(data.equals(events[1][0]));
    }
  });

  test("event names of all kinds", async (t) => {
    const a = await client(t, server, "/rc");
    for (const event of ["", "é 👍", "error", "message", "a b", "__proto__", "7", "\u2028"]) {
      await ask(a, "emit", { to: a.id, event, args: [event] });
      assert.deepEqual(await next(a, event), [event]);
    }
  });

  for (const name of ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]) {
    test(`the reserved name ${name} fails, whatever the target`, async (t) => {
      const a = await client(t, server, "/rc");
      for (const selection of [{}, { target: "io" }, { target: "socket" }, { target: "socket.broadcast" }, { to: "x" }, { target: "socket", to: "x" }]) {
        await assert.rejects(ask(a, "emit", { ...selection, event: name }), { message: `"${name}" is a reserved event name` });
      }
      await assert.rejects(ask(a, "emit", { event: name, ack: true, flags: { timeout: 50 } }), { message: `"${name}" is a reserved event name` });
      await assert.rejects(ask(a, "emitWithAck", { target: "socket", event: name }), { message: `"${name}" is a reserved event name` });
      assert.deepEqual(a.inbox.items, []);
      assert.equal((await ask(a, "info")).connected, true);
    });
  }

  test("an unknown target fails", async (t) => {
    const a = await client(t, server, "/rc");
    await assert.rejects(ask(a, "emit", { target: "nobody", event: "x" }), { message: "unknown target" });
  });

  test("volatile broadcasts reach those that can be written to, in order", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc");
    for (let i = 0; i < 20; i++) {
      await ask(a, "emit", { to: b.id, event: "v", args: [i], flags: { volatile: true } });
      assert.deepEqual(await next(b, "v"), [i]);
    }
    await ask(b, "emit", { target: "socket", event: "v", args: ["own"], flags: { volatile: true } });
    assert.deepEqual(await next(b, "v"), ["own"]);
    await ask(a, "emit", { to: b.id, event: "v", args: [Buffer.from([1]), Buffer.from([2])], flags: { volatile: true } });
    assert.deepEqual(await next(b, "v"), [Buffer.from([1]), Buffer.from([2])], "whole or not at all");
  });
});

describe("who is there", () => {
  test("a socket that waits in a middleware is not reached, though it has joined the room", async (t) => {
    const observer = await client(t, server, "/rc");
    const waiting = dial(t, server, "/rc", { auth: { room: "pending", delay: 300 } });
    await until(() => ask(observer, "roomSizes"), (sizes) => sizes.pending === 1, "the join of the middleware");
    await ask(observer, "emit", { to: "pending", event: "too early" });
    await ask(observer, "emit", { event: "to all" });
    await up(waiting);
    await ask(observer, "emit", { to: "pending", event: "in time" });
    assert.deepEqual(await waiting.inbox.take(), ["in time"]);
  });

  test("a socket that has left the namespace is not reached, its neighbour on the connection is", async (t) => {
    const a = await client(t, server, "/rc");
    const b = await client(t, server, "/rc", { auth: { room: "stay" } });
    const c = await alsoClient(t, b, "/rc2", { room: "stay" });
    const { id } = b;
    b.disconnect();
    assert.equal(await farewellReason(a, id), "client namespace disconnect");
    await ask(a, "emit", { to: "stay", event: "gone?" });
    await ask(c, "emit", { to: "stay", event: "here" });
    assert.deepEqual(await c.inbox.take(), ["here"]);
  });

  test("two sockets of one page in the same namespace are two receivers", async (t) => {
    const a = await client(t, server, "/rc", { auth: { room: "twice" } });
    const b = await client(t, server, "/rc", { auth: { room: "twice" } });
    await ask(a, "emit", { target: "socket", to: "twice", event: "x" });
    assert.deepEqual(await next(b, "x"), []);
    await expectNothing(b, a);
  });
});

overTransports("socketsJoin, socketsLeave, disconnectSockets", (transport, name) => {
  const rooms = async (...sockets) => (await Promise.all(sockets.map((s) => ask(s, "rooms")))).map((r) => r.rooms.join());
  test("join and leave by selection", async (t) => {
    const [a, b, c] = await clients(t, server, 3, "/rc2", transport);
    const r = (x) => `${name}-${x}`;
    assert.equal(await ask(a, "socketsJoin", { to: [b.id, c.id], rooms: r("bc") }), true);
    assert.deepEqual(await rooms(a, b, c), ["", r("bc"), r("bc")]);
    await ask(a, "socketsJoin", { in: r("bc"), except: c.id, rooms: [r("1"), r("2")] });
    assert.deepEqual(await rooms(a, b, c), ["", [r("1"), r("2"), r("bc")].join(), r("bc")]);
    await ask(a, "socketsLeave", { in: r("bc"), rooms: [r("1"), r("bc")] });
    assert.deepEqual(await rooms(a, b, c), ["", r("2"), ""]);
    await ask(a, "socketsJoin", { target: "socket.broadcast", in: [a.id, c.id], rooms: r("others") });
    assert.deepEqual(await rooms(a, b, c), ["", r("2"), r("others")], "never the asking socket");
    await ask(a, "socketsLeave", { target: "io", rooms: [r("2"), r("others")] });
    assert.deepEqual(await rooms(a, b, c), ["", r("2"), r("others")], "io is another namespace");
    await ask(a, "socketsJoin", { in: r("none"), rooms: r("x") });
    assert.deepEqual(await rooms(a, b, c), ["", r("2"), r("others")]);
    await ask(a, "socketsJoin", { in: a.id, rooms: r("self") });
    assert.deepEqual(await rooms(a), [r("self")]);
  });

  test("an emit after socketsJoin reaches the new members", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc2", transport);
    for (let i = 0; i < 10; i++) {
      await ask(a, "socketsJoin", { in: b.id, rooms: `${name}-j${i}` });
      await ask(a, "emit", { to: `${name}-j${i}`, event: "x", args: [i] });
      assert.deepEqual(await next(b, "x"), [i]);
    }
  });

  test("disconnect by selection: the namespace, or the connection", async (t) => {
    const observer = await client(t, server, "/rc2", transport);
    const a = await client(t, server, "/rc2", { ...transport, auth: { room: `${name}-out` } });
    const also = await alsoClient(t, a, "/custom");
    const b = await client(t, server, "/rc2", { ...transport, auth: { room: `${name}-end` } });
    const alsoB = await alsoClient(t, b, "/custom");
    const ids = [a.id, b.id];
    assert.equal(await ask(observer, "disconnectSockets", { in: `${name}-out` }), true);
    assert.equal((await a.gone).reason, "io server disconnect");
    assert.equal(await call(also, "message-with-ack", 1), 1);
    assert.equal(await ask(observer, "disconnectSockets", { in: `${name}-end`, close: true }), true);
    assert.equal((await b.gone).reason, "io server disconnect");
    assert.equal((await alsoB.gone).reason, "io server disconnect");
    for (const id of ids) assert.equal(await farewellReason(observer, id), "server namespace disconnect");
    assert.equal(observer.connected, true);
  });

  test("what was sent before a disconnectSockets still arrives", async (t) => {
    const observer = await client(t, server, "/rc2", transport);
    const a = await client(t, server, "/rc2", transport);
    const { id } = a;
    for (let i = 0; i < 20; i++) observer.emit("emit", { to: id, event: "n", args: [i] });
    await ask(observer, "disconnectSockets", { in: id });
    assert.equal((await a.gone).reason, "io server disconnect");
    assert.deepEqual(a.inbox.takeAll(), Array.from({ length: 20 }, (_, i) => ["n", i]));
  });
});

test("disconnectSockets of a whole namespace, the asking socket included", async (t) => {
  const main = await clients(t, server, 3, "/");
  const observer = await client(t, server, "/rc");
  assert.equal(await ask(observer, "disconnectSockets", { target: "io" }), true);
  for (const socket of main) assert.equal((await socket.gone).reason, "io server disconnect");
  observer.emit("disconnectSockets", { in: observer.id }, () => assert.fail("no ack for a socket that is gone"));
  assert.equal((await observer.gone).reason, "io server disconnect");
});

describe("/bench", () => {
  overTransports("join, publish, leave", (transport, name) => {
    test("acks with no argument; the sender is a receiver", async (t) => {
      const [a, b, c] = await clients(t, server, 3, "/bench", transport);
      const ack = (socket, ...args) => new Promise((resolve) => socket.emit(...args, (...list) => resolve(list)));
      assert.deepEqual(await ack(a, "echo", { x: Buffer.from([1]) }), [{ x: Buffer.from([1]) }]);
      assert.deepEqual(await ack(a, "join", name), []);
      assert.deepEqual(await ack(b, "join", name), []);
      assert.deepEqual(await ack(a, "publish", name, { p: 1 }), []);
      assert.deepEqual(await next(a, "msg"), [{ p: 1 }]);
      assert.deepEqual(await next(b, "msg"), [{ p: 1 }]);
      assert.deepEqual(await ack(c, "publish", name, "outsider"), []);
      assert.deepEqual(await next(a, "msg"), ["outsider"]);
      assert.deepEqual(await next(b, "msg"), ["outsider"]);
      assert.deepEqual(await ack(a, "leave", name), []);
      assert.deepEqual(await ack(b, "publish-all", [1]), []);
      for (const socket of [a, b, c]) assert.deepEqual(await next(socket, "msg"), [[1]]);
      b.emit("publish", name, "no ack");
      assert.deepEqual(await next(b, "msg"), ["no ack"]);
      await ack(b, "publish-all", "end");
      for (const socket of [a, b, c]) assert.deepEqual(await socket.inbox.take(), ["msg", "end"]);
    });
  });
});
