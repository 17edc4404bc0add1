// Connection state recovery, packet by packet (features CR1-CR4; traps 3.3).
import {
  test, assert, describe, useServer, startServer, client, ask, call, until, farewell, farewellReason, Polling,
} from "./support.mjs";
import { Session, texts } from "./recovery_client.mjs";

const server = useServer({ RECOVERY_MS: "20000" });

describe("on the wire", () => {
  test("CONNECT brings a pid of its own for each socket, which is not the id", async (t) => {
    const one = await Session.open(t, server);
    const two = await Session.open(t, server, "/rc2", undefined, one);
    const three = await Session.open(t, server);
    for (const { reply } of [one, two, three]) {
      assert.deepEqual(Object.keys(reply).sort(), ["pid", "sid"]);
      assert.ok(typeof reply.pid === "string" && reply.pid.length >= 16);
    }
    assert.equal(new Set([one, two, three].flatMap((s) => [s.id, s.pid])).size, 6);
  });

  test("events end with an offset, each with another; a broadcast brings the same to all", async (t) => {
    const [a, b] = [await Session.open(t, server, "/rc", { room: "wire", hello: true }), await Session.open(t, server, "/rc", { room: "wire" })];
    assert.deepEqual(await a.event(), ["hello", { nsp: "/rc", recovered: false }]);
    const seen = new Set([a.offset]);
    for (const [params, both] of [[{ to: "wire" }, true], [{ to: [a.id] }], [{ target: "socket" }], [{ to: "wire", flags: { local: true, compress: false } }, true]]) {
      await a.ask("emit", { event: "e", args: [1, "x"], ...params });
      assert.deepEqual(await a.event(), ["e", 1, "x"]);
      if (both) {
        assert.deepEqual(await b.event(), ["e", 1, "x"]);
        assert.equal(b.offset, a.offset);
      }
      assert.ok(!seen.has(a.offset));
      seen.add(a.offset);
    }
    a.raw.send('2/rc,["echo","without ack"]');
    assert.deepEqual(await a.event(), ["echo-back", "without ack"]);
    a.raw.send('2/rc,["forbidden"]');
    assert.deepEqual(await a.event(), ["rejected", { message: "forbidden event", data: { event: "forbidden" } }]);
    await a.ask("emitFetched", { to: b.id, event: "fetched" });
    assert.deepEqual(await b.event(), ["fetched"]);
    await a.ask("emit", { to: "wire", event: "none" });
    assert.deepEqual(await a.event(), ["none"]);
  });

  test("a binary event too, after its arguments", async (t) => {
    const a = await Session.open(t, server);
    a.raw.send('51-/rc,["echo",{"_placeholder":true,"num":0},2]', Buffer.from([7]));
    const { data, binary } = await a.packet();
    assert.deepEqual(data.slice(0, -1), ["echo-back", { _placeholder: true, num: 0 }, 2]);
    assert.equal(typeof data.at(-1), "string");
    assert.deepEqual(binary, [Buffer.from([7])]);
  });

  test("no offset on volatile events, on those that ask for an ack, and on acks", async (t) => {
    const a = await Session.open(t, server);
    for (const params of [{ target: "socket" }, { to: a.id }, {}]) {
      a.raw.send(`2/rc,${JSON.stringify(["emit", { ...params, event: "v", args: [1], flags: { volatile: true } }])}`);
      assert.deepEqual((await a.packet()).data, ["v", 1], JSON.stringify(params));
      a.raw.send(`2/rc,${JSON.stringify(["emit", { ...params, event: "q", args: [2], ack: true, flags: { timeout: 5000 } }])}`);
      const question = await a.packet();
      assert.deepEqual(question.data, ["q", 2]);
      assert.match(question.id, /^\d+$/);
      a.raw.send(`3/rc,${question.id}[]`);
    }
    a.raw.send('2/rc,9["echo",3]');
    assert.deepEqual((await a.packet()).data, [3]);
  });

  test("nothing of it without recovery, whatever the client asks for", async (t) => {
    const off = await startServer(t);
    const a = await Session.open(t, off, "/rc", { hello: true, pid: "x", offset: "y" });
    assert.deepEqual(Object.keys(a.reply), ["sid"]);
    assert.deepEqual((await a.packet()).data, ["hello", { nsp: "/rc", recovered: false }]);
    assert.equal((await a.ask("info")).recovered, false);
  });
});

