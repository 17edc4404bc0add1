// Namespaces: one connection for several, independence, unknown names, of() (features N1-N4, P10, V3, M1-M4; traps 3.2, 3.4).
import {
  test, assert, describe, useServer, overTransports, client, clients, alsoClient, alsoDial, dial, up, refusal, ask, call, next,
  until, farewellReason, Raw, sleep, startServer,
} from "./support.mjs";

const server = useServer();
const STATIC = ["/", "/admin", "/bench", "/chat", "/custom", "/rc", "/rc2"];

overTransports("one connection", (transport) => {
  test("several namespaces at once", async (t) => {
    const a = await client(t, server, "/rc", transport);
    await until(() => ask(a, "counts"), (c) => c.engine === 1); // those of the tests before are gone
    const main = await alsoClient(t, a, "/", { m: 1 });
    const b = await alsoClient(t, a, "/rc2", { hello: true });
    const bench = await alsoClient(t, a, "/bench");
    assert.deepEqual(await next(main, "auth"), [{ m: 1 }]);
    assert.deepEqual(await next(b, "hello"), [{ nsp: "/rc2", recovered: false }]);
    assert.equal((await ask(a, "counts")).engine, 1, "no further connection");
    assert.deepEqual(await Promise.all([call(main, "message-with-ack", 1), call(a, "echo", 2), call(b, "echo", 3), call(bench, "echo", 4)]), [1, 2, 3, 4]);
    assert.equal(new Set([a.id, main.id, b.id, bench.id]).size, 4);
  });

  test("leaving one keeps the others", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const b = await alsoClient(t, a, "/rc2");
    const { id } = a;
    a.disconnect();
    assert.equal((await a.gone).reason, "io client disconnect");
    assert.equal(await farewellReason(b, id, "/rc"), "client namespace disconnect");
    assert.equal(await call(b, "echo", 1), 1);
    a.connect();
    await up(a);
    assert.notEqual(a.id, id);
    assert.deepEqual(await ask(a, "rooms"), { self: true, rooms: [] });
  });

  test("the server disconnects one: the others stay", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const b = await alsoClient(t, a, "/rc2");
    assert.equal(await ask(a, "close"), true);
    assert.equal((await a.gone).reason, "io server disconnect");
    assert.equal(await call(b, "echo", 1), 1);
    a.connect();
    await up(a);
    assert.equal(await call(a, "echo", 2), 2);
  });

  test("the server disconnects one with the connection: all go, the connection too", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const b = await alsoClient(t, a, "/rc2");
    const ids = [a.id, b.id];
    assert.equal(await ask(a, "close", { close: true }), true);
    assert.equal((await a.gone).reason, "io server disconnect");
    assert.equal((await b.gone).reason, "io server disconnect");
    const observer = await client(t, server, "/rc");
    assert.equal(await farewellReason(observer, ids[0]), "server namespace disconnect");
    assert.equal(await farewellReason(observer, ids[1], "/rc2"), "server namespace disconnect");
  });

  test("a refused namespace harms no other", async (t) => {
    const a = await client(t, server, "/rc", transport);
    assert.equal((await refusal(alsoDial(t, a, "/nothing"))).message, "Invalid namespace");
    const admin = alsoDial(t, a, "/admin");
    const err = await refusal(admin);
    assert.deepEqual([err.message, err.data], ["admin only", { code: 403 }]);
    assert.equal(await call(a, "echo", 1), 1);
    admin.auth = { key: "letmein" };
    admin.connect();
    await up(admin);
    assert.equal((await call(admin, "stats")).adminUsers, 1);
    assert.equal(await call(a, "echo", 2), 2);
  });

  test("an unknown namespace", async (t) => {
    const err = await refusal(dial(t, server, "/nothing-here", transport));
    assert.equal(err.message, "Invalid namespace");
    assert.equal(err.data, undefined);
  });

  test("refused by the middleware: message and data", async (t) => {
    for (const [token, message, data] of [
      ["bad", "not authorized", { code: 401 }], ["bad-nodata", "nope", undefined], ["bad-string", "text data", "just text"], ["bad-late", "late", { mw: ["a", "b"] }],
    ]) {
      for (const nsp of ["/rc", "/rc2"]) {
        const err = await refusal(dial(t, server, nsp, { ...transport, auth: { token } }));
        assert.deepEqual([err.message, err.data], [message, data]);
      }
    }
  });

  test("middlewares in order, with a delay", async (t) => {
    const begin = Date.now();
    const a = await client(t, server, "/rc", { ...transport, auth: { delay: 150 } });
    assert.ok(Date.now() - begin >= 140);
    assert.deepEqual((await ask(a, "data")).mw, ["a", "b"]);
  });
});

test("the same namespace twice: two connections, two sockets", async (t) => {
  const [a, b] = await clients(t, server, 2, "/rc");
  assert.notEqual(a.id, b.id);
  assert.notEqual(a.io.engine.id, b.io.engine.id);
  await ask(a, "join", { rooms: "one of them" });
  assert.deepEqual((await ask(b, "rooms")).rooms, []);
});

