// Broadcasts through a parent to all its children (features N9-N11; traps 3.4), and children that go when they are empty (N13).
import {
  test, greenroomOnly, assert, describe, useServer, startServer, overTransports, client, alsoClient, alsoDial, dial, up, refusal, ask,
  call, next, until, farewell, Raw,
} from "./support.mjs";

describe("a parent reaches all its children", () => {
  const server = useServer();
  let used = 10;

  /** Two children of the pattern (a, b in one; c in the other), one of the function (f), and o in /rc. */
  async function family(t, transport = {}) {
    const [one, two] = [`/dyn-${++used}`, `/dyn-${++used}`];
    const fn = `/fn-${++used}`;
    const sockets = {
      a: await client(t, server, one, transport), b: await client(t, server, one, transport), c: await client(t, server, two, transport),
      f: await client(t, server, fn, { ...transport, auth: { ok: true } }), o: await client(t, server, "/rc", transport),
    };
    await ask(sockets.a, "join", { rooms: ["x", "z"] });
    await ask(sockets.b, "join", { rooms: "y" });
    await ask(sockets.c, "join", { rooms: "x" });
    await ask(sockets.f, "join", { rooms: "x" });
    await ask(sockets.o, "join", { rooms: "x" });
    /** Emits from `by` and gives the names of those who got it (each once); the fences go the ways that the event may have gone. */
    const heard = async (by, params, args = [1]) => {
      const { a, b, c, f, o } = sockets;
      assert.equal(await ask(sockets[by], "emit", { event: "news", args, ...params }), true);
      const fences = [[{ target: "dyn" }, [a, b, c]], [{ target: "fn" }, [f]], [{}, { a: [a, b], b: [a, b], c: [c], f: [f], o: [o] }[by]]];
      for (const [way, list] of fences) await ask(sockets[by], "emit", { ...way, to: list.map((s) => s.id), event: "fence" });
      for (const [, list] of fences) for (const socket of list) await next(socket, "fence");
      let names = "";
      for (const [name, socket] of Object.entries(sockets)) {
        const events = socket.inbox.takeAll();
        if (events.length === 0) continue;
        assert.deepEqual(events, [["news", ...args]], name);
        names += name;
      }
      return names;
    };
    for (const socket of [sockets.a, sockets.b, sockets.c, sockets.f]) await next(socket, "welcome");
    return { ...sockets, heard };
  }

  overTransports("emit", (transport) => {
    test("each socket of each child, in the rooms asked for, once; nobody else", async (t) => {
      const { a, b, c, f, heard } = await family(t, transport);
      for (const [params, expected] of [
        [{ target: "dyn" }, "abc"], [{ target: "fn" }, "f"], [{ target: "dyn", to: "x" }, "ac"], [{ target: "dyn", in: ["x", "y"] }, "abc"],
        [{ target: "dyn", to: ["x", "z"] }, "ac"], [{ target: "dyn", to: "z", in: "y" }, "ab"], [{ target: "dyn", except: "x" }, "b"],
        [{ target: "dyn", to: "x", except: ["z"] }, "c"], [{ target: "dyn", to: "nobody" }, ""], [{ target: "fn", to: "x" }, "f"], [{ target: "fn", except: "x" }, ""],
        [{ target: "dyn", to: c.id }, "c"], [{ target: "dyn", except: [a.id, c.id] }, "b"], [{ target: "dyn", to: f.id }, ""], [{ target: "fn", except: a.id }, "f"],
      ]) assert.equal(await heard("o", params), expected, JSON.stringify(params));
      assert.equal(await heard("a", { target: "dyn" }), "abc", "the asking socket is no exception");
      assert.equal(await heard("b", { target: "dyn", to: "y" }), "b");
      assert.equal(await heard("f", { target: "dyn" }), "abc");
      assert.equal(await heard("a", {}), "ab", "its own namespace is another matter");
    });

    test("with flags, and with arguments of every kind", async (t) => {
      const { heard } = await family(t, transport);
      for (const flags of [{ compress: true }, { compress: false, local: true }, { local: true }, { timeout: 1000 }]) {
        assert.equal(await heard("o", { target: "dyn", flags }), "abc", JSON.stringify(flags));
        assert.equal(await heard("o", { target: "dyn", to: "x", flags }), "ac", JSON.stringify(flags));
      }
      assert.equal(await heard("o", { target: "dyn" }, []), "abc");
      assert.equal(await heard("o", { target: "dyn", to: "x" }, ["é", null, { a: [Buffer.from([1, 2])] }, Buffer.alloc(0)]), "ac");
      assert.equal(await heard("o", { target: "fn" }, [Buffer.from([9]), "y".repeat(20_000)]), "f");
    });
  });

  test("volatile, to clients that can be written to", async (t) => {
    const { heard } = await family(t);
    for (let i = 0; i < 5; i++) {
      assert.equal(await heard("o", { target: "dyn", flags: { volatile: true } }, [i]), "abc");
      assert.equal(await heard("o", { target: "dyn", to: "x", flags: { volatile: true, local: true } }, [Buffer.from([i])]), "ac");
    }
  });

  test("a child that comes later is reached, one that is made by hand too; order is kept", async (t) => {
    const { o } = await family(t);
    const name = `/dyn-${++used}`;
    await ask(o, "of", { name });
    const late = await client(t, server, name);
    for (let i = 0; i < 50; i++) o.emit("emit", { target: "dyn", event: "n", args: [i] });
    for (let i = 0; i < 50; i++) assert.deepEqual(await next(late, "n"), [i]);
  });

  test("a socket that waits in the parent's middleware is not reached", async (t) => {
    const { o } = await family(t);
    const waiting = dial(t, server, `/dyn-${++used}`, { auth: { delay: 300 } });
    await until(() => ask(o, "namespaces"), (list) => list.includes(`/dyn-${used}`), "the child");
    await ask(o, "emit", { target: "dyn", event: "too early" });
    await up(waiting);
    await ask(o, "emit", { target: "dyn", event: "in time" });
    assert.deepEqual(await waiting.inbox.take(), ["welcome", { nsp: `/dyn-${used}` }]);
    assert.deepEqual(await waiting.inbox.take(), ["in time"]);
  });

  test("without children: nothing happens, without error", async (t) => {
    const own = await startServer(t);
    const o = await client(t, own, "/rc");
    for (const target of ["dyn", "fn"]) {
      for (const more of [{}, { to: "x" }, { except: "x", flags: { volatile: true } }]) assert.equal(await ask(o, "emit", { target, event: "x", ...more }), true);
    }
  });

  test("reserved names fail, also without children", async (t) => {
    const own = await startServer(t);
    const o = await client(t, own, "/rc");
    await assert.rejects(ask(o, "emit", { target: "dyn", to: "x", event: "connect" }), { message: '"connect" is a reserved event name' });
    await client(t, own, "/dyn-1");
    await assert.rejects(ask(o, "emit", { target: "dyn", event: "disconnecting" }), { message: '"disconnecting" is a reserved event name' });
  });

  test("fetchSockets is refused in the words of the reference", async (t) => {
    const { o } = await family(t);
    for (const target of ["dyn", "fn"]) {
      for (const operation of ["fetchSockets", "emitFetched", "ackFetched"]) {
        await assert.rejects(ask(o, operation, { target, event: "x" }), { message: "fetchSockets() is not supported on parent namespaces" }, `${operation} ${target}`);
      }
    }
  });

  greenroomOnly("an emit with ack waits for the sockets of all children", "there, it reaches nobody", async (t) => {
    const { a, b, c, f, o } = await family(t);
    for (const [socket, answer] of [[a, "a"], [b, "b"], [c, "c"], [f, "f"]]) socket.on("q", (x, done) => done(answer + x));
    for (const operation of ["emit", "emitWithAck"]) {
      const all = await ask(o, operation, { target: "dyn", to: ["x", "y"], event: "q", args: [1], ack: true, flags: { timeout: 4000 } });
      assert.deepEqual([all.err, all.responses.sort()], [null, ["a1", "b1", "c1"]]);
      const some = await ask(o, operation, { target: "dyn", to: "x", except: a.id, event: "q", args: [2], ack: true, flags: { timeout: 4000 } });
      assert.deepEqual(some, { err: null, responses: ["c2"] });
      assert.deepEqual(await ask(o, operation, { target: "fn", to: "nobody", event: "q", ack: true, flags: { timeout: 4000 } }), { err: null, responses: [] });
    }
  });

  greenroomOnly("socketsJoin, socketsLeave and disconnectSockets concern the sockets of all children", "there, they reach nobody", async (t) => {
    const { a, b, c, f, o } = await family(t);
    const rooms = async () => (await Promise.all([a, b, c, f].map((s) => ask(s, "rooms")))).map((r) => r.rooms.join(""));
    await ask(o, "socketsJoin", { target: "dyn", in: "x", rooms: ["n"] });
    await until(rooms, (r) => r.join() === "nxz,y,nx,x");
    await ask(o, "socketsLeave", { target: "dyn", except: c.id, rooms: ["n", "y"] });
    await until(rooms, (r) => r.join() === "xz,,nx,x");
    await ask(o, "disconnectSockets", { target: "dyn", in: "x" });
    for (const socket of [a, c]) assert.equal((await socket.gone).reason, "io server disconnect");
    assert.equal(await call(b, "echo", 1), 1);
    assert.equal(await call(f, "echo", 1), 1);
  });
});

