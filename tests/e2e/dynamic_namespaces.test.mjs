// Namespaces made by a pattern or a function when the first client comes (features N6-N12, N14; traps 3.4).
import {
  test, assert, describe, useServer, startServer, overTransports, client, clients, alsoClient, alsoDial, dial, up, refusal,
  ask, call, next, farewellReason, expectNothing, pollingSocket, Raw,
} from "./support.mjs";

const server = useServer();
const OK = { auth: { ok: true } };
let names = 0;
/** Names that no other test uses. */
const dynName = () => `/dyn-${100 + ++names}`;
const fnName = (kind = "t") => `/fn-${kind}-${++names}`;
const reported = async (by, ...list) => (await ask(by, "newNamespaces")).filter((name) => list.includes(name));

overTransports("joining", (transport) => {
  for (const [kind, make] of [["by pattern", dynName], ["by function", fnName], ["by a function that takes its time", () => fnName("slow")]]) {
    test(`${kind}: welcome comes first, the remote control answers, and the socket's namespace is the child`, async (t) => {
      const name = make();
      const a = await client(t, server, name, { ...transport, ...OK });
      assert.deepEqual(await a.inbox.take(), ["welcome", { nsp: name }]);
      assert.equal((await ask(a, "info")).nsp, name);
      assert.equal((await ask(a, "info")).id, a.id);
      assert.equal(await call(a, "echo", 1), 1);
      assert.equal((await ask(a, "counts")).nsp, 1);
      assert.deepEqual(await reported(a, name), [name]);
      assert.ok((await ask(a, "namespaces")).includes(name));
      await expectNothing(a, a);
    });
  }

  test("what neither parent accepts gets the error of an unknown namespace, and makes none", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const before = await ask(a, "namespaces");
    const wrong = [
      "/dyn-", "/dyn-1a", "/dyn-1/", "/dyn-1 ", "/dyn-1\n", "/dyn-1?x=1", "/DYN-1", "/x/dyn-1", "/dyn--1", "/dyn-\u0661", "/dyn-\uff11", "/fnx", "/fn",
      "/fn-err", "/fn-err-x",
    ];
    for (const name of wrong) {
      const err = await refusal(alsoDial(t, a, name, { ok: true }));
      assert.deepEqual([err.message, err.data], ["Invalid namespace", undefined], name);
    }
    for (const ok of [undefined, null, false, 1, "true", [], {}]) {
      const err = await refusal(alsoDial(t, a, fnName(), { ok }));
      assert.equal(err.message, "Invalid namespace", JSON.stringify(ok));
      assert.equal((await refusal(alsoDial(t, a, fnName("slow"), { ok }))).message, "Invalid namespace");
    }
    assert.equal((await refusal(alsoDial(t, a, fnName()))).message, "Invalid namespace", "no auth at all");
    assert.deepEqual(await ask(a, "namespaces"), before);
    assert.equal(await call(a, "echo", 1), 1);
  });

  test("the parent's middleware refuses with the child's name as data; the child exists all the same", async (t) => {
    for (const name of [dynName(), fnName()]) {
      const err = await refusal(dial(t, server, name, { ...transport, auth: { ok: true, token: "bad" } }));
      assert.deepEqual([err.message, err.data], ["dyn refused", { nsp: name }]);
      const a = await client(t, server, name, { ...transport, ...OK });
      assert.deepEqual(await next(a, "welcome"), [{ nsp: name }]);
      assert.deepEqual(await reported(a, name), [name]);
      assert.equal((await ask(a, "counts")).nsp, 1);
      assert.deepEqual(await ask(a, "disconnectLog"), []);
    }
  });

  test("the parent's middleware may wait, and refuse then; others do not wait for it", async (t) => {
    const name = dynName();
    const waiting = dial(t, server, name, { ...transport, auth: { delay: 60_000 } });
    const late = refusal(dial(t, server, name, { ...transport, auth: { delay: 100, token: "bad" } }));
    const slow = up(dial(t, server, name, { ...transport, auth: { delay: 100 } }));
    const quick = await up(dial(t, server, name, transport));
    assert.equal((await late).message, "dyn refused");
    await next(await slow, "welcome");
    assert.equal(waiting.connected, false);
    assert.equal((await ask(quick, "counts")).nsp, 2);
  });

  test("the middlewares of /rc are not those of the children", async (t) => {
    const name = dynName();
    const a = await client(t, server, name, { ...transport, auth: { data: { x: 1 }, room: "r", hello: true, token: "bad-late" } });
    assert.deepEqual(await ask(a, "data"), {});
    assert.deepEqual(await ask(a, "rooms"), { self: true, rooms: [] });
    assert.deepEqual((await ask(a, "handshake")).auth, { data: { x: 1 }, room: "r", hello: true, token: "bad-late" });
    assert.deepEqual(a.inbox.takeAll(), [["welcome", { nsp: name }]]);
  });
});

