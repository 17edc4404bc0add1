// How connections end, as seen by the client and by the server's log (features K9, K20-K22, V8, P12; traps 3.2, 3.3).
import {
  test, assert, describe, useServer, startServer, overTransports, client, clients, alsoClient, ask, call, until, farewell,
  farewellReason, greenroomOnly, Raw, Polling, pollingSocket, tcpSession, wsFrame, sleep, within, Ws, TRANSPORTS,
} from "./support.mjs";

const server = useServer();

overTransports("reasons", (transport, name) => {
  // [what, how, server's reason, client's reason]
  const CASES = [
    ["the client disconnects", (a) => a.disconnect(), "client namespace disconnect", "io client disconnect"],
    ["the client closes the connection", (a) => a.io.engine.close(), "transport close", "forced close"],
    ["the server disconnects the socket", (a) => a.emit("close", {}), "server namespace disconnect", "io server disconnect"],
    ["the server disconnects the socket and the connection", (a) => a.emit("close", { close: true }), "server namespace disconnect", "io server disconnect"],
    ["the server closes the connection", (a) => a.emit("connClose", {}), "forced close", "transport close"],
    ["bye", (a) => a.emit("bye", 1, false), "server namespace disconnect", "io server disconnect"],
    ["bye with the connection", (a) => a.emit("bye", 1, true), "server namespace disconnect", "io server disconnect"],
    ["another client has it disconnected", (a, o) => ask(o, "disconnectOther", { id: a.id }), "server namespace disconnect", "io server disconnect"],
    ["another client has it disconnected with the connection", (a, o) => ask(o, "disconnectOther", { id: a.id, close: true }), "server namespace disconnect", "io server disconnect"],
    ["the client sends a bad packet", (a) => a.io.engine.write("9"), "forced close", "transport close"],
    ["the client sends a reserved event", (a) => a.io.engine.write('2/rc,["disconnect"]'), "forced close", "transport close"],
  ];
  for (const [what, act, serverReason, clientReason] of CASES) {
    test(what, async (t) => {
      const observer = await client(t, server, "/rc");
      const a = await client(t, server, "/rc", transport);
      await ask(a, "join", { rooms: ["r2", "r1"] });
      const { id } = a;
      act(a, observer);
      assert.equal((await within(a.gone, "disconnect of the client")).reason, clientReason);
      assert.deepEqual(await farewell(observer, id), { id, event: "disconnecting", reason: serverReason, rooms: ["r1", "r2"] });
      await sleep(20);
      assert.equal((await ask(observer, "disconnectLog", { id })).length, 2, "once");
      assert.deepEqual((await ask(observer, "roomSizes")).r1, undefined);
    });
  }

  test("what was emitted before the end arrives: bye, acks, bursts", async (t) => {
    for (const close of [false, true]) {
      const a = await client(t, server, "/rc", transport);
      const acks = [];
      a.emit("burst", { count: 100 }, () => acks.push("burst"));
      a.emit("echo", "x", (x) => acks.push(x));
      a.emit("bye", { last: Buffer.from([1]) }, close);
      assert.equal((await within(a.gone, "disconnect")).reason, "io server disconnect");
      const events = a.inbox.takeAll();
      assert.deepEqual(events.slice(0, 100), Array.from({ length: 100 }, (_, i) => ["b", i]));
      assert.deepEqual(events[100], ["bye", { last: Buffer.from([1]) }]);
      assert.deepEqual(acks, ["burst", "x"]);
    }
  });

  test("the ack of connClose arrives before the end", async (t) => {
    const a = await client(t, server, "/rc", transport);
    a.emit("burst", { count: 50 });
    assert.equal(await ask(a, "connClose"), true);
    assert.equal((await within(a.gone, "disconnect")).reason, "transport close");
    assert.equal(a.inbox.takeAll().length, 50);
  });

  test("disconnectOther: whether it was found, in this namespace", async (t) => {
    const observer = await client(t, server, "/rc", transport);
    const other = await client(t, server, "/rc2", transport);
    assert.equal(await ask(observer, "disconnectOther", { id: "nobody" }), false);
    assert.equal(await ask(observer, "disconnectOther", { id: other.id }), false);
    const a = await client(t, server, "/rc", transport);
    const { id } = a;
    assert.equal(await ask(observer, "disconnectOther", { id }), true);
    assert.equal((await a.gone).reason, "io server disconnect");
    assert.equal(await ask(observer, "disconnectOther", { id }), false);
  });

  test("the official client reconnects, and sends what it has kept", async (t) => {
    const a = await client(t, server, "/rc", { ...transport, reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 50 });
    const { id } = a;
    a.emit("connClose", {});
    assert.equal((await a.gone).reason, "transport close");
    const kept = call(a, "echo", "kept");
    await within(new Promise((resolve) => a.once("connect", resolve)), "reconnect");
    assert.notEqual(a.id, id);
    assert.equal(await kept, "kept");
    assert.deepEqual(await ask(a, "rooms"), { self: true, rooms: [] });
  });
});

