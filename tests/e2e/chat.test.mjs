// The chat of the testbed: /chat and /admin (SPEC.md "Chat").
import {
  test, assert, describe, useServer, startServer, overTransports, client, alsoClient, alsoDial, dial, up, refusal, call, next, nextAny, ask, until, within,
} from "./support.mjs";

const ROOMS = ["general", "tech", "random"];
const UNKNOWN = { ok: false, error: "unknown room" };
const NOWHERE = { ok: false, error: "not in a room" };
const INVALID = { ok: false, error: "invalid message" };

const user = async (t, server, username, transport = {}) => {
  const socket = await client(t, server, "/chat", { ...transport, auth: username === undefined ? {} : { username } });
  assert.deepEqual(await nextAny(socket), ["rooms", ROOMS]);
  return socket;
};
const boss = (t, server, transport = {}) => client(t, server, "/admin", { ...transport, auth: { key: "letmein" } });
/** Whatever is left after an ack that was asked for. */
const silent = async (...sockets) => {
  for (const socket of sockets) {
    await call(socket, "users");
    assert.deepEqual(socket.inbox.takeAll(), []);
  }
};

overTransports("a user", (transport) => {
  const server = useServer();

  test("join, switch, message, leave, users", async (t) => {
    const ann = await user(t, server, "ann", transport);
    const bob = await user(t, server, "bob", transport);
    assert.deepEqual(await call(ann, "join", "general"), { ok: true, room: "general", users: ["ann"] });
    assert.deepEqual(ann.inbox.takeAll(), [["room-changed", { from: null, to: "general" }]], "before the ack");
    assert.deepEqual(await call(bob, "join", "general"), { ok: true, room: "general", users: ["ann", "bob"] });
    assert.deepEqual(bob.inbox.takeAll(), [["room-changed", { from: null, to: "general" }]]);
    assert.deepEqual(await nextAny(ann), ["user-joined", { room: "general", username: "bob" }]);
    assert.deepEqual(await call(bob, "message", "hi"), { ok: true, delivered: 2 });
    assert.deepEqual(bob.inbox.takeAll(), [["message", { room: "general", username: "bob", text: "hi" }]], "the sender too, before the ack");
    assert.deepEqual(await nextAny(ann), ["message", { room: "general", username: "bob", text: "hi" }]);
    assert.deepEqual(await call(bob, "users"), { ok: true, room: "general", users: ["ann", "bob"] });
    assert.deepEqual(await call(bob, "join", "tech"), { ok: true, room: "tech", users: ["bob"] });
    assert.deepEqual(bob.inbox.takeAll(), [["room-changed", { from: "general", to: "tech" }]]);
    assert.deepEqual(await nextAny(ann), ["user-left", { room: "general", username: "bob" }]);
    assert.deepEqual(await call(bob, "leave"), { ok: true, room: "tech" });
    assert.deepEqual(bob.inbox.takeAll(), [["room-changed", { from: "tech", to: null }]]);
    assert.deepEqual(await call(bob, "users"), NOWHERE);
    assert.deepEqual(await call(ann, "users"), { ok: true, room: "general", users: ["ann"] });
    await silent(ann, bob);
  });

  test("errors", async (t) => {
    const ann = await user(t, server, "ann", transport);
    for (const room of ["attic", "", "General", "general ", null, 7, ["general"], { room: "general" }, true]) assert.deepEqual(await call(ann, "join", room), UNKNOWN);
    assert.deepEqual(await call(ann, "leave"), NOWHERE);
    assert.deepEqual(await call(ann, "message", "hi"), NOWHERE);
    assert.deepEqual(await call(ann, "message", ""), NOWHERE, "the room is asked first");
    assert.deepEqual(await call(ann, "users"), NOWHERE);
    await call(ann, "join", "random");
    ann.inbox.takeAll();
    for (const text of ["", null, 5, ["x"], { text: "x" }, false, Buffer.from("x")]) assert.deepEqual(await call(ann, "message", text), INVALID);
    assert.deepEqual(await call(ann, "join", "attic"), UNKNOWN);
    assert.deepEqual(await call(ann, "users"), { ok: true, room: "random", users: ["ann"] }, "still there");
    await silent(ann);
    await call(ann, "leave");
    assert.deepEqual(await call(ann, "leave"), NOWHERE);
  });

  test("joining the room one is in: the ack only", async (t) => {
    const ann = await user(t, server, "ann", transport);
    const bob = await user(t, server, "bob", transport);
    await call(ann, "join", "tech");
    await call(bob, "join", "tech");
    ann.inbox.takeAll();
    bob.inbox.takeAll();
    assert.deepEqual(await call(bob, "join", "tech"), { ok: true, room: "tech", users: ["ann", "bob"] });
    await call(bob, "message", "marker");
    assert.deepEqual((await next(ann, "message"))[0].text, "marker");
    await next(bob, "message");
    ann.inbox.items = ann.inbox.items.filter(([event]) => event !== "user-joined" && event !== "message");
    await silent(ann, bob);
  });

  test("acks are optional", async (t) => {
    const ann = await user(t, server, "ann", transport);
    ann.emit("join", "attic");
    ann.emit("leave");
    ann.emit("message", "x");
    ann.emit("users");
    ann.emit("join", "general");
    assert.deepEqual(await nextAny(ann), ["room-changed", { from: null, to: "general" }]);
    ann.emit("message", "");
    ann.emit("message", "x");
    assert.deepEqual(await nextAny(ann), ["message", { room: "general", username: "ann", text: "x" }]);
    ann.emit("leave");
    assert.deepEqual(await nextAny(ann), ["room-changed", { from: "general", to: null }]);
    await silent(ann);
  });

  test("usernames: guest without one; two may have the same; sorted", async (t) => {
    const list = [];
    for (const name of ["zoë", "ann", "ann", undefined, "", 5, null, { a: 1 }, "Bob", "b b"]) {
      const socket = await user(t, server, name, transport);
      await call(socket, "join", "random");
      list.push(socket);
    }
    assert.deepEqual((await call(list[0], "users")).users, ["Bob", "ann", "ann", "b b", "guest", "guest", "guest", "guest", "guest", "zoë"]);
    assert.equal((await call(list[4], "message", "x")).delivered, 10);
    for (const socket of list) assert.deepEqual(await next(socket, "message"), [{ room: "random", username: "guest", text: "x" }]);
  });

  test("whoever disconnects, for whatever reason, is told to have left", async (t) => {
    const ann = await user(t, server, "ann", transport);
    await call(ann, "join", "general");
    for (const [name, end] of [["b1", (s) => s.disconnect()], ["b2", (s) => s.io.engine.close()], ["b3", (s) => s.io.engine.write("9")]]) {
      const bob = await user(t, server, name, transport);
      await call(bob, "join", "general");
      assert.deepEqual(await next(ann, "user-joined"), [{ room: "general", username: name }]);
      end(bob);
      assert.deepEqual(await next(ann, "user-left"), [{ room: "general", username: name }]);
      assert.deepEqual((await call(ann, "users")).users, ["ann"]);
    }
    const idle = await user(t, server, "idle", transport);
    idle.disconnect();
    ann.inbox.takeAll();
    await silent(ann);
  });
});

