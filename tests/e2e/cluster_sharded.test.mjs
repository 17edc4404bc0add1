// The sharded adapter (feature C5) in its modes, also over a Redis Cluster.
import { test, assert, ask, describe } from "./support.mjs";
import { RedisCluster } from "./cluster.mjs";
import { bothWays, fence, hears, rooms } from "./cluster_suite.mjs";

const SHARDED = { ADAPTER: "redis-sharded" };

function names({ three }) {
  test("a room may be called as sockets are", async (t) => {
    const { a, b, c } = await three(t);
    const names = ["x".repeat(20), "\u{1f600}".repeat(10), "é".repeat(10), "0123456789abcdef", "{tag}"];
    await ask(b, "join", { rooms: names });
    for (const to of names) await hears(b, a, { to });
    for (const to of names) await ask(a, "emit", { to, event: "named", args: [to] });
    const [onB, onC] = await fence(a, b, c);
    assert.deepEqual(onB.map(([, name]) => name), names);
    assert.deepEqual(onC, []);
  });
}

describe("dynamic", () => bothWays({ env: SHARDED, ownRooms: true, more: names }));
for (const [mode, ownRooms] of [["static", false], ["dynamic-private", true]]) {
  describe(mode, () => bothWays({ env: { ...SHARDED, SUBSCRIPTION_MODE: mode }, ownRooms, brief: true, more: names }));
}
const forgetful = "a Node.js server on a Redis Cluster does not always subscribe again";
// By the braces all is on one of its servers, and keeps its order.
describe("a Redis Cluster, in one place", () => {
  bothWays({ env: { ...SHARDED, CHANNEL_PREFIX: "{app}" }, aRedis: () => new RedisCluster(), forgetful, ownRooms: true, brief: true, more: names });
});
const unordered = () => "rooms are on different servers";
describe("a Redis Cluster", () => {
  bothWays({ env: SHARDED, aRedis: () => new RedisCluster(), forgetful, ownRooms: true, unordered, brief: true, more: rooms });
});