describe("recovered", () => {
  test("the same id; what was missed comes before the reply, in order; then what the server emits", async (t) => {
    const observer = await client(t, server, "/rc");
    const a = await Session.open(t, server, "/rc", { room: "r1" });
    const { id, pid } = a;
    await a.note();
    await a.cut(observer);
    const missed = [];
    for (let i = 0; i < 30; i++) {
      const selection = [{ to: "r1" }, { to: id }, {}, { to: ["r1", id, "other"] }, { except: observer.id }][i % 5];
      await ask(observer, "emit", { ...selection, event: "m", args: [i, "é👍"] });
      missed.push(["m", i, "é👍"]);
    }
    await ask(observer, "emit", { to: id, event: "binary", args: [Buffer.from([1, 2]), { x: Buffer.from([3]) }] });
    const b = await Session.open(t, server, "/rc", { ...a.key, hello: true });
    assert.deepEqual(b.reply, { sid: id, pid }, "the reply names the same id and pid");
    assert.deepEqual(texts(b.missed).slice(0, -1), missed);
    assert.deepEqual(texts(b.missed).at(-1), ["binary", { _placeholder: true, num: 0 }, { x: { _placeholder: true, num: 1 } }]);
    assert.deepEqual(b.missed.at(-1).binary, [Buffer.from([1, 2]), Buffer.from([3])]);
    assert.deepEqual(await b.event(), ["hello", { nsp: "/rc", recovered: true }]);
    assert.deepEqual(await b.ask("info"), { ...(await b.ask("info")), id, recovered: true, connected: true });
    await ask(observer, "emit", { to: "r1", event: "new" });
    assert.deepEqual(await b.event(), ["new"]);
  });

  test("rooms, data and id are as they were; the middlewares do not run again", async (t) => {
    const observer = await client(t, server, "/rc");
    const a = await Session.open(t, server, "/rc", { room: "rooms1", data: { user: 1 } });
    await a.ask("join", { rooms: ["rooms2", "rooms3"] });
    await a.ask("leave", { room: "rooms3" });
    await a.ask("data", { set: { more: [1, { x: null }] } });
    await a.note();
    await a.cut(observer);
    assert.deepEqual(await ask(observer, "roomSizes").then((s) => [s.rooms1, s.rooms2]), [undefined, undefined], "in no room meanwhile");
    assert.deepEqual(await ask(observer, "fetchSockets", { to: a.id }), [], "not found meanwhile");
    assert.deepEqual(await ask(observer, "emit", { to: "rooms1", event: "q", ack: true, flags: { timeout: 3000 } }), { err: null, responses: [] });
    const b = await Session.open(t, server, "/rc", { ...a.key, token: "bad", room: "other" });
    assert.equal(b.id, a.id, "refused by no middleware");
    assert.deepEqual(await b.ask("rooms"), { self: true, rooms: ["rooms1", "rooms2"] });
    assert.deepEqual(await b.ask("data"), { mw: ["a", "b"], auth: { user: 1 }, more: [1, { x: null }] });
    assert.deepEqual(texts(b.missed), [], "what asks for an ack is not kept");
    await ask(observer, "emit", { to: "rooms2", event: "x" });
    assert.deepEqual(await b.event(), ["x"]);
    assert.equal((await ask(observer, "counts")).nsp, 2);
  });

  test("the adapter's rooms: all left at the cut, all joined again", async (t) => {
    const observer = await client(t, server, "/rc");
    const a = await Session.open(t, server, "/rc", { room: "logged" });
    await a.note();
    await a.cut(observer);
    await Session.open(t, server, "/rc", a.key);
    const log = (await ask(observer, "roomLog")).filter((e) => e[2] === a.id).map((e) => e.slice(0, 2).join(" "));
    const joined = ["join-room logged", `join-room ${a.id}`].sort();
    const left = ["leave-room logged", `leave-room ${a.id}`].sort();
    assert.deepEqual([log.slice(0, 2).sort(), log.slice(2, 4).sort(), log.slice(4).sort()], [joined, left, joined]);
  });

  test("nothing that was not for it: other rooms, excluded, volatile, acknowledged, of other namespaces", async (t) => {
    const observer = await client(t, server, "/rc");
    const other = await client(t, server, "/rc2", { auth: { room: "for me" } });
    const a = await Session.open(t, server, "/rc", { room: "for me" });
    await a.note();
    await a.cut(observer);
    const emit = (params) => ask(observer, "emit", { args: ["no"], event: "e", ...params });
    await emit({ to: "not for me" });
    await emit({ except: a.id });
    await emit({ except: "for me" });
    await emit({ to: "for me", except: [a.id] });
    await emit({ to: ["for me", "x"], except: ["y", "for me"] });
    await emit({ to: "for me", flags: { volatile: true } });
    await emit({ to: "for me", ack: true, flags: { timeout: 1000 } });
    await emit({ target: "io" });
    await emit({ target: "socket" });
    await ask(other, "emit", { to: "for me", event: "e", args: ["no"] });
    await ask(other, "emit", { event: "e", args: ["no"] });
    await emit({ to: "for me", args: ["yes"] });
    await emit({ to: "for me", except: "not for me", args: ["yes too"] });
    const b = await Session.open(t, server, "/rc", a.key);
    assert.deepEqual(texts(b.missed), [["e", "yes"], ["e", "yes too"]]);
  });

  test("an earlier offset: what came after it comes again", async (t) => {
    const observer = await client(t, server, "/rc");
    const a = await Session.open(t, server);
    const early = await a.note();
    for (let i = 0; i < 5; i++) {
      await a.ask("emit", { target: "socket", event: "again", args: [i] });
      assert.deepEqual(await a.event(), ["again", i]);
    }
    await a.cut(observer);
    await ask(observer, "emit", { to: a.id, event: "again", args: [5] });
    const b = await Session.open(t, server, "/rc", { pid: a.pid, offset: early });
    assert.equal(b.id, a.id);
    assert.deepEqual(texts(b.missed), Array.from({ length: 6 }, (_, i) => ["again", i]));
    assert.deepEqual(b.missed.slice(4, 5).map((p) => p.data.at(-1)), [a.offset], "with the offset it had");
  });

  test("1000 missed events, none twice, none lost, also while more are sent", async (t) => {
    const observer = await client(t, server, "/rc");
    const a = await Session.open(t, server, "/rc", { room: "many" });
    await a.note();
    await a.cut(observer);
    for (let i = 0; i < 1000; i++) observer.emit("emit", { to: "many", event: "n", args: [i] });
    await ask(observer, "rooms");
    const opened = Session.open(t, server, "/rc", a.key);
    for (let i = 1000; i < 1500; i++) observer.emit("emit", { to: "many", event: "n", args: [i] });
    const b = await opened;
    const got = texts(b.missed);
    while (got.length < 1500) got.push(await b.event());
    assert.deepEqual(got, Array.from({ length: 1500 }, (_, i) => ["n", i]));
    await ask(observer, "emit", { to: "many", event: "last" });
    assert.deepEqual(await b.event(), ["last"]);
  });

  test("three times in a row, each time with what was missed then", async (t) => {
    const observer = await client(t, server, "/rc");
    let a = await Session.open(t, server, "/rc", { room: "thrice" });
    const { id } = a;
    await a.note();
    for (let round = 0; round < 3; round++) {
      await a.cut(observer, round * 2);
      for (const x of ["a", "b"]) await ask(observer, "emit", { to: "thrice", event: "m", args: [round, x] });
      const b = await Session.open(t, server, "/rc", a.key);
      assert.equal(b.id, id);
      assert.deepEqual(texts(b.missed), [["m", round, "a"], ["m", round, "b"]]);
      b.offset = b.missed.at(-1).data.at(-1);
      if (round === 1) await b.note();
      a = b;
    }
    assert.deepEqual(await a.ask("rooms"), { self: true, rooms: ["thrice"] });
    assert.equal((await ask(observer, "disconnectLog", { id })).length, 6);
    assert.equal(await call(observer, "echo", 1), 1);
  });

  test("several namespaces of one connection, each for itself", async (t) => {
    const observer = await client(t, server, "/rc");
    const dyn = await client(t, server, "/dyn-1");
    const a = await Session.open(t, server, "/rc", { room: "n" });
    const b = await Session.open(t, server, "/rc2", { room: "n" }, a);
    const c = await Session.open(t, server, "/dyn-1", undefined, a);
    assert.deepEqual(await c.event(), ["welcome", { nsp: "/dyn-1" }]);
    const main = await client(t, server, "/rc2");
    for (const s of [a, b, c]) await s.note();
    await a.cut(observer);
    for (const s of [b, c]) await farewell(observer, s.id, s.nsp);
    await ask(observer, "emit", { to: "n", event: "rc" });
    await ask(main, "emit", { to: "n", event: "rc2" });
    await ask(dyn, "emit", { target: "dyn", to: c.id, event: "dyn" });
    const a2 = await Session.open(t, server, "/rc", a.key);
    const c2 = await Session.open(t, server, "/dyn-1", c.key, a2);
    const b2 = await Session.open(t, server, "/rc2", { pid: a.pid, offset: a.offset }, a2);
    assert.deepEqual([a2.id, c2.id], [a.id, c.id]);
    assert.deepEqual([texts(a2.missed), texts(c2.missed), texts(b2.missed)], [[["rc"]], [["dyn"]], []]);
    assert.notEqual(b2.id, b.id, "the pid of another namespace");
    assert.deepEqual(await c2.event(), ["welcome", { nsp: "/dyn-1" }]);
    const b3 = await Session.open(t, server, "/rc2", b.key);
    assert.equal(b3.id, b.id);
    assert.deepEqual(texts(b3.missed), [["rc2"]]);
  });
});

