// Handles of sockets that a selection finds, and what can be done with them (features R9-R11, R5, K4).
import {
  test, assert, describe, useServer, overTransports, client, clients, alsoClient, dial, up, ask, call, next, take, expectNothing,
  until, farewellReason,
} from "./support.mjs";

const server = useServer();

/** Five sockets of /rc2: a in nothing, b in 1, c in 2, d in 1 and 2, e in 3; `names` turns ids into these letters. */
let used = 0;
async function five(t, transport) {
  const tag = `s${++used}-`;
  const rooms = { 1: `${tag}1`, 2: `${tag}2`, 3: `${tag}3` };
  const [a, b, c, d, e] = await clients(t, server, 5, "/rc2", transport);
  for (const [socket, list] of [[b, [1]], [c, [2]], [d, [1, 2]], [e, [3]]]) await ask(socket, "join", { rooms: list.map((n) => rooms[n]) });
  await until(() => ask(a, "counts"), (counts) => counts.nsp === 5, "the clients of other tests are gone");
  const everyone = { a, b, c, d, e };
  const names = (ids) => ids.map((id) => Object.keys(everyone).find((name) => everyone[name].id === id) ?? id).sort().join("");
  return { ...everyone, everyone, rooms, names };
}

/** [who asks, selection, who is found]. `nsp` is the default, `io` the main namespace where none of them is. */
const SELECTIONS = (r) => [
  ["a", {}, "abcde"], ["a", { target: "nsp" }, "abcde"], ["b", { target: "socket.broadcast" }, "acde"], ["a", { target: "io" }, ""],
  ["a", { to: r[1] }, "bd"], ["a", { in: r[1] }, "bd"], ["a", { to: [r[1], r[2]] }, "bcd"], ["a", { to: r[1], in: [r[2], r[3]] }, "bcde"],
  ["d", { to: r[1] }, "bd"], ["d", { target: "socket.broadcast", to: r[1] }, "b"], ["d", { target: "socket", to: r[1] }, "b"],
  ["d", { target: "socket", in: [r[1], r[2]] }, "bc"], ["d", { target: "socket", except: r[3] }, "abc"], ["e", { target: "socket", to: r[3] }, ""],
  ["e", { target: "socket", flags: { local: true } }, "abcd"], ["a", { except: r[1] }, "ace"], ["a", { except: [r[1], r[3]] }, "ac"],
  ["a", { to: r[1], except: r[2] }, "b"], ["a", { in: [r[1], r[3]], except: [r[2], "nobody"] }, "be"], ["a", { to: r[1], except: r[1] }, ""],
  ["a", { to: "nobody" }, ""], ["a", { to: [] }, "abcde"], ["a", { except: "nobody" }, "abcde"], ["a", { target: "io", to: r[1] }, ""],
];
/** Flags that change nothing about who is found. */
const FLAGS = [{ local: true }, { volatile: true }, { compress: false }, { timeout: 500 }, { volatile: true, compress: true, local: true, timeout: 500 }];

overTransports("fetchSockets", (transport, name) => {
  test("finds what the selection says, whatever the flags", async (t) => {
    const { a, everyone, rooms, names } = await five(t, transport);
    for (const [by, selection, expected] of SELECTIONS(rooms)) {
      const list = await ask(everyone[by], "fetchSockets", selection);
      assert.equal(names(list.map((s) => s.id)), expected, `${by} ${JSON.stringify(selection)}`);
    }
    for (const flags of FLAGS) assert.equal(names((await ask(a, "fetchSockets", { to: rooms[1], flags })).map((s) => s.id)), "bd", JSON.stringify(flags));
    for (const [id, expected] of [[everyone.c.id, "c"], [[a.id, everyone.e.id], "ae"]]) {
      assert.equal(names((await ask(a, "fetchSockets", { to: id })).map((s) => s.id)), expected);
      assert.equal(names((await ask(a, "fetchSockets", { except: id })).map((s) => s.id)), [..."abcde"].filter((x) => !expected.includes(x)).join(""));
    }
  });

  test("each with its rooms but its own, its data and its auth", async (t) => {
    const room = `all-${name}`;
    const auths = [{ room, data: { user: "é", list: [1, null] } }, { room, other: true }, { room, data: null }];
    const [a, b, c] = await Promise.all(auths.map((auth) => client(t, server, "/rc", { ...transport, auth })));
    await ask(a, "join", { rooms: ["z", "B", "a", "10", "9"] });
    await ask(b, "data", { set: { late: { x: [2] }, mw: 0 } });
    await ask(c, "leave", { room: c.id });
    const list = await ask(b, "fetchSockets", { in: room });
    assert.equal(list.length, 3);
    const of = (socket) => list.find((s) => s.id === socket.id);
    assert.deepEqual(of(a), { id: a.id, rooms: ["10", "9", "B", "a", room, "z"].sort(), data: { mw: ["a", "b"], auth: auths[0].data }, auth: auths[0] });
    assert.deepEqual(of(b), { id: b.id, rooms: [room], data: { mw: 0, late: { x: [2] } }, auth: auths[1] });
    assert.deepEqual(of(c), { id: c.id, rooms: [room], data: { mw: ["a", "b"], auth: null }, auth: auths[2] });
  });

  test("io is the main namespace, whose sockets have no data", async (t) => {
    const [one, two] = await Promise.all([client(t, server, "/", { ...transport, auth: { x: 1 } }), client(t, server, "/", transport)]);
    const a = await client(t, server, "/rc", transport);
    const list = await ask(a, "fetchSockets", { target: "io", to: [one.id, two.id] });
    assert.deepEqual(list.sort((x) => (x.id === one.id ? -1 : 1)), [{ id: one.id, rooms: [], data: {}, auth: { x: 1 } }, { id: two.id, rooms: [], data: {}, auth: {} }]);
    assert.deepEqual(await ask(a, "fetchSockets", { target: "io", to: a.id }), []);
  });
});

