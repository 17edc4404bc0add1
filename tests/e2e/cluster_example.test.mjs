// The example `cluster`, and load balancers before it that send every request of a session to the node that has it (C15).
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { test, assert, describe, isReference, until, within } from "./support.mjs";
import { Redis } from "./cluster.mjs";
import * as processes from "./processes.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const skip = isReference && "the example is ours";

/** Ends with the test, whatever becomes of it. */
function start(t, command, args) {
  const child = processes.start(command, args);
  t.after(() => processes.stop(child));
  return child;
}

/** Runs the example; the ports of its nodes by their names. */
async function cluster(t, redis, ...args) {
  const child = start(t, processes.example("cluster"), ["--port", "0", ...args, redis.url]);
  const count = Number(args[args.indexOf("--nodes") + 1]);
  const lines = () => [...child.said.matchAll(/^node (.) listening on http:\/\/127.0.0.1:(\d+)$/gm)];
  const found = await until(lines, (list) => list.length === count, "the nodes listen");
  return { child, ports: Object.fromEntries(found.map(([, name, port]) => [name, port])) };
}

async function aRedis(t) {
  const redis = await new Redis().start();
  t.after(() => redis.stop());
  return redis;
}

/** A client of the chat that notes what it is told. */
async function user(t, url, username, options = {}) {
  const socket = io(`${url}/chat`, { forceNew: true, reconnection: false, auth: { username }, withCredentials: true, ...options });
  t.after(() => socket.disconnect());
  socket.heard = [];
  socket.on("message", ({ text }) => socket.heard.push(text));
  await within(new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject)), `connect of ${username}`);
  return socket;
}

const ask = (socket, ...event) => socket.timeout(8000).emitWithAck(...event);
const printed = ({ said, complained }) => said + complained;
const names = (count) => Array.from({ length: count }, (_, n) => `user${n}`);
const knowEachOther = (socket, count) =>
  until(async () => (await ask(socket, "users")).users?.length, (n) => n === count, "the lists are complete");

test("users of different nodes talk to each other, and are in each other's lists", { skip }, async (t) => {
  const { ports } = await cluster(t, await aRedis(t), "--nodes", "3");
  assert.deepEqual(Object.keys(ports), ["a", "b", "c"]);
  const users = [];
  for (const [name, port] of Object.entries(ports)) users.push(await user(t, `http://127.0.0.1:${port}`, name));
  for (const one of users) assert.ok((await ask(one, "join", "general")).ok);
  for (const one of users) await knowEachOther(one, 3);
  assert.deepEqual((await ask(users[0], "users")).users, ["a", "b", "c"]);
  assert.deepEqual(await ask(users[2], "message", "hello"), { ok: true, delivered: 3 });
  for (const one of users) await until(() => one.heard, (heard) => heard.length === 1, "the message");
  const page = await fetch(`http://127.0.0.1:${ports.b}/`);
  assert.match(await page.text(), /<html/);
});

test("without Redis it says why, and when it hears the others", { skip }, async (t) => {
  const redis = await aRedis(t);
  await redis.stop();
  const { child } = await cluster(t, redis, "--nodes", "1");
  await until(() => child.complained, (text) => /no connection to Redis .*refused/.test(text), "the reason");
  assert.doesNotMatch(child.said, /hears the others/);
  await redis.start();
  await until(() => child.said, (text) => /^node a hears the others$/m.test(text), "it takes part", 20000);
});

test("what is wrong with the arguments is said", { skip }, () => {
  for (const args of [["--nodes"], ["--nodes", "x"], ["--what"], ["no address"], ["--first", "A"]]) {
    const { status, stderr } = spawnSync(processes.example("cluster"), args, { encoding: "utf8", timeout: 8000 });
    assert.equal(status, 1, args.join(" "));
    assert.ok(stderr.length > 0);
  }
});

