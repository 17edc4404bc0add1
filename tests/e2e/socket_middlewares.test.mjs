// Middlewares for the events of one socket (feature M6; traps 3.3): `forbidden…` is refused, `slow` is held for 50 ms.
import {
  test, assert, describe, useServer, overTransports, client, clients, alsoClient, ask, call, next, nextAny, take, fence, expectNothing,
  until, farewell, Raw,
} from "./support.mjs";

const server = useServer();
const refused = (event) => ["rejected", { message: "forbidden event", data: { event } }];

overTransports("a refused event", (transport) => {
  test("is answered with rejected, heard by no listener, and noted as an error of that socket", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc", transport);
    const events = ["forbidden", "forbidden-x", "forbidden é 👍", "forbidden\u2028"];
    for (const event of events) await ask(a, "listen", { event });
    for (const event of events) a.emit(event, 1, { x: Buffer.from([1]) }, [null]);
    for (const event of events) assert.deepEqual(await nextAny(a), refused(event));
    assert.deepEqual(await ask(a, "errorLog", { id: a.id }), events.map(() => ({ id: a.id, message: "forbidden event" })));
    assert.deepEqual(await ask(b, "errorLog", { id: b.id }), [], "nobody else's");
    assert.deepEqual((await ask(b, "errorLog")).filter((e) => e.id === a.id).length, events.length, "the log is the namespace's");
    await expectNothing(a, a, b);
    assert.equal((await ask(a, "info")).connected, true);
  });

  test("is never acked, even if a listener would", async (t) => {
    const a = await client(t, server, "/rc", transport);
    await ask(a, "listen", { event: "forbidden-ack" });
    let acked = 0;
    a.emit("forbidden-ack", 1, () => acked++);
    a.emit("forbidden-other", () => acked++);
    assert.deepEqual(await nextAny(a), refused("forbidden-ack"));
    assert.deepEqual(await nextAny(a), refused("forbidden-other"));
    await expectNothing(a, a);
    assert.equal(acked, 0);
  });

  test("only that: other names pass, and the prefix counts from the first letter", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const names = ["forbidde", "Forbidden", "FORBIDDEN", "xforbidden", " forbidden", "for", "", "fast"];
    for (const event of names) await ask(a, "listen", { event });
    for (const event of names.slice(0, -1)) a.emit(event, "x");
    for (const [i, event] of names.slice(0, -1).entries()) assert.deepEqual(await nextAny(a), ["heard", event, i + 1, ["x"]]);
    a.emit("fast", 2);
    assert.deepEqual(await nextAny(a), ["done", "fast", 2]);
    assert.deepEqual(await nextAny(a), ["heard", "fast", names.length, [2]]);
    await expectNothing(a, a);
  });

  test("between others: each is answered in its turn", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const order = [];
    a.onAny((event, x) => order.push(event === "rejected" ? x.data.event : event));
    for (let i = 0; i < 20; i++) {
      a.emit("echo", i, (x) => order.push(`ack ${x}`));
      a.emit(`forbidden-${i}`);
      a.emit("fast", i);
    }
    await call(a, "echo", "last");
    assert.deepEqual(order, Array.from({ length: 20 }, (_, i) => [`ack ${i}`, `forbidden-${i}`, "done"]).flat());
  });

  test("a refused one of one namespace does not touch another of the connection", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const b = await alsoClient(t, a, "/rc2");
    const c = await alsoClient(t, a, "/bench");
    a.emit("forbidden");
    b.emit("forbidden-b");
    assert.equal(await call(c, "echo", 1), 1);
    assert.deepEqual(await nextAny(a), refused("forbidden"));
    assert.deepEqual(await nextAny(b), refused("forbidden-b"));
    assert.deepEqual(await ask(b, "errorLog", { id: a.id }), []);
    assert.deepEqual(await ask(b, "errorLog", { id: b.id }), [{ id: b.id, message: "forbidden event" }]);
  });
});

