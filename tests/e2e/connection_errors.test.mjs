// The connection_error events of the engine (feature H13): code, message and context of each refused request, and which
// requests are none.
import {
  test, assert, describe, useServer, startServer, http, Polling, engineWs, Tcp, upgradeRequest, client, ask, Ws,
} from "./support.mjs";

const MESSAGES = ["Transport unknown", "Session ID unknown", "Bad handshake method", "Bad request", "Forbidden", "Unsupported protocol version"];
const server = useServer();
const entry = (code, context = {}) => ({ code, message: MESSAGES[code], context });

/** What was reported while `body` ran. */
async function reported(observer, body) {
  await ask(observer, "connectionErrors", { clear: true });
  await body();
  return ask(observer, "connectionErrors");
}

/** A WebSocket upgrade that must be refused, to its end. */
async function refusedUpgrade(t, target, query, options = {}) {
  const tcp = await Tcp.connect(t, target);
  tcp.write(upgradeRequest(target, `${options.path ?? "/socket.io/"}?${query}`, options.headers, options.method));
  await tcp.ended;
  assert.match(tcp.received.toString("latin1"), /HTTP\/1\.1 400 Bad Request\r\n/);
}

// [what, query, code, context, method]
const CASES = [
  ["an unknown transport", "EIO=4&transport=tobi", 0, { transport: "tobi" }],
  ["no transport", "EIO=4", 0, {}],
  ["an empty transport", "EIO=4&transport=", 0, { transport: "" }],
  ["a name of the prototypes", "EIO=4&transport=constructor", 0, { transport: "constructor" }],
  ["webtransport", "EIO=4&transport=webtransport", 0, { transport: "webtransport" }],
  ["a transport in odd characters", "EIO=4&transport=a%20b%C3%A9%22%0A", 0, { transport: 'a bé"\n' }],
  ["the last of several transports", "EIO=4&transport=polling&transport=tobi", 0, { transport: "tobi" }],
  ["an unknown sid", "EIO=4&transport=polling&sid=AAAA", 1, { sid: "AAAA" }],
  ["an unknown sid, by POST", "EIO=4&transport=polling&sid=AAAA", 1, { sid: "AAAA" }, "POST"],
  ["a sid of the prototypes", "EIO=4&transport=polling&sid=__proto__", 1, { sid: "__proto__" }],
  ["a sid in odd characters", "EIO=4&transport=polling&sid=%00%22%E2%80%A8", 1, { sid: '\0"\u2028' }],
  ["a long sid", `EIO=4&transport=polling&sid=${"s".repeat(3000)}`, 1, { sid: "s".repeat(3000) }],
  ["a POST without a sid", "EIO=4&transport=polling", 2, { method: "POST" }, "POST"],
  ["a HEAD without a sid", "EIO=4&transport=polling", 2, { method: "HEAD" }, "HEAD"],
  ["an OPTIONS without a sid", "EIO=4&transport=polling", 2, { method: "OPTIONS" }, "OPTIONS"],
  ["a PUT to the transport websocket", "EIO=4&transport=websocket", 2, { method: "PUT" }, "PUT"],
  ["websocket without an upgrade", "EIO=4&transport=websocket", 3, { name: "TRANSPORT_HANDSHAKE_ERROR" }],
  ["forbidden, with a message", "EIO=4&transport=polling&forbid=1", 4, { message: "forbidden by testbed" }],
  ["forbidden, without a message", "EIO=4&transport=polling&forbid=", 4, {}],
  ["EIO=3", "EIO=3&transport=polling", 5, { protocol: 3 }],
  ["no EIO: 3 is assumed", "transport=polling", 5, { protocol: 3 }],
  ["EIO=5: taken for 3", "EIO=5&transport=polling", 5, { protocol: 3 }],
];

