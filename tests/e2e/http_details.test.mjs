// Details of the HTTP side (features O1, O3, H1, H9-H11, H14): all headers of each answer, paths and prefixes, transports switched off,
// methods, versions of HTTP. What engine_*.test.mjs prove already is not repeated.
import {
  test, assert, describe, useServer, startServer, http, Polling, engineWs, Tcp, upgradeRequest, client, dial, ask, call, up, refusal, until, TRANSPORTS, Ws,
} from "./support.mjs";

const ENDPOINTS = ["/engine.io/", "/socket.io/"];
const MAX = 20_000;
const server = useServer({ MAX_HTTP_BUFFER_SIZE: String(MAX) });
const UNKNOWN = '{"code":0,"message":"Transport unknown"}';

/** All headers that say something about the answer (not about the connection or the way its length is told). */
function headersOf({ headers }) {
  const { date, connection, "keep-alive": keepAlive, "transfer-encoding": encoding, "content-length": length, ...rest } = headers;
  return rest;
}

describe("the headers of each answer, all of them", () => {
  const POLL = { "content-type": "text/plain; charset=UTF-8", "cache-control": "no-store" };
  const POST = { "content-type": "text/html", "cache-control": "no-store" };
  const ERROR = { "content-type": "application/json" };

  for (const path of ENDPOINTS) {
    const packet = path === "/engine.io/" ? "4x" : "40/rc,";
    test(`${path}: opening, polls, POSTs`, async () => {
      const open = await http(server, { path: `${path}?EIO=4&transport=polling` });
      assert.deepEqual(headersOf(open), POLL);
      const session = await Polling.open(server, { path });
      const post = await session.post(packet);
      assert.deepEqual([headersOf(post), post.headers["content-length"]], [POST, "2"]);
      const poll = await session.get();
      assert.deepEqual([headersOf(poll), poll.headers["content-length"]], [POLL, String(poll.bytes.length)]);
      const waiting = await session.hold();
      assert.deepEqual(headersOf(await session.post("1")), POST);
      assert.deepEqual([headersOf(await waiting.answer), (await waiting.answer).text], [POLL, "6"]);
    });

    test(`${path}: errors with a code`, async () => {
      const session = await Polling.open(server, { path });
      for (const [query, method, status] of [
        ["EIO=4&transport=tobi", "GET", 400], ["EIO=4&transport=polling&sid=AAAA", "GET", 400], ["EIO=4&transport=polling", "POST", 400],
        ["EIO=4&transport=websocket", "GET", 400], ["EIO=3&transport=polling", "GET", 400], ["EIO=4&transport=polling&forbid=1", "GET", 403],
        [`EIO=3&transport=polling&sid=${session.sid}`, "GET", 400],
      ]) {
        const answer = await http(server, { method, path: `${path}?${query}` });
        assert.deepEqual([answer.status, headersOf(answer)], [status, ERROR], query);
      }
    });

    test(`${path}: answers without a body`, async () => {
      const session = await Polling.open(server, { path });
      for (const [what, answer, status] of [
        ["another method", await session.get({ method: "DELETE" }), 500],
        ["an oversize POST", await session.post("4".padEnd(MAX + 1, "x")), 413],
        ["a binary POST", await session.post("4x", { headers: { "content-type": "application/octet-stream" } }), 400],
      ]) assert.deepEqual([answer.status, answer.text, headersOf(answer)], [status, "", {}], what);

      const overlap = await Polling.open(server, { path });
      const first = await overlap.hold();
      const second = await overlap.get();
      assert.deepEqual([second.status, second.text, headersOf(second)], [400, "", {}], "a second poll");
      assert.deepEqual(headersOf(await first.answer), POLL);
    });

    test(`${path}: the answer to a WebSocket upgrade`, async (t) => {
      const tcp = await Tcp.connect(t, server);
      const head = await tcp.upgrade(`${path}?EIO=4&transport=websocket`);
      assert.equal(head.line, "HTTP/1.1 101 Switching Protocols");
      const { date, ...headers } = head.headers;
      assert.deepEqual(Object.keys(headers).sort(), ["connection", "sec-websocket-accept", "upgrade"]);
    });
  }

  test("elsewhere", async () => {
    const answer = await http(server, { path: "/elsewhere" });
    assert.deepEqual([answer.status, answer.text, headersOf(answer)], [404, "", {}]);
  });

  test("errors say nothing to old Internet Explorers", async () => {
    const headers = { "user-agent": "Mozilla/5.0 (compatible;MSIE 9.0; Trident/5.0)" };
    const answer = await http(server, { path: "/engine.io/?EIO=4&transport=tobi", headers });
    assert.deepEqual(headersOf(answer), ERROR);
  });
});