describe("on the wire", () => {
  test("the reply, then welcome; the errors word for word", async (t) => {
    const raw = await Raw.connect(t, server);
    const [dyn, fn, other] = [dynName(), fnName(), fnName()];
    raw.send(`0${dyn},`);
    assert.match(await raw.next(), new RegExp(`^40${dyn},\\{"sid":"[^"]+"\\}$`));
    assert.equal(await raw.next(), `42${dyn},["welcome",{"nsp":"${dyn}"}]`);
    raw.send(`0${fn},{"ok":true,"token":"bad"}`);
    assert.equal(await raw.next(), `44${fn},{"message":"dyn refused","data":{"nsp":"${fn}"}}`);
    raw.send(`0${other},{"ok":1}`);
    assert.equal(await raw.next(), `44${other},{"message":"Invalid namespace"}`);
    raw.send("0/fn-error,{\"ok\":true}");
    assert.equal(await raw.next(), '44/fn-error,{"message":"Invalid namespace"}');
    raw.send(`1${dyn},`, `0${fn},{"ok":true}`);
    assert.match(await raw.next(), new RegExp(`^40${fn},\\{"sid":"[^"]+"\\}$`));
  });

  test("while the function takes its time, the connection goes on; events for the namespace are too early", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    const name = fnName("slow");
    raw.send(`0${name},{"ok":true}`, '2/rc,1["echo",1]');
    assert.equal(await raw.next(), "43/rc,1[1]");
    assert.match(await raw.next(), new RegExp(`^40${name},`));
    assert.match(await raw.next(), /^42.*"welcome"/);
    raw.send(`0${fnName("slow")},{"ok":true}`, `2/fn-slow-t-${names},["echo",1]`);
    await raw.expectClosed();
  });

  test("several in one payload over polling, each answered for itself", async () => {
    const [one, two, three] = [dynName(), fnName(), fnName("slow")];
    const session = await pollingSocket(server, "/rc");
    await session.send(`40${one},`, `40${three},{"ok":true}`, `40${two},{"ok":true}`, "40/dyn-x,");
    const packets = await session.receive(7);
    for (const name of [one, two, three]) {
      const own = packets.filter((p) => p.slice(2).startsWith(`${name},`));
      assert.match(own[0], /^40.*"sid"/);
      assert.equal(own[1], `42${name},["welcome",{"nsp":"${name}"}]`);
    }
    assert.equal(packets.filter((p) => p === '44/dyn-x,{"message":"Invalid namespace"}').length, 1);
    await session.post("1");
  });
});