describe("over HTTP", () => {
  for (const [what, query, code, context, method = "GET"] of CASES) {
    test(`${what}: ${code}`, async (t) => {
      const observer = await client(t, server, "/rc");
      const list = await reported(observer, async () => {
        const answer = await http(server, { method, path: `/socket.io/?${query}`, body: method === "GET" ? undefined : "" });
        assert.equal(answer.status, code === 4 ? 403 : 400);
      });
      assert.deepEqual(list, [entry(code, context)]);
    });
  }

  test("polling on a session that is on WebSocket: 3, with both transports", async (t) => {
    const observer = await client(t, server, "/rc");
    const ws = await engineWs(t, server, { path: "/socket.io/" });
    const list = await reported(observer, () => http(server, { path: `/socket.io/?EIO=4&transport=polling&sid=${ws.sid}` }));
    assert.deepEqual(list, [entry(3, { name: "TRANSPORT_MISMATCH", transport: "polling", previousTransport: "websocket" })]);
  });

  test("websocket without an upgrade on a polling session: 3, the other way round", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await Polling.open(server, { path: "/socket.io/" });
    const list = await reported(observer, () => session.get({ path: session.path.replace("polling", "websocket") }));
    assert.deepEqual(list, [entry(3, { name: "TRANSPORT_MISMATCH", transport: "websocket", previousTransport: "polling" })]);
  });

  test("another protocol version than the session's: 3, with both versions", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await Polling.open(server, { path: "/socket.io/" });
    const list = await reported(observer, async () => {
      await session.get({ path: session.path.replace("EIO=4", "EIO=3") });
      await session.post("40", { path: session.path.replace("EIO=4&", "") });
    });
    assert.deepEqual(list, Array(2).fill(entry(3, { name: "PROTOCOL_MISMATCH", protocol: 3, previousProtocol: 4 })));
  });

  test("a session that has ended is an unknown sid", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await Polling.open(server, { path: "/socket.io/" });
    await session.send("1");
    const list = await reported(observer, () => session.expectGone());
    assert.deepEqual(list.at(-1), entry(1, { sid: session.sid }));
  });
});

describe("on a WebSocket upgrade", () => {
  for (const [what, query, code, context, method] of CASES) {
    if (code === 3 || method === "HEAD") continue;
    const upgrade = code === 0 ? query : query.replace(/transport=polling(?!&transport)/, "transport=websocket");
    test(`${what}: ${code}`, async (t) => {
      const observer = await client(t, server, "/rc");
      const list = await reported(observer, () => refusedUpgrade(t, server, upgrade, { method, headers: method && { "Content-Length": "0" } }));
      assert.deepEqual(list, [entry(code, context)]);
    });
  }

  test("another protocol version than the session's: 3", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await Polling.open(server, { path: "/socket.io/" });
    const list = await reported(observer, () => refusedUpgrade(t, server, `EIO=3&transport=websocket&sid=${session.sid}`));
    assert.deepEqual(list, [entry(3, { name: "PROTOCOL_MISMATCH", protocol: 3, previousProtocol: 4 })]);
  });

  test("a transport that is switched off: 0", async (t) => {
    const polling = await startServer(t, { TRANSPORTS: "polling" });
    const observer = await client(t, polling, "/rc", { transports: ["polling"] });
    const list = await reported(observer, async () => {
      const answer = await http(polling, { path: "/socket.io/?EIO=4&transport=websocket" });
      assert.equal(answer.text, '{"code":0,"message":"Transport unknown"}');
    });
    assert.deepEqual(list, [entry(0, { transport: "websocket" })]);
  });
});

