// Servers of both kinds on one Redis, with the streams adapter (features C3, C7): each operation in both directions.
import { before, after } from "node:test";
import { test, assert, describe, isReference, client, clients, ask, call, next, until, within, sleep } from "./support.mjs";
import { ClusterServer, Redis } from "./cluster.mjs";

const WS = { transports: ["websocket"] };
const STREAMS = { ADAPTER: "redis-streams" };
const PAIRS = isReference
  ? [["node", "node"]]
  : [["greenroom", "node"], ["node", "greenroom"], ["greenroom", "greenroom"]];
const bytes = (...list) => Buffer.from(list);

/** Waits until every server of the list knows so many, and hears what the others add to the stream. */
async function known(...sockets) {
  for (const s of sockets) {
    await until(() => ask(s, "serverCount"), (n) => n === sockets.length, "servers know each other");
    for (const other of sockets) {
      // A Node.js server misses what comes before it has started to read.
      const heard = () => other.inbox.takeAll().some(([event]) => event === "hello");
      await until(async () => (await ask(s, "emit", { event: "hello" }), await sleep(20), heard()), Boolean, "they hear each other");
    }
  }
}

/** Waits until all that was sent to them before has arrived, and returns it. */
let fences = 0;
async function fence(by, ...sockets) {
  const n = ++fences;
  await ask(by, "emit", { event: "fence", args: [n] });
  await Promise.all(sockets.map((s) => s.inbox.take(([event, x]) => event === "fence" && x === n, "fence")));
  return sockets.map((s) => s.inbox.takeAll().filter(([event]) => !["fence", "hello"].includes(event)));
}

