// Engine.IO 3 and Socket.IO 2 (feature E6): payloads, binary, heartbeat, upgrade, and the official clients.
import eio from "engine.io-client-v3";
import {
  test, greenroomOnly, assert, describe, useServer, http, Polling, Ws, client, ask, farewellReason, expectNothing, next, within, sleep,
  show, Inbox, overTransports, fence,
} from "./support.mjs";
import {
  request, payload, packets, octets, Polling3, ws3, dial2, also2, up2, client2, refusal2, call2, ask2, next2,
} from "./revision3.mjs";

const server = useServer({ ALLOW_EIO3: "1" });
const OCTETS = "application/octet-stream";

describe("opening", () => {
  test("a polling session: the open packet with its length", async () => {
    const session = await Polling3.open(server);
    assert.equal(session.opening.headers["content-type"], "text/plain; charset=UTF-8");
    assert.equal(session.opening.headers["cache-control"], "no-store");
    const { sid, ...facts } = session.handshake;
    assert.equal(typeof sid, "string");
    assert.deepEqual(facts, { upgrades: ["websocket"], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 });
  });

  test("a WebSocket session", async (t) => {
    const ws = await ws3(t, server);
    assert.deepEqual(ws.handshake.upgrades, []);
    ws.send("4hello");
    assert.equal(await ws.next(), "4hello");
  });

  for (const query of ["", "EIO=abc&", "EIO=&", "EIO=2&", "EIO=4&EIO=3&", "EIO=04&"]) {
    test(`what is not 4 is 3: "${query}"`, async () => {
      const { text } = await http(server, { path: `/engine.io/?${query}transport=polling` });
      assert.match(text, /^\d+:0\{/);
    });
  }

  test("clients of revision 4 are served beside", async () => {
    const session = await Polling.open(server);
    await session.expectAlive();
  });

  test("a request of the other revision is refused, and the session stays", async () => {
    const [old, young] = [await Polling3.open(server), await Polling.open(server)];
    for (const [session, path] of [[old, old.path.replace("EIO=3", "EIO=4")], [young, young.path.replace("EIO=4", "EIO=3")]]) {
      const answer = await http(server, { path });
      assert.deepEqual([answer.status, answer.text], [400, '{"code":3,"message":"Bad request"}']);
      await session.expectAlive();
    }
  });
});

describe("not allowed", () => {
  const strict = useServer();

  test("code 5", async () => {
    for (const eio of ["EIO=3&", "EIO=5&", ""]) {
      const answer = await http(strict, { path: `/socket.io/?${eio}transport=polling` });
      assert.deepEqual([answer.status, answer.text], [400, '{"code":5,"message":"Unsupported protocol version"}']);
    }
  });

  for (const transport of ["polling", "websocket"]) {
    test(`the client fails to connect, ${transport}`, async (t) => {
      const { kind } = await refusal2(dial2(t, strict, "/", { transports: [transport] }));
      assert.equal(kind, "connect_error");
    });
  }
});

describe("text bodies", () => {
  test("packets come back with their lengths", async () => {
    const session = await Polling3.open(server);
    const posted = await session.post("6:4hello");
    assert.deepEqual([posted.status, posted.text, posted.headers["content-type"]], [200, "ok", "text/html"]);
    assert.equal((await session.get()).text, "6:4hello");
    await session.post("6:4test16:4test26:4test3");
    assert.equal((await session.get()).text, "6:4test16:4test26:4test3");
  });

  test("lengths are UTF-16 code units", async () => {
    const session = await Polling3.open(server);
    for (const text of ["é", "漢字", "👍🏽", "\u2028\u0000\x1e", "a:b", "1:2", "\u{10ffff}é"]) {
      await session.send(`4${text}`, "4x");
      assert.equal((await session.get()).text, payload(`4${text}`, "4x"), show(text));
    }
  });

  test("an empty message, and elements without a packet", async () => {
    const session = await Polling3.open(server);
    await session.post("0:1:40:2:4a0:");
    assert.equal((await session.get()).text, "1:42:4a");
  });

  test("bytes that are no UTF-8 are replaced before lengths are looked at", async () => {
    const session = await Polling3.open(server);
    await session.post(Buffer.concat([Buffer.from("3:4"), Buffer.from([0xff, 0xc3])]));
    assert.deepEqual(await session.receive(1), ["4\ufffd\ufffd"]);
  });

  for (const [body, delivered] of [
    ["", []], ["abc", []], ["4hello", []], [":4a", []], ["3:4a", []], ["-1:4a", []], ["x1:4a", []], ["1:7", []], ["1:x", []],
    ["6:4helloabc", ["4hello"]], ["2:4a9:4b", ["4a"]], ["2:4a1:92:4b", ["4a"]], ["2:4a2:4b ", ["4a", "4b"]], ["2:4a9:4👍", ["4a"]],
  ]) {
    test(`a broken body ends the session: ${show(body)}`, async () => {
      const session = await Polling3.open(server);
      const poll = await session.hold();
      await session.post(body);
      const got = packets((await poll.answer).text);
      assert.deepEqual(got, delivered.length ? delivered.slice(0, got.length) : ["1"]);
      await session.expectGone();
    });
  }

  test("a broken body is a parse error", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await Polling3.open(server, { path: "/socket.io/" });
    assert.deepEqual(await session.receive(2), ["40", '42["auth",{}]']);
    await session.send("40/rc,");
    assert.deepEqual(await session.receive(1), ["40/rc,"]);
    await session.post("oops");
    assert.equal(await farewellReason(observer, `/rc#${session.sid}`), "parse error");
  });

  for (const [what, body] of [
    ["another notation of the length", "0x2:4a"], ["a length with spaces", " 2:4a"],
  ]) {
    greenroomOnly(`${what} is refused`, "JavaScript takes it for a number", async () => {
      const session = await Polling3.open(server);
      await session.post(body);
      await session.expectGone();
    });
  }

  test("packets behind a close are dropped", async () => {
    const session = await Polling3.open(server);
    const poll = await session.hold();
    await session.post("1:12:4a");
    assert.equal((await poll.answer).text, "1:6");
    await session.expectGone();
  });

  test("a body that is too large", async () => {
    const session = await Polling3.open(server);
    assert.equal((await session.post(payload(`4${"x".repeat(1_000_000)}`))).status, 413);
    await session.expectAlive();
    const large = `4${"é".repeat(400_000)}`;
    await session.send(large);
    assert.deepEqual(await session.receive(1), [large]);
  });

  test("a second poll ends the session", async () => {
    const session = await Polling3.open(server);
    const poll = await session.hold();
    assert.equal((await session.get()).status, 400);
    assert.equal((await poll.answer).text, "1:1");
    await session.expectGone();
  });
});

