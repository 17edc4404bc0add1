// One trace over two processes of the example `tracing`. That Node.js takes no notice of trace contexts is shown by the
// tests of the cluster, all of whose servers send them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { describe } from "node:test";
import { fileURLToPath } from "node:url";
import { createClient } from "redis";
import { io } from "socket.io-client";
import { Redis } from "./cluster.mjs";
import { assert, isReference, test, until, within } from "./support.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const testbed = process.env.TESTBED ?? `${here}../../target/release/examples/testbed`;

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A process of the example, and the spans that it has printed. */
async function start(t, name, redis) {
  const port = await freePort();
  const node = { url: `http://127.0.0.1:${port}`, spans: [] };
  const child = spawn(`${dirname(testbed)}/tracing`, [], {
    env: { ...process.env, PORT: String(port), NODE: name, REDIS_URL: redis.url },
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  createInterface({ input: child.stdout }).on("line", (line) => node.spans.push(JSON.parse(line)));
  await until(() => fetch(`${node.url}/readyz`).then((r) => r.ok, () => false), Boolean, `${name} is ready`);
  return node;
}

async function join(t, url) {
  const client = io(url, { forceNew: true, reconnection: false, transports: ["websocket"] });
  t.after(() => client.disconnect());
  await within(new Promise((resolve) => client.once("connect", resolve)), "connect");
  return client;
}

describe("tracing", { skip: isReference ? "the example is ours" : false }, () => {
  test("an event is one trace over two servers", async (t) => {
    const redis = await new Redis().start();
    t.after(() => redis.stop());
    const [a, b] = [await start(t, "a", redis), await start(t, "b", redis)];
    // Its Redis ends before it does.
    const raw = createClient({ url: redis.url }).on("error", () => {});
    await raw.connect();
    t.after(() => raw.destroy());
    const wire = [];
    await raw.pSubscribe("socket.io#/#*", (message) => wire.push(message.toString("latin1")), true);

    const [ann, bob] = [await join(t, a.url), await join(t, b.url)];
    const heard = [];
    bob.on("said", (...args) => heard.push(args));
    assert.equal(await ann.emitWithAck("say", "hello"), 5);
    await until(() => heard.length, (n) => n > 0, "the other server's client hears it");
    assert.deepEqual(heard, [["hello"]]);

    const found = (list, name) => list.filter((span) => span.name === name);
    await until(() => found(b.spans, "deliver").length + found(a.spans, "event").length, (n) => n >= 2, "the spans end");
    const [event] = found(a.spans, "event");
    const [local] = found(a.spans, "broadcast");
    const [remote] = found(b.spans, "broadcast");
    const [save] = found(a.spans, "save");
    for (const span of [local, remote, save]) assert.equal(span.trace, event.trace);
    assert.equal(local.parent, event.span);
    assert.equal(save.parent, event.span);
    assert.deepEqual(event.events, ["somebody speaks"]);
    assert.equal(remote.parent, local.span);
    assert.equal(remote.remote, true);
    assert.equal(found(b.spans, "deliver")[0].trace, event.trace);
    assert.ok(wire.some((message) => message.includes(`traceparent`) && message.includes(event.trace)), "it is on the wire");
  });
});
