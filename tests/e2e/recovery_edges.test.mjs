// When state is recovered and when not, and the official client (features CR1-CR4, M5; traps 3.3).
import {
  test, greenroomOnly, isReference, assert, describe, useServer, overTransports, client, alsoClient, up, ask, call, next, until, farewellReason, within, sleep,
} from "./support.mjs";
import { Session, texts } from "./recovery_client.mjs";

const server = useServer({ RECOVERY_MS: "20000" });
const observe = (t) => client(t, server, "/rc");

/** A session with an offset and one event that it will have missed. */
async function prepared(t, auth = { room: "edge" }) {
  const a = await Session.open(t, server, "/rc", auth);
  await a.note();
  return a;
}

/** A CONNECT with these keys makes a new socket: another id, another pid, nothing missed, no rooms. */
async function expectNew(t, own, old, auth, why) {
  const b = await Session.open(t, own, "/rc", auth);
  assert.notEqual(b.id, old?.id, why);
  assert.ok(typeof b.pid === "string" && b.pid !== old?.pid, why);
  assert.deepEqual(b.missed, [], why);
  assert.equal((await b.ask("info")).recovered, false, why);
  assert.deepEqual(await b.ask("rooms"), { self: true, rooms: [] }, why);
  return b;
}

async function expectRecovered(t, own, old, auth = old.key, why = "") {
  const b = await Session.open(t, own, "/rc", auth);
  assert.equal(b.id, old.id, why);
  assert.equal((await b.ask("info")).recovered, true, why);
  return b;
}

describe("after an end of the connection", () => {
  // [what, how, reason]
  const CUTS = [
    ["the WebSocket is cut", (a) => a.raw.ws.socket.terminate(), "transport close"],
    ["the client closes the WebSocket", (a) => a.raw.ws.socket.close(), "transport close"],
    ["the client breaks the Socket.IO protocol", (a) => a.raw.send("9"), "forced close"],
    ["the client breaks the WebSocket protocol", (a) => a.raw.ws.socket._socket.write(Buffer.from([0xf1, 0x80, 0, 0, 0, 0])), "transport error"],
    ["the server closes the connection", (a) => a.raw.send('2/rc,["connClose",{}]'), "forced close"],
    // as the connection can be closed at once or not, the reference gives the one reason or the other
    ["the client sends to a namespace that it has not joined", (a) => a.raw.send('2/chat,["x"]'), /^forced (server )?close$/],
  ];
  for (const [what, act, reason] of CUTS) {
    test(`recovered: ${what}`, async (t) => {
      const observer = await observe(t);
      const a = await prepared(t);
      act(a);
      assert.match(await farewellReason(observer, a.id), reason instanceof RegExp ? reason : new RegExp(`^${reason}$`));
      await ask(observer, "emit", { to: a.id, event: "m" });
      assert.deepEqual(texts((await expectRecovered(t, server, a)).missed), [["m"]]);
    });
  }

  const quick = useServer({ RECOVERY_MS: "20000", PING_INTERVAL: "150", PING_TIMEOUT: "150" });
  test("recovered: the client was silent", async (t) => {
    const observer = await client(t, quick, "/rc");
    const a = await Session.open(t, quick, "/rc");
    await a.note();
    assert.equal(await farewellReason(observer, a.id), "ping timeout");
    await expectRecovered(t, quick, a);
  });

  // [what, how, reason]
  const ENDS = [
    ["the client leaves the namespace", (a) => a.raw.send("1/rc,"), "client namespace disconnect"],
    ["the server disconnects the socket", (a) => a.raw.send('2/rc,["close",{}]'), "server namespace disconnect"],
    ["the server disconnects the socket and the connection", (a) => a.raw.send('2/rc,["close",{"close":true}]'), "server namespace disconnect"],
    ["the server says bye", (a) => a.raw.send('2/rc,["bye",1]'), "server namespace disconnect"],
    ["it is disconnected by selection", (a, o) => ask(o, "disconnectSockets", { in: a.id }), "server namespace disconnect"],
    ["another has it disconnected", (a, o) => ask(o, "disconnectOther", { id: a.id, close: true }), "server namespace disconnect"],
    ["the client breaks the Engine.IO protocol", (a) => a.raw.ws.send("9"), "parse error"],
  ];
  for (const [what, act, reason] of ENDS) {
    test(`not recovered: ${what}`, async (t) => {
      const observer = await observe(t);
      const a = await prepared(t);
      await act(a, observer);
      assert.equal(await farewellReason(observer, a.id), reason);
      await ask(observer, "emit", { to: a.id, event: "m" });
      await expectNew(t, server, a, a.key);
    });
  }

  test("not recovered: one namespace was left, the other's connection was cut", async (t) => {
    const observer = await observe(t);
    const a = await prepared(t);
    const b = await Session.open(t, server, "/rc2", undefined, a);
    await b.note();
    a.raw.send("1/rc,");
    assert.equal(await farewellReason(observer, a.id), "client namespace disconnect");
    await b.cut(observer);
    await expectNew(t, server, a, a.key);
    assert.equal((await Session.open(t, server, "/rc2", b.key)).id, b.id);
  });
});

