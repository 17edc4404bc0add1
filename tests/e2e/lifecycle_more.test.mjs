// Lives and ends of sockets, connections and namespaces that other files do not show (features K4, K9, K20-K23, V5, P10, R14).
import {
  test, greenroomOnly, assert, describe, useServer, startServer, overTransports, client, clients, alsoClient, dial, alsoDial, up, ask, call,
  next, nextAny, until, farewell, farewellReason, within, expectNothing, Raw, Polling, pollingSocket,
} from "./support.mjs";

const server = useServer();

/** A connection in /rc, /rc2, /dyn-1, /fn-1 (all in room `home`), /chat (in `tech`) and /. */
async function everywhere(t, transport) {
  const rc = await client(t, server, "/rc", { ...transport, auth: { room: "home" } });
  const sockets = {
    "/rc": rc, "/rc2": await alsoClient(t, rc, "/rc2", { room: "home" }), "/dyn-1": await alsoClient(t, rc, "/dyn-1"),
    "/fn-1": await alsoClient(t, rc, "/fn-1", { ok: true }), "/chat": await alsoClient(t, rc, "/chat", { username: "u" }), "/": await alsoClient(t, rc, "/"),
  };
  for (const nsp of ["/dyn-1", "/fn-1"]) await ask(sockets[nsp], "join", { rooms: "home" });
  await call(sockets["/chat"], "join", "tech");
  const ids = Object.fromEntries(Object.entries(sockets).map(([nsp, s]) => [nsp, s.id]));
  return { rc, sockets, ids };
}
const CONTROLLED = ["/rc", "/rc2", "/dyn-1", "/fn-1"];

overTransports("the end of a connection in six namespaces", (transport) => {
  // [what, how, the server's reason in every namespace, the client's]
  const ENDS = [
    ["the server closes the connection", ({ rc }) => rc.emit("connClose", {}), "forced close", "transport close"],
    ["the server disconnects one socket with the connection", ({ sockets }) => sockets["/dyn-1"].emit("close", { close: true }), "server namespace disconnect", "io server disconnect"],
    ["bye with the connection", ({ sockets }) => sockets["/fn-1"].emit("bye", 1, true), "server namespace disconnect", "io server disconnect"],
    ["another disconnects one with the connection", ({ ids }, o) => ask(o, "disconnectOther", { id: ids["/rc"], close: true }), "server namespace disconnect", "io server disconnect"],
    ["a selection is disconnected with the connection", (_, o) => ask(o, "disconnectSockets", { in: "home", close: true }), "server namespace disconnect", "io server disconnect"],
    ["the client closes the connection", ({ rc }) => rc.io.engine.close(), "transport close", "forced close"],
    ["the client breaks the protocol in one of them", ({ rc }) => rc.io.engine.write("2/rc2,[]"), "forced close", "transport close"],
  ];
  for (const [what, act, serverReason, clientReason] of ENDS) {
    test(`${what}: each namespace is told, once, with its rooms still there`, async (t) => {
      const observer = await client(t, server, "/rc");
      const mate = await client(t, server, "/chat", { auth: { username: "mate" } });
      await call(mate, "join", "tech");
      const all = await everywhere(t, transport);
      assert.deepEqual(await next(mate, "user-joined"), [{ room: "tech", username: "u" }]);
      act(all, observer);
      for (const [nsp, socket] of Object.entries(all.sockets)) assert.equal((await within(socket.gone, `end in ${nsp}`)).reason, clientReason, nsp);
      for (const nsp of CONTROLLED) {
        const { id } = { id: all.ids[nsp] };
        assert.deepEqual(await farewell(observer, id, nsp), { id, event: "disconnecting", reason: serverReason, rooms: ["home"] }, nsp);
        assert.deepEqual((await ask(observer, "roomSizes", { nsp })).home, undefined, nsp);
      }
      assert.deepEqual(await next(mate, "user-left"), [{ room: "tech", username: "u" }]);
      await until(() => ask(observer, "counts"), (c) => c.engine === 2 && c.nsp === 1);
      for (const nsp of ["/rc2", "/dyn-1", "/fn-1", "/"]) assert.equal((await ask(observer, "counts", { nsp })).nsp, 0, nsp);
      assert.equal((await ask(observer, "counts", { nsp: "/chat" })).nsp, 1);
      for (const nsp of CONTROLLED) assert.equal((await ask(observer, "disconnectLog", { nsp, id: all.ids[nsp] })).length, 2, "once");
      assert.deepEqual(mate.inbox.takeAll().map((e) => e[0]).filter((e) => e.startsWith("user")), []);
    });
  }

  test("each namespace may end by itself, in any order, until the connection is alone", async (t) => {
    const observer = await client(t, server, "/rc");
    const { rc, sockets, ids } = await everywhere(t, transport);
    sockets["/dyn-1"].disconnect();
    sockets["/rc2"].emit("close", {});
    await ask(observer, "disconnectOther", { id: ids["/rc"] });
    sockets["/fn-1"].emit("bye", "x");
    assert.equal((await sockets["/rc2"].gone).reason, "io server disconnect");
    assert.equal((await sockets["/fn-1"].gone).reason, "io server disconnect");
    assert.equal((await rc.gone).reason, "io server disconnect");
    for (const [nsp, reason] of [["/dyn-1", "client namespace disconnect"], ["/rc2", "server namespace disconnect"], ["/rc", "server namespace disconnect"], ["/fn-1", "server namespace disconnect"]]) {
      assert.equal(await farewellReason(observer, ids[nsp], nsp), reason);
    }
    assert.equal(await call(sockets["/"], "message-with-ack", 1), 1);
    assert.deepEqual((await call(sockets["/chat"], "users")).users, ["u"]);
    assert.equal((await ask(observer, "counts")).engine, 2);
    for (const nsp of ["/rc", "/rc2", "/fn-1"]) {
      sockets[nsp].connect();
      await up(sockets[nsp]);
      assert.notEqual(sockets[nsp].id, ids[nsp]);
      assert.equal(await call(sockets[nsp], "echo", nsp), nsp);
    }
    assert.equal((await ask(observer, "counts")).engine, 2, "still the same connection");
    for (const socket of Object.values(sockets)) socket.disconnect();
    await until(() => ask(observer, "counts"), (c) => c.engine === 1);
  });
});