describe("the client's retries", () => {
  test("events are acknowledged one after the other, each once", async (t) => {
    const a = await client(t, server, "/rc", { retries: 3, ackTimeout: 2000 });
    const answers = [];
    for (let i = 0; i < 30; i++) a.emit("echo", i, (err, x) => answers.push(err ?? x));
    await until(() => answers.length, (n) => n === 30);
    assert.deepEqual(answers, Array.from({ length: 30 }, (_, i) => i));
  });
  test("an event that nobody acknowledges comes again", async (t) => {
    const a = await client(t, server, "/rc", { retries: 2, ackTimeout: 100 });
    const failed = new Promise((resolve) => a.emit("no-ack", 1, resolve));
    assert.match((await failed).message, /timed out/);
    assert.equal(await new Promise((resolve) => a.emit("echo", "after", (err, x) => resolve(err ?? x))), "after");
  });
  greenroomOnly("an error is an answer: the event does not come again", "a listener that throws gives none", async (t) => {
    const a = await client(t, server, "/rc", { retries: 3, ackTimeout: 20000 });
    const answer = (name, x) => new Promise((resolve) => a.emit(name, x, (...args) => resolve(args)));
    const [failed, next] = await Promise.all([answer("ack-later", "no number"), answer("echo", 1)]);
    assert.equal(failed[0], null, "it counts as answered");
    assert.match(failed[1].error, /^invalid payload: argument 0/);
    assert.deepEqual(next, [null, 1]);
  });
});

describe("heartbeat lost", () => {
  const quick = useServer({ PING_INTERVAL: "200", PING_TIMEOUT: "200" });
  test("a silent client: ping timeout, all its namespaces, rooms emptied", async (t) => {
    const observer = await client(t, quick, "/rc");
    const raw = await Raw.connect(t, quick, "/rc", { room: "silent" });
    await raw.join("/rc2");
    assert.deepEqual(await farewell(observer, raw.id), { id: raw.id, event: "disconnecting", reason: "ping timeout", rooms: ["silent"] });
    assert.equal(await farewellReason(observer, raw.ids["/rc2"], "/rc2"), "ping timeout");
    await raw.expectClosed();
    assert.deepEqual(await ask(observer, "roomSizes"), {});
    await until(() => ask(observer, "counts"), (c) => c.engine === 1);
  });
  for (const [name, transport] of Object.entries(TRANSPORTS)) {
    test(`the official client lives on (${name})`, async (t) => {
      const a = await client(t, quick, "/rc", transport);
      for (let i = 0; i < 12; i++) {
        await sleep(100);
        assert.equal(await call(a, "echo", i), i);
      }
    });
  }
});