describe("keys that do not fit", () => {
  const WRONG = ["", "nonsense", "__proto__", "constructor", "é👍", "x".repeat(100_000), 0, 1.5, true, false, [], [1], {}, { toString: "x" }];
  test("an unknown pid, or one that is no text: a new socket", async (t) => {
    const observer = await observe(t);
    const a = await prepared(t);
    await a.cut(observer);
    for (const pid of [...WRONG, null, [a.pid], { pid: a.pid }, `${a.pid} `, a.pid.toLowerCase() === a.pid ? a.pid.toUpperCase() : a.pid.toLowerCase(), a.id]) {
      await expectNew(t, server, a, { pid, offset: a.offset }, JSON.stringify(pid).slice(0, 80));
    }
    await expectNew(t, server, a, { offset: a.offset }, "no pid");
    await expectRecovered(t, server, a);
  });

  test("an offset that was never given, or one that is no text: a new socket", async (t) => {
    const observer = await observe(t);
    for (const offset of WRONG) {
      const a = await prepared(t);
      await a.cut(observer);
      await expectNew(t, server, a, { pid: a.pid, offset }, JSON.stringify(offset).slice(0, 80));
    }
  });

  test("the offset of another's event fits as well; one of another namespace, or of the server before, is not understood", async (t) => {
    const observer = await observe(t);
    const a = await prepared(t);
    const other = await prepared(t, {});
    const elsewhere = await Session.open(t, server, "/rc2");
    await elsewhere.note();
    await a.cut(observer);
    await ask(observer, "emit", { to: a.id, event: "m" });
    const b = await expectRecovered(t, server, a, { pid: a.pid, offset: other.offset });
    assert.deepEqual(texts(b.missed), [["m"]]);
    await b.cut(observer, 2);
    const foreign = { pid: a.pid, offset: elsewhere.offset };
    // a deviation: the secret is right, so what the client has is older than the session
    if (isReference) await expectNew(t, server, a, foreign);
    else assert.deepEqual(texts((await expectRecovered(t, server, a, foreign)).missed.slice(-1)), [["m"]]);
  });

  test("keys of a socket do not open that of another", async (t) => {
    const observer = await observe(t);
    const [a, b] = [await prepared(t), await prepared(t)];
    await a.cut(observer);
    await b.cut(observer);
    assert.equal((await expectRecovered(t, server, a, { pid: a.pid, offset: b.offset })).pid, a.pid);
    assert.equal((await expectRecovered(t, server, b)).pid, b.pid);
  });

  test("what the client sends with the keys is its auth as ever", async (t) => {
    const observer = await observe(t);
    const a = await prepared(t);
    await a.cut(observer);
    const b = await expectRecovered(t, server, a, { ...a.key, extra: { x: 1 }, data: "new" });
    const { auth } = await b.ask("handshake");
    assert.deepEqual([auth.extra, auth.data], [{ x: 1 }, "new"]);
    assert.deepEqual((await b.ask("data")).auth, "new", "the connection listener runs for a recovered socket too");
  });
});

describe("time", () => {
  const short = useServer({ RECOVERY_MS: "400" });
  test("in time, and too late", async (t) => {
    const observer = await client(t, short, "/rc");
    const a = await Session.open(t, short, "/rc", { room: "short" });
    await a.note();
    await a.cut(observer);
    await ask(observer, "emit", { to: "short", event: "m" });
    const b = await expectRecovered(t, short, a);
    assert.deepEqual(texts(b.missed), [["m"]]);
    await b.note();
    await b.cut(observer, 2);
    await sleep(600); // the time is what is tested
    await ask(observer, "emit", { to: "short", event: "m" });
    const c = await expectNew(t, short, b, b.key);
    assert.deepEqual(await ask(observer, "roomSizes"), {});
    await c.note();
    await c.cut(observer);
    await expectRecovered(t, short, c);
  });

  test("an offset that is older than that, of a client that was there all the time and missed nothing", async (t) => {
    const observer = await client(t, short, "/rc");
    const a = await Session.open(t, short, "/rc", { room: "old" });
    await a.note();
    await sleep(600); // the time is what is tested
    await a.cut(observer);
    const b = await expectRecovered(t, short, a);
    assert.deepEqual(b.missed, []);
    await b.cut(observer, 2);
    await ask(observer, "emit", { to: "old", event: "m" });
    assert.deepEqual(texts((await expectRecovered(t, short, a)).missed), [["m"]]);
  });
});

