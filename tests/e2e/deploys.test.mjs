// A server is told to end by SIGTERM while its clients have acks in flight: they get them, and find themselves at another
// server a moment later, without doing anything about it. (examples/deploy.rs behind a small load balancer.)
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { after, describe } from "node:test";
import { WebSocket } from "ws";
import { io } from "socket.io-client";
import * as processes from "./processes.mjs";
import { TARGET, TRANSPORTS, test, until, within } from "./support.mjs";

const skip = TARGET === "reference" ? "the reference cannot be drained" : false;

const children = [];
after(() => children.forEach((child) => child.kill("SIGKILL")));

/** One version of the application. */
async function start(name, env = {}) {
  const port = await processes.freePort();
  const child = processes.start(processes.example("deploy"), [], { RUST_BACKTRACE: "0", ...env, NAME: name, PORT: String(port) });
  children.push(child);
  const server = { name, port, url: `http://127.0.0.1:${port}`, child, exited: child.exited };
  server.ready = () => fetch(`${server.url}/readyz`).then((answer) => answer.status === 200, () => false);
  await until(server.ready, Boolean, `${name} is ready`);
  return server;
}

/** Sends requests of a session to the server that has it, others to the first server that is ready. */
async function balance(...servers) {
  const homes = new Map();
  const balancer = net.createServer(async (incoming) => {
    incoming.on("error", () => {});
    const [head] = await once(incoming, "data").catch(() => [""]);
    incoming.pause();
    homes.delete(undefined);
    let server = homes.get(/[?&]sid=([^& ]+)/.exec(head)?.[1]);
    for (const candidate of servers) server ??= (await candidate.ready()) ? candidate : undefined;
    if (!server) return incoming.destroy();
    const outgoing = net.connect(server.port, "127.0.0.1");
    outgoing.on("data", (data) => homes.set(/"sid":"([^"]+)","upgrades"/.exec(data)?.[1], server));
    outgoing.on("error", () => incoming.destroy());
    incoming.on("close", () => outgoing.destroy());
    outgoing.on("close", () => incoming.destroy());
    outgoing.write(head);
    incoming.pipe(outgoing).pipe(incoming);
  });
  balancer.listen(0, "127.0.0.1");
  await once(balancer, "listening");
  return { url: `http://127.0.0.1:${balancer.address().port}`, close: () => balancer.close() };
}

/** A client that notes what happens to it. */
function connect(t, url, options = {}) {
  const socket = io(url, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100, ...options });
  socket.notes = [];
  socket.on("version", (name) => socket.notes.push(`version ${name}`));
  socket.on("restart", (name) => socket.notes.push(`restart ${name}`));
  socket.on("disconnect", (reason) => socket.notes.push(`disconnect ${reason}`));
  t.after(() => socket.disconnect());
  return socket;
}
const noted = (socket, note) => until(() => socket.notes, (notes) => notes.includes(note), note);