describe("binary", () => {
  test("as text for a client that asked for it at the opening", async () => {
    for (const query of ["&b64=1", "&b64=0"]) {
      const session = await Polling3.open(server, { query });
      await session.post("6:4hello10:b4AQIDBA==");
      const answer = await session.get();
      assert.equal(answer.text, "6:4hello10:b4AQIDBA==");
      assert.equal(answer.headers["content-type"], "text/plain; charset=UTF-8");
    }
  });

  for (const query of ["", "&b64="]) {
    test(`as octets otherwise: "${query}"`, async () => {
      const session = await Polling3.open(server, { query });
      await session.post("6:4hello10:b4AQIDBA==3:4é!");
      const answer = await session.get();
      assert.equal(answer.headers["content-type"], OCTETS);
      assert.equal(answer.headers["content-length"], String(answer.bytes.length));
      assert.deepEqual(answer.bytes, octets("4hello", Buffer.from([4, 1, 2, 3, 4]), "4é!"));
      assert.deepEqual([...answer.bytes.subarray(0, 12)], [0, 6, 255, 52, 104, 101, 108, 108, 111, 1, 5, 255]);
      await session.send("4text");
      assert.equal((await session.get()).headers["content-type"], "text/plain; charset=UTF-8");
    });
  }

  test("a body of octets", async () => {
    const session = await Polling3.open(server);
    const answer = await session.post(octets("4hé👍", Buffer.from([4, 0, 255]), "b4AQI=", Buffer.from([4]), "4"), OCTETS);
    assert.deepEqual([answer.status, answer.text, answer.headers["content-type"]], [200, "ok", "text/html"]);
    assert.deepEqual(await session.receive(5), ["4hé👍", "b4AP8=", "b4AQI=", "b4", "4"]);
  });

  test("octets whose type means nothing, and no octets at all", async () => {
    const session = await Polling3.open(server);
    const answer = await session.post(octets(Buffer.from([9, 1]), Buffer.from([]), Buffer.from([52, 1]), "b9AQ==", "b", "4x"), OCTETS);
    assert.equal(answer.text, "ok");
    assert.deepEqual(await session.receive(1), ["4x"]);
    assert.equal((await session.post(Buffer.alloc(0), OCTETS)).text, "ok");
    await session.expectAlive();
  });

  test("octets that hold a ping", async () => {
    const session = await Polling3.open(server);
    await session.post(octets(Buffer.from([2, 7])), OCTETS);
    assert.deepEqual(await session.receive(1), ["3"]);
  });

  const bytes = (...list) => Buffer.from(list);
  const strictly = (name, _, fn) => test(name, fn);
  for (const [what, body, delivered] of [
    ["no end of the length", Buffer.concat([octets("4a"), bytes(0, 2)]), []],
    ["a text of an unknown type", octets("4a", "x", "4b"), ["4a"]],
    ["an empty text", octets("4a", "", "4b"), ["4a"]],
    ["a text that is no UTF-8", Buffer.concat([octets("4a"), bytes(0, 2, 255, 52, 0xff)]), ["4a"]],
  ]) {
    test(`broken octets end the session: ${what}`, async () => {
      const session = await Polling3.open(server);
      const poll = await session.hold();
      await session.post(body, OCTETS);
      const got = packets((await poll.answer).text);
      assert.deepEqual(got, delivered.length ? delivered : ["1"]);
      await session.expectGone();
    });
  }

  for (const [what, body, check] of [
    ["a length beyond the body", bytes(0, 3, 255, 52, 97), greenroomOnly], ["a digit above 9", bytes(0, 12, 255, 52, 97), greenroomOnly],
    ["no digit", bytes(1, 255, 4), strictly], ["a length of 400 digits", bytes(1, ...Array(400).fill(9), 255, 4), strictly],
  ]) {
    check(`broken octets are refused as a whole: ${what}`, "it delivers what it makes of them", async () => {
      const session = await Polling3.open(server);
      const poll = await session.hold();
      await session.post(Buffer.concat([octets("4a"), body]), OCTETS);
      assert.equal((await poll.answer).text, "1:1");
      await session.expectGone();
    });
  }

  test("on a WebSocket the type is a byte before the data", async (t) => {
    const ws = await ws3(t, server);
    for (const data of [[4, 1, 2, 3, 4], [4], [4, ...Array(300).keys()].map((n) => n & 255), [4, 4, 4]]) {
      ws.send(Buffer.from(data));
      assert.deepEqual([...(await ws.next())], data);
    }
    ws.send(Buffer.from([9, 1]));
    ws.send(Buffer.from([]));
    ws.send("b4AQI=");
    assert.deepEqual([...(await ws.next())], [4, 1, 2]);
    ws.send(Buffer.from([2]));
    assert.equal(await ws.next(), "3");
  });

  test("on a WebSocket as text, if its own request asks for that", async (t) => {
    const ws = await ws3(t, server, { query: "&b64=1" });
    ws.send(Buffer.from([4, 1, 2, 3, 4]));
    assert.equal(await ws.next(), "b4AQIDBA==");
  });

  for (const text of ["abc", "7", "", "x"]) {
    test(`a text that is no packet: ${show(text)}`, async (t) => {
      const ws = await ws3(t, server);
      ws.send(text);
      await ws.expectClosed();
    });
  }
});