describe("the order of ends", () => {
  test("disconnecting of every namespace, rooms still there; then nothing remains", async (t) => {
    const own = await startServer(t);
    const observer = await client(t, own, "/rc");
    for (let i = 0; i < 10; i++) {
      const raw = await Raw.connect(t, own, "/rc", { room: `x${i}` });
      await raw.join("/rc2", { room: `y${i}` });
      raw.ws.socket.terminate();
      assert.deepEqual((await farewell(observer, raw.id)).rooms, [`x${i}`]);
      assert.deepEqual((await farewell(observer, raw.ids["/rc2"], "/rc2")).rooms, [`y${i}`]);
    }
    await until(() => ask(observer, "counts"), (c) => c.nsp === 1 && c.engine === 1);
    assert.deepEqual([await ask(observer, "roomSizes"), await ask(observer, "roomSizes", { nsp: "/rc2" })], [{}, {}]);
  });

  test("500 clients come and go at once", async (t) => {
    const own = await startServer(t);
    const observer = await client(t, own, "/rc");
    for (let round = 0; round < 5; round++) {
      const list = await Promise.all(Array.from({ length: 100 }, (_, i) => Raw.connect(t, own, i % 2 ? "/rc" : "/rc2", { room: `r${i % 10}` })));
      assert.equal((await ask(observer, "counts")).engine, 101);
      for (const [i, raw] of list.entries()) i % 3 ? raw.ws.socket.terminate() : raw.ws.socket.close();
      await until(() => ask(observer, "counts"), (c) => c.nsp === 1 && c.engine === 1);
    }
    assert.deepEqual([await ask(observer, "roomSizes"), await ask(observer, "roomSizes", { nsp: "/rc2" })], [{}, {}]);
  });
});

describe("shutdown on SIGTERM", { concurrency: 2 }, () => {
  overTransports("the official client", (transport) => {
    test("sees transport close; the server exits with 0 within two seconds", async (t) => {
      const own = await startServer(t);
      const list = await clients(t, own, 10, "/rc", transport);
      const also = await alsoClient(t, list[0], "/custom");
      await sleep(150); // until every poll waits: one that comes too late finds the port closed
      await own.stop();
      for (const socket of [...list, also]) assert.equal((await within(socket.gone, "disconnect")).reason, "transport close");
    });
  });

  test("no DISCONNECT packet is sent", async (t) => {
    const own = await startServer(t);
    const raw = await Raw.connect(t, own, "/rc");
    const session = await pollingSocket(own);
    const poll = await session.hold();
    const answer = poll.answer.then((a) => a.text, () => "cut");
    await own.stop();
    await raw.ws.closed;
    assert.deepEqual(raw.inbox.items, []);
    assert.ok(["1", "6", "cut"].includes(await answer), await answer);
  });

  test("with every kind of client that does not help", async (t) => {
    const own = await startServer(t);
    const raw = await Raw.connect(t, own, "/rc");
    raw.send('2/rc,1["emit",{"target":"socket","event":"never answered","ack":true}]', '2/rc,2["ack-later",60000,1]');
    const deaf = await tcpSession(t, own); // never answers the close frame
    deaf.write(wsFrame("4x"));
    await Polling.open(own); // no poll waits
    const probing = await Polling.open(own);
    const ws = await Ws.open(t, own, probing.path.replace("polling", "websocket"));
    ws.send("2probe");
    await ws.next();
    const half = await Polling.open(own);
    half.post(undefined, { headers: { "content-length": "100" }, onRequest: (r) => r.write("4") }).catch(() => {});
    const held = await (await Polling.open(own)).hold();
    held.answer.catch(() => {});
    const slow = await Raw.connect(t, own);
    slow.send('0/rc,{"delay":60000}');
    const paused = await Raw.connect(t, own, "/rc"); // reads nothing while much waits for it
    paused.ws.socket._socket.pause();
    for (let i = 0; i < 20; i++) paused.send('2/rc,["emit",{"target":"socket","event":"x","args":["' + "y".repeat(100_000) + '"]}]');
    await raw.expectAlive();
    await own.stop();
  });

  test("idle, twice in a row on SIGINT too", async (t) => {
    const own = await startServer(t);
    await own.stop();
    const other = await startServer(t);
    await client(t, other, "/rc");
    const begin = Date.now();
    other.child.kill("SIGINT");
    assert.deepEqual(await within(other.exited, "exit"), { code: 0, signal: null });
    assert.ok(Date.now() - begin < 2000);
  });

  test("the port is free again at once", async (t) => {
    const own = await startServer(t);
    const a = await client(t, own, "/rc");
    await own.stop();
    await a.gone;
    const again = await startServer(t, { PORT: String(own.port) });
    await client(t, again, "/rc");
  });
});