describe("who is found", () => {
  test("no socket that waits in a middleware, none that has left; its neighbour on the connection stays", async (t) => {
    const a = await client(t, server, "/rc", { auth: { room: "found" } });
    const also = await alsoClient(t, a, "/rc2", { room: "found" });
    const waiting = dial(t, server, "/rc", { auth: { room: "found", delay: 300 } });
    await until(() => ask(a, "roomSizes"), (sizes) => sizes.found === 2, "the join of the middleware");
    const ids = async () => (await ask(a, "fetchSockets", { in: "found" })).map((s) => s.id);
    assert.deepEqual(await ids(), [a.id]);
    await up(waiting);
    assert.deepEqual(new Set(await ids()), new Set([a.id, waiting.id]));
    const { id } = waiting;
    waiting.disconnect();
    await farewellReason(a, id);
    assert.deepEqual(await ids(), [a.id]);
    a.disconnect();
    assert.deepEqual((await ask(also, "fetchSockets", { in: "found" })).map((s) => s.id), [also.id]);
  });

  test("sockets of a child namespace, through themselves", async (t) => {
    const [a, b] = await clients(t, server, 2, "/dyn-5", { auth: { x: 1 } });
    await ask(b, "join", { rooms: "r" });
    assert.deepEqual(await ask(a, "fetchSockets", { target: "socket.broadcast" }), [{ id: b.id, rooms: ["r"], data: {}, auth: { x: 1 } }]);
    assert.equal((await ask(a, "fetchSockets", { flags: { local: true } })).length, 2);
  });

  test("200 of them", async (t) => {
    const list = await clients(t, server, 200, "/rc", { auth: { room: "crowd" } });
    const found = await ask(list[0], "fetchSockets", { to: "crowd" });
    assert.deepEqual(found.map((s) => s.id).sort(), list.map((s) => s.id).sort());
    assert.equal(await ask(list[0], "emitFetched", { to: "crowd", event: "x", args: [1] }), 200);
    for (const socket of list) assert.deepEqual(await next(socket, "x"), [1]);
  });
});

