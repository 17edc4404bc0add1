// What holds for every adapter: servers of both kinds beside each other on one Redis, each operation in both directions.
import { before, after } from "node:test";
import { test, assert, describe, isReference, client, clients, ask, call, next, until, within } from "./support.mjs";
import { ClusterServer, Redis } from "./cluster.mjs";

export const WS = { transports: ["websocket"] };
const PAIRS = isReference
  ? [["node", "node"]]
  : [["greenroom", "node"], ["node", "greenroom"], ["greenroom", "greenroom"]];
export const bytes = (...list) => Buffer.from(list);

/** Waits until every server of the list knows so many. */
export const known = (sockets, count) =>
  Promise.all(sockets.map((s) => until(() => ask(s, "serverCount"), (n) => n === count, "servers know each other", 20000)));

/** What has arrived but for what the suite itself sends to know that it is heard: of that some may come late. */
const heardBy = (socket) => socket.inbox.takeAll().filter(([event]) => !["fence", "ping"].includes(event));

/** What was sent to other servers has arrived there: an event to each of them, in the same order as what came before. */
let fences = 0;
export async function fence(by, ...sockets) {
  const n = ++fences;
  await ask(by, "emit", { event: "fence", args: [n] });
  await Promise.all(sockets.map((s) => s.inbox.take(([event, x]) => event === "fence" && x === n, "fence", 20000)));
  return sockets.map(heardBy);
}

/** Waits until what one sends reaches another one. */
let calls = 0;
export async function hears(listener, by, selection = {}) {
  const n = ++calls;
  const heard = async () => {
    await ask(by, "emit", { ...selection, event: "ping", args: [n] });
    return listener.inbox.takeAll().some(([event, x]) => event === "ping" && x === n);
  };
  await until(heard, Boolean, "what the other one sends is heard", 20000);
}

/**
 * `env` says which adapter, `aRedis` makes a Redis for it. With `ownRooms` a room has a channel, to which its servers
 * subscribe when somebody joins; `unordered` says of a kind of server why what it sends has no order, `forgetful` why
 * a Node.js server may not subscribe again after its connections were broken. With `brief` what has to wait for
 * somebody's time to be up is left out. `more` defines further tests, from what it is given.
 */