for (const [here, there] of PAIRS) {
  describe(`from ${here} to ${there}`, () => {
    const redis = new Redis();
    let one, two;
    before(async () => {
      await redis.start();
      one = await new ClusterServer(here, "one", redis, STREAMS).start();
      two = await new ClusterServer(there, "two", redis, STREAMS).start();
    }, { timeout: 30000 });
    after(async () => {
      await one?.stop();
      await two?.stop();
      await redis.stop();
    }, { timeout: 20000 });

    /** Clients a on the first server, b and c on the second; b is in `room`, c in `room` and `other`. */
    let used = 0;
    async function three(t) {
      const tag = `t${++used}-`;
      const [room, other] = [`${tag}room é`, `${tag}other`];
      const a = await client(t, one, "/cluster", WS);
      const [b, c] = await clients(t, two, 2, "/cluster", { ...WS, auth: { data: { user: tag } } });
      await known(a, b);
      await ask(b, "join", { rooms: [room] });
      await ask(c, "join", { rooms: [room, other] });
      await fence(a, a, b, c);
      return { a, b, c, room, other };
    }

    test("broadcasts reach whom they mean, once", async (t) => {
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

    test("binary arrives as it was, with numbers of every size, in the order it was sent", async (t) => {
      const { a, b, room } = await three(t);
      const numbers = [-1, 255, 65536, 2 ** 40, -(2 ** 40), 2 ** 53, 2 ** 63, 2 ** 64, 1e300, 0.1];
      const args = [bytes(0, 255, 16), { deep: [{ b: bytes(1) }, ...numbers] }, true, "x".repeat(70000)];
      await ask(a, "emit", { event: "data", args });
      assert.deepEqual(await next(b, "data"), args);
      for (let i = 0; i < 300; i++) a.emit("emit", { event: "n", args: [i, ...(i % 3 ? [] : [bytes(i)])], ...(i % 2 && { to: room }) });
      for (let i = 0; i < 300; i++) assert.equal((await next(b, "n"))[0], i);
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
      c.off("q");
      const some = await ask(a, "emit", { to: room, event: "q", args: [3], ack: true, flags: { timeout: 300 } });
      assert.ok(some.err !== null);
      assert.deepEqual(some.responses, [{ x: 3, b: bytes(7) }]);
    });

    test("sockets are found, moved and put out wherever they are", async (t) => {
      const { a, b, c, room, other } = await three(t);
      const ids = async (selection) => (await ask(a, "fetchSockets", selection)).map((s) => s.id).sort();
      assert.deepEqual(await ids({}), [a.id, b.id, c.id].sort());
      assert.deepEqual(await ids({ to: room, except: other }), [b.id]);
      const [found] = await ask(a, "fetchSockets", { to: c.id });
      assert.deepEqual(found.rooms, [room, other].sort());
      assert.match(found.data.auth.user, /^t\d+-$/);
      for (let i = 0; i < 50; i++) {
        a.emit("socketsJoin", { to: room, rooms: [`${room}-${i}`] });
        a.emit("emit", { to: `${room}-${i}`, event: "joined", args: [i] });
      }
      for (let i = 0; i < 50; i++) assert.deepEqual(await next(b, "joined"), [i]);
      await ask(a, "socketsLeave", { to: b.id, rooms: [`${room}-1`] });
      await until(() => ids({ to: `${room}-1` }), (left) => left.length === 1 && left[0] === c.id, "one has left");
      const gone = new Promise((resolve) => b.once("disconnect", resolve));
      await ask(a, "disconnectSockets", { to: b.id });
      assert.equal(await within(gone, "disconnect"), "io server disconnect");
      assert.ok(c.connected);
    });

    test("servers tell and ask each other", async (t) => {
      const { a, b } = await three(t);
      for (const socket of [a, b]) await ask(socket, "sseLog", { clear: true });
      await ask(a, "serverSideEmit", { event: "sse", args: [1, "é", { x: [null] }] });
      const { err, responses } = await ask(a, "serverSideEmitWithAck", { event: "sse-ask", args: [5] });
      assert.deepEqual([err, responses], [null, [{ node: "two", x: 5 }]]);
      assert.deepEqual(await ask(b, "sseLog"), [["sse", [1, "é", { x: [null] }]], ["sse-ask", [5]]]);
      assert.deepEqual(await ask(a, "sseLog"), [], "nobody hears himself");
    });

    test("an emitter is heard by both", async (t) => {
      const { a, b, room } = await three(t);
      // As the official emitter adds it.
      const add = (type, data) => redis.command("XADD", "socket.io", "MAXLEN", "~", "10000", "*", "uid", "emitter", "nsp", "/cluster", "type", type, "data", data);
      const opts = (to) => `"opts":{"rooms":${JSON.stringify(to)},"flags":{},"except":[]}`;
      add("3", `{"packet":{"type":2,"data":["all",1],"nsp":"/cluster"},${opts([])}}`);
      for (const socket of [a, b]) assert.deepEqual(await next(socket, "all"), [1]);
      // {"packet": {"type": 2, "data": ["blob", <bytes 0, 255, 16>]}, "opts": {"rooms": ["room1"], ...}}
      add("4", `{${opts([b.id])},"rooms":["room1"]}`);
      add("3", "gqZwYWNrZXSCpHR5cGUCpGRhdGGSpGJsb2LEAwD/EKRvcHRzg6Vyb29tc5Glcm9vbTGmZXhjZXB0kKVmbGFnc4A=");
      assert.deepEqual(await next(b, "blob"), [bytes(0, 255, 16)]);
      await ask(a, "sseLog", { clear: true });
      add("9", '{"packet":["sse","from emitter"]}');
      await until(() => ask(a, "sseLog"), (log) => log.length === 1, "the event of the emitter");
      add("5", `{${opts([room])},"rooms":["room1"]}`);
      await until(() => ask(b, "rooms"), ({ rooms }) => !rooms.includes("room1"), "the leave of the emitter");
      const gone = new Promise((resolve) => b.once("disconnect", resolve));
      add("6", `{${opts([b.id])},"close":false}`);
      assert.equal(await within(gone, "disconnect"), "io server disconnect");
    });

    test("a server that stands still misses nothing of the stream, and a killed one is not missed", async (t) => {
      const third = await new ClusterServer(there, "three", redis, STREAMS).start();
      const [a, b, d] = [await client(t, one, "/cluster", WS), await client(t, two, "/cluster", WS), await client(t, third, "/cluster", WS)];
      await known(a, b, d);
      third.child.kill("SIGSTOP");
      assert.ok((await call(a, "fetchSockets", {})).error, "a server that hangs has not answered");
      for (let i = 0; i < 500; i++) a.emit("emit", { event: "n", args: [i] });
      await fence(a, b);
      third.child.kill("SIGCONT");
      for (let i = 0; i < 500; i++) assert.deepEqual(await next(d, "n"), [i]);
      third.child.kill("SIGKILL");
      await third.exited;
      await until(() => ask(a, "serverCount"), (n) => n === 2, "it is gone");
      assert.ok((await call(a, "fetchSockets", {})).ok);
    });
  });
}

describe("with connection state recovery", () => {
  test("clients of both have one order and the same offsets, and their own servers recover them", { skip: isReference && "two of one kind" }, async (t) => {
    const redis = await new Redis().start();
    t.after(() => redis.stop());
    const env = { ...STREAMS, RECOVERY_MS: "60000" };
    const one = await new ClusterServer("greenroom", "one", redis, env).start();
    t.after(() => one.stop());
    const two = await new ClusterServer("node", "two", redis, env).start();
    t.after(() => two.stop());
    const options = { ...WS, reconnection: true, reconnectionDelay: 100 };
    const [a, b] = [await client(t, one, "/cluster", options), await client(t, two, "/cluster", options)];
    await known(a, b);
    await fence(a, a, b);
    for (let i = 0; i < 100; i++) (i % 2 ? a : b).emit("emit", { event: "n", args: [i] });
    const heard = async (s, count) => {
      const list = [];
      while (list.length < count) list.push(await next(s, "n"));
      return list;
    };
    const [onA, onB] = [await heard(a, 100), await heard(b, 100)];
    assert.match(onA.at(-1)[1], /^\d{13}-\d+$/);
    const offsets = (list) => new Map(list.map(([n, offset]) => [n, offset]));
    assert.deepEqual([...offsets(onA)].sort(), [...offsets(onB)].sort(), "each event has one offset");
    // In the order of the stream, which a Node.js server does not keep for its own.
    const order = onA.map(([, offset]) => offset.split("-").map(Number));
    for (let i = 1; i < order.length; i++) {
      const [[m, k], [n, l]] = [order[i - 1], order[i]];
      assert.ok(m < n || (m === n && k < l), `${order[i - 1]} before ${order[i]}`);
    }
    for (const [socket, other] of [[a, b], [b, a]]) {
      const back = new Promise((resolve) => socket.once("connect", resolve));
      socket.io.engine.close();
      for (let i = 0; i < 10; i++) other.emit("emit", { event: "n", args: [i] });
      await within(back, "reconnect");
      assert.ok(socket.recovered);
      assert.deepEqual((await heard(socket, 10)).map(([n]) => n), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      await heard(other, 10);
    }
  });
});

describe("Redis goes away", () => {
  test("local clients are served, and afterwards all are", { skip: isReference && "there they are not served" }, async (t) => {
    const redis = await new Redis().start();
    t.after(() => redis.stop());
    const one = await new ClusterServer("greenroom", "one", redis, STREAMS).start();
    t.after(() => one.stop());
    const two = await new ClusterServer("node", "two", redis, STREAMS).start();
    t.after(() => two.stop());
    const [a, b] = [await client(t, one, "/cluster", WS), await client(t, two, "/cluster", WS)];
    await known(a, b);
    await redis.stop();
    await sleep(50);
    await ask(a, "emit", { event: "here", args: [1] });
    assert.deepEqual(await next(a, "here"), [1]);
    await redis.start();
    await until(async () => (await call(a, "serverCount")).ok, (n) => n === 2, "both are back", 20000);
    await known(a, b);
    await ask(a, "emit", { event: "there", args: [2] });
    assert.deepEqual(await next(b, "there"), [2]);
    await ask(b, "emit", { event: "back", args: [3] });
    assert.deepEqual(await next(a, "back"), [3]);
  });
});