describe("names and creation", () => {
  const own = useServer();
  test("those that exist from the start", async (t) => {
    const a = await client(t, own, "/rc");
    assert.deepEqual(await ask(a, "namespaces"), STATIC);
  });
  test("of() gives the name with its slash, and creates", async (t) => {
    const a = await client(t, own, "/rc");
    assert.equal(await ask(a, "of", { name: "/" }), "/");
    assert.equal(await ask(a, "of", { name: "" }), "/");
    assert.equal(await ask(a, "of", { name: "rc" }), "/rc");
    assert.equal(await ask(a, "of", { name: "/rc" }), "/rc");
    assert.deepEqual(await ask(a, "namespaces"), STATIC);
    assert.equal(await ask(a, "of", { name: "made" }), "/made");
    assert.deepEqual(await ask(a, "namespaces"), [...STATIC, "/made"].sort());
    assert.equal(await ask(a, "of", { name: "/made" }), "/made");
    const made = await client(t, own, "/made");
    assert.equal((await ask(a, "counts", { nsp: "/made" })).nsp, 1);
    made.disconnect();
    await until(() => ask(a, "counts", { nsp: "/made" }), (c) => c.nsp === 0);
    assert.ok((await ask(a, "namespaces")).includes("/made"), "it stays when it is empty");
  });
});

describe("clients in the middle of a middleware", () => {
  test("not counted, not connected, other namespaces of the connection work meanwhile", async (t) => {
    const own = await startServer(t);
    const a = await client(t, own, "/rc");
    const slow = alsoDial(t, a, "/rc2", { delay: 300, room: "waiting" });
    await until(() => ask(a, "roomSizes", { nsp: "/rc2" }), (sizes) => sizes.waiting === 1);
    assert.equal((await ask(a, "counts", { nsp: "/rc2" })).nsp, 0);
    assert.equal(await call(a, "echo", 1), 1);
    await up(slow);
    assert.equal((await ask(a, "counts", { nsp: "/rc2" })).nsp, 1);
    assert.deepEqual((await ask(slow, "rooms")).rooms, ["waiting"]);
  });

  test("one that leaves meanwhile: rooms cleaned, no disconnect event, no socket", async (t) => {
    const own = await startServer(t);
    const a = await client(t, own, "/rc");
    const leavers = await Promise.all([1, 2, 3, 4].map((i) => Raw.connect(t, own)));
    for (const [i, raw] of leavers.entries()) raw.send(`0/rc,{"delay":200,"room":"leaving","data":${i}}`);
    await until(() => ask(a, "roomSizes"), (sizes) => sizes.leaving === 4);
    for (const [i, raw] of leavers.entries()) i % 2 ? raw.ws.socket.terminate() : raw.ws.socket.close();
    await until(() => ask(a, "counts"), (c) => c.engine === 1);
    await until(() => ask(a, "roomSizes"), (sizes) => sizes.leaving === undefined, "the room");
    await sleep(250); // the middleware has certainly ended
    assert.deepEqual(await ask(a, "counts"), { nsp: 1, engine: 1 });
    assert.deepEqual(await ask(a, "disconnectLog"), []);
    assert.deepEqual(await ask(a, "roomSizes"), {});
  });

  test("refused ones leave nothing behind", async (t) => {
    const own = await startServer(t);
    const a = await client(t, own, "/rc");
    await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const socket = dial(t, own, "/rc", { auth: { token: i % 2 ? "bad" : "bad-late", room: `r${i}`, delay: i } });
      await refusal(socket);
      socket.disconnect();
    }));
    await until(() => ask(a, "counts"), (c) => c.nsp === 1 && c.engine === 1);
    assert.deepEqual(await ask(a, "roomSizes"), {});
    assert.deepEqual(await ask(a, "disconnectLog"), []);
  });

  test("a refused client may try again on the same connection", async (t) => {
    const a = await client(t, server, "/rc");
    const b = alsoDial(t, a, "/rc2", { token: "bad" });
    await refusal(b);
    b.auth = { token: "good", data: 1 };
    b.connect();
    await up(b);
    assert.deepEqual(await ask(b, "data"), { mw: ["a", "b"], auth: 1 });
  });

  test("middlewares run at each CONNECT, for that namespace only", async (t) => {
    const a = await client(t, server, "/rc", { auth: { token: "fine" } });
    await ask(a, "data", { set: { old: true } });
    a.disconnect();
    await a.gone;
    a.auth = { token: "bad" };
    a.connect();
    await refusal(a);
    a.auth = {};
    a.connect();
    await up(a);
    assert.deepEqual(await ask(a, "data"), { mw: ["a", "b"] });
    const custom = await client(t, server, "/custom", { auth: { token: "bad" } });
    assert.deepEqual(await next(custom, "auth"), [{ token: "bad" }]);
  });

  test("slow and quick clients do not wait for each other", async (t) => {
    const slow = dial(t, server, "/rc", { auth: { delay: 600 } });
    const begin = Date.now();
    await clients(t, server, 5, "/rc");
    assert.equal(slow.connected, false);
    assert.ok(Date.now() - begin < 600);
    await up(slow);
  });
});