describe("the log", () => {
  test("keeps the order, until it is cleared; clear gives what it clears", async (t) => {
    const observer = await client(t, server, "/rc");
    const expected = [];
    await ask(observer, "connectionErrors", { clear: true });
    for (let i = 0; i < 4; i++) {
      await http(server, { path: `/socket.io/?EIO=4&transport=tobi${i}` });
      await http(server, { path: "/socket.io/?EIO=4&transport=polling&forbid=" });
      expected.push(entry(0, { transport: `tobi${i}` }), entry(4));
    }
    assert.deepEqual(await ask(observer, "connectionErrors"), expected);
    assert.deepEqual(await ask(observer, "connectionErrors", { clear: false }), expected);
    assert.deepEqual(await ask(observer, "connectionErrors", { clear: true }), expected);
    assert.deepEqual(await ask(observer, "connectionErrors"), []);
  });

  test("is the Socket.IO server's: errors of /engine.io/ are not in it", async (t) => {
    const observer = await client(t, server, "/rc");
    const list = await reported(observer, async () => {
      for (const [, query, , , method = "GET"] of CASES) {
        const answer = await http(server, { method, path: `/engine.io/?${query}`, body: method === "GET" ? undefined : "" });
        assert.ok(answer.status >= 400);
      }
      await refusedUpgrade(t, server, "EIO=4&transport=tobi", { path: "/engine.io/" });
      await http(server, { path: "/elsewhere/?EIO=4&transport=tobi" });
    });
    assert.deepEqual(list, []);
  });

  test("says nothing of what is wrong with an open session, or with the namespace", async (t) => {
    const small = await startServer(t, { MAX_HTTP_BUFFER_SIZE: "5000" });
    const observer = await client(t, small, "/rc");
    const list = await reported(observer, async () => {
      const session = await Polling.open(small, { path: "/socket.io/" });
      assert.equal((await session.post("4".padEnd(6000, "x"))).status, 413);
      assert.equal((await session.get({ method: "PUT" })).status, 500);
      assert.equal((await session.post("4", { headers: { "content-type": "application/octet-stream" } })).status, 400);
      const overlap = await Polling.open(small, { path: "/socket.io/" });
      const first = await overlap.hold();
      assert.equal((await overlap.get()).status, 400);
      await first.answer;
      const bad = await Polling.open(small, { path: "/socket.io/" });
      await bad.post("abc");
      const ws = await engineWs(t, small, { path: "/socket.io/" });
      ws.send("40/nowhere,");
      assert.equal(await ws.text("44/nowhere,"), '44/nowhere,{"message":"Invalid namespace"}');
      ws.send("4nonsense");
      await ws.expectClosed();
    });
    assert.deepEqual(list, []);
  });

  test("says nothing of a second WebSocket on an upgraded session", async (t) => {
    const observer = await client(t, server, "/rc");
    const session = await Polling.open(server, { path: "/socket.io/" });
    const path = session.path.replace("polling", "websocket");
    const ws = await Ws.open(t, server, path);
    ws.send("2probe");
    await ws.text("3probe");
    ws.send("5");
    const list = await reported(observer, async () => {
      const second = await Ws.open(t, server, path);
      await second.expectClosed();
    });
    assert.deepEqual(list, []);
  });

  test("says nothing of an upgrade that is no proper WebSocket handshake", async (t) => {
    const observer = await client(t, server, "/rc");
    const list = await reported(observer, async () => {
      for (const headers of [{ "Sec-WebSocket-Version": "12" }, { "Sec-WebSocket-Key": "short" }, { "Sec-WebSocket-Key": undefined }]) {
        await refusedUpgrade(t, server, "EIO=4&transport=websocket", { headers });
      }
    });
    assert.deepEqual(list, []);
  });

  test("a thousand refused requests at once are a thousand entries", { timeout: 60000 }, async (t) => {
    const observer = await client(t, server, "/rc");
    const list = await reported(observer, async () => {
      const one = async (i) => assert.equal((await http(server, { path: `/socket.io/?EIO=4&transport=polling&sid=n${i}` })).status, 400);
      for (let i = 0; i < 1000; i += 100) await Promise.all(Array.from({ length: 100 }, (_, j) => one(i + j)));
    });
    assert.deepEqual(list.map((e) => e.context.sid).sort(), Array.from({ length: 1000 }, (_, i) => `n${i}`).sort());
    assert.ok(list.every((e) => e.code === 1 && e.message === "Session ID unknown"));
  });
});