describe("a deploy", { skip }, () => {
  for (const [name, transport] of Object.entries(TRANSPORTS)) {
    test(`acks in flight arrive, and the client moves to the next server: ${name}`, async (t) => {
      const one = await start("one");
      const balancer = await balance(one, await start("two"));
      t.after(balancer.close);
      const socket = connect(t, balancer.url, transport);
      await noted(socket, "version one");
      const acks = [700, 1500].map((ms) => socket.emitWithAck("work", ms));
      await socket.emitWithAck("work", 0);
      one.child.kill("SIGTERM");
      await until(one.ready, (ready) => !ready, "not ready any more");
      // It still is served, and told what will happen.
      await noted(socket, "restart one");
      assert.equal(socket.connected, true);
      assert.deepEqual(await within(Promise.all(acks), "the acks"), [700, 1500]);
      await noted(socket, "version two");
      assert.deepEqual(socket.notes, ["version one", "restart one", "disconnect transport close", "version two"]);
      assert.equal(await within(socket.emitWithAck("work", 1), "an ack of the next server"), 1);
      const { code, signal } = await within(one.exited, "the first server ends");
      assert.deepEqual({ code, signal }, { code: 0, signal: null });
    });
  }

  test("newcomers are refused with 503 and told when to try again, while polls are answered", async (t) => {
    const one = await start("one");
    const socket = connect(t, one.url, { transports: ["polling"], reconnection: false });
    await noted(socket, "version one");
    const ack = socket.emitWithAck("work", 1500);
    await socket.emitWithAck("work", 0);
    one.child.kill("SIGTERM");
    await until(one.ready, (ready) => !ready, "not ready any more");
    for (const path of ["/readyz", "/socket.io/?EIO=4&transport=polling"]) {
      const refused = await fetch(one.url + path);
      assert.equal(refused.status, 503, path);
      assert.ok(Number(refused.headers.get("retry-after")) > 0, path);
    }
    const [error] = await within(once(new WebSocket(`ws://127.0.0.1:${one.port}/socket.io/?EIO=4&transport=websocket`), "error"), "a refusal");
    assert.match(error.message, /503/);
    assert.equal(await within(ack, "the ack"), 1500);
    await noted(socket, "disconnect transport close");
    assert.equal((await within(one.exited, "the end")).code, 0);
  });

  test("many clients move over time, and nobody loses an ack", async (t) => {
    const one = await start("one", { RATE: "40" });
    const balancer = await balance(one, await start("two"));
    t.after(balancer.close);
    const sockets = Array.from({ length: 80 }, () => connect(t, balancer.url, { transports: ["websocket"] }));
    await Promise.all(sockets.map((socket) => noted(socket, "version one")));
    const acks = sockets.map((socket, i) => socket.emitWithAck("work", 300 + i * 10));
    await Promise.all(sockets.map((socket) => socket.emitWithAck("work", 0)));
    one.child.kill("SIGTERM");
    assert.deepEqual(await within(Promise.all(acks), "the acks"), sockets.map((_, i) => 300 + i * 10));
    await Promise.all(sockets.map((socket) => noted(socket, "version two")));
    for (const socket of sockets) assert.equal(socket.notes.filter((note) => note.startsWith("version")).length, 2);
    assert.equal((await within(one.exited, "the end")).code, 0);
  });

  test("clients that have stopped reading, and acks that never come, do not keep it", async (t) => {
    const one = await start("one", { DEADLINE_MS: "1500" });
    const endless = connect(t, one.url, { transports: ["websocket"], reconnection: false });
    const polling = connect(t, one.url, { transports: ["polling"], reconnection: false });
    await Promise.all([endless, polling].map((socket) => noted(socket, "version one")));
    endless.emit("work", 60_000, () => assert.fail("this never comes"));
    polling.emit("work", 60_000, () => assert.fail("nor does this"));
    const stalled = new WebSocket(`ws://127.0.0.1:${one.port}/socket.io/?EIO=4&transport=websocket`);
    t.after(() => stalled.terminate());
    await within(once(stalled, "open"), "open");
    stalled.send("40");
    // More than the kernel takes, so that the server cannot write.
    for (let i = 0; i < 12; i++) stalled.send(`42["fill",900000]`);
    stalled.pause();
    await Promise.all([endless, polling].map((socket) => socket.emitWithAck("work", 0)));
    const told = performance.now();
    one.child.kill("SIGTERM");
    const { code, at } = await within(one.exited, "the end");
    assert.equal(code, 0);
    // The deadline, two seconds, and what a busy machine needs for a process.
    assert.ok(at - told < 1500 + 2000 + 500, `${at - told} ms`);
    await Promise.all([endless, polling].map((socket) => noted(socket, "disconnect transport close")));
  });

  test("a second signal ends it at once", async (t) => {
    const one = await start("one", { DEADLINE_MS: "60000" });
    const socket = connect(t, one.url, { reconnection: false });
    await noted(socket, "version one");
    socket.emit("work", 60_000, () => {});
    await socket.emitWithAck("work", 0);
    one.child.kill("SIGTERM");
    await noted(socket, "restart one");
    one.child.kill("SIGTERM");
    assert.equal((await within(one.exited, "the end")).code, 0);
    await noted(socket, "disconnect transport close");
  });
});