describe("on the wire", () => {
  test("the server's disconnect with the connection: DISCONNECT for each joined namespace, none for one that waits or refused", async (t) => {
    const observer = await client(t, server, "/rc");
    for (const end of [(raw) => raw.send('2/rc,["bye",1,true]'), (raw) => ask(observer, "disconnectSockets", { in: raw.id, close: true })]) {
      const raw = await Raw.connect(t, server, "/rc");
      await raw.join("/bench");
      raw.send("0/dyn-7,", '0/rc2,{"delay":60000}', '0/admin,{}', "0/unknown,");
      assert.match(await raw.next(), /^4[04]\//);
      await raw.ask("/rc", "rooms");
      await until(() => ask(observer, "counts", { nsp: "/dyn-7" }), (c) => c.nsp === 1);
      end(raw);
      const packets = [];
      while (packets.length < 3) {
        const packet = await raw.next();
        if (packet.startsWith("41")) packets.push(packet);
      }
      assert.deepEqual(packets.sort(), ["41/bench,", "41/dyn-7,", "41/rc,"]);
      await raw.expectClosed();
      assert.deepEqual(raw.inbox.items, []);
      assert.equal(await farewellReason(observer, raw.id), "server namespace disconnect");
      await until(() => ask(observer, "counts", { nsp: "/dyn-7" }), (c) => c.nsp === 0);
    }
  });

  test("the server's close of the connection sends no DISCONNECT", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    await raw.join("/rc2");
    raw.send('2/rc,1["connClose",{}]');
    assert.equal(await raw.next(), '43/rc,1[{"ok":true}]');
    await raw.expectClosed();
    assert.deepEqual(raw.inbox.items, []);
  });

  test("the same over polling: the ack, then the end", async (t) => {
    const observer = await client(t, server, "/rc");
    const a = await pollingSocket(server, "/rc");
    await a.send('42/rc,1["connClose",{}]');
    const packets = [];
    while (!packets.includes("1")) packets.push(...(await a.poll()).filter((p) => p !== "6"));
    assert.deepEqual(packets, ['43/rc,1[{"ok":true}]', "1"]);
    await a.expectGone();
    assert.equal(await farewellReason(observer, a.socketId), "forced close");
    const b = await pollingSocket(server, "/rc");
    await b.send('42/rc,["bye",2,true]');
    const rest = [];
    while (!rest.includes("1")) rest.push(...(await b.poll()).filter((p) => p !== "6"));
    assert.deepEqual(rest, ['42/rc,["bye",2]', "41/rc,", "1"]);
    await b.expectGone();
  });

  test("the server disconnects the last namespace: the connection stays, and may join again", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send('2/rc,["bye",1]');
    assert.equal(await raw.next(), '42/rc,["bye",1]');
    assert.equal(await raw.next(), "41/rc,");
    const before = raw.id;
    assert.notEqual(await raw.join("/rc"), before);
    await raw.expectAlive();
  });

  test("disconnecting twice does what once does", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    await raw.join("/rc2");
    for (let i = 0; i < 3; i++) observer.emit("disconnectOther", { id: raw.id });
    observer.emit("disconnectSockets", { in: raw.id });
    assert.equal(await raw.next(), "41/rc,");
    await raw.expectAlive("/rc2");
    assert.deepEqual(raw.inbox.items, []);
    await farewell(observer, raw.id);
    assert.equal((await ask(observer, "disconnectLog", { id: raw.id })).length, 2);
  });

  test("who was told to go is found no more, and the connection is not closed for it", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    await raw.join("/rc2");
    const found = [];
    for (let i = 0; i < 2; i++) found.push(await ask(observer, "disconnectOther", { id: raw.id }));
    assert.deepEqual(found, [true, false]);
    await ask(observer, "disconnectSockets", { in: raw.id, close: true });
    assert.equal(await ask(observer, "disconnectOther", { id: raw.id, close: true }), false);
    assert.deepEqual(await ask(observer, "fetchSockets", { in: raw.id }), []);
    assert.equal(await raw.next(), "41/rc,");
    await raw.expectAlive("/rc2");
    assert.deepEqual(raw.inbox.items, []);
  });
});