describe("heartbeat", () => {
  const impatient = useServer({ ALLOW_EIO3: "1", PING_INTERVAL: "300", PING_TIMEOUT: "200" });

  test("the client pings, the server answers without the data", async (t) => {
    const session = await Polling3.open(server);
    await session.send("2");
    assert.deepEqual(await session.poll(), ["3"]);
    await session.send("2abc", "2probe");
    assert.deepEqual(await session.receive(2), ["3", "3"]);
    const ws = await ws3(t, server);
    ws.send("2probe");
    assert.equal(await ws.next(), "3");
  });

  test("who pings is kept, who stops is closed after both times", async (t) => {
    const ws = await ws3(t, impatient);
    for (let i = 0; i < 5; i++) {
      await sleep(200);
      ws.send("2");
      assert.equal(await ws.next(), "3");
    }
    const begin = performance.now();
    await ws.expectClosed();
    const took = performance.now() - begin;
    assert.ok(took > 400 && took < 2000, `${took} ms`);
    assert.deepEqual(ws.inbox.takeAll(), [], "the server does not ping");
  });

  test("other packets are no sign of life", async (t) => {
    const ws = await ws3(t, impatient);
    const begin = performance.now();
    const talk = setInterval(() => ws.send("4x"), 100);
    t.after(() => clearInterval(talk));
    await ws.expectClosed();
    assert.ok(performance.now() - begin < 900);
  });

  test("a polling session without pings ends", async () => {
    const session = await Polling3.open(impatient);
    const poll = await session.hold();
    assert.equal((await poll.answer).text, "1:1");
    await session.expectGone();
  });

  test("the reason is a ping timeout", async (t) => {
    const observer = await client(t, impatient, "/rc");
    const session = await Polling3.open(impatient, { path: "/socket.io/" });
    await session.send("40/rc,");
    assert.equal(await farewellReason(observer, `/rc#${session.sid}`), "ping timeout");
  });

  test("a pong of the client ends the session", async (t) => {
    const ws = await ws3(t, server);
    ws.send("3");
    await ws.expectClosed();
    const observer = await client(t, server, "/rc");
    const session = await Polling3.open(server, { path: "/socket.io/" });
    await session.send("40/rc,");
    await session.receive(3);
    await session.send("3");
    assert.equal(await farewellReason(observer, `/rc#${session.sid}`), "transport error");
  });

  test("the official client keeps its connection for many intervals", async (t) => {
    for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
      const socket = eio(impatient.wsUrl, { path: "/engine.io", transports });
      t.after(() => socket.close());
      let pongs = 0;
      socket.on("pong", () => pongs++);
      await within(new Promise((resolve) => socket.on("open", resolve)), "open");
      await sleep(1500);
      assert.equal(socket.readyState, "open");
      assert.ok(pongs >= 3, `${pongs} pongs`);
    }
  });
});

