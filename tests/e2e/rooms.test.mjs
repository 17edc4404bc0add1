// Rooms: membership, events of the adapter, sizes, names (features K2, K6-K9, K25, N2, R13, R14, A1, A2; traps 3.3).
import {
  test, assert, describe, useServer, overTransports, client, clients, alsoClient, dial, refusal, ask, call, next, expectNothing,
  until, farewell, Raw,
} from "./support.mjs";

const server = useServer();

overTransports("membership", (transport) => {
  test("join one, a list, again; leave; leave where one is not", async (t) => {
    const socket = await client(t, server, "/rc", transport);
    assert.deepEqual(await ask(socket, "rooms"), { self: true, rooms: [] });
    assert.deepEqual(await ask(socket, "join", { rooms: "r2" }), { self: true, rooms: ["r2"] });
    assert.deepEqual(await ask(socket, "join", { rooms: ["r3", "r1", "r2"] }), { self: true, rooms: ["r1", "r2", "r3"] });
    assert.deepEqual(await ask(socket, "join", { rooms: [] }), { self: true, rooms: ["r1", "r2", "r3"] });
    assert.deepEqual(await ask(socket, "leave", { room: "r2" }), { self: true, rooms: ["r1", "r3"] });
    assert.deepEqual(await ask(socket, "leave", { room: "r2" }), { self: true, rooms: ["r1", "r3"] });
    assert.deepEqual(await ask(socket, "leave", { room: "never seen" }), { self: true, rooms: ["r1", "r3"] });
    assert.deepEqual(await ask(socket, "rooms"), { self: true, rooms: ["r1", "r3"] });
  });

  test("the effect of join and leave is there before the ack", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc", transport);
    for (let i = 0; i < 20; i++) {
      await ask(a, "join", { rooms: `now-${transport.transports.join()}` });
      await ask(b, "emit", { to: `now-${transport.transports.join()}`, event: "in", args: [i] });
      assert.deepEqual(await next(a, "in"), [i]);
      await ask(a, "leave", { room: `now-${transport.transports.join()}` });
      await ask(b, "emit", { to: `now-${transport.transports.join()}`, event: "out", args: [i] });
    }
    await expectNothing(b, a);
  });

  test("the room of the own id: private messages, and it can be left", async (t) => {
    const [a, b, c] = await clients(t, server, 3, "/rc", transport);
    await ask(a, "emit", { to: b.id, event: "private", args: ["psst"] });
    assert.deepEqual(await next(b, "private"), ["psst"]);
    await expectNothing(a, b, c);
    assert.deepEqual(await ask(b, "leave", { room: b.id }), { self: false, rooms: [] });
    await ask(a, "emit", { to: b.id, event: "private" });
    await ask(a, "emit", { event: "all" });
    assert.deepEqual(await next(b, "all"), []);
    assert.deepEqual(b.inbox.items, []);
    assert.deepEqual(await ask(b, "join", { rooms: b.id }), { self: true, rooms: [] });
    await ask(a, "emit", { to: b.id, event: "back" });
    assert.deepEqual(await next(b, "back"), []);
  });

  test("joining the room of another's id", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc", transport);
    assert.deepEqual(await ask(b, "join", { rooms: a.id }), { self: true, rooms: [a.id] });
    await ask(b, "emit", { to: a.id, event: "both" });
    await Promise.all([next(a, "both"), next(b, "both")]);
  });

  test("a middleware's join holds, and a room of a refused socket is gone", async (t) => {
    const room = `mw-${transport.transports.join()}`;
    const socket = await client(t, server, "/rc", { ...transport, auth: { room } });
    assert.deepEqual(await ask(socket, "rooms"), { self: true, rooms: [room] });
    await refusal(dial(t, server, "/rc", { ...transport, auth: { room, token: "bad-late" } }));
    assert.equal((await ask(socket, "roomSizes"))[room], 1);
  });
});

