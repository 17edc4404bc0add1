// The server asks clients (features K11-K13, R6-R8; traps 3.3).
import {
  test, greenroomOnly, assert, describe, useServer, overTransports, client, clients, ask, call, next, Raw, sleep,
} from "./support.mjs";

const server = useServer();
const TIMEOUT = 4000;

overTransports("of one client", (transport) => {
  test("all arguments of the ack, of every kind", async (t) => {
    const a = await client(t, server, "/rc", transport);
    for (const answer of [[], [1], [null], ["x", { y: [2] }, null], [Buffer.from([1, 2]), { z: Buffer.alloc(0) }], ["é 👍", 1e21, false]]) {
      a.off("q").once("q", (...args) => args.pop()(...answer));
      assert.deepEqual(await ask(a, "emit", { target: "socket", event: "q", args: [1, Buffer.from([9])], ack: true }), { err: null, response: answer });
      assert.deepEqual((await next(a, "q")).slice(0, 2), [1, Buffer.from([9])]);
    }
  });

  test("emitWithAck keeps the first", async (t) => {
    const a = await client(t, server, "/rc", transport);
    for (const [answer, first] of [[[], null], [[1, 2], 1], [[null], null], [[Buffer.from([1]), "x"], Buffer.from([1])]]) {
      a.off("q").once("q", (...args) => args.pop()(...answer));
      assert.deepEqual(await ask(a, "emitWithAck", { target: "socket", event: "q" }), { err: null, response: [first] });
      a.off("q").once("q", (...args) => args.pop()(...answer));
      assert.deepEqual(await ask(a, "emitWithAck", { target: "socket", event: "q", flags: { timeout: TIMEOUT } }), { err: null, response: [first] });
    }
  });

  test("a timeout; the late answer is ignored", async (t) => {
    const a = await client(t, server, "/rc", transport);
    let late;
    a.on("q", (done) => (late = done));
    for (const operation of ["emit", "emitWithAck"]) {
      const begin = Date.now();
      assert.deepEqual(await ask(a, operation, { target: "socket", event: "q", ack: true, flags: { timeout: 100 } }), { err: "operation has timed out", response: [] });
      assert.ok(Date.now() - begin >= 90);
      late("late");
      assert.equal(await call(a, "echo", 1), 1);
    }
  });

  test("an answer in time, with a timeout", async (t) => {
    const a = await client(t, server, "/rc", transport);
    a.on("q", (x, done) => setTimeout(() => done(x, x), 30));
    assert.deepEqual(await ask(a, "emit", { target: "socket", event: "q", args: [7], ack: true, flags: { timeout: TIMEOUT } }), { err: null, response: [7, 7] });
  });

  test("many at once, answered in another order", async (t) => {
    const a = await client(t, server, "/rc", transport);
    a.on("q", (x, done) => setTimeout(() => done(x * 10), (x * 7) % 40));
    const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => ask(a, "emit", { target: "socket", event: "q", args: [i], ack: true })));
    assert.deepEqual(answers, Array.from({ length: 60 }, (_, i) => ({ err: null, response: [i * 10] })));
  });
});

overTransports("of many clients", (transport, name) => {
  const sorted = (answer) => ({ ...answer, responses: [...answer.responses].sort((x, y) => JSON.stringify(x) < JSON.stringify(y) ? -1 : 1) });

  test("one response for each client", async (t) => {
    const room = `all-${name}`;
    const list = await clients(t, server, 4, "/rc", { ...transport, auth: { room } });
    for (const [i, socket] of list.entries()) socket.on("q", (x, done) => done(x + i, "ignored"));
    for (const operation of ["emit", "emitWithAck"]) {
      assert.deepEqual(sorted(await ask(list[0], operation, { to: room, event: "q", args: [10], ack: true, flags: { timeout: TIMEOUT } })),
        { err: null, responses: [10, 11, 12, 13] });
      assert.deepEqual(sorted(await ask(list[0], operation, { target: "socket", to: room, event: "q", args: [10], ack: true, flags: { timeout: TIMEOUT } })),
        { err: null, responses: [11, 12, 13] });
      assert.deepEqual(sorted(await ask(list[0], operation, { to: room, except: [list[1].id, list[3].id], event: "q", args: [0], ack: true, flags: { timeout: TIMEOUT } })),
        { err: null, responses: [0, 2] });
    }
  });

  test("no argument counts as null; binary responses", async (t) => {
    const room = `kinds-${name}`;
    const list = await clients(t, server, 3, "/rc", { ...transport, auth: { room } });
    list[0].on("q", (done) => done());
    list[1].on("q", (done) => done(null));
    list[2].on("q", (done) => done(Buffer.from([7])));
    const { err, responses } = await ask(list[0], "emit", { to: room, event: "q", ack: true, flags: { timeout: TIMEOUT } });
    assert.equal(err, null);
    assert.equal(responses.length, 3);
    assert.equal(responses.filter((r) => r === null).length, 2);
    assert.deepEqual(responses.find((r) => r !== null), Buffer.from([7]));
  });

  test("nobody there: at once, an empty list", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const begin = Date.now();
    for (const operation of ["emit", "emitWithAck"]) {
      assert.deepEqual(await ask(a, operation, { to: "nobody at all", event: "q", ack: true, flags: { timeout: TIMEOUT } }), { err: null, responses: [] });
    }
    assert.ok(Date.now() - begin < TIMEOUT / 2);
  });

  test("those who do not answer: a timeout with the responses of the others", async (t) => {
    const room = `partial-${name}`;
    const list = await clients(t, server, 3, "/rc", { ...transport, auth: { room } });
    list[0].on("q", (done) => done("a"));
    list[1].on("q", (done) => done("b"));
    for (const operation of ["emit", "emitWithAck"]) {
      assert.deepEqual(sorted(await ask(list[0], operation, { to: room, event: "q", ack: true, flags: { timeout: 300 } })), {
        err: "operation has timed out", responses: ["a", "b"],
      });
    }
    list[2].inbox.takeAll().forEach(([, done]) => done?.("late"));
    assert.equal(await call(list[2], "echo", 1), 1);
  });
});