describe("over polling", () => {
  async function join(auth) {
    const session = await Polling.open(server, { path: "/socket.io/" });
    await session.send(`40/rc,${JSON.stringify(auth)}`);
    const packets = [];
    while (!packets.some((p) => p.startsWith("40/rc,"))) packets.push(...(await session.poll()).filter((p) => p !== "6"));
    const reply = JSON.parse(packets.find((p) => p.startsWith("40")).slice(6));
    return Object.assign(session, { packets, socketId: reply.sid, pid: reply.pid });
  }
  for (const [what, act] of [["the client closes", (s) => s.send("1")], ["two polls at once", async (s) => {
    const first = await s.hold();
    first.answer.catch(() => {});
    await s.get();
  }]]) {
    test(`cut because ${what}: recovered over polling, and over WebSocket then`, async (t) => {
      const observer = await client(t, server, "/rc");
      const a = await join({ room: "poll" });
      await ask(observer, "emit", { to: a.socketId, event: "note" });
      const [note] = await a.receive(1);
      const offset = JSON.parse(note.slice(6)).at(-1);
      await act(a);
      await farewellReason(observer, a.socketId);
      for (let i = 0; i < 3; i++) await ask(observer, "emit", { to: "poll", event: "m", args: [i] });
      const b = await join({ pid: a.pid, offset });
      assert.equal(b.socketId, a.socketId);
      assert.deepEqual(b.packets.map((p) => (p.startsWith("42") ? JSON.parse(p.slice(6)).slice(0, -1) : p.slice(0, 6))), [["m", 0], ["m", 1], ["m", 2], "40/rc,"]);
      await b.send("1");
      await until(() => ask(observer, "disconnectLog", { id: a.socketId }), (log) => log.length === 4);
      const c = await Session.open(t, server, "/rc", { pid: a.pid, offset });
      assert.equal(c.id, a.socketId);
      assert.equal(c.missed.length, 3);
    });
  }
});