describe("closing and moving", () => {
  test("a client that closes: its waiting poll gets a noop", async () => {
    const session = await Polling3.open(server);
    const poll = await session.hold();
    await session.send("1");
    assert.equal((await poll.answer).text, "1:6");
    await session.expectGone();
  });

  test("a server that closes", async () => {
    const session = await Polling3.open(server, { path: "/socket.io/" });
    await session.send("40/rc,");
    await session.receive(3);
    const poll = await session.hold();
    await session.send('42/rc,1["connClose",{}]');
    assert.deepEqual(packets((await poll.answer).text), ['43/rc,1[{"ok":true}]']);
    assert.deepEqual((await session.poll()).filter((packet) => packet !== "6"), ["1"]);
    await session.expectGone();
  });

  greenroomOnly("a close packet on a WebSocket ends the session", "it is ignored", async (t) => {
    const ws = await ws3(t, server);
    ws.send("1");
    await ws.expectClosed();
  });

  async function upgrade(t, session, query = "") {
    const ws = await Ws.open(t, server, `/engine.io/?EIO=3&transport=websocket&sid=${session.sid}${query}`);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    return ws;
  }

  test("a session moves to a WebSocket", async (t) => {
    const session = await Polling3.open(server);
    const ws = await upgrade(t, session);
    assert.equal((await session.get()).text, "1:6");
    ws.send("5");
    ws.send("4hello");
    assert.equal(await ws.next(), "4hello");
    ws.send(Buffer.from([4, 1]));
    assert.deepEqual([...(await ws.next())], [4, 1], "b64 was asked for by the polling transport only");
    const answer = await session.get();
    assert.deepEqual([answer.status, answer.text], [400, '{"code":3,"message":"Bad request"}']);
  });

  test("the new WebSocket has its own b64, and what waits comes as it wants it", async (t) => {
    const session = await Polling3.open(server, { query: "" });
    const ws = await upgrade(t, session, "&b64=1");
    await session.post(payload("b4AQI=", "4x"));
    ws.send("5");
    assert.equal(await ws.next(), "b4AQI=");
    assert.equal(await ws.next(), "4x");
  });

  for (const [what, packet] of [["a bare ping", "2"], ["a message", "4x"], ["a binary probe", Buffer.from([2, ...Buffer.from("probe")])], ["nothing known", Buffer.from([9])]]) {
    test(`a probe that is ${what} closes the WebSocket only`, async (t) => {
      const session = await Polling3.open(server);
      const ws = await Ws.open(t, server, `/engine.io/?EIO=3&transport=websocket&sid=${session.sid}`);
      ws.send(packet);
      await ws.expectClosed();
      await session.expectAlive();
    });
  }

  test("a WebSocket of revision 4 cannot take it over", async () => {
    const session = await Polling3.open(server);
    const refused = new Ws(server, `/engine.io/?EIO=4&transport=websocket&sid=${session.sid}`);
    await assert.rejects(refused.opened, /400/);
    await session.expectAlive();
  });
});

