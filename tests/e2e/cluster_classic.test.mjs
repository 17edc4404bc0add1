// The classic adapter (features C1-C4, C12, C14), also over a Redis Cluster.
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import { test, assert, ask, describe, next, until, within } from "./support.mjs";
import { RedisCluster } from "./cluster.mjs";
import { bothWays, bytes, rooms } from "./cluster_suite.mjs";

const CLASSIC = { ADAPTER: "redis" };

function emitter({ redis, three }) {
  test("an emitter is heard by both", async (t) => {
    const { a, b, room } = await three(t);
    const redisClient = createClient({ url: redis.url });
    await redisClient.connect();
    t.after(() => redisClient.close());
    const emitter = new Emitter(redisClient).of("/cluster");
    emitter.emit("all", 1, bytes(2));
    emitter.to(room).emit("room", "x");
    for (const socket of [a, b]) assert.deepEqual(await next(socket, "all"), [1, bytes(2)]);
    assert.deepEqual(await next(b, "room"), ["x"]);
    await ask(a, "sseLog", { clear: true });
    emitter.serverSideEmit("sse", "from emitter");
    await until(() => ask(a, "sseLog"), (log) => log.length === 1, "the event of the emitter");
    emitter.in(a.id).socketsJoin(`${room}e`);
    await until(() => ask(a, "rooms"), ({ rooms }) => rooms.includes(`${room}e`), "the join of the emitter");
    emitter.in(a.id).socketsLeave(`${room}e`);
    await until(() => ask(a, "rooms"), ({ rooms }) => !rooms.includes(`${room}e`), "the leave of the emitter");
    const gone = new Promise((resolve) => b.once("disconnect", resolve));
    emitter.in(b.id).disconnectSockets();
    assert.equal(await within(gone, "disconnect"), "io server disconnect");
  });
}

describe("one Redis", () => bothWays({ env: CLASSIC, more: emitter }));
const unordered = (by) => by === "node" && "a Node.js server sends by way of any server of a Redis Cluster";
const forgetful = "a Node.js server on a Redis Cluster does not always subscribe again";
describe("a Redis Cluster", () => bothWays({ env: CLASSIC, aRedis: () => new RedisCluster(), forgetful, unordered, brief: true, more: rooms }));