describe("supervision", () => {
  overTransports("an admin", (transport) => {
    const server = useServer();
    test("refused without the key", async (t) => {
      for (const auth of [undefined, {}, { key: "wrong" }, { key: ["letmein"] }, { key: null }, { username: "letmein" }]) {
        const err = await refusal(dial(t, server, "/admin", { ...transport, auth }));
        assert.deepEqual([err.message, err.data], ["admin only", { code: 403 }]);
      }
    });

    test("stats", async (t) => {
      const own = await startServer(t);
      const b = await boss(t, own, transport);
      const none = { users: 0, names: [], messages: 0 };
      assert.deepEqual(await call(b, "stats"), { rooms: { general: none, tech: none, random: none }, chatUsers: 0, adminUsers: 1 });
      const [zed, ann, bob] = await Promise.all(["zed", "ann", "bob"].map((n) => user(t, own, n, transport)));
      await call(zed, "join", "general");
      await call(ann, "join", "general");
      await call(zed, "message", "1");
      await call(ann, "message", "2");
      await call(ann, "message", "");
      await call(ann, "join", "tech");
      await call(ann, "message", "3");
      await call(bob, "message", "nowhere");
      const other = await boss(t, own, transport);
      assert.deepEqual(await call(other, "stats"), {
        rooms: { general: { users: 1, names: ["zed"], messages: 2 }, tech: { users: 1, names: ["ann"], messages: 1 }, random: none }, chatUsers: 3, adminUsers: 2,
      });
      bob.disconnect();
      ann.disconnect();
      other.disconnect();
      await until(() => call(b, "stats"), (s) => s.chatUsers === 1 && s.adminUsers === 1);
      assert.deepEqual((await call(b, "stats")).rooms.tech, { users: 0, names: [], messages: 1 });
    });

    test("announce: to all, to a room, to an unknown room", async (t) => {
      const b = await boss(t, server, transport);
      const ann = await user(t, server, "ann", transport);
      const bob = await user(t, server, "bob", transport);
      await call(ann, "join", "tech");
      ann.inbox.takeAll();
      assert.deepEqual(await call(b, "announce", null, "to all"), { ok: true });
      for (const socket of [ann, bob]) assert.deepEqual(await nextAny(socket), ["announcement", { room: null, text: "to all" }]);
      assert.deepEqual(await call(b, "announce", "tech", "to tech"), { ok: true });
      assert.deepEqual(await nextAny(ann), ["announcement", { room: "tech", text: "to tech" }]);
      for (const room of ["attic", "", 5, {}]) assert.deepEqual(await call(b, "announce", room, "x"), UNKNOWN);
      b.emit("announce", null, "no ack");
      for (const socket of [ann, bob]) assert.deepEqual(await nextAny(socket), ["announcement", { room: null, text: "no ack" }]);
      assert.deepEqual(b.inbox.takeAll(), []);
    });

    test("kick: complete before the ack", async (t) => {
      const b = await boss(t, server, transport);
      const eve1 = await user(t, server, "eve", transport);
      const eve2 = await user(t, server, "eve", transport);
      const ann = await user(t, server, "ann", transport);
      for (const s of [eve1, eve2, ann]) await call(s, "join", "random");
      ann.inbox.takeAll();
      const before = (await call(b, "stats")).chatUsers;
      assert.deepEqual(await call(b, "kick", "eve"), { ok: true, kicked: 2 });
      const stats = await call(b, "stats");
      assert.equal(stats.chatUsers, before - 2);
      assert.deepEqual(stats.rooms.random.names, ["ann"]);
      for (const s of [eve1, eve2]) assert.equal((await within(s.gone, "kick")).reason, "io server disconnect");
      for (let i = 0; i < 2; i++) assert.deepEqual(await nextAny(ann), ["user-left", { room: "random", username: "eve" }]);
      assert.deepEqual(await call(b, "kick", "eve"), { ok: true, kicked: 0 });
      assert.deepEqual(await call(b, "kick", "nobody"), { ok: true, kicked: 0 });
      await call(ann, "leave");
    });

    test("a kicked user's connection stays, and may come back", async (t) => {
      const b = await boss(t, server, transport);
      const eve = await user(t, server, "eve", transport);
      const main = await alsoClient(t, eve, "/custom");
      await call(b, "kick", "eve");
      await eve.gone;
      assert.equal(await call(main, "message-with-ack", 1), 1);
      eve.connect();
      await up(eve);
      assert.deepEqual(await next(eve, "rooms"), [ROOMS]);
      assert.deepEqual(await call(eve, "users"), NOWHERE);
    });

    test("watch: everything that happens, in order", async (t) => {
      const own = await startServer(t);
      const [watcher, blind] = [await boss(t, own, transport), await boss(t, own, transport)];
      const ann = await user(t, own, "ann", transport);
      await call(ann, "join", "general");
      assert.deepEqual(await call(watcher, "watch"), { ok: true });
      assert.deepEqual(await call(watcher, "watch"), { ok: true });
      await call(ann, "message", "1");
      await call(ann, "join", "tech");
      await call(ann, "join", "tech");
      await call(ann, "message", "");
      await call(ann, "message", "2");
      await call(ann, "leave");
      await call(ann, "leave");
      await call(ann, "join", "random");
      ann.disconnect();
      const expected = [
        ["message", "general"], ["leave", "general"], ["join", "tech"], ["message", "tech"], ["leave", "tech"], ["join", "random"], ["leave", "random"],
      ].map(([type, room]) => ["activity", { type, room, username: "ann" }]);
      for (const event of expected) assert.deepEqual(await nextAny(watcher), event);
      const eve = await user(t, own, "eve", transport);
      await call(eve, "join", "general");
      await call(watcher, "kick", "eve");
      assert.deepEqual(watcher.inbox.takeAll(), [
        ["activity", { type: "join", room: "general", username: "eve" }], ["activity", { type: "leave", room: "general", username: "eve" }],
      ], "before the ack of kick");
      await call(blind, "stats");
      assert.deepEqual(blind.inbox.takeAll(), []);
    });
  });

  overTransports("one connection for all", (transport) => {
    const server = useServer();
    test("user and admin multiplexed", async (t) => {
      const ann = await user(t, server, "ann", transport);
      const b = alsoDial(t, ann, "/admin", { key: "no" });
      assert.equal((await refusal(b)).message, "admin only");
      b.auth = { key: "letmein" };
      b.connect();
      await up(b);
      const activity = [];
      b.on("activity", (a) => activity.push(a));
      await call(b, "watch");
      await call(ann, "join", "general");
      await call(ann, "message", "hi");
      assert.deepEqual((await call(b, "stats")).rooms.general, { users: 1, names: ["ann"], messages: 1 });
      assert.deepEqual(activity, [{ type: "join", room: "general", username: "ann" }, { type: "message", room: "general", username: "ann" }]);
      await call(b, "announce", "general", "both");
      assert.deepEqual((await next(ann, "announcement"))[0].text, "both");
      assert.deepEqual(await call(b, "kick", "ann"), { ok: true, kicked: 1 });
      assert.equal((await ann.gone).reason, "io server disconnect");
      assert.equal((await call(b, "stats")).chatUsers, 0);
    });

    test("rooms of the same name elsewhere have nothing to do with it", async (t) => {
      const ann = await user(t, server, "ann", transport);
      const rc = await alsoClient(t, ann, "/rc");
      const bench = await alsoClient(t, ann, "/bench");
      await ask(rc, "join", { rooms: "general" });
      await call(bench, "join", "general");
      const bob = await user(t, server, "bob", transport);
      await call(bob, "join", "general");
      assert.equal((await call(bob, "message", "x")).delivered, 1);
      assert.deepEqual(await call(ann, "users"), NOWHERE);
      await ask(rc, "emit", { to: "general", event: "mine" });
      await next(rc, "mine");
      await call(bench, "publish", "general", 1);
      await next(bench, "msg");
      bob.inbox.takeAll();
      await silent(ann, bob);
    });
  });
});