export function bothWays({ env, aRedis = () => new Redis(), ownRooms = false, unordered = () => false, forgetful = false, brief = false, more = () => {} }) {
  for (const [here, there] of PAIRS) {
    const anyOrder = unordered(here);
    const forgets = (here === "node" || there === "node") && forgetful;
    describe(`from ${here} to ${there}`, () => {
      const redis = aRedis();
      let one, two;
      before(async () => {
        await redis.start();
        one = await new ClusterServer(here, "one", redis, env).start();
        two = await new ClusterServer(there, "two", redis, env).start();
      }, { timeout: 90000 });
      after(async () => {
        await one?.stop();
        await two?.stop();
        await redis.stop();
      }, { timeout: 30000 });

      /** Clients a on the first server, b and c on the second; b is in `room`, c in `room` and `other`. */
      let used = 0;
      async function three(t, servers = 2) {
        const tag = `t${++used}-`;
        const [room, other] = [`${tag}room é`, `${tag}other`];
        const a = await client(t, one, "/cluster", WS);
        const [b, c] = await clients(t, two, 2, "/cluster", { ...WS, auth: { data: { user: tag } } });
        await known([a, b], servers);
        await ask(b, "join", { rooms: [room] });
        await ask(c, "join", { rooms: [room, other] });
        // A Node.js server has not subscribed when it says that somebody has joined.
        for (const [socket, to] of [[b, room], [c, room], [c, other]]) await hears(socket, a, { to });
        // And misses what comes before it has started to read a stream.
        await hears(a, b);
        await fence(a, a, b, c);
        return { a, b, c, room, other };
      }

      test("broadcasts reach whom they mean, once", { skip: anyOrder }, async (t) => {
        const { a, b, c, room, other } = await three(t);
        const emit = (event, selection) => ask(a, "emit", { ...selection, event, args: [event, { n: 1.5, t: "é✓", x: null }] });
        await emit("all", {});
        await emit("room", { to: room });
        await emit("both", { to: [room, other] });
        await emit("except", { to: room, except: other });
        await emit("one", { to: b.id });
        await emit("others", { target: "socket.broadcast" });
        await emit("nobody", { to: "nobody is here" });
        await emit("local", { flags: { local: true } });
        const [onA, onB, onC] = (await fence(a, a, b, c)).map((list) => list.map(([event]) => event));
        assert.deepEqual(onA.sort(), ["all", "local"]);
        assert.deepEqual(onB, ["all", "room", "both", "except", "one", "others"]);
        assert.deepEqual(onC, ["all", "room", "both", "others"]);
      });

      test("binary arrives as it was, with numbers of every size", async (t) => {
        const { a, b } = await three(t);
        // A defect of the adapter for Node.js: whole numbers from 2^64 on are sent as something else.
        const huge = here === "node" ? [] : [2 ** 64, 1e300];
        const args = [bytes(0, 255, 16), { deep: [{ b: bytes(1) }, -1, 255, 65536, 2 ** 40, -(2 ** 40), 2 ** 53, 2 ** 63, ...huge, 0.1] }, true, "x".repeat(70000)];
        await ask(a, "emit", { event: "data", args });
        assert.deepEqual(await next(b, "data"), args);
      });

      test("what one sends arrives in its order", { skip: anyOrder }, async (t) => {
        const { a, b, room } = await three(t);
        for (let i = 0; i < 200; i++) a.emit("emit", { event: "n", args: [i, ...(i % 3 ? [] : [bytes(i)])], ...(i % 2 && { to: room }) });
        for (let i = 0; i < 200; i++) assert.equal((await next(b, "n"))[0], i);
      });

      test("answers come from both", async (t) => {
        const { a, b, c, room } = await three(t);
        a.on("q", (x, ack) => ack("a", "ignored"));
        b.on("q", (x, ack) => ack({ x, b: bytes(7) }));
        c.on("q", (x, ack) => ack(null));
        const { err, responses } = await ask(a, "emit", { event: "q", args: [1], ack: true, flags: { timeout: 4000 } });
        assert.equal(err, null);
        assert.equal(responses.length, 3);
        assert.deepEqual(responses.find((r) => r?.b), { x: 1, b: bytes(7) });
        assert.ok(responses.includes("a") && responses.includes(null));
        const one = await ask(a, "emit", { to: b.id, event: "q", args: [2], ack: true, flags: { timeout: 4000 } });
        assert.deepEqual(one, { err: null, responses: [{ x: 2, b: bytes(7) }] });
        const nobody = await ask(a, "emit", { to: "nobody is here", event: "q", args: [2], ack: true, flags: { timeout: 4000 } });
        assert.deepEqual(nobody, { err: null, responses: [] });
        c.off("q");
        const begin = Date.now();
        const some = await ask(a, "emit", { to: room, event: "q", args: [3], ack: true, flags: { timeout: 300 } });
        assert.ok(some.err !== null && Date.now() - begin >= 290);
        assert.deepEqual(some.responses, [{ x: 3, b: bytes(7) }]);
      });

      test("fetchSockets finds all, with rooms, data and handshake", async (t) => {
        const { a, b, c, room, other } = await three(t);
        const ids = async (selection) => (await ask(a, "fetchSockets", selection)).map((s) => s.id).sort();
        assert.deepEqual(await ids({}), [a.id, b.id, c.id].sort());
        assert.deepEqual(await ids({ to: room }), [b.id, c.id].sort());
        assert.deepEqual(await ids({ to: room, except: other }), [b.id]);
        assert.deepEqual(await ids({ flags: { local: true } }), [a.id]);
        const [found] = await ask(a, "fetchSockets", { to: c.id });
        assert.deepEqual(found.rooms, [room, other].sort());
        assert.match(found.data.auth.user, /^t\d+-$/);
        const [{ handshake }] = await ask(a, "handshakes", { to: b.id });
        assert.equal(handshake.query.transport, "websocket");
        assert.ok(handshake.address && handshake.issued && handshake.time);
        assert.match(handshake.auth.data.user, /^t\d+-$/);
        // In JavaScript rooms may be numbers.
        if (there === "node") {
          await ask(b, "join", { rooms: [42] });
          const [{ rooms }] = await ask(a, "fetchSockets", { to: b.id });
          assert.deepEqual(rooms.map(String).sort(), ["42", room].sort());
        }
        const nested = (depth) => (depth ? [nested(depth - 1)] : []);
        // The msgpack of a Node.js server ends at a hundred levels: it would not answer at all.
        const depth = there === "node" ? 80 : 120;
        const d = await client(t, two, "/cluster", { ...WS, auth: { data: { deep: nested(depth) } } });
        assert.deepEqual((await ask(a, "fetchSockets", { to: d.id })).map((s) => s.id), [d.id]);
      });

      test("sockets are moved and put out wherever they are", { skip: anyOrder }, async (t) => {
        const { a, b, c, room } = await three(t);
        const members = async (to) => (await ask(a, "fetchSockets", { to })).map((s) => s.id).sort();
        await ask(a, "socketsJoin", { to: room, rooms: [`${room}x`, `${room}y`] });
        await until(() => members(`${room}y`), (ids) => ids.length === 2, "both have joined");
        // What is sent to a room right after a join is heard there, but a Node.js server sends it to those who have
        // subscribed already, and nobody can have.
        const sent = here === "node" && ownRooms ? 0 : 50;
        for (let i = 0; i < sent; i++) {
          a.emit("socketsJoin", { to: room, rooms: [`${room}-${i}`] });
          a.emit("emit", { to: `${room}-${i}`, event: "joined", args: [i] });
        }
        for (let i = 0; i < sent; i++) assert.deepEqual(await next(b, "joined"), [i]);
        await ask(a, "socketsLeave", { to: b.id, rooms: [`${room}x`] });
        await until(() => members(`${room}x`), (ids) => ids.length === 1 && ids[0] === c.id, "one has left");
        const gone = new Promise((resolve) => b.once("disconnect", resolve));
        await ask(a, "disconnectSockets", { to: b.id });
        assert.equal(await within(gone, "disconnect"), "io server disconnect");
        assert.ok(c.connected);
        const closed = new Promise((resolve) => c.once("disconnect", resolve));
        await ask(a, "disconnectSockets", { to: room, close: true });
        assert.match(await within(closed, "disconnect"), /io server disconnect|transport close/);
        assert.ok(a.connected);
      });

      test("handles of fetched sockets emit and ask", async (t) => {
        const { a, b } = await three(t);
        b.on("q", (x, ack) => ack(x + 1));
        assert.equal(await ask(a, "emitFetched", { to: b.id, event: "hello", args: [bytes(1), "x"] }), 1);
        assert.deepEqual(await next(b, "hello"), [bytes(1), "x"]);
        const [answer] = await ask(a, "ackFetched", { to: b.id, event: "q", args: [41], flags: { timeout: 3000 } });
        assert.deepEqual([answer.err ?? null, answer.response], [null, 42]);
      });

      test("servers tell and ask each other", async (t) => {
        const { a, b } = await three(t);
        await ask(b, "sseLog", { clear: true });
        await ask(a, "sseLog", { clear: true });
        await ask(a, "serverSideEmit", { event: "sse", args: [1, "é", { x: [null] }] });
        await ask(a, "serverSideEmit", { event: "nobody listens", args: [] });
        if (anyOrder) await until(() => ask(b, "sseLog"), (log) => log.length === 1, "it was told");
        const { err, responses } = await ask(a, "serverSideEmitWithAck", { event: "sse-ask", args: [5] });
        assert.deepEqual([err, responses], [null, [{ node: "two", x: 5 }]]);
        assert.deepEqual(await ask(b, "sseLog"), [["sse", [1, "é", { x: [null] }]], ["sse-ask", [5]]]);
        assert.deepEqual(await ask(a, "sseLog"), [], "nobody hears himself");
        if (brief) return;
        const silent = await ask(a, "serverSideEmitWithAck", { event: "sse-silent", args: [6] });
        assert.ok(silent.err !== null);
        assert.deepEqual(silent.responses, []);
      });

      test("namespaces do not hear each other", { skip: anyOrder }, async (t) => {
        const { a } = await three(t);
        const [rcOne, rcTwo] = [await client(t, one, "/rc", WS), await client(t, two, "/rc", WS)];
        const [rc2] = [await client(t, two, "/rc2", WS)];
        await ask(rcOne, "emit", { event: "rc", args: [1] });
        assert.deepEqual(await next(rcTwo, "rc"), [1]);
        await ask(a, "emit", { event: "cluster", args: [] });
        await ask(rcOne, "emit", { event: "fence", args: [0] });
        await next(rcTwo, "fence");
        assert.deepEqual(heardBy(rcTwo), []);
        assert.deepEqual(heardBy(rc2), []);
      });

      test(`of ${brief ? "two" : "ten"} thousand interleaved joins and broadcasts none is lost or repeated`, {
        skip: (here === "node" && ownRooms && "a Node.js server sends to those who have subscribed already") || anyOrder,
        timeout: 120000,
      }, async (t) => {
        const { a, b, c, room } = await three(t);
        const [all, batch] = [brief ? 1000 : 5000, 500];
        for (let n = 0; n < all; ) {
          for (const end = n + batch; n < end; n++) {
            const to = `${room} ${n % 700}`;
            a.emit("socketsJoin", { to: b.id, rooms: [to] });
            a.emit("emit", { to, event: "n", args: [n] });
            if (n % 3) a.emit("socketsLeave", { to: b.id, rooms: [to] });
          }
          // So that no queue has to be longer than it may be.
          const [onB, onC] = await fence(a, b, c);
          assert.deepEqual(onB.map(([, x]) => x), Array.from({ length: batch }, (_, i) => n - batch + i));
          assert.deepEqual(onC, []);
        }
      });

      test("a join that was acknowledged is heard, also after a leave", {
        skip: (there === "node" && ownRooms && "a defect of the adapter for Node.js") || anyOrder,
        timeout: 60000,
      }, async (t) => {
        const { a, b, c, room } = await three(t);
        for (let i = 0; i < 300; i++) {
          const own = `${room}-own ${i % 3}`;
          await ask(b, "join", { rooms: [own] });
          a.emit("emit", { to: own, event: "joined", args: [i] });
          assert.deepEqual(await next(b, "joined"), [i]);
          b.emit("leave", { room: own });
        }
        assert.deepEqual(heardBy(c), []);
      });

      // A Node.js server on a Redis Cluster may not subscribe to anything more after what comes behind it.
      more({ here, there, redis, three });

      test("subscriptions that are killed come back", { skip: anyOrder || forgets, timeout: 90000 }, async (t) => {
        const { a, b, c, room, other } = await three(t);
        for (let round = 0; round < 3; round++) {
          redis.command("CLIENT", "KILL", "TYPE", "pubsub");
          // Both have noticed, and are back.
          for (const [listener, by, to] of [[a, b], [b, a], [b, a, room], [c, a, other]]) await hears(listener, by, { to });
          for (let i = 0; i < 100; i++) a.emit("emit", { to: i % 2 ? room : undefined, event: "n", args: [i] });
          const [onB] = await fence(a, b);
          assert.deepEqual(onB.map(([, n]) => n), Array.from({ length: 100 }, (_, i) => i));
          await known([a, b], 2);
        }
      });

      test("a hanging server is missed and gets all afterwards, a killed one is not missed", {
        skip: brief && "it takes its time",
        timeout: 90000,
      }, async (t) => {
        const third = await new ClusterServer(there, "three", redis, env).start();
        t.after(() => third.kill());
        const { a, b } = await three(t, 3);
        const d = await client(t, third, "/cluster", WS);
        await known([d], 3);
        await hears(d, a);
        third.child.kill("SIGSTOP");
        assert.ok((await call(a, "fetchSockets", {})).error, "a server that hangs has not answered");
        d.inbox.takeAll();
        for (let i = 0; i < 300; i++) a.emit("emit", { event: "n", args: [i] });
        await fence(a, a);
        third.child.kill("SIGCONT");
        for (let i = 0; i < 300; i++) assert.deepEqual(await next(d, "n"), [i]);
        await until(() => call(a, "fetchSockets", {}), (answer) => answer.ok, "it answers again", 20000);
        await third.kill();
        b.inbox.takeAll();
        for (let i = 0; i < 100; i++) a.emit("emit", { event: "after", args: [i] });
        for (let i = 0; i < 100; i++) assert.deepEqual(await next(b, "after"), [i]);
        await known([a], 2);
        assert.ok((await call(a, "fetchSockets", {})).ok);
      });

    });
  }

  test("without Redis local clients are served, and afterwards all are", {
    skip: isReference && "what it does there is its own affair",
    timeout: 90000,
  }, async (t) => {
    const redis = await aRedis().start();
    t.after(() => redis.stop());
    const one = await new ClusterServer("greenroom", "one", redis, env).start();
    t.after(() => one.stop());
    const two = await new ClusterServer(forgetful ? "greenroom" : "node", "two", redis, env).start();
    t.after(() => two.stop());
    const [a, b] = [await client(t, one, "/cluster", WS), await client(t, two, "/cluster", WS)];
    await known([a, b], 2);
    await ask(b, "join", { rooms: ["room"] });
    await hears(b, a, { to: "room" });
    // Once a second a Greenroom server counts the others, for whom it waits afterwards.
    const counts = () => masters.reduce((sum, master) => sum + Number(/numsub:calls=(\d+)/.exec(master.command("INFO", "commandstats"))?.[1] ?? 0), 0);
    const masters = redis.masters ?? [redis];
    const before = counts();
    await until(counts, (n) => n >= before + (forgetful ? 8 : 2) * masters.length, "they have been counted", 20000);
    await redis.stop();
    // What is on its way when Redis goes may be lost; afterwards it waits.
    await until(async () => (await call(a, "serverCount")).ok ?? 0, (n) => n === 0, "it is noticed", 20000);
    await ask(a, "emit", { event: "here", args: [1] });
    assert.deepEqual(await next(a, "here"), [1]);
    for (let i = 0; i < 100; i++) await ask(a, "emit", { to: i % 2 ? "room" : undefined, event: "n", args: [i] });
    await redis.start();
    for (let i = 100; i < 120; i++) await ask(a, "emit", { to: i % 2 ? "room" : undefined, event: "n", args: [i] });
    assert.deepEqual(await next(b, "here", 30000), [1]);
    for (let i = 0; i < 120; i++) assert.deepEqual(await next(b, "n"), [i]);
    for (const [listener, by, to] of [[b, a], [a, b], [b, a, "room"]]) await hears(listener, by, { to });
    await until(async () => (await call(a, "serverCount")).ok, (n) => n === 2, "both are back", 20000);
    const [onB] = await fence(a, b);
    assert.deepEqual(onB, [], "nothing is repeated");
  });
}

/** Of a Redis Cluster, on whose servers rooms are spread: broadcasts to different ones may overtake each other. */
export function rooms({ three }) {
  test("many rooms are heard, in whatever order", async (t) => {
    const { a, b, room } = await three(t);
    const names = Array.from({ length: 30 }, (_, n) => `${room} ${n}`);
    await ask(b, "join", { rooms: names });
    for (const to of names) await hears(b, a, { to });
    for (const to of names) a.emit("emit", { to, event: "in", args: [to] });
    const heard = [];
    while (heard.length < names.length) heard.push((await next(b, "in"))[0]);
    assert.deepEqual(heard.sort(), names.sort());
  });
}
