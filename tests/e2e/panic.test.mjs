// A listener that panics costs its client that event and an error ack; nothing else suffers (SPEC.md "Beyond the reference").
import { greenroomOnly, assert, useServer, client, clients, alsoClient, ask, call, next, Raw, sleep, within, TRANSPORTS, until } from "./support.mjs";

const WHY = "the reference has no panics";
const server = useServer({}, { allowPanics: true });

/** The error ack that docs/protocol.md promises; the message of the panic is not for clients. */
const expectErrorAck = (args) => assert.deepEqual(args, [{ error: "internal error" }]);
const acked = (socket, ...args) => within(new Promise((resolve) => socket.emit(...args, (...list) => resolve(list))), `ack of ${args[0]}`);

for (const event of ["panic", "panic-async"]) {
  for (const [name, transport] of Object.entries(TRANSPORTS)) {
    greenroomOnly(`${event}, ${name}: an error ack, and the connection lives on`, WHY, async (t) => {
      const a = await client(t, server, "/rc", transport);
      const b = await client(t, server, "/rc", transport);
      await ask(a, "join", { rooms: "before" });
      for (let i = 0; i < 5; i++) expectErrorAck(await acked(a, event));
      expectErrorAck(await acked(a, event, 1, { x: 2 }, Buffer.from([3])));
      assert.equal(a.connected, true);
      assert.deepEqual(await ask(a, "rooms"), { self: true, rooms: ["before"] });
      assert.equal(await call(a, "echo", 1), 1);
      assert.equal(await call(b, "echo", 2), 2);
      await ask(b, "emit", { to: "before", event: "still" });
      assert.deepEqual(await next(a, "still"), []);
    });
  }

  greenroomOnly(`${event} without an ack: nothing is sent`, WHY, async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    for (let i = 0; i < 3; i++) raw.send(`2/rc,["${event}"]`);
    await raw.expectAlive();
    await sleep(50);
    assert.deepEqual(raw.inbox.items, []);
  });

  greenroomOnly(`${event}: the bytes of the ack`, WHY, async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    raw.send(`2/rc,0["${event}"]`);
    assert.equal(await raw.next(), '43/rc,0[{"error":"internal error"}]');
  });
}

greenroomOnly("events around a panic keep their order and their acks", WHY, async (t) => {
  const a = await client(t, server, "/rc");
  const results = await Promise.all(Array.from({ length: 200 }, (_, i) =>
    i % 3 === 0 ? acked(a, i % 2 ? "panic" : "panic-async").then((list) => list[0].error && "error") : call(a, "echo", i)));
  assert.deepEqual(results, Array.from({ length: 200 }, (_, i) => (i % 3 === 0 ? "error" : i)));
});

greenroomOnly("other namespaces of the connection, other clients, and the counts do not notice", WHY, async (t) => {
  const list = await clients(t, server, 6, "/rc", { auth: { room: "crowd" } });
  const others = await clients(t, server, 3, "/rc2");
  const also = await alsoClient(t, list[0], "/rc2");
  const observer = await client(t, server, "/rc");
  const before = await ask(observer, "counts");
  const echoes = (async () => {
    for (let i = 0; i < 200; i++) await Promise.all([...others, also].map(async (s) => assert.equal(await call(s, "echo", i), i)));
  })();
  await Promise.all(list.map(async (socket) => {
    for (let i = 0; i < 40; i++) expectErrorAck(await acked(socket, i % 2 ? "panic" : "panic-async"));
  }));
  await echoes;
  assert.deepEqual(await ask(observer, "counts"), before);
  assert.equal((await ask(observer, "roomSizes")).crowd, 6);
  await ask(observer, "emit", { to: "crowd", event: "all there" });
  for (const socket of list) await next(socket, "all there");
  for (const socket of list) assert.equal(socket.connected, true);
});

greenroomOnly("a client that goes away right after its panic", WHY, async (t) => {
  const observer = await client(t, server, "/rc");
  await until(() => ask(observer, "counts"), (c) => c.engine === 1);
  const list = await clients(t, server, 20, "/rc");
  for (const [i, socket] of list.entries()) {
    socket.emit(i % 2 ? "panic" : "panic-async", () => {});
    if (i % 3) socket.io.engine.close();
    else socket.disconnect();
  }
  await until(() => ask(observer, "counts"), (c) => c.nsp === 1 && c.engine === 1);
});

greenroomOnly("the events exist on the remote control only", WHY, async (t) => {
  const raw = await Raw.connect(t, server, "/bench");
  raw.send('2/bench,1["panic"]', '2/bench,2["echo","x"]');
  assert.equal(await raw.next(), '43/bench,2["x"]');
});