describe("sizes and counts", () => {
  const own = useServer();
  test("roomSizes shows local rooms that are no ids, in each namespace for itself", async (t) => {
    const [a, b, c] = await clients(t, own, 3, "/rc");
    const d = await client(t, own, "/rc2");
    assert.deepEqual(await ask(a, "roomSizes"), {});
    await ask(a, "join", { rooms: ["x", "y"] });
    await ask(b, "join", { rooms: ["x"] });
    await ask(d, "join", { rooms: ["x", "z"] });
    assert.deepEqual(await ask(c, "roomSizes"), { x: 2, y: 1 });
    assert.deepEqual(await ask(c, "roomSizes", { nsp: "/rc2" }), { x: 1, z: 1 });
    assert.deepEqual(await ask(c, "roomSizes", { nsp: "/none" }), {});
    await ask(a, "leave", { room: "x" });
    await ask(a, "leave", { room: "y" });
    assert.deepEqual(await ask(c, "roomSizes"), { x: 1 });
    b.disconnect();
    await until(() => ask(c, "roomSizes"), (sizes) => Object.keys(sizes).length === 0, "rooms of a client that has gone");
    d.disconnect();
    await until(() => ask(c, "roomSizes", { nsp: "/rc2" }), (sizes) => Object.keys(sizes).length === 0);
  });

  test("counts", async (t) => {
    const observer = await client(t, own, "/rc");
    await until(() => ask(observer, "counts"), (c) => c.nsp === 1 && c.engine === 1);
    const a = await client(t, own, "/rc2", { transports: ["polling"] });
    await alsoClient(t, a, "/rc");
    assert.deepEqual(await ask(observer, "counts"), { nsp: 2, engine: 2 });
    assert.deepEqual(await ask(observer, "counts", { nsp: "/rc2" }), { nsp: 1, engine: 2 });
    assert.deepEqual(await ask(observer, "counts", { nsp: "/" }), { nsp: 0, engine: 2 });
    assert.deepEqual(await ask(observer, "counts", { nsp: "/none" }), { nsp: 0, engine: 2 });
    a.disconnect();
    await until(() => ask(observer, "counts", { nsp: "/rc2" }), (c) => c.nsp === 0);
    a.io.engine.close();
    await until(() => ask(observer, "counts"), (c) => c.nsp === 1 && c.engine === 1);
  });
});