describe("crowd", () => {
  const server = useServer();
  test("30 users switch and talk; the numbers agree at the end", async (t) => {
    const b = await boss(t, server);
    const list = await Promise.all(Array.from({ length: 30 }, (_, i) =>
      user(t, server, `u${String(i).padStart(2, "0")}`, { transports: [["websocket"], ["polling"], ["polling", "websocket"]][i % 3] })));
    const said = { general: 0, tech: 0, random: 0 };
    const received = new Map();
    for (const socket of list) socket.on("message", (m) => received.set(m.text, (received.get(m.text) ?? 0) + 1));
    await Promise.all(list.map(async (socket, i) => {
      for (let k = 0; k < 6; k++) {
        const room = ROOMS[(i + k) % 3];
        assert.equal((await call(socket, "join", room)).room, room);
        const text = `${i}:${k}`;
        const { delivered } = await call(socket, "message", text);
        said[room]++;
        await until(() => received.get(text), (n) => n === delivered, `deliveries of ${text}, ${delivered}`);
      }
    }));
    const stats = await call(b, "stats");
    assert.equal(stats.chatUsers, 30);
    for (const room of ROOMS) {
      assert.equal(stats.rooms[room].messages, said[room]);
      const names = list.map((_, i) => [ROOMS[(i + 5) % 3], `u${String(i).padStart(2, "0")}`]).filter(([r]) => r === room).map(([, n]) => n);
      assert.deepEqual(stats.rooms[room], { users: 10, names, messages: said[room] });
    }
  });
});
