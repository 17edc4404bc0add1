// Servers of both kinds on one Redis, with the streams adapter (features C3, C7): each operation in both directions.
import { test, assert, ask, client, describe, isReference, next, until, within } from "./support.mjs";
import { ClusterServer, Redis } from "./cluster.mjs";
import { bothWays, bytes, fence, hears, known, WS } from "./cluster_suite.mjs";

const STREAMS = { ADAPTER: "redis-streams" };

function emitter({ redis, three }) {
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
}

describe("one stream", () => bothWays({ env: STREAMS, more: emitter }));

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
    await known([a, b], 2);
    for (const [listener, by] of [[a, b], [b, a]]) await hears(listener, by);
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