describe("the log of the adapter", () => {
  const own = useServer();
  test("create before join, leave before delete, nothing twice; also for id rooms", async (t) => {
    const observer = await client(t, own, "/rc2");
    const log = (params) => ask(observer, "roomLog", { nsp: "/rc", ...params });
    await log({ clear: true });
    const a = await client(t, own, "/rc");
    assert.deepEqual(await log(), [["create-room", a.id], ["join-room", a.id, a.id]]);
    await ask(a, "join", { rooms: ["x", "y"] });
    await ask(a, "join", { rooms: ["y", "x"] });
    const b = await client(t, own, "/rc");
    await ask(b, "join", { rooms: "x" });
    await ask(a, "leave", { room: "x" });
    await ask(a, "leave", { room: "x" });
    await ask(b, "leave", { room: "x" });
    await ask(a, "leave", { room: "nowhere" });
    assert.deepEqual(await log({ clear: true }), [
      ["create-room", a.id], ["join-room", a.id, a.id],
      ["create-room", "x"], ["join-room", "x", a.id], ["create-room", "y"], ["join-room", "y", a.id],
      ["create-room", b.id], ["join-room", b.id, b.id], ["join-room", "x", b.id],
      ["leave-room", "x", a.id], ["leave-room", "x", b.id], ["delete-room", "x"],
    ]);
    assert.deepEqual(await log(), []);
    await ask(b, "join", { rooms: "y" });
    const ids = [a.id, b.id];
    a.disconnect();
    const gone = await until(log, (entries) => entries.length >= 4, "leaves");
    // the order of the rooms of one socket is nobody's promise, the order in each room is
    const of = (room) => gone.filter((e) => e[1] === room);
    assert.equal(gone.length, 4);
    assert.deepEqual(of("y"), [["join-room", "y", ids[1]], ["leave-room", "y", ids[0]]]);
    assert.deepEqual(of(ids[0]), [["leave-room", ids[0], ids[0]], ["delete-room", ids[0]]]);
    await log({ clear: true });
    b.disconnect();
    const rest = await until(log, (entries) => entries.length >= 4, "leaves");
    assert.deepEqual(rest.filter((e) => e[1] === "y"), [["leave-room", "y", ids[1]], ["delete-room", "y"]]);
    assert.deepEqual(rest.filter((e) => e[1] === ids[1]), [["leave-room", ids[1], ids[1]], ["delete-room", ids[1]]]);
    assert.equal(rest.length, 4);
  });

  test("a middleware's join comes before the own room; undone when refused", async (t) => {
    const observer = await client(t, own, "/rc");
    const log = (params) => ask(observer, "roomLog", { nsp: "/rc2", ...params });
    await log({ clear: true });
    const a = await client(t, own, "/rc2", { auth: { room: "early" } });
    assert.deepEqual(await log({ clear: true }), [
      ["create-room", "early"], ["join-room", "early", a.id], ["create-room", a.id], ["join-room", a.id, a.id],
    ]);
    await refusal(dial(t, own, "/rc2", { auth: { room: "refused", token: "bad-late" } }));
    const entries = await log({ clear: true });
    assert.deepEqual(entries.map(([what, room]) => [what, room]), [
      ["create-room", "refused"], ["join-room", "refused"], ["leave-room", "refused"], ["delete-room", "refused"],
    ]);
    assert.equal(entries[1][2], entries[2][2]);
  });

  test("the log of the own namespace is the default", async (t) => {
    const [a] = await clients(t, own, 1, "/rc");
    await ask(a, "roomLog", { clear: true });
    await ask(a, "join", { rooms: "mine" });
    assert.deepEqual(await ask(a, "roomLog"), [["create-room", "mine"], ["join-room", "mine", a.id]]);
    assert.deepEqual(await ask(a, "roomLog", { nsp: "/none" }), []);
  });

  test("socketsJoin and socketsLeave are logged like join and leave", async (t) => {
    const [a, b] = await clients(t, own, 2, "/rc2");
    await ask(a, "roomLog", { clear: true });
    await ask(a, "socketsJoin", { in: [a.id, b.id], rooms: "both" });
    const joined = await until(() => ask(a, "roomLog"), (l) => l.length >= 3);
    assert.deepEqual(joined[0], ["create-room", "both"]);
    assert.deepEqual(joined.slice(1).map((e) => [e[0], e[1]]), [["join-room", "both"], ["join-room", "both"]]);
    assert.deepEqual(joined.slice(1).map((e) => e[2]).sort(), [a.id, b.id].sort());
    await ask(a, "roomLog", { clear: true });
    await ask(a, "socketsLeave", { in: "both", rooms: "both" });
    const left = await until(() => ask(a, "roomLog"), (l) => l.length >= 3);
    assert.deepEqual(left.map((e) => e[0]), ["leave-room", "leave-room", "delete-room"]);
  });
});

describe("names of rooms", () => {
  const NAMES = ["", " ", "é 👍", "__proto__", "constructor", "hasOwnProperty", "0", "null", "a,b", "/rc", "#", "*", "x".repeat(5000), "with \"quotes\" and \n\u0000", "\u2028"];
  for (const name of NAMES) {
    test(JSON.stringify(name.length > 40 ? `${name.slice(0, 5)}… (${name.length})` : name), async (t) => {
      const [a, b] = await clients(t, server, 2, "/rc");
      assert.deepEqual(await ask(a, "join", { rooms: name }), { self: true, rooms: [name] });
      await ask(b, "emit", { to: name, event: "e", args: [name] });
      assert.deepEqual(await next(a, "e"), [name]);
      await expectNothing(b, a, b);
      assert.deepEqual(await ask(a, "leave", { room: name }), { self: true, rooms: [] });
    });
  }
  test("they are sorted by UTF-16 code units", async (t) => {
    const a = await client(t, server, "/rc");
    const names = ["b", "a", "B", "é", "z", "10", "9", "👍", "\uffee", "", "a b"];
    assert.deepEqual((await ask(a, "join", { rooms: names })).rooms, [...names].sort());
  });
});