describe("what a connection's sockets do not share", () => {
  test("data, rooms, listeners, records", async (t) => {
    const a = await client(t, server, "/rc", { auth: { data: "a" } });
    const b = await alsoClient(t, a, "/rc2", { data: "b" });
    await ask(a, "data", { set: { x: 1 } });
    await ask(a, "join", { rooms: "r" });
    await ask(a, "listen", { event: "e" });
    await ask(a, "record", { dir: "in", tag: "t" });
    assert.deepEqual(await ask(b, "data"), { mw: ["a", "b"], auth: "b" });
    assert.deepEqual(await ask(b, "rooms"), { self: true, rooms: [] });
    b.emit("e", 1);
    assert.deepEqual(await ask(b, "recorded"), []);
    await expectNothing(b, b);
    await expectNothing(a, a);
  });

  test("nothing of a socket's life is left when the client comes back to the namespace", async (t) => {
    const a = await client(t, server, "/rc", { auth: { room: "first life" } });
    const { id } = a;
    await ask(a, "data", { set: { x: 1 } });
    await ask(a, "listen", { event: "e" });
    await ask(a, "record", { dir: "out", tag: "t" });
    a.disconnect();
    await farewell(await client(t, server, "/rc"), id);
    a.auth = {};
    a.connect();
    await up(a);
    assert.deepEqual(await ask(a, "data"), { mw: ["a", "b"] });
    assert.deepEqual(await ask(a, "rooms"), { self: true, rooms: [] });
    a.emit("e", 1);
    a.emit("echo", 2);
    assert.deepEqual(await nextAny(a), ["echo-back", 2]);
    assert.deepEqual(await ask(a, "recorded"), []);
    assert.equal(await ask(a, "listen", { event: "e" }), 1, "listeners are counted from 1 again");
    assert.deepEqual(await ask(a, "errorLog", { id: a.id }), []);
  });

  test("joined and left 200 times on one connection: nothing is left, nothing is reported twice", async (t) => {
    const own = await startServer(t);
    const observer = await client(t, own, "/rc");
    const raw = await Raw.connect(t, own, "/rc");
    for (let i = 0; i < 200; i++) {
      await raw.join("/dyn-3");
      raw.send("1/dyn-3,");
      await until(() => ask(observer, "counts", { nsp: "/dyn-3" }), (c) => c.nsp === 0);
    }
    assert.deepEqual(await ask(observer, "newNamespaces"), ["/dyn-3"]);
    assert.equal((await ask(observer, "disconnectLog", { nsp: "/dyn-3" })).length, 400);
    assert.equal((await ask(observer, "roomLog", { nsp: "/dyn-3" })).length, 800);
    assert.deepEqual(await ask(observer, "roomSizes", { nsp: "/dyn-3" }), {});
    assert.deepEqual(await ask(observer, "counts"), { nsp: 2, engine: 2 });
  });
});

