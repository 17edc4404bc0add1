// How a session opens: the open packet, ids, configuration, path, query string (features E1, E2, E5, H1, H10, H14, O1-O7).
import { WebSocket } from "ws";
import { test, greenroomOnly, assert, describe, useServer, startServer, http, Polling, engineWs, Ws, Tcp, upgradeRequest, wsFrame } from "./support.mjs";

const server = useServer();
const ENDPOINTS = ["/engine.io/", "/socket.io/"];

for (const path of ENDPOINTS) {
  describe(path, () => {
    test("polling: exact open packet and headers", async () => {
      const answer = await http(server, { path: `${path}?EIO=4&transport=polling` });
      assert.equal(answer.status, 200);
      assert.match(
        answer.text,
        /^0\{"sid":"[A-Za-z0-9_-]{20,40}","upgrades":\["websocket"\],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000\}$/,
      );
      assert.equal(answer.headers["content-type"], "text/plain; charset=UTF-8");
      assert.equal(answer.headers["content-length"], String(answer.text.length));
      assert.equal(answer.headers["cache-control"], "no-store");
      for (const absent of ["set-cookie", "access-control-allow-origin", "content-encoding", "x-xss-protection", "vary"]) {
        assert.equal(answer.headers[absent], undefined, absent);
      }
    });

    test("websocket: exact open packet, no upgrades, no extension", async (t) => {
      const ws = new Ws(server, `${path}?EIO=4&transport=websocket`, { perMessageDeflate: true });
      t.after(() => ws.socket.terminate());
      await ws.opened;
      assert.match(
        await ws.next(),
        /^0\{"sid":"[A-Za-z0-9_-]{20,40}","upgrades":\[\],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000\}$/,
      );
      assert.equal(ws.socket.extensions, "");
    });

    test("no CORS headers, whatever the origin", async () => {
      const answer = await http(server, { path: `${path}?EIO=4&transport=polling`, headers: { origin: "https://elsewhere.example" } });
      assert.equal(answer.status, 200);
      assert.deepEqual(Object.keys(answer.headers).filter((h) => h.startsWith("access-control")), []);
    });

    test("ids are unlike each other", async () => {
      const sessions = await Promise.all(Array.from({ length: 60 }, () => Polling.open(server, { path })));
      assert.equal(new Set(sessions.map((s) => s.sid)).size, 60);
    });
  });
}

describe("query string", () => {
  const opens = async (query) => {
    const answer = await http(server, { path: `/engine.io/?${query}` });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.text[0], "0");
  };
  test("parameters in any order, with others between", () => opens("x=1&transport=polling&y&EIO=4&=&z=%20"));
  test("percent-encoded names and values", () => opens("%45IO=4&transport=%70ollin%67"));
  test("the last of several wins", async () => {
    await opens("EIO=3&transport=websocket&EIO=4&transport=polling");
    const answer = await http(server, { path: "/engine.io/?EIO=4&transport=polling&transport=nope" });
    assert.deepEqual([answer.status, answer.text], [400, '{"code":0,"message":"Transport unknown"}']);
  });
  test("an empty sid is none", () => opens("EIO=4&transport=polling&sid="));
  test("the unused t, b64 and j", () => opens("EIO=4&transport=polling&t=abc123"));
  test("invalid percent-encoding elsewhere does not matter", () => opens("EIO=4&transport=polling&x=%zz%e0%a4"));
});

describe("path", () => {
  const none = async (path, method = "GET") => {
    const answer = await http(server, { path, method });
    assert.deepEqual([answer.status, answer.text], [404, ""], `${method} ${path}`);
  };
  test("elsewhere: 404 with an empty body", async () => {
    for (const path of ["/", "/nothing", "/socket.io.js", "/socket.ioo/?EIO=4&transport=polling", "/x/engine.io/?EIO=4&transport=polling",
      "/Engine.io/?EIO=4&transport=polling", "/favicon.ico"]) await none(path);
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) await none("/nothing", method);
  });
  test("without the trailing slash: 404", async () => {
    await none("/engine.io?EIO=4&transport=polling");
    await none("/socket.io?EIO=4&transport=polling");
  });
  test("the path is a prefix: what follows it is ignored", async () => {
    for (const path of ["/engine.io/more/of/it?EIO=4&transport=polling", "/socket.io/socket.io.js?EIO=4&transport=polling"]) {
      const answer = await http(server, { path });
      assert.deepEqual([answer.status, answer.text[0]], [200, "0"], path);
    }
  });
  test("no client bundle", async () => {
    const answer = await http(server, { path: "/socket.io/socket.io.js" });
    assert.deepEqual([answer.status, answer.text], [400, '{"code":0,"message":"Transport unknown"}']);
  });
  test("an upgrade elsewhere is not accepted", async () => {
    const ws = new Ws(server, "/nothing/?EIO=4&transport=websocket");
    await assert.rejects(ws.opened);
    await ws.closed;
  });
  for (const prefix of ["/my/sub/path", "/my/sub/path/"]) {
    test(`PATH_PREFIX=${prefix}`, async (t) => {
      const other = await startServer(t, { PATH_PREFIX: prefix });
      const s = await Polling.open(other, { path: "/my/sub/path/" });
      assert.ok(s.sid.length >= 20);
      const ws = await engineWs(t, other, { path: "/my/sub/path/" });
      assert.deepEqual(ws.handshake.upgrades, []);
      assert.equal((await http(other, { path: "/socket.io/?EIO=4&transport=polling" })).status, 404);
      await Polling.open(other, { path: "/engine.io/" });
    });
  }
});