describe("the official Engine.IO client", () => {
  for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
    for (const forceBase64 of [false, true]) {
      test(`echoes, ${transports.join(" and ")}${forceBase64 ? ", base64" : ""}`, async (t) => {
        const socket = eio(server.wsUrl, { path: "/engine.io", transports, forceBase64 });
        t.after(() => socket.close());
        const inbox = new Inbox();
        socket.on("message", (data) => inbox.push(data));
        const upgraded = new Promise((resolve) => socket.on("upgrade", resolve));
        await within(new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject)), "open");
        const sent = [];
        const send = (data) => (sent.push(data), socket.send(data));
        for (let i = 0; i < 20; i++) {
          send(`text ${i} é👍\u2028`);
          send(Buffer.from([i, 0, 255]));
        }
        if (transports.length === 2) await within(upgraded, "upgrade");
        send("");
        send("x".repeat(100_000));
        send(Buffer.alloc(0));
        send(Buffer.alloc(100_000, 7));
        for (const data of sent) {
          const got = await inbox.take();
          if (typeof data === "string") assert.equal(got ?? "", data);
          else assert.deepEqual(Buffer.from(got), data);
        }
      });
    }
  }
});

overTransports("the official Socket.IO client", (transport) => {
  test("is in the main namespace without asking, without auth", async (t) => {
    const socket = await client2(t, server, "/?token=abc", transport);
    assert.deepEqual(await next2(socket, "auth"), [{}]);
    socket.emit("message", 1, "é👍", { a: [null, true] });
    assert.deepEqual(await next2(socket, "message-back"), [1, "é👍", { a: [null, true] }]);
    assert.deepEqual(await call2(socket, "message-with-ack", "x", 2), ["x", 2]);
  });

  test("has the id that it makes of its session", async (t) => {
    const main = await client2(t, server, "/", transport);
    const socket = await up2(also2(t, main, "/rc"));
    assert.equal(main.id, socket.io.engine.id);
    assert.equal(socket.id, `/rc#${socket.io.engine.id}`);
    const info = await ask2(socket, "info");
    assert.equal(info.id, socket.id);
    assert.equal(info.protocol, 3);
    assert.equal(info.transport, transport.transports.at(-1));
    assert.deepEqual(await ask2(socket, "rooms"), { self: true, rooms: [] });
  });

  test("binary, both ways, in acks too", async (t) => {
    const socket = await client2(t, server, "/rc", transport);
    const blob = Buffer.from([0, 1, 254, 255]);
    const [first, second] = await call2(socket, "echo", { deep: [blob, "x"] }, Buffer.alloc(0));
    assert.deepEqual(Buffer.from(first.deep[0]), blob);
    assert.equal(Buffer.from(second).length, 0);
    socket.emit("echo", blob, blob);
    const back = await next2(socket, "echo-back");
    assert.deepEqual(back.map((b) => Buffer.from(b)), [blob, blob]);
    const large = await ask2(socket, "blob", { size: 300_000, binary: true });
    assert.ok(Buffer.from(large).every((byte, i) => byte === ((31 * i + 7) & 255)));
    assert.equal(large.byteLength ?? large.length, 300_000);
  });

  test("gives auth as the query of a namespace", async (t) => {
    const socket = await client2(t, server, "/?own=1", transport);
    const other = await up2(also2(t, socket, "/rc", { data: "a b&c", x: "é", room: "r" }));
    const { auth, query } = await ask2(other, "handshake");
    assert.deepEqual(auth, { data: "a b&c", x: "é", room: "r" });
    assert.equal(query.own, "1");
    assert.deepEqual(await ask2(other, "rooms"), { self: true, rooms: ["r"] });
    assert.deepEqual(await ask2(other, "data"), { mw: ["a", "b"], auth: "a b&c" });
  });

  for (const [token, data] of [["bad", { code: 401 }], ["bad-nodata", "nope"], ["bad-string", "just text"], ["bad-late", { mw: ["a", "b"] }]]) {
    test(`a refusal is its data, or its message: ${token}`, async (t) => {
      const socket = await client2(t, server, "/", transport);
      const refused = await refusal2(also2(t, socket, "/rc", { token }));
      assert.deepEqual([refused.kind, refused.data], ["error", data]);
      assert.deepEqual(await call2(socket, "message-with-ack", 1), [1]);
    });
  }

  test("a namespace that does not exist", async (t) => {
    const refused = await refusal2(dial2(t, server, "/nowhere", transport));
    assert.deepEqual([refused.kind, refused.data], ["error", { message: "Invalid namespace" }]);
  });

  test("hears broadcasts together with clients of today, in order", async (t) => {
    const old = await client2(t, server, "/rc", transport);
    const young = await client(t, server, "/rc", transport);
    const room = `mixed ${old.id}`;
    await ask2(old, "join", { rooms: room });
    await ask(young, "join", { rooms: room });
    for (let i = 0; i < 20; i++) young.emit("emit", { to: room, event: "news", args: [i, Buffer.from([i]), "é"] });
    for (let i = 0; i < 20; i++) {
      const [n, blob, text] = await next2(old, "news");
      assert.deepEqual([n, Buffer.from(blob), text], [i, Buffer.from([i]), "é"]);
      assert.deepEqual(await next(young, "news"), [i, Buffer.from([i]), "é"]);
    }
    await ask2(old, "emit", { target: "socket", to: room, event: "from-old" });
    assert.deepEqual(await next(young, "from-old"), []);
    await ask(young, "emit", { to: old.id, event: "private", args: [1] });
    assert.deepEqual(await next2(old, "private"), [1]);
    await expectNothing(young, young);
  });

  test("answers the server, alone and with others", async (t) => {
    const old = await client2(t, server, "/rc", transport);
    const young = await client(t, server, "/rc", transport);
    for (const socket of [old, young]) socket.on("question", (n, answer) => answer(n + 1, Buffer.from([9])));
    const own = await ask2(old, "emit", { target: "socket", event: "question", args: [1], ack: true });
    assert.equal(own.response[0], 2);
    assert.deepEqual(Buffer.from(own.response[1]), Buffer.from([9]));
    const room = `ask ${old.id}`;
    await ask2(old, "join", { rooms: room });
    await ask(young, "join", { rooms: room });
    const all = await ask(young, "emit", { to: room, event: "question", args: [5], ack: true, flags: { timeout: 5000 } });
    assert.deepEqual(all, { err: null, responses: [6, 6] });
  });

  test("is put out of a namespace, and comes back with the same id", async (t) => {
    const observer = await client(t, server, "/rc");
    const main = await client2(t, server, "/", transport);
    const socket = await up2(also2(t, main, "/rc"));
    const { id } = socket;
    await ask2(socket, "join", { rooms: "old" });
    socket.emit("close", {});
    assert.equal(await within(socket.gone, "disconnect"), "io server disconnect");
    assert.equal(await farewellReason(observer, id), "server namespace disconnect");
    socket.connect();
    await up2(socket);
    assert.equal(socket.id, id);
    assert.deepEqual(await ask2(socket, "rooms"), { self: true, rooms: [] });
    await fence(observer, observer);
    await ask(observer, "emit", { to: id, event: "again" });
    assert.deepEqual(await next2(socket, "again"), []);
  });

  test("leaves a namespace; the others stay", async (t) => {
    const observer = await client(t, server, "/rc");
    const socket = await client2(t, server, "/rc", transport);
    const other = await up2(also2(t, socket, "/rc2"));
    const { id } = socket;
    socket.disconnect();
    assert.equal(await farewellReason(observer, id), "client namespace disconnect");
    assert.equal((await ask2(other, "info")).id, other.id);
  });

  test("its connection is closed", async (t) => {
    const observer = await client(t, server, "/rc");
    const socket = await client2(t, server, "/rc", transport);
    const { id } = socket;
    socket.emit("close", { close: true });
    await within(socket.gone, "disconnect");
    assert.equal(await farewellReason(observer, id), "server namespace disconnect");
    const again = await client2(t, server, "/rc", transport);
    const twice = again.id;
    again.emit("connClose", {});
    assert.equal(await within(again.gone, "disconnect"), "transport close");
    assert.equal(await farewellReason(observer, twice), "forced close");
  });

  test("it closes its connection", async (t) => {
    const observer = await client(t, server, "/rc");
    const socket = await client2(t, server, "/rc", transport);
    const { id } = socket;
    socket.io.engine.close();
    assert.equal(await farewellReason(observer, id), "transport close");
  });
});