describe("middlewares, when they are not skipped", () => {
  const strict = useServer({ RECOVERY_MS: "20000", RECOVERY_SKIP_MIDDLEWARES: "0" });
  test("they run again, on the data that was kept; the socket is recovered", async (t) => {
    const observer = await client(t, strict, "/rc");
    const a = await Session.open(t, strict, "/rc", { room: "one" });
    await a.note();
    await a.cut(observer);
    await ask(observer, "emit", { to: "one", event: "m" });
    const b = await Session.open(t, strict, "/rc", { ...a.key, room: "two", hello: true });
    assert.equal(b.id, a.id);
    assert.deepEqual(texts(b.missed), [["m"]]);
    assert.deepEqual(await b.event(), ["hello", { nsp: "/rc", recovered: true }]);
    assert.deepEqual((await b.ask("data")).mw, ["a", "b", "a", "b"]);
    assert.deepEqual(await b.ask("rooms"), { self: true, rooms: ["one", "two"] });
  });

  test("they may refuse; no room keeps it; a later try recovers", async (t) => {
    const observer = await client(t, strict, "/rc");
    const a = await Session.open(t, strict, "/rc", { room: "refused" });
    await a.note();
    await a.cut(observer);
    for (const token of ["bad", "bad-late"]) {
      const b = await Session.open(t, strict, "/rc", { ...a.key, token });
      assert.equal(b.id, undefined);
      assert.equal(b.refused.message, token === "bad" ? "not authorized" : "late");
      assert.equal((await ask(observer, "roomSizes")).refused, undefined);
      assert.deepEqual(await ask(observer, "fetchSockets", { in: "refused" }), []);
    }
    await ask(observer, "emit", { to: "refused", event: "m" });
    const c = await expectRecovered(t, strict, a);
    assert.deepEqual(texts(c.missed), [["m"]]);
    assert.deepEqual(await c.ask("rooms"), { self: true, rooms: ["refused"] });
  });

  test("they may take their time", async (t) => {
    const observer = await client(t, strict, "/rc");
    const a = await Session.open(t, strict, "/rc", { room: "slow" });
    await a.note();
    await a.cut(observer);
    await ask(observer, "emit", { to: "slow", event: "m", args: [1] });
    const b = await Session.open(t, strict, "/rc", { ...a.key, delay: 100 });
    assert.equal(b.id, a.id);
    await ask(observer, "emit", { to: "slow", event: "m", args: [2] });
    assert.deepEqual([...texts(b.missed), await b.event()], [["m", 1], ["m", 2]]);
  });

  greenroomOnly("what is emitted while they are busy is not lost", "there, the socket is behind what was missed and not yet connected", async (t) => {
    const observer = await client(t, strict, "/rc");
    const a = await Session.open(t, strict, "/rc", { room: "busy" });
    await a.note();
    await a.cut(observer);
    await ask(observer, "emit", { to: "busy", event: "m", args: [1] });
    const opening = Session.open(t, strict, "/rc", { ...a.key, room: "inside", delay: 300 });
    await until(() => ask(observer, "roomSizes"), (sizes) => sizes.inside === 1, "the join of the middleware");
    await ask(observer, "emit", { to: "busy", event: "m", args: [2] });
    const b = await opening;
    assert.equal(b.id, a.id);
    await ask(observer, "emit", { to: "busy", event: "m", args: [3] });
    const got = texts(b.missed);
    while (got.length < 3) got.push(await b.event());
    assert.deepEqual(got, [["m", 1], ["m", 2], ["m", 3]]);
  });
});