describe("configuration", () => {
  describe("times and size", () => {
    const other = useServer({ PING_INTERVAL: "1234", PING_TIMEOUT: "5678", MAX_HTTP_BUFFER_SIZE: "4321" });
    for (const path of ENDPOINTS) {
      test(`are announced on ${path}`, async (t) => {
        const { sid, ...polling } = (await Polling.open(other, { path })).handshake;
        assert.deepEqual(polling, { upgrades: ["websocket"], pingInterval: 1234, pingTimeout: 5678, maxPayload: 4321 });
        const { sid: _, ...ws } = (await engineWs(t, other, { path })).handshake;
        assert.deepEqual(ws, { upgrades: [], pingInterval: 1234, pingTimeout: 5678, maxPayload: 4321 });
      });
    }
  });

  describe("TRANSPORTS=polling", () => {
    const other = useServer({ TRANSPORTS: "polling" });
    test("announces no upgrade", async () => {
      assert.deepEqual((await Polling.open(other)).handshake.upgrades, []);
    });
    test("refuses websocket, upgrade request or not", async (t) => {
      const plain = await http(other, { path: "/engine.io/?EIO=4&transport=websocket" });
      assert.deepEqual([plain.status, plain.text], [400, '{"code":0,"message":"Transport unknown"}']);
      const tcp = await Tcp.connect(t, other);
      tcp.write(upgradeRequest(other, "/engine.io/?EIO=4&transport=websocket"));
      assert.equal((await tcp.head()).status, 400);
    });
    test("a session cannot be upgraded", async () => {
      const session = await Polling.open(other);
      const ws = new Ws(other, `/engine.io/?EIO=4&transport=websocket&sid=${session.sid}`);
      await assert.rejects(ws.opened);
      await session.expectAlive();
    });
  });

  describe("TRANSPORTS=websocket", () => {
    const other = useServer({ TRANSPORTS: "websocket" });
    test("refuses polling", async () => {
      for (const path of ENDPOINTS) {
        const answer = await http(other, { path: `${path}?EIO=4&transport=polling` });
        assert.deepEqual([answer.status, answer.text], [400, '{"code":0,"message":"Transport unknown"}']);
      }
    });
    test("accepts websocket", async (t) => {
      assert.deepEqual((await engineWs(t, other)).handshake.upgrades, []);
    });
  });
});

describe("websocket handshake", () => {
  test("the first of the offered subprotocols is chosen", async (t) => {
    for (const path of ENDPOINTS) {
      const ws = await engineWs(t, server, { path, protocols: ["first", "second"] });
      assert.equal(ws.socket.protocol, "first");
    }
  });
  test("without an offer, no subprotocol", async (t) => {
    const tcp = await Tcp.connect(t, server);
    const head = await tcp.upgrade("/engine.io/?EIO=4&transport=websocket");
    assert.equal(head.status, 101);
    assert.equal(head.headers["sec-websocket-protocol"], undefined);
    assert.equal(head.headers["sec-websocket-extensions"], undefined);
    assert.equal(head.headers.upgrade.toLowerCase(), "websocket");
    assert.equal(head.headers.connection.toLowerCase(), "upgrade");
    assert.equal((await tcp.frame()).payload.toString()[0], "0");
  });
  test("header names and tokens are case-insensitive, Connection is a list", async (t) => {
    const tcp = await Tcp.connect(t, server);
    const head = await tcp.upgrade("/engine.io/?EIO=4&transport=websocket", { Connection: "keep-alive, uPgRaDe", Upgrade: "WebSocket" });
    assert.equal(head.status, 101);
  });
  test("a missing key or a wrong version is refused", async (t) => {
    for (const headers of [{ "Sec-WebSocket-Key": undefined }, { "Sec-WebSocket-Version": "7" }, { "Sec-WebSocket-Version": undefined }]) {
      const tcp = await Tcp.connect(t, server);
      tcp.write(upgradeRequest(server, "/engine.io/?EIO=4&transport=websocket", headers));
      const { status } = await tcp.head();
      assert.ok([400, 426].includes(status), `${JSON.stringify(headers)}: ${status}`);
    }
  });
  test("any origin is accepted without CORS settings", async (t) => {
    await engineWs(t, server, { headers: { origin: "https://elsewhere.example" } });
  });
  test("a frame sent along with the handshake request does no harm", async (t) => {
    // the reference drops it: its listener comes later; nobody sends before the open packet
    const tcp = await Tcp.connect(t, server);
    tcp.write(Buffer.concat([Buffer.from(upgradeRequest(server, "/engine.io/?EIO=4&transport=websocket")), wsFrame("4early")]));
    assert.equal((await tcp.head()).status, 101);
    assert.equal((await tcp.frame()).payload.toString()[0], "0");
    tcp.write(wsFrame("4late"));
    let { payload } = await tcp.frame();
    if (payload.toString() === "4early") ({ payload } = await tcp.frame());
    assert.equal(payload.toString(), "4late");
  });
  test("transport=polling on an upgrade: 101, then closed without a packet", async () => {
    const ws = new WebSocket(`${server.wsUrl}/engine.io/?EIO=4&transport=polling`);
    const seen = [];
    ws.on("message", (m) => seen.push(m.toString()));
    ws.on("error", () => seen.push("error"));
    await new Promise((resolve) => ws.once("close", resolve));
    assert.ok(seen.length === 0 || seen[0] === "error", seen.join());
  });
  greenroomOnly("transport=polling on an upgrade is a bad request", "the reference answers 101 first", async (t) => {
    const tcp = await Tcp.connect(t, server);
    tcp.write(upgradeRequest(server, "/engine.io/?EIO=4&transport=polling"));
    assert.equal((await tcp.head()).status, 400);
    await tcp.ended;
    assert.equal(tcp.received.toString(), "Bad request");
  });
});