describe("children that are left empty", () => {
  const server = useServer({ CLEANUP_EMPTY_CHILD_NAMESPACES: "1" });
  let used = 0;
  const fresh = () => [`/dyn-${++used}`, `/fn-${used}`, `/fn-slow-${used}`];
  const exists = async (by, name) => (await ask(by, "namespaces")).includes(name);
  const goes = (by, name) => until(() => exists(by, name), (there) => !there, `end of ${name}`);
  const reports = async (by, name) => (await ask(by, "newNamespaces")).filter((n) => n === name).length;

  const WAYS = [
    ["the client leaves", (a) => a.disconnect()],
    ["the connection is cut", (a) => a.io.engine.close()],
    ["the server disconnects it", (a) => a.emit("close", {})],
    ["the server closes the connection", (a) => a.emit("connClose", {})],
  ];
  for (const [what, act] of WAYS) {
    test(`gone with its last socket: ${what}`, async (t) => {
      const o = await client(t, server, "/rc");
      for (const name of fresh()) {
        const a = await client(t, server, name, { auth: { ok: true } });
        const b = await client(t, server, name, { auth: { ok: true } });
        const first = b.id;
        act(b);
        await farewell(o, first, name);
        assert.equal(await exists(o, name), true, "not while there is another");
        assert.equal(await call(a, "echo", 1), 1);
        const { id } = a;
        act(a);
        await farewell(o, id, name);
        await goes(o, name);
        assert.equal((await ask(o, "counts", { nsp: name })).nsp, 0);
        assert.deepEqual(await ask(o, "roomSizes", { nsp: name }), {});
        assert.equal(await reports(o, name), 1);
      }
    });
  }

  test("created anew by the next client, and reported again; everything works in it", async (t) => {
    const o = await client(t, server, "/rc");
    const [name] = fresh();
    for (let life = 1; life <= 3; life++) {
      const a = await client(t, server, name);
      assert.deepEqual(await next(a, "welcome"), [{ nsp: name }]);
      assert.equal(await reports(o, name), life);
      await ask(o, "emit", { target: "dyn", to: a.id, event: "x", args: [life] });
      assert.deepEqual(await next(a, "x"), [life]);
      await ask(a, "emit", { event: "own" });
      assert.deepEqual(await next(a, "own"), []);
      assert.equal((await refusal(dial(t, server, name, { auth: { token: "bad" } }))).message, "dyn refused");
      assert.equal(await exists(o, name), true, "a refused one beside a connected one ends nothing");
      a.disconnect();
      await goes(o, name);
    }
    await ask(o, "emit", { target: "dyn", event: "nobody there" });
  });

  test("the room log goes on where it was", async (t) => {
    const o = await client(t, server, "/rc");
    const [name] = fresh();
    const expected = [];
    for (let life = 0; life < 2; life++) {
      const a = await client(t, server, name);
      const { id } = a;
      await ask(a, "join", { rooms: "r" });
      a.disconnect();
      await goes(o, name);
      expected.push(["create-room", id], ["join-room", id, id], ["create-room", "r"], ["join-room", "r", id]);
      expected.push(["leave-room", id, id], ["delete-room", id], ["leave-room", "r", id], ["delete-room", "r"]);
    }
    assert.deepEqual(await ask(o, "roomLog", { nsp: name }), expected);
  });

  test("gone after a refusal", async (t) => {
    const o = await client(t, server, "/rc");
    for (const name of fresh()) {
      for (let i = 1; i <= 2; i++) {
        const err = await refusal(alsoDial(t, o, name, { ok: true, token: "bad" }));
        assert.deepEqual([err.message, err.data], ["dyn refused", { nsp: name }]);
        await goes(o, name);
        assert.equal(await reports(o, name), i);
      }
      const b = await client(t, server, name, { auth: { ok: true } });
      assert.equal(await reports(o, name), 3);
      assert.equal(await call(b, "echo", 1), 1);
    }
  });

  greenroomOnly("not while another socket is in its middleware", "it is removed there, and the other one is in a namespace that nobody finds", async (t) => {
    const o = await client(t, server, "/rc");
    const [name] = fresh();
    const a = await client(t, server, name);
    const waiting = dial(t, server, name, { auth: { delay: 400 } });
    const pending = dial(t, server, name, { auth: { delay: 200, token: "bad" } });
    assert.equal((await refusal(dial(t, server, name, { auth: { token: "bad" } }))).message, "dyn refused");
    a.disconnect();
    assert.equal((await refusal(pending)).message, "dyn refused");
    assert.equal(await exists(o, name), true);
    await up(waiting);
    assert.deepEqual(await next(waiting, "welcome"), [{ nsp: name }]);
    assert.equal((await ask(o, "counts", { nsp: name })).nsp, 1);
    assert.equal(await reports(o, name), 1);
    await ask(o, "emit", { target: "dyn", to: waiting.id, event: "x" });
    assert.deepEqual(await next(waiting, "x"), []);
    waiting.disconnect();
    await goes(o, name);
  });

  test("a client that leaves while it is in the middleware leaves no empty child", async (t) => {
    const o = await client(t, server, "/rc");
    const [name] = fresh();
    const raw = await Raw.connect(t, server);
    raw.send(`0${name},{"delay":100}`);
    await until(() => exists(o, name), (there) => there, "the child");
    raw.ws.socket.terminate();
    await goes(o, name);
    assert.deepEqual(await ask(o, "roomSizes", { nsp: name }), {});
    assert.deepEqual(await ask(o, "disconnectLog", { nsp: name }), []);
    await client(t, server, name);
    assert.equal(await reports(o, name), 2);
  });

  test("a child made by hand waits for its first socket, and goes with it", async (t) => {
    const o = await client(t, server, "/rc");
    const [name] = fresh();
    assert.equal(await ask(o, "of", { name }), name);
    const a = await client(t, server, name);
    assert.equal(await reports(o, name), 1);
    a.disconnect();
    await goes(o, name);
    assert.equal(await ask(o, "of", { name }), name);
    assert.equal(await exists(o, name), true);
    assert.equal(await reports(o, name), 2);
  });

  test("plain namespaces stay, also those made at run time", async (t) => {
    const o = await client(t, server, "/rc");
    const plain = `/fn-plain-${++used}`;
    await ask(o, "of", { name: plain });
    for (const name of ["/rc2", "/custom", plain]) {
      const a = await client(t, server, name);
      a.disconnect();
      await until(() => ask(o, "counts", { nsp: name }), (c) => c.nsp === 0);
      assert.equal(await exists(o, name), true, name);
    }
    await refusal(dial(t, server, "/rc2", { auth: { token: "bad" } }));
    assert.equal(await exists(o, "/rc2"), true);
  });

  test("one leaves while another comes, 100 times: nobody is lost between two lives", async (t) => {
    const o = await client(t, server, "/rc");
    const [name] = fresh();
    const pages = [await client(t, server, "/rc2"), await client(t, server, "/rc2")];
    let here = await alsoClient(t, pages[0], name);
    for (let i = 1; i <= 100; i++) {
      const coming = alsoDial(t, pages[i % 2], name);
      if (!coming.active) coming.connect();
      const connected = up(coming);
      here.disconnect();
      await connected;
      await ask(o, "emit", { target: "dyn", to: coming.id, event: "seen", args: [i] });
      assert.deepEqual(await next(coming, "seen"), [i]);
      await until(() => ask(coming, "counts"), (c) => c.nsp === 1);
      here = coming;
    }
    here.disconnect();
    await goes(o, name);
  });
});
