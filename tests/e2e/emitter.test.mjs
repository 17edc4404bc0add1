// The emitter of this repository, `examples/emitter`, heard by servers of both kinds (features C12, C13).
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, after } from "node:test";
import { test, assert, describe, isReference, client, clients, ask, next, until, within } from "./support.mjs";
import { ClusterServer, Redis } from "./cluster.mjs";
import { fence, hears } from "./cluster_suite.mjs";
import { example, start } from "./processes.mjs";

const WS = { transports: ["websocket"] };

/** The kinds of emitters, and the adapters of both kinds of servers. */
const KINDS = [["classic", "redis"], ["sharded", "redis-sharded"], ["streams", "redis-streams"]];

const servers = ["greenroom", "node"];

for (const [kind, adapter] of KINDS) {
  describe(`${kind}: an emitter without a server`, { skip: isReference && "it is ours" }, () => {
    const redis = new Redis();
    const running = [];
    const folder = mkdtempSync(join(tmpdir(), "emitter-"));
    before(async () => {
      await redis.start();
      for (const name of servers) running.push(await new ClusterServer(name, name, redis, { ADAPTER: adapter }).start());
    }, { timeout: 30000 });
    after(async () => {
      for (const server of running) await server.stop();
      await redis.stop();
      rmSync(folder, { recursive: true });
    }, { timeout: 20000 });

    /** Runs the command to its end; its status and what it complained about. */
    async function run(...words) {
      const child = start(example("emitter"), ["--url", redis.url, "--kind", kind, "--of", "cluster", ...words]);
      const { code } = await within(child.exited, `emitter ${words.join(" ")}`);
      return { status: code, complaint: child.complained };
    }
    const emit = async (...words) => assert.deepEqual(await run(...words), { status: 0, complaint: "" });

    for (const [index, name] of servers.entries()) {
      test(`${name} does all that it says`, async (t) => {
        const [a, b] = await clients(t, running[index], 2, "/cluster", WS);
        // A Node.js server misses what comes before it has started to read a stream.
        const other = await client(t, running[1 - index], "/cluster", WS);
        await hears(a, other);
        await fence(other, a, b);
        const room = `${name} é`;
        writeFileSync(join(folder, "bytes"), Buffer.from([0, 255, 16]));
        await emit("emit", "all", '{"n":1.5,"t":"é✓"}', `@${folder}/bytes`, "null");
        for (const socket of [a, b]) assert.deepEqual(await next(socket, "all"), [{ n: 1.5, t: "é✓" }, Buffer.from([0, 255, 16]), null]);
        await emit("--to", a.id, "--to", b.id, "join", room);
        await emit("--to", a.id, "join", `${room}a`, `${room}b`);
        await until(() => ask(a, "rooms"), ({ rooms }) => rooms.length === 3, "the joins");
        await until(() => ask(b, "rooms"), ({ rooms }) => rooms.includes(room), "the join");
        await emit("--to", room, "--except", `${room}b`, "--volatile", "--no-compress", "emit", "one", "1");
        await emit("--to", `${room}a`, "--to", room, "emit", "both");
        assert.deepEqual(await next(a, "both"), []);
        assert.deepEqual(await next(b, "both"), []);
        assert.deepEqual(b.inbox.takeAll(), [["one", 1]]);
        assert.deepEqual(a.inbox.takeAll(), []);
        await emit("--to", room, "leave", `${room}a`, room);
        await until(() => ask(a, "rooms"), ({ rooms }) => rooms.length === 1 && rooms[0] === `${room}b`, "the leaves");
        await ask(a, "sseLog", { clear: true });
        await emit("tell", "sse", "[1]", '"x"');
        await until(() => ask(a, "sseLog"), (log) => log.length === 1, "the event to the servers");
        assert.deepEqual(await ask(a, "sseLog"), [["sse", [[1], "x"]]]);
        await emit("--to", a.id, "disconnect");
        assert.equal((await within(a.gone, "disconnect")).reason, "io server disconnect");
        assert.ok(b.connected);
        await emit("--to", b.id, "disconnect", "--close");
        assert.match((await within(b.gone, "disconnect")).reason, /io server disconnect|transport close/);
      });
    }

    test("a namespace does not hear what is for another one; what cannot be sent is said", async (t) => {
      const a = await client(t, running[0], "/cluster", WS);
      const other = await client(t, running[0], "/rc", WS);
      await emit("--of", "/rc", "emit", "elsewhere");
      await next(other, "elsewhere");
      await emit("emit", "here");
      await next(a, "here");
      assert.deepEqual(a.inbox.takeAll(), []);
      assert.deepEqual(other.inbox.takeAll(), []);
      const reserved = await run("emit", "disconnect");
      assert.equal(reserved.status, 1);
      assert.match(reserved.complaint, /disconnect/);
      const nowhere = await run("--url", "redis://127.0.0.1:1", "emit", "e");
      assert.equal(nowhere.status, 1);
      assert.match(nowhere.complaint, /Redis cannot be reached/);
    });
  });
}