overTransports("a held event", (transport) => {
  test("others pass by; it comes after 50 ms", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const begin = Date.now();
    a.emit("slow", 1);
    a.emit("fast", 2);
    a.emit("forbidden");
    a.emit("echo", 3);
    const order = [];
    for (let i = 0; i < 4; i++) order.push((await nextAny(a)).slice(0, 2).join(" "));
    assert.deepEqual(order, ["done fast", "rejected [object Object]", "echo-back 3", "done slow"]);
    assert.ok(Date.now() - begin >= 49);
  });

  test("several are held side by side, and come in their order", async (t) => {
    const a = await client(t, server, "/rc", transport);
    const begin = Date.now();
    for (let i = 0; i < 40; i++) a.emit("slow", i);
    assert.deepEqual(await take(a, "done", 40), Array.from({ length: 40 }, (_, i) => ["slow", i]));
    assert.ok(Date.now() - begin < 1500, "one after the other would take 2 s");
  });

  test("its ack comes when it is handled; the ack of a later one comes first", async (t) => {
    const a = await client(t, server, "/rc", transport);
    await ask(a, "listen", { event: "slow" });
    const order = [];
    await Promise.all([
      call(a, "slow", "x").then((n) => order.push(`slow acked ${n}`)), call(a, "echo", "y").then((y) => order.push(`echo acked ${y}`)),
    ]);
    assert.deepEqual(order, ["echo acked y", "slow acked 1"]);
    assert.deepEqual(a.inbox.takeAll(), [["done", "slow", "x"], ["heard", "slow", 1, ["x"]]]);
  });

  test("a listener that comes while it is held hears it, one that goes does not", async (t) => {
    const a = await client(t, server, "/rc", transport);
    a.emit("slow", 1);
    await ask(a, "listen", { event: "slow" });
    assert.deepEqual([await nextAny(a), await nextAny(a)], [["done", "slow", 1], ["heard", "slow", 1, [1]]]);
    a.emit("slow", 2);
    await ask(a, "unlisten", { event: "slow" });
    assert.deepEqual(await nextAny(a), ["done", "slow", 2]);
    await expectNothing(a, a);
  });

  test("it holds up no other socket", async (t) => {
    const [a, b] = await clients(t, server, 2, "/rc", transport);
    const also = await alsoClient(t, a, "/rc2");
    const order = [];
    const done = (name) => (what, x) => order.push(`${name} ${what} ${x}`);
    a.on("done", done("a"));
    b.on("done", done("b"));
    also.on("done", done("also"));
    a.emit("slow", 1);
    await new Promise((resolve) => {
      also.emit("fast", 2);
      also.on("done", resolve);
    });
    await ask(b, "emit", { to: a.id, event: "by" });
    await next(a, "by");
    await next(a, "done");
    assert.deepEqual(order, ["also fast 2", "a slow 1"]);
  });
});

describe("an event that is held when its socket ends", () => {
  test("the client left: it is dropped, and not sent to the socket that comes after", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    await raw.join("/rc2");
    raw.send('2/rc,1["slow","lost"]', "1/rc,", '2/rc2,["slow","kept"]');
    assert.equal(await raw.next(), '42/rc2,["done","slow","kept"]', "what was held longer would be here");
    raw.send('2/rc2,["slow",2]');
    await raw.join("/rc");
    raw.send('2/rc,["slow",3]');
    assert.equal(await raw.next(), '42/rc2,["done","slow",2]');
    assert.equal(await raw.next(), '42/rc,["done","slow",3]');
  });

  test("the client left and came back while it was held: the new socket does not get it", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    const observer = await client(t, server, "/rc");
    raw.send('2/rc,["listen",{"event":"slow"}]', '2/rc,["slow","lost"]', "1/rc,");
    await farewell(observer, raw.id);
    await raw.join("/rc");
    raw.send('2/rc,["slow","own"]');
    assert.equal(await raw.next(), '42/rc,["done","slow","own"]');
    await raw.expectAlive();
  });

  test("the server disconnected it: DISCONNECT is the last of that namespace", async (t) => {
    const raw = await Raw.connect(t, server, "/rc");
    await raw.join("/rc2");
    raw.send('2/rc,["slow","lost"]', '2/rc,1["close",{}]', '2/rc2,["slow","kept"]');
    assert.equal(await raw.next(), '43/rc,1[{"ok":true}]');
    assert.equal(await raw.next(), "41/rc,");
    assert.equal(await raw.next(), '42/rc2,["done","slow","kept"]');
    await raw.expectAlive("/rc2");
  });

  test("the connection ended: nothing comes of it, nobody else notices", async (t) => {
    const observer = await client(t, server, "/rc");
    for (let i = 0; i < 20; i++) {
      const raw = await Raw.connect(t, server, "/rc", { room: `h${i}` });
      raw.send('2/rc,1["slow",1]', '2/rc,2["slow",2]', '2/rc,3["rooms",{}]');
      await raw.ws.text("43/rc,3[");
      i % 2 ? raw.ws.socket.terminate() : raw.ws.socket.close();
    }
    observer.emit("slow", "after all of them");
    assert.deepEqual(await nextAny(observer), ["done", "slow", "after all of them"]);
    await until(() => ask(observer, "counts"), (c) => c.nsp === 1);
    await expectNothing(observer, observer);
  });
});