overTransports("emitting through handles", (transport, name) => {
  test("emitFetched: each once, in order, with what is sent; the number of them", async (t) => {
    const { a, everyone, rooms, names } = await five(t, transport);
    for (const [by, selection, expected] of SELECTIONS(rooms)) {
      assert.equal(await ask(everyone[by], "emitFetched", { event: "e", args: [1, { b: Buffer.from([2]) }], ...selection }), expected.length);
      await ask(everyone[by], "emitFetched", { target: "nsp", event: "fence" }); // the same way, by the same socket
      const seen = [];
      for (const socket of Object.values(everyone)) {
        await next(socket, "fence");
        seen.push(socket.inbox.takeAll());
      }
      const got = Object.values(everyone).filter((_, i) => seen[i].length > 0);
      for (const rest of seen) if (rest.length) assert.deepEqual(rest, [["e", 1, { b: Buffer.from([2]) }]]);
      assert.equal(names(got.map((s) => s.id)), expected, `${by} ${JSON.stringify(selection)}`);
    }
    for (let i = 0; i < 20; i++) a.emit("emitFetched", { to: rooms[1], event: "n", args: [i] });
    // Twenty listeners wait for their answers side by side: which has it first is not promised.
    const inOrder = (list) => list.sort(([m], [n]) => m - n);
    for (const socket of [everyone.b, everyone.d]) assert.deepEqual(inOrder(await take(socket, "n", 20)), Array.from({ length: 20 }, (_, i) => [i]));
    assert.equal(await ask(a, "emitFetched", { to: rooms[3], event: "none" }), 1);
    assert.deepEqual(await next(everyone.e, "none"), []);
  });

  test("ackFetched: one answer for each, its first argument; null when there is none", async (t) => {
    const { a, everyone, rooms } = await five(t, transport);
    const answers = { a: [], b: ["b", "ignored"], c: [null], d: [{ x: Buffer.from([4]) }], e: [0] };
    for (const [who, socket] of Object.entries(everyone)) socket.on("q", (...args) => args.pop()(...answers[who]));
    const sorted = (list) => list.sort((x, y) => (JSON.stringify(x) < JSON.stringify(y) ? -1 : 1));
    const ok = (response) => ({ err: null, response });
    assert.deepEqual(sorted(await ask(a, "ackFetched", { event: "q", args: [1], flags: { timeout: 4000 } })), sorted([ok(null), ok("b"), ok(null), ok({ x: Buffer.from([4]) }), ok(0)]));
    assert.deepEqual(await ask(a, "ackFetched", { to: rooms[3], event: "q" }), [ok(0)], "a timeout of a second by default");
    assert.deepEqual(await ask(a, "ackFetched", { to: "nobody", event: "q" }), []);
    assert.deepEqual(await ask(everyone.d, "ackFetched", { target: "socket", to: rooms[1], event: "q", flags: { timeout: 4000, local: true } }), [ok("b")]);
    assert.deepEqual((await next(everyone.e, "q")).slice(0, 1), [1]);
  });

  test("ackFetched: a silent one does not spoil the others; its late answer is ignored", async (t) => {
    const room = `silent-${name}`;
    const [a, b, c] = await clients(t, server, 3, "/rc", { ...transport, auth: { room } });
    let late;
    a.on("q", (x, done) => done("a"));
    b.on("q", (x, done) => (late = done));
    c.on("q", (x, done) => done("c"));
    const begin = Date.now();
    const list = await ask(a, "ackFetched", { in: room, event: "q", args: [1], flags: { timeout: 200 } });
    assert.ok(Date.now() - begin >= 190);
    assert.deepEqual(list.filter((r) => r.err === null).map((r) => r.response).sort(), ["a", "c"]);
    assert.deepEqual(list.filter((r) => r.err !== null), [{ err: "operation has timed out", response: null }]);
    late("late");
    assert.equal(await call(b, "echo", 1), 1);
    for (const s of [a, b, c]) s.inbox.takeAll();
    await expectNothing(a, a, b, c);
  });
});

describe("sockets that go meanwhile", () => {
  test("ackFetched: an error for the one that leaves, the answers of the others", async (t) => {
    for (const leave of [(s) => s.disconnect(), (s) => s.io.engine.close()]) {
      const [a, b] = await clients(t, server, 2, "/rc", { auth: { room: "leaving" } });
      a.on("q", (done) => done("a"));
      b.on("q", () => leave(b));
      const list = await ask(a, "ackFetched", { in: "leaving", event: "q", flags: { timeout: 400 } });
      assert.equal(list.length, 2);
      assert.deepEqual(list.find((r) => r.err === null), { err: null, response: "a" });
      const other = list.find((r) => r.err !== null);
      assert.equal(other.response, null);
      assert.match(other.err, /timed out|disconnected/);
      a.disconnect();
      await b.gone;
    }
  });

  test("emitFetched while many come and go: nothing breaks, those who stay get each", async (t) => {
    const [a, stay] = await clients(t, server, 2, "/rc", { auth: { room: "moving" } });
    let done = false;
    const moving = Promise.all([1, 2, 3].map(async () => {
      while (!done) (await client(t, server, "/rc", { auth: { room: "moving" } })).disconnect();
    }));
    try {
      for (let i = 0; i < 50; i++) assert.ok((await ask(a, "emitFetched", { in: "moving", event: "n", args: [i] })) >= 2);
    } finally {
      done = true;
      await moving;
    }
    assert.deepEqual(await take(stay, "n", 50), Array.from({ length: 50 }, (_, i) => [i]));
  });
});