describe("one namespace", () => {
  for (const [kind, make] of [["by pattern", dynName], ["by function", fnName], ["by a slow function", () => fnName("slow")]]) {
    test(`${kind}: 20 first clients at once make one`, async (t) => {
      const name = make();
      const kinds = [{ transports: ["websocket"] }, { transports: ["polling"] }];
      const list = await Promise.all(Array.from({ length: 20 }, (_, i) => client(t, server, name, { ...kinds[i % 2], ...OK })));
      assert.deepEqual(await reported(list[0], name), [name]);
      assert.equal((await ask(list[0], "counts")).nsp, 20);
      await ask(list[0], "emit", { event: "all", args: [1] });
      for (const socket of list) {
        assert.deepEqual(await next(socket, "welcome"), [{ nsp: name }]);
        assert.deepEqual(await next(socket, "all"), [1]);
      }
    });
  }

  test("a client that is gone before the slow function answers: no socket, no trouble", async (t) => {
    const a = await client(t, server, "/rc");
    const name = fnName("slow");
    const raw = await Raw.connect(t, server, "/rc");
    raw.send(`0${name},{"ok":true}`);
    assert.equal(await raw.ask("/rc", "info").then((i) => i.id), raw.id, "the CONNECT was read");
    raw.ws.socket.terminate();
    await farewellReason(a, raw.id);
    const b = await client(t, server, name, OK);
    assert.equal((await ask(b, "counts")).nsp, 1);
    assert.deepEqual(await ask(b, "disconnectLog"), []);
    assert.deepEqual(await reported(b, name), [name]);
    assert.deepEqual(await ask(b, "roomSizes"), {});
  });

  test("a namespace that is made by hand while the slow function thinks is the one that is joined", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    const name = fnName("slow");
    raw.send(`0${name},{"ok":true}`, `2/rc,1["of",{"name":"${name}"}]`);
    assert.equal(await raw.next(), `43/rc,1[{"ok":"${name}"}]`);
    assert.match(await raw.next(), new RegExp(`^40${name},`));
    raw.send(`2${name},2["echo",1]`, '2/rc,3["echo",3]'); // a plain namespace: no welcome, nobody listens
    assert.equal(await raw.next(), "43/rc,3[3]");
    const a = await client(t, server, "/rc");
    assert.deepEqual(await reported(a, name), [name]);
  });

  test("rooms, logs and sockets of two children have nothing in common; one connection may join many", async (t) => {
    const list = [dynName(), dynName(), fnName()];
    const a = await client(t, server, list[0], OK);
    const b = await alsoClient(t, a, list[1], { ok: true });
    const c = await alsoClient(t, a, list[2], { ok: true });
    for (const socket of [a, b, c]) await ask(socket, "join", { rooms: "same" });
    await ask(a, "emit", { to: "same", event: "x", args: ["a"] });
    await ask(b, "emit", { event: "x", args: ["b"] });
    for (const [i, socket] of [a, b, c].entries()) {
      assert.deepEqual(await ask(socket, "roomSizes"), { same: 1 });
      assert.deepEqual((await ask(socket, "roomLog")).filter((e) => e[1] === "same"), [["create-room", "same"], ["join-room", "same", socket.id]]);
      assert.deepEqual(socket.inbox.takeAll(), [["welcome", { nsp: list[i] }], ...[[["x", "a"]], [["x", "b"]], []][i]]);
    }
    const { id } = b;
    b.disconnect();
    assert.equal(await farewellReason(a, id, list[1]), "client namespace disconnect");
    assert.equal(await call(a, "echo", 1), 1);
    b.connect();
    await up(b);
    assert.deepEqual(await reported(a, list[1]), [list[1]], "it was kept meanwhile");
  });
});

describe("of() by hand, lists", () => {
  test("a name that the pattern takes becomes a child of that parent", async (t) => {
    const a = await client(t, server, "/rc");
    const name = dynName();
    assert.equal(await ask(a, "of", { name }), name);
    assert.equal(await ask(a, "of", { name: name.slice(1) }), name, "the slash is added");
    assert.deepEqual(await reported(a, name), [name]);
    const b = await alsoClient(t, a, name);
    assert.deepEqual(await next(b, "welcome"), [{ nsp: name }]);
    assert.equal((await refusal(dial(t, server, name, { auth: { token: "bad" } }))).message, "dyn refused");
    await ask(a, "emit", { target: "dyn", to: b.id, event: "x" });
    assert.deepEqual(await next(b, "x"), []);
  });

  test("any other name is a plain namespace, which the function is not asked about", async (t) => {
    const a = await client(t, server, "/rc");
    for (const name of [fnName(), `/dyn-x${++names}`]) {
      assert.equal(await ask(a, "of", { name }), name);
      assert.deepEqual(await reported(a, name), [name]);
      const b = await alsoClient(t, a, name, { token: "bad" });
      await ask(a, "emit", { target: "fn", event: "x" });
      await ask(a, "emit", { target: "dyn", event: "x" });
      await assert.rejects(b.timeout(100).emitWithAck("echo", 1), /timed out/, "no remote control");
      assert.deepEqual(b.inbox.items, []);
      assert.equal((await ask(a, "counts", { nsp: name })).nsp, 1);
    }
  });

  test("newNamespaces: in order, once each, emptied on demand; parents are never listed", async (t) => {
    const own = await startServer(t);
    const a = await client(t, own, "/rc");
    assert.deepEqual(await ask(a, "newNamespaces"), [], "not those from the start");
    for (const name of ["/dyn-9", "/fn-b", "/dyn-10", "/dyn-9", "/fn-a"]) await alsoClient(t, await client(t, own, "/rc2"), name, { ok: true });
    await ask(a, "of", { name: "/static" });
    assert.deepEqual(await ask(a, "newNamespaces"), ["/dyn-9", "/fn-b", "/dyn-10", "/fn-a"]);
    assert.deepEqual(await ask(a, "newNamespaces", { clear: true }), ["/dyn-9", "/fn-b", "/dyn-10", "/fn-a"]);
    assert.deepEqual(await ask(a, "newNamespaces"), []);
    assert.deepEqual(await ask(a, "namespaces"),
      ["/", "/admin", "/bench", "/chat", "/custom", "/dyn-10", "/dyn-9", "/fn-a", "/fn-b", "/rc", "/rc2", "/static"]);
  });
});