describe("catch-all listeners come before the middlewares", () => {
  test("a refused event was seen, with its ack; a held one at once", async (t) => {
    const a = await client(t, server, "/rc");
    await ask(a, "record", { dir: "in", tag: "t" });
    a.emit("slow", 1);
    a.emit("forbidden-seen", 2, () => assert.fail("acked"));
    a.emit("fast", 3);
    assert.deepEqual(await ask(a, "recorded"), [
      ["in", "t", "slow", [1]], ["in", "t", "forbidden-seen", [2, "[ack]"]], ["in", "t", "fast", [3]], ["in", "t", "recorded", [{}, "[ack]"]],
    ]);
    assert.deepEqual([await nextAny(a), await nextAny(a), await nextAny(a)], [refused("forbidden-seen"), ["done", "fast", 3], ["done", "slow", 1]]);
    assert.equal((await ask(a, "recorded")).filter((e) => e[2] === "slow").length, 1, "once, not again when it is let through");
  });
});

describe("dynamic namespaces have them too", () => {
  test("refused and held", async (t) => {
    for (const [name, auth] of [["/dyn-1", {}], ["/fn-1", { ok: true }]]) {
      const a = await client(t, server, name, { auth });
      assert.deepEqual(await nextAny(a), ["welcome", { nsp: name }]);
      a.emit("slow", 1);
      a.emit("forbidden-dyn");
      a.emit("fast", 2);
      assert.deepEqual([await nextAny(a), await nextAny(a), await nextAny(a)], [refused("forbidden-dyn"), ["done", "fast", 2], ["done", "slow", 1]]);
      assert.deepEqual(await ask(a, "errorLog"), [{ id: a.id, message: "forbidden event" }]);
    }
  });
});

describe("many at once", () => {
  test("30 clients, refused, held and free events mixed: each gets its own", async (t) => {
    const list = await clients(t, server, 30, "/rc");
    await Promise.all(list.map(async (socket, k) => {
      for (let i = 0; i < 30; i++) socket.emit(["slow", "fast", `forbidden-${k}`][i % 3], `${k}/${i}`);
      const events = [];
      for (let i = 0; i < 30; i++) events.push(await nextAny(socket));
      const of = (what) => events.filter((e) => e[0] === "done" && e[1] === what).map((e) => e[2]);
      assert.deepEqual(of("slow").sort(), Array.from({ length: 10 }, (_, i) => `${k}/${i * 3}`).sort());
      assert.deepEqual(of("fast"), Array.from({ length: 10 }, (_, i) => `${k}/${i * 3 + 1}`));
      assert.deepEqual(events.filter((e) => e[0] === "rejected"), Array(10).fill(refused(`forbidden-${k}`)));
    }));
    for (const rest of await fence(list[0], ...list)) assert.deepEqual(rest, []);
  });
});