describe("details", { concurrency: 4 }, () => {
  test("a client that answers twice counts once", async (t) => {
    const a = await client(t, server, "/rc", { auth: { room: "doubles" } });
    const raw = await Raw.connect(t, server, "/rc", { room: "doubles" });
    a.on("q", (done) => setTimeout(() => done("a"), 100));
    const answer = ask(a, "emit", { to: "doubles", event: "q", ack: true, flags: { timeout: TIMEOUT } });
    const [, id] = /^42\/rc,(\d+)\["q"\]$/.exec(await raw.next());
    raw.send(`3/rc,${id}["first"]`, `3/rc,${id}["second"]`);
    const { err, responses } = await answer;
    assert.deepEqual([err, responses.sort()], [null, ["a", "first"]]);
  });

  test("a client that goes away meanwhile: the responses of the others come", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc", { auth: { room: "leavers" } });
    a.on("q", (done) => done("a"));
    b.on("q", () => b.disconnect());
    const { responses } = await ask(a, "emit", { to: "leavers", event: "q", ack: true, flags: { timeout: 400 } });
    assert.deepEqual(responses, ["a"]);
  });

  greenroomOnly("a client that goes away meanwhile: no need to wait for it", "the reference runs to the timeout", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc", { auth: { room: "early leavers" } });
    a.on("q", (done) => done("a"));
    b.on("q", () => b.disconnect());
    const begin = Date.now();
    const { responses } = await ask(a, "emit", { to: "early leavers", event: "q", ack: true, flags: { timeout: 6000 } });
    assert.deepEqual(responses, ["a"]);
    assert.ok(Date.now() - begin < 3000);
  });

  test("a client that goes away while the server waits for its ack does no harm", async (t) => {
    const observer = await client(t, server, "/rc");
    const list = await clients(t, server, 10, "/rc");
    for (const [i, socket] of list.entries()) {
      socket.emit("emit", { target: "socket", event: "q", ack: true, ...(i % 2 && { flags: { timeout: 200 } }) }, () => {});
      socket.on("q", () => (i % 3 ? socket.disconnect() : socket.io.engine.close()));
    }
    await Promise.all(list.map((socket) => socket.gone));
    await sleep(300);
    assert.equal(await call(observer, "echo", 1), 1);
  });

  test("ids do not mix: acks of events both ways at once", async (t) => {
    const list = await clients(t, server, 5, "/rc", { auth: { room: "mix" } });
    for (const [i, socket] of list.entries()) {
      socket.on("one", (x, done) => done(`${i}:${x}`));
      socket.on("all", (x, done) => done(x));
    }
    await Promise.all(list.map(async (socket, i) => {
      for (let k = 0; k < 40; k++) {
        const [one, all, back] = await Promise.all([
          ask(socket, "emit", { target: "socket", event: "one", args: [k], ack: true }),
          ask(socket, "emit", { to: "mix", event: "all", args: [`${i}/${k}`], ack: true, flags: { timeout: TIMEOUT } }), call(socket, "echo", k),
        ]);
        assert.deepEqual(one, { err: null, response: [`${i}:${k}`] });
        assert.deepEqual(all, { err: null, responses: Array(5).fill(`${i}/${k}`) });
        assert.equal(back, k);
      }
    }));
  });

  test("the ack of a namespace does not answer another's", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    await raw.join("/rc2");
    raw.send('2/rc,1["emit",{"target":"socket","event":"q","ack":true,"flags":{"timeout":150}}]');
    const [, id] = /^42\/rc,(\d+)\["q"\]$/.exec(await raw.next());
    raw.send(`3/rc2,${id}["other"]`);
    assert.equal(await raw.next(), '43/rc,1[{"ok":{"err":"operation has timed out","response":[]}}]');
  });
});