overTransports("joining, leaving, disconnecting by selection", (transport, name) => {
  test("socketsJoin and socketsLeave concern what the selection says, whatever the flags", async (t) => {
    const { everyone, rooms, names } = await five(t, transport);
    const members = async (room) => names((await ask(everyone.a, "fetchSockets", { in: room })).map((s) => s.id));
    let n = 0;
    for (const [by, selection, expected] of [...SELECTIONS(rooms), ...FLAGS.map((flags) => ["a", { to: rooms[1], flags }, "bd"])]) {
      const room = `sel-${name}-${++n}`;
      assert.equal(await ask(everyone[by], "socketsJoin", { ...selection, rooms: n % 2 ? room : [room, `${room}-too`] }), true);
      assert.equal(await members(room), expected, `join ${by} ${JSON.stringify(selection)}`);
      if (n % 2 === 0) assert.equal(await members(`${room}-too`), expected);
      await ask(everyone.a, "socketsJoin", { rooms: room });
      assert.equal(await ask(everyone[by], "socketsLeave", { ...selection, rooms: n % 2 ? [room] : room }), true);
      assert.equal(await members(room), [..."abcde"].filter((x) => !expected.includes(x)).join(""), `leave ${by} ${JSON.stringify(selection)}`);
      await ask(everyone.a, "socketsLeave", { rooms: [room, `${room}-too`] });
    }
    assert.deepEqual((await ask(everyone.d, "rooms")), { self: true, rooms: [rooms[1], rooms[2]] }, "the other rooms stay");
  });

  for (const close of [false, true]) {
    test(`disconnectSockets concerns what the selection says${close ? ", with the connection" : ""}`, async (t) => {
      const SOME = (r) => [
        ["a", {}, "abcde"], ["b", { target: "socket.broadcast" }, "acde"], ["a", { to: r[1], flags: { local: true } }, "bd"], ["d", { target: "socket", in: r[1] }, "b"],
        ["a", { in: [r[1], r[3]], except: r[2], flags: { volatile: true, compress: false } }, "be"], ["a", { target: "io" }, ""], ["a", { to: "nobody" }, ""],
      ];
      for (let i = 0; i < SOME({}).length; i++) {
        const { everyone, rooms } = await five(t, transport);
        const observer = await client(t, server, "/rc", transport);
        const [by, selection, expected] = SOME(rooms)[i];
        const ids = Object.fromEntries(Object.entries(everyone).map(([who, s]) => [who, s.id]));
        const neighbour = await alsoClient(t, everyone.e, "/custom");
        everyone[by].emit("disconnectSockets", { ...selection, close });
        for (const who of expected) {
          assert.equal((await everyone[who].gone).reason, "io server disconnect", who);
          assert.equal(await farewellReason(observer, ids[who], "/rc2"), "server namespace disconnect");
        }
        for (const who of "abcde") if (!expected.includes(who)) assert.equal(await call(everyone[who], "echo", who), who, `${who} stays: ${by} ${JSON.stringify(selection)}`);
        if (expected.includes("e") && close) assert.equal((await neighbour.gone).reason, "io server disconnect");
        else assert.equal(await call(neighbour, "message-with-ack", 1), 1);
        for (const socket of Object.values(everyone)) socket.disconnect();
        await until(() => ask(observer, "counts", { nsp: "/rc2" }), (c) => c.nsp === 0);
      }
    });
  }
});

describe("flags of an emit, in every combination", () => {
  const combine = (list) => list.reduce((all, [key, values]) => all.flatMap((x) => [x, ...values.map((v) => ({ ...x, [key]: v }))]), [{}]);
  const all = combine([["volatile", [true]], ["compress", [true, false]], ["local", [true]], ["timeout", [3000]]]);
  test("without ack: it arrives, once, to those selected", async (t) => {
    const { a, b, c, d, rooms } = await five(t);
    for (const [i, flags] of all.entries()) {
      await ask(a, "emit", { to: rooms[1], event: "f", args: [i, Buffer.from([i])], flags });
      for (const socket of [b, d]) assert.deepEqual(await next(socket, "f"), [i, Buffer.from([i])], JSON.stringify(flags));
      await ask(b, "emit", { target: "socket", to: rooms[1], event: "f", args: [i], flags });
      assert.deepEqual(await next(d, "f"), [i], JSON.stringify(flags));
      if (!flags.local) {
        await ask(c, "emit", { target: "socket", event: "f", args: [i], flags });
        assert.deepEqual(await next(c, "f"), [i], JSON.stringify(flags));
      }
    }
    await expectNothing(a, a, b, c, d);
  });

  test("with ack: the answers come back", async (t) => {
    const { a, b, d, rooms } = await five(t);
    for (const socket of [b, d]) socket.on("q", (x, done) => done(x));
    for (const [i, flags] of all.entries()) {
      if (flags.timeout === undefined) continue;
      for (const operation of ["emit", "emitWithAck"]) {
        const label = `${operation} ${JSON.stringify(flags)}`;
        assert.deepEqual(await ask(a, operation, { to: rooms[1], event: "q", args: [i], ack: true, flags }), { err: null, responses: [i, i] }, label);
        assert.deepEqual(await ask(b, operation, { target: "socket", to: rooms[1], event: "q", args: [i], ack: true, flags }), { err: null, responses: [i] }, label);
        if (!flags.local) assert.deepEqual(await ask(b, operation, { target: "socket", event: "q", args: [i], ack: true, flags }), { err: null, response: [i] }, label);
      }
    }
  });
});