describe("acks that come too late", () => {
  greenroomOnly("an ack of a socket that has left is not sent", "there, it is sent as long as the connection is open", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    await raw.join("/rc2");
    raw.send('2/rc,1["ack-later",100,"late"]');
    await raw.ask("/rc", "rooms");
    raw.send("1/rc,", '2/rc2,2["ack-later",150,"own"]');
    assert.equal(await raw.next(), '43/rc2,2["own"]');
  });

  test("the client's answer to a socket that it has left counts for nothing", async (t) => {
    const observer = await client(t, server, "/rc");
    const raw = await Raw.connect(t, server, "/rc");
    raw.send('2/rc,["emit",{"target":"socket","event":"q","ack":true,"flags":{"timeout":200}}]');
    const [, id] = /^42\/rc,(\d+)\["q"\]$/.exec(await raw.next());
    raw.send("1/rc,");
    await farewell(observer, raw.id);
    await raw.join("/rc");
    raw.send(`3/rc,${id}["late"]`);
    await raw.expectAlive();
    assert.deepEqual(raw.inbox.items, []);
  });
});

describe("namespaces at run time", () => {
  test("of(): the same name from 30 clients at once makes one; static ones are not reported", async (t) => {
    const own = await startServer(t);
    const list = await clients(t, own, 30, "/rc");
    const made = await Promise.all(list.map((s, i) => ask(s, "of", { name: i % 2 ? "/fn-made" : "fn-made" })));
    assert.deepEqual(new Set(made), new Set(["/fn-made"]));
    for (const name of ["/rc2", "/", "/chat"]) assert.equal(await ask(list[0], "of", { name }), name);
    assert.deepEqual(await ask(list[0], "newNamespaces"), ["/fn-made"]);
    assert.deepEqual((await ask(list[0], "namespaces")).filter((n) => n.includes("made")), ["/fn-made"]);
  });

  test("a client is refused before, and joins after; one that was refused may try again on its connection", async (t) => {
    const a = await client(t, server, "/rc");
    const b = alsoDial(t, a, "/made-later");
    await assert.rejects(up(b), { message: "Invalid namespace" });
    await ask(a, "of", { name: "/made-later" });
    b.connect();
    await up(b);
    assert.equal((await ask(a, "counts", { nsp: "/made-later" })).nsp, 1);
    await up(dial(t, server, "/made-later"));
    assert.equal((await ask(a, "counts", { nsp: "/made-later" })).nsp, 2);
  });

  test("engine connections are counted before they join anything, and until they end", async (t) => {
    const own = await startServer(t);
    const a = await client(t, own, "/rc");
    assert.equal((await ask(a, "counts")).engine, 1);
    const raw = await Raw.connect(t, own);
    const session = await Polling.open(own, { path: "/socket.io/" });
    await Polling.open(own, { path: "/engine.io/" });
    assert.deepEqual(await ask(a, "counts"), { nsp: 1, engine: 3 }, "that of the other endpoint is not one of them");
    await session.send("1");
    raw.ws.socket.terminate();
    await until(() => ask(a, "counts"), (c) => c.engine === 1);
  });
});

describe("the end of the server", { concurrency: 2 }, () => {
  for (const [what, env] of [["as it is", {}], ["with recovery and with cleanup", { RECOVERY_MS: "60000", CLEANUP_EMPTY_CHILD_NAMESPACES: "1" }]]) {
    test(`with children, waiting middlewares, held events and pending questions, ${what}: no DISCONNECT, status 0 in time`, async (t) => {
      const own = await startServer(t, env);
      const a = await client(t, own, "/rc");
      const also = await Promise.all(["/dyn-1", "/dyn-2", "/fn-1"].map((name) => alsoClient(t, a, name, { ok: true })));
      const raw = await Raw.connect(t, own, "/rc");
      raw.send('0/dyn-3,{"delay":60000}', '0/rc2,{"delay":60000}', '0/fn-slow,{"ok":true,"delay":60000}');
      for (let i = 0; i < 10; i++) raw.send('2/rc,["slow",1]', `2/rc,${i}["emit",{"event":"q","ack":true,"flags":{"timeout":60000}}]`, '2/rc,["ack-later",60000,1]');
      const gone = await client(t, own, "/rc");
      gone.io.engine.close();
      await until(() => ask(a, "counts"), (c) => c.engine === 2);
      await own.stop();
      for (const socket of [a, ...also]) assert.equal((await within(socket.gone, "end")).reason, "transport close");
      await within(raw.ws.closed, "close");
      assert.deepEqual(raw.inbox.items.filter((m) => m.startsWith("41")), []);
    });
  }
});