overTransports("the official client", (transport) => {
  const again = (socket) => within(new Promise((resolve) => socket.once("connect", resolve)), "reconnect");

  test("recovers: flag, id, missed events before connect, rooms and data, what it has kept itself; and once more", async (t) => {
    const observer = await observe(t);
    const a = await client(t, server, "/rc", { ...transport, auth: { room: "official", hello: true, data: 1 } });
    assert.equal(a.recovered, false);
    assert.deepEqual((await next(a, "hello")).slice(0, 1), [{ nsp: "/rc", recovered: false }]);
    const { id } = a;
    for (let round = 1; round <= 2; round++) {
      const events = [];
      const heard = (event, x) => events.push([event, x]);
      a.onAny(heard);
      a.once("connect", () => events.push("connect"));
      a.io.engine.close();
      await until(() => ask(observer, "disconnectLog", { id }), (log) => log.length >= 2 * round);
      await ask(observer, "emit", { to: "official", event: "m", args: [round] });
      const kept = call(a, "echo", "kept");
      const back = again(a);
      a.connect();
      await back;
      assert.equal(a.id, id);
      assert.equal(a.recovered, true);
      assert.equal(await kept, "kept");
      assert.equal((await ask(a, "info")).recovered, true);
      assert.deepEqual(events, [["m", round], "connect", ["hello", { nsp: "/rc", recovered: true }]]);
      a.offAny(heard);
    }
    assert.deepEqual(await ask(a, "rooms"), { self: true, rooms: ["official"] });
    assert.deepEqual(await ask(a, "data"), { mw: ["a", "b"], auth: 1 });
  });

  test("reconnects by itself: three namespaces on one connection; one that it had left before is new", async (t) => {
    const observer = await observe(t);
    const quick = { reconnection: true, reconnectionDelay: 50, randomizationFactor: 0 };
    const a = await client(t, server, "/rc", { ...transport, ...quick, auth: { hello: true } });
    const b = await alsoClient(t, a, "/rc2", { hello: true });
    const c = await alsoClient(t, a, "/dyn-2");
    await next(a, "hello");
    await next(b, "hello");
    await next(c, "welcome");
    const ids = [a.id, b.id, c.id];
    c.disconnect();
    await farewellReason(observer, ids[2], "/dyn-2");
    c.connect();
    await up(c);
    const back = Promise.all([again(a), again(b), again(c)]);
    const third = c.id;
    assert.notEqual(third, ids[2]);
    a.io.engine.close();
    await back;
    assert.deepEqual([a.id, b.id, c.id], [ids[0], ids[1], third]);
    assert.deepEqual([a.recovered, b.recovered, c.recovered], [true, true, true]);
    for (const socket of [a, b, c]) assert.equal(await call(socket, "echo", 1), 1);
  });
});

describe("beyond the reference", () => {
  greenroomOnly("a client that has received no event yet is recovered", "there, a session without an offset is lost", async (t) => {
    const observer = await observe(t);
    const a = await Session.open(t, server, "/rc", { room: "silent", data: "kept" });
    await a.cut(observer);
    for (let i = 0; i < 3; i++) await ask(observer, "emit", { to: "silent", event: "m", args: [i] });
    const b = await expectRecovered(t, server, a, { pid: a.pid });
    assert.deepEqual(texts(b.missed), [["m", 0], ["m", 1], ["m", 2]]);
    assert.deepEqual(await b.ask("rooms"), { self: true, rooms: ["silent"] });
    assert.deepEqual((await b.ask("data")).auth, "kept");
    const c = await client(t, server, "/rc", { reconnection: true, reconnectionDelay: 10 });
    const { id } = c;
    c.io.engine.close();
    await within(new Promise((resolve) => c.once("connect", resolve)), "reconnect");
    assert.deepEqual([c.id, c.recovered], [id, true]);
  });

  greenroomOnly("an old session that is still open is closed, and taken over", "there, the client gets a new session beside the old one", async (t) => {
    const observer = await observe(t);
    const a = await prepared(t, { room: "over" });
    await ask(observer, "emit", { to: "over", event: "m", args: [1] });
    const b = await expectRecovered(t, server, a);
    await within(a.raw.ws.closed, "close of the old connection");
    assert.deepEqual(texts(b.missed), [["m", 1]]);
    assert.deepEqual(await b.ask("rooms"), { self: true, rooms: ["over"] });
    assert.equal((await ask(observer, "roomSizes")).over, 1);
    await until(() => ask(observer, "counts"), (c) => c.nsp === 2 && c.engine === 2);
    await ask(observer, "emit", { to: "over", event: "m", args: [2] });
    assert.deepEqual(await b.event(), ["m", 2]);
    await b.cut(observer, 2);
    await expectRecovered(t, server, b);
  });

  greenroomOnly("keys that were used to recover cannot be used beside that socket", "there, two sockets of the same id come of it", async (t) => {
    const observer = await observe(t);
    const a = await prepared(t, { room: "once" });
    await a.cut(observer);
    const b = await expectRecovered(t, server, a);
    const c = await expectRecovered(t, server, a);
    await within(b.raw.ws.closed, "close of the one before");
    assert.equal((await ask(observer, "roomSizes")).once, 1);
    assert.equal((await c.ask("info")).id, a.id);
  });

  greenroomOnly("a recovered socket that leaves is gone for good", "there, the session of the cut before is still known", async (t) => {
    const observer = await observe(t);
    const a = await prepared(t, {});
    await a.cut(observer);
    const b = await expectRecovered(t, server, a);
    b.raw.send("1/rc,");
    await b.noticed(observer, 2);
    await expectNew(t, server, a, a.key);
  });
});