describe("packets", () => {
  /** A session that is in `/`; `names` are joined. */
  async function raw(t, ...names) {
    const ws = await ws3(t, server, { path: "/socket.io/" });
    assert.equal(await ws.next(), "40");
    assert.equal(await ws.next(), '42["auth",{}]');
    for (const name of names) {
      ws.send(`40${name},`);
      assert.equal(await ws.next(), `40${name.split("?")[0]},`);
    }
    return ws;
  }

  test("greetings carry nothing, and auth in the packet is not looked at", async (t) => {
    const ws = await raw(t, "/rc?x=1");
    ws.send('40/rc2,{"token":"bad","x":2}');
    assert.equal(await ws.next(), "40/rc2,");
    ws.send('42/rc2,1["handshake",{}]');
    assert.deepEqual(JSON.parse((await ws.next()).slice(8))[0].ok.auth, {});
  });

  test("refusals", async (t) => {
    const ws = await raw(t);
    ws.send("40/rc?token=bad-nodata,");
    assert.equal(await ws.next(), '44/rc,"nope"');
    ws.send("40/rc?token=bad,");
    assert.equal(await ws.next(), '44/rc,{"code":401}');
    ws.send("40/nowhere?x=1,");
    assert.equal(await ws.next(), '44/nowhere,{"message":"Invalid namespace"}');
    ws.send("40/rc,");
    assert.equal(await ws.next(), "40/rc,", "a refused client may try again");
  });

  test("the name of a namespace is the path of an address", async (t) => {
    const observer = await client(t, server, "/rc");
    const ws = await raw(t);
    for (const [name, path] of [["/é b", "/%C3%A9%20b"], ["/a/../rc9", "/rc9"], ["/rc9#x", "/rc9"], ["//host/rc9", "/rc9"]]) {
      ws.send(`40${name},`);
      assert.equal(await ws.next(), `44${path},{"message":"Invalid namespace"}`);
    }
    ws.send("40/x/../rc?room=r#y,");
    assert.equal(await ws.next(), "40/rc,");
    ws.send('42/./rc?ignored,5["rooms",{}]');
    assert.equal(await ws.next(), '43/rc,5[{"ok":{"self":true,"rooms":["r"]}}]');
    ws.send("41/rc?x");
    assert.equal(await farewellReason(observer, `/rc#${ws.sid}`), "client namespace disconnect");
  });

  for (const [what, packet, reason] of [
    ["joining / again", "40", /^forced (server )?close$/], ["joining twice", "40/rc,", /^forced (server )?close$/],
    ["an event elsewhere", '42/rc2,["x"]', /^forced (server )?close$/], ["a refusal", '44/rc,"x"', /^forced (server )?close$/],
    ["a name that is no path", "40//,", /^forced close$/], ["no packet", "4oops", /^forced close$/],
  ]) {
    test(`${what} closes the connection`, async (t) => {
      const observer = await client(t, server, "/rc");
      const ws = await raw(t, "/rc");
      ws.send(packet);
      await ws.expectClosed();
      // which of the two the reference says depends on what waited to be sent
      assert.match(await farewellReason(observer, `/rc#${ws.sid}`), reason);
    });
  }

  test("too many attachments close the connection", async (t) => {
    const ws = await raw(t, "/rc");
    const places = Array.from({ length: 11 }, (_, num) => ({ _placeholder: true, num }));
    ws.send(`4511-/rc,${JSON.stringify(["echo", ...places])}`);
    await ws.expectClosed();
  });

  test("binary events by hand", async (t) => {
    const ws = await raw(t, "/rc");
    ws.send('451-/rc,["echo",{"_placeholder":true,"num":0}]');
    ws.send(Buffer.from([4, 7, 8]));
    assert.equal(await ws.next(), '451-/rc,["echo-back",{"_placeholder":true,"num":0}]');
    assert.deepEqual([...(await ws.next())], [4, 7, 8]);
  });

  greenroomOnly("leaving and at once coming back", "the CONNECT comes a tick too early and closes the connection", async (t) => {
    const observer = await client(t, server, "/rc");
    const ws = await raw(t, "/rc");
    for (let i = 0; i < 10; i++) {
      ws.send("41/rc");
      ws.send("40/rc,");
      assert.equal(await ws.next(), "40/rc,");
      ws.send('42/rc,1["join",{"rooms":"x"}]');
      assert.equal(await ws.next(), '43/rc,1[{"ok":{"self":true,"rooms":["x"]}}]');
    }
    const log = await ask(observer, "disconnectLog", { id: `/rc#${ws.sid}` });
    assert.deepEqual(log.map((e) => e.reason), Array(20).fill("client namespace disconnect"));
    assert.deepEqual(await ask(observer, "roomSizes"), { x: 1 });
    await ask(observer, "emit", { to: `/rc#${ws.sid}`, event: "one" });
    assert.equal(await ws.next(), '42/rc,["one"]');
  });
});

describe("the end of the server", () => {
  const mortal = useServer({ ALLOW_EIO3: "1" });

  test("old clients are told", async (t) => {
    const sockets = [];
    for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) sockets.push(await client2(t, mortal, "/rc", { transports }));
    mortal.child.kill("SIGTERM");
    for (const socket of sockets) assert.match(await within(socket.gone, "disconnect"), /^transport (close|error)$/);
    await mortal.exited;
    mortal.child = null;
  });
});