/** The configuration as it is in the repository, but for ports, and for the third node. */
function configured(t, file, ports, balancer) {
  const folder = mkdtempSync(join(tmpdir(), "balancer-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  const text = readFileSync(here(`../../examples/cluster/${file}`), "utf8");
  const lines = text.split("\n").filter((line) => !/127\.0\.0\.1:3003|node_c/.test(line)).join("\n");
  const to = { 3000: balancer, 3001: ports.a, 3002: ports.b };
  assert.ok(lines.length < text.length);
  writeFileSync(join(folder, file), lines.replace(/(127\.0\.0\.1:)(300[0-2])/g, (_, host, port) => host + to[port]));
  return folder;
}

const BALANCERS = {
  nginx: ["nginx.conf", (folder) => ["nginx", ["-p", folder, "-c", "nginx.conf"]]],
  haproxy: ["haproxy.cfg", (folder) => ["haproxy", ["-f", join(folder, "haproxy.cfg")]]],
};
const TRANSPORTS = [["polling"], ["polling", "websocket"], ["websocket"]];

for (const [name, [file, command]] of Object.entries(BALANCERS)) {
  describe(`behind ${name}`, { skip }, () => {
    async function balanced(t) {
      const redis = await aRedis(t);
      const a = await cluster(t, redis, "--nodes", "1", "--first", "a");
      const b = await cluster(t, redis, "--nodes", "1", "--first", "b");
      const port = await processes.freePort();
      const url = `http://127.0.0.1:${port}`;
      const balancer = start(t, ...command(configured(t, file, { ...a.ports, ...b.ports }, port)));
      const ready = async () => (balancer.exitCode === null ? fetch(`${url}/readyz`).then((r) => r.status, () => 0) : printed(balancer));
      await until(ready, (status) => status === 200 || typeof status === "string", `${name} answers`);
      assert.equal(balancer.exitCode, null, printed(balancer));
      return { url, nodes: { a, b } };
    }

    for (const transports of TRANSPORTS) {
      test(`every request of a session comes to its node: ${transports}`, async (t) => {
        const { url } = await balanced(t);
        const users = await Promise.all(names(12).map((username) => user(t, url, username, { transports })));
        const nodes = users.map((one) => one.io.engine.id[2]);
        assert.ok(nodes.includes("a") && nodes.includes("b"), `both nodes have sessions: ${nodes}`);
        if (transports.length === 2) {
          await until(() => users.every((one) => one.io.engine.transport.name === "websocket"), Boolean, "the upgrades");
        }
        const gone = users.map((one) => new Promise((resolve) => one.once("disconnect", resolve)));
        for (const one of users) assert.ok((await ask(one, "join", "tech")).ok);
        await knowEachOther(users[0], 12);
        // More than the balancer keeps in memory of a body.
        const long = "x".repeat(100_000);
        for (const one of users) assert.equal((await ask(one, "message", long)).delivered, 12);
        for (const one of users) await until(() => one.heard.length, (n) => n === 12, "all messages");
        assert.ok(users.every((one) => one.heard.every((text) => text === long)));
        const first = await Promise.race([...gone, Promise.resolve("nobody")]);
        assert.equal(first, "nobody", "no session was lost");
      });
    }

    test("a node that is killed costs its clients a reconnection, and the others nothing", async (t) => {
      const { url, nodes } = await balanced(t);
      const options = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 };
      const of = (n) => ({ ...options, transports: n % 2 ? ["polling"] : ["polling", "websocket"] });
      const users = await Promise.all(names(6).map((username, n) => user(t, url, username, of(n))));
      // A client that is changing transports would notice only by its heartbeat, after 45 s.
      const upgraded = (one, n) => n % 2 || one.io.engine.transport.name === "websocket";
      await until(() => users.every(upgraded), Boolean, "the upgrades");
      const onA = users.filter((one) => one.io.engine.id[2] === "a");
      assert.ok(onA.length > 0 && onA.length < users.length);
      nodes.a.child.kill("SIGKILL");
      const onB = (one) => one.connected && one.io.engine.id[2] === "b";
      await until(() => users.every(onB), Boolean, "all are on the other node", 20000);
      for (const one of users) assert.ok((await ask(one, "join", "random")).ok);
      await knowEachOther(users[0], 6);
    });
  });
}