describe("rooms and namespaces", () => {
  test("rooms of the same name in two namespaces have nothing in common", async (t) => {
    const a = await client(t, server, "/rc");
    const b = await client(t, server, "/rc2");
    await ask(a, "join", { rooms: "same" });
    await ask(b, "join", { rooms: "same" });
    await ask(a, "emit", { to: "same", event: "from rc" });
    await ask(b, "emit", { to: "same", event: "from rc2" });
    assert.deepEqual(await next(a, "from rc"), []);
    assert.deepEqual(await next(b, "from rc2"), []);
    await expectNothing(a, a);
    await expectNothing(b, b);
    await ask(a, "leave", { room: "same" });
    assert.deepEqual((await ask(b, "rooms")).rooms, ["same"]);
  });

  test("the same on one connection", async (t) => {
    const a = await client(t, server, "/rc");
    const b = await alsoClient(t, a, "/rc2");
    await ask(a, "join", { rooms: "same" });
    assert.deepEqual((await ask(b, "rooms")).rooms, []);
    await ask(b, "emit", { to: "same", event: "x" });
    await ask(a, "emit", { to: b.id, event: "x" });
    await expectNothing(b, b);
    await expectNothing(a, a);
  });

  test("rooms at the moment of disconnecting, none after", async (t) => {
    const observer = await client(t, server, "/rc");
    const a = await client(t, server, "/rc", { auth: { room: "r0" } });
    await ask(a, "join", { rooms: ["r2", "r1"] });
    const { id } = a;
    a.disconnect();
    assert.deepEqual((await farewell(observer, id)).rooms, ["r0", "r1", "r2"]);
  });

  test("a client cannot join by itself", async (t) => {
    const raw = await Raw.connect(t, server, "/bench");
    raw.send('2/bench,["joinRoom","x"]', '2/bench,["subscribe",{"room":"x"}]');
    const observer = await client(t, server, "/rc");
    raw.send('2/bench,1["echo",0]');
    assert.equal(await raw.next(), "43/bench,1[0]");
    assert.deepEqual(await ask(observer, "roomSizes", { nsp: "/bench" }), {});
  });
});

describe("many", () => {
  const own = useServer();
  test("one socket in 1000 rooms, then gone", async (t) => {
    const observer = await client(t, own, "/rc");
    const a = await client(t, own, "/rc");
    const names = Array.from({ length: 1000 }, (_, i) => `room-${i}`);
    assert.equal((await ask(a, "join", { rooms: names })).rooms.length, 1000);
    assert.equal(Object.keys(await ask(observer, "roomSizes")).length, 1000);
    await ask(observer, "emit", { to: names, event: "once" });
    await next(a, "once");
    await expectNothing(observer, a);
    a.disconnect();
    await until(() => ask(observer, "roomSizes"), (sizes) => Object.keys(sizes).length === 0);
  });

  test("40 sockets in and out of a room from all sides at once", async (t) => {
    const observer = await client(t, own, "/bench");
    const list = await clients(t, own, 40, "/bench");
    await Promise.all(list.map(async (socket, i) => {
      for (let k = 0; k < 5; k++) {
        await call(socket, "join", "busy");
        await call(socket, "publish", "busy", [i, k]);
        await next(socket, "msg");
        if (k < 4) await call(socket, "leave", "busy");
      }
    }));
    for (const socket of list) socket.inbox.takeAll();
    await call(observer, "publish", "busy", "all");
    for (const socket of list) await socket.inbox.take(([event, x]) => event === "msg" && x === "all", "the last message");
    const rc = await client(t, own, "/rc");
    assert.deepEqual(await ask(rc, "roomSizes", { nsp: "/bench" }), { busy: 40 });
  });
});