describe("paths", { concurrency: 4 }, () => {
  const status = async (path) => {
    const answer = await http(server, { path });
    if (answer.status === 200) assert.equal(answer.text[0], "0", path);
    return answer.status;
  };
  for (const name of ["engine.io", "socket.io"]) {
    test(`/${name}/ is a prefix of the URL as it was sent`, async () => {
      const query = "?EIO=4&transport=polling";
      for (const [path, expected] of [
        [`/${name}/${query}`, 200], [`/${name}//${query}`, 200], [`/${name}/;x${query}`, 200], [`/${name}/a/b/c.js${query}`, 200],
        [`/${name}/%zz${query}`, 200], [`/${name}/%3F/${query}`, 200], [`/${name}/?a=b?c&EIO=4&transport=polling`, 200], [`/${name}/?EIO=4&transport=polling&sid`, 200],
        [`/${name}`, 404], [`/${name}${query}`, 404], [`/${name}x/${query}`, 404], [`//${name}/${query}`, 404], [`/x/${name}/${query}`, 404],
        [`/${name.toUpperCase()}/${query}`, 404], [`/${name.replace(".", "x")}/${query}`, 404], [`/${name.replace(".", "")}/${query}`, 404],
        [`/${name.slice(1)}/${query}`, 404], [`/${name}%2F${query}`, 404], [`/${name}/`, 400], [`/${name}/?`, 400], [`/${name}/%3FEIO=4&transport=polling`, 400],
        [`/${name}/?EIO=4;transport=polling`, 400], [`/${name}/?EIO=4?transport=polling`, 400],
      ]) assert.equal(await status(path), expected, path);
    });
  }

  test("a session goes on under any path below the prefix", async () => {
    const session = await Polling.open(server);
    const query = session.path.slice(session.path.indexOf("?"));
    assert.equal((await session.post("4one", { path: `/engine.io/below/${query}` })).text, "ok");
    assert.equal((await session.get({ path: `/engine.io/x.js${query}` })).text, "4one");
  });

  for (const [prefix, path, others] of [
    ["/a.b+c", "/a.b+c/", ["/aXb+c/", "/a.bbc/", "/a.b%2Bc/", "/a.b+c", "/socket.io/"]],
    ["/deep/er/path/", "/deep/er/path/", ["/deep/er/", "/deep/", "/er/path/", "/socket.io/"]],
    ["/socket.io/v2", "/socket.io/v2/", ["/socket.io/", "/socket.io/v1/"]],
  ]) {
    test(`PATH_PREFIX=${prefix}`, async (t) => {
      const other = await startServer(t, { PATH_PREFIX: prefix });
      const session = await Polling.open(other, { path });
      await session.send("40/rc,");
      assert.match((await session.receive(1))[0], /^40\/rc,\{"sid"/);
      const ws = await engineWs(t, other, { path });
      ws.send("40/rc,");
      assert.match(await ws.next(), /^40\/rc,\{"sid"/);
      const socket = await client(t, other, "/rc", { path, ...TRANSPORTS.upgrade });
      assert.equal(await call(socket, "echo", 1), 1);
      await (await Polling.open(other)).expectAlive();
      await Promise.all(others.map(async (none) => {
        const answer = await http(other, { path: `${none}?EIO=4&transport=polling` });
        assert.deepEqual([answer.status, answer.text], [404, ""], none);
        await assert.rejects(new Ws(other, `${none}?EIO=4&transport=websocket`).opened); // the reference takes a second
      }));
    });
  }

  test("PATH_PREFIX=/ takes every path but that of the other endpoint", async (t) => {
    const other = await startServer(t, { PATH_PREFIX: "/" });
    for (const path of ["/", "/socket.io/", "/any/thing"]) {
      const answer = await http(other, { path: `${path}?EIO=4&transport=polling` });
      assert.deepEqual([answer.status, answer.text[0]], [200, "0"], path);
    }
    const socket = await client(t, other, "/rc", { path: "/" });
    assert.equal(await call(socket, "echo", 1), 1);
    await (await Polling.open(other)).expectAlive();
  });
});

describe("transports", { concurrency: 4 }, () => {
  test("their order does not matter", async (t) => {
    const other = await startServer(t, { TRANSPORTS: "websocket,polling" });
    for (const path of ENDPOINTS) {
      assert.deepEqual((await Polling.open(other, { path })).handshake.upgrades, ["websocket"]);
      assert.deepEqual((await engineWs(t, other, { path })).handshake.upgrades, []);
    }
    for (const transport of Object.values(TRANSPORTS)) assert.equal(await call(await client(t, other, "/rc", transport), "echo", 1), 1);
  });

  test("polling only: the official client stays on it; one that wants WebSocket alone is refused", async (t) => {
    const other = await startServer(t, { TRANSPORTS: "polling" });
    for (const path of ENDPOINTS) assert.deepEqual((await Polling.open(other, { path })).handshake.upgrades, []);
    const socket = dial(t, other, "/rc", TRANSPORTS.upgrade);
    socket.io.on("open", () => socket.io.engine.once("upgrading", () => assert.fail("it tries to upgrade")));
    await up(socket);
    for (let i = 0; i < 10; i++) assert.equal(await call(socket, "echo", i), i);
    assert.equal((await ask(socket, "info")).transport, "polling");
    assert.equal((await refusal(dial(t, other, "/rc", TRANSPORTS.websocket))).message, "websocket error");
  });

  test("polling only: an upgrade request is a bad request on either endpoint, and is reported", async (t) => {
    const other = await startServer(t, { TRANSPORTS: "polling" });
    const observer = await client(t, other, "/rc", TRANSPORTS.polling);
    for (const path of ENDPOINTS) {
      const tcp = await Tcp.connect(t, other);
      tcp.write(upgradeRequest(other, `${path}?EIO=4&transport=websocket`));
      assert.equal((await tcp.head()).status, 400);
      await tcp.read((bytes) => (bytes.includes("Transport unknown") ? true : undefined));
    }
    assert.deepEqual(await ask(observer, "connectionErrors"), [{ code: 0, message: "Transport unknown", context: { transport: "websocket" } }]);
  });

  test("WebSocket only: polling is refused, with and without a session", async (t) => {
    const other = await startServer(t, { TRANSPORTS: "websocket" });
    for (const path of ENDPOINTS) {
      const ws = await engineWs(t, other, { path });
      assert.deepEqual(ws.handshake.upgrades, []);
      for (const query of ["EIO=4&transport=polling", `EIO=4&transport=polling&sid=${ws.sid}`]) {
        const answer = await http(other, { path: `${path}?${query}` });
        assert.deepEqual([answer.status, answer.text], [400, UNKNOWN]);
      }
    }
    const socket = await client(t, other, "/rc");
    assert.equal(await call(socket, "echo", 1), 1);
    assert.equal((await refusal(dial(t, other, "/rc", TRANSPORTS.upgrade))).message, "xhr poll error");
  });
});

describe("HTTP itself", () => {
  test("HTTP/1.0, and a connection that is to be closed", async (t) => {
    for (const lines of ["HTTP/1.0\r\n", "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"]) {
      const tcp = await Tcp.connect(t, server);
      tcp.write(`GET /engine.io/?EIO=4&transport=polling ${lines}\r\n`);
      await tcp.ended;
      assert.match(tcp.received.toString(), /^HTTP\/1\.[01] 200 OK\r\n[^]*\r\n\r\n0\{"sid":"[^"]+".*\}$/);
    }
  });

  test("a POST that waits to be told to go on", async (t) => {
    const session = await Polling.open(server);
    const tcp = await Tcp.connect(t, server);
    tcp.write(`POST ${session.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n`);
    assert.equal((await tcp.head()).status, 100);
    tcp.write("4hello");
    assert.equal((await tcp.head()).status, 200);
    assert.equal((await session.get()).text, "4hello");
  });

  test("application/octet-stream with a parameter is text like any other type", async () => {
    const session = await Polling.open(server);
    assert.equal((await session.post("4hello", { headers: { "content-type": "application/octet-stream; charset=x" } })).text, "ok");
    assert.equal((await session.get()).text, "4hello");
  });

  test("an empty POST ends the session, with a parse error", async () => {
    const session = await Polling.open(server);
    const answer = await session.post("");
    assert.deepEqual([answer.status, answer.text], [200, "ok"]);
    await session.expectGone();
  });

  test("a request without a Host, with a strange one, with a body on GET", async (t) => {
    for (const [line, body] of [["Host: a.b:1,c", ""], ["Host: x\r\nContent-Length: 5", "hello"]]) {
      const tcp = await Tcp.connect(t, server);
      tcp.write(`GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\n${line}\r\n\r\n${body}`);
      assert.equal((await tcp.head()).status, 200, line);
    }
  });
});

describe("the count of connections (H14)", () => {
  test("follows openings and ends, on each transport; refused requests do not count", async (t) => {
    const own = await startServer(t);
    const observer = await client(t, own, "/rc");
    const engine = async () => (await ask(observer, "counts")).engine;
    assert.equal(await engine(), 1);
    const polling = await Polling.open(own, { path: "/socket.io/" });
    const ws = await engineWs(t, own, { path: "/socket.io/" });
    assert.equal(await engine(), 3);
    for (const query of ["EIO=4&transport=tobi", "EIO=4&transport=polling&forbid=1", "EIO=3&transport=polling"]) await http(own, { path: `/socket.io/?${query}` });
    await Polling.open(own, { path: "/engine.io/" }); // another engine
    assert.equal(await engine(), 3);
    await polling.send("1");
    assert.equal(await until(engine, (n) => n === 2, "the end of the polling session"), 2);
    ws.socket.close();
    assert.equal(await until(engine, (n) => n === 1, "the end of the WebSocket session"), 1);
  });
});
